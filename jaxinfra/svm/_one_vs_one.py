"""Two classes as one machine, several as one machine for each pair of them: what svc and nu_svc share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinfra import kernels
from jaxinfra._core import labels
from jaxinfra._core.finish import usable, worst
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Status, SupportInfo
from jaxinfra.solvers.dual.problem import Dual
from jaxinfra.svm import _linear_kernel, _machine
from jaxinfra.svm._input import Given, Labels, read_classes
from jaxinfra.svm._machine import Found


def pairs(classes: int) -> int:
    """The number of machines for several classes; 0 for two, whose single machine has no such axis."""
    return classes * (classes - 1) // 2 if classes > 2 else 0


def bounds(given: Given, C: Any, classes: int, balanced: bool) -> Labels:
    """The labels, with the limits C_i; -1 where C is not positive."""
    data = read_classes(given, classes, balanced)
    C = jnp.broadcast_to(jnp.asarray(C), data.limit.shape)
    # A weight of 0 makes a row absent, but with a C of 0 the problem has no solution.
    return data._replace(limit=jnp.where(C <= 0, -1, C * data.limit))


def shared(X: jax.Array, kernel: kernels.Kernel, rare: Rare = WHOLE) -> Any:
    """The kernel matrix of `_linear_kernel.centred` rows for several machines: all of it unless it is very large."""
    X = _linear_kernel.centred(X, kernel)[0]
    return _machine.kernel_matrices(X, kernel, full=True if X.shape[0] <= _machine.SHARED else None, rare=rare)


def chosen(X: jax.Array, kernel: kernels.Kernel, at: jax.Array) -> jax.Array:
    """Some rows; for a precomputed kernel the values between them."""
    return X[at[:, None], at[None]] if isinstance(kernel, kernels.Precomputed) else X[at]


class Pair(NamedTuple):
    """One machine: the coefficients and intercept, and the figures of its dual."""

    coef: jax.Array
    intercept: jax.Array
    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    violation: jax.Array


def hinge(sign: jax.Array, bound: jax.Array) -> Dual:
    """Signed variables: 0..C for a row of sign +1, -C..0 for -1; a row of sign 0 is absent."""
    limit = sign * bound
    # A negative bound leaves no point: 1..-1.
    lower, upper = (jnp.where(bound < 0, v, pick(limit, 0)) for v, pick in ((1, jnp.minimum), (-1, jnp.maximum)))
    return Dual(-sign, lower, upper, None, None)


class Machines(NamedTuple):
    """The machine of a solved dual; `sound`: whether such a machine exists."""

    coef: jax.Array
    intercept: jax.Array
    objective: jax.Array
    sound: jax.Array


# A pair's sign (+1 or -1, 0 for rows of neither class) and weights -> its dual, and the solved dual -> its machine.
Build = Callable[[jax.Array, jax.Array], Dual]
Finish = Callable[[Found], "Machines"]


def each(X: jax.Array, data: Labels, classes: int, capacity: int, arrays: Any, solve: Callable[..., Any]) -> Any:
    """Call `solve(rows, at, sign, w, arrays_of_the_pair)` for every pair i < j, with class j positive.

    rows (capacity,): which rows belong to the pair, n beyond them; at: the same within bounds; arrays: with a leading
    axis of pairs, or None.
    """
    n = X.shape[0]
    index = jnp.stack(labels.pairs(classes), 1)

    def one(given: tuple[jax.Array, Any]) -> Any:
        pair, arrays = given
        sign = (data.y == pair[1]).astype(X.dtype) - (data.y == pair[0]).astype(X.dtype)
        rows = jnp.nonzero(sign, size=capacity, fill_value=n)[0]
        at = jnp.minimum(rows, n - 1)
        used = rows < n
        return solve(rows, at, jnp.where(used, sign[at], 0), jnp.where(used, data.limit[at], 0), arrays)

    return lax.map(one, (index, arrays))


def fit(
    given: Given, data: Labels, init: jax.Array | None, build: Build, begin: Callable[..., jax.Array], finish: Finish,
    *, tol: jax.Array, max_iter: jax.Array, classes: int, capacity: int, matrices: Any = None, rare: Rare = WHOLE,
) -> tuple[jax.Array, jax.Array, SupportInfo]:  # fmt: skip
    """The coefficients, intercepts and figures of one machine or of all pairs.

    begin(coef, dual): the variables of the dual for given coefficients; matrices: what `shared` gives.
    """
    kernel = data.kernel
    X, centre = _linear_kernel.centred(given.X, kernel)
    n = X.shape[0]

    def solve(X: jax.Array, sign: jax.Array, w: jax.Array, start: jax.Array | None, matrices: Any, rare: Rare) -> Pair:
        dual = build(sign, w)
        b = None if start is None else begin(start, dual)
        found = _machine.solve(X, kernel, dual, b, tol=tol, max_iter=max_iter, matrices=matrices, rare=rare)
        alone = ~(sign * w > 0).any() | ~(sign * w < 0).any()
        if rare.lean:
            machine = finish(found)
            rare.note(alone | ~(machine.sound & data.valid))
            return Pair(*machine[:2], found.status, found.n_iter, machine.objective, found.violation)
        # Without one of the two classes there is nothing to separate.
        silent = alone & ((found.status == Status.CONVERGED) | (found.status == Status.INFEASIBLE)) & (w >= 0).all()
        coef, intercept, objective, sound = finish(found)
        undefined = ~sound & usable(found.status)
        coef, intercept, objective = (jnp.where(undefined, jnp.nan, v) for v in (coef, intercept, objective))
        status = jnp.where(undefined, Status.INFEASIBLE, found.status)
        status = jnp.where(silent, Status.ONE_CLASS, status).astype(jnp.int32)
        only = jnp.where((sign * w > 0).any(), 1, jnp.where((sign * w < 0).any(), -1, jnp.nan)).astype(X.dtype)
        coef, intercept = jnp.where(silent, 0, coef), jnp.where(silent, only, intercept)
        zero = jnp.zeros((), X.dtype)
        objective, violation = jnp.where(silent, zero, objective), jnp.where(silent, zero, found.violation)
        return Pair(coef, intercept, status, found.n_iter, objective, violation)

    if classes == 2:
        sign = (2 * data.y - 1).astype(X.dtype)
        # All are absent where a label is wrong, which the lean program only notes.
        sign = sign if rare.lean else jnp.where(data.valid, sign, 0)
        pair = solve(X, sign, data.limit, init, matrices, rare)
    else:
        work, exact = matrices or shared(given.X, kernel, rare)

        def within(rows: jax.Array, at: jax.Array, sign: jax.Array, w: jax.Array, start: jax.Array | None) -> Any:
            start, inner = None if start is None else start[at], Rare(lean=rare.lean)
            pair = solve(chosen(X, kernel, at), sign, w, start, (work.among(at), exact.among(at)), inner)
            pair = pair._replace(coef=jnp.zeros((n,), X.dtype).at[rows].set(pair.coef, mode="drop"))
            return pair, jnp.asarray(inner.needed)

        pair, needed = each(X, data, classes, capacity, init, within)
        rare.note(needed)
        pair = pair._replace(
            status=worst(pair.status), n_iter=pair.n_iter.sum(dtype=jnp.int32),
            objective=pair.objective.sum(), violation=pair.violation.max(),
        )  # fmt: skip
    intercept = _linear_kernel.outer(pair.intercept, pair.coef, X, centre, kernel)
    coef, status = pair.coef, pair.status
    if not rare.lean:
        coef, intercept = (jnp.where(data.valid, v, jnp.nan) for v in (coef, intercept))
        status = jnp.where(data.valid, status, Status.DOMAIN).astype(jnp.int32)
    support = (jnp.abs(coef) > 0).reshape(-1, n).any(0).sum(dtype=jnp.int32)
    return coef, intercept, SupportInfo(status, pair.n_iter, pair.objective, pair.violation, support)


def evaluate(
    given: Given, data: Labels, coef: jax.Array, build: Build, begin: Callable[..., jax.Array], *, classes: int,
    capacity: int,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """The sum of the duals' objectives and the largest of their violations."""
    X, _ = _linear_kernel.centred(given.X, data.kernel)

    def at_pair(rows: jax.Array, at: jax.Array, sign: jax.Array, w: jax.Array, coef: jax.Array) -> Any:
        dual = build(sign, w)
        values = begin(jnp.where(rows < X.shape[0], coef[at], 0), dual)
        return _machine.evaluate(chosen(X, data.kernel, at), data.kernel, dual, values)

    if classes == 2:
        dual = build((2 * data.y - 1).astype(X.dtype), data.limit)
        return _machine.evaluate(X, data.kernel, dual, begin(coef, dual))
    objective, violation = each(X, data, classes, capacity, coef, at_pair)
    return objective.sum(), violation.max()


def votes(value: jax.Array) -> jax.Array:
    """Decisions (m,) or (m, pairs) as the number of pairs that each class wins, (m, classes)."""
    value = value[:, None] if value.ndim == 1 else value
    K = labels.classes_of(value.shape[1])
    first, second = labels.pairs(K)
    won = (value >= 0).astype(jnp.int32)
    # Not by a scatter, which is many kernels: each pair gives one vote, to its first class or its second.
    second, first = (np.eye(K, dtype=np.int32)[k] for k in (second, first))
    return first.sum(0, dtype=np.int32)[None] + won @ (second - first)


def winner(value: jax.Array) -> jax.Array:
    """The class of the most votes, the first of them on a tie, as in libsvm: (m,) int32."""
    return votes(value).argmax(1).astype(jnp.int32)
