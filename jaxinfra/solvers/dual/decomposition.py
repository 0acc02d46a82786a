r"""Block decomposition of the dual of support vector machines: work on the worst violators, a few hundred at a time.

    repeat   keep half of the working set, free variables first and then the newest; add the worst of each side
             solve within the set (`smo`), to a tenth of the violation
             f <- f + (change of b) K, by the rows of what changed alone (`kernel_rows`)
    until the violation is below tol

Where many pairwise steps would follow, Newton's method (`newton_block`) is tried on all free variables and the
violators: once they fit in its block, and as often as it pays.  Of 59 fits of 1000 rows (five data sets, two widths of
the kernel, C 1, 100 and 10000) the 9 with the largest C came to it: 2.7 times as fast in the mean of three of them at
tol 1e-3, 4.3 times at 1e-8, for moons slower in three of four, by 1.2 to 1.7 times; in float32 two fits converge that
stall without it.  So it is left to the whole program: the lean one stops where it would be tried.

K b is kept as an unevaluated sum of two numbers of the working precision, so that it does not drift.

Source: Joachims 1999; Serafini and Zanni 2005 (what to keep); Wen et al. 2018 (ThunderSVM).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import compensated
from jaxinfra._core.compensated import Pair
from jaxinfra._core.loop import Verdict
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.types import Status
from jaxinfra.solvers.dual import kernel_rows, newton_block, smo
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix, Ring
from jaxinfra.solvers.dual.problem import Dual

# Of the working set: its matrix in float32 is 1 MB and fits in the L2 cache of a core.  256 and 1024 take 45 % more and
# 17 % fewer blocks of the 24 fits below, for a quarter and four times the matrix.
SIZE = 512
# Variables that Newton's method works on: 1024, 2048 and 4096 take 483, 507 and 540 ms (svc, 5000 x 20, C = 100).
NEWTON = 2048
# Variables up to which pairwise steps are so fast that nothing else is worth compiling: with half and twice as many svc
# of 200 and 400 rows takes as long, 1.5 and 3.6 ms.
PLAIN = 256
# Steps within a block for each of its variables: 4 and 16 take 6 % more and 2 % fewer blocks of 24 fits (svc in
# float32, 400 x 4 and 800 x 8, C 1 to 100, tol 1e-3 and 1e-5).
_STEPS = 8
_PATIENCE = 100  # blocks without a new smallest violation before rounding is suspected; those fits never wait so long


class State(NamedTuple):
    """The state of the iteration."""

    b: jax.Array
    g: Pair
    ring: Ring | None
    working: jax.Array  # (q,) variables; N where a slot is empty
    violation: jax.Array
    history: jax.Array  # (6,) what `History` names
    tried: jax.Array  # whether Newton's method was tried, or would have been in the lean program


class History(NamedTuple):
    """How the iteration went, as one vector: each scalar that a loop carries would be a kernel."""

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
    N, q, G = len(b), len(working), dual.groups
    half = q // 2
    filled = working < N
    at = jnp.minimum(working, N - 1)
    rank = 2 * dual.free(b)[at].astype(jnp.float32) + jnp.arange(q, dtype=jnp.float32) / q
    kept = working[lax.top_k(jnp.where(filled, rank, -1), half)[1]]
    taken = jnp.zeros((N,), bool).at[kept].set(True, mode="drop")
    chosen, k = [kept], (q - half) // (2 * G)
    for side in dual.sides(b, f):
        for g in range(G):
            new = _top(dual.within(g, jnp.where(taken, -jnp.inf, side), -jnp.inf), k, N)
            taken = taken.at[new].set(True, mode="drop")
            chosen.append(new)
    return jnp.concatenate(chosen)


class _Change(NamedTuple):
    """The changes of a block."""

    working: jax.Array  # the working set of pairwise steps
    moved: jax.Array  # (size,) the variables that may have changed; N where there is none
    b: jax.Array  # (N,)


def _within(work: KernelMatrix, dual: Dual, b: jax.Array, working: jax.Array) -> smo.Block:
    """The problem of the working set; an empty slot is a fixed variable."""
    N, dtype = len(b), work.diagonal.dtype
    lower, upper = dual.lower.astype(dtype), dual.upper.astype(dtype)
    if len(working) == N:
        K = work.values if work.values is not None and work.n == N else work.block(working % work.n)
        return smo.Block(K.astype(dtype), lower, upper, dual.group)
    filled, at = working < N, jnp.minimum(working, N - 1)
    lower, upper = (jnp.where(filled, v[at], b[at].astype(dtype)) for v in (lower, upper))
    return smo.Block(work.block(at % work.n), lower, upper, None if dual.group is None else dual.group[at])


def _pick(v: jax.Array, working: jax.Array) -> jax.Array:
    """The values of the variables of a working set."""
    return v if len(working) == len(v) else v[jnp.minimum(working, len(v) - 1)]


def _put(b: jax.Array, working: jax.Array, values: jax.Array) -> jax.Array:
    """The variables b with new values in the working set."""
    return values if len(working) == len(b) else b.at[working].set(values, mode="drop")


def _pairwise(
    work: KernelMatrix, dual: Dual, target: jax.Array, size: int, state: State, f: jax.Array, skip: Any
) -> _Change:
    """Sequential minimal optimisation of a few hundred variables."""
    N, working = len(state.b), state.working
    q = len(working)
    if q < N:
        working = _select(dual, state.b, f, working)
    # Half and twice the share of the target: 1 % fewer and 10 % more blocks of the 24 fits; of the violation: 14 %
    # fewer and 9 % more, for steps that are not counted here.
    solved = smo.solve(
        _within(work, dual, state.b, working), _pick(state.b, working), _pick(f, working),
        tol=jnp.maximum(0.5 * target, 0.1 * state.violation), max_iter=jnp.where(skip, 0, _STEPS * q),
        groups=dual.groups,
    )  # fmt: skip
    moved = jnp.pad(working, (0, size - q), constant_values=N)
    return _Change(working, moved, _put(state.b, working, solved.b))


def _violation_of(dual: Dual, b: jax.Array, f: jax.Array) -> jax.Array:
    """Violation of the optimality condition at each bound (N,): inf for free variables, -inf for fixed ones."""
    rho = dual.of_group(dual.middle(b, f))
    score = jnp.where(b <= dual.lower, rho - f, f - rho)
    return jnp.where(dual.free(b), jnp.inf, jnp.where(dual.lower < dual.upper, score, -jnp.inf))


def _newton(wide: KernelMatrix, dual: Dual, target: jax.Array, size: int, state: State, f: jax.Array) -> _Change:
    """Newton's method on all free variables and the largest violators; wide: the matrix in the precision for it."""
    b, N, G = state.b, len(state.b), dual.groups
    working = jnp.arange(N, dtype=jnp.int32) if size == N else _top(_violation_of(dual, b, f), size, N)
    block = _within(wide, dual, b, working)
    hi, lo, c, start = (_pick(v, working).astype(wide.diagonal.dtype) for v in (*map(dual.tile, state.g), dual.c, b))
    values = newton_block.solve(block, start, hi + lo + c, tol=0.5 * target.astype(hi.dtype), groups=G)
    # Round to the working precision and restore the sums of the groups.
    inside = newton_block.members(block, G) & (working < N)[None]
    lower, upper, start = (_pick(v, working) for v in (dual.lower, dual.upper, b))
    values = jnp.clip(values.astype(b.dtype), lower, upper)
    inside = inside.astype(b.dtype)
    values = newton_block.balance(values, lower, upper, inside, dot(inside, start))
    return _Change(state.working, working, _put(b, working, values))


