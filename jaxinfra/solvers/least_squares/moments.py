r"""Moments of a least-squares problem, in passes over its rows.

Everything is taken about a centre m (the weighted column means, or zero without intercept): Z = X - m.

    moments      Z'WZ, Z'Wy and the sums, about a provisional centre; on a CPU in one read of X
    gram         T'(Z'WZ)T for a basis T (p, p)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from jaxinfra._core.absent import masked, present
from jaxinfra._core.centre import bulk
from jaxinfra._core.implicit import frozen
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.rows import sum_blocks


class Moments(NamedTuple):
    """Centred second moments: G = Z'WZ (p, p), c = Z'Wy (p, k), yy (k,), the means and the weight."""

    G: jax.Array
    c: jax.Array
    yy: jax.Array
    x_mean: jax.Array
    y_mean: jax.Array
    weight: jax.Array
    cancellation: jax.Array  # largest ratio of a second moment about the provisional centre to the centred one


# A multiple of the rows of the CPU's micro-kernel.  In strips of 48, 96 and 192 columns the float32 moments of
# 100000 x 100 take 14, 19 and 19 ms; of 20000 x 500, 46, 41 and 46 ms; of 2000 x 1000, 20, 17.5 and 14.5 ms.
_STRIP = 48


def _in_strips(p: int) -> bool:
    return p >= 2 * _STRIP


def symmetric_product(A: jax.Array, B: jax.Array) -> jax.Array:
    """A'B where the result is known to be symmetric: column strips of its upper triangle, zeros below (see `mirror`).

    XLA has no symmetric rank-k update; strips do some 60 % of the flops.
    """
    p = A.shape[1]
    if not _in_strips(p):
        return dot(A.T, B)
    width = _STRIP * min(4, max(1, round(p / 200)))
    starts = range(0, p // width * width, width)
    strips = [dot(A[:, lo:hi].T, B[:, lo:]) for lo, hi in zip(starts, [*starts[1:], p], strict=True)]
    return jnp.concatenate([jnp.pad(s, ((0, 0), (lo, 0))) for s, lo in zip(strips, starts, strict=True)])


# A batch shares its products of columns while these have at most so many numbers (32 MB of float64).
_PRODUCTS = 4_000_000


@custom_vmap
def weighted_product(V: jax.Array, h: jax.Array) -> jax.Array:
    """V' diag(h) V, as `symmetric_product` returns it.

    In a batch of weights h that share V it is one product: of the weights (batch, n) with the q (q + 1) / 2 products of
    two columns of V, which the batch has in common.  Half of the flops, and one large product in place of many small
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


def mirror(U: jax.Array) -> jax.Array:
    """The symmetric matrix that `symmetric_product` gave the upper triangle of."""
    if not _in_strips(U.shape[-1]):
        return U
    i = jnp.arange(U.shape[-1])
    return jnp.where(i[:, None] <= i[None, :], U, U.T)


def by_row(w: jax.Array | None, A: jax.Array) -> jax.Array:
    """WA."""
    return A if w is None else A * w[:, None]


