r"""From an interior point of a linear program to a vertex: the exact solution that `interior_point` approximates.

At a vertex q rows, the basis, have residual 0: b solves V_B b = y_B, every other row has the dual value that the sign
of its residual gives, and d_B = -V_B'^-1 V_N'd_N.  Where d_B is within its bounds the vertex is optimal.  If the basis
that the interior point suggests is not, exchanges of one row follow: the row whose d_B is furthest outside leaves,
along that edge the objective decreases up to a kink of another row, and that one enters.  L1 penalties are rows too.

Source: Barrodale and Roberts 1973; Koenker, Quantile Regression (2005), section 6.2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import order
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.types import Status
from jaxinfra.solvers.quantile.interior_point import Point, Program

_INDEPENDENT = 32  # eps of a row's length: a smaller part of it independent of other rows is rounding


class Vertex(NamedTuple):
    """The point b (q,), its basis (q,), in which rows of the penalty follow the n others, and whether it is optimal."""

    b: jax.Array
    basis: jax.Array
    optimal: jax.Array


def rows(V: jax.Array, basis: jax.Array) -> jax.Array:
    """The rows `basis` (q,) of V (n, q) over the identity."""
    n, q = V.shape
    return jnp.where((basis < n)[:, None], V[jnp.minimum(basis, n - 1)], jnp.eye(q, dtype=V.dtype)[basis - n])


def values(y: jax.Array, basis: jax.Array) -> jax.Array:
    """The values of y (n,) in the rows of the basis, 0 in those of the penalty."""
    return jnp.where(basis < len(y), y[jnp.minimum(basis, len(y) - 1)], 0)


def _basis(program: Program, point: Point) -> jax.Array:
    """A basis of q independent rows, those furthest from their bounds first.

    Where the rows determine fewer than q parameters, rows of the penalty supply the rest, even those without width: for
    each combination of columns that is 0 in all rows, one coefficient stays 0.  Without them such a basis would be
    singular, its vertex NaN or rounding, and no exchange could follow.
    """
    n, q = program.V.shape
    low, high = jnp.append(program.low, -program.l1), jnp.append(program.high, program.l1)
    d = jnp.append(point.d, point.e)
    width = high - low
    inside = jnp.where(width > 0, jnp.minimum(d - low, high - d) / positive(width), -1)
    first = lax.top_k(inside, min(2 * q, n + q))[1]
    candidates = jnp.concatenate([first, n + jnp.arange(q, dtype=first.dtype)])
    R = rows(program.V, candidates)
    least = jnp.where(jnp.arange(len(R)) < len(first), (_INDEPENDENT * eps(R.dtype)) ** 2 * (R * R).sum(1), jnp.inf)

    def take(k: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Take one row, and subtract from all rows their part along its direction."""
        R, U, chosen = carry
        left = (R * R).sum(1)
        independent = left > least
        row = jnp.argmax(jnp.where(independent.any(), independent.astype(left.dtype), left))
        # Orthogonalised once more against U: in a nearly dependent row, rounding is a large part of the remainder.
        u = R[row] - dot(dot(U, R[row]), U)
        u = u / jnp.sqrt(dot(u, u))
        return R - dot(R, u)[:, None] * u[None], U.at[k].set(u), chosen.at[k].set(candidates[row])

    return lax.fori_loop(0, q, take, (R, jnp.zeros((q, q), R.dtype), jnp.zeros(q, candidates.dtype)))[2]


class _State(NamedTuple):
    b: jax.Array
    basis: jax.Array
    void: jax.Array  # (q,) rows without width that stay in the basis, whatever their dual value


def solve(program: Program, point: Point, *, max_iter: jax.Array) -> tuple[Vertex, jax.Array]:
    """The vertex, and the exchanges that it took."""
    n = len(program.y)
    unit = eps(program.V.dtype)
    low, high = jnp.append(program.low, -program.l1), jnp.append(program.high, program.l1)
    inner = jnp.append(point.d, point.e)
    noise = 16 * unit * jnp.abs(program.y).max()
    wide = high > low
    size = jnp.append(jnp.sqrt((program.V * program.V).sum(1)), jnp.ones(len(program.l1), program.V.dtype))
    # How far outside its bounds d_B may be.  In a row without width this is the residual of V'd, which counts times a
    # coefficient that may be large where data determine it to few digits: no more than the rounding of n terms.
    slack = unit * (high - low).max() * jnp.where(wide, 1e3, 4 * n**0.5)

    def at(basis: jax.Array) -> tuple[jax.Array, ...]:
        """The point b, its residuals, the dual values, those of the basis d_B, and the factors of the basis."""
        B, y = rows(program.V, basis), values(program.y, basis)
        lu = jax.scipy.linalg.lu_factor(B)
        b = jax.scipy.linalg.lu_solve(lu, y)
        b = b + jax.scipy.linalg.lu_solve(lu, y - dot(B, b))
        r = jnp.append(program.residual(b), -b).at[basis].set(0)
        # Other rows with residual 0 keep the dual value of the interior point.
        d = jnp.where(r > noise, high, jnp.where(r < -noise, low, jnp.clip(inner, low, high))).at[basis].set(0)
        d_basis = -jax.scipy.linalg.lu_solve(lu, dot(d[:n], program.V) + d[n:], trans=1)
        return b, r, d, d_basis, lu

    def step(state: _State) -> tuple[_State, Verdict]:
        b, r, d, d_basis, lu = at(state.basis)
        up, down = d_basis - high[state.basis], low[state.basis] - d_basis
        outside, allowed = jnp.maximum(up, down), jnp.where(state.void, jnp.inf, slack[state.basis])
        worst = jnp.argmax(outside / allowed)
        optimal = jnp.isfinite(b).all() & (outside[worst] <= allowed[worst])
        # Along the edge: dr = +1 or -1 in the row that leaves, 0 in the rest of the basis.
        sign = jnp.where(up[worst] > down[worst], 1, -1).astype(b.dtype)
        leaves = jnp.arange(len(b), dtype=worst.dtype) == worst
        db = -jax.scipy.linalg.lu_solve(lu, jnp.where(leaves, sign, 0))
        dr = jnp.append(-dot(program.V, db), -db).at[state.basis].set(0)
        # A row without width whose edge changes none of the others: a combination of columns that is rounding, or 0.
        moves = wide & (jnp.abs(dr) > _INDEPENDENT * unit * size * jnp.sqrt(dot(db, db)))
        void = leaves & ~wide[state.basis] & ~moves.any()
        kink = jnp.where(dr != 0, jnp.maximum(-r / jnp.where(dr != 0, dr, 1), 0), jnp.inf)
        rise = jnp.where(dr < 0, (low - d) * dr, (high - d) * dr)
        t = order.smallest(kink, rise, outside[worst])
        enters = jnp.argmax((kink == t) & (rise > 0)).astype(state.basis.dtype)
        # At an optimal vertex the objective decreases along no edge, and there is no t.
        failed = ~optimal & ~(jnp.isfinite(b).all() & (jnp.isfinite(t) | void.any()))
        basis = jnp.where(leaves & ~void & ~optimal & ~failed, enters, state.basis)
        return _State(b, basis, state.void | void), Verdict(
            optimal | failed, jnp.where(failed, Status.STALLED, Status.CONVERGED)
        )

    start = _State(point.b, _basis(program, point).astype(jnp.int32), jnp.zeros(point.b.shape, bool))
    end, status, n_iter = drive(step, start, max_iter=max_iter)
    return Vertex(end.b, end.basis, status == Status.CONVERGED), n_iter
