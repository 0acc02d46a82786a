"""Huber's regression with its scale from the textbook, in plain NumPy and float64.

Huber, Robust Statistics (1981), sections 7.7 and 7.8: in turns the scale for given residuals, a root of
sum w (min(|r / s|, delta)^2 - 1) = 0, and a step of weighted least squares for a given scale.
"""

from __future__ import annotations

import numpy as np


def _data(X, y, sample_weight, offset, fit_intercept):
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    y = y if offset is None else y - np.asarray(offset, float)
    return np.c_[X, np.ones(len(y))] if fit_intercept else X, y, w / w.sum()


def _scale(r, w, delta):
    low, high = 0.0, np.sqrt(w @ r**2) * 2
    for _ in range(200):
        s = 0.5 * (low + high)
        more = w @ np.minimum((r / s) ** 2, delta**2) > 1
        low, high = (s, high) if more else (low, s)
    return s


def fit(X, y, *, delta=1.35, l2=0.0, sample_weight=None, offset=None, fit_intercept=True):
    """coef, intercept and scale."""
    V, y, w = _data(X, y, sample_weight, offset, fit_intercept)
    p = np.shape(X)[1]
    ridge = np.zeros(V.shape[1])
    ridge[:p] = l2
    b = np.linalg.lstsq(np.sqrt(w)[:, None] * V, np.sqrt(w) * y, rcond=None)[0]
    for _ in range(5000):
        r = y - V @ b
        s = _scale(r, w, delta)
        h = w * np.minimum(1, delta * s / np.maximum(np.abs(r), 1e-300))
        new = np.linalg.solve((V.T * h) @ V / s + np.diag(ridge), V.T @ (h * y) / s)
        done = np.abs(new - b).max() <= 1e-14 * np.abs(new).max()
        b = new
        if done:
            break
    return b[:p], b[p] if fit_intercept else 0.0, _scale(y - V @ b, w, delta)


def gradient(coef, intercept, scale, X, y, *, delta=1.35, l2=0.0, sample_weight=None, fit_intercept=True):
    """The derivative of the objective by coef, intercept and scale."""
    V, y, w = _data(X, y, sample_weight, None, True)
    z = (y - V @ np.r_[coef, intercept]) / scale
    psi = np.clip(z, -delta, delta)
    g = -V.T @ (w * psi)
    return g[:-1] + l2 * coef, g[-1] if fit_intercept else 0.0, 0.5 - w @ psi**2 / 2


def certificate(coef, intercept, scale, X, y, *, delta=1.35, l2=0.0, sample_weight=None):
    """The largest entry of the gradient, for a coefficient per root mean square of its column."""
    g = gradient(np.asarray(coef, float), float(intercept), float(scale), X, y, delta=delta, l2=l2,
                 sample_weight=sample_weight)  # fmt: skip
    X, _, w = _data(X, y, sample_weight, None, False)
    spread = np.sqrt(w @ (X - w @ X) ** 2)
    return max(np.abs(g[0] / spread).max(), abs(g[1]), abs(g[2]))