def provisional(A: jax.Array, w: jax.Array | None, centre: bool, blocked: bool = False) -> tuple[jax.Array, jax.Array]:
    """Centre (p,) and power-of-two scale (p,) of the columns of A (n, p), of the rows that count.

    Any values near the mean and the spread do: they keep Z'WZ from cancelling, overflowing or underflowing, and are
    undone exactly afterwards.  So `blocked` takes them from some 64 rows on a CPU, where one read of A must do;
    elsewhere a strided sample of sharded rows would gather them all.
    """

    def of(step: int, A: jax.Array, w: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        if w is not None:
            return _counting(centre, step)(A, w)
        A = A[::step]
        if not centre:
            return jnp.zeros_like(A[0]), power_of_two(jnp.abs(A).max(0))
        return _about(A, bulk(A), jnp.ones_like(A, bool))

    step = -(-A.shape[0] // 64)
    if not blocked or step == 1:
        return of(1, A, w)
    return lax.platform_dependent(A, w, cpu=partial(of, step), default=partial(of, 1))


def _about(A: jax.Array, mean: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean and the scale of what A is away from it.  Of a column that is constant but for the rounding of the mean
    one of its values is taken: else that rounding, scaled up, is a second intercept."""
    top = jnp.where(counts, A, -jnp.inf).max(0)
    spread, below = (jnp.where(counts, jnp.abs(A - c[None]), 0).max(0) for c in (mean, top))
    flat = rounded(spread, mean) & jnp.isfinite(top)
    return jnp.where(flat, top, mean), power_of_two(jnp.where(flat, below, spread))


@cache
def _counting(centre: bool, step: int) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """`provisional` with weights, from one row in `step` and the first that counts.  Lanes that share A share its
    centre and scale, those of the rows that count in any: else each fold of a cross-validation would have an X of its
    own."""

    def alone(A: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        here = w > 0
        if step > 1:
            # Of weights of 1 that it knows the compiler would work this out itself, in 1.5 s at 200000 rows.
            first = jnp.argmax(lax.optimization_barrier(here))
            A, w, here = (jnp.concatenate([a[first][None], a[::step]]) for a in (A, w, here))
        counts = here[:, None] & jnp.isfinite(A)
        share = jnp.where(counts, (w / jnp.where(here.any(), w.max(), 1))[:, None], 0)
        if not centre:
            return jnp.zeros_like(A[0]), power_of_two(jnp.where(counts, jnp.abs(A), 0).max(0))
        return _about(A, bulk(jnp.where(counts, A, 0), share), counts)

    @custom_vmap
    def of(A: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return alone(A, w)

    @of.def_vmap
    def lanes(
        axis_size: int, in_batched: list[bool], A: jax.Array, w: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[bool, bool]]:
        if in_batched[0]:
            return jax.vmap(alone, (0, 0 if in_batched[1] else None))(A, w), (True, True)
        return of(A, w.max(0)), (False, False)

    return of


def power_of_two(a: jax.Array) -> jax.Array:
    """The largest power of two not above a, from its exponent bits, kept where its reciprocal is normal too; 1 where a
    is 0 or not finite."""
    uint, bits, top = (jnp.uint64, 52, 2**11 - 1) if a.dtype == jnp.float64 else (jnp.uint32, 23, 2**8 - 1)
    exponent = lax.bitcast_convert_type(a, uint) & uint(top << bits)
    power = lax.bitcast_convert_type(exponent, a.dtype)
    most = 2.0 ** (top // 2 - 2)
    return jnp.where((a > 0) & (a < jnp.inf), jnp.clip(power, 1 / most, most), 1)


def in_range(square: jax.Array, scale: jax.Array, origin: jax.Array) -> jax.Array:
    """scale where square (sums of squares of what it divided) times its square is a normal number or 0; else NaN: such
    a column would pass for a constant one.  One that is constant but for the rounding of its origin is."""
    normal = jnp.abs(square) * scale**2 >= jnp.finfo(square.dtype).tiny
    constant = (square == 0) | rounded(scale, origin)
    return jnp.where(constant | normal, scale, jnp.nan)


def in_units(w: jax.Array | None) -> jax.Array | None:
    """The weights w (n,) by the power of two below their largest, for what depends on their ratios alone: a root of
    theirs times a residual then underflows only where the residual does."""
    return None if w is None else w / power_of_two(frozen(w.max()))


def rounded(scale: jax.Array, origin: jax.Array) -> jax.Array:
    """Whether a column whose spread is `scale` is constant but for the rounding of its origin, or all but constant."""
    return scale <= 16 * eps(scale.dtype) * jnp.abs(origin)


def norms(A: jax.Array) -> jax.Array:
    """The Euclidean norms of the columns of A (n, k), which neither overflow nor underflow."""
    unit = power_of_two(frozen(jnp.abs(A).max(0)))
    B = A / unit[None]
    return unit * jnp.sqrt((B * B).sum(0))


# Up to so many targets join the columns of X in the symmetric product.
_TARGETS = 8


def moments(
    X: jax.Array, y: jax.Array, w: jax.Array | None, *, centre: bool, blocked: bool, single: bool = False,
    parts: int = 1,
) -> Moments:  # fmt: skip
    """One pass over X (n, p), y (n, k), w (n,).  `single` forms the products in float32; parts: see `sum_blocks`.

    All moments come from one product V'WV with V = [X - x0, 1, y - y0]: sums of their own would cost 10 % more time at
    200000 x 50 and a third more at 1000 x 20.
    """
    dtype = X.dtype
    n, p, k = *X.shape, y.shape[1]
    q = p + centre  # columns of V before those of y

    (x0, x_scale), (y0, y_scale) = (provisional(A, w, centre, blocked) for A in (X, y))
    one = [jnp.ones(1, dtype)] if centre else []
    origin = jnp.concatenate([x0, *(0 * v for v in one), y0])
    scale = jnp.concatenate([x_scale, *one, y_scale])
    inverse = 1 / scale  # exact: powers of two

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        one = [jnp.ones_like(X[:, :1])] if centre else []
        V = (jnp.concatenate([X, *one, y], 1) - origin[None]) * inverse[None]
        V, w = masked(V, w)
        V = V.astype(jnp.float32 if single else dtype)
        Vw = by_row(None if w is None else w.astype(V.dtype), V)
        M = symmetric_product(Vw if k <= _TARGETS else Vw[:, :q], V).astype(dtype)
        yy = diagonal(M[q:, q:]) if k <= _TARGETS else (Vw[:, q:] * V[:, q:]).sum(0).astype(dtype)
        return M[:q], yy

    M, yy = sum_blocks(sums, (X, y, w), blocked=blocked, parts=parts)
    scale = in_range(jnp.concatenate([diagonal(M[:, :q]), yy]), scale, origin)
    M = jnp.concatenate([mirror(M[:, :q]), M[:, q:]], 1) * scale[:q, None] * scale[None]
    yy = yy * scale[q:] ** 2
    weight = jnp.asarray(n, dtype) if w is None else w.sum()
    raw, cancellation = diagonal(M[:p, :p]), jnp.ones((), dtype)
    if centre:
        total = M[p]
        mean = total / jnp.where(weight > 0, weight, 1)
        M = M - mean[:q, None] * total[None]
        # Of a constant column centring leaves the rounding of its origin, which is no column.
        constant = rounded(scale[:p], origin[:p]) & (diagonal(M[:p, :p]) <= eps(dtype) ** 0.5 * raw)
        M = jnp.where(jnp.pad(constant, (0, 1))[:, None] | jnp.pad(constant, (0, 1 + k))[None], 0, M)
        yy = jnp.maximum(yy - mean[q:] * total[q:], 0)
        origin = origin + mean
        left = jnp.maximum(diagonal(M[:p, :p]), jnp.finfo(dtype).eps * raw)
        cancellation = jnp.where(raw > 0, raw / left, 1).max()
    # The barrier: recomputed in two programs, one of them with a fused multiply-add, a mean would not be one number and
    # the intercept would not belong to the residuals.
    origin = lax.optimization_barrier(origin)
    return Moments(M[:p, :p], M[:p, q:], yy, origin[:p], origin[q:], weight, cancellation)


def diagonal(H: jax.Array) -> jax.Array:
    """The diagonal of H (..., p, p), as a masked sum (jnp.diagonal is a gather)."""
    return jnp.where(jnp.broadcast_to(jnp.eye(H.shape[-1], dtype=bool), H.shape), H, 0).sum(-1)


def weighted_means(
    X: jax.Array, y: jax.Array, w: jax.Array | None, centre: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """sum w and the weighted column means of X and y (zero without centre)."""
    weight = jnp.asarray(X.shape[0], X.dtype) if w is None else w.sum()
    if not centre:
        return weight, jnp.zeros_like(X[0]), jnp.zeros_like(y[0])
    if w is None:
        return weight, X.mean(0), y.mean(0)
    X, w = masked(X, w)
    (y,) = present(w, y)
    weight = w.sum()
    safe = jnp.where(weight > 0, weight, 1)
    return weight, dot(w, X) / safe, dot(w, y) / safe


def centred(
    X: jax.Array, y: jax.Array, w: jax.Array | None, centre: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """sum w, the means, and sqrt(W)(X - x_mean), sqrt(W)(y - y_mean) as arrays.

    Centred twice: the first mean is rounded, and that rounding would pass for one more singular value.
    """
    X, w = masked(X, w)
    (y,) = present(w, y)
    weight, x_mean, y_mean = weighted_means(X, y, w, centre)
    Z, v = X - x_mean[None], y - y_mean[None]
    _, dx, dy = weighted_means(Z, v, w, centre)
    Z, v = Z - dx[None], v - dy[None]
    if w is not None:
        # sqrt has no derivative at 0, where the row is absent.
        root = jnp.where(w > 0, jnp.sqrt(jnp.where(w > 0, w, 1)), 0)[:, None]
        Z, v = Z * root, v * root
    return weight, x_mean + dx, y_mean + dy, Z, v


def gram(
    X: jax.Array, w: jax.Array | None, m: jax.Array, T: jax.Array | None, *, centre: bool, blocked: bool
) -> jax.Array:
    """T'(Z'WZ)T (p, p) in one pass, T = I if None.

    The mean of ZT is taken out again, so the rounding of m does no harm.
    """

    def sums(X: jax.Array, w: jax.Array | None) -> tuple[jax.Array, ...]:
        Z, w = masked(X - m[None], w)
        Q = Z if T is None else dot(Z, T)
        Qw = by_row(w, Q)
        return dot(Qw.T, Q), Qw.sum(0), jnp.asarray(X.shape[0], X.dtype) if w is None else w.sum()

    G, q, weight = sum_blocks(sums, (X, w), blocked=blocked)
    return G - jnp.outer(q, q) / jnp.where(weight > 0, weight, 1) if centre else G
