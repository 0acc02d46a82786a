r"""From an interior point of a linear program to a vertex: the exact solution that `interior_point` approximates.

At a vertex q rows, the basis, have residual 0: b solves V_B b = y_B, every other row has the dual value that the sign
of its residual gives, and d_B = -V_B'^-1 V_N'd_N.  Where d_B is within its bounds the vertex is optimal.  If the basis
that the interior point suggests is not, exchanges of one row follow: the row whose d_B is furthest outside leaves,
along that edge the objective decreases up to a kink of another row, and that one enters.  L1 penalties are rows too.
The inverse of V_B follows each exchange, and what rounding leaves of its solutions is solved for once more.

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
from jaxinfra.solvers.methods.mehrotra import Point
from jaxinfra.solvers.quantile.interior_point import Program

# Eps of a row's length: a smaller part of it independent of other rows is rounding.  From 8 to 128 at most 3 of 80
# problems end at another vertex, as good to rounding, and none fails.
_INDEPENDENT = 32


class Vertex(NamedTuple):
    """The point b (q,), its basis (q,), in which rows of the penalty follow the n others, and whether it is optimal."""

    b: jax.Array
    basis: jax.Array
    optimal: jax.Array


def _basis(program: Program, d: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The q independent rows whose dual values d are furthest inside their bounds, and the inverse of their matrix.

    Rows are taken in that order if they are independent of those before, among 2 q and those of the penalty, which
    come last: where a column is constant or 0 in all rows, one coefficient stays 0.  Without them such a basis would be
    singular, its vertex NaN or rounding, and no exchange could follow.
    """
    N, q = program.V.shape
    width = program.high - program.low
    inside = jnp.where(width > 0, jnp.minimum(d - program.low, program.high - d) / positive(width), -1)
    first = lax.top_k(inside, min(2 * q, N))[1]
    candidates = jnp.concatenate([first, N - q + jnp.arange(q, dtype=first.dtype)])
    start = program.V[candidates]
    least = (_INDEPENDENT * eps(start.dtype)) ** 2 * (start * start).sum(1)
    least = jnp.where(jnp.arange(len(start), dtype=jnp.int32) < len(first), least, jnp.inf)

    def take(k: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Take one row, and subtract from all rows their part along its direction."""
        R, U, chosen = carry
        left = (R * R).sum(1)
        independent = left > least
        row = jnp.argmax(jnp.where(independent.any(), independent.astype(left.dtype), left))
        # Orthogonalised once more against U: in a nearly dependent row, rounding is a large part of the remainder.
        u = R[row] - dot(dot(U, R[row]), U)
        u = u / jnp.sqrt(dot(u, u))
        here = jnp.arange(q, dtype=jnp.int32) == k
        return (
            R - dot(R, u)[:, None] * u[None],
            jnp.where(here[:, None], u[None], U),
            jnp.where(here, row.astype(chosen.dtype), chosen),
        )

    zero = jnp.zeros((q, q), start.dtype), jnp.zeros(q, jnp.int32)
    _, U, chosen = lax.fori_loop(0, q, take, (start, *zero))
    # The basis is a lower triangle times U, whose rows are orthonormal.
    triangle = dot(start[chosen], U.T)
    inverse = lax.linalg.triangular_solve(triangle, U.T, lower=True)
    return candidates[chosen].astype(jnp.int32), inverse


class _State(NamedTuple):
    b: jax.Array
    basis: jax.Array
    inverse: jax.Array  # (q, q) of the rows of the basis before the last exchange
    entered: jax.Array  # (q,) 1 at the row that this exchange brought into the basis, 0 elsewhere
    void: jax.Array  # (q,) rows without width that stay in the basis, whatever their dual value


def solve(program: Program, point: Point, *, max_iter: jax.Array) -> tuple[Vertex, jax.Array]:
    """The vertex, and the exchanges that it took."""
    V = program.V
    N, q = V.shape
    unit = eps(V.dtype)
    low, high, wide = program.low, program.high, program.wide
    inner = program.dual(point)
    noise = 16 * unit * jnp.abs(program.y).max()  # from 4 to 64 no difference in 80 problems
    size = jnp.sqrt((V * V).sum(1))
    index = jnp.arange(N, dtype=jnp.int32)
    # How far outside its bounds d_B may be.  In a row without width this is the residual of V'd, which counts times a
    # coefficient that may be large where data determine it to few digits: no more than the rounding of n terms.  From
    # 1e2 to 1e4, and from 2 to 8, no difference in 80 problems.
    bounds = jnp.stack([low, high, unit * (high - low).max() * jnp.where(wide, 1e3, 4 * N**0.5)])

    def step(state: _State) -> tuple[_State, Verdict]:
        basis, entered = state.basis, state.entered
        B, y = V[basis], program.y[basis]
        # Where a row entered, its column of the inverse is scaled, and multiples of it are taken from the others.
        v = dot(dot(entered, B), state.inverse)
        column = dot(state.inverse, entered) / jnp.where(entered.any(), dot(v, entered), 1)
        inverse = state.inverse - column[:, None] * (v - entered)[None]
        b = dot(inverse, y)
        b = b + dot(inverse, y - dot(B, b))
        within = (index[:, None] == basis[None]).any(1)
        r = program.residual(b)
        # Other rows with residual 0 keep the dual value of the interior point.
        d = jnp.where(r > noise, high, jnp.where(r < -noise, low, jnp.clip(inner, low, high)))
        g = dot(jnp.where(within, 0, d), V)
        d_basis = -dot(g, inverse)
        d_basis = d_basis - dot(g + dot(d_basis, B), inverse)
        lowest, highest, slack = bounds[:, basis]
        up, down = d_basis - highest, lowest - d_basis
        outside, allowed = jnp.maximum(up, down), jnp.where(state.void, jnp.inf, slack)
        leaves = jnp.arange(q, dtype=jnp.int32) == jnp.argmax(outside / allowed).astype(jnp.int32)
        excess = jnp.where(leaves, outside, 0).sum()
        finite = jnp.isfinite(b).all()
        optimal = finite & (outside <= allowed).all()
        # Along the edge: dr = +1 or -1 in the row that leaves, 0 in the rest of the basis.
        db = dot(inverse, jnp.where(leaves, jnp.where(up > down, -1, 1), 0).astype(b.dtype))
        dr = jnp.where(within, 0, -dot(V, db))
        # A row without width whose edge changes none of the others: a combination of columns that is rounding, or 0.
        moves = wide & (jnp.abs(dr) > _INDEPENDENT * unit * size * jnp.sqrt(dot(db, db)))
        void = leaves & (highest <= lowest) & ~moves.any()
        kink = jnp.where(dr != 0, jnp.maximum(-r / jnp.where(dr != 0, dr, 1), 0), jnp.inf)
        rise = jnp.where(dr < 0, (low - d) * dr, (high - d) * dr)
        t = order.smallest(kink, rise, excess)
        enters = jnp.argmax((kink == t) & (rise > 0)).astype(jnp.int32)
        # At an optimal vertex the objective decreases along no edge, and there is no t.
        failed = ~optimal & ~(finite & (jnp.isfinite(t) | void.any()))
        entered = leaves & ~void & ~optimal & ~failed
        new = _State(b, jnp.where(entered, enters, basis), inverse, entered.astype(b.dtype), state.void | void)
        return new, Verdict(optimal | failed, jnp.where(failed, Status.STALLED, Status.CONVERGED))

    basis, inverse = _basis(program, inner)
    start = _State(point.x, basis, inverse, jnp.zeros_like(point.x), jnp.zeros(q, bool))
    end, status, n_iter = drive(step, start, max_iter=max_iter)
    return Vertex(end.b, end.basis, status == Status.CONVERGED), n_iter
