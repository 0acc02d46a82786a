r"""The dual of support vector machines to a certified violation: block decomposition, in one precision or in two.

    repeat   minimise (`decomposition`) to a violation of the target
             evaluate f again where it matters (`certificate`);  halve the target
    until the certified violation is below tol

With float64 data the kernel matrix is first in float32, as libsvm's is, which takes half of the time and memory.  Where
the certificate does not accept the result (tight tolerances, large C, kernels beyond the range of float32), the method
goes on from it in float64.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.compensated import Pair
from jaxinfra._core.loop import drive
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Status
from jaxinfra.solvers.dual import certificate, decomposition
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix
from jaxinfra.solvers.dual.problem import Dual

# Certificates before a fit counts as stalled: with 1 9 of 24 fits (svc in float32, C 1 to 100, tol 1e-3 and 1e-5)
# stall, with 2 and 6 none.  A quarter in place of the half: 4 % more blocks; no smaller target: 3 % fewer.
_ROUNDS = 3


class Solution(NamedTuple):
    """The last point of the solver, with its certificate."""

    b: jax.Array  # (N,)
    g: Pair  # K b by rows, (n,)
    rho: jax.Array  # (G,)
    objective: jax.Array
    violation: jax.Array  # certified
    status: jax.Array
    n_iter: jax.Array  # blocks


def _solution(
    dual: Dual, b: jax.Array, g: Pair, violation: jax.Array, tol: jax.Array, status: jax.Array, n_iter: jax.Array
) -> Solution:
    # The certificate decides, whatever the method returned, and only a feasible point is accepted.
    status = jnp.where(status == Status.CONVERGED, Status.STALLED, status)
    status = jnp.where((violation < tol) & dual.balanced(b), Status.CONVERGED, status).astype(jnp.int32)
    f = dual.gradient(g)
    return Solution(b, g, dual.multiplier(b, f), dual.objective(b, f), violation, status, n_iter)


class _Round(NamedTuple):
    state: decomposition.State
    target: jax.Array
    violation: jax.Array
    status: jax.Array
    n_iter: jax.Array
    rounds: jax.Array


def _rounds(
    work: KernelMatrix, exact: KernelMatrix, dual: Dual, b: jax.Array | None, *, tol: jax.Array, max_iter: jax.Array,
    rare: Rare, near: bool = False, rough: bool = False,
) -> Solution:  # fmt: skip
    """Block method and certificate in turns; near, rough: as in `decomposition`.

    The lean program takes one turn, and does not try Newton's method.  Where it lacks float64, its certificate is that
    of the working precision, if the rounding of f cannot matter.
    """
    lean = rare.lean
    single = exact.diagonal.dtype != jnp.float64
    plain = lean and single and work.kernel.rounding(work.features) is not None

    def one(r: _Round) -> _Round:
        step = partial(decomposition.block, work, exact, dual, r.target, rough=rough, lean=lean)
        met = r.state.violation < r.target
        state, status, n_iter = drive(step, r.state, max_iter=jnp.where(met, 0, max_iter - r.n_iter))
        g, bound = state.g, state.violation
        if not (lean and rough):  # which `_float32` certifies
            g, bound = certificate.certify(work if plain else exact, dual, state.b, g, tol, rare=rare, plain=plain)
        status = jnp.where(met | (bound < tol), Status.CONVERGED, status).astype(jnp.int32)
        history = decomposition.anew(state.history)
        state = state._replace(g=g, violation=bound, history=history)
        return _Round(state, 0.5 * r.target, bound, status, r.n_iter + n_iter, r.rounds + 1)

    def again(r: _Round) -> jax.Array:
        unproven = (r.status == Status.CONVERGED) & ~(r.violation < tol)
        return (r.rounds == 0) | (unproven & (r.rounds < _ROUNDS))

    start = decomposition.start(work, dual, b, near=near)
    # In float32 the method ends a little below tol, so that the rounding of f seldom decides.
    target = 0.9 * tol if single else tol
    ready = _Round(start, target, start.violation, jnp.int32(Status.MAX_ITER), jnp.int32(0), jnp.int32(0))
    r = one(ready) if lean else lax.while_loop(again, one, ready)
    found = _solution(dual, r.state.b, r.state.g, r.violation, tol, r.status, r.n_iter)
    if not rough:  # else `_float32` decides
        rare.note((found.status == Status.STALLED) | r.state.tried)
        if plain:
            found = found._replace(violation=r.violation + certificate.rounding(work, r.state.b))
            rare.note((found.status == Status.CONVERGED) & ~(found.violation < tol))
    return found


def _float32(
    work: KernelMatrix, exact: KernelMatrix, dual: Dual, b: jax.Array | None, *, tol: jax.Array, max_iter: jax.Array,
    rare: Rare,
) -> Solution:  # fmt: skip
    """The solution with a matrix in float32, certified in float64."""
    dtype, wide = work.diagonal.dtype, dual.c.dtype
    quick = dual.converted(dtype)
    start = None if b is None else quick.feasible(b.astype(dtype))
    # A little below tol, for what the rounding back changes.
    s = _rounds(work, exact, quick, start, tol=(0.95 * tol).astype(dtype), max_iter=max_iter, rare=rare, rough=True)
    moved = s.b.astype(wide)
    if b is not None:  # variables that did not move keep their float64 digits
        moved = jnp.where(s.b != start, moved, b)
    # Those at a bound take the bound of float64.
    moved = jnp.where(s.b <= quick.lower, dual.lower, jnp.where(s.b >= quick.upper, dual.upper, moved))
    b = dual.feasible(jnp.where(jnp.isfinite(s.b).all(), moved, 0 if b is None else b), near=rare.lean)
    near = s.g[0].astype(wide) + s.g[1].astype(wide)
    g, bound = certificate.certify(exact, dual, b, (near, jnp.zeros_like(near)), tol, rare=rare)
    return _solution(dual, b, g, bound, tol, s.status, s.n_iter)


def solve(
    work: KernelMatrix, exact: KernelMatrix, dual: Dual, b: jax.Array | None, *, tol: jax.Array, max_iter: jax.Array,
    rare: Rare = WHOLE,
) -> Solution:  # fmt: skip
    """Minimise the dual from a feasible b, None for zeros.

    exact: the same matrix in the precision of the certificate, and if `work` is in less than b's, also for the end.
    """
    if work.diagonal.dtype == dual.c.dtype:
        return _rounds(work, exact, dual, b, tol=tol, max_iter=max_iter, rare=rare)

    def finish(s: Solution) -> Solution:
        found = _rounds(exact, exact, dual, s.b, tol=tol, max_iter=max_iter - s.n_iter, rare=rare, near=True)
        return found._replace(n_iter=s.n_iter + found.n_iter)

    first = _float32(work, exact, dual, b, tol=tol, max_iter=max_iter, rare=rare)
    return rare.when((first.status != Status.CONVERGED) & (first.n_iter < max_iter), finish, first)
