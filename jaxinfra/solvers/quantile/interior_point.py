r"""Interior-point method for sums of asymmetric absolute values: quantile regression as a linear program.

    minimise over b    sum_i max(low_i r_i, high_i r_i),    r = y - V b,    low < 0 < high
    maximise over d    y'd    subject to  V'd = 0,  low <= d <= high

A row with low = high = 0 is absent.  An L1 penalty is one row e_j with y = 0 and bounds -l1_j, l1_j for each
coefficient, so the normal matrix has it on the diagonal alone.

Mehrotra's predictor and corrector.  With s = d - low, u = high - d and their multipliers z and v, r + z - v = 0, each
iteration solves V'QV db = ...,  Q = 1 / (z/s + v/u) diagonal: one product n q^2 and a few passes over V.  d = 0 and any
b are a feasible start, and steps keep feasibility, so the gap sum(s z + u v) bounds the decrease still possible.

Source: Portnoy and Koenker 1997, section 4; Koenker, Quantile Regression (2005), section 6.5.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.rows import sum_blocks
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.cholesky import inverse_root, solve_root
from jaxinfra.solvers.linalg.products import mirror, symmetric_product

_STEP = 0.99995  # of the way to the nearest bound, as in Koenker's implementation
_PATIENCE = 4  # iterations without a smaller gap after which no progress is expected


class Program(NamedTuple):
    """The rows V (n, q), y (n,), low and high (n,), both 0 in rows that are absent; l1 (q,), the bounds of the penalty.

    The rows include their weights: scaling row i by w_i scales its loss by w_i.
    """

    V: jax.Array
    y: jax.Array
    low: jax.Array
    high: jax.Array
    l1: jax.Array

    def residual(self, b: jax.Array) -> jax.Array:
        """The residual y - V b."""
        return self.y - dot(self.V, b)

    def loss(self, r: jax.Array) -> jax.Array:
        """The loss max(low r, high r), row by row."""
        return jnp.maximum(self.low * r, self.high * r)

    def value(self, b: jax.Array) -> jax.Array:
        """The objective, penalty included."""
        return self.loss(self.residual(b)).sum() + (self.l1 * jnp.abs(b)).sum()


class _Side(NamedTuple):
    """The box of the rows, or of the penalty: whether it has a width, the distances to its bounds, the multipliers."""

    wide: jax.Array
    s: jax.Array
    u: jax.Array
    z: jax.Array
    v: jax.Array

    @property
    def gap(self) -> jax.Array:
        return jnp.where(self.wide, self.s * self.z + self.u * self.v, 0).sum()


class Point(NamedTuple):
    """The point b (q,) with its dual values d (n,) of the rows and e (q,) of the penalty, and the iteration's state."""

    b: jax.Array
    d: jax.Array
    e: jax.Array
    rows: _Side
    penalty: _Side
    best: jax.Array  # the smallest gap so far ...
    stagnant: jax.Array  # ... and the iterations since


def _begin(low: jax.Array, high: jax.Array, r: jax.Array, unit: jax.Array) -> _Side:
    wide = high > low
    return _Side(
        wide, jnp.where(wide, -low, 1), jnp.where(wide, high, 1), jnp.maximum(-r, 0) + unit, jnp.maximum(r, 0) + unit
    )


def _gram(program: Program, q: jax.Array, *, blocked: bool) -> jax.Array:
    """The product V'QV for diagonal Q."""

    def sums(V: jax.Array, q: jax.Array) -> jax.Array:
        return symmetric_product(V * q[:, None], V)

    return mirror(sum_blocks(sums, (program.V, q), blocked=blocked))


def begin(program: Program, b: jax.Array) -> Point:
    """The feasible point at b with d = 0."""
    dtype = program.V.dtype
    r = program.residual(b)
    present = program.high > program.low
    size = jnp.where(present, jnp.abs(r), 0).sum() / jnp.maximum(present.sum(), 1).astype(dtype)
    # A fifth of the mean residual took the fewest iterations (of a tenth, a third and more).
    unit = jnp.maximum(0.2 * size, eps(dtype) * jnp.abs(program.y).max())
    unit = positive(unit)
    return Point(
        b, jnp.zeros_like(program.y), jnp.zeros_like(b), _begin(program.low, program.high, r, unit),
        _begin(-program.l1, program.l1, -b, unit), jnp.asarray(jnp.inf, dtype), jnp.int32(0),
    )  # fmt: skip


