"""Answers to the robust, quantile and ordinal models of the benchmarks, by the references beside this file.

Theil and Sen's estimator, consensus and the errors of logistic regression have no other reference.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import minimize
from scipy.stats import theilslopes

import jaxinfra as ji
from bench.certificates.least_squares import Answer
from bench.suite import model_cases
from tests.references import huber, logistic, m_estimator, ordinal, quantile, svm


def _theil_sen(X, y):
    """All subsets' fits about the means, and the point of the smallest sum of distances by BFGS."""
    if X.shape[1] == 1:
        found = theilslopes(y, X[:, 0], method="joint")
        return np.array([found.slope]), found.intercept
    V = np.c_[X - X.mean(0), np.ones(len(y))]
    scale = np.append(X.std(0), 1)
    fits = [np.linalg.solve(V[list(s)], y[list(s)]) for s in itertools.combinations(range(len(y)), V.shape[1])]
    points = np.array(fits) * scale

    def sum_of_distances(theta):
        away = theta - points
        length = np.linalg.norm(away, axis=1)
        return length.mean(), (away / length[:, None]).mean(0)

    theta = minimize(sum_of_distances, np.median(points, axis=0), jac=True).x
    for _ in range(5):  # Newton's steps with differences of the gradient
        H = [
            (sum_of_distances(theta + e)[1] - sum_of_distances(theta - e)[1]) / 2e-6 for e in 1e-6 * np.eye(len(theta))
        ]
        theta = theta - np.linalg.solve(np.array(H), sum_of_distances(theta)[1])
    theta = theta / scale
    return theta[:-1], theta[-1] - theta[:-1] @ X.mean(0)


def _consensus(X, y, threshold):
    """From the median regression on, until the rows within the threshold stay."""
    coef, intercept = quantile.fit(X, y, tau=0.5)
    for _ in range(20):
        inside = np.abs(y - X @ coef - intercept) <= threshold
        theta = np.linalg.lstsq(np.c_[X, np.ones(len(y))][inside], y[inside], rcond=None)[0]
        coef, intercept = theta[:-1], theta[-1]
    return coef, intercept


def _errors(X, y, theta):
    """HC3 of logistic regression, a row at a time."""
    V = np.c_[X, np.ones(len(y))]
    p = 1 / (1 + np.exp(-V @ theta))
    inverse = np.linalg.inv(sum(a * (1 - a) * np.outer(v, v) for a, v in zip(p, V, strict=True)))
    middle = 0
    for a, b, v in zip(p, y, V, strict=True):
        u = (a - b) / (1 - a * (1 - a) * v @ inverse @ v)
        middle = middle + u**2 * np.outer(v, v)
    return np.sqrt(np.diag(inverse @ middle @ inverse))


def answer(model, task):
    X, y, hyper = task.X, task.y, task.hyper
    if model == "huber":
        return Answer(*huber.fit(X, y)[:2])
    if model == "m_estimator":
        return Answer(*m_estimator.fit(X, y, norm=ji.norms.Tukey())[:2])
    if model == "quantile":
        return Answer(*quantile.fit(X, y, tau=hyper))
    if model == "quantiles":
        coefs, intercepts = zip(*(quantile.fit(X, y, tau=tau) for tau in hyper), strict=True)
        return Answer(np.stack(coefs, axis=1), np.array(intercepts))
    if model == "theil_sen":
        return Answer(*_theil_sen(X, y))
    if model == "ransac":
        return Answer(*_consensus(X, y, hyper))
    if model == "ordinal":
        return Answer(*ordinal.fit(X, y))
    if model == "kernel_ridge":
        l2, gamma = hyper
        return Answer(np.linalg.solve(svm.rbf(X, X, gamma) + len(y) * l2 * np.eye(len(y)), y), 0.0)
    if model == "bootstrap":
        rows = np.random.default_rng(5).integers(0, len(y), (3, len(y)))
        weight = np.stack([np.bincount(r, minlength=len(y)) for r in rows])
        coefs, intercepts = zip(*(logistic.fit(X, y, l2=hyper, sample_weight=w) for w in weight), strict=True)
        return Answer(np.stack(coefs), np.array(intercepts), values=weight)
    assert model == "sandwich" and model_cases.CASES[model].hyper
    se = _errors(X, y, hyper)
    return Answer(se[:-1], se[-1])
