r"""From the inside of a linear program to a vertex of it: the exact solution that `pinball` comes near.

At a vertex q rows, the basis, have residual 0: b solves V_B b = y_B, the other rows have the dual value that the sign
of their residual says, and d_B = -V_B'^-1 V_N'd_N.  Where d_B lies within its bounds the vertex is optimal.  If the
basis that the interior point suggests is not, exchanges of one row follow: the row whose d_B is furthest outside
leaves, along that edge the objective falls to a kink of another row, and that one enters.  L1 penalties are rows too.

Source: Barrodale and Roberts 1973; Koenker, Quantile Regression (2005), section 6.2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import order
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.types import Status
from jaxinfra.solvers.pinball import Point, Program


class Vertex(NamedTuple):
    """b (q,), the rows of the basis (q,) with those of the penalty after the n others, and whether it is optimal."""

    b: jax.Array
    basis: jax.Array
    optimal: jax.Array


def rows(V: jax.Array, basis: jax.Array) -> jax.Array:
    """The rows `basis` (q,) of V (n, q) over the identity."""
    n, q = V.shape
    return jnp.where((basis < n)[:, None], V[jnp.minimum(basis, n - 1)], jnp.eye(q, dtype=V.dtype)[basis - n])


def values(y: jax.Array, basis: jax.Array) -> jax.Array:
    """y (n,) in the rows of the basis, 0 in those of the penalty."""
    return jnp.where(basis < len(y), y[jnp.minimum(basis, len(y) - 1)], 0)


def _basis(program: Program, point: Point) -> jax.Array:
    """q independent rows, those furthest from their bounds first."""
    n, q = program.V.shape
    low, high = jnp.append(program.low, -program.l1), jnp.append(program.high, program.l1)
    d = jnp.append(point.d, point.e)
    width = high - low
    inside = jnp.where(width > 0, jnp.minimum(d - low, high - d) / jnp.where(width > 0, width, 1), -1)
    candidates = lax.top_k(inside, min(2 * q, n + q))[1]
    R = rows(program.V, candidates)
    size = (R * R).sum(1)

    def take(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        R, chosen = carry
        left = (R * R).sum(1)
        independent = left > (64 * eps(R.dtype)) ** 2 * size
        first = jnp.argmax(jnp.where(independent.any(), independent.astype(left.dtype), left))
        u = R[first] / jnp.sqrt(left[first])
        return R - dot(R, u)[:, None] * u[None], chosen.at[k].set(candidates[first])

    return lax.fori_loop(0, q, take, (R, jnp.zeros(q, candidates.dtype)))[1]


class _State(NamedTuple):
    b: jax.Array
    basis: jax.Array


def solve(program: Program, point: Point, *, max_iter: jax.Array) -> tuple[Vertex, jax.Array]:
    """The vertex, and the exchanges that it took."""
    n = len(program.y)
    unit = eps(program.V.dtype)
    low, high = jnp.append(program.low, -program.l1), jnp.append(program.high, program.l1)
    inner = jnp.append(point.d, point.e)
    noise = 16 * unit * jnp.abs(program.y).max()

    def at(basis: jax.Array) -> tuple[jax.Array, ...]:
        """b, and what the optimality of the vertex says: residuals, dual values, and how far d_B is outside."""
        B, y = rows(program.V, basis), values(program.y, basis)
        lu = jax.scipy.linalg.lu_factor(B)
        b = jax.scipy.linalg.lu_solve(lu, y)
        b = b + jax.scipy.linalg.lu_solve(lu, y - dot(B, b))
        r = jnp.append(program.residual(b), -b).at[basis].set(0)
        # Rows that happen to have no residual keep what they have inside.
        d = jnp.where(r > noise, high, jnp.where(r < -noise, low, jnp.clip(inner, low, high))).at[basis].set(0)
        d_basis = -jax.scipy.linalg.lu_solve(lu, dot(d[:n], program.V) + d[n:], trans=1)
        return b, r, d, d_basis, lu

    def step(state: _State) -> tuple[_State, Verdict]:
        b, r, d, d_basis, lu = at(state.basis)
        up, down = d_basis - high[state.basis], low[state.basis] - d_basis
        outside = jnp.maximum(up, down)
        worst = jnp.argmax(outside)
        optimal = jnp.isfinite(b).all() & (outside[worst] <= 1e3 * unit * (high - low).max())
        # Along the edge: dr = +1 or -1 in the row that leaves, 0 in the rest of the basis.
        sign = jnp.where(up[worst] > down[worst], 1, -1).astype(b.dtype)
        leaves = jnp.arange(len(b), dtype=worst.dtype) == worst
        db = -jax.scipy.linalg.lu_solve(lu, jnp.where(leaves, sign, 0))
        dr = jnp.append(-dot(program.V, db), -db).at[state.basis].set(0)
        kink = jnp.where(dr != 0, jnp.maximum(-r / jnp.where(dr != 0, dr, 1), 0), jnp.inf)
        rise = jnp.where(dr < 0, (low - d) * dr, (high - d) * dr)
        t = order.smallest(kink, rise, outside[worst])
        enters = jnp.argmax((kink == t) & (rise > 0)).astype(state.basis.dtype)
        # At an optimal vertex no edge leads down, and there is no t.
        lost = ~optimal & ~(jnp.isfinite(b).all() & jnp.isfinite(t))
        basis = jnp.where(leaves & ~optimal & ~lost, enters, state.basis)
        return _State(b, basis), Verdict(optimal | lost, jnp.where(lost, Status.STALLED, Status.CONVERGED))

    start = _State(point.b, _basis(program, point).astype(jnp.int32))
    end, status, n_iter = drive(step, start, max_iter=max_iter)
    return Vertex(end.b, end.basis, status == Status.CONVERGED), n_iter
