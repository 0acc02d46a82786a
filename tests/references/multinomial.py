"""Multinomial logistic regression from the textbook, in plain NumPy and float64.

Smooth: Newton's method with step halving on all K classes, the pseudo-inverse taking out what no penalty determines
(Hastie, Tibshirani and Friedman, 4.4, for two classes; Boehning 1992 for K).  L1: proximal gradient steps (ISTA, Beck
and Teboulle 2009, with their momentum), very many of them.
"""

from __future__ import annotations

import numpy as np


def _mass(y, K, sample_weight, class_weight):
    """Weight of every row and class (n, K), summing to 1, from labels (n,) or soft labels (n, K)."""
    y = np.asarray(y)
    Y = np.eye(K)[y.astype(int)] if y.ndim == 1 else y.astype(float)
    w = np.ones(len(Y)) if sample_weight is None else np.asarray(sample_weight, float)
    T = Y * w[:, None]
    if isinstance(class_weight, str):
        class_weight = T.sum() / (K * T.sum(0))
    if class_weight is not None:
        T = T * np.asarray(class_weight, float)
    return T / T.sum()


def _logits(coef, intercept, X, offset):
    eta = np.asarray(X, float) @ np.asarray(coef, float) + np.asarray(intercept, float)
    if offset is None:
        return eta
    offset = np.asarray(offset, float)
    return eta + (offset[:, None] if offset.ndim == 1 else offset)


def _log_softmax(eta):
    eta = eta - eta.max(1, keepdims=True)
    return eta - np.log(np.exp(eta).sum(1, keepdims=True))


def objective(coef, intercept, X, y, *, l1=0.0, l2=0.0, sample_weight=None, class_weight=None, offset=None):
    """Weighted mean cross-entropy + sum l1 |coef| + sum l2 coef^2 / 2."""
    coef = np.asarray(coef, float)
    T = _mass(y, coef.shape[1], sample_weight, class_weight)
    loss = -(T * _log_softmax(_logits(coef, intercept, X, offset))).sum()
    return loss + (np.broadcast_to(l1, coef.shape) * np.abs(coef) + np.broadcast_to(l2, coef.shape) * coef**2 / 2).sum()


def gradient(coef, intercept, X, y, *, l1=0.0, l2=0.0, sample_weight=None, class_weight=None, offset=None):
    """The derivative of `objective` by coef and intercept; with l1 the subgradient of least norm."""
    X, coef = np.asarray(X, float), np.asarray(coef, float)
    T = _mass(y, coef.shape[1], sample_weight, class_weight)
    P = np.exp(_log_softmax(_logits(coef, intercept, X, offset)))
    R = P * T.sum(1, keepdims=True) - T
    g = X.T @ R + np.broadcast_to(l2, coef.shape) * coef
    l1 = np.broadcast_to(np.asarray(l1, float), coef.shape)
    zero = np.sign(g) * np.maximum(np.abs(g) - l1, 0)
    return np.where(coef == 0, zero, g + l1 * np.sign(coef)), R.sum(0)


def fit(
    X, y, *, n_classes, l1=0.0, l2=0.0, sample_weight=None, class_weight=None, offset=None, fit_intercept=True,
    iterations=20000,
):  # fmt: skip
    """coef (p, K) and intercept (K,)."""
    X, K = np.asarray(X, float), n_classes
    n, p = X.shape
    Z = np.hstack([X, np.ones((n, int(fit_intercept)))])
    q = Z.shape[1]
    T = _mass(y, K, sample_weight, class_weight)
    a = T.sum(1)
    penalty = np.zeros((q, K))
    penalty[:p] = np.broadcast_to(np.asarray(l2, float), (p, K))
    offset = np.zeros((n, K)) if offset is None else np.asarray(offset, float)
    offset = offset[:, None] if offset.ndim == 1 else offset

    def smooth(W):
        logp = _log_softmax(Z @ W + offset)
        P = np.exp(logp)
        return -(T * logp).sum() + 0.5 * (penalty * W**2).sum(), Z.T @ (P * a[:, None] - T) + penalty * W, P

    W = np.zeros((q, K))
    if np.any(l1):
        lasso = np.zeros((q, K))
        lasso[:p] = np.broadcast_to(np.asarray(l1, float), (p, K))
        step = 1 / (0.5 * np.linalg.eigvalsh((Z * a[:, None]).T @ Z)[-1] + penalty.max())
        V, t = W, 1.0
        for _ in range(iterations):
            U = V - step * smooth(V)[1]
            new = np.sign(U) * np.maximum(np.abs(U) - step * lasso, 0)
            if ((V - new) * (new - W)).sum() > 0:  # the momentum points uphill: start it again
                t, V = 1.0, W
                continue
            later = (1 + np.sqrt(1 + 4 * t * t)) / 2
            V, W, t = new + (t - 1) / later * (new - W), new, later
    else:
        for _ in range(100):
            f, g, P = smooth(W)
            H = np.diag(penalty.T.reshape(-1))
            for k in range(K):
                for m in range(K):
                    s = a * P[:, k] * (float(k == m) - P[:, m])
                    H[k * q : (k + 1) * q, m * q : (m + 1) * q] += (Z * s[:, None]).T @ Z
            d = -(np.linalg.pinv(H, rcond=1e-13, hermitian=True) @ g.T.reshape(-1)).reshape(K, q).T
            t = 1.0
            while smooth(W + t * d)[0] > f + 1e-15 and t > 1e-10:
                t /= 2
            W = W + t * d
            if np.abs(d).max() < 1e-13:
                break
    coef = W[:p]
    free = (np.broadcast_to(l1, coef.shape) + np.broadcast_to(l2, coef.shape)).sum(1) == 0
    coef = coef - free[:, None] * coef.mean(1, keepdims=True)
    intercept = W[p] - W[p].mean() if fit_intercept else np.zeros(K)
    return coef, intercept
