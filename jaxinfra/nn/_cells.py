"""One step of each recurrent cell, forward and backward, written out by hand.

A cell takes `inputs`, its G arrays x K + b of this step (batch, hidden), and `products`, the G arrays h R.  `forward`
returns the new states and the arrays that the backward step needs; `backward` the gradients with respect to the inputs,
the products, and the states before, the last without the part through the products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


def sigmoid(x: jax.Array) -> jax.Array:
    """The sigmoid by tanh, which never overflows and is 1.5 times as fast on a CPU as 1 / (1 + exp(-x))."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


# Each activation with its derivative as a function of the value.
ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tanh": (jnp.tanh, lambda value: 1 - value * value),
    "sigmoid": (sigmoid, lambda value: value * (1 - value)),
    "relu": (jax.nn.relu, lambda value: (value > 0).astype(value.dtype)),
    "identity": (lambda x: x, jnp.ones_like),
}


class Cell(NamedTuple):
    """A cell: G gates, the number of arrays that the forward step keeps, and whether it has a state c besides h."""

    gates: int
    kept: int
    memory: bool
    forward: Callable[..., Any]
    backward: Callable[..., Any]


def _plain_forward(inputs, products, bias, h, c, activation):
    value = ACTIVATIONS[activation][0](inputs[0] + products[0])
    return value, None, (value,)


def _plain_backward(kept, h, c, new_c, dh, dc, activation):
    slope = (dh * ACTIVATIONS[activation][1](kept[0]),)
    return slope, slope, jnp.zeros_like(dh), None


def _lstm_forward(inputs, products, bias, h, c, activation):
    act = ACTIVATIONS[activation][0]
    i, f, g, o = (a + b for a, b in zip(inputs, products, strict=True))
    i, f, g, o = sigmoid(i), sigmoid(f), act(g), sigmoid(o)
    c = f * c + i * g
    return o * act(c), c, (i, f, g, o)


def _lstm_backward(kept, h, c, new_c, dh, dc, activation):
    act, slope = ACTIVATIONS[activation]
    i, f, g, o = kept
    value = act(new_c)
    dc = dc + dh * o * slope(value)
    by_inputs = (dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * slope(g), dh * value * o * (1 - o))
    return by_inputs, by_inputs, jnp.zeros_like(dh), dc * f


def _gru_forward(inputs, products, bias, h, c, activation):
    candidate = products[2] + bias[None]
    r, z = sigmoid(inputs[0] + products[0]), sigmoid(inputs[1] + products[1])
    n = ACTIVATIONS[activation][0](inputs[2] + r * candidate)
    return (1 - z) * n + z * h, None, (r, z, n, candidate)


def _gru_backward(kept, h, c, new_c, dh, dc, activation):
    r, z, n, candidate = kept
    dn = dh * (1 - z) * ACTIVATIONS[activation][1](n)
    dz = dh * (h - n) * z * (1 - z)
    dr = dn * candidate * r * (1 - r)
    return (dr, dz, dn), (dr, dz, dn * r), dh * z, None


CELLS = {
    "plain": Cell(1, 1, False, _plain_forward, _plain_backward),
    "lstm": Cell(4, 4, True, _lstm_forward, _lstm_backward),
    "gru": Cell(3, 4, False, _gru_forward, _gru_backward),
}
