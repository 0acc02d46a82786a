r"""Products and sums to about one and a half times the working precision: eps^1.5 (error-free transformations).

A number is a pair (hi, lo) of value hi + lo, lo the smaller.  Compilers may contract a*b + c into one fused
multiply-add, which breaks the textbook two-product; here operands are split by masking mantissa bits, so the leading
partial product is exact whether or not it is contracted.  Masking cannot overflow either, unlike Veltkamp's split.
Source: Dekker 1971; Knuth; Ogita, Rump and Oishi 2005 (Dot2).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

Pair = tuple[jax.Array, jax.Array]


def two_sum(a: jax.Array, b: jax.Array) -> Pair:
    """a + b exactly, as (rounded sum, error)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def add(a: Pair, b: Pair) -> Pair:
    """a + b; the parts need not be normalised, and are not."""
    s, e = two_sum(a[0], b[0])
    return s, e + (a[1] + b[1])


def normalise(a: Pair) -> Pair:
    """The same value with lo below the rounding of hi."""
    hi = a[0] + a[1]
    return hi, a[1] - (hi - a[0])


def split(a: jax.Array) -> Pair:
    """a = hi + lo exactly, each with about half of the mantissa (53 = 26 + 27 bits, 24 = 12 + 12)."""
    uint, bits = (jnp.uint64, 27) if a.dtype == jnp.float64 else (jnp.uint32, 12)
    mask = uint((2 ** (8 * a.dtype.itemsize) - 1) ^ (2**bits - 1))
    hi = lax.bitcast_convert_type(lax.bitcast_convert_type(a, uint) & mask, a.dtype)
    return hi, a - hi


def mul(a: jax.Array, b: jax.Array) -> Pair:
    """a * b: the product of the high halves, exact, and the rest, rounded at eps^1.5 of it."""
    ah, al = split(a)
    bh, bl = split(b)
    return ah * bh, (ah * bl + al * bh) + al * bl


def sum_pairs(a: Pair, axis: int) -> Pair:
    """Sum along `axis`, as one reduction (a tree of slices would be many times the program)."""
    zero = jnp.zeros((), a[0].dtype)
    return lax.reduce(a, (zero, zero), add, (axis,))  # type: ignore[return-value]


def dot(a: jax.Array, b: jax.Array) -> Pair:
    """sum_i a_i b_i over the leading axis."""
    return sum_pairs(mul(a, b), 0)