def block(
    work: KernelMatrix, exact: KernelMatrix, dual: Dual, target: jax.Array, state: State, *, rough: bool = False,
    lean: bool = False,
) -> tuple[State, Verdict]:  # fmt: skip
    """One working set: chosen, solved, and its change carried over to all variables.

    exact: the matrix in the precision of the certificate.
    rough: pairwise steps alone, stopped where the rounding of b decides or Newton's method would take over.
    lean: pairwise steps alone, stopped where Newton's method would be tried.
    """
    N, q, n = len(state.b), len(state.working), work.n
    newton, size = N > PLAIN and not (rough or lean), min(NEWTON, N)
    f, h = dual.gradient(state.g), History(*state.history)
    # Newton's method waits until the variables that matter fit in its block, and is skipped where few blocks are left.
    # A lean program waits longer, since the whole one begins anew.
    tried = (h.wait <= 0) & (jnp.log(state.violation / target) > (8 if lean else 2) * _wait(size) * h.rate)
    if N > NEWTON:
        tried &= (_violation_of(dual, state.b, f) > target).sum() <= size
    far = tried & (state.violation > 10 * target)
    if N <= PLAIN or rough:
        tried = jnp.array(False)
    # Outside the conditional, where compilers turn the loop of pairwise steps into one kernel.
    new = _pairwise(work, dual, target, size if newton else q, state, f, tried)
    if newton:
        wide = exact if exact.diagonal.dtype == jnp.float64 else work
        instead = partial(_newton, wide, dual, target, size)
        new = lax.cond(tried, lambda new, *at: instead(*at), lambda new, *at: new, new, state, f)
    b, change = new.b, new.b - state.b
    ring = state.ring
    if work.values is not None and n <= 2 * len(new.moved):
        more = work.times(dual.by_row(change, n))  # as fast as to gather the rows that changed
    else:
        factors = jnp.where(new.moved < N, change[jnp.minimum(new.moved, N - 1)], 0)
        ring, more = work.product(ring, jnp.minimum(new.moved, N - 1) % n, factors)
    g = compensated.normalise(compensated.add(state.g, (more, jnp.zeros_like(more))))
    after = dual.gradient(g)
    violation = dual.violation(b, after)
    better = violation < h.best
    decrease = -0.5 * dot(change, f + after)
    since, decrease = jnp.where(better, 0, h.since + 1), jnp.where(better, 0, h.decrease + decrease)
    level = 0.5 * eps(b.dtype) * jnp.abs(dot(b, after + dual.c))
    stuck = ((change == 0).all() & ~tried) | ((since >= _PATIENCE) & ~(decrease > level))
    if rough:
        noise = 2 * eps(b.dtype) * jnp.sqrt(dot(b, b) * jnp.abs(work.diagonal).max())
        stuck = stuck | far | (violation < noise)
    done = violation < target
    # Where it pays, Newton's method goes on; where not, it is tried again after twice as many blocks.
    paid = violation < 0.7 * state.violation
    patience = jnp.where(tried & ~paid, 2 * h.patience, h.patience)
    wait = jnp.where(tried, jnp.where(paid, 0, patience), h.wait - 1)
    tiny = jnp.finfo(b.dtype).tiny
    rate = jnp.where(tried, 0, 0.9 * h.rate + 0.1 * jnp.log((state.violation + tiny) / (violation + tiny)))
    history = jnp.stack(History(jnp.minimum(violation, h.best), since, decrease, rate, wait, patience))
    bad = ~jnp.isfinite(violation)
    status = jnp.where(bad, Status.NONFINITE, jnp.where(done, Status.CONVERGED, Status.STALLED))
    stop = done | stuck | bad | tried if lean else done | stuck | bad
    state = State(b, g, ring, new.working, violation, history, tried)
    return state, Verdict(stop, status.astype(jnp.int32))


