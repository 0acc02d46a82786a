"""The common part of the kernel machines: parameters, the call of the solver, prediction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap

from jaxinfra import kernels
from jaxinfra._core import checks, implicit, rows
from jaxinfra._core.finish import or_nan, settle, usable
from jaxinfra._core.padding import like
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import WHOLE, Rare, at_hand, staged
from jaxinfra._core.types import Status, short_repr
from jaxinfra.kernels import Kernel, Precomputed
from jaxinfra.solvers.dual import derivatives, kernel_rows, solver
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix
from jaxinfra.solvers.dual.problem import Dual
from jaxinfra.solvers.dual.solver import Solution
from jaxinfra.svm import _linear_kernel
from jaxinfra.svm._input import contains

MAX_ITER = 10_000
# Rows up to which machines that share a kernel matrix get all of it.  Without it svc of 6000 x 20 with 3 and 8 classes
# takes 99 and 181 ms at C = 1, 1.9 and 1.3 s at C = 100; with it 196 and 328 ms, 3.0 and 0.8 s (2 cores).
SHARED = 4000
_ROWS, _VALUES = 1024, 2**21  # in a block of a prediction, at most: larger ones take new memory pages at every call
# Rows in the smaller blocks of a prediction.  Of a machine of 1000 x 20 a block of 1024 takes 0.76 ms, one of 128 0.29.
_FEW, _SOME = 16, 128


@short_repr
class Machine(NamedTuple):
    """A kernel machine: decision(x) = sum_i coef_i k(vectors_i, x) + intercept.

    coef: (n,), or (pairs, n) for several classes: 0 where a row is no support vector.
    intercept: () or (pairs,).
    vectors: (n, p), the rows of the fit; with a precomputed kernel their kernel values (n, n).
    kernel: with its numbers as arrays.
    """

    coef: jax.Array
    intercept: jax.Array
    vectors: jax.Array
    kernel: Kernel


class Found(NamedTuple):
    """A solved dual."""

    b: jax.Array  # (N,) differentiable
    rho: jax.Array  # (G,) differentiable
    objective: jax.Array
    violation: jax.Array
    status: jax.Array
    n_iter: jax.Array


def certificate_dtype(dtype: Any) -> Any:
    """The dtype of certificates: float64 where JAX allows it."""
    return np.dtype(np.float64) if jax.config.jax_enable_x64 else dtype  # type: ignore[attr-defined]


def kernel_matrices(
    X: jax.Array, kernel: Kernel, *, full: bool | None = None, rare: Rare = WHOLE
) -> tuple[KernelMatrix, KernelMatrix]:
    """The kernel matrix of the rows, as constants, in the working precision and in that of certificates."""
    X, kernel = implicit.frozen((X, kernel))
    precomputed = isinstance(kernel, Precomputed)
    wide = certificate_dtype(X.dtype)
    matrix = partial(kernel_rows.of, rare=rare)
    work = matrix(kernel, X, precomputed=precomputed, full=full)
    if X.dtype == np.float64:
        # Where most of the cost is in rows of the matrix, these are first in float32; a function keeps its precision.
        kept = precomputed or contains(kernel, kernels.Custom) or kernel.times(work.features, X[:, 0]) is not None
        exact = work if kept else matrix(kernel, X, precomputed=False, full=None if full else full)
        if kept or exact.values is not None:
            return exact, exact
        return matrix(kernel, X, precomputed=False, dtype=np.dtype(np.float32), full=full), exact
    if wide != X.dtype:
        return work, matrix(kernel, X, precomputed=precomputed, dtype=wide, full=False)
    # The lean program has no use for pairs where the rounding of the values is known: see `certificate`.
    single = precomputed or (rare.lean and kernel.rounding(work.features) is not None)
    return work, work if single else kernel_rows.pairs(kernel, X)


@sequential_vmap
def _run(
    work: KernelMatrix, exact: KernelMatrix, dual: Dual, b: jax.Array | None, tol: jax.Array, max_iter: jax.Array
) -> Solution:
    # One lane after the other: a batched loop runs until its slowest lane is done, and copies its state.
    return solver.solve(work, exact, dual, b, tol=tol, max_iter=max_iter)


def solve(
    X: jax.Array, kernel: Kernel, dual: Dual, init: jax.Array | None, *, tol: jax.Array, max_iter: jax.Array,
    matrices: tuple[KernelMatrix, KernelMatrix] | None = None, rare: Rare = WHOLE,
) -> Found:  # fmt: skip
    """Minimise the dual; b and rho carry the derivatives by X, the kernel and the dual.

    init: (N,), made feasible first.  matrices: what `kernel_matrices` gives, where it is shared.
    """
    work, exact = matrices or kernel_matrices(X, kernel, rare=rare)
    # Where values of the kernel overflow, the features or the diagonal are not finite.
    fine = kernel_rows.finite(X, kernel, dual.c, dual.lower, dual.upper, dual.total, work.diagonal, work.features)
    fixed = implicit.frozen(dual)
    feasible = (fixed.lower <= fixed.upper).all()
    if fixed.total is not None:
        ends = [
            jnp.stack([fixed.within(g, v, 0).sum() for g in range(fixed.groups)]) for v in (fixed.lower, fixed.upper)
        ]
        noise = 1e-5 * jnp.abs(fixed.total)
        feasible &= ((ends[0] - noise <= fixed.total) & (fixed.total <= ends[1] + noise)).all()
    sound, run = fine & feasible, fixed
    if rare.lean:
        rare.note(~sound)
        max_iter = jnp.where(sound, max_iter, 0)
    else:  # a problem that cannot be solved is made trivial: all variables are fixed
        run = fixed._replace(**{k: jnp.where(sound, getattr(fixed, k), 0) for k in ("lower", "upper", "c")})
    start = None
    if init is not None:
        start = run.feasible(jnp.where(jnp.isfinite(init), lax.stop_gradient(init), 0))
    elif run.total is not None:
        start = run.feasible(jnp.zeros_like(run.c))
    if rare.lean:
        found = solver.solve(work, exact, run, start, tol=tol, max_iter=max_iter, rare=rare)
        rare.note(~usable(found.status))
        return Found(found.b, found.rho, found.objective, found.violation, found.status, found.n_iter)
    found = _run(work, exact, run, start, tol, max_iter)
    live = kernel_rows.of(kernel, X, precomputed=isinstance(kernel, Precomputed), full=False)
    base = exact if exact.diagonal.dtype == np.float64 else work
    point = derivatives.attach(live, dual, base, found.b, found.rho, found.g[0] + found.g[1])
    status = settle(found.status, (fine, Status.NONFINITE), (feasible, Status.INFEASIBLE))
    numbers = or_nan(status, (point.b, point.rho, found.objective, found.violation))
    return Found(*numbers, status, found.n_iter)


def evaluate(X: jax.Array, kernel: Kernel, dual: Dual, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The dual's objective and its violation at b (N,), computed anew from the kernel."""
    live = kernel_rows.of(
        kernel, X, precomputed=isinstance(kernel, Precomputed), dtype=certificate_dtype(X.dtype), full=False
    )
    wide = live.diagonal.dtype
    dual, b = dual.converted(wide), b.astype(wide)
    f = dual.tile(live.times(dual.by_row(b, live.n))) + dual.c
    return dual.objective(b, f).astype(X.dtype), dual.violation(b, f).astype(X.dtype)


