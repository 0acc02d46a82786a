r"""Symmetric and weighted matrix products at fewer flops, and the powers of two that keep products in range."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from jaxinfra._core.implicit import frozen
from jaxinfra._core.precision import dot


def by_row(w: jax.Array | None, A: jax.Array) -> jax.Array:
    """The product WA, W = diag(w)."""
    return A if w is None else A * w[:, None]


def diagonal(H: jax.Array) -> jax.Array:
    """The diagonal of H (..., p, p), as a slice with strides, which XLA fuses (jnp.diagonal is a gather)."""
    p = H.shape[-1]
    return H.reshape(*H.shape[:-2], p * p)[..., :: p + 1]


# A multiple of the rows of the CPU's micro-kernel.  In strips of 48, 96 and 192 columns the float32 moments of
# 100000 x 100 take 14, 19 and 19 ms; of 20000 x 500, 46, 41 and 46 ms; of 2000 x 1000, 20, 17.5 and 14.5 ms.
_STRIP = 48


def _in_strips(p: int) -> bool:
    return p >= 2 * _STRIP


def symmetric_product(A: jax.Array, B: jax.Array) -> jax.Array:
    """The product A'B, known to be symmetric: column strips of its upper triangle, zeros below (see `mirror`).

    XLA has no symmetric rank-k update; strips do some 60 % of the flops.
    """
    p = A.shape[1]
    if not _in_strips(p):
        return dot(A.T, B)
    width = _STRIP * min(4, max(1, round(p / 200)))
    starts = range(0, p // width * width, width)
    strips = [dot(A[:, lo:hi].T, B[:, lo:]) for lo, hi in zip(starts, [*starts[1:], p], strict=True)]
    return jnp.concatenate([jnp.pad(s, ((0, 0), (lo, 0))) for s, lo in zip(strips, starts, strict=True)])


def mirror(U: jax.Array) -> jax.Array:
    """The symmetric matrix whose upper triangle `symmetric_product` returned."""
    if not _in_strips(U.shape[-1]):
        return U
    i = jnp.arange(U.shape[-1])
    return jnp.where(i[:, None] <= i[None, :], U, U.T)


# A batch shares its products of columns while these have at most so many numbers (32 MB of float64).
_PRODUCTS = 4_000_000


@custom_vmap
def weighted_product(V: jax.Array, h: jax.Array) -> jax.Array:
    """The product V' diag(h) V, as `symmetric_product` returns it.

    In a batch of weights h that share V it is one product: of the weights (batch, n) with the q (q + 1) / 2 products of
    two columns of V, which the batch has in common.  Half of the flops, and one large product instead of many small
    ones: 100 matrices of 1000 x 21 take 1.0 ms and not 3.8 ms in float64, 0.3 ms and not 1.7 ms in float32 (2 cores).
    """
    return symmetric_product(V * h[:, None], V)


@weighted_product.def_vmap
def _weighted_products(
    axis_size: int, in_batched: list[bool], V: jax.Array, h: jax.Array
) -> tuple[jax.Array, bool]:  # fmt: skip
    n, q = V.shape[-2:]
    upper = np.triu_indices(q)
    if in_batched[0] or n * len(upper[0]) > _PRODUCTS:
        axes = [0 if batched else None for batched in in_batched]
        return jax.vmap(lambda V, h: symmetric_product(V * h[:, None], V), axes)(V, h), True
    products = dot(h, V[:, upper[0]] * V[:, upper[1]])
    place = np.zeros((q, q), np.int32)
    place[upper] = np.arange(len(upper[0]))
    return products[:, np.maximum(place, place.T)], True


def power_of_two(a: jax.Array) -> jax.Array:
    """The largest power of two not above a, from its exponent bits, kept where its reciprocal is normal too; 1 where a
    is 0 or not finite."""
    uint, bits, top = _layout(a.dtype)
    exponent = lax.bitcast_convert_type(a, uint) & uint(top << bits)
    power = lax.bitcast_convert_type(exponent, a.dtype)
    most = 2.0 ** (top // 2 - 2)
    return jnp.where((a > 0) & (a < jnp.inf), jnp.clip(power, 1 / most, most), 1)


def reciprocal(power: jax.Array) -> jax.Array:
    """The reciprocal of what `power_of_two` returned, from its exponent bits: XLA fuses no division."""
    uint, bits, top = _layout(power.dtype)
    return lax.bitcast_convert_type(uint((top - 1) << bits) - lax.bitcast_convert_type(power, uint), power.dtype)


def _layout(dtype: Any) -> tuple[Any, int, int]:
    """The unsigned integer of as many bits as a float, the bits of its significand and the largest exponent."""
    return (jnp.uint64, 52, 2**11 - 1) if dtype == jnp.float64 else (jnp.uint32, 23, 2**8 - 1)


def norms(A: jax.Array) -> jax.Array:
    """The Euclidean norms of the columns of A (n, k), which neither overflow nor underflow."""
    unit = power_of_two(frozen(jnp.abs(A).max(0)))
    B = A / unit[None]
    return unit * jnp.sqrt((B * B).sum(0))
