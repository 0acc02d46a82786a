r"""Passes over the rows of a least-squares problem: moments, Gram products in a given basis, residuals.

Everything is taken about a centre m (the weighted column means, or zero without intercept): Z = X - m.  The passes:

    moments      Z'WZ, Z'Wy and the sums, about a provisional centre from a sample of rows; one read of X
    gram         T'(Z'WZ)T for a basis T (p, p)
    residual     r = y - Zw, its weighted norm, and Z'W r
    residual_pairs   the same in one and a half times the working precision
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import compensated as cp
from jaxinfra._core.precision import dot
from jaxinfra._core.rows import in_blocks, sum_blocks


class Moments(NamedTuple):
    """Centred second moments: G = Z'WZ (p, p), c = Z'Wy (p, k), yy (k,), the means and the weight."""

    G: jax.Array
    c: jax.Array
    yy: jax.Array
    x_mean: jax.Array
    y_mean: jax.Array
    weight: jax.Array
    cancellation: jax.Array  # largest ratio of a second moment about the provisional centre to the centred one


_STRIPS_FROM = 192


def symmetric_product(A: jax.Array, B: jax.Array) -> jax.Array:
    """A'B where the result is known to be symmetric: column strips of its upper triangle, zeros below (see `mirror`).

    XLA has no symmetric rank-k update.  Strips of about 128 columns do 62 % of the flops at p = 500.
    """
    p = A.shape[1]
    strips = round(p / 128)
    if p < _STRIPS_FROM:
        return dot(A.T, B)
    width = -(-p // strips)
    rows = []
    for lo in range(0, p, width):
        strip = dot(A[:, lo : lo + width].T, B[:, lo:])
        rows.append(jnp.pad(strip, ((0, 0), (lo, 0))))
    return jnp.concatenate(rows)


def mirror(U: jax.Array) -> jax.Array:
    """The symmetric matrix that `symmetric_product` gave the upper triangle of."""
    if U.shape[-1] < _STRIPS_FROM:
        return U
    i = jnp.arange(U.shape[-1])
    return jnp.where(i[:, None] <= i[None, :], U, U.T)


def _cross(Z: jax.Array, v: jax.Array) -> jax.Array:
    """Z'v; one column as a row times Z, which reads Z in order (float32 200000 x 50: 6 ms against 22)."""
    return dot(Z.T, v) if v.shape[1] > 1 else dot(v.T, Z).T


def _column(w: jax.Array | None, A: jax.Array) -> jax.Array:
    return A if w is None else A * w[:, None]


def _provisional(A: jax.Array, w: jax.Array | None, centre: bool) -> tuple[jax.Array, jax.Array]:
    """Centre and power-of-two scale of the columns.

    Any values near the mean and the spread do: they keep Z'WZ from cancelling, overflowing or underflowing, and are
    undone exactly afterwards.
    """
    if not centre:
        mean = jnp.zeros(A.shape[1], A.dtype)
    elif w is None:
        mean = A.mean(0)
    else:
        total = w.sum()
        mean = dot(w, A) / jnp.where(total > 0, total, 1)
    return mean, power_of_two(jnp.abs(A - mean[None]).max(0))


def power_of_two(a: jax.Array) -> jax.Array:
    """The largest power of two not above a, from its exponent bits; 1 where a is 0, subnormal or not finite."""
    uint, bits, top = (jnp.uint64, 52, 2**11 - 1) if a.dtype == jnp.float64 else (jnp.uint32, 23, 2**8 - 1)
    exponent = lax.bitcast_convert_type(a, uint) & uint(top << bits)
    power = lax.bitcast_convert_type(exponent, a.dtype)
    # Between 2^-100 and 2^100 its reciprocal is normal too, in float32 as well.
    return jnp.where((power > 2.0**-100) & (power < 2.0**100), power, 1)


