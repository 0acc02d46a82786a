"""A recurrent cell along a sequence, with its own backward pass.

The derivative of a `scan` keeps every intermediate in arrays that are first filled with zeros, and sums the gradient of
the weights step by step.  Here the gates overwrite their inputs, their gradients overwrite the gates, and the gradient
of the weights is one matrix product after the loop: with one product a gate, 2.2 times as fast on a CPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra.nn._cells import CELLS


def _gates(recurrent: jax.Array, count: int) -> list[jax.Array]:
    """The recurrent kernel (hidden, G hidden) as G arrays (hidden, hidden)."""
    return jnp.split(recurrent, count, 1)


def _products(h: jax.Array, weights: list[jax.Array]) -> list[jax.Array]:
    """The product h R of each gate: on a CPU one a gate, since splitting the columns of a wide one costs more there."""
    if len(weights) == 1:
        return [h @ weights[0]]

    def wide(h, *weights):
        return jnp.split(h @ jnp.concatenate(weights, 1), len(weights), 1)

    return lax.platform_dependent(h, *weights, cpu=lambda h, *weights: [h @ w for w in weights], default=wide)


def _transposed_products(parts: list[jax.Array], weights: list[jax.Array]) -> jax.Array:
    """The sum over gates of part R'."""
    return jnp.concatenate(parts, 1) @ jnp.concatenate([w.T for w in weights], 0)


def _at(array: jax.Array, t: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(array, t, 0, keepdims=False)


def _put(array: jax.Array, value: jax.Array, t: jax.Array) -> jax.Array:
    return lax.dynamic_update_index_in_dim(array, value, t, 0)


def _blend(real: Any, new: Any, old: Any) -> Any:
    return new if real is None else jnp.where(real, new, old)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def recur(
    cell: str, activation: str, backwards: bool, sequence: bool, inputs: Any, recurrent: Any, bias: Any, mask: Any
) -> jax.Array:
    """The states after each step, (t, n, hidden), or the final one (n, hidden) unless `sequence`.  Starts at 0.

    inputs: the G arrays x K + b, each (t, n, hidden).
    recurrent: (hidden, G hidden).
    bias: (hidden,), of the recurrent part of a GRU's candidate, or None.
    mask: (t, n, 1) bool or None; where it is False the states do not change.
    backwards: from the last step to the first.
    """
    kind, weights = CELLS[cell], _gates(recurrent, CELLS[cell].gates)

    def step(states, now):
        h, c = states
        values, real = now
        new_h, new_c, _ = kind.forward(values, _products(h, weights), bias, h, c, activation)
        h = _blend(real, new_h, h)
        return (h, _blend(real, new_c, c) if kind.memory else None), h if sequence else None

    start = jnp.zeros(inputs[0].shape[1:], inputs[0].dtype)
    states = (start, start if kind.memory else None)
    (h, _), hs = lax.scan(step, states, (inputs, mask), reverse=backwards)
    return hs if sequence else h


def _forward(cell, activation, backwards, sequence, inputs, recurrent, bias, mask):
    kind, weights = CELLS[cell], _gates(recurrent, CELLS[cell].gates)
    steps, start = inputs[0].shape[0], jnp.zeros(inputs[0].shape[1:], inputs[0].dtype)
    after = 0 if backwards else 1  # the initial state is stored at the end where the run begins

    def body(n, carry):
        h, c, kept, hs, cs = carry
        t = steps - 1 - n if backwards else n
        # Read first: the kept values then overwrite the inputs in place.
        values, real = lax.optimization_barrier(
            ([_at(a, t) for a in kept[: kind.gates]], None if mask is None else _at(mask, t))
        )
        new_h, new_c, values = kind.forward(values, _products(h, weights), bias, h, c, activation)
        h = _blend(real, new_h, h)
        if kind.memory:
            c = _blend(real, new_c, c)
            cs = _put(cs, c, t + after)
        return h, c, [_put(a, v, t) for a, v in zip(kept, values, strict=True)], _put(hs, h, t + after), cs

    more = [jnp.zeros_like(inputs[0]) for _ in range(kind.kept - kind.gates)]
    hs = jnp.zeros((steps + 1, *start.shape), start.dtype)
    c, cs = (start, hs) if kind.memory else (None, None)
    h, _, kept, hs, cs = lax.fori_loop(0, steps, body, (start, c, [*inputs, *more], hs, cs))
    out = (hs[:-1] if backwards else hs[1:]) if sequence else h
    return out, (kept, hs, cs, recurrent, bias, mask)


def _backward(cell, activation, backwards, sequence, residual, cotangent):
    kept, hs, cs, recurrent, bias, mask = residual
    kind, weights = CELLS[cell], _gates(recurrent, CELLS[cell].gates)
    steps, width = hs.shape[0] - 1, hs.shape[-1]
    before, after = (1, 0) if backwards else (0, 1)
    spare = kind.kept > kind.gates  # a GRU's last kept array receives the gradient of the product that differs

    def body(n, carry):
        dh, dc, kept = carry
        t = n if backwards else steps - 1 - n
        values, real, h, c, new_c, seen = lax.optimization_barrier(
            (
                [_at(a, t) for a in kept],
                None if mask is None else _at(mask, t),
                _at(hs, t + before) if cell == "gru" else None,
                _at(cs, t + before) if kind.memory else None,
                _at(cs, t + after) if kind.memory else None,
                _at(cotangent, t) if sequence else None,
            )
        )
        dh = dh + seen if sequence else dh
        by_inputs, by_products, direct, new_dc = kind.backward(values, h, c, new_c, dh, dc, activation)
        if real is not None:
            zero = jnp.zeros((), dh.dtype)
            by_inputs, by_products = jax.tree.map(lambda a: jnp.where(real, a, zero), (by_inputs, by_products))
            direct = jnp.where(real, direct, dh)
            new_dc = jnp.where(real, new_dc, dc) if kind.memory else None
        stored = [*by_inputs, by_products[-1]] if spare else by_inputs
        kept = [_put(a, v, t) for a, v in zip(kept, stored, strict=True)]
        return direct + _transposed_products(list(by_products), weights), new_dc, kept

    zero = jnp.zeros(hs.shape[1:], hs.dtype)
    start = zero if sequence else cotangent
    _, _, kept = lax.fori_loop(0, steps, body, (start, zero if kind.memory else None, kept))
    h = (hs[1:] if backwards else hs[:-1]).reshape(-1, width)
    by_products = [*kept[: kind.gates - 1], kept[-1]]
    parts = [lax.dot_general(h, a.reshape(-1, width), (((0,), (0,)), ((), ()))) for a in by_products]
    by_bias = None if bias is None else kept[-1].sum((0, 1))
    return kept[: kind.gates], jnp.concatenate(parts, 1), by_bias, None


recur.defvjp(_forward, _backward)
