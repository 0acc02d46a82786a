"""Generalised linear models from the textbook, in plain NumPy and float64.

McCullagh and Nelder, Generalized Linear Models (2nd ed. 1989), section 2.5: iteratively reweighted least squares with
the expected information (Fisher scoring), steps halved until the objective decreases; unit deviances and variances of
their table 2.1, Tweedie's of Jorgensen, The Theory of Dispersion Models (1997), chapter 4.  With an L1 penalty each
quadratic model is minimised by coordinate descent (Friedman, Hastie and Tibshirani 2010, section 3).

Families and links are identified by their names, `Poisson`, `Tweedie` with `.power`, `Power` with `.exponent`: none of
their methods is called.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, xlogy

from tests.references.logistic import least_subgradient

LINKS = {
    "Gaussian": "Identity",
    "Binomial": "Logit",
    "Poisson": "Log",
    "Gamma": "Inverse",
    "InverseGaussian": "InverseSquared",
    "Tweedie": "Log",
    "NegativeBinomial": "Log",
}


def name(thing):
    return type(thing).__name__


def link_name(family, link):
    return LINKS[name(family)] if link is None else name(link)


def to_eta(family, link, mu):
    """The link function."""
    return {
        "Identity": lambda: mu,
        "Log": lambda: np.log(mu),
        "Logit": lambda: np.log(mu / (1 - mu)),
        "Probit": lambda: ndtri(mu),
        "CLogLog": lambda: np.log(-np.log1p(-mu)),
        "Cauchit": lambda: np.tan(np.pi * (mu - 0.5)),
        "Inverse": lambda: 1 / mu,
        "InverseSquared": lambda: mu**-2.0,
        "Sqrt": lambda: np.sqrt(mu),
        "Power": lambda: mu ** float(link.exponent),
    }[link_name(family, link)]()


def mean(family, link, eta):
    """The inverse link; NaN where eta belongs to no mean."""
    positive = np.where(eta > 0, eta, np.nan)
    return {
        "Identity": lambda: eta,
        "Log": lambda: np.exp(np.minimum(eta, 700)),
        "Logit": lambda: np.exp(-np.logaddexp(0, -eta)),
        "Probit": lambda: ndtr(eta),
        "CLogLog": lambda: -np.expm1(-np.exp(np.minimum(eta, 700))),
        "Cauchit": lambda: 0.5 + np.arctan(eta) / np.pi,
        "Inverse": lambda: 1 / np.where(eta == 0, np.nan, eta),
        "InverseSquared": lambda: positive**-0.5,
        "Sqrt": lambda: positive**2,
        "Power": lambda: positive ** (1 / float(link.exponent)),
    }[link_name(family, link)]()


def slope(family, link, eta):
    """dmu / deta."""
    positive = np.where(eta > 0, eta, np.nan)

    def logistic():
        return np.exp(-np.logaddexp(0, -eta) - np.logaddexp(0, eta))

    return {
        "Identity": lambda: np.ones_like(eta),
        "Log": lambda: np.exp(np.minimum(eta, 700)),
        "Logit": logistic,
        "Probit": lambda: np.exp(-(eta**2) / 2) / np.sqrt(2 * np.pi),
        "CLogLog": lambda: np.exp(eta - np.exp(np.minimum(eta, 700))),
        "Cauchit": lambda: 1 / (np.pi * (1 + eta**2)),
        "Inverse": lambda: -1 / eta**2,
        "InverseSquared": lambda: -0.5 * positive**-1.5,
        "Sqrt": lambda: 2 * positive,
        "Power": lambda: positive ** (1 / float(link.exponent) - 1) / float(link.exponent),
    }[link_name(family, link)]()


def variance(family, mu):
    return {
        "Gaussian": lambda: np.ones_like(mu),
        "Binomial": lambda: mu * (1 - mu),
        "Poisson": lambda: mu,
        "Gamma": lambda: mu**2,
        "InverseGaussian": lambda: mu**3,
        "Tweedie": lambda: mu ** float(family.power),
        "NegativeBinomial": lambda: mu + float(family.alpha) * mu**2,
    }[name(family)]()


def unit_deviance(family, y, mu):
    """2 * the integral of (y - t) / V(t) from mu to y; NaN where mu is no mean of the family."""

    def tweedie():
        p = float(family.power)
        if p in (0, 1, 2):
            same = {0: "Gaussian", 1: "Poisson", 2: "Gamma"}[int(p)]
            return unit_deviance(type(same, (), {})(), y, mu)
        full = np.where(y > 0, y, 0.0) ** (2 - p) if p < 2 else y ** (2 - p)
        return 2 * (full / ((1 - p) * (2 - p)) - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p))

    def negative_binomial():
        a = float(family.alpha)
        return 2 * (xlogy(y, y / mu) - (y + 1 / a) * np.log((1 + a * y) / (1 + a * mu)))

    if name(family) != "Gaussian" and not (name(family) == "Tweedie" and float(family.power) <= 0):
        mu = np.where(mu > 0, mu, np.nan)
    if name(family) == "Binomial":
        mu = np.where(mu < 1, mu, np.nan)
    return {
        "Gaussian": lambda: (y - mu) ** 2,
        "Binomial": lambda: 2 * (xlogy(y, y / mu) + xlogy(1 - y, (1 - y) / (1 - mu))),
        "Poisson": lambda: 2 * (xlogy(y, y / mu) - (y - mu)),
        "Gamma": lambda: 2 * ((y - mu) / mu - np.log(y / mu)),
        "InverseGaussian": lambda: (y - mu) ** 2 / (y * mu**2),
        "Tweedie": tweedie,
        "NegativeBinomial": negative_binomial,
    }[name(family)]()


def _prepare(X, y, exposure, sample_weight, offset):
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    offset = np.zeros(len(y)) if offset is None else np.asarray(offset, float)
    return X, y, w, offset if exposure is None else offset + np.log(np.asarray(exposure, float))


def deviance(coef, intercept, X, y, *, family, link=None, exposure=None, sample_weight=None, offset=None):
    """The weighted sum of unit deviances."""
    X, y, w, offset = _prepare(X, y, exposure, sample_weight, offset)
    return w @ unit_deviance(family, y, mean(family, link, X @ coef + intercept + offset))


def dispersion(
    coef, intercept, X, y, *, family, link=None, exposure=None, sample_weight=None, offset=None, fit_intercept=True
):
    """Pearson's chi-squared over (sum of weights - number of parameters)."""
    X, y, w, offset = _prepare(X, y, exposure, sample_weight, offset)
    mu = mean(family, link, X @ coef + intercept + offset)
    return w @ ((y - mu) ** 2 / variance(family, mu)) / (w.sum() - X.shape[1] - fit_intercept)