def prepare(verb: str, params: Machine, X: Any) -> jax.Array:
    """The checked rows X (m, p) for the vectors of a machine."""
    X = checks.array(verb, "X", X)
    if checks.fitted(verb, params).vectors.ndim != 2:
        raise ValueError(
            f"{verb}: one set of vectors at a time, got vectors {params.vectors.shape}; "
            f"for the machines of a vmapped fit write jax.vmap({verb}, in_axes=(0, None))"
        )
    wide = params.vectors.shape[-1] if not isinstance(params.kernel, Precomputed) else params.coef.shape[-1]
    if X.ndim != 2 or X.shape[1] != wide:
        what = "the kernel values of each row with those of the fit" if isinstance(params.kernel, Precomputed) else (
            f"the columns of the {params.vectors.shape[-2]} vectors")  # fmt: skip
        raise ValueError(f"{verb}: X must have shape (m, {wide}), {what}; got X {X.shape}")
    return X


Then = Callable[[jax.Array], jax.Array] | None


def decision(params: Machine, X: jax.Array, then: Then = None) -> jax.Array:
    """The values of a machine, (m,) or (m, pairs), or what `then` makes of each of them.

    Rows at hand go through in blocks of three sizes, so that a new number of rows compiles nothing after the first.
    """
    if isinstance(params.kernel, Precomputed | kernels.Linear) or not at_hand((params, X)):
        return _decision(params, X, then=then)
    ready = _ready(params, dtype=checks.working_dtype(X, params.coef))
    if isinstance(ready.coef, jax.core.Tracer):  # of constants within a function that is traced
        return _decision(params, X, then=then)
    m, most = X.shape[0], _block_rows(params)
    given, start = np.asarray(X), 0
    parts: list[np.ndarray] = []
    while start < m or not parts:
        left = m - start
        size = most if left > 3 * _SOME else _SOME if left > _FEW else _FEW
        block = given[start : start + size]
        if left < size:  # filled up with copies of its rows: others might be far from all vectors
            block = np.resize(block, (size, given.shape[1]))
        part = _of_block(ready, block, then=then)
        parts.append(np.asarray(part))  # one block after the other, in the same memory
        start += size
    return like(part, np.concatenate(parts)[:m])