def moments(
    X: jax.Array, y: jax.Array, w: jax.Array | None, *, centre: bool, blocked: bool, single: bool = False
) -> Moments:
    """One pass over X (n, p), y (n, k), w (n,).  `single` forms Z'WZ in float32, everything else in X's dtype."""
    dtype = X.dtype
    gram_dtype = jnp.float32 if single else dtype
    sampled = blocked and in_blocks(X)

    def provisional(step: int, X: jax.Array, y: jax.Array, w: jax.Array | None) -> tuple[jax.Array, ...]:
        w = None if w is None else w[::step]
        return *_provisional(X[::step], w, centre), *_provisional(y[::step], w, centre)

    if sampled:  # One read of X must do on a CPU.  Elsewhere a strided sample of sharded rows would gather them all.
        sample = partial(provisional, -(-X.shape[0] // 64))
        x0, dx, y0, dy = lax.platform_dependent(X, y, w, cpu=sample, default=partial(provisional, 1))
    else:
        x0, dx, y0, dy = provisional(1, X, y, w)
    ix, iy = 1 / dx, 1 / dy  # exact: powers of two

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None) -> tuple[jax.Array, ...]:
        Z, v = (X - x0[None]) * ix[None], (y - y0[None]) * iy[None]
        Zw, vw = _column(w, Z), _column(w, v)
        G = symmetric_product(Zw.astype(gram_dtype), Z.astype(gram_dtype)).astype(dtype)
        return G, _cross(Z, vw), Zw.sum(0), vw.sum(0), (vw * v).sum(0)

    G, c, sx, sy, yy = sum_blocks(sums, (X, y, w), blocked=blocked)
    G = mirror(G)
    weight = jnp.asarray(X.shape[0], dtype) if w is None else w.sum()
    mx, my, cancellation = jnp.zeros_like(sx), jnp.zeros_like(sy), jnp.ones((), dtype)
    if centre and sampled:
        safe = jnp.where(weight > 0, weight, 1)
        mx, my = sx / safe, sy / safe
        raw = diagonal(G)
        G, c, yy = G - jnp.outer(mx, sx), c - jnp.outer(mx, sy), jnp.maximum(yy - my * sy, 0)
        left = jnp.maximum(diagonal(G), jnp.finfo(dtype).eps * raw)
        cancellation = jnp.where(raw > 0, raw / left, 1).max()
    return Moments(
        G * dx[:, None] * dx[None, :], c * dx[:, None] * dy[None, :], yy * dy * dy, x0 + mx * dx, y0 + my * dy,
        weight, cancellation,
    )  # fmt: skip


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
    safe = jnp.where(weight > 0, weight, 1)
    return weight, dot(w, X) / safe, dot(w, y) / safe


def centred(
    X: jax.Array, y: jax.Array, w: jax.Array | None, centre: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """sum w, the means, and sqrt(W)(X - x_mean), sqrt(W)(y - y_mean) as arrays.

    Centred twice: the first mean is rounded, and that rounding would pass for one more singular value.
    """
    weight, x_mean, y_mean = weighted_means(X, y, w, centre)
    Z, v = X - x_mean[None], y - y_mean[None]
    _, dx, dy = weighted_means(Z, v, w, centre)
    Z, v = Z - dx[None], v - dy[None]
    if w is not None:
        # sqrt has no derivative at 0, where the row is absent.
        root = jnp.where(w > 0, jnp.sqrt(jnp.where(w > 0, w, 1)), 0)[:, None]
        Z, v = Z * root, v * root
    return weight, x_mean + dx, y_mean + dy, Z, v


def gram(X: jax.Array, w: jax.Array | None, m: jax.Array, T: jax.Array, *, centre: bool, blocked: bool) -> jax.Array:
    """T'(Z'WZ)T (p, p) in one pass.  The mean of ZT is taken out again, so the rounding of m does no harm."""

    def sums(X: jax.Array, w: jax.Array | None) -> tuple[jax.Array, ...]:
        Q = dot(X - m[None], T)
        Qw = _column(w, Q)
        return symmetric_product(Qw, Q), Qw.sum(0), jnp.asarray(X.shape[0], X.dtype) if w is None else w.sum()

    G, q, weight = sum_blocks(sums, (X, w), blocked=blocked)
    G = mirror(G)
    return G - jnp.outer(q, q) / jnp.where(weight > 0, weight, 1) if centre else G


class Residual(NamedTuple):
    """g = Z'W r (p, k), the weighted sum of r (k,) and of r^2 (k,), where r = y - Z coef - shift."""

    g: jax.Array
    total: jax.Array
    square: jax.Array


def residual(
    X: jax.Array, y: jax.Array, w: jax.Array | None, x_mean: jax.Array, y_mean: jax.Array, coef: jax.Array,
    shift: jax.Array, *, blocked: bool,
) -> Residual:  # fmt: skip
    """The residual pass in the working precision.  y_mean (k,), coef (p, k), shift (k,)."""

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None) -> Residual:
        Z = X - x_mean[None]
        r = (y - y_mean[None]) - dot(Z, coef) - shift[None]
        rw = _column(w, r)
        return Residual(_cross(Z, rw), rw.sum(0), (rw * r).sum(0))

    return sum_blocks(sums, (X, y, w), blocked=blocked)


def intercept(x_mean: jax.Array, y_mean: jax.Array, coef: jax.Array, shift: jax.Array) -> cp.Pair:
    """y_mean - x_mean'coef + shift (k,) as a normalised pair: with large means its terms cancel."""
    hi, lo = cp.dot(jnp.broadcast_to(x_mean[:, None], coef.shape), coef)
    return cp.normalise(cp.add(cp.two_sum(y_mean, shift), (-hi, -lo)))


def residual_pairs(
    X: jax.Array, y: jax.Array, w: jax.Array | None, x_mean: jax.Array, y_mean: jax.Array, coef: jax.Array,
    shift: jax.Array, *, centre: bool, blocked: bool,
) -> Residual:  # fmt: skip
    """The residual pass with every product and sum in pairs: r and Z'W r to eps^1.5.

    About 60 flops an element: only for ill-conditioned data.  On a CPU rows go in chunks of 64, for memory's sake.
    """
    n, p = X.shape
    chunk = 64
    b = intercept(x_mean, y_mean, coef, shift)

    def rows(
        X: jax.Array, y: jax.Array, w: jax.Array | None, b: cp.Pair, beta: jax.Array
    ) -> tuple[cp.Pair, cp.Pair, cp.Pair]:
        """X'W r, W r and W r^2 of each row."""
        hi, lo = cp.sum_pairs(cp.mul(X, jnp.broadcast_to(beta, X.shape)), 1)
        shift = -jnp.broadcast_to(b[0], y.shape), -jnp.broadcast_to(b[1], y.shape)
        r, e = cp.normalise(cp.add(cp.two_sum(y, shift[0]), (-hi, shift[1] - lo)))
        rw, lw = r, e
        if w is not None:
            rw, lw = cp.mul(r, w)
            rw, lw = cp.normalise((rw, lw + e * w))
        hi, lo = cp.mul(X, jnp.broadcast_to(rw[:, None], X.shape))
        return (hi, lo + X * lw[:, None]), (rw, lw), (rw * r, jnp.zeros_like(r))

    def finish(sums: tuple[cp.Pair, ...]) -> tuple[jax.Array, ...]:
        g, total, square = (cp.normalise(cp.sum_pairs(s, 0)) for s in sums)
        if centre:  # g = X'Wr - x_mean 1'Wr
            hi, lo = cp.mul(x_mean, jnp.broadcast_to(total[0], x_mean.shape))
            g = cp.add(g, (-hi, -lo - x_mean * total[1]))
        return g[0] + g[1], total[0], square[0]

    def whole(X: jax.Array, y: jax.Array, w: jax.Array | None, b: cp.Pair, coef: jax.Array) -> tuple[jax.Array, ...]:
        one = lambda target: finish(rows(X, target[0], w, *target[1:]))  # noqa: E731
        g, total, square = lax.map(one, (y.T, b, coef.T))  # one at a time: each may cost a copy of X
        return g.T, total, square

    def chunks(X: jax.Array, y: jax.Array, w: jax.Array | None, b: cp.Pair, coef: jax.Array) -> tuple[jax.Array, ...]:
        def target(y: jax.Array, b: cp.Pair, beta: jax.Array) -> tuple[jax.Array, ...]:
            def body(i: jax.Array, sums: tuple[cp.Pair, ...]) -> tuple[cp.Pair, ...]:
                # The last chunk ends with the last row; rows that it shares with the one before it count as absent.
                start = jnp.minimum(i * chunk, jnp.asarray(n - chunk, i.dtype))
                Xi, yi = (lax.dynamic_slice_in_dim(a, start, chunk) for a in (X, y))
                wi = (start + jnp.arange(chunk, dtype=start.dtype) >= i * chunk).astype(X.dtype)
                if w is not None:
                    wi *= lax.dynamic_slice_in_dim(w, start, chunk)
                return tuple(cp.add(a, b) for a, b in zip(sums, rows(Xi, yi, wi, b, beta), strict=True))

            zero = jnp.zeros((chunk, p), X.dtype), jnp.zeros(chunk, X.dtype), jnp.zeros(chunk, X.dtype)
            return finish(lax.fori_loop(0, -(-n // chunk), body, tuple((z, z) for z in zero)))

        return jax.vmap(target, in_axes=(1, 0, 1), out_axes=(1, 0, 0))(y, b, coef)

    if not blocked or n < 2 * chunk:
        return Residual(*whole(X, y, w, b, coef))
    return Residual(*lax.platform_dependent(X, y, w, b, coef, cpu=chunks, default=whole))
