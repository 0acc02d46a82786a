r"""Moments of a least-squares problem, in passes over its rows.

Everything is taken about a centre m (the weighted column means, or zero without intercept): Z = X - m.

    moments      Z'WZ, Z'Wy and the sums, about a provisional centre; on a CPU in one read of X
    gram         T'(Z'WZ)T for a basis T (p, p)
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.absent import masked, present
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.rows import sum_blocks
from jaxinfra.solvers.linalg.design import in_range, provisional, rounded
from jaxinfra.solvers.linalg.products import by_row, diagonal, mirror, symmetric_product


class Moments(NamedTuple):
    """Centred second moments: G = Z'WZ (p, p), c = Z'Wy (p, k), yy (k,), the means and the weight."""

    G: jax.Array
    c: jax.Array
    yy: jax.Array
    x_mean: jax.Array
    y_mean: jax.Array
    weight: jax.Array
    cancellation: jax.Array  # largest ratio of a second moment about the provisional centre to the centred one


# Up to so many targets join the columns of X in the symmetric product.
_TARGETS = 8


def moments(
    X: jax.Array, y: jax.Array, w: jax.Array | None, *, centre: bool, blocked: bool, single: bool = False,
    parts: int = 1,
) -> Moments:  # fmt: skip
    """One pass over X (n, p), y (n, k), w (n,).  `single` forms the products in float32; parts: see `sum_blocks`.

    All moments come from one product V'WV with V = [X - x0, 1, y - y0]: separate sums would cost 10 % more time at
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
        mean = total / positive(weight)
        M = M - mean[:q, None] * total[None]
        # Centring leaves of a constant column only the rounding of its origin, which must not count as a column.
        constant = rounded(scale[:p], origin[:p]) & (diagonal(M[:p, :p]) <= eps(dtype) ** 0.5 * raw)
        M = jnp.where(jnp.pad(constant, (0, 1))[:, None] | jnp.pad(constant, (0, 1 + k))[None], 0, M)
        yy = jnp.maximum(yy - mean[q:] * total[q:], 0)
        origin = origin + mean
        left = jnp.maximum(diagonal(M[:p, :p]), jnp.finfo(dtype).eps * raw)
        cancellation = jnp.where(raw > 0, raw / left, 1).max()
    # The barrier: recomputed in two programs, one of them with a fused multiply-add, a mean would have two values, and
    # the intercept would not match the residuals.
    origin = lax.optimization_barrier(origin)
    return Moments(M[:p, :p], M[:p, q:], yy, origin[:p], origin[q:], weight, cancellation)


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
