"""Certificates of robust, quantile and ordinal regression, kernel ridge, resamples and standard errors, in float64."""

import itertools
from statistics import NormalDist

import numpy as np

from bench.certificates import machines
from bench.certificates.machines import HOPELESS

DELTA = 1.35
TUKEY = 4.685
MAD = NormalDist().inv_cdf(0.75)


def _residuals(task, answer):
    return task.y.astype(np.float64) - task.X.astype(np.float64) @ answer.coef - np.float64(answer.intercept)


def _largest(values):
    found = max(float(np.abs(v).max()) for v in values)
    return found if np.isfinite(found) else HOPELESS


def _equations(task, psi):
    """The largest entry of the mean of psi (x, 1)."""
    return _largest((task.X.T.astype(np.float64) @ psi / len(psi), psi.mean()))


def huber_scale(r, delta=DELTA):
    """The scale s at which the mean of min(r^2 / s^2, delta^2) is 1: the best one for these residuals."""
    low, high = 0.0, 2 * np.sqrt(np.mean(r**2))
    for _ in range(100):
        s = 0.5 * (low + high)
        low, high = (s, high) if np.minimum((r / s) ** 2, delta**2).mean() > 1 else (low, s)
    return high


def _huber(task, answer):
    r = _residuals(task, answer)
    return _equations(task, np.clip(r / huber_scale(r), -DELTA, DELTA)) if np.isfinite(r).all() else HOPELESS


def _tukey(task, answer):
    """The certificate of the estimating equations, with the scale of these residuals."""
    r = _residuals(task, answer)
    if not np.isfinite(r).all():
        return HOPELESS
    z = r * MAD / np.median(np.abs(r))
    return _equations(task, np.where(np.abs(z) <= TUKEY, z * (1 - (z / TUKEY) ** 2) ** 2, 0))


def pinball(r, tau):
    return np.maximum(tau * r, (tau - 1) * r).mean()


def pinball_bound(X, y, tau, steps=100):
    """A lower bound of the mean pinball loss' minimum, to rounding: the dual's value at the end of an interior path.

    max y'a + (tau - 1) sum y  over  0 <= a <= 1, V'a = (1 - tau) V'1, all over n;  Mehrotra's predictor and corrector
    from a = 1 - tau, which holds the equations, as every step does (Portnoy and Koenker 1997).
    """
    V, y = np.column_stack([X, np.ones(len(X))]).astype(np.float64), y.astype(np.float64)
    n = len(y)
    a, best = np.full(n, 1 - tau), -np.inf
    b = np.linalg.lstsq(V, y, rcond=None)[0]
    r = y - V @ b
    size = np.abs(r).mean()
    u, v = np.maximum(r, 0) + size, np.maximum(-r, 0) + size  # multipliers of a <= 1 and a >= 0: y - V b = u - v
    for _ in range(steps):
        value = (y @ a + (tau - 1) * y.sum()) / n
        best = max(best, value)
        if pinball(y - V @ b, tau) - best <= 1e-11 * size:
            break
        s = 1 - a
        D = 1 / (u / s + v / a)
        miss = y - V @ b - u + v
        factor = np.linalg.inv((V.T * D) @ V)

        def direction(low, high, s=s, a=a, u=u, v=v, D=D, miss=miss, factor=factor):
            """The step that makes a v = low and s u = high to first order."""
            right = miss - (high / s - u) + (low / a - v)
            db = factor @ (V.T @ (D * right))
            da = D * (right - V @ db)
            return da, db, high / s - u + u / s * da, low / a - v - v / a * da

        def longest(da, du, dv, s=s, a=a, u=u, v=v):
            moves = ((a, da), (s, -da), (u, du), (v, dv))
            return min(1.0, *(np.min(-x[d < 0] / d[d < 0], initial=np.inf) for x, d in moves))

        da, _, du, dv = direction(0.0, 0.0)
        step = longest(da, du, dv)
        mu = (s @ u + a @ v) / (2 * n)
        ahead = ((s - step * da) @ (u + step * du) + (a + step * da) @ (v + step * dv)) / (2 * n)
        centre = mu * (ahead / mu) ** 3
        da, db, du, dv = direction(centre - da * dv, centre + da * du)
        step = 0.9999 * longest(da, du, dv)
        a, b, u, v = a + step * da, b + step * db, u + step * du, v + step * dv
    return best


_BOUNDS = {}  # of the data that are being raced; one takes seconds where the data are large


def _bound(task, tau):
    key = (task.X.shape, task.X.dtype.str, hash(task.y.tobytes()), tau)
    if key not in _BOUNDS:
        if len(_BOUNDS) >= 32:
            _BOUNDS.clear()
        _BOUNDS[key] = pinball_bound(task.X, task.y, tau)
    return _BOUNDS[key]


def _quantile(task, answer):
    """The gap of the loss over the loss of the best intercept alone; the worst of several quantiles."""
    taus = np.atleast_1d(machines.rounded(task))
    coefs, intercepts = np.reshape(answer.coef, (task.X.shape[1], -1)), np.reshape(answer.intercept, -1)
    worst, y = 0.0, task.y.astype(np.float64)
    for tau, coef, intercept in zip(taus, coefs.T, intercepts, strict=True):
        reached = pinball(_residuals(task, answer._replace(coef=coef, intercept=intercept)), tau)
        if not np.isfinite(reached):
            return HOPELESS
        null = pinball(y - np.quantile(y, tau), tau)
        worst = max(worst, (reached - _bound(task, float(tau))) / null)
    return float(worst)


