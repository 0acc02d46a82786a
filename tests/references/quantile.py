"""Quantile regression from the textbook, in plain NumPy and float64: from vertex to vertex along the best edge.

Koenker, Quantile Regression (2005), section 6.2: at a vertex h the directions -X_h^-1 e_j and +X_h^-1 e_j are tried one
by one, the objective along each is piecewise linear, and its smallest kink brings the next row in.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import lsq_linear


def _rows(X, y, tau, l1, sample_weight, offset, fit_intercept):
    """All rows, weights divided by their sum, with their slopes below and above 0; an L1 penalty is a row a column."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    y = y if offset is None else y - np.asarray(offset, float)
    V = np.c_[X, np.ones(len(y))] if fit_intercept else X
    keep = w > 0
    w = w[keep] / w.sum()
    l1 = np.broadcast_to(np.asarray(l1, float), X.shape[1])
    penalty = np.eye(V.shape[1])[: X.shape[1]]
    low, high = np.r_[(tau - 1) * w, -l1], np.r_[tau * w, l1]
    there = high > low
    return np.r_[V[keep], penalty][there], np.r_[y[keep], 0 * l1][there], low[there], high[there]


def _value(V, y, low, high, b):
    r = y - V @ b
    return np.maximum(low * r, high * r).sum()


def fit(X, y, *, tau, l1=0.0, sample_weight=None, offset=None, fit_intercept=True):
    """coef and intercept."""
    V, y, low, high = _rows(X, y, tau, l1, sample_weight, offset, fit_intercept)
    q = V.shape[1]
    basis = []
    for i in range(len(y)):  # the first independent rows
        if np.linalg.matrix_rank(V[[*basis, i]]) > len(basis):
            basis.append(i)
        if len(basis) == q:
            break
    b = np.linalg.solve(V[basis], y[basis])
    for _ in range(10_000):
        inverse, r = np.linalg.inv(V[basis]), y - V @ b
        r[basis] = 0
        best = (-1e-13, None)
        for j in range(q):
            for sign in (-1.0, 1.0):
                dr = -V @ inverse[:, j] * sign
                dr[np.setdiff1d(basis, basis[j])] = 0
                rate = np.where(r > 0, high * dr, np.where(r < 0, low * dr, np.maximum(low * dr, high * dr))).sum()
                if rate < best[0]:
                    best = (rate, (j, dr, inverse[:, j] * sign))
        if best[1] is None:
            coef = b[: np.shape(X)[1]]
            return coef, b[-1] if fit_intercept else 0.0
        rate, (j, dr, db) = best
        with np.errstate(divide="ignore", invalid="ignore"):
            kinks = np.where(r * dr < 0, -r / dr, np.inf)
        for i in np.argsort(kinks):
            rate += (high[i] - low[i]) * abs(dr[i])
            if rate >= 0:
                break
        b = b + kinks[i] * db
        basis[j] = i
    raise AssertionError("no optimal vertex found")


def _subgradient(coef, intercept, X, y, tau, l1, sample_weight, fit_intercept):
    """The subgradient of smallest norm, by bounded least squares over the rows with residual 0, and the dual values."""
    V, y, low, high = _rows(X, y, tau, l1, sample_weight, None, fit_intercept)
    b = np.r_[coef, intercept] if fit_intercept else np.asarray(coef)
    r = y - V @ b
    zero = np.abs(r) <= 1e-5 * np.abs(y).max()  # float32 parameters come here too
    d = np.where(r > 0, high, low)
    d[zero] = 0
    if zero.any():
        d[zero] = lsq_linear(V[zero].T, -d @ V, (low[zero], high[zero]), method="bvls", tol=1e-15).x
    return -d @ V, float(y @ d), _value(V, y, low, high, b)


def gradient(coef, intercept, X, y, *, tau, l1=0.0, sample_weight=None, fit_intercept=True):
    """The subgradient of smallest norm with respect to coef and intercept."""
    g, _, _ = _subgradient(coef, intercept, X, y, tau, l1, sample_weight, fit_intercept)
    p = len(coef)
    return g[:p], g[p] if fit_intercept else 0.0


def objective(coef, intercept, X, y, *, tau, l1=0.0, sample_weight=None):
    """sum w rho(r) / sum w + sum l1 |coef|."""
    V, y, low, high = _rows(X, y, tau, l1, sample_weight, None, True)
    return _value(V, y, low, high, np.r_[coef, intercept])


def gap(coef, intercept, X, y, *, tau, l1=0.0, sample_weight=None):
    """The duality gap, relative to the objective of the best intercept alone."""
    _, dual, value = _subgradient(np.asarray(coef, float), float(intercept), X, y, tau, l1, sample_weight, True)
    nothing = np.zeros((len(y), 0))
    null = fit(nothing, y, tau=tau, sample_weight=sample_weight)[1]
    return abs(value - dual) / objective(np.zeros(0), null, nothing, y, tau=tau, sample_weight=sample_weight)
