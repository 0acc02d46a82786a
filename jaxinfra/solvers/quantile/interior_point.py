r"""Interior-point method for sums of asymmetric absolute values: quantile regression as a linear program.

    minimise over b    sum_i max(low_i r_i, high_i r_i),    r = y - V b,    low < 0 < high
    maximise over d    y'd    subject to  V'd = 0,  low <= d <= high

A row with low = high = 0 is absent.  An L1 penalty is one row e_j with y = 0 and bounds -l1_j, l1_j for each
coefficient: these q rows follow the n others.

`methods.mehrotra` with b as the multipliers of V'd = 0: with z and v those of the bounds, r + z - v = 0, each iteration
solves V'QV db = ..., Q diagonal: one product (n + q) q^2 and a few passes over V.  d = 0 and any b are a feasible
start, and steps keep feasibility, so the gap bounds the decrease still possible.

Source: Portnoy and Koenker 1997, section 4; Koenker, Quantile Regression (2005), section 6.5.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.rows import sum_blocks
from jaxinfra.solvers.linalg.cholesky import inverse_root, solve_root
from jaxinfra.solvers.linalg.products import mirror, symmetric_product
from jaxinfra.solvers.methods import mehrotra
from jaxinfra.solvers.methods.mehrotra import Point

# Of the way to the nearest bound, as in Koenker's implementation; from 0.995 to 0.999975 80 problems (5 kinds of data,
# 60 x 4 and 300 x 30, both precisions) differ by at most 1 % in iterations.
_STEP = 0.99995


class Program(NamedTuple):
    """The rows V (N, q), y, low and high (N,), N = n + q: the last q are those of the penalty.  See `with_penalty`.

    The rows include their weights: scaling row i by w_i scales its loss by w_i.
    """

    V: jax.Array
    y: jax.Array
    low: jax.Array
    high: jax.Array

    @property
    def wide(self) -> jax.Array:
        """Which rows have bounds that differ."""
        return self.high > self.low

    @property
    def present(self) -> jax.Array:
        """Which rows are rows of the data, and not absent."""
        return self.wide & ~_of_penalty(self.V)

    def residual(self, b: jax.Array) -> jax.Array:
        """The residual y - V b."""
        return self.y - dot(self.V, b)

    def loss(self, r: jax.Array) -> jax.Array:
        """The loss max(low r, high r), row by row."""
        return jnp.maximum(self.low * r, self.high * r)

    def dual(self, point: Point) -> jax.Array:
        """The dual values d of a point."""
        return mehrotra.values(self.low, self.high, point.pairs)


def with_penalty(V: jax.Array, y: jax.Array, low: jax.Array, high: jax.Array, l1: jax.Array) -> Program:
    """The program of the rows V (n, q), y, low and high (n,), and of a penalty l1 (q,).

    By padding and selection: rows that are spread over devices stay where they are but for a few at the edges, where
    `concatenate` would gather them.
    """
    V, y, low, high = (jnp.pad(a, [(0, len(l1))] + [(0, 0)] * (a.ndim - 1)) for a in (V, y, low, high))
    N, q = V.shape
    i, j = jnp.arange(N, dtype=jnp.int32), jnp.arange(q, dtype=jnp.int32)
    unit = i[:, None] - (N - q) == j[None]
    bound = jnp.where(unit, l1[None], 0).sum(1)
    return Program(jnp.where(unit, 1, V), y, low - bound, high + bound)


def _of_penalty(V: jax.Array) -> jax.Array:
    N, q = V.shape
    return jnp.arange(N, dtype=jnp.int32) >= N - q


def _root(program: Program, Q: jax.Array, *, blocked: bool, once: bool) -> jax.Array:
    """A root of the inverse of the normal matrix with Q (N,) on the diagonal; once: as in `inverse_root`."""

    def sums(V: jax.Array, Q: jax.Array) -> jax.Array:
        return symmetric_product(V * Q[:, None], V)

    return inverse_root(mirror(sum_blocks(sums, (program.V, Q), blocked=blocked)), once=once)


def begin(program: Program, b: jax.Array) -> Point:
    """The feasible point at b with d = 0."""
    dtype = program.V.dtype
    r = program.residual(b)
    present = program.present
    size = jnp.where(present, jnp.abs(r), 0).sum() / jnp.maximum(present.sum(), 1).astype(dtype)
    # A fifth of the mean residual: a tenth and two fifths take 1 % more and fewer iterations (80 problems).
    unit = positive(jnp.maximum(0.2 * size, eps(dtype) * jnp.abs(program.y).max()))
    distances = jnp.stack([-program.low, program.high])
    return mehrotra.begin(b, program.wide, jnp.stack([distances, jnp.maximum(jnp.stack([-r, r]), 0) + unit]))


def solve(
    program: Program, point: Point, *, goal: jax.Array, max_iter: jax.Array, blocked: bool, once: bool
) -> tuple[Point, jax.Array, jax.Array]:
    """Iterate from a feasible point until the gap is at most `goal` or stagnates: (point, status, iterations).

    once: a normal matrix whose first factorisation fails ends the progress.
    """
    wide = program.wide

    def system(b: jax.Array, pairs: jax.Array, Q: jax.Array) -> mehrotra.Direction:
        T = _root(program, Q, blocked=blocked, once=once)
        # What rounding leaves of r + z - v = 0 and of V'd = 0.
        left = program.residual(b) + pairs[1, 0] - pairs[1, 1]
        d = mehrotra.values(program.low, program.high, pairs)

        def direction(h: jax.Array) -> tuple[jax.Array, jax.Array]:
            db = solve_root(T, dot(Q * (left + h) + d, program.V))
            return db, Q * (left + h - dot(program.V, db))

        return direction

    return mehrotra.solve(system, point, wide, goal=lambda _: goal, share=_STEP, together=False, max_iter=max_iter)


def least_squares(program: Program, *, blocked: bool, once: bool) -> jax.Array:
    """The start: b of the least squares of the rows."""
    T = _root(program, program.present.astype(program.y.dtype), blocked=blocked, once=once)
    return solve_root(T, dot(program.y, program.V))