def objective(
    coef, intercept, X, y, *, family, link=None, l1=0.0, l2=0.0, exposure=None, sample_weight=None, offset=None
):
    """sum w * unit deviance / 2 / sum w + penalties."""
    coef = np.asarray(coef, float)
    about = {"family": family, "link": link, "exposure": exposure, "sample_weight": sample_weight, "offset": offset}
    total = len(y) if sample_weight is None else np.asarray(sample_weight, float).sum()
    fit = deviance(coef, float(intercept), X, y, **about) / 2 / total
    return fit + (np.asarray(l1, float) * abs(coef) + np.asarray(l2, float) * coef**2 / 2).sum()


def gradient(
    coef, intercept, X, y, *, family, link=None, l1=0.0, l2=0.0, exposure=None, sample_weight=None, offset=None,
    fit_intercept=True,
):  # fmt: skip
    """The derivative by coef and intercept; where l1 > 0 the subgradient of the smallest norm."""
    X, y, w, offset = _prepare(X, y, exposure, sample_weight, offset)
    coef = np.asarray(coef, float)
    eta = X @ coef + float(intercept) + offset
    r = w / w.sum() * score(family, link, y, eta)
    return least_subgradient(X.T @ r + np.asarray(l2, float) * coef, coef, l1), r.sum() if fit_intercept else 0.0


