r"""Block decomposition of the dual of support vector machines: work on the worst violators, a few hundred at a time.

    repeat   keep half of the working set, free variables first and then the newest; add the worst of each side
             solve within the set (`smo`), to a tenth of the violation
             f <- f + (change of b) K, by the rows of what changed alone (`kernel_rows`)
    until the violation is below tol

Where many pairwise steps would follow, Newton's method (`newton_block`) is tried on all free variables and the
violators: once they fit in its block, and as often as it pays.

K b is kept as an unevaluated sum of two numbers of the working precision, so that it does not drift.

Source: Joachims 1999; Serafini and Zanni 2005 (what to keep); Wen et al. 2018 (ThunderSVM).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import compensated
from jaxinfra._core.compensated import Pair
from jaxinfra._core.loop import Verdict
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.types import Status
from jaxinfra.solvers.dual import newton_block, smo
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix, Ring
from jaxinfra.solvers.dual.problem import Dual

SIZE = 512  # of the working set: its matrix in float32 is 1 MB and fits in the L2 cache of a core
NEWTON = 2048  # variables that Newton's method works on
PLAIN = 256  # variables up to which pairwise steps are so fast that nothing else is worth compiling
_STEPS = 8  # steps within a block for each of its variables
_PATIENCE = 100  # blocks without a new smallest violation before rounding is suspected


class State(NamedTuple):
    """The state of the iteration."""

    b: jax.Array
    g: Pair
    ring: Ring | None
    working: jax.Array  # (q,) variables; N where a slot is empty
    violation: jax.Array
    best: jax.Array  # the smallest violation so far ...
    since: jax.Array  # ... the blocks since then ...
    decrease: jax.Array  # ... and the decrease of the objective in them
    rate: jax.Array  # decrease of the logarithm of the violation per block, a mean over some ten blocks
    wait: jax.Array  # blocks of pairwise steps before Newton's method ...
    patience: jax.Array  # ... and after it did not pay


def _top(scores: jax.Array, k: int, N: int) -> jax.Array:
    """The variables of the k largest scores; N where the score is minus infinity."""
    value, index = lax.top_k(scores, k)
    return jnp.where(value > -jnp.inf, index.astype(jnp.int32), N)


def _select(dual: Dual, b: jax.Array, f: jax.Array, working: jax.Array) -> jax.Array:
    """The next working set: half of the last one, and the largest violators on each side of each group."""
    N, q, G = len(b), len(working), len(dual.total)
    half = q // 2
    filled = working < N
    at = jnp.minimum(working, N - 1)
    rank = 2 * dual.free(b)[at].astype(jnp.float32) + jnp.arange(q, dtype=jnp.float32) / q
    kept = working[lax.top_k(jnp.where(filled, rank, -1), half)[1]]
    taken = jnp.zeros((N,), bool).at[kept].set(True, mode="drop")
    chosen, k = [kept], (q - half) // (2 * G)
    for side in dual.sides(b, f):
        for g in range(G):
            new = _top(jnp.where(taken | (dual.group != g), -jnp.inf, side), k, N)
            taken = taken.at[new].set(True, mode="drop")
            chosen.append(new)
    return jnp.concatenate(chosen)


class _Change(NamedTuple):
    """The changes of a block."""

    working: jax.Array  # the working set of pairwise steps
    rows: jax.Array  # of the variables that may have changed
    change: jax.Array
    b: jax.Array  # (N,)
    more: jax.Array | None  # (n,) the change of K b where all of K is in memory


def _within(work: KernelMatrix, dual: Dual, b: jax.Array, working: jax.Array) -> smo.Block:
    """The problem of the working set; an empty slot is a fixed variable."""
    N = len(b)
    filled, at = working < N, jnp.minimum(working, N - 1)
    lower, upper = (jnp.where(filled, v[at], b[at]).astype(work.diagonal.dtype) for v in (dual.lower, dual.upper))
    return smo.Block(work.block(at % work.n), lower, upper, dual.group[at])


def _moved(
    work: KernelMatrix, b: jax.Array, working: jax.Array, values: jax.Array, kept: jax.Array, size: int
) -> _Change:
    """The change as rows and factors, padded to a size that all kinds of blocks have."""
    N = len(b)
    filled, at = working < N, jnp.minimum(working, N - 1)
    new = b.at[working].set(values, mode="drop")
    change, rows = jnp.where(filled, new[at] - b[at], 0), at % work.n
    more = None if work.values is None else work.product(None, rows, change)[1]
    padding = (0, size - len(working))
    return _Change(kept, jnp.pad(rows, padding), jnp.pad(change, padding), new, more)


def _pairwise(work: KernelMatrix, dual: Dual, target: jax.Array, size: int, state: State, skip: jax.Array) -> _Change:
    """Sequential minimal optimisation of a few hundred variables."""
    N, f = len(state.b), dual.gradient(state.g)
    working = state.working
    if len(working) < N:
        working = _select(dual, state.b, f, working)
    at = jnp.minimum(working, N - 1)
    solved = smo.solve(
        _within(work, dual, state.b, working), state.b[at], f[at],
        tol=jnp.maximum(0.5 * target, 0.1 * state.violation),
        max_iter=jnp.where(skip, 0, _STEPS * len(working)), groups=len(dual.total),
    )  # fmt: skip
    return _moved(work, state.b, working, solved.b, working, size)


def _violation_of(dual: Dual, b: jax.Array, f: jax.Array) -> jax.Array:
    """Violation of the optimality condition at each bound (N,): inf for free variables, -inf for fixed ones."""
    rho = dual.multiplier(b, f)[dual.group]
    score = jnp.where(b <= dual.lower, rho - f, f - rho)
    return jnp.where(dual.free(b), jnp.inf, jnp.where(dual.lower < dual.upper, score, -jnp.inf))


def _newton(work: KernelMatrix, wide: KernelMatrix, dual: Dual, target: jax.Array, size: int, state: State) -> _Change:
    """Newton's method on all free variables and the largest violators; wide: the matrix in the precision for it."""
    b, N, G = state.b, len(state.b), len(dual.total)
    f = dual.gradient(state.g)
    working = _top(_violation_of(dual, b, f), size, N)
    at = jnp.minimum(working, N - 1)
    block = _within(wide, dual, b, working)
    hi, lo = (dual.tile(v)[at].astype(wide.diagonal.dtype) for v in state.g)
    gradient = hi + lo + dual.c[at].astype(hi.dtype)
    values = newton_block.solve(block, b[at].astype(hi.dtype), gradient, tol=0.5 * target.astype(hi.dtype), groups=G)
    # Round to the working precision and restore the sums of the groups.
    inside = (dual.group[at][None] == jnp.arange(G, dtype=jnp.int32)[:, None]) & (working < N)[None]
    inside = inside.astype(b.dtype)
    lower, upper = dual.lower[at], dual.upper[at]
    values = jnp.clip(values.astype(b.dtype), lower, upper)
    values = newton_block.balance(values, lower, upper, inside, dot(inside, b[at]))
    return _moved(work, b, working, values, state.working, size)


