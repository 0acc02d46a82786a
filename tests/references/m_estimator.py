"""M-estimators from the textbook, in plain NumPy and float64: least squares reweighted until nothing changes.

Huber, Robust Statistics (1981), sections 4.8 (psi) and 7.8 (the algorithm, proposal 2).  Norms are read by their names
and constants; none of their methods is called.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm as normal


def psi(norm, z):
    """The derivative of the norm's rho."""
    v, s = np.abs(z), np.sign(z)
    c = {name: float(value) for name, value in vars(norm).items()}

    def hampel():
        fall = np.where(v <= c["b"], c["a"], c["a"] * (c["c"] - v) / (c["c"] - c["b"]))
        return s * np.where(v <= c["a"], v, np.maximum(fall, 0))

    return {
        "Huber": lambda: np.clip(z, -c["k"], c["k"]),
        "Tukey": lambda: np.where(v <= c["c"], z * (1 - (z / c["c"]) ** 2) ** 2, 0),
        "Hampel": hampel,
        "Andrews": lambda: np.where(v <= np.pi * c["a"], c["a"] * np.sin(z / c["a"]), 0),
        "Ramsay": lambda: z * np.exp(-c["a"] * v),
        "Cauchy": lambda: z / (1 + (z / c["c"]) ** 2),
        "Welsch": lambda: z * np.exp(-((z / c["c"]) ** 2)),
    }[type(norm).__name__]()


def rho(norm, z):
    """Its integral from 0, by quadrature from kink to kink."""
    kinks = np.sort([k * float(value) for value in vars(norm).values() for k in (1, np.pi)])

    def integral(v):
        ends = [0, *kinks[kinks < v], v]
        return sum(quad(lambda t: psi(norm, np.float64(t)), *pair)[0] for pair in zip(ends, ends[1:], strict=False))

    return np.array([integral(abs(v)) for v in z])


def _median(v, w):
    """The median of the values repeated by their weights: the mean of the two middle ones."""
    order = np.argsort(v)
    v, total = v[order], np.cumsum(w[order])
    half = total[-1] / 2
    lower = v[np.searchsorted(total, half * (1 - 1e-12))]
    return 0.5 * (lower + v[np.searchsorted(total, half * (1 + 1e-12))])


def scale_of(r, w, estimator, q, d=2.5):
    """mad or proposal2; a number is itself."""
    if estimator == "mad":
        return _median(np.abs(r), w) / normal.ppf(0.75)
    if estimator != "proposal2":
        return float(estimator)
    h = (w.sum() - q) / w.sum() * (d**2 + (1 - d**2) * normal.cdf(d) - 0.5 - d * normal.pdf(d))
    s = _median(np.abs(r), w) / normal.ppf(0.75)
    for _ in range(10_000):
        new = np.sqrt(w @ np.minimum((r / s) ** 2, d**2) / 2 * s**2 / (w.sum() * h))
        if abs(new - s) <= 1e-15 * s:
            break
        s = new
    return s


def _data(X, y, sample_weight, offset, fit_intercept):
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    y = y if offset is None else y - np.asarray(offset, float)
    return np.c_[X, np.ones(len(y))] if fit_intercept else X, y, w


def fit(X, y, *, norm, scale="mad", k2=2.5, sample_weight=None, offset=None, fit_intercept=True):
    """coef, intercept and scale."""
    V, y, w = _data(X, y, sample_weight, offset, fit_intercept)
    p, q = np.shape(X)[1], V.shape[1]
    b = np.linalg.lstsq(np.sqrt(w)[:, None] * V, np.sqrt(w) * y, rcond=None)[0]
    for _ in range(20_000):
        r = y - V @ b
        s = scale_of(r, w, scale, q, k2)
        z = r / s
        h = w * np.where(z == 0, 1, psi(norm, z) / np.where(z == 0, 1, z))
        new = np.linalg.solve((V.T * h) @ V, V.T @ (h * y))
        done = np.abs(new - b).max() <= 1e-15 * np.abs(new).max()
        b = new
        if done:
            break
    return b[:p], b[p] if fit_intercept else 0.0, scale_of(y - V @ b, w, scale, q, k2)


def gradient(coef, intercept, s, X, y, *, norm, sample_weight=None, fit_intercept=True):
    """The derivative of sum w s^2 rho(r / s) / sum w by coef and intercept, s fixed."""
    V, y, w = _data(X, y, sample_weight, None, True)
    g = -V.T @ (w * s * psi(norm, (y - V @ np.r_[coef, intercept]) / s)) / w.sum()
    return g[:-1], g[-1] if fit_intercept else 0.0


def certificate(coef, intercept, s, X, y, *, norm, sample_weight=None):
    """The largest entry of the estimating equations, for a coefficient per root mean square of its column."""
    at = (np.asarray(coef, float), float(intercept), float(s))
    g = gradient(*at, X, y, norm=norm, sample_weight=sample_weight)
    X, _, w = _data(X, y, sample_weight, None, False)
    w = w / w.sum()
    return max(np.abs(g[0] / np.sqrt(w @ (X - w @ X) ** 2)).max(), abs(g[1])) / float(s)
