r"""Primal-dual active set for a quadratic with an L1 penalty:

    minimise over w   q(w) = w'Hw / 2 - c'w + sum_j l1_j |w_j|        (H symmetric, positive semidefinite)

One step (`newton`).  With g = c - Hw, t_j = 1 / H_jj and u = w + t g, the prox-gradient step says which coefficients
are active, A = {|u_j| > t_j l1_j}, and their signs s.  The candidate solves  H_AA z_A = c_A - l1_A s_A: a semismooth
Newton step on the optimality conditions.  When A and s of the candidate are those it was made from, it is the solution.

It always converges: where the candidate does not lower q, the step is repeated for
q(z) + damping sum_j H_jj (z_j - w_j)^2 / 2 with a damping that grows until it does; a large one makes it a short
prox-gradient step, which lowers q unless w is optimal.

Many columns, few of them active (`rounds`): steps on a working set W of the columns with the largest |g_j| / l1_j, in a
few capacities; columns outside that violate the conditions join W for the next round, in which W grows by no more than
the number of its columns in use.  Several penalties share W, and one product checks them all.  Large W are solved by
accelerated gradient steps (`proximal_gradient`); Newton steps follow only where those stop short of tol and W has
settled.

Sources: Hintermueller, Ito and Kunisch 2003 (active set = semismooth Newton); Fan, Jiao and Lu 2014 (along a path);
Massias, Gramfort and Salmon 2018 (growth of working sets).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.loop import Verdict, drive, strong, when
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.products import diagonal
from jaxinfra.solvers.methods.proximal_gradient import accelerated, soft

S = TypeVar("S")

# Up to so many columns all of them are the working set, and LAPACK stays on one thread (`cholesky`).  From so many on a
# factorisation costs more than some ten products, and gradient steps go first.
SMALL, _EXPENSIVE = 100, 256


class _Turn(NamedTuple):
    """The state of B problems that are solved in turn."""

    i: jax.Array  # the problem in hand
    damping: jax.Array
    status: jax.Array  # of the last problem that ended
    w: jax.Array  # (B, p): solutions of the problems before i, starts of the others
    n_iter: jax.Array  # (B,)


def violations(w: jax.Array, g: jax.Array, d: jax.Array, l1: jax.Array) -> jax.Array:
    """The |subgradient of least norm|_j / sqrt(d_j), d the diagonal of H.

    Half the square is the decrease of q that this coefficient could still give.
    """
    l1, d = jnp.broadcast_to(l1, w.shape), jnp.broadcast_to(d, w.shape)
    v = jnp.where(w == 0, soft(g, l1), g - l1 * jnp.sign(w))
    return jnp.where(d > 0, jnp.abs(v) / jnp.sqrt(positive(d)), 0)


def reduced(
    H: jax.Array, A: jax.Array, damping: jax.Array | float = 0.0, l2: jax.Array | None = None,
    eye: jax.Array | None = None,
) -> Callable[[jax.Array], jax.Array]:  # fmt: skip
    """The map b -> (H + diag(l2))_AA^-1 b_A, zero off the columns A (p,), those that are not 0, with a relative damping
    of the diagonal.  eye: the identity (p, p), of a caller that has one."""
    A = A != 0
    eye = jnp.eye(H.shape[-1], dtype=H.dtype) if eye is None else eye
    # Duplicated columns make H_AA singular, hence a ridge of the size of rounding; a correction removes its effect.
    ridge = 16 * eps(H.dtype)
    M = H if l2 is None else H + eye * l2[:, None]
    M = jnp.where(A[:, None] & A[None, :], M * (1 + (ridge + damping) * eye), eye)
    # Transposed, which changes nothing but that XLA keeps H, M and the identity by rows: LAPACK reads columns.
    L = lax.linalg.cholesky(M.T, symmetrize_input=False)

    def solve(b: jax.Array) -> jax.Array:
        x = jnp.where(A, b, 0)[:, None]
        for transpose in (False, True):
            x = lax.linalg.triangular_solve(L, x, left_side=True, lower=True, transpose_a=transpose)
        return x[:, 0]

    return solve


def newton(
    H: jax.Array, d: jax.Array, c: jax.Array, l1: jax.Array, l2: jax.Array | None, w: jax.Array, origin: jax.Array, *,
    tol: jax.Array, budget: jax.Array, follow: jax.Array | bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """The iteration for B problems in turn, on all columns of H + diag(l2), for small p: (w (B, p), status of the last,
    steps (B,)).

    d: the diagonal of H.  l1, l2, w: (B, p), w the starts, 0 where d + l2 is.  c: minus the gradient of the smooth part
    at `origin`, both (B, p) or (1, p): near the solution g = c - H(w - origin) keeps its digits.  budget: most steps of
    each problem, (B,); one that has none keeps its start.  follow: each problem starts from the solution of the one
    before it.
    Ends CONVERGED when the active set repeats or the `violations` are at most tol; STALLED when rounding stops it.
    """
    B, dtype, eye = len(w), w.dtype, jnp.eye(w.shape[1], dtype=w.dtype)

    def step(x: _Turn) -> _Turn:
        # One loop for all problems: a loop in a loop would be a second set of states.
        row = lambda a: a[0] if len(a) == 1 else lax.dynamic_index_in_dim(a, x.i, keepdims=False)  # noqa: E731
        # The barrier: what XLA hoists out of the loop are kernels of their own, for a few operations on p numbers.
        fixed = d, eye, row(c), row(origin), row(l1), None if l2 is None else row(l2)
        own, (d_, eye_, c_, o, l1_, l2_) = lax.optimization_barrier((row(x.w), fixed))

        def curved(v: jax.Array) -> jax.Array:
            return dot(H, v) if l2_ is None else dot(H, v) + l2_ * v

        D = d_ if l2_ is None else d_ + l2_

        def predict(w: jax.Array, g: jax.Array, damping: jax.Array | float) -> jax.Array:
            """The signs of the columns that will be active, 0 for the others."""
            u = (1 + damping) * D * w + g
            return jnp.where((D > 0) & (jnp.abs(u) > l1_), jnp.sign(u), 0)

        before = c_ - curved(own - o)
        s = predict(own, before, x.damping)
        dropped = jnp.where(s == 0, own, 0)
        between = before + curved(dropped)
        e = reduced(H, s, x.damping, l2_, eye_)(between - l1_ * s)
        w, g = own - dropped + e, between - curved(e)
        e = e - dropped

        # Sums and maxima as rows of one array each: q(w) - q(own), the size of its terms, and the columns that the
        # candidate predicts otherwise; the violations before and after, and the part of the latter that is rounding.
        terms = -0.5 * e * (before + g), l1_ * (jnp.abs(w) - jnp.abs(own))
        differs = (s != predict(w, g, 0.0)).astype(dtype)
        change, size, different = jnp.stack([terms[0] + terms[1], sum(map(jnp.abs, terms)), differs]).sum(1)
        noise = jnp.where(D > 0, 8 * eps(dtype) * (jnp.abs(g) + jnp.abs(c_)) / jnp.sqrt(positive(D)), 0)
        last, error, noise = jnp.stack([violations(own, before, D, l1_), violations(w, g, D, l1_), noise]).max(1)
        rounding = 8 * eps(dtype) * size

        left = row(budget) - row(x.n_iter)
        solved = ((x.damping == 0) & (different == 0)) | (error <= jnp.maximum(tol, noise))
        descends = (change < -rounding) | ((change <= rounding) & (error < 0.5 * last))
        accept = (left > 0) & (solved | descends)
        less = jnp.where(x.damping > 1e-2, 0.1 * x.damping, 0)
        more = jnp.maximum(4 * x.damping, 0.1)
        stalled = ~solved & (more > 1e4)
        done = solved | stalled | (left <= 1)
        status = jnp.where(solved, Status.CONVERGED, jnp.where(stalled, Status.STALLED, Status.MAX_ITER))
        damping = jnp.where(done, 0, jnp.where(accept, less, more))
        end, at = jnp.where(accept, w, own), jnp.arange(B, dtype=jnp.int32)
        ends = (at == x.i) | ((at == x.i + 1) & done & follow)
        return _Turn(
            x.i + done.astype(jnp.int32), damping, status.astype(jnp.int32), jnp.where(ends[:, None], end[None], x.w),
            x.n_iter + ((at == x.i) & (left > 0)).astype(jnp.int32),
        )  # fmt: skip

    # No loop at all where no problem has a budget left, instead of a step for each.
    first = jnp.where((budget > 0).any(), 0, B).astype(jnp.int32)
    start = _Turn(first, jnp.zeros((), dtype), jnp.int32(Status.MAX_ITER), w, jnp.zeros(B, jnp.int32))
    end = lax.while_loop(lambda x: x.i < B, step, strong(start))
    return end.w, end.status, end.n_iter


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

    pick(idx) -> (rows, H_WW, its diagonal); image(w_W (B, K), rows, idx) -> (B, width), all that the gradient needs of w;
    gradient(w (B, p), image) -> (minus the gradient (B, p), extra (B,)).
    """

    pick: Callable[[jax.Array | None], tuple[jax.Array, jax.Array, jax.Array]]
    image: Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]
    gradient: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
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
    sizes = capacities(p, most)

    def demand(w: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Columns in use, and the target size of the working set W."""
        used = ((w != 0) | (l1 == 0)).any(0)
        likely = used | (jnp.abs(g) > 0.9 * l1).any(0)
        count, size = likely.sum(dtype=jnp.int32) * 5 // 4, used.sum(dtype=jnp.int32)
        return used, jnp.minimum(count, jnp.maximum(size + jnp.minimum(size, 64), sizes[0]))

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
            # In the first round a hundredth of the error is enough, and while W grows no factorisation is worth it.
            inside = lambda w, g: measure(w, g, None, idx)  # noqa: E731
            enough = jnp.maximum(0.5 * tol, jnp.where(first, 0.01 * inside(own, c).max(), 0))
            own, error = accelerated(H, c, l1_W, l2_W, own, inside, enough)
            hold |= ~settled | (error <= tol)
        steps = jnp.zeros_like(b.n_iter)
        if size < _EXPENSIVE or not rare.lean:
            budget = jnp.where(hold, 0, jnp.asarray(max_iter, jnp.int32) - b.n_iter)
            follow = first & chain & (size < _EXPENSIVE)
            own, _, steps = newton(H, d, c, l1_W, l2_W, own, origin, tol=inner_tol, budget=budget, follow=follow)
        w = own if idx is None else jnp.zeros_like(b.w).at[:, idx].set(own)
        return w, oracle.image(own, rows, idx), b.n_iter + steps

    def step(state: tuple[Block, jax.Array]) -> tuple[tuple[Block, jax.Array], Verdict]:
        b, first = state
        used, need = demand(b.w, b.g)
        grown = first | (need > b.need)
        work = lambda size, new: visit(size, b, first, ~grown, used, new)  # noqa: E731
        w, image, n_iter = by_capacity(sizes, need, work, (b.w, jnp.zeros((B, oracle.width), b.w.dtype), b.n_iter))
        g, extra = oracle.gradient(w, image)
        g = g if l2 is None else g - l2 * w
        error = measure(w, g, extra, None)
        progress = grown | ~(error.max() > 0.5 * b.error.max())
        # Near the end rounding decides which is better.
        worse = ~first & (b.error < 8 * tol) & (b.error <= error)
        w, g, extra, error = (
            jnp.where(worse if new.ndim == 1 else worse[:, None], old, new)
            for old, new in ((b.w, w), (b.g, g), (b.extra, extra), (b.error, error))
        )
        b = Block(w, g, extra, error, n_iter, need, jnp.where(progress, 0, b.waited + 1))
        met = (b.error <= tol).all()
        spent = (b.n_iter >= max_iter).any()
        status = jnp.where(met, Status.CONVERGED, jnp.where(spent, Status.MAX_ITER, Status.STALLED))
        return (b, jnp.zeros_like(first)), Verdict(met | (b.waited >= 3) | spent, status)

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
        rows = H if idx is None else H[idx]
        return rows, *((rows, d) if idx is None else (rows[:, idx], d[idx]))

    def image(w: jax.Array, rows: jax.Array, idx: jax.Array | None) -> jax.Array:
        return dot(w, rows)

    def gradient(w: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        return c - image, jnp.zeros_like(w[:, 0])

    return Oracle(pick, image, gradient, H.shape[0])


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
