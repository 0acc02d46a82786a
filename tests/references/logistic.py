"""Binary logistic regression from the textbook, in plain NumPy and float64.

Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, eqs. 4.20 to 4.26: Newton steps, halved until the
objective decreases.  With an L1 penalty: proximal gradient steps with momentum (Beck and Teboulle 2009, FISTA),
restarted whenever the momentum points uphill (O'Donoghue and Candes 2015, eq. 12).
"""

from __future__ import annotations

import numpy as np


def _row_weights(y, class_weight, sample_weight):
    """Rows' weights with class weights multiplied in: weight (1 - y) c_0 + y c_1 for a label or a proportion y."""
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    if class_weight is None:
        return w
    if isinstance(class_weight, str):  # "balanced": sum of weights / (2 * sum of weights of the class)
        class_weight = w.sum() / (2 * np.array([w @ (1 - y), w @ y]))
    return w * ((1 - y) * class_weight[0] + y * class_weight[1])


def _prepare(X, y, class_weight, sample_weight, offset):
    X, y = np.asarray(X, float), np.asarray(y, float)
    offset = np.zeros(len(y)) if offset is None else np.asarray(offset, float)
    return X, y, _row_weights(y, class_weight, sample_weight), offset


def objective(coef, intercept, X, y, *, l1=0.0, l2=0.0, class_weight=None, sample_weight=None, offset=None):
    """Weighted mean of log(1 + exp(eta)) - y eta, half the deviance for labels, plus the penalties."""
    X, y, w, offset = _prepare(X, y, class_weight, sample_weight, offset)
    coef = np.asarray(coef, float)
    eta = X @ coef + float(intercept) + offset
    loss = np.logaddexp(0, eta) - y * eta
    return w @ loss / w.sum() + (np.asarray(l1, float) * abs(coef) + np.asarray(l2, float) * coef**2 / 2).sum()


def gradient(
    coef, intercept, X, y, *, l1=0.0, l2=0.0, class_weight=None, sample_weight=None, offset=None, fit_intercept=True
):
    """The derivative by coef and intercept; where l1 > 0 the subgradient of the smallest norm."""
    X, y, w, offset = _prepare(X, y, class_weight, sample_weight, offset)
    coef = np.asarray(coef, float)
    r = w * (_sigmoid(X @ coef + float(intercept) + offset) - y) / w.sum()
    return least_subgradient(X.T @ r + np.asarray(l2, float) * coef, coef, l1), r.sum() if fit_intercept else 0.0


def least_subgradient(smooth, coef, l1):
    """The element of smooth + l1 * d|coef| that is nearest to zero, entry by entry."""
    l1 = np.broadcast_to(np.asarray(l1, float), coef.shape)
    at_zero = np.sign(smooth) * np.maximum(abs(smooth) - l1, 0)
    return np.where(coef == 0, at_zero, smooth + l1 * np.sign(coef))


def _sigmoid(eta):
    return np.exp(-np.logaddexp(0, -eta))


def fit(X, y, *, l1=0.0, l2=0.0, class_weight=None, sample_weight=None, offset=None, fit_intercept=True):
    """coef and intercept that minimise `objective`."""
    X, y, w, offset = _prepare(X, y, class_weight, sample_weight, offset)
    p = X.shape[1]
    w = w / w.sum()
    A = np.column_stack([X, np.ones(len(y)) if fit_intercept else np.zeros(len(y))])
    ridge = np.append(np.broadcast_to(np.asarray(l2, float), p), 0)
    lasso = np.append(np.broadcast_to(np.asarray(l1, float), p), 0)

    def smooth(b):
        eta = A @ b + offset
        return w @ (np.logaddexp(0, eta) - y * eta) + ridge @ b**2 / 2

    def slope(b):
        return A.T @ (w * (_sigmoid(A @ b + offset) - y)) + ridge * b

    b = np.zeros(p + 1)
    solve = _newton if not lasso.any() else _fista
    b = solve(A, w, offset, ridge, lasso, smooth, slope, b)
    return b[:p], b[p]


def _newton(A, w, offset, ridge, lasso, smooth, slope, b):
    for _ in range(100):
        mean = _sigmoid(A @ b + offset)
        hessian = (A.T * (w * mean * (1 - mean))) @ A + np.diag(ridge)
        step = np.linalg.lstsq(hessian, slope(b), rcond=1e-14)[0]
        size = 1.0
        while smooth(b - size * step) > smooth(b) + 1e-15 and size > 1e-10:
            size /= 2
        b = b - size * step
        if abs(step).max() <= 1e-14 * max(1, abs(b).max()):
            break
    return b


def _fista(A, w, offset, ridge, lasso, smooth, slope, b):
    bound = np.linalg.norm((A.T * w) @ A, 2) / 4 + ridge.max()
    ahead, t = b, 1.0
    for _ in range(200_000):
        moved = ahead - slope(ahead) / bound
        new = np.sign(moved) * np.maximum(abs(moved) - lasso / bound, 0)
        if (ahead - new) @ (new - b) > 0:
            t = 1.0
            ahead = new
        else:
            t, last = (1 + np.sqrt(1 + 4 * t * t)) / 2, t
            ahead = new + (last - 1) / t * (new - b)
        done = abs(new - b).max() <= 1e-15 * max(1, abs(new).max())
        b = new
        if done:
            break
    return b
