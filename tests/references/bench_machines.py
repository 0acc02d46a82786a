"""Answers to the machines of the benchmarks, by the solver of `svm.py`, in NumPy alone."""

from __future__ import annotations

import numpy as np

from bench.certificates.least_squares import Answer
from bench.suite import settings
from tests.references import svm


def _kernel(X, gamma, Z=None):
    return svm.rbf(X, X if Z is None else Z, gamma)


def _classifier(X, sign, C, gamma):
    dual = svm.svc(_kernel(X, gamma), sign, np.full(len(X), C))
    beta = svm.solve(dual)
    return beta, -dual.rho(beta)[0]


def _pairs(X, y, C, gamma):
    coefs, intercepts = [], []
    for i in range(3):
        for j in range(i + 1, 3):
            rows, coef = np.flatnonzero((y == i) | (y == j)), np.zeros(len(y))
            coef[rows], intercept = _classifier(X[rows], np.where(y[rows] == j, 1.0, -1.0), C, gamma)
            coefs.append(coef)
            intercepts.append(intercept)
    return Answer(np.array(coefs), np.array(intercepts))


def _grid(X, sign, Cs, gammas):
    """Contiguous folds; the cell of most rows right, the first of them with C before gamma."""
    coefs = np.zeros((len(gammas), settings.FOLDS, len(Cs), len(X)))
    intercepts, right = np.zeros(coefs.shape[:3]), np.zeros((len(Cs), len(gammas)), int)
    for fold, out in enumerate(np.array_split(np.arange(len(X)), settings.FOLDS)):
        rows = np.setdiff1d(np.arange(len(X)), out)
        for j, gamma in enumerate(gammas):
            for i, C in enumerate(Cs):
                beta, intercept = _classifier(X[rows], sign[rows], C, gamma)
                coefs[j, fold, i, rows], intercepts[j, fold, i] = beta, intercept
                decision = _kernel(X[out], gamma, X[rows]) @ beta + intercept
                right[i, j] += ((decision >= 0) == (sign[out] > 0)).sum()
    i, j = np.unravel_index(right.argmax(), right.shape)
    chosen = np.array([Cs[i], gammas[j]])
    return Answer(*_classifier(X, sign, *chosen), chosen, Answer(coefs, intercepts))


def answer(model, task):
    X, y, numbers = task.X, task.y, task.hyper
    sign, ones = 2.0 * y - 1, np.ones(len(y))
    if model in ("svc", "svc_hard"):
        return Answer(*_classifier(X, sign, *numbers))
    if model == "svc_pairs":
        return _pairs(X, y, *numbers)
    if model == "svc_grid":
        return _grid(X, sign, *numbers)
    if model == "svc_predict":
        scale, intercept, gamma = numbers
        return Answer(scale * sign, intercept, values=_kernel(X, gamma) @ (scale * sign) + intercept)
    if model == "linear_svm":
        dual = svm.svc(X @ X.T, sign, numbers * ones)
        beta = svm.solve(dual)
        return Answer(X.T @ beta, -dual.rho(beta)[0])
    K = _kernel(X, numbers[-1])
    if model == "nu_svc":
        dual = svm.nu_svc(K, sign, ones, numbers[0])
        beta = svm.solve(dual)
        up, down = dual.rho(beta)
        r = (up - down) / 2
        return Answer(beta / r, -(up + down) / (2 * r))
    if model == "one_class":
        dual = svm.one_class(K, ones, numbers[0])
        beta = svm.solve(dual)
        return Answer(beta, -dual.rho(beta)[0])
    dual = (svm.svr if model == "svr" else svm.nu_svr)(K, y, numbers[0] * ones, numbers[1])
    beta = svm.solve(dual)
    return Answer(beta[: len(y)] + beta[len(y) :], -dual.rho(beta).mean())
