r"""The residual r = y - Z coef - shift of a least-squares problem and Z'W r, in passes over its rows.

plain        in the working precision
pairs        in one and a half times the working precision
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import compensated as cp
from jaxinfra._core.absent import masked
from jaxinfra._core.precision import dot
from jaxinfra._core.rows import sum_blocks
from jaxinfra.solvers.linalg.products import by_row


def _cross(Z: jax.Array, v: jax.Array) -> jax.Array:
    """The product Z'v; one column as a row times Z, which reads Z in order (float32 200000 x 50: 6 ms against 22)."""
    return dot(Z.T, v) if v.shape[1] > 1 else dot(v.T, Z).T


class Residual(NamedTuple):
    """The products g = Z'W r (p, k), the weighted sums of r (k,) and of r^2 (k,), where r = y - Z coef - shift."""

    g: jax.Array
    total: jax.Array
    square: jax.Array


def plain(
    X: jax.Array, y: jax.Array, w: jax.Array | None, x_mean: jax.Array, y_mean: jax.Array, coef: jax.Array,
    shift: jax.Array, *, blocked: bool,
) -> Residual:  # fmt: skip
    """The residual pass in the working precision.  y_mean (k,), coef (p, k), shift (k,)."""

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None) -> Residual:
        Z, w = masked(X - x_mean[None], w)
        r = (y - y_mean[None]) - dot(Z, coef) - shift[None]
        rw = by_row(w, r)
        return Residual(_cross(Z, rw), rw.sum(0), (rw * r).sum(0))

    return sum_blocks(sums, (X, y, w), blocked=blocked)


def intercept(x_mean: jax.Array, y_mean: jax.Array, coef: jax.Array, shift: jax.Array) -> cp.Pair:
    """The intercept y_mean - x_mean'coef + shift (k,) as a normalised pair: with large means its terms cancel."""
    hi, lo = cp.dot(jnp.broadcast_to(x_mean[:, None], coef.shape), coef)
    return cp.normalise(cp.add(cp.two_sum(y_mean, shift), (-hi, -lo)))


def pairs(
    X: jax.Array, y: jax.Array, w: jax.Array | None, x_mean: jax.Array, y_mean: jax.Array, coef: jax.Array,
    shift: jax.Array, *, centre: bool, blocked: bool,
) -> Residual:  # fmt: skip
    """The residual pass with every product and sum in double-word arithmetic: r and Z'W r to eps^1.5.

    About 60 flops an element: only for ill-conditioned data.  On a CPU in chunks of 64 rows, to save memory.  In
    float32 the gradient near the solution of 100000 x 50 has an error of 1e-5 and not 6e-4, the coefficients of powers
    up to 8 (2000 rows) one of 7e-6 and not 6e-5; up to 5 both are as good.  A pass over these 100000 x 50 takes 25 ms,
    a plain one 1.6 (2 cores).
    """
    n, p = X.shape
    chunk = 64
    b = intercept(x_mean, y_mean, coef, shift)

    def rows(X: jax.Array, y: jax.Array, w: jax.Array | None, b: cp.Pair, beta: jax.Array) -> cp.Pair:
        """The terms of X'W r, W r and W r^2 of each row: (m, p + 2)."""
        X, w = masked(X, w)
        hi, lo = cp.sum_pairs(cp.mul(X, jnp.broadcast_to(beta, X.shape)), 1)
        shift = -jnp.broadcast_to(b[0], y.shape), -jnp.broadcast_to(b[1], y.shape)
        r, e = cp.normalise(cp.add(cp.two_sum(y, shift[0]), (-hi, shift[1] - lo)))
        rw, lw = r, e
        if w is not None:
            rw, lw = cp.mul(r, w)
            rw, lw = cp.normalise((rw, lw + e * w))
        hi, lo = cp.mul(X, jnp.broadcast_to(rw[:, None], X.shape))
        lo = lo + X * lw[:, None]
        ends = jnp.stack([rw, rw * r], 1), jnp.stack([lw, jnp.zeros_like(r)], 1)
        return jnp.concatenate([hi, ends[0]], 1), jnp.concatenate([lo, ends[1]], 1)

    def finish(terms: cp.Pair) -> tuple[jax.Array, ...]:
        hi, lo = cp.normalise(cp.sum_pairs(terms, 0))
        g, total = (hi[:p], lo[:p]), (hi[p], lo[p])
        if centre:  # g = X'Wr - x_mean 1'Wr
            high, low = cp.mul(x_mean, jnp.broadcast_to(total[0], x_mean.shape))
            g = cp.add(g, (-high, -low - x_mean * total[1]))
        return g[0] + g[1], total[0], hi[p + 1]

    def whole(y: jax.Array, b: cp.Pair, beta: jax.Array) -> tuple[jax.Array, ...]:
        return finish(rows(X, y, w, b, beta))

    def chunks(y: jax.Array, b: cp.Pair, beta: jax.Array) -> tuple[jax.Array, ...]:
        def body(i: jax.Array, sums: cp.Pair) -> cp.Pair:
            # The last chunk ends with the last row; rows that it shares with the one before it count as absent.
            start = jnp.minimum(i * chunk, jnp.asarray(n - chunk, i.dtype))
            Xi, yi = (lax.dynamic_slice_in_dim(a, start, chunk) for a in (X, y))
            wi = (start + jnp.arange(chunk, dtype=start.dtype) >= i * chunk).astype(X.dtype)
            if w is not None:
                wi *= lax.dynamic_slice_in_dim(w, start, chunk)
            return cp.add(sums, rows(Xi, yi, wi, b, beta))

        zero = jnp.zeros((chunk, p + 2), X.dtype)
        return finish(lax.fori_loop(0, -(-n // chunk), body, (zero, zero)))

    def target(y: jax.Array, b: cp.Pair, beta: jax.Array) -> tuple[jax.Array, ...]:
        if not blocked or n < 2 * chunk:
            return whole(y, b, beta)
        return lax.platform_dependent(y, b, beta, cpu=chunks, default=whole)

    # One target at a time: each may cost a copy of X.
    g, total, square = lax.map(lambda t: target(*t), (y.T, b, coef.T))
    return Residual(g.T, total, square)
