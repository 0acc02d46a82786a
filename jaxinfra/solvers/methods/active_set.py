r"""A quadratic with an L1 penalty, few of whose many columns are active:

    minimise over w   q(w) = w'Hw / 2 - c'w + sum_j l1_j |w_j|        (H symmetric, positive semidefinite)

on a working set W of the columns with the largest |g_j| / l1_j, g = c - Hw, in a few capacities; columns outside that
violate the conditions join W for the next round, in which W grows by no more than the number of its columns in use.
Several penalties share W, and one product checks them all.  Small W are solved by Newton steps (`active_newton`), large
ones by accelerated gradient steps (`proximal_gradient`); Newton steps follow there only where those stop short of tol
and W has settled.

Which of them works where: paths of 50 penalties from l1_max to a hundredth of it, float32, default tol; columns are
independent, or any two of which are correlated by r (or neighbours: AR).  Counts, which do not depend on the machine.

    rows x columns, r     most active   Newton steps, W <= 100   gradient steps in W of          Newton steps, larger W
    1000 x 20, 0                   13                       50
    1000 x 20, 0.9; 0.99         7; 6                520; 2318
    2000 x 100, 0; 0.99         42; 2                 55; 4069
    500 x 200, 0; 0.9         131; 42                 48; 2255                                                 21; 0
    2000 x 1000, 0                728                       36   30 (256), 50 (512), 40 (1000)
    2000 x 1000, AR 0.9           388                     1161   400 (256), 320 (512)
    2000 x 1000, 0.9               78                     1047   360 (256)                                         4
    200 x 1000, 0                 195                      147   580 (256), 40 (512)
    200 x 1000, AR 0.9            183                      836   680 (256), 360 (512)                            808

A Newton step in W of 512 is some 10 ms, a gradient step for ten penalties 0.04 ms (2 cores): Newton steps in a large W
are for columns that are so collinear that gradient steps do not arrive, and rare.  The lean program has none.

Source: Massias, Gramfort and Salmon 2018 (growth of working sets).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.products import diagonal
from jaxinfra.solvers.methods.active_newton import newton, violations
from jaxinfra.solvers.methods.proximal_gradient import Curvature, accelerated, curvature, scaled

S = TypeVar("S")

# Up to so many columns all of them are the working set, and LAPACK stays on one thread (`cholesky`).  From so many on a
# factorisation costs more than some ten products, and gradient steps go first.  With 50 and 200 in place of 100 a path
# of 1000 x 150 takes 6.2 and 6.3 ms, not 5.7; with 128 and 512 in place of 256 one of 2000 x 1000 as long, 54 ms.
SMALL, _EXPENSIVE = 100, 256
_LEAN = 1024  # the largest working set of the lean program: no path above has more columns in use


class Block(NamedTuple):
    """The state of B problems that differ in l1 (and c)."""

    w: jax.Array  # (B, p)
    g: jax.Array  # (B, p): minus the gradient of the smooth part
    extra: jax.Array  # (B,): the second result of the oracle's gradient
    error: jax.Array  # (B,): compared with tol
    n_iter: jax.Array  # (B,)
    need: jax.Array  # target number of columns in the working set
    waited: jax.Array  # rounds without progress


class Oracle(NamedTuple):
    """The smooth part without l2 as functions of a working set: idx (K,), or None for all columns.

    pick(idx) -> (rows, H_WW, its diagonal); image(w_W (B, K), rows, idx) -> (B, width), all that the gradient needs of
    w; gradient(w (B, p), image) -> (minus the gradient (B, p), extra (B,)).
    """

    pick: Callable[[jax.Array | None], tuple[jax.Array, jax.Array, jax.Array]]
    image: Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]
    gradient: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    diagonal: jax.Array
    width: int


def capacities(p: int, most: int) -> list[int]:
    """Sizes of working sets: 100, 256, 512, 1024, 4096, ... up to p: few, since each is another program to compile."""
    if p <= SMALL:
        return [p]
    sizes, size = [SMALL], _EXPENSIVE
    while size < min(p, most):
        sizes.append(size)
        size *= 2 if size < 1024 else 4
    return [*sizes, min(p, size)]


def by_capacity(sizes: list[int], need: jax.Array, fn: Callable[[int, S], S], state: S) -> S:
    """Call fn(size, state) for the smallest size that holds `need` columns, the largest if none does."""
    if len(sizes) == 1:
        return fn(sizes[0], state)
    for low, size in zip([-1, *sizes], sizes, strict=False):
        fits = (need > low) & (need <= size) if size < sizes[-1] else need > low
        state = when(fits, partial(fn, size), state)
    return state


def rounds(
    oracle: Oracle, l1: jax.Array, l2: jax.Array | None, w: jax.Array, g: jax.Array,
    measure: Callable[..., jax.Array], *, tol: jax.Array, inner_tol: jax.Array,
    max_iter: jax.Array | int, most: int, chain: jax.Array | bool = True, rare: Rare = WHOLE,
) -> tuple[Block, jax.Array]:  # fmt: skip
    """Solve B problems on common working sets: (Block, status).

    l1, l2, w, g: (B, p), w the start and g minus the gradient of the smooth part there.  measure(w, g, extra, idx) ->
    (B,), the error on the columns idx (None: all of them; extra is None within a working set), is compared with tol.
    chain: in the first round each problem starts from the solution of the one before it.
    """
    B, p = l1.shape
    every = capacities(p, most)
    sizes = [size for size in every if size <= _LEAN] if rare.lean else every
    small, large = ([size for size in sizes if (size >= _EXPENSIVE) == i] for i in (False, True))

    def demand(w: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Columns in use, and the target size of the working set W.

        With 0.8 and 0.95 of l1, 4 and 6 quarters, growth by 32 and 128 at most: the same rounds and iterations in four
        paths of 12 penalties, 150 x 300 in float32, and in 6 of 8 in both precisions, 300 x 120.
        """
        used = ((w != 0) | (l1 == 0)).any(0)
        likely = used | (jnp.abs(g) > 0.9 * l1).any(0)
        count, size = likely.sum(dtype=jnp.int32) * 5 // 4, used.sum(dtype=jnp.int32)
        return used, jnp.minimum(count, jnp.maximum(size + jnp.minimum(size, 64), sizes[0]))

    def enough(error: jax.Array, first: jax.Array) -> jax.Array:
        """The error that gradient steps aim at: in the first round a hundredth of that at their start will do.

        Half and twice either number: the same rounds in the four paths of `demand`, errors at the end 0.9 and 1.2 times
        as large.
        """
        return jnp.maximum(0.5 * tol, jnp.where(first, 0.01 * error.max(), 0))

    def gradient_steps(b: Block, first: jax.Array, used: jax.Array, need: jax.Array) -> Any:
        """As `visit` for every large size, without Newton steps: one program in which only the products differ."""
        rank = jnp.where(used, jnp.inf, (jnp.abs(b.g) / positive(l1)).max(0))
        idx = lax.top_k(rank.astype(jnp.float32), large[-1])[1]
        which = sum((need > size).astype(jnp.int32) for size in large[:-1])
        held = (jnp.arange(large[-1]) < jnp.asarray(large)[which])[None]

        def pick(size: int) -> tuple[tuple[jax.Array, ...], ...]:
            """H of this size, zeros for the others: in float32 with diagonal 1, and in a wider dtype as it is."""
            _, H, d = oracle.pick(idx[:size])
            found = (scaled(H, d),) if H.dtype == jnp.float32 else (scaled(H, d), H)
            return tuple(tuple(a if k == size else jnp.zeros((k, k), a.dtype) for a in found) for k in large)

        picked = lax.switch(which, [partial(pick, size) for size in large])

        def times(part: int, v: jax.Array) -> jax.Array:
            def fixed(k: int, v: jax.Array) -> jax.Array:
                return jnp.pad(dot(v[:, : large[k]], picked[k][part]), ((0, 0), (0, large[-1] - large[k])))

            return lax.switch(which, [partial(fixed, k) for k in range(len(large))], v)

        take = lambda a: a[:, idx]  # noqa: E731
        own, c, l1_W, l2_W = take(b.w), jnp.where(held, take(b.g), 0), take(l1), None if l2 is None else take(l2)
        d = jnp.where(held[0], oracle.diagonal[idx], 0)
        root = jnp.sqrt(positive(d))[None]
        exact = (lambda v: times(0, v * root) * root) if own.dtype == jnp.float32 else partial(times, 1)
        inside = lambda w, g: measure(w, jnp.where(held, g, 0), None, idx)  # noqa: E731
        goal = enough(inside(own, c), first)
        own, _ = accelerated(Curvature(d, exact, partial(times, 0)), c, l1_W, l2_W, own, inside, goal)
        w = jnp.zeros_like(b.w).at[:, idx].set(own)
        rows = None if large[-1] == p else oracle.pick(idx)[0]
        return w, oracle.image(*((w, None, None) if rows is None else (own, rows, idx))), b.n_iter

    def visit(size: int, b: Block, first: jax.Array, settled: jax.Array, used: jax.Array, _: Any) -> Any:
        """w, its image and the count of steps after a round on a working set of this size."""
        if size == p:
            idx = None
        else:
            rank = jnp.where(used, jnp.inf, (jnp.abs(b.g) / positive(l1)).max(0))
            idx = lax.top_k(rank.astype(jnp.float32), size)[1]
        take = (lambda a: a) if idx is None else (lambda a: a[:, idx])
        rows, H, d = oracle.pick(idx)
        own, l1_W, l2_W = take(b.w), take(l1), None if l2 is None else take(l2)
        c, origin = take(b.g), own
        hold = ~first & (b.error <= tol)
        if size >= _EXPENSIVE:
            inside = lambda w, g: measure(w, g, None, idx)  # noqa: E731
            own, error = accelerated(curvature(H, d), c, l1_W, l2_W, own, inside, enough(inside(own, c), first))
            # While W grows no factorisation is worth it.
            hold |= ~settled | (error <= tol)
        budget = jnp.where(hold, 0, jnp.asarray(max_iter, jnp.int32) - b.n_iter)
        follow = first & chain & (size < _EXPENSIVE)
        own, _, steps = newton(H, d, c, l1_W, l2_W, own, origin, tol=inner_tol, budget=budget, follow=follow)
        w = own if idx is None else jnp.zeros_like(b.w).at[:, idx].set(own)
        return w, oracle.image(own, rows, idx), b.n_iter + steps

    def step(state: tuple[Block, jax.Array]) -> tuple[tuple[Block, jax.Array], Verdict]:
        b, first = state
        patience: jax.Array | int = 3  # from 1 to 6 no difference in the paths of `demand`
        used, need = demand(b.w, b.g)
        grown = first | (need > b.need)
        work = lambda size, new: visit(size, b, first, ~grown, used, new)  # noqa: E731
        if rare.lean:
            # It gives up where Newton steps in a large W would be next, or a larger W.
            cases = [partial(work, size, None) for size in small]
            cases += [partial(gradient_steps, b, first, used, need)] * bool(large)
            case = sum((need > size).astype(jnp.int32) for size in small)
            # Where gradient steps stopped short of tol, Newton steps on the columns in use, if they are few.
            few = used.sum(dtype=jnp.int32) <= small[-1]
            case = jnp.where((b.waited > 0) & few, len(small) - 1, case)
            patience = jnp.where(few, 2, 1)
            w, image, n_iter = lax.switch(case, cases)
        else:
            start = b.w, jnp.zeros((B, oracle.width), b.w.dtype), b.n_iter
            w, image, n_iter = by_capacity(sizes, need, work, start)
        g, extra = oracle.gradient(w, image)
        g = g if l2 is None else g - l2 * w
        error = measure(w, g, extra, None)
        progress = grown | ~(error.max() > 0.5 * b.error.max())
        # Near the end rounding decides which is better.  (4 and 16 times tol, and 0.25 and 0.9 of the error above: no
        # difference in the paths of `demand`.)
        worse = ~first & (b.error < 8 * tol) & (b.error <= error)
        w, g, extra, error = (
            jnp.where(worse if new.ndim == 1 else worse[:, None], old, new)
            for old, new in ((b.w, w), (b.g, g), (b.extra, extra), (b.error, error))
        )
        b = Block(w, g, extra, error, n_iter, need, jnp.where(progress, 0, b.waited + 1))
        met = (b.error <= tol).all()
        outgrown = need > sizes[-1] if len(sizes) < len(every) else False
        spent = (b.n_iter >= max_iter).any()
        status = jnp.where(met, Status.CONVERGED, jnp.where(spent, Status.MAX_ITER, Status.STALLED))
        return (b, jnp.zeros_like(first)), Verdict(met | (b.waited >= patience) | spent | outgrown, status)

    zero = jnp.zeros(B, w.dtype)
    start = Block(w, g, zero, zero + jnp.inf, jnp.zeros(B, jnp.int32), jnp.int32(0), jnp.int32(0))
    if rare.lean and len(sizes) == 1:
        # All columns from the start: another round is for what rounding left.
        (end, _), verdict = step((start, jnp.array(True)))
        return end, verdict.status
    (end, _), status, _ = drive(step, (start, jnp.array(True)), max_iter=100)
    return end, status


