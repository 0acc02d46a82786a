"""How far a robust fit is from solving its problem: see `certificates.py`."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tests.certificates import LONG, SLACK, TINY, Problem, longs, stationary


def huber(problem, params, delta=1.35):
    coef, intercept, scale = longs(*params)
    z = (problem.y - problem.X @ coef - intercept) / scale
    noise = (problem.rounding(coef, intercept) + SLACK * problem.eps * np.abs(problem.y)) / scale
    equation = abs(problem.w @ np.minimum(z * z, delta**2) - 1)
    allowed = 10 * problem.tol + 2 * delta * problem.w @ np.minimum(noise, delta)
    psi = np.clip(z, -delta, delta)
    return max(stationary(problem, -psi, np.minimum(noise, 2 * delta), LONG(1), coef), float(equation / allowed))


def m_estimator(problem, params, psi):
    coef, intercept, scale = longs(*params)
    r = problem.y - problem.X @ coef - intercept
    noise = (problem.rounding(coef, intercept) + SLACK * problem.eps * np.abs(problem.y)) / scale
    order = np.argsort(np.abs(r))
    sums = np.cumsum(problem.w[order])
    # Weights that sum to one half up to rounding make every value between two rows a median.
    low, high = (np.abs(r)[order][min(np.searchsorted(sums, 0.5 + d), len(r) - 1)] for d in (-1e-5, 1e-5))
    slack = scale * (10 * problem.tol + noise.max())
    off = max(low / LONG(0.6744897501960817) - scale - slack, scale - slack - high / LONG(0.6744897501960817)) / slack
    return max(stationary(problem, -psi(r / scale), np.minimum(noise, 10), LONG(1), coef), float(off))


def consensus(problem, fit):
    """Least squares of the rows that agree, where their weight and sum of squares are those that the fit counts: of two
    sets of the same weight it keeps the first.  None may be on the edge."""
    coef, intercept, c = longs(*fit.params, fit.info.threshold)
    middle = _median(problem.y, problem.w)
    spread = _median(np.abs(problem.y - middle), problem.w)
    size = np.abs(problem.y - problem.X @ coef - intercept)
    noise = problem.rounding(coef, intercept) + SLACK * problem.eps * np.abs(problem.y)
    inside = size <= c
    weight, square = inside @ problem.raw, (inside * problem.raw) @ size**2
    same = [abs(weight / LONG(fit.info.inliers) - 1), abs(square / weight / (2 * LONG(fit.info.objective)) - 1)]
    if not max(same) < problem.eps**0.75 or (np.abs(size - c) < noise).any():
        return np.nan
    part = Problem(problem.X[inside], problem.y[inside], problem.raw[inside], problem.eps, problem.tol)
    slope = part.X @ coef + intercept - part.y
    null = part.size(part.y - part.w @ part.y)
    off = abs(spread - c) / (SLACK * problem.eps * np.abs(problem.y).max() + TINY)
    return max(stationary(part, slope, noise[inside], null, coef), float(off))


def _median(v, w):
    order = np.argsort(v)
    sums = np.cumsum(w[order])
    low, high = (v[order][min(np.searchsorted(sums, 0.5 + d), len(v) - 1)] for d in (-1e-12, 1e-12))
    return (low + high) / 2


def spatial_median(problem, params, most):
    """The mean of the unit vectors towards the fits of all subsets, where all are taken; beside it what the rounding of
    those fits can turn them by."""
    coef, intercept = longs(*params)
    n, q = len(problem.y), len(coef) + 1
    if math.comb(len(problem.keep), q) > most or problem.lost.any():
        return np.nan
    rows = np.array(list(itertools.combinations(range(n), q)))
    spread = problem.size(problem.centred)
    Z = np.c_[problem.centred / spread, np.ones(n, LONG)]
    sizes = np.linalg.svd(Z[rows].astype(float), compute_uv=False)
    ratio, edge = sizes[:, -1] / sizes[:, 0], float(problem.eps) ** 0.75
    share = np.prod(problem.raw[rows], axis=1)
    share = share / share.sum()
    # The fit's own measure of a condition is right to a factor q^2.
    doubtful = (ratio > edge / (3 * q**2)) & (ratio < 3 * q**2 * edge)
    regular = ratio >= 3 * q**2 * edge
    if not regular.any():
        return np.nan
    A, v = Z[rows][regular], share[regular]
    points = _solved(A, problem.y[rows][regular])
    mean = problem.w @ problem.X
    theta = np.append(coef * spread, intercept + mean @ coef)
    moved = np.append(np.abs(coef) * spread, np.abs(intercept) + np.abs(mean) @ np.abs(coef))
    noise = SLACK * problem.eps * (np.sqrt((points**2).sum(1)) / ratio[regular] + np.sqrt((moved**2).sum()))
    away = theta - points
    length = np.sqrt((away**2).sum(1))
    far = length > noise
    pull = (v[far] / length[far]) @ away[far]
    turned = v[far] @ np.minimum(1, 2 * noise[far] / length[far])
    allowed = 10 * problem.tol + turned + v[~far].sum() + share[doubtful].sum()
    return float(np.sqrt((pull**2).sum()) / allowed)


def _solved(A, b):
    """A^-1 b for a stack of systems, by elimination with row pivots: LAPACK has no extended precision."""
    A = np.concatenate([A, b[..., None]], 2)
    q, every = A.shape[1], np.arange(len(A))
    for k in range(q):
        pivot = k + np.abs(A[:, k:, k]).argmax(1)
        A[every, k], A[every, pivot] = A[every, pivot], A[every, k].copy()
        A[:, k] = A[:, k] / A[:, k, k][:, None]
        for i in set(range(q)) - {k}:
            A[:, i] = A[:, i] - A[:, i, k][:, None] * A[:, k]
    return A[:, :, q]
