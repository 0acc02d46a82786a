r"""Sequential minimal optimisation of the dual within a block of variables whose matrix fits in the cache.

Each step moves two variables of one group along e_i - e_j: i the largest violator of those that may go up, j the one of
those that may go down which promises the largest decrease to second order.

    i = argmax_{up} -f,    j = argmax_{down} (f_j - f_i)^2 / eta_j,    eta_j = K_ii + K_jj - 2 K_ij

A step is a few passes over vectors of the block's length, without scatter, gather or product of matrices, so that a
compiler may turn the loop into one kernel.  An argmax is a maximum of integers: the high bits of the value, then its
index.  That loses digits of the *choice* only; the values used are exact.

Source: Fan, Chen and Lin 2005 (WSS 2); Keerthi and Gilbert 2002 for groups.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.precision import eps


class Block(NamedTuple):
    """A block's problem: fixed during its solution."""

    K: jax.Array  # (q, q)
    lower: jax.Array  # (q,); a variable with lower = upper stays where it is
    upper: jax.Array
    group: jax.Array | None  # (q,) int32; None: one group


class State(NamedTuple):
    """The variables and their gradient, and the violation before the last step."""

    b: jax.Array  # (q,)
    f: jax.Array  # (q,)
    violation: jax.Array
    n_iter: jax.Array


def _argmax(values: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(index, whether one exists) of the largest valid value, none below 0, to the digits that the index leaves."""
    q = values.shape[0]
    mask = 2 ** max(q - 1, 1).bit_length() - 1
    key = lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)
    key = (key & jnp.int32(~mask)) | lax.iota(jnp.int32, q)
    best = jnp.where(valid, key, -1).max()
    return best & jnp.int32(mask), best >= 0


def solve(block: Block, b: jax.Array, f: jax.Array, *, tol: jax.Array, max_iter: jax.Array | int, groups: int) -> State:
    """Take steps until the violation within the block is below `tol`, at most `max_iter`."""
    K, lower, upper, group = block
    q, dtype = b.shape[0], b.dtype
    index, diagonal = lax.iota(jnp.int32, q), jnp.diagonal(K)
    # Rounding of K_ii + K_jj - 2 K_ij: below it, the curvature is zero (duplicated rows) or negative (indefinite K).
    floor = 4 * eps(dtype) * jnp.abs(diagonal)
    tiny = jnp.asarray(jnp.finfo(dtype).tiny, dtype)

    def inside(g: int, v: jax.Array, other: Any) -> jax.Array:
        """Values v (q,) of the variables of group g, and others elsewhere."""
        return v if group is None else jnp.where(group == g, v, other)

    def at(v: jax.Array, i: jax.Array) -> jax.Array:
        return lax.dynamic_index_in_dim(v, i, keepdims=False)

    def step(state: State) -> State:
        b, f, _, n_iter = state
        up, down = b < upper, b > lower
        gap = jnp.zeros((), dtype)
        gain, eta, row, first = jnp.zeros((q,), dtype), jnp.ones((q,), dtype), [], []
        for g in range(groups):
            # Violations against the largest f: near the solution these are small, so the shortened keys resolve them.
            beyond = inside(g, jnp.where(down, f, -jnp.inf), -jnp.inf).max() - f
            i, some = _argmax(beyond, inside(g, up & (beyond >= 0), False))
            gap = jnp.where(some, jnp.maximum(gap, at(beyond, i)), gap)
            top = jnp.where(some, -at(f, i), -jnp.inf)
            Ki = lax.dynamic_slice(K, (i, jnp.int32(0)), (1, q))[0]
            row.append(Ki)
            first.append(i)
            curvature = jnp.maximum(at(diagonal, i) + diagonal - 2 * Ki, at(floor, i) + floor + tiny)
            # In a group without a variable that may go up, the gain is minus infinity.
            gain, eta = inside(g, top + f, gain), inside(g, curvature, eta)
        better = down & (gain > 0)
        j, some = _argmax(gain * gain / eta, better)
        i, Ki = first[0], row[0]
        for g in range(1, groups):
            assert group is not None
            here = at(group, j) == g
            i, Ki = jnp.where(here, first[g], i), jnp.where(here, row[g], Ki)
        room_i, room_j = at(upper, i) - at(b, i), at(b, j) - at(lower, j)
        room = jnp.minimum(room_i, room_j)
        t = jnp.minimum(at(gain, j) / at(eta, j), room)
        t = jnp.where(some & (gap >= tol), t, 0)
        Kj = lax.dynamic_slice(K, (j, jnp.int32(0)), (1, q))[0]
        is_i, is_j = index == i, index == j
        # A bound is reached exactly.  Otherwise both variables move by an amount that neither rounds, which keeps the
        # sum of the group: over thousands of steps the roundings of one variable alone would add up.
        b_i, b_j = at(b, i), at(b, j)
        held = (b_i + t) - b_i
        held = b_j - (b_j - held)
        held = jnp.where((held > 0) & (held < room) & (t < room), held, t)
        b = jnp.where(is_i & (t > 0), jnp.where(t == room_i, upper, b + held), b)
        b = jnp.where(is_j & (t > 0), jnp.where(t == room_j, lower, b - held), b)
        return State(b, f + t * (Ki - Kj), gap, n_iter + 1)

    start = State(b, f, jnp.asarray(jnp.inf, dtype), jnp.int32(0))
    return lax.while_loop(lambda s: (s.violation >= tol) & (s.n_iter < max_iter), step, start)
