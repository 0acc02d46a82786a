r"""The data of a lasso in the form its solver needs, the oracle of its smooth part, and the duality gap.

A, v, g and the two cases are defined in `elastic_net`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.absent import masked
from jaxinfra._core.precision import all_finite, dot, eps, positive
from jaxinfra.solvers.least_squares import moments, refinement, residual
from jaxinfra.solvers.linalg import design, products
from jaxinfra.solvers.methods.active_set import Oracle

# Tall: few columns, or so many rows and penalties that moments cost less than products for every block of penalties.
# One fit of 300 x 300, 400 x 400 and 200 x 400 takes 1.1, 1.3 and 1.2 ms by products, 1.1, 1.4 and 1.4 by moments; of
# 4000 x 1000 at 0.3, 0.1 and less of l1_max 58, 118 and 92 by products, 70, 48 and 37 by moments; of 1200 x 600 3.6,
# 7.6 and 9.6, and 5.3, 5.9 and 5.6 (2 cores).  4096 columns have moments of 64 MB in float32.
_FEW, _TALL, _MOST = 200, 4, 4096


class Statistics(NamedTuple):
    """Sufficient statistics, scaled as in the objective."""

    M: jax.Array  # A'A (p, p) if tall, else A' (p, n)
    v: jax.Array | None  # (n,) if wide
    c: jax.Array  # A'v (p,)
    vv: jax.Array  # v'v
    d: jax.Array  # diagonal of A'A
    x_mean: jax.Array
    y_mean: jax.Array
    weight: jax.Array
    valid: jax.Array
    finite: jax.Array
    rounding: jax.Array  # relative, of g computed from M and c


def is_tall(n: int, p: int, m: int) -> bool:
    """Whether to form A'A for m penalties."""
    return p <= _FEW or (p <= _MOST and n >= (p if m > _TALL else _TALL * p))


def prepare(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array | None, centre: bool, blocked: bool
) -> Statistics:
    """The problem in the form that suits its shape; zeros where the input is not usable."""
    n, p = X.shape
    if is_tall(n, p, l1.shape[0]):
        m = moments.moments(X, y[:, None], w, centre=centre, blocked=blocked, parts=2)
        weight, x_mean, y_mean = m.weight, m.x_mean, m.y_mean[0]
        scale = jnp.where(weight > 0, 1 / positive(weight), 0)
        M, v, c, vv = m.G * scale, None, m.c[:, 0] * scale, m.yy[0] * scale
        d, rounding = products.diagonal(M), 8 * eps(X.dtype) * m.cancellation
    else:
        X, w = masked(X, w)
        weight, x_mean, mean = moments.weighted_means(X, y[:, None], w, centre)
        y_mean = mean[0]
        share = jnp.full(n, 1 / n, X.dtype) if w is None else w / positive(weight)
        root = jnp.sqrt(jnp.maximum(share, 0))
        M, v = ((X - x_mean[None]) * root[:, None]).T, (y - y_mean) * root
        c, vv, d, rounding = dot(M, v), dot(v, v), (M * M).sum(1), jnp.zeros((), X.dtype)
    valid = refinement.solvable(w, l2, weight) & (l1 >= 0).all()
    finite = all_finite(c + d, vv, l1, l2)
    usable = valid & finite
    varies = usable & ~design.rounded(jnp.sqrt(jnp.maximum(d, 0)), x_mean)
    M = jnp.where(varies[:, None] & varies[None, :] if v is None else varies[:, None], M, 0)
    c, d, vv = jnp.where(varies, c, 0), jnp.where(varies, d, 0), jnp.where(usable, vv, 0)
    return Statistics(
        M, None if v is None else jnp.where(usable, v, 0), c, vv, d, x_mean, y_mean, weight, valid, finite, rounding
    )


class Origin(NamedTuple):
    """Points w (B, p) at which g = A'(v - Aw) and square = |v - Aw|^2 are known: near them g keeps its digits."""

    w: jax.Array
    g: jax.Array
    square: jax.Array


def oracle(q: Statistics, at: Origin) -> Oracle:
    """The smooth part without l2: from the data if wide, else from the moments and the values at the origin."""

    def pick(idx: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        if idx is None:
            return q.M, q.M if q.v is None else dot(q.M, q.M.T), q.d
        rows = q.M[idx]
        return rows, q.M[idx[:, None], idx[None]] if q.v is None else dot(rows, rows.T), q.d[idx]

    def image(w: jax.Array, rows: jax.Array | None, idx: jax.Array | None) -> jax.Array:
        """The image of w: Aw if wide, else A'A(w - origin)."""
        rows = q.M if rows is None else rows
        return dot(w if q.v is not None else w - (at.w if idx is None else at.w[:, idx]), rows)

    def gradient(w: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        if q.v is None:
            return at.g - image, square_near(at, w, at.g - image, None)
        r = q.v[None] - image
        return dot(q.M, r.T).T, (r * r).sum(1)

    return Oracle(pick, image, gradient, q.d, q.M.shape[1])


def square_near(at: Origin, w: jax.Array, g: jax.Array, idx: jax.Array | None) -> jax.Array:
    """The squared residual |v - Aw|^2 for w (B, K) on the columns idx, where A'(v - Aw) is g."""
    take = (lambda a: a) if idx is None else (lambda a: a[:, idx])
    return jnp.maximum(at.square - ((w - take(at.w)) * (take(at.g) + g)).sum(1), 0)


def duality_gap(
    w: jax.Array, g: jax.Array, square: jax.Array, l1: jax.Array, l2: jax.Array | None, d: jax.Array, vv: jax.Array
) -> jax.Array:
    """The duality gap of w (B, p) from g, |r|^2 (B,) and the squared norms d (1, p) of the columns."""
    norm = jnp.broadcast_to(jnp.sqrt(d), w.shape) if l2 is None else jnp.where(d > 0, jnp.sqrt(d + l2), 0)
    bound = l1 > 64 * eps(w.dtype) * norm * jnp.sqrt(vv)
    size = jnp.abs(g)
    a = jnp.where(bound & (size > l1), l1 / positive(size), 1).min(1)
    penalised = jnp.where(bound, l1 * jnp.abs(w) - a[:, None] * w * g, 0)
    free = jnp.where(bound | (norm == 0), 0, (g - l1 * jnp.sign(w)) / positive(norm))
    terms = [penalised, free * free, (~bound).astype(w.dtype)]
    penalised, free, count, *rest = jnp.stack(terms if l2 is None else [*terms, l2 * w * w]).sum(2)
    return 0.5 * (1 - a) ** 2 * (square + sum(rest)) + jnp.maximum(penalised, 0) + 0.5 * count * free


class Solved(NamedTuple):
    """The state of the m penalties."""

    w: jax.Array  # (m, p)
    g: jax.Array  # (m, p)
    square: jax.Array  # (m,)
    gap: jax.Array  # (m,)
    n_iter: jax.Array  # (m,)


def from_data(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array | None, q: Statistics, blocked: bool,
    s: Solved,
) -> Solved:  # fmt: skip
    """Replace g, |r|^2 and the gap of s by those of a pass over the data."""
    share = 1 / positive(q.weight)
    shift = jnp.zeros_like(s.gap)
    res = residual.plain(X, y[:, None], w, q.x_mean, q.y_mean[None], s.w.T, shift, blocked=blocked)
    g = jnp.where((q.d > 0)[None], res.g.T * share, 0)
    g = g if l2 is None else g - l2 * s.w
    square = res.square * share
    return s._replace(g=g, square=square, gap=duality_gap(s.w, g, square, l1, l2, q.d[None], q.vv))
