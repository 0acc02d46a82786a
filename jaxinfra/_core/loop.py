"""The driver of iterative algorithms, and `when`, the branch that stays lazy under `vmap`.

Every iterative algorithm is a `step` that maps a state to a state; the driver counts, stops and reports.  States are
stripped of weak types first, since a carry whose type changes between iterations compiles twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.types import Status

S = TypeVar("S")


class Verdict(NamedTuple):
    """The verdict of a step on its new state: finished, and if so with which status (a `Status` code)."""

    done: jax.Array
    status: jax.Array


class _Carry(NamedTuple):
    state: object
    n_iter: jax.Array
    status: jax.Array
    done: jax.Array


def strong(tree: S) -> S:
    """A pytree without weak types, so that loop carries keep one type from the first iteration on."""
    return jax.tree.map(lambda x: lax.convert_element_type(jnp.asarray(x), jnp.asarray(x).dtype), tree)


def drive(
    step: Callable[[S], tuple[S, Verdict]], state: S, *, max_iter: jax.Array | int
) -> tuple[S, jax.Array, jax.Array]:
    """Repeat `state, verdict = step(state)` until the verdict is done or `max_iter` steps were made.

    Returns (state, status, n_iter); status is MAX_ITER if no verdict came.  `max_iter` may be traced; 0 steps are
    allowed.  Under `vmap` a finished lane keeps its state: only the lanes that still run are advanced.
    """
    max_iter = jnp.asarray(max_iter, jnp.int32)

    def cond(carry: _Carry) -> jax.Array:
        return ~carry.done & (carry.n_iter < max_iter)

    def body(carry: _Carry) -> _Carry:
        new, verdict = step(carry.state)  # type: ignore[arg-type]
        done = jnp.asarray(verdict.done)
        status = jnp.where(done, jnp.asarray(verdict.status, jnp.int32), carry.status)
        return _Carry(strong(new), carry.n_iter + 1, status, done)

    start = _Carry(strong(state), jnp.int32(0), jnp.int32(Status.MAX_ITER), jnp.array(False))
    end = lax.while_loop(cond, body, start)
    return end.state, end.status, end.n_iter  # type: ignore[return-value]


def when(pred: jax.Array, fn: Callable[[S], S], state: S) -> S:
    """The value `fn(state)` if `pred` else `state`, as a loop of at most one trip.

    `lax.cond` under `vmap` becomes a select that runs both sides for every batch.  A while-loop runs its body only if
    some lane needs it, so that rare, expensive work (an eigendecomposition for the one ill-conditioned lane) costs
    nothing where no lane does.  It has no reverse-mode derivative: derivatives come from `_core.implicit`.
    """
    state = strong(state)
    traced, out = jax.make_jaxpr(lambda state: strong(fn(state)), return_shape=True)(state)
    end = jax.tree.structure(out)

    def body(carry: tuple[jax.Array, S]) -> tuple[jax.Array, S]:
        pred, state = carry
        # XLA hoists out of a loop what does not change in it, and so would do the work in any case: the barrier makes
        # every input of the work depend on `pred`, which does change.
        pred, consts, leaves = lax.optimization_barrier((pred, traced.consts, jax.tree.leaves(state)))
        new = jax.core.eval_jaxpr(traced.jaxpr, consts, *leaves)
        return jnp.zeros_like(pred), jax.tree.unflatten(end, new)

    return lax.while_loop(lambda carry: carry[0], body, (jnp.asarray(pred), state))[1]
