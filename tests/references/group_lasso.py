"""Group lasso and multitask lasso from the textbook, in plain NumPy and float64.

Block coordinate descent with exact majorisation (Yuan and Lin 2006; Simon, Friedman and Hastie 2013): each group in
turn takes a prox-gradient step of its own block until nothing moves.  The gap: Ndiaye et al. 2016, eq. 6.
"""

from __future__ import annotations

import numpy as np


def _problem(X, y, sample_weight, offset, fit_intercept):
    """Weighted means, centred rows times sqrt(w / sum w), and y (n, k) alike."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    if offset is not None:
        y = y - (np.asarray(offset, float) if np.ndim(offset) == y.ndim else np.asarray(offset, float)[:, None])
    Y = y if y.ndim == 2 else y[:, None]
    x_mean = w @ X / w.sum() if fit_intercept else np.zeros(X.shape[1])
    y_mean = w @ Y / w.sum() if fit_intercept else np.zeros(Y.shape[1])
    root = np.sqrt(w / w.sum())[:, None]
    return root * (X - x_mean), root * (Y - y_mean), x_mean, y_mean


def _groups(p, groups, l1, group_weight):
    """The list of (members, lam); without `groups` every row is a group."""
    if groups is None:
        lam = np.broadcast_to(np.asarray(l1, float), (p,))
        return [(np.array([j]), lam[j]) for j in range(p)]
    groups = np.asarray(groups)
    found = []
    for g in np.unique(groups):
        members = np.flatnonzero(groups == g)
        u = np.sqrt(len(members)) if group_weight is None else group_weight[g]
        found.append((members, float(l1) * u))
    return found


def fit(X, y, *, l1, l2=0.0, groups=None, group_weight=None, sample_weight=None, offset=None, fit_intercept=True):
    """coef and intercept; y (n, k) without groups is the multitask lasso."""
    A, B, x_mean, y_mean = _problem(X, y, sample_weight, offset, fit_intercept)
    p = A.shape[1]
    l2 = np.broadcast_to(np.asarray(l2, float), (p,))
    blocks = _groups(p, groups, l1, group_weight)
    W = np.zeros((p, B.shape[1]))
    R = B.copy()
    for _ in range(200_000):
        moved = 0.0
        for members, lam in blocks:
            G = A[:, members]
            step = np.linalg.norm(G, 2) ** 2 + l2[members].max()
            if step == 0:
                continue
            old = W[members].copy()
            u = old + (G.T @ R - l2[members, None] * old) / step
            size = np.linalg.norm(u)
            W[members] = u * max(0.0, 1 - lam / step / size) if size > 0 else 0.0
            R -= G @ (W[members] - old)
            moved = max(moved, np.abs(W[members] - old).max())
        if moved <= 1e-15 * max(1.0, np.abs(W).max()):
            break
    intercept = y_mean - x_mean @ W
    return (W, intercept) if np.ndim(y) == 2 else (W[:, 0], intercept[0])


def gradient(coef, intercept, X, y, *, l1, l2=0.0, groups=None, group_weight=None, sample_weight=None):
    """The subgradient of the objective of smallest norm, by coef and intercept."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    r = w[:, None] * (y.reshape(len(y), -1) - X @ coef.reshape(len(coef), -1) - np.reshape(intercept, (1, -1)))
    r = r / w.sum()
    W = coef.reshape(len(coef), -1)
    g = np.broadcast_to(np.asarray(l2, float), (len(W),))[:, None] * W - X.T @ r
    for members, lam in _groups(len(W), groups, l1, group_weight):
        size = np.linalg.norm(W[members])
        if size > 0:
            g[members] += lam * W[members] / size
        else:
            norm = np.linalg.norm(g[members])
            g[members] *= max(0.0, 1 - lam / norm) if norm > 0 else 0.0
    return g.reshape(coef.shape), -r.sum(0).reshape(np.shape(intercept))


def gap(coef, intercept, X, y, *, l1, l2=0.0, groups=None, group_weight=None, sample_weight=None, fit_intercept=True):
    """The duality gap over the objective of the model without columns; the ridge penalty as rows of the data."""
    A, B, x_mean, y_mean = _problem(X, y, sample_weight, None, fit_intercept)
    W = np.asarray(coef, float).reshape(A.shape[1], -1)
    blocks = _groups(len(W), groups, l1, group_weight)
    l2 = np.broadcast_to(np.asarray(l2, float), (len(W),))
    A = np.vstack([A, np.diag(np.sqrt(l2))])
    B = np.vstack([B, np.zeros((len(W), B.shape[1]))])
    R = B - A @ W
    primal = 0.5 * (R**2).sum() + sum(lam * np.linalg.norm(W[members]) for members, lam in blocks)
    ratio = max(np.linalg.norm((A.T @ R)[members]) / lam for members, lam in blocks if lam > 0)
    theta = R / max(1.0, ratio)
    dual = 0.5 * (B**2).sum() - 0.5 * ((B - theta) ** 2).sum()
    return (primal - dual) / (0.5 * (B**2).sum())
