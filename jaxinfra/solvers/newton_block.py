r"""Newton's method on the dual within a block of variables: what pairwise steps need thousands of steps for.

With the multipliers mu = rho - f, the prediction b + mu / diag(K) says which variables end at which bound (the primal-
dual active set); the others, F, follow from one system

    [K_FF  -1] [d  ]   [ -f_F - K_FA (bound - b)_A ]
    [1'     0] [rho] = [ - sum of (bound - b)_A    ]      for each group.

The point is projected onto the bounds and the sums.  The way there is feasible, and it is gone as far as the objective
falls along it, so no step makes it larger and nothing can cycle.  A prediction that promises no descent is replaced by
a more careful one: nothing is put onto a bound, A is what is there and stays; then, only the free variables move, up to
the first bound, which always is a descent.  Without free variables, pairwise steps go on.

Source: Hintermueller, Ito and Kunisch 2002 (the active set); Scheinberg 2006 (systems of the free variables).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.precision import dot, eps
from jaxinfra.solvers import cholesky
from jaxinfra.solvers.smo_block import Block

_MOST = 12  # steps
_HALVINGS = 64  # of the interval of a projection's multiplier


class _State(NamedTuple):
    b: jax.Array  # (q,)
    f: jax.Array
    down: jax.Array  # (G,) the largest f of what may go down ...
    up: jax.Array  # ... and the smallest of what may go up
    care: jax.Array  # how careful the prediction is: 0 to 2, 3 where none promises descent
    n_iter: jax.Array


def solve(block: Block, b: jax.Array, f: jax.Array, *, tol: jax.Array, groups: int) -> jax.Array:
    """b (q,) whose objective is not above that of the given one, with the same sums; f = K b + c there."""
    K, lower, upper, group = block
    dtype = b.dtype
    diagonal = jnp.maximum(jnp.diagonal(K), jnp.finfo(dtype).tiny)
    member = group[None] == jnp.arange(groups, dtype=jnp.int32)[:, None]  # (G, q)
    inside = member.astype(dtype)
    sums = dot(inside, b)

    def at(b: jax.Array, f: jax.Array, care: jax.Array, n_iter: jax.Array) -> _State:
        down = jnp.where(member & (b > lower)[None], f[None], -jnp.inf).max(1)
        up = jnp.where(member & (b < upper)[None], f[None], jnp.inf).min(1)
        return _State(b, f, down, up, care, n_iter)

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
        return balance(jnp.clip(z + dot(0.5 * (low + high), moving), lower, upper), lower, upper, inside, sums)

    def shorten(b: jax.Array, d: jax.Array) -> jax.Array:
        """b + d, or the first point of the way there with a variable at its bound."""
        bound = jnp.where(d > 0, upper, lower)
        limit = jnp.where(d != 0, (bound - b) / jnp.where(d != 0, d, 1), jnp.inf)
        t = jnp.minimum(limit.min(), 1)
        return jnp.where(limit <= t, bound, b + t * d)

    def step(state: _State) -> _State:
        b, f, down, up, care, n_iter = state
        low, high = jnp.where(jnp.isfinite(down), down, up), jnp.where(jnp.isfinite(up), up, down)
        predicted = b + (dot(0.5 * (low + high), inside) - f) / diagonal
        to_upper, to_lower = predicted >= upper, predicted <= lower
        at_upper, at_lower = b >= upper, b <= lower
        to_upper, to_lower = to_upper & (at_upper | (care == 0)), to_lower & (at_lower | (care == 0))
        F = jnp.where(care == 2, ~at_upper & ~at_lower, (upper > lower) & ~to_upper & ~to_lower)
        jump = jnp.where(F, 0, jnp.where(to_upper, upper - b, jnp.where(to_lower, lower - b, 0)))
        d = _system(K, F, inside, -(f + dot(K, jump)), -dot(inside, jump))
        move = jnp.where(care == 2, shorten(b, d), project(b + jump + d, F)) - b
        pull, slope = dot(K, move), dot(move, f)
        curvature = dot(move, pull)
        t = jnp.where(curvature > 0, -slope / jnp.where(curvature > 0, curvature, 1), 1)
        # Up to twice the best length the objective falls; the whole step keeps what is at a bound there.
        t = jnp.where(t > 0.5, 1, t)
        # Where too few variables move, the sums may be out of reach.
        kept = (jnp.abs(dot(inside, move)) <= 64 * eps(dtype) * dot(inside, jnp.abs(b) + jnp.abs(move))).all()
        falls = (slope < 0) & jnp.isfinite(curvature) & kept
        b = jnp.where(falls, jnp.clip(b + t * move, lower, upper), b)
        return at(b, jnp.where(falls, f + t * pull, f), jnp.where(falls, 0, care + 1), n_iter + 1)

    start = at(b, f, jnp.int32(0), jnp.int32(0))
    go_on = lambda s: (jnp.max(s.down - s.up) >= tol) & (s.n_iter < _MOST) & (s.care < 3)  # noqa: E731
    return lax.while_loop(go_on, step, start).b


def balance(b: jax.Array, lower: jax.Array, upper: jax.Array, inside: jax.Array, sums: jax.Array) -> jax.Array:
    """What the sums lack by rounding goes to the free variables, in proportion to their room."""
    need = sums - dot(inside, b)
    free = (b > lower) & (b < upper)
    wanted = dot(need, inside)
    room = jnp.where(free, jnp.where(wanted > 0, upper - b, lower - b), 0)
    total = jnp.abs(dot(inside, room))
    share = jnp.where(total > 0, jnp.minimum(jnp.abs(need) / jnp.where(total > 0, total, 1), 1), 0)
    return b + room * dot(share, inside)


def _system(K: jax.Array, F: jax.Array, inside: jax.Array, rhs: jax.Array, rhs_sum: jax.Array) -> jax.Array:
    """d (q,), zero outside F, with K_FF d - rho = rhs and the sums of d; other rows are those of the identity."""
    there = F.astype(K.dtype)
    A = K * there[:, None] * there[None]
    # Duplicated rows make it singular; the next step corrects what this changes.
    ridge = (1e-10 if K.dtype == jnp.float64 else 8 * eps(K.dtype)) * jnp.abs(jnp.diagonal(A)).max()
    A = A + jnp.diag(jnp.where(F, ridge, 1))
    border = inside.T * there[:, None]  # (q, G)
    solved = cholesky.solve(A, jnp.concatenate([(rhs * there)[:, None], border], 1))
    plain, across = solved[:, 0], solved[:, 1:]
    lack = rhs_sum - dot(border.T, plain)
    return (plain + dot(across, _small(dot(border.T, across), lack))) * there


def _small(S: jax.Array, rhs: jax.Array) -> jax.Array:
    """S^-1 rhs for one or two groups; a group without variables in F has a row of zeros and takes no part."""
    S = S + jnp.diag((jnp.diagonal(S) <= 0).astype(S.dtype))
    if len(rhs) == 1:
        return rhs / S[0]
    determinant = S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0]
    return jnp.stack([S[1, 1] * rhs[0] - S[0, 1] * rhs[1], S[0, 0] * rhs[1] - S[1, 0] * rhs[0]]) / determinant