def solve(
    program: Program, point: Point, *, goal: jax.Array, max_iter: jax.Array, blocked: bool
) -> tuple[Point, jax.Array, jax.Array]:
    """Iterate from a feasible point until the gap is at most `goal` or stagnates: (point, status, iterations)."""
    dtype = program.V.dtype
    tiny = jnp.finfo(dtype).tiny
    present = program.high > program.low
    pairs = 2 * (present.sum() + (program.l1 > 0).sum()).astype(dtype)

    def normal(q_rows: jax.Array, q_penalty: jax.Array) -> jax.Array:
        H = _gram(program, q_rows, blocked=blocked)
        return inverse_root(H + jnp.diag(q_penalty))

    def quasi(side: _Side) -> jax.Array:
        return jnp.where(side.wide, 1 / (side.z / side.s + side.v / side.u), 0)

    def step(point: Point) -> tuple[Point, Verdict]:
        rows, penalty = point.rows, point.penalty
        Q, P = quasi(rows), quasi(penalty)
        T = normal(Q, P)
        # The residuals of the linear conditions, which rounding leaves.
        r = program.residual(point.b)
        left_rows, left_penalty = r + rows.z - rows.v, -point.b + penalty.z - penalty.v
        left_dual = dot(point.d, program.V) + point.e

        def direction(low: jax.Array, high: jax.Array, low_p: jax.Array, high_p: jax.Array) -> tuple[jax.Array, ...]:
            """The Newton direction for given changes low and high of the complementarity products s z and u v."""
            f, g = left_rows + low / rows.s - high / rows.u, left_penalty + low_p / penalty.s - high_p / penalty.u
            db = solve_root(T, dot(Q * f, program.V) + P * g + left_dual)
            dd, de = Q * (f - dot(program.V, db)), P * (g - db)
            return db, dd, de

        def multipliers(side: _Side, low: jax.Array, high: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array]:
            return (low - side.z * d) / side.s, (high + side.v * d) / side.u

        def longest(*pairs: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            """The largest step t up to 1 at which no x + t dx is negative."""
            limits = [jnp.where(ok & (dx < 0), -x / jnp.where(dx < 0, dx, 1), jnp.inf).min() for x, dx, ok in pairs]
            return jnp.minimum(1, jnp.min(jnp.stack(limits)))

        def steps(
            low: jax.Array, high: jax.Array, low_p: jax.Array, high_p: jax.Array
        ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]:
            db, dd, de = direction(low, high, low_p, high_p)
            dz, dv = multipliers(rows, low, high, dd)
            dz_p, dv_p = multipliers(penalty, low_p, high_p, de)
            ok, ok_p = rows.wide, penalty.wide
            dual = longest((rows.s, dd, ok), (rows.u, -dd, ok), (penalty.s, de, ok_p), (penalty.u, -de, ok_p))
            primal = longest((rows.z, dz, ok), (rows.v, dv, ok), (penalty.z, dz_p, ok_p), (penalty.v, dv_p, ok_p))
            return primal, dual, (db, dd, de, dz, dv, dz_p, dv_p)

        def moved(side: _Side, d: jax.Array, dz: jax.Array, dv: jax.Array, tp: jax.Array, td: jax.Array) -> _Side:
            """The box after a step; in spite of rounding its distances and multipliers stay positive."""
            s, u = side.s + td * d, side.u - td * d
            z, v = side.z + tp * dz, side.v + tp * dv
            keep = lambda x, at: jnp.where(side.wide, jnp.maximum(x, tiny), at)  # noqa: E731
            return _Side(side.wide, keep(s, side.s), keep(u, side.u), keep(z, side.z), keep(v, side.v))

        gap = rows.gap + penalty.gap
        aims = (-rows.s * rows.z, -rows.u * rows.v, -penalty.s * penalty.z, -penalty.u * penalty.v)
        tp, td, (db, dd, de, dz, dv, dz_p, dv_p) = steps(*aims)
        after = moved(rows, dd, dz, dv, tp, td).gap + moved(penalty, de, dz_p, dv_p, tp, td).gap
        mean = gap / pairs * (after / gap) ** 3
        corrected = (
            aims[0] + mean - dd * dz, aims[1] + mean + dd * dv, aims[2] + mean - de * dz_p, aims[3] + mean + de * dv_p,
        )  # fmt: skip
        tp, td, (db, dd, de, dz, dv, dz_p, dv_p) = steps(*corrected)
        tp, td = jnp.where(tp < 1, _STEP * tp, tp), jnp.where(td < 1, _STEP * td, td)
        good = jnp.isfinite(db).all() & jnp.isfinite(tp) & jnp.isfinite(td)
        tp, td = jnp.where(good, tp, 0), jnp.where(good, td, 0)
        db, dd, de, dz, dv, dz_p, dv_p = (jnp.where(good, a, 0) for a in (db, dd, de, dz, dv, dz_p, dv_p))
        rows, penalty = moved(rows, dd, dz, dv, tp, td), moved(penalty, de, dz_p, dv_p, tp, td)
        gap = rows.gap + penalty.gap
        stagnant = jnp.where(gap < 0.9 * point.best, 0, point.stagnant + 1)
        best = jnp.minimum(gap, point.best)
        new = Point(point.b + tp * db, point.d + td * dd, point.e + td * de, rows, penalty, best, stagnant)
        done, stuck = gap <= goal, ~good | (stagnant >= _PATIENCE)
        return new, Verdict(done | stuck, jnp.where(done, Status.CONVERGED, Status.STALLED))

    return drive(step, point, max_iter=max_iter)


def least_squares(program: Program, *, blocked: bool) -> jax.Array:
    """The start: b of the least squares of the rows."""
    present = (program.high > program.low).astype(program.y.dtype)
    T = inverse_root(_gram(program, present, blocked=blocked))
    return solve_root(T, dot(program.y, program.V))
