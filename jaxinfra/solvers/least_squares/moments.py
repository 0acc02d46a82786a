r"""Moments of a least-squares problem, in passes over its rows.

Everything is taken about a centre m (the weighted column means, or zero without intercept): Z = X - m.

    moments      Z'WZ, Z'Wy and the sums, about a provisional centre; on a CPU in one read of X
    gram         T'(Z'WZ)T for a basis T (p, p)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.absent import masked, present
from jaxinfra._core.precision import all_finite, dot, eps, positive
from jaxinfra._core.rows import sum_blocks
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra.solvers.linalg.design import in_range, provisional, rounded
from jaxinfra.solvers.linalg.products import by_row, diagonal, mirror, reciprocal, symmetric_product


class Moments(NamedTuple):
    """Centred second moments: G = Z'WZ (p, p), c = Z'Wy (p, k), yy (k,), the means and the weight."""

    G: jax.Array
    c: jax.Array
    yy: jax.Array
    x_mean: jax.Array
    y_mean: jax.Array
    weight: jax.Array
    finite: jax.Array  # (), bool: NaN or inf in any row reaches the square of one column or another
    cancellation: jax.Array  # largest ratio of a second moment about the provisional centre to the centred one


# Up to so many targets join the columns of X in the symmetric product: 6 and 12 of 20000 x 50 take 2.8 and 3.0 ms then,
# 2.9 and 3.3 by a product of their own.
_TARGETS = 8
_FEW = 100_000  # numbers in X that are copied beside y: they stay in the cache


def moments(
    X: jax.Array, y: jax.Array, w: jax.Array | None, *, centre: bool, blocked: bool, single: bool = False,
    parts: int = 1, rare: Rare = WHOLE,
) -> Moments:  # fmt: skip
    """One pass over X (n, p), y (n, k), w (n,).  `single` forms the products in float32; parts: see `sum_blocks`.

    All moments come from one product V'WV with V = [1, X - x0, y - y0]: separate sums would cost 10 % more time at
    200000 x 50 and a third more at 1000 x 20.  Rare: constant columns, and values out of range.
    """
    dtype = X.dtype
    n, p, k = *X.shape, y.shape[1]
    first, q = int(centre), p + centre  # the column of X that is first in V, and that of y

    # Few numbers side by side from the start: of many that would be a copy of the data.
    data = (jnp.concatenate([X, y], 1),) if X.size <= _FEW else (X, y)
    origin, inverse = provisional(data, w, centre, blocked)

    def sums(*rows: Any) -> tuple[jax.Array, jax.Array]:
        *parts, w = rows
        A = jnp.concatenate(parts, 1)
        V, w = masked((A - origin[None]) * inverse[None], w)
        if centre:
            V = jnp.pad(V, ((0, 0), (1, 0)), constant_values=1)
        V = V.astype(jnp.float32 if single else dtype)
        Vw = by_row(None if w is None else w.astype(V.dtype), V)
        M = symmetric_product(Vw if k <= _TARGETS else Vw[:, :q], V).astype(dtype)
        square = diagonal(M[:, :q] if k > _TARGETS else M)
        if k > _TARGETS:
            square = jnp.concatenate([square, (Vw[:, q:] * V[:, q:]).sum(0).astype(dtype)])
        return M[:q], square

    M, square = sum_blocks(sums, (*data, w), blocked=blocked, parts=parts)
    unit = reciprocal(inverse)
    out = ~in_range(square[first:], unit, origin)
    rare.note(out.any())
    if not rare.lean:
        unit = jnp.where(out, jnp.nan, unit)
    M = jnp.concatenate([mirror(M[:, :q]), M[:, q:]], 1)
    total, M = M[0, first:] * unit, M[first:, first:] * unit[:p, None] * unit[None]
    square = square[first:] * unit**2
    weight = jnp.asarray(n, dtype) if w is None else w.sum()
    raw, yy = square[:p], square[p:]
    cancellation = jnp.ones((), dtype)
    if centre:
        mean = total / positive(weight)
        M = M - mean[:p, None] * total[None]
        left = diagonal(M[:, :p])
        # Centring leaves of a constant column only the rounding of its origin, which must not count as a column.
        constant = rounded(unit[:p], origin[:p]) & (left <= eps(dtype) ** 0.5 * raw)
        rare.note(constant.any())
        if not rare.lean:
            left = jnp.where(constant, 0, left)
            M = jnp.where(constant[:, None] | jnp.pad(constant, (0, k))[None], 0, M)
        yy = jnp.maximum(yy - mean[p:] * total[p:], 0)
        origin = origin + mean
        cancellation = jnp.where(raw > 0, raw / jnp.maximum(left, eps(dtype) * raw), 1).max()
    # The barrier: recomputed in two programs, one of them with a fused multiply-add, a mean would have two values, and
    # the intercept would not match the residuals.
    origin = lax.optimization_barrier(origin)
    return Moments(M[:, :p], M[:, p:], yy, origin[:p], origin[p:], weight, all_finite(square), cancellation)


def weighted_means(
    X: jax.Array, y: jax.Array, w: jax.Array | None, centre: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The sum of w and the weighted column means of X and y (zero without centre)."""
    weight = jnp.asarray(X.shape[0], X.dtype) if w is None else w.sum()
    if not centre:
        return weight, jnp.zeros_like(X[0]), jnp.zeros_like(y[0])
    if w is None:
        return weight, X.mean(0), y.mean(0)
    X, w = masked(X, w)
    (y,) = present(w, y)
    weight = w.sum()
    safe = positive(weight)
    return weight, dot(w, X) / safe, dot(w, y) / safe


def centred(
    X: jax.Array, y: jax.Array, w: jax.Array | None, centre: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The sum of w, the means, and sqrt(W)(X - x_mean), sqrt(W)(y - y_mean) as arrays.

    Centred twice: the first mean is rounded, and that rounding would appear as one more singular value.
    """
    X, w = masked(X, w)
    (y,) = present(w, y)
    weight, x_mean, y_mean = weighted_means(X, y, w, centre)
    Z, v = X - x_mean[None], y - y_mean[None]
    _, dx, dy = weighted_means(Z, v, w, centre)
    Z, v = Z - dx[None], v - dy[None]
    if w is not None:
        # sqrt has no derivative at 0, where the row is absent.
        root = jnp.where(w > 0, jnp.sqrt(positive(w)), 0)[:, None]
        Z, v = Z * root, v * root
    return weight, x_mean + dx, y_mean + dy, Z, v


def gram(
    X: jax.Array, w: jax.Array | None, m: jax.Array, T: jax.Array | None, *, centre: bool, blocked: bool
) -> jax.Array:
    """The Gram matrix T'(Z'WZ)T (p, p) in one pass, T = I if None.

    The mean of ZT is subtracted once more, so the rounding of m does no harm.
    """

    def sums(X: jax.Array, w: jax.Array | None) -> tuple[jax.Array, ...]:
        Z, w = masked(X - m[None], w)
        Q = Z if T is None else dot(Z, T)
        Qw = by_row(w, Q)
        return dot(Qw.T, Q), Qw.sum(0), jnp.asarray(X.shape[0], X.dtype) if w is None else w.sum()

    G, q, weight = sum_blocks(sums, (X, w), blocked=blocked)
    return G - jnp.outer(q, q) / positive(weight) if centre else G