def block(
    work: KernelMatrix, exact: KernelMatrix, dual: Dual, target: jax.Array, state: State, *, rough: bool = False
) -> tuple[State, Verdict]:
    """One working set: chosen, solved, and its change carried over to all variables.

    exact: the matrix in the precision of the certificate.
    rough: pairwise steps alone, stopped where the rounding of b decides or Newton's method would take over.
    """
    N = len(state.b)
    size = min(NEWTON, N)
    wide = exact if exact.diagonal.dtype == jnp.float64 else work
    # Newton's method waits until the variables that matter fit in its block, and is skipped where few blocks are left.
    fits = (_violation_of(dual, state.b, dual.gradient(state.g)) > target).sum() <= size
    left = jnp.log(state.violation / target) > 2 * _wait(size) * state.rate
    tried = (state.wait <= 0) & fits & left
    far = tried & (state.violation > 10 * target)
    if N <= PLAIN or rough:
        tried = jnp.array(False)
    # Outside the conditional, where compilers turn the loop of pairwise steps into one kernel.
    new = _pairwise(work, dual, target, size, state, tried)
    if N > PLAIN and not rough:
        newton = partial(_newton, work, wide, dual, target, size)
        new = lax.cond(tried, lambda state, pairwise: newton(state), lambda state, pairwise: pairwise, state, new)
    b, rows, change, more = new.b, new.rows, new.change, new.more
    f = dual.gradient(state.g)
    ring = state.ring
    if more is None:
        ring, more = work.product(ring, rows, change)
    g = compensated.normalise(compensated.add(state.g, (more, jnp.zeros_like(more))))
    after = dual.gradient(g)
    violation = dual.violation(b, after)
    better = violation < state.best
    decrease = -0.5 * dot(b - state.b, f + after)
    since, decrease = jnp.where(better, 0, state.since + 1), jnp.where(better, 0, state.decrease + decrease)
    level = eps(b.dtype) * jnp.abs(dual.objective(b, after))
    stuck = ((change == 0).all() & ~tried) | ((since >= _PATIENCE) & ~(decrease > level))
    if rough:
        noise = 2 * eps(b.dtype) * jnp.sqrt(dot(b, b) * jnp.abs(work.diagonal).max())
        stuck = stuck | far | (violation < noise)
    done = violation < target
    # Where it pays, Newton's method goes on; where not, it is tried again after twice as many blocks.
    paid = violation < 0.7 * state.violation
    patience = jnp.where(tried & ~paid, 2 * state.patience, state.patience)
    wait = jnp.where(tried, jnp.where(paid, 0, patience), state.wait - 1)
    tiny = jnp.finfo(b.dtype).tiny
    rate = jnp.where(tried, 0, 0.9 * state.rate + 0.1 * jnp.log((state.violation + tiny) / (violation + tiny)))
    best = jnp.minimum(violation, state.best)
    state = State(b, g, ring, new.working, violation, best, since, decrease, rate, wait, patience)
    bad = ~jnp.isfinite(violation)
    status = jnp.where(bad, Status.NONFINITE, jnp.where(done, Status.CONVERGED, Status.STALLED))
    return state, Verdict(done | stuck | bad, status.astype(jnp.int32))


