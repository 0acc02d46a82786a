r"""Newton's method on the dual within a block of variables, where pairwise steps would take thousands.

The primal-dual active set.  A guess A of the variables at bounds gives the others, F, by one system

    [K_FF  -1] [d  ]   [ -f_F - K_FA (bound - b)_A     ]
    [1'     0] [rho] = [ missing part of the sum       ]      for each group,

and the next guess: variables beyond a bound are fixed at it, those with a multiplier rho - f of the wrong sign are
freed.  The points on the way are not feasible; where the guess repeats, the block is solved.  The end is projected onto
the bounds and the sums, and a line search from the start to it ensures descent, so that nothing can cycle; without
descent nothing moves, and pairwise steps go on.

Source: Hintermueller, Ito and Kunisch 2002; Kunisch and Rendl 2003.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.precision import dot, eps, positive
from jaxinfra.solvers.dual.smo import Block
from jaxinfra.solvers.linalg import cholesky

# Half and twice: as many blocks and as long, 132 ms, for svc of 1500 x 8 with C = 1000.
_MOST = 12  # steps
_REJECTED = 3  # guesses that come no nearer before they count as a cycle
_HALVINGS = 64  # of the interval of a projection's multiplier


class _State(NamedTuple):
    b: jax.Array  # (q,)
    f: jax.Array
    to_lower: jax.Array  # the guess: which are at a bound, among them those that stay where they are
    to_upper: jax.Array
    changed: jax.Array  # how many variables it moves to another set ...
    fewest: jax.Array  # ... the fewest so far ...
    rejected: jax.Array  # ... and the guesses since then
    error: jax.Array  # of the last system: the largest |rho - f| in F
    done: jax.Array
    n_iter: jax.Array


def solve(block: Block, b: jax.Array, f: jax.Array, *, tol: jax.Array, groups: int) -> jax.Array:
    """A point (q,) whose objective is not above that of b, with the same sums; f = K b + c at b."""
    K, lower, upper, _ = block
    dtype = b.dtype
    member = members(block, groups)
    inside = member.astype(dtype)
    sums, fixed = dot(inside, b), ~(lower < upper)

    def middle(f: jax.Array, to_lower: jax.Array, to_upper: jax.Array) -> jax.Array:
        """The multiplier rho (G,): the middle of the interval that variables that may go down or up leave."""
        low = jnp.where(member & ~to_lower[None], f[None], -jnp.inf).max(1)
        high = jnp.where(member & ~(to_upper | fixed)[None], f[None], jnp.inf).min(1)
        low, high = jnp.where(jnp.isfinite(low), low, high), jnp.where(jnp.isfinite(high), high, low)
        return jnp.where(jnp.isfinite(low), 0.5 * (low + high), 0)

    def guess(b: jax.Array, pull: jax.Array, to_lower: jax.Array, to_upper: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The next guess from pull = rho - f, the descent direction of each variable: noise below tol (equal rows)."""
        stays_low, stays_up = to_lower & (pull <= 0.5 * tol), to_upper & (pull >= -0.5 * tol)
        return fixed | (b < lower) | stays_low, ~fixed & ((b > upper) | stays_up)

    def step(state: _State) -> _State:
        b, f, to_lower, to_upper = state[:4]
        F = ~to_lower & ~to_upper
        end = jnp.where(to_upper, upper, jnp.where(to_lower & ~fixed, lower, b))
        d, rho = _system(K, F, inside, -(f + dot(K, end - b)), sums - dot(inside, end))
        b, f = end + d, f + dot(K, end - b + d)
        rho = jnp.where((member & F[None]).any(1), rho, middle(f, to_lower, to_upper))
        pull = dot(rho, inside) - f
        new = guess(b, pull, to_lower, to_upper)
        changed = ((new[0] != to_lower) | (new[1] != to_upper)).sum(dtype=jnp.int32)
        rejected = jnp.where(changed < state.fewest, 0, state.rejected + 1)
        # The same system again corrects what rounding left, as long as it does.
        error = jnp.where(F, jnp.abs(pull), 0).max()
        settled = (error < tol) | ((state.changed == 0) & ~(error < 0.5 * state.error))
        done = jnp.where(changed == 0, settled, rejected >= _REJECTED) | ~jnp.isfinite(error)
        fewest = jnp.minimum(changed, state.fewest)
        return _State(b, f, *new, changed, fewest, rejected, error, done, state.n_iter + 1)

    def project(z: jax.Array, F: jax.Array) -> jax.Array:
        """The nearest point with the bounds and sums: clip(z + shift of its group) within F, by bisection."""
        moving = inside * F[None].astype(dtype)

        def halve(_: int, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = interval
            middle = 0.5 * (low + high)
            short = dot(inside, jnp.clip(z + dot(middle, moving), lower, upper)) < sums
            return jnp.where(short, middle, low), jnp.where(short, high, middle)

        start = (moving * (lower - z)[None]).min(1), (moving * (upper - z)[None]).max(1)
        low, high = lax.fori_loop(0, _HALVINGS, halve, start)
        return jnp.clip(z + dot(0.5 * (low + high), moving), lower, upper)

    at_lower, at_upper = fixed | (b <= lower), ~fixed & (b >= upper)
    pull = dot(middle(f, at_lower, at_upper), inside) - f
    many, inf, none = jnp.int32(len(b) + 1), jnp.asarray(jnp.inf, dtype), jnp.array(False)
    start = _State(b, f, *guess(b, pull, at_lower, at_upper), many, many, jnp.int32(0), inf, none, jnp.int32(0))
    end = lax.while_loop(lambda s: ~s.done & (s.n_iter < _MOST), step, start)
    feasible = jnp.clip(end.b, lower, upper)
    solved = (end.changed == 0) & (feasible == end.b).all()
    feasible = jnp.where(solved, feasible, project(feasible, ~end.to_lower & ~end.to_upper))
    move = balance(feasible, lower, upper, inside, sums) - b
    slope, curvature = dot(move, f), dot(move, dot(K, move))
    t = jnp.where(curvature > 0, -slope / positive(curvature), 1)
    # The objective decreases up to twice the best length; a full step keeps the variables at bounds exactly there.
    t = jnp.where(t > 0.5, 1, t)
    # Where too few variables move, the sums may be out of reach.
    kept = (jnp.abs(dot(inside, move)) <= 64 * eps(dtype) * dot(inside, jnp.abs(b) + jnp.abs(move))).all()
    descends = (slope < 0) & jnp.isfinite(curvature) & kept
    return jnp.where(descends, jnp.clip(b + t * move, lower, upper), b)


def members(block: Block, groups: int) -> jax.Array:
    """Which variables belong to each group: (G, q)."""
    if block.group is None:
        return jnp.ones((1, len(block.lower)), bool)
    return block.group[None] == jnp.arange(groups, dtype=jnp.int32)[:, None]


def balance(b: jax.Array, lower: jax.Array, upper: jax.Array, inside: jax.Array, sums: jax.Array) -> jax.Array:
    """Restore the equality constraints: free variables move in proportion to their distance to the bounds."""
    need = sums - dot(inside, b)
    free = (b > lower) & (b < upper)
    direction = dot(need, inside)
    room = jnp.where(free, jnp.where(direction > 0, upper - b, lower - b), 0)
    total = jnp.abs(dot(inside, room))
    share = jnp.where(total > 0, jnp.minimum(jnp.abs(need) / positive(total), 1), 0)
    return b + room * dot(share, inside)


def _system(
    K: jax.Array, F: jax.Array, inside: jax.Array, rhs: jax.Array, rhs_sum: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Solve K_FF d - rho = rhs with the sums rhs_sum of d: d (q,), zero outside F, and rho (G,).

    The other rows of the matrix are those of the identity.
    """
    mask = F.astype(K.dtype)
    A = K * mask[:, None] * mask[None]
    # Duplicated rows make K_FF singular; the next step corrects the effect of the ridge.
    ridge = (1e-10 if K.dtype == jnp.float64 else 8 * eps(K.dtype)) * jnp.abs(jnp.diagonal(A)).max()
    A = A + jnp.diag(jnp.where(F, ridge, 1))
    border = inside.T * mask[:, None]  # (q, G)
    solved = cholesky.solve(A, jnp.concatenate([(rhs * mask)[:, None], border], 1))
    plain, across = solved[:, 0], solved[:, 1:]
    missing = rhs_sum - dot(border.T, plain)
    rho = _small(dot(border.T, across), missing)
    return (plain + dot(across, rho)) * mask, rho


def _small(S: jax.Array, rhs: jax.Array) -> jax.Array:
    """The solution S^-1 rhs for one or two groups; one without variables in F has a row of zeros, whose diagonal
    becomes 1."""
    S = S + jnp.diag((jnp.diagonal(S) <= 0).astype(S.dtype))
    if len(rhs) == 1:
        return rhs / S[0]
    determinant = S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0]
    return jnp.stack([S[1, 1] * rhs[0] - S[0, 1] * rhs[1], S[0, 0] * rhs[1] - S[1, 0] * rhs[0]]) / determinant