def score(family, link, y, eta):
    """Half the derivative of the unit deviance by eta."""
    mu = mean(family, link, eta)
    return (mu - y) / variance(family, mu) * slope(family, link, eta)


def fit(
    X, y, *, family, link=None, l1=0.0, l2=0.0, exposure=None, sample_weight=None, offset=None, fit_intercept=True,
    init=None,
):  # fmt: skip
    """coef and intercept that minimise `objective`; `init` is a start (coef, intercept) where every row has a mean."""
    X, y, w, offset = _prepare(X, y, exposure, sample_weight, offset)
    p = X.shape[1]
    w = w / w.sum()
    A = np.column_stack([X, np.ones(len(y)) if fit_intercept else np.zeros(len(y))])
    # Columns of size one: the steps are least squares, and units must not cost digits.
    unit = np.sqrt(w @ A**2)
    unit[unit == 0] = 1
    A = A / unit
    ridge = np.append(np.broadcast_to(np.asarray(l2, float), p), 0) / unit**2
    lasso = np.append(np.broadcast_to(np.asarray(l1, float), p), 0) / unit

    def total(b):
        with np.errstate(all="ignore"):
            value = w @ (unit_deviance(family, y, mean(family, link, A @ b + offset)) / 2)
        value += ridge @ b**2 / 2 + lasso @ abs(b)
        return value if np.isfinite(value) else np.inf

    def step(eta, b):
        """The minimum of the quadratic model at eta."""
        weight = w * slope(family, link, eta) ** 2 / variance(family, mean(family, link, eta))
        z = eta - offset - (w / weight) * score(family, link, y, eta)
        if lasso.any():
            return _descend((A.T * weight) @ A + np.diag(ridge), (A.T * weight) @ z, lasso, b)
        rows = np.vstack([np.sqrt(weight)[:, None] * A, np.diag(np.sqrt(ridge))])
        return np.linalg.lstsq(rows, np.append(np.sqrt(weight) * z, np.zeros(p + 1)), rcond=1e-15)[0]

    if init is not None:
        b = np.append(init[0], init[1]) * unit
    else:
        # The first working response comes from y itself, moved into the interior (section 2.5).
        inside = (y + 0.5) / 2 if name(family) == "Binomial" else y
        if name(family) in ("Poisson", "NegativeBinomial", "Tweedie") or link_name(family, link) in ("Log", "Sqrt"):
            inside = np.maximum((y + w @ y) / 2, 1e-3)
        b = step(to_eta(family, link, inside), np.zeros(p + 1))
        if not np.isfinite(total(b)):  # some row has no mean there: start at the common mean
            b = np.linalg.lstsq(A, to_eta(family, link, np.full(len(y), w @ inside)) - offset, rcond=None)[0]
    value = total(b)
    for _ in range(2000):
        new = step(A @ b + offset, b)
        size = 1.0
        while not total(b + size * (new - b)) <= value + 1e-14 * abs(value) and size > 1e-9:
            size /= 2
        change = size * (new - b)
        b, value = b + change, total(b + change)
        if abs(change).max() <= 1e-14 * max(abs(b).max(), 1e-3):
            break
    b = b / unit
    return b[:p], b[p]


def _descend(H, c, lasso, b):
    """The minimum of b'Hb / 2 - c'b + lasso |b|, one coordinate at a time; b_j stays where H_jj = 0."""
    b = b.copy()
    for _ in range(20_000):
        before = b.copy()
        for j in np.flatnonzero(np.diag(H) > 0):
            rest = c[j] - H[j] @ b + H[j, j] * b[j]
            b[j] = np.sign(rest) * max(abs(rest) - lasso[j], 0) / H[j, j]
        if abs(b - before).max() <= 1e-15 * max(abs(b).max(), 1e-3):
            break
    return b
