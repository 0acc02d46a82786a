"""Cumulative link models from the textbook, in plain NumPy and float64.

Agresti, Analysis of Ordinal Categorical Data (2nd ed. 2010), section 5.1: the score from densities at both thresholds;
Newton's method with the Jacobian of the score by central differences, steps halved until the loss decreases.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import cauchy, gumbel_l, logistic, norm

DISTRIBUTIONS = {"Logit": logistic, "Probit": norm, "CLogLog": gumbel_l, "Cauchit": cauchy}


def _data(X, y, sample_weight, offset):
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    o = np.zeros(len(y)) if offset is None else np.asarray(offset, float)
    return np.asarray(X, float), np.asarray(y), w / w.sum(), o


def _ends(coef, thresholds, X, y, offset):
    t = np.r_[-np.inf, thresholds, np.inf]
    eta = X @ coef + offset
    return t[y + 1] - eta, t[y] - eta


def objective(coef, thresholds, X, y, *, link=None, l2=0.0, sample_weight=None, offset=None):
    """Mean log loss plus penalty; infinite where the thresholds are out of order."""
    if (np.diff(thresholds) <= 0).any():
        return np.inf
    X, y, w, offset = _data(X, y, sample_weight, offset)
    F = DISTRIBUTIONS["Logit" if link is None else type(link).__name__]
    a, b = _ends(coef, thresholds, X, y, offset)
    # The smaller of both tails.
    P = np.where(a + b > 0, F.sf(b) - F.sf(a), F.cdf(a) - F.cdf(b))
    return -w @ np.log(P) + (np.asarray(l2) * coef**2).sum() / 2


def _density(F, v):
    """0 at infinity, where scipy's is NaN for some distributions."""
    return np.where(np.isfinite(v), F.pdf(np.where(np.isfinite(v), v, 0)), 0)


def gradient(coef, thresholds, X, y, *, link=None, l2=0.0, sample_weight=None, offset=None):
    """Its derivative by coef and thresholds."""
    X, y, w, offset = _data(X, y, sample_weight, offset)
    F = DISTRIBUTIONS["Logit" if link is None else type(link).__name__]
    a, b = _ends(coef, thresholds, X, y, offset)
    P = np.where(a + b > 0, F.sf(b) - F.sf(a), F.cdf(a) - F.cdf(b))
    da, db = -w * _density(F, a) / P, w * _density(F, b) / P
    K = len(thresholds) + 1
    return (
        -X.T @ (da + db) + np.asarray(l2) * coef,
        np.array([da[y == k].sum() + db[y == k + 1].sum() for k in range(K - 1)]),
    )


def fit(X, y, *, link=None, l2=0.0, sample_weight=None, offset=None):
    """coef and thresholds."""
    p, K = np.shape(X)[1], int(np.max(y)) + 1
    given = {"link": link, "l2": l2, "sample_weight": sample_weight, "offset": offset}
    X, y, w, _ = _data(X, y, sample_weight, offset)
    share = np.cumsum([w[y == k].sum() for k in range(K - 1)])
    theta = np.r_[np.zeros(p), np.log(share / (1 - share))]

    def score(v):
        return np.concatenate(gradient(v[:p], v[p:], X, y, **given))

    for _ in range(200):
        g = score(theta)
        J = np.stack([(score(theta + e) - score(theta - e)) / 2e-6 for e in np.eye(len(theta)) * 1e-6])
        size, U = np.linalg.eigh((J + J.T) / 2)
        step = U @ (U.T @ g / np.abs(size))  # downhill where the loss is not convex
        value, t = objective(theta[:p], theta[p:], X, y, **given), 1.0
        while objective(*np.split(theta - t * step, [p]), X, y, **given) > value + 1e-13 and t > 1e-10:
            t /= 2
        theta = theta - t * step
        if np.abs(step).max() < 1e-12:
            break
    return theta[:p], theta[p:]
