"""Least squares and ridge from the textbook, in plain NumPy and float64.

Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, eqs. 3.6 and 3.44; minimum norm: Golub and Van
Loan, Matrix Computations, 5.5.  Ridge is solved as least squares on rows sqrt(penalty) appended to the data.
"""

from __future__ import annotations

import numpy as np


def fit(X, y, *, l2=0.0, sample_weight=None, offset=None, fit_intercept=True):
    """coef and intercept of weighted, ridge-penalised least squares; minimum norm where not unique."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    n, p = X.shape
    w = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
    if offset is not None:
        offset = np.asarray(offset, float)
        y = y - (offset[:, None] if offset.ndim < y.ndim else offset)
    targets = y if y.ndim == 2 else y[:, None]
    penalty = np.broadcast_to(np.asarray(l2, float), (p, *y.shape[1:])).reshape(p, -1)
    x_mean = w @ X / w.sum() if fit_intercept else np.zeros(p)
    y_mean = w @ targets / w.sum() if fit_intercept else np.zeros(targets.shape[1])
    A = np.sqrt(w)[:, None] * (X - x_mean)
    b = np.sqrt(w)[:, None] * (targets - y_mean)
    coef = np.empty((p, targets.shape[1]))
    for j in range(targets.shape[1]):
        rows = np.diag(np.sqrt(w.sum() * penalty[:, j]))
        coef[:, j] = np.linalg.pinv(np.vstack([A, rows]), rcond=1e-13) @ np.concatenate([b[:, j], np.zeros(p)])
    intercept = y_mean - x_mean @ coef
    return (coef, intercept) if y.ndim == 2 else (coef[:, 0], intercept[0])


def objective(coef, intercept, X, y, *, l2=0.0, sample_weight=None, offset=None):
    """sum w r^2 / (2 sum w) + sum l2 coef^2 / 2."""
    X, y, coef = np.asarray(X, float), np.asarray(y, float), np.asarray(coef, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    r = y - X @ coef - np.asarray(intercept, float)
    if offset is not None:
        offset = np.asarray(offset, float)
        r = r - (offset[:, None] if offset.ndim < r.ndim else offset)
    square = r**2 if r.ndim == 1 else (r**2).sum(1)
    return w @ square / (2 * w.sum()) + 0.5 * (np.broadcast_to(np.asarray(l2, float), coef.shape) * coef**2).sum()


def gradient(coef, intercept, X, y, *, l2=0.0, sample_weight=None):
    """The derivative of `objective` with respect to coef and intercept."""
    X, y, coef = np.asarray(X, float), np.asarray(y, float), np.asarray(coef, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    r = y - X @ coef - np.asarray(intercept, float)
    wr = (w * r.T).T / w.sum()
    return np.broadcast_to(np.asarray(l2, float), coef.shape) * coef - X.T @ wr, -wr.sum(0)


def leave_one_out(X, y, *, l2, sample_weight=None, fit_intercept=True):
    """Mean squared error of predicting each row from a refit without it, at the same total penalty l2 * sum(weight)."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    total = 0.0
    for i in np.flatnonzero(w):
        rest = w.copy()
        rest[i] = 0
        coef, intercept = fit(X, y, l2=l2 * w.sum() / rest.sum(), sample_weight=rest, fit_intercept=fit_intercept)
        total = total + w[i] * (y[i] - X[i] @ coef - intercept) ** 2
    return total / w.sum()
