"""Certificates of least squares, recomputed in float64 outside the clock, by the same code for every implementation."""

import math
from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """Data and hyper-parameters. For least squares there is one, the l2 of

    min over coef, intercept of  sum |y - X coef - intercept|^2 / (2 rows) + l2 / 2 |coef|^2.
    """

    X: np.ndarray
    y: np.ndarray
    hyper: float | np.ndarray = 0.0
    fit_intercept: bool = True


class Answer(NamedTuple):
    """coef of a kernel machine: its signed dual variables (rows,), or (pairs, rows) with an intercept each."""

    coef: np.ndarray  # (columns,) or (columns, targets); a path has one for each penalty
    intercept: np.ndarray  # () or (targets,)
    chosen: float | np.ndarray | None = None  # the hyper-parameters that were chosen among several
    folds: "Answer | None" = None  # the paths of all folds, where the implementation shows them
    values: np.ndarray | None = None  # predictions, where they are what is timed


def capacity(dtype):
    """Decimal digits that a dtype holds: 6.9 for float32, 15.7 for float64."""
    return -math.log10(float(np.finfo(dtype).eps))


def digits(value, exact):
    """Correct decimal digits of an array, by the norm."""
    error = np.linalg.norm(np.asarray(value, float) - exact) / np.linalg.norm(exact)
    return -math.log10(error) if error > 0 else math.inf


def lost(correct, dtype):
    """Digits lost of those that the dtype holds. Lower is better, as asv expects; 0 is perfect."""
    return capacity(dtype) if math.isnan(correct) else float(np.clip(capacity(dtype) - correct, 0, capacity(dtype)))


def _design(task):
    """Float64 copies of the data with a column of ones, columns scaled to unit norm, and those that vary."""
    X = np.asarray(task.X, np.float64)
    y = np.asarray(task.y, np.float64).reshape(len(X), -1)
    # A constant column is dependent on the intercept; the minimum-norm solution gives it no weight.
    varies = np.ptp(X, axis=0) > 0 if task.fit_intercept else np.any(X != 0, axis=0)
    A = X[:, varies]
    if task.fit_intercept:
        A = np.column_stack([A, np.ones(len(X))])
    scale = np.linalg.norm(A, axis=0)
    return A / scale, y, scale, varies


def _residual(A, x, y):
    """The residual y - A x in extended precision, a block of rows at a time."""
    x = np.asarray(x, np.longdouble)
    blocks = range(0, len(A), 4096)
    return np.concatenate([y[i : i + 4096] - A[i : i + 4096].astype(np.longdouble) @ x for i in blocks])


def _gradient(A, r):
    """The product A' r in extended precision."""
    blocks = range(0, len(A), 4096)
    return sum(A[i : i + 4096].T.astype(np.longdouble) @ r[i : i + 4096] for i in blocks)


def reference(task, steps=8):
    """The solution to float64 accuracy: QR, then refinement with residuals in extended precision.

    Where long double is no wider than double, it is the refined QR solution. Minimum norm if columns are constant.
    """
    from scipy.linalg import solve_triangular

    A, y, scale, varies = _design(task)
    penalty = np.full(A.shape[1], len(A) * task.hyper) / scale**2
    if task.fit_intercept:
        penalty[-1] = 0.0
    R = np.linalg.qr(np.vstack([A, np.diag(np.sqrt(penalty))]) if task.hyper else A, mode="r")
    x = np.zeros((A.shape[1], y.shape[1]), np.longdouble)
    previous = math.inf
    for _ in range(steps):
        g = (_gradient(A, _residual(A, x, y)) - penalty[:, None] * x).astype(np.float64)
        step = solve_triangular(R, solve_triangular(R, g, trans="T"))
        size = np.linalg.norm(step)
        if not size < previous:
            break
        x, previous = x + step, size
        if size < np.finfo(np.float64).eps / 16 * float(np.linalg.norm(x.astype(np.float64))):
            break
    x = np.asarray(x / scale[:, None], np.float64)
    coef = np.zeros((task.X.shape[1], y.shape[1]))
    coef[varies] = x[: varies.sum()]
    intercept = x[-1] if task.fit_intercept else np.zeros(y.shape[1])
    return Answer(coef, intercept) if np.ndim(task.y) == 2 else Answer(coef[:, 0], intercept[0])


def certify(task, answer, exact):
    """The lost digits of coef, the excess objective relative to the model without columns, and the gradient.

    The excess is the exact quadratic form of the error, so that it does not drown in rounding.
    """
    X, y = np.asarray(task.X, np.float64), np.asarray(task.y, np.float64)
    rows = len(X)
    coef, intercept = np.asarray(answer.coef, np.float64), np.asarray(answer.intercept, np.float64)
    if coef.shape != exact.coef.shape or not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        return {"lost_digits": capacity(task.X.dtype), "excess_objective": math.nan, "gradient": math.nan}
    d, d0 = coef - exact.coef, intercept - exact.intercept
    null = y - y.mean(axis=0) if task.fit_intercept else y
    excess = (np.sum((X @ d + d0) ** 2) / rows + task.hyper * np.sum(d**2)) / (np.sum(null**2) / rows)
    gradient = -X.T @ (y - X @ coef - intercept) / rows + task.hyper * coef
    return {
        "lost_digits": lost(digits(coef, exact.coef), task.X.dtype),
        "excess_objective": float(excess),
        "gradient": float(np.abs(gradient).max() / np.abs(X.T @ null / rows).max()),
    }


def certifier(task):
    """`certify` for answers that may have chosen their l2, each distinct problem solved once."""
    exact = {}

    def certified(answer):
        asked = task if answer.chosen is None else task._replace(hyper=answer.chosen)
        if asked.hyper not in exact:
            exact[asked.hyper] = reference(asked)
        return certify(asked, answer, exact[asked.hyper])

    return certified