def gram_oracle(H: jax.Array, d: jax.Array, c: jax.Array) -> Oracle:
    """The smooth part w'Hw / 2 - c'w itself, c (B, p), d the diagonal of H."""

    def pick(idx: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        return (H, H, d) if idx is None else (H[idx], H[idx[:, None], idx[None]], d[idx])

    def image(w: jax.Array, rows: jax.Array, idx: jax.Array | None) -> jax.Array:
        return dot(w, rows)

    def gradient(w: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        return c - image, jnp.zeros_like(w[:, 0])

    return Oracle(pick, image, gradient, d, H.shape[0])


def solve(
    H: jax.Array, c: jax.Array, l1: jax.Array, w0: jax.Array, *, tol: jax.Array, max_iter: jax.Array | int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minimise w'Hw / 2 - c'w + sum_j l1_j |w_j|: (w (p,), status, n_iter).

    H (p, p), symmetric positive semidefinite (an L2 penalty already on its diagonal), c, l1, w0 (p,), all finite.
    tol: largest `violation`, max_j |least-norm subgradient_j| / sqrt(H_jj), that counts as converged: the same unit as
    the square root of q.  A solution whose active set repeats has the violation of rounding and converges in any case.
    max_iter: most Newton steps (one Cholesky of |A| x |A| each).  Under `vmap`, lanes may share H or not.
    """
    d = diagonal(H)
    w0 = jnp.where(d > 0, w0, 0)
    if H.shape[0] <= SMALL:
        budget, rows = jnp.asarray(max_iter, jnp.int32)[None], (c[None], jnp.broadcast_to(l1, c.shape)[None])
        w, status, n_iter = newton(H, d, *rows, None, w0[None], jnp.zeros_like(w0)[None], tol=tol, budget=budget)
        return w[0], status, n_iter[0]
    oracle = gram_oracle(H, d, c[None])

    def error(w: jax.Array, g: jax.Array, _: jax.Array | None, idx: jax.Array | None) -> jax.Array:
        return violations(w, g, *((d, l1) if idx is None else (d[idx], l1[idx]))).max(-1)

    b, status = rounds(
        oracle, l1[None], None, w0[None], (c - dot(H, w0))[None], error,
        tol=jnp.maximum(tol, 64 * eps(H.dtype) * jnp.abs(c / jnp.sqrt(positive(d))).max()),
        inner_tol=tol, max_iter=max_iter, most=H.shape[0],
    )  # fmt: skip
    return b.w[0], status, b.n_iter[0]