def anew(history: jax.Array) -> jax.Array:
    """The history before a certificate, after it: another smallest violation, without blocks since then."""
    h = History(*history)
    return jnp.stack(h._replace(best=jnp.asarray(jnp.inf, history.dtype), since=jnp.zeros_like(h.since)))


def _wait(size: int) -> int:
    """How many blocks of pairwise steps cost as much as Newton's method on `size` variables."""
    return max(4, size**2 // 100_000)


def start(work: KernelMatrix, dual: Dual, b: jax.Array | None, *, near: bool = False) -> State:
    """The state at b, None for zeros, with K b from the rows of its nonzero coefficients; near: Newton's method is
    tried early."""
    N, n = len(dual.c), work.n
    q = min(SIZE, N)
    zero = jnp.zeros((n,), dual.c.dtype)
    if b is None:
        b, ring, g = jnp.zeros_like(dual.c), work.start(), (zero, zero)
    else:
        ring, g = _products(work, dual.by_row(b, n), q)
    working = jnp.arange(q, dtype=jnp.int32) if q == N else jnp.full((q,), N, jnp.int32)
    patience = _wait(min(NEWTON, N))
    history = jnp.array([jnp.inf, 0, 0, 0, 4 if near else patience, patience], b.dtype)
    return State(b, g, ring, working, dual.violation(b, dual.gradient(g)), history, jnp.array(False))


def _products(work: KernelMatrix, by_row: jax.Array, q: int) -> tuple[Ring | None, Pair]:
    """K times the coefficients of the rows, from the rows whose coefficient is not 0, q at a time."""
    zero = jnp.zeros_like(by_row)
    if work.values is not None or work.kernel.times(work.features, by_row) is not None:
        return work.start(), (work.times(by_row), zero)
    order, count = kernel_rows.places(by_row != 0, q)

    def piece(carry: tuple[jax.Array, Ring | None, Pair]) -> tuple[jax.Array, Ring | None, Pair]:
        done, ring, g = carry
        rows = lax.dynamic_slice(order, (done,), (q,))
        factors = jnp.where(jnp.arange(q, dtype=jnp.int32) < count - done, by_row[rows], 0)
        ring, more = work.product(ring, rows, factors)
        return done + q, ring, compensated.normalise(compensated.add(g, (more, zero)))

    carry = (jnp.int32(0), work.start(), (zero, zero))
    return lax.while_loop(lambda carry: carry[0] < count, piece, carry)[1:]
