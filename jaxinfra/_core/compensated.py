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

from jaxinfra._core.precision import positive

Pair = tuple[jax.Array, jax.Array]


def two_sum(a: jax.Array, b: jax.Array) -> Pair:
    """The exact sum a + b, as (rounded sum, error)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def add(a: Pair, b: Pair) -> Pair:
    """The sum a + b of pairs, which need not be normalised; nor is the result."""
    s, e = two_sum(a[0], b[0])
    return s, e + (a[1] + b[1])


def normalise(a: Pair) -> Pair:
    """The same value with lo below the rounding of hi."""
    hi = a[0] + a[1]
    return hi, a[1] - (hi - a[0])


def split(a: jax.Array) -> Pair:
    """The exact split a = hi + lo, each with about half of the mantissa (53 = 26 + 27 bits, 24 = 12 + 12)."""
    uint, bits = (jnp.uint64, 27) if a.dtype == jnp.float64 else (jnp.uint32, 12)
    mask = uint((2 ** (8 * a.dtype.itemsize) - 1) ^ (2**bits - 1))
    hi = lax.bitcast_convert_type(lax.bitcast_convert_type(a, uint) & mask, a.dtype)
    return hi, a - hi


def mul(a: jax.Array, b: jax.Array) -> Pair:
    """The product a * b: the product of the high halves, exact, and the rest, rounded at eps^1.5 of it."""
    ah, al = split(a)
    bh, bl = split(b)
    return ah * bh, (ah * bl + al * bh) + al * bl


def sum_pairs(a: Pair, axis: int) -> Pair:
    """The sum along `axis`, as one reduction (a tree of slices would make a much larger program)."""
    zero = jnp.zeros((), a[0].dtype)
    return lax.reduce(a, (zero, zero), add, (axis,))  # type: ignore[return-value]


def dot(a: jax.Array, b: jax.Array) -> Pair:
    """The sum of a_i b_i over the leading axis."""
    return sum_pairs(mul(a, b), 0)


def multiply(a: Pair, b: Pair) -> Pair:
    """The product a * b of pairs, to about eps^1.5."""
    hi, lo = mul(a[0], b[0])
    return normalise((hi, lo + (a[0] * b[1] + a[1] * b[0])))


def _power_of_two(k: jax.Array) -> jax.Array:
    """The power 2^k in float32 for whole k from -126 to 127, by its bits: exp2 is not exact on every device."""
    return lax.bitcast_convert_type((k.astype(jnp.int32) + 127) << 23, jnp.float32)


def _slices(a: Pair, bits: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows of float32 as a power of two times (a fixed-point number of so many bits + the rest)."""
    largest = jnp.abs(a[0]).max(1, keepdims=True)
    scale = _power_of_two(jnp.clip(jnp.ceil(jnp.log2(positive(largest))), -60, 60))
    high = jnp.round(a[0] / scale * 2.0**bits) / 2.0**bits
    return scale, high, (a[0] / scale - high) + a[1] / scale


def _bits(p: int) -> int:
    """The bits of a slice with which p products of two slices add up without rounding in float32."""
    return (24 - max(1, p - 1).bit_length()) // 2


def matmul(a: Pair, b: Pair) -> Pair:
    """The product a b' of pairs of float32 matrices (m, p) and (n, p), by matrix products alone.

    Each row is a power of two times a fixed-point number of so few bits that sums of p products are exact, and a rest
    whose products are smaller by those bits (Ozaki, Ogita, Oishi and Rump 2012, with two slices).
    """
    bits = _bits(a[0].shape[1])
    (scale_a, high_a, rest_a), (scale_b, high_b, rest_b) = _slices(a, bits), _slices(b, bits)

    def product(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST)

    scale = scale_a * scale_b.T
    rest = product(high_a, rest_b) + product(rest_a, high_b + rest_b)
    return normalise((product(high_a, high_b) * scale, rest * scale))


def row_dots(a: Pair, b: Pair) -> Pair:
    """The inner products of the rows of a with the same rows of b, (m,), in the same way as `matmul`."""
    bits = _bits(a[0].shape[1])
    (scale_a, high_a, rest_a), (scale_b, high_b, rest_b) = _slices(a, bits), _slices(b, bits)
    scale = (scale_a * scale_b)[:, 0]
    rest = (high_a * rest_b + rest_a * (high_b + rest_b)).sum(1)
    return normalise(((high_a * high_b).sum(1) * scale, rest * scale))


def exp(a: Pair) -> Pair:
    """The exponential of a pair of float32, not above 0: 2^k times a series; only terms from r^3 on are rounded.

    It is 0 below 2^-120, where the parts would leave the range.
    """
    ln2 = 0.6931471805599453
    nothing = a[0] < -120 * ln2
    a = jnp.where(nothing, 0, a[0]), jnp.where(nothing, 0, a[1])
    k = jnp.round(a[0] * (1 / ln2))
    high = 0.693359375  # k times it is exact
    r = normalise(two_sum(a[0] - k * high, a[1] - k * (ln2 - high)))
    x = r[0]
    square = multiply(r, r)
    tail = jnp.full_like(x, 1 / 40320)
    for factorial in (5040, 720, 120, 24, 6):
        tail = tail * x + 1 / factorial
    tail = tail * x * x * x
    # A one that is no constant: compilers for GPUs simplify (1 + x) - 1 to x, and the error of the sum is lost.
    one = (_power_of_two(k - k), jnp.zeros_like(x))
    total = normalise(add(add(one, r), (0.5 * square[0], 0.5 * square[1] + tail)))
    power = jnp.where(nothing, 0, _power_of_two(k))
    return total[0] * power, total[1] * power
