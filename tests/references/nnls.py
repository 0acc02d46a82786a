"""Nonnegative least squares from the textbook, in plain NumPy and float64: Lawson and Hanson 1974, algorithm 23.10."""

from __future__ import annotations

import numpy as np


def fit(X, y, *, l1=0.0, l2=0.0, sample_weight=None, offset=None, fit_intercept=True):
    """coef and intercept: the passive set grows by the steepest column and shrinks where a coef would turn negative."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    y = y - (0 if offset is None else np.asarray(offset, float))
    x_mean = w @ X / w.sum() if fit_intercept else np.zeros(X.shape[1])
    y_mean = w @ y / w.sum() if fit_intercept else 0.0
    Z = X - x_mean
    p = X.shape[1]
    H = (Z * w[:, None]).T @ Z / w.sum() + np.diag(np.broadcast_to(np.asarray(l2, float), (p,)))
    c = (Z * w[:, None]).T @ (y - y_mean) / w.sum() - np.asarray(l1, float)
    coef, passive = np.zeros(p), np.zeros(p, bool)
    for _ in range(30 * p):
        gradient = c - H @ coef
        gradient[passive] = -np.inf
        if gradient.max() <= 1e-14 * max(np.abs(c).max(), 1e-300):
            break
        passive[gradient.argmax()] = True
        while True:
            s = np.zeros(p)
            s[passive] = np.linalg.lstsq(H[np.ix_(passive, passive)], c[passive], rcond=None)[0]
            if (s[passive] > 0).all():
                break
            turn = passive & (s <= 0)
            share = (coef[turn] / (coef[turn] - s[turn])).min()
            coef = coef + share * (s - coef)
            passive &= coef > 1e-15
            coef[~passive] = 0
        coef = s
    return coef, y_mean - x_mean @ coef


def gradient(coef, intercept, X, y, *, l1=0.0, l2=0.0, sample_weight=None):
    """The part of the gradient that a feasible step could lower, by coef and intercept."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    r = w * (y - X @ coef - intercept) / w.sum()
    g = np.asarray(l2, float) * coef + np.asarray(l1, float) - X.T @ r
    return np.where(coef > 0, g, np.minimum(g, 0)), -r.sum()
