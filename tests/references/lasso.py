"""Lasso and elastic net from the textbook, in plain NumPy and float64: cyclic coordinate descent on centred data.

Hastie, Tibshirani and Wainwright, Statistical Learning with Sparsity, eqs. 2.14 (coordinate descent) and 4.2 (elastic
net); the duality gap: Kim, Koh, Lustig, Boyd and Gorinevsky 2007, eq. 12.
"""

from __future__ import annotations

import numpy as np


def _centred(X, y, sample_weight, offset, fit_intercept):
    """sqrt(w / sum w) times the centred X and y - offset, and their means."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    y = y if offset is None else y - np.asarray(offset, float)
    w = w / w.sum()
    x_mean, y_mean = (w @ X, w @ y) if fit_intercept else (np.zeros(X.shape[1]), 0.0)
    return np.sqrt(w)[:, None] * (X - x_mean), np.sqrt(w) * (y - y_mean), x_mean, y_mean


def fit(X, y, *, l1, l2=0.0, sample_weight=None, offset=None, fit_intercept=True, sweeps=20_000):
    """coef and intercept; constant columns get 0."""
    A, v, x_mean, y_mean = _centred(X, y, sample_weight, offset, fit_intercept)
    p = A.shape[1]
    l1, l2 = np.broadcast_to(np.asarray(l1, float), p), np.broadcast_to(np.asarray(l2, float), p)
    size = (A**2).sum(0)
    size[size <= (1e-14 * x_mean) ** 2] = 0
    coef, r = np.zeros(p), v.copy()
    for _ in range(sweeps):
        change = 0.0
        for j in np.flatnonzero(size):
            z = A[:, j] @ r + size[j] * coef[j]
            new = np.sign(z) * max(abs(z) - l1[j], 0) / (size[j] + l2[j])
            r -= A[:, j] * (new - coef[j])
            change = max(change, abs(new - coef[j]) * np.sqrt(size[j]))
            coef[j] = new
        if change <= 1e-15 * np.linalg.norm(v):
            break
    return coef, y_mean - x_mean @ coef


def objective(coef, intercept, X, y, *, l1, l2=0.0, sample_weight=None, offset=None):
    """sum w r^2 / (2 sum w) + sum l1 |coef| + sum l2 coef^2 / 2."""
    A, v, _, _ = _centred(X, np.asarray(y, float) - intercept, sample_weight, offset, False)
    coef = np.asarray(coef, float)
    r = v - A @ coef
    penalty = np.asarray(l1, float) * np.abs(coef) + 0.5 * np.asarray(l2, float) * coef**2
    return 0.5 * r @ r + penalty.sum()


def gradient(coef, intercept, X, y, *, l1, l2=0.0, sample_weight=None):
    """The subgradient of `objective` of least norm with respect to coef, and the derivative by the intercept."""
    A, v, _, _ = _centred(X, np.asarray(y, float) - intercept, sample_weight, None, False)
    w = np.ones(len(v)) if sample_weight is None else np.asarray(sample_weight, float)
    coef = np.asarray(coef, float)
    r = v - A @ coef
    g = np.asarray(l2, float) * coef - A.T @ r
    l1 = np.broadcast_to(np.asarray(l1, float), coef.shape)
    at_zero = np.sign(g) * np.maximum(np.abs(g) - l1, 0)
    return np.where(coef == 0, at_zero, g + l1 * np.sign(coef)), -np.sqrt(w / w.sum()) @ r


def gap(coef, X, y, *, l1, l2=0.0, sample_weight=None, offset=None, fit_intercept=True):
    """The duality gap relative to the objective of the intercept alone, from primal and dual value; every l1 positive.

    The elastic net is the lasso of X with rows sqrt(l2_j) e_j below it.
    """
    A, v, _, _ = _centred(X, y, sample_weight, offset, fit_intercept)
    coef = np.asarray(coef, float)
    l1, l2 = np.broadcast_to(np.asarray(l1, float), coef.shape), np.broadcast_to(np.asarray(l2, float), coef.shape)
    A, v = np.vstack([A, np.diag(np.sqrt(l2))]), np.concatenate([v, np.zeros(len(coef))])
    r = v - A @ coef
    theta = r * min(1.0, (l1 / np.maximum(np.abs(A.T @ r), 1e-300)).min())
    primal, dual = 0.5 * r @ r + l1 @ np.abs(coef), v @ theta - 0.5 * theta @ theta
    return (primal - dual) / (0.5 * v @ v)
