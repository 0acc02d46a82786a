r"""Least squares on many small subsets of the rows at once, for RANSAC and the Theil-Sen estimator."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinfra._core.implicit import frozen
from jaxinfra._core.precision import dot, eps


def draw(key: jax.Array, w: jax.Array, count: int, size: int) -> jax.Array:
    """Draw `count` subsets of `size` different rows, (count, size) int32, row by row in proportion to weights w (n,).

    The weights divide an interval of length sum w into one piece for each row.  Row k of a subset is that of a uniform
    point of the interval from which the pieces of the rows before it are cut out.
    """
    cumulative = jnp.cumsum(w)
    total = cumulative[-1]

    def subset(key: jax.Array) -> jax.Array:
        def one(k: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            chosen, starts, sizes = carry  # pieces in ascending order; those of rows not chosen yet start at infinity
            place = jax.random.uniform(jax.random.fold_in(key, k), dtype=w.dtype) * (total - sizes.sum())
            shift = lambda place, piece: (place + jnp.where(place >= piece[0], piece[1], 0), None)  # noqa: E731
            place = lax.scan(shift, place, (starts, sizes))[0]
            row = jnp.searchsorted(cumulative, place, side="right").astype(jnp.int32)
            row = jnp.minimum(row, len(w) - 1)
            starts = jnp.where(jnp.arange(size) == size - 1, cumulative[row] - w[row], starts)
            sizes = jnp.where(jnp.arange(size) == size - 1, w[row], sizes)
            starts, sizes = lax.sort((starts, sizes), num_keys=1)
            return chosen.at[k].set(row), starts, sizes

        nothing = (jnp.zeros(size, jnp.int32), jnp.full(size, jnp.inf, w.dtype), jnp.zeros(size, w.dtype))
        return lax.fori_loop(0, size, one, nothing)[0]

    return jax.vmap(subset)(jax.random.split(key, count))


def all_of(n: int, size: int, most: int) -> np.ndarray | None:
    """All subsets of `size` of n rows if there are at most `most` of them, else None."""
    if math.comb(n, size) > most:
        return None
    if size == 2:  # half a million pairs are made in milliseconds this way
        return np.stack(np.triu_indices(n, 1), axis=1).astype(np.int32)
    return np.array(list(itertools.combinations(range(n), size)), np.int32).reshape(-1, size)


def shares(w: jax.Array, rows: jax.Array | np.ndarray) -> jax.Array:
    """The products of the weights w (n,) of each subset's rows (count, size), the largest near 1: they neither overflow
    nor all underflow."""
    mantissa, exponent = jnp.frexp(w)
    product, total = jnp.prod(mantissa[rows], axis=1), exponent[rows].sum(1)
    top = jnp.where(product > 0, total, jnp.iinfo(total.dtype).min).max()
    return jnp.ldexp(product, jnp.where(product > 0, total - top, 0))


def solve(V: jax.Array, y: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Least squares of each subset: (count, q), and whether its rows determine it.

    The test is the condition of R, not its pivots: a small pivot magnifies the rounding in that of a dependent column.
    """
    Q, R = jnp.linalg.qr(V[rows])
    eye = jnp.eye(V.shape[1], dtype=V.dtype)[None]
    fixed = frozen(R)
    pivots = jnp.abs(jnp.diagonal(fixed, axis1=1, axis2=2)).min(1)
    fixed = jnp.where((pivots > 0)[:, None, None], fixed, eye)
    inverse = lax.linalg.triangular_solve(fixed, jnp.broadcast_to(eye, R.shape), left_side=True)
    condition = jnp.abs(fixed).max((1, 2)) * jnp.abs(inverse).max((1, 2))
    regular = (pivots > 0) & (condition * eps(V.dtype) ** 0.75 < 1)
    R = jnp.where(regular[:, None, None], R, eye)
    right = jnp.where(regular[:, None], dot(Q.mT, y[rows][..., None])[..., 0], 0)
    return lax.linalg.triangular_solve(R, right[..., None], left_side=True)[..., 0], regular
