"""One machine from rows without classes: what svr, nu_svr and one_class share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra import kernels
from jaxinfra._core import absent, checks, implicit, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.centre import bulk
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Status, SupportInfo
from jaxinfra.solvers.dual.problem import Dual
from jaxinfra.svm import _input, _linear_kernel, _machine
from jaxinfra.svm._input import Given
from jaxinfra.svm._machine import Machine


class Shifted(NamedTuple):
    """The dual of y - level, the kernel, and the level."""

    dual: Dual
    kernel: kernels.Kernel
    level: jax.Array


def read(given: Given, build: Callable[..., Dual]) -> Shifted:
    """The dual build(y - level, w, *hyper) in the working dtype, with its kernel and level.

    As the variables of a regression sum to 0, a level of y changes only the intercept; left in y it would cost the
    slopes their digits (float32, y near 1e4, 40 rows: 123 blocks instead of 4, STALLED).
    """
    X, dtype = given.X, given.X.dtype
    w = given.sample_weight
    (y,) = absent.present(w, None if given.y is None else jnp.asarray(given.y).astype(dtype))
    kernel = _input.kernel_of(given)
    w = or_ones(w, X[:, 0])
    level = jnp.zeros((), dtype)
    if y is not None:
        level = implicit.frozen(bulk(y[:, None], jnp.where(w > 0, 1, 0).astype(dtype)[:, None])[0])
        y = y - level
    return Shifted(build(y, w, *[jnp.asarray(v, dtype) for v in given.hyper]), kernel, level)


def fit(
    verb: str, given: Given, dtype: Any, build: Callable[..., Dual], init: Machine | None, tol: Any, max_iter: Any, *,
    zero_sum: bool = True,
) -> Fit:  # fmt: skip
    """The machine that minimises the dual; zero_sum: whether its variables sum to 0."""
    start = _input.start(verb, init, given.X.shape[0], dtype)
    tol, max_iter = _input.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter)
    coef, intercept, kernel, info = _fit(given, start, tol, max_iter, build=build, zero_sum=zero_sum)
    return Fit(Machine(coef, intercept, given.X, kernel), info)


@staged(static=("build", "zero_sum"))
@rows.replicated
def _fit(
    given: Given, init: jax.Array | None, tol: jax.Array, max_iter: jax.Array, *, build: Callable[..., Dual],
    zero_sum: bool, rare: Rare,
) -> tuple[jax.Array, jax.Array, kernels.Kernel, SupportInfo]:  # fmt: skip
    dual, kernel, level = read(given, build)
    n = given.X.shape[0]
    start = None if init is None else variables(init, dual)
    X, centre = _linear_kernel.centred(given.X, kernel) if zero_sum else (given.X, None)
    found = _machine.solve(X, kernel, dual, start, tol=tol, max_iter=max_iter, rare=rare)
    # Rows of weight 0 are absent, and without any row the parameters are undetermined.
    empty = (found.status == Status.CONVERGED) & ~(dual.lower < dual.upper).any()
    rare.note(empty)
    coef, intercept, status = dual.by_row(found.b, n), level - found.rho.mean(), found.status
    if not rare.lean:
        coef, intercept = (jnp.where(empty, jnp.nan, v) for v in (coef, intercept))
        status = jnp.where(empty, Status.SINGULAR, status).astype(jnp.int32)
    if centre is not None:
        intercept = _linear_kernel.outer(intercept, coef, X, centre, kernel)
    support = (jnp.abs(coef) > 0).sum(dtype=jnp.int32)
    return coef, intercept, kernel, SupportInfo(status, found.n_iter, found.objective, found.violation, support)


def variables(coef: jax.Array, dual: Dual) -> jax.Array:
    """The variables of the dual for coefficients of rows: themselves, or their positive and negative parts."""
    if len(dual.c) == len(coef):
        return coef
    return jnp.concatenate([jnp.maximum(coef, 0), jnp.minimum(coef, 0)])


def evaluate(
    verb: str, params: Machine, given: Given, dtype: Any, build: Callable[..., Dual], *, zero_sum: bool = True
) -> Any:
    """The dual's objective and violation at the coefficients of a machine."""
    coef = _input.start(verb, params, given.X.shape[0], dtype)
    return _values(given, coef, build=build, zero_sum=zero_sum)


@partial(jax.jit, static_argnames=("build", "zero_sum"))
@rows.replicated
def _values(
    given: Given, coef: jax.Array, *, build: Callable[..., Dual], zero_sum: bool
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    dual, kernel, level = read(given, build)
    X = _linear_kernel.centred(given.X, kernel)[0] if zero_sum else given.X
    b = variables(coef, dual)
    value, violation = _machine.evaluate(X, kernel, dual, b)
    return value - level * b.sum(), violation  # at any coef, whatever its sum


def within(bad: jax.Array, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Bounds that leave no point where an argument is bad."""
    return jnp.where(bad, 1, lower), jnp.where(bad, -1, upper)
