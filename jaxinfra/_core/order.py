r"""Order statistics of weighted rows without sorting them.

The bits of numbers that are not negative, read as whole numbers, have the order of the numbers, so a bisection over the
bits finds an order statistic exactly: 64 sums over the rows in float64, 32 in float32.  XLA's sort takes ten times as
long on a CPU, and a sum over rows that are spread over devices is one small all-reduce.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def smallest(v: jax.Array, w: jax.Array, mass: jax.Array) -> jax.Array:
    """The smallest of v (n,), none negative, up to which the weights w (n,) come to `mass`; infinity if they do not."""
    uint, bits = (jnp.uint64, 64) if v.dtype == jnp.float64 else (jnp.uint32, 32)
    order = lax.bitcast_convert_type(jnp.abs(v), uint)  # abs: -0 is 0

    def reached(bound: jax.Array) -> jax.Array:
        return jnp.where(order <= bound, w, 0).sum() >= mass

    def bit(i: jax.Array, bound: jax.Array) -> jax.Array:
        """The largest bound that is not enough, bit by bit."""
        tried = bound | (uint(1) << (uint(bits - 2) - i.astype(uint)))
        return jnp.where(reached(tried), bound, tried)

    none = uint(0)
    last = lax.fori_loop(0, bits - 1, bit, none)  # the sign bit stays 0
    value = lax.bitcast_convert_type(jnp.where(reached(none), none, last + uint(1)), v.dtype)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


def median(v: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The lower and upper weighted median of v (n,), none negative; equal unless half of the weight ends between two.

    Their mean is the median of the rows, each repeated as often as its weight says.
    """
    half = 0.5 * w.sum()
    slack = 8 * jnp.finfo(v.dtype).eps * half  # weights that are multiples of 0.1, say, do not add up exactly
    lower = smallest(v, w, half - slack)
    beyond = jnp.where((v > lower) & (w > 0), v, jnp.inf).min()
    ends = jnp.where(v <= lower, w, 0).sum() <= half + slack
    return lower, jnp.where(ends & jnp.isfinite(beyond), beyond, lower)


def quantile(v: jax.Array, w: jax.Array, share: jax.Array) -> jax.Array:
    """The smallest of v (n,), of any sign, up to which the weights come to this share of their sum."""
    low = v.min()
    return low + smallest(v - low, w, share * w.sum())