def _wait(size: int) -> int:
    """How many blocks of pairwise steps cost as much as Newton's method on `size` variables."""
    return max(4, size**2 // 100_000)


def start(work: KernelMatrix, dual: Dual, b: jax.Array, *, near: bool = False) -> State:
    """The state at b, with K b from the rows of its nonzero coefficients; near: Newton's method is tried early."""
    N, n = len(b), work.n
    q = min(SIZE, N)
    by_row = dual.by_row(b, n)
    zero = jnp.zeros((n,), b.dtype)
    if work.values is not None or work.kernel.times(work.features, by_row) is not None:
        ring, g = work.start(), (work.times(by_row), zero)
    else:
        order = jnp.pad(jnp.nonzero(by_row, size=n, fill_value=0)[0].astype(jnp.int32), (0, q))
        count = (by_row != 0).sum(dtype=jnp.int32)

        def piece(carry: tuple[jax.Array, Ring | None, Pair]) -> tuple[jax.Array, Ring | None, Pair]:
            done, ring, g = carry
            rows = lax.dynamic_slice(order, (done,), (q,))
            factors = jnp.where(jnp.arange(q, dtype=jnp.int32) < count - done, by_row[rows], 0)
            ring, more = work.product(ring, rows, factors)
            return done + q, ring, compensated.normalise(compensated.add(g, (more, zero)))

        carry = (jnp.int32(0), work.start(), (zero, zero))
        _, ring, g = lax.while_loop(lambda carry: carry[0] < count, piece, carry)
    working = jnp.arange(q, dtype=jnp.int32) if q == N else jnp.full((q,), N, jnp.int32)
    inf, none = jnp.asarray(jnp.inf, b.dtype), jnp.zeros((), b.dtype)
    patience = jnp.int32(_wait(min(NEWTON, N)))
    wait = jnp.int32(4) if near else patience
    return State(
        b, g, ring, working, dual.violation(b, dual.gradient(g)), inf, jnp.int32(0), none, none, wait, patience
    )