def _theil_sen(task, answer):
    """One column: the error of slope and intercept, relative.  More: of all subsets' fits, the mean unit vector."""
    X, y = task.X.astype(np.float64), task.y.astype(np.float64)
    coef, intercept = np.asarray(answer.coef, np.float64), float(answer.intercept)
    if X.shape[1] == 1:
        i, j = np.triu_indices(len(y), 1)
        slope = np.median((y[i] - y[j]) / (X[i, 0] - X[j, 0]))
        exact = np.array([slope, np.median(y - slope * X[:, 0])])
        return _largest((np.append(coef, intercept) / exact - 1,))
    rows = np.array(list(itertools.combinations(range(len(y)), X.shape[1] + 1)))
    centre, spread = X.mean(axis=0), X.std(axis=0)
    V = np.column_stack([(X - centre) / spread, np.ones(len(y))])
    fits = np.linalg.solve(V[rows], y[rows][..., None])[..., 0]
    away = fits - np.append(coef * spread, intercept + coef @ centre)
    return _largest((np.linalg.norm((away / np.linalg.norm(away, axis=1, keepdims=True)).mean(axis=0)),))


def consensus(X, y, threshold, rounds=50):
    """The rows within `threshold` of their own least squares, from Tukey's estimator on."""
    V = np.column_stack([X, np.ones(len(y))]).astype(np.float64)
    weight = np.ones(len(y))
    for step in range(rounds):
        root = np.sqrt(weight)
        r = y - V @ np.linalg.lstsq(V * root[:, None], y * root, rcond=None)[0]
        z = np.abs(r) * MAD / np.median(np.abs(r))
        huber = np.minimum(1, DELTA / np.maximum(z, 1e-300))
        weight = huber if step < rounds // 2 else np.maximum(1 - (z / TUKEY) ** 2, 0) ** 2
    for _ in range(rounds):
        inside = np.abs(r) <= threshold
        r = y - V @ np.linalg.lstsq(V[inside], y[inside], rcond=None)[0]
    return inside


def _ransac(task, answer):
    """The share of the rows that agree which the answer's consensus misses."""
    threshold = float(machines.rounded(task))
    agree = np.abs(_residuals(task, answer)) <= threshold
    return float(max(0.0, 1 - agree.sum() / consensus(task.X, task.y, threshold).sum()))


def _ordinal(task, answer):
    """The gradient of the mean log loss by coefficients and thresholds, logit link."""
    theta = np.asarray(answer.intercept, np.float64)
    if not (np.isfinite(theta).all() and np.isfinite(answer.coef).all() and (np.diff(theta) > 0).all()):
        return HOPELESS
    eta = task.X.astype(np.float64) @ answer.coef
    ends = np.concatenate([[-np.inf], theta, [np.inf]])
    above, below = (1 / (1 + np.exp(eta - ends[task.y + k])) for k in (1, 0))
    slope_above, slope_below = (-F * (1 - F) / (above - below) / len(eta) for F in (above, below))
    by_threshold = [
        slope_above[task.y == k].sum() - slope_below[task.y == k + 1].sum() for k in range(len(theta))
    ]  # fmt: skip
    return _largest((task.X.T.astype(np.float64) @ (slope_below - slope_above), np.array(by_threshold)))


def _kernel_ridge(task, answer):
    """The residual of (K + n l2) coef = y over the largest y."""
    l2, gamma = machines.rounded(task)
    coef = np.asarray(answer.coef, np.float64)
    if not np.isfinite(coef).all():
        return HOPELESS
    r = machines.times_kernel(task.X, coef, gamma) + len(coef) * l2 * coef + answer.intercept - task.y
    return _largest((r / np.abs(task.y).max(),))


def _bootstrap(task, answer):
    """The largest gradient of all fits; weights must be counts of as many draws as there are rows."""
    w = np.asarray(answer.values, np.float64)
    if (w < 0).any() or (w != np.round(w)).any() or (w.sum(axis=1) != len(task.X)).any():
        return HOPELESS
    X, coef = task.X.astype(np.float64), np.asarray(answer.coef, np.float64)
    p = 1 / (1 + np.exp(-(coef @ X.T + np.asarray(answer.intercept, np.float64)[:, None])))
    slope = w * (p - task.y) / len(X)
    return _largest((slope @ X + task.hyper * coef, slope.sum(axis=1)))


def hc3(X, y, theta):
    """Standard errors of logistic regression at theta: scores over 1 - leverage between inverse Hessians."""
    V = np.column_stack([X, np.ones(len(X))]).astype(np.float64)
    p = 1 / (1 + np.exp(-V @ theta))
    root = V * np.sqrt(p * (1 - p))[:, None]
    inverse = np.linalg.inv(root.T @ root)
    leverage = np.einsum("ij,jk,ik->i", root, inverse, root)
    scores = V * ((p - y) / (1 - leverage))[:, None]
    return np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))


def _sandwich(task, answer):
    exact = hc3(task.X, task.y, machines.rounded(task))
    return _largest((np.append(answer.coef, answer.intercept) / exact - 1,))


CERTIFICATES = {
    "huber": ("gradient", _huber),
    "m_estimator": ("gradient", _tukey),
    "quantile": ("gap", _quantile),
    "quantiles": ("gap", _quantile),
    "theil_sen": ("error", _theil_sen),
    "ransac": ("gap", _ransac),
    "ordinal": ("gradient", _ordinal),
    "kernel_ridge": ("error", _kernel_ridge),
    "bootstrap": ("gradient", _bootstrap),
    "sandwich": ("error", _sandwich),
}
# scikit-learn's Huber regression stops where its objective no longer changes, whatever its tolerance.
TARGETS = {"huber": 1e-4, "theil_sen": 1e-4, "ransac": 0.01, "kernel_ridge": 1e-4, "sandwich": 1e-4}