def _block_rows(params: Machine) -> int:
    return max(min(_ROWS, _VALUES // params.vectors.shape[0]), _SOME)


class _Ready(NamedTuple):
    """A machine in the working precision, and what its kernel needs of the vectors and of their middle."""

    coef: jax.Array  # (n,) or (n, pairs)
    intercept: jax.Array
    kernel: Kernel
    about: jax.Array
    features: Any


@partial(jax.jit, static_argnames="dtype")
def _ready(params: Machine, *, dtype: Any) -> _Ready:
    coef, intercept, vectors, kernel = jax.tree.map(lambda v: v.astype(dtype), params)
    about = kernel.middle(vectors)
    return _Ready(coef.T, intercept, kernel, about, kernel.features(vectors, about))


def _value(ready: _Ready, X: jax.Array) -> jax.Array:
    values = ready.kernel.between(ready.kernel.features(X.astype(ready.coef.dtype), ready.about), ready.features)
    return _raised(dot(values, ready.coef), ready.intercept)


def _raised(value: jax.Array, intercept: jax.Array) -> jax.Array:
    return value + (intercept if value.ndim == 1 else intercept[None])


@partial(jax.jit, static_argnames="then")
def _of_block(ready: _Ready, X: jax.Array, *, then: Then) -> jax.Array:
    value = _value(ready, X)
    return value if then is None else then(value)


@partial(jax.jit, static_argnames="then")
@rows.replicated
def _decision(params: Machine, X: jax.Array, *, then: Then) -> jax.Array:
    dtype = checks.working_dtype(X, params.coef)
    X, cast = X.astype(dtype), jax.tree.map(lambda v: v.astype(dtype), params)
    if isinstance(params.kernel, Precomputed):
        # Values with a coefficient of 0 are ignored, whatever they are.
        coef = cast.coef.T
        value = dot(jnp.where((coef != 0).reshape(len(coef), -1).any(1)[None], X, 0), coef)
        value = _raised(value, cast.intercept)
    elif isinstance(params.kernel, kernels.Linear):
        value = _linear_kernel.decision(cast.coef, cast.intercept, cast.vectors, X)
    else:
        m, size, block = X.shape[0], _block_rows(params), partial(_value, _ready(params, dtype=dtype))
        if m <= size:
            value = block(X)
        else:
            count = -(-m // size)
            padded = jnp.pad(X, ((0, count * size - m), (0, 0)), mode="edge")
            value = lax.map(block, padded.reshape(count, size, -1)).reshape(-1, *cast.coef.shape[:-1])[:m]
    return value if then is None else then(value)


def compact(verb: str, params: Any) -> Machine:
    """The machine of the rows that are support vectors of any pair; on the host."""
    params = checks.fitted(verb, params)
    coef = params.coef
    if isinstance(coef, jax.core.Tracer):
        raise TypeError(f"{verb}: the number of support vectors is a shape, so the machine must not be traced")
    if params.vectors.ndim != 2 or coef.ndim > 2 or (coef.ndim == 2 and params.intercept.ndim == 0):
        raise ValueError(f"{verb}: one machine at a time, got coef {coef.shape}")
    keep = np.flatnonzero((np.asarray(coef) != 0).reshape(-1, coef.shape[-1]).any(0))
    keep = keep if keep.size else np.zeros(1, int)
    if isinstance(params.kernel, Precomputed):
        raise ValueError(f"{verb}: a precomputed kernel is addressed by the rows of the fit; keep the machine as it is")
    return params._replace(coef=coef[..., keep], vectors=params.vectors[keep])


def linear_coef(verb: str, params: Any) -> jax.Array:
    """The primal coefficients sum_i coef_i vectors_i of a linear kernel: (p,) or (pairs, p)."""
    params = checks.fitted(verb, params)
    if not isinstance(params.kernel, kernels.Linear):
        raise ValueError(f"{verb}: only a linear kernel has coefficients of columns, got {params.kernel!r}")
    return _linear_kernel.slope(params.coef, params.vectors)


# The static arguments of the classifiers.
_STATIC = ("classes", "balanced", "capacity")
fitted, compiled = staged(static=_STATIC), partial(jax.jit, static_argnames=_STATIC)
