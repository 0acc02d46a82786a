"""Covariances of least squares from the textbook, in plain NumPy and float64.

White 1980; MacKinnon and White 1985, eqs. 3 to 12; Liang and Zeger 1986.  Weights are counts: rows are repeated.
"""

from __future__ import annotations

import numpy as np


def least_squares(X, y, kind, *, l2=0.0, groups=None, intercept=True):
    """The matrix of kind model, HC0 to HC3 or cluster, with l2 times the rows on the coefficients' diagonal."""
    n = len(y)
    V = np.c_[X, np.ones(n)] if intercept else X
    penalty = np.zeros(V.shape[1])
    penalty[: X.shape[1]] = n * l2
    A = np.linalg.inv(V.T @ V + np.diag(penalty))
    r = y - V @ (A @ V.T @ y)
    h = np.einsum("ij,jk,ik->i", V, A, V)
    df = n - h.sum()
    if kind == "model":
        return r @ r / df * A @ V.T @ V @ A
    if kind == "cluster":
        t = np.array([V[groups == g].T @ r[groups == g] for g in np.unique(groups)])
        return A @ t.T @ t @ A * len(t) / (len(t) - 1) * (n - 1) / df
    u = r**2 * {"HC0": 1, "HC1": n / df, "HC2": 1 / (1 - h), "HC3": 1 / (1 - h) ** 2}[kind]
    return A @ (V.T * u) @ V @ A
