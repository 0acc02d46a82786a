"""Answers to the penalised and generalised linear models of the benchmarks, in NumPy alone.

`lasso` and `newton` are second references beside `lasso.py`, `group_lasso.py`, `logistic.py` and `glm.py`: two short
methods for all of these models, without weights and offsets, that share no method with the certificates that they check
and serve cross-validation, paths and the squared hinge too.
"""

from __future__ import annotations

import numpy as np

from bench.certificates.least_squares import Answer
from bench.suite import settings


def lasso(X, y, l1, l2=0.0, size=1, positive=False):
    """Proximal gradient descent on blocks of neighbouring columns, each with all its targets, until nothing moves."""
    Xc, yc = X - X.mean(0), (y - y.mean(0)).reshape(len(X), -1)
    step = len(X) / np.linalg.norm(Xc, 2) ** 2
    coef = np.zeros((X.shape[1], yc.shape[1]))
    for _ in range(20000):
        before, coef = coef, coef + step * (Xc.T @ (yc - Xc @ coef) / len(X) - l2 * coef)
        if positive:
            coef = np.maximum(coef, 0)
        else:
            blocks = coef.reshape(-1, size * coef.shape[1])
            norms = np.linalg.norm(blocks, axis=1, keepdims=True)
            keep = np.maximum(1 - step * l1 * np.sqrt(size) / np.maximum(norms, 1e-300), 0)
            coef = (blocks * keep).reshape(coef.shape)
        if np.abs(coef - before).max() < 1e-15:
            break
    coef = coef.reshape(X.shape[1], *y.shape[1:])
    return coef, y.mean(0) - X.mean(0) @ coef


def newton(X, y, l2, slope, classes=1):
    """Newton's method with a Hessian by differences of the gradient, so that nothing is derived twice."""
    A = np.column_stack([X, np.ones(len(X))])
    ridge = np.append(np.full(X.shape[1], l2), 0)[:, None]

    def gradient(w):
        w = w.reshape(A.shape[1], classes)
        eta = A @ w
        by_row = slope(eta if classes > 1 else eta[:, 0], y).reshape(len(X), classes)
        return (A.T @ by_row / len(X) + ridge * w).ravel()

    w = np.zeros(A.shape[1] * classes)
    for _ in range(50):
        H = np.stack([(gradient(w + d) - gradient(w - d)) / 2e-6 for d in 1e-6 * np.eye(w.size)], axis=1)
        w = w - np.linalg.lstsq(H, gradient(w), rcond=1e-8)[0]
    w = w.reshape(A.shape[1], classes)
    return (w[:-1], w[-1]) if classes > 1 else (w[:-1, 0], w[-1, 0])


def folds(task):
    """(training rows, held-out rows) of five equal neighbours."""
    parts = np.array_split(np.arange(len(task.X)), 5)
    return [(np.setdiff1d(np.arange(len(task.X)), part), part) for part in parts]


def _answer(model, task):
    """(coef, intercept, chosen hyper-parameters)."""
    X, y, hyper = task.X, task.y, task.hyper
    if model == "linear_svm_squared":

        def squared_hinge(eta, y):
            return -2 * (2 * y - 1) * np.maximum(1 - (2 * y - 1) * eta, 0)

        return *newton(X, y, 1 / (hyper * len(X)), squared_hinge), None
    slopes = {"logistic": lambda e, y: 1 / (1 + np.exp(-e)) - y, "poisson": lambda e, y: np.exp(e) - y}
    slopes |= {"gamma": lambda e, y: 1 - y * np.exp(-e)}
    slopes |= {"tweedie": lambda e, y: (np.exp(e) - y) * np.exp(-e / 2)}
    if model in slopes:
        return *newton(X, y, hyper, slopes[model]), None
    if model == "multinomial":

        def slope(eta, y):
            p = np.exp(eta) / np.exp(eta).sum(1, keepdims=True)
            return p - np.eye(3)[y]

        return *newton(X, y, hyper, slope, 3), None
    if model == "lasso_path":
        answers = [lasso(X, y, l1) for l1 in hyper]
        return np.stack([c for c, _ in answers]), np.stack([b for _, b in answers]), None
    if model == "lasso_cv":
        losses = np.zeros(len(hyper))
        for train, out in folds(task):
            for i, l1 in enumerate(hyper):
                coef, intercept = lasso(X[train], y[train], l1)
                losses[i] += np.mean((y[out] - X[out] @ coef - intercept) ** 2)
        best = hyper[np.argmin(losses)]
        return *lasso(X, y, best), best
    if model == "logistic_cv":
        losses = np.zeros(len(hyper))
        for train, out in folds(task):
            for i, c in enumerate(hyper):
                coef, intercept = newton(X[train], y[train], c / len(train), slopes["logistic"])
                losses[i] += np.mean(np.log1p(np.exp((1 - 2 * y[out]) * (X[out] @ coef + intercept))))
        best = hyper[np.argmin(losses)]
        return *newton(X, y, best / len(X), slopes["logistic"]), best
    options = {"elastic_net": {"l2": hyper}, "nnls": {"positive": True}, "group_lasso": {"size": settings.GROUP}}
    return *lasso(X, y, hyper, **options.get(model, {})), None


def answer(model, task):
    return Answer(*_answer(model, task))
