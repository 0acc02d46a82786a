r"""Weighted, centred lasso and elastic net for m penalties, each solution with its duality gap.

    minimise over w, b   sum_i s_i (y_i - x_i'w - b)^2 / (2 sum s) + sum_j l1_j |w_j| + sum_j l2_j w_j^2 / 2

In the variables A = (S / sum s)^(1/2) (X - x_mean) and v likewise from y this is |v - Aw|^2 / 2 + penalties, a
quadratic with H = A'A + diag(l2) and c = A'v.  `active_set` solves it on working sets, for blocks of penalties that
share one, and each block starts from the solution before it.  What a working set needs comes from one of two oracles:

    tall    A'A, c, v'v from one pass over the rows (`moments`); nothing after it depends on n
    wide    the columns of A, transposed: the working set gathers its own, and X is read once a round for all
            penalties of a block

With r = v - Aw, g = A'r - l2 w and a = min(1, min_j l1_j / |g_j|) the point a r is feasible in the dual and the gap is

    gap = (1 - a)^2 (|r|^2 + sum l2 w^2) / 2 + sum_j (l1_j |w_j| - a w_j g_j)

which has no cancellation (elastic net as a lasso with sqrt(l2_j) e_j below the columns).  Columns without an L1 penalty
do not enter a; they add p_0 g_j^2 / (2 H_jj), p_0 their number, for the decrease that they still allow.  In the tall
case r and g come from the moments where their rounding is far below tol, else from a pass over the data, and the
penalties that miss tol are solved again with the gradient of that pass.

Derivatives: `_core.implicit` with the gradient conditions on the support, signs frozen; zero off it.
Sources: Massias, Gramfort and Salmon 2018; Kim et al. 2007, eq. 12 (gap); Bertrand et al. 2022 (derivative).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import implicit
from jaxinfra._core.absent import masked
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import default_tol, dot, eps, positive, tolerance
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, GapInfo, Linear, Status
from jaxinfra.solvers.least_squares import moments, refinement, residual, ridge
from jaxinfra.solvers.methods import active_newton, active_set
from jaxinfra.solvers.methods.proximal_gradient import least_norm
from jaxinfra.solvers.sparse import lasso_problem
from jaxinfra.solvers.sparse.lasso_problem import Origin, Solved, Statistics

# Penalties that share a working set: 5, 10 and 20 take 583, 572 and 823 ms (path of 50, 1000 x 1200).
_BLOCK = 10
# Columns for which the largest working set has room at the least: with 1024 paths of 200 x 5000 and 100 x 2000 take 63
# and 50 ms, not 47 and 38, for as many iterations, and have one size more to compile.
_ROOM = 512

Live = tuple[jax.Array, jax.Array, jax.Array | None, jax.Array, jax.Array | None]  # X, y, w, l1, l2 (m, p)


def fit(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array | None, init: Linear | None,
    **options: Any,
) -> Fit:  # fmt: skip
    """Solve for one penalty: l1, l2 scalar or (p,)."""
    l2 = None if l2 is None else l2[None]
    out = path(X, y, w, l1[None], l2, init, **options)
    return jax.tree.map(lambda a: a[0], Fit(out.params, out.info))


def path(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array | None, init: Linear | None, *,
    fit_intercept: bool, blocked: bool, tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Solve for m penalties: l1, l2 (m,) or (m, p), or scalar if the other is not; l2 None means 0.

    X (n, p), y (n,), w (n,) or None, all in the working dtype.
    """
    m = l1.shape[0] if l1.ndim else l2.shape[0]  # type: ignore[union-attr]

    def full(penalty: jax.Array) -> jax.Array:
        return jnp.broadcast_to(penalty[:, None] if penalty.ndim == 1 else penalty, (m, X.shape[1]))

    l1, l2 = full(l1), None if l2 is None else full(l2)
    start = None if init is None else implicit.frozen(jnp.asarray(init.coef, X.dtype))
    live: Live = (X, y, w, l1, l2)
    X, y, w, l1, l2 = implicit.frozen(live)
    p, dtype = X.shape[1], X.dtype
    tol = tolerance(tol, dtype)
    q = lasso_problem.prepare(X, y, w, l1, l2, fit_intercept, blocked)
    usable = q.valid & q.finite
    if not rare.lean:
        l1, l2 = jnp.where(usable, l1, 1), None if l2 is None else jnp.where(usable, l2, 0)
    null = 0.5 * q.vv
    bound, inner = tol * null, 0.05 * jnp.minimum(tol, 1e-6) * jnp.sqrt(q.vv)
    # Half and twice 0.05 as inner tolerance: one of 20 paths differs, in rounding; half and twice 0.1 below: none.
    most = _most(X.shape, l2)

    def solve(s: Solved, chain: jax.Array | bool, bound: jax.Array = bound) -> Solved:
        """All penalties, in blocks, from s to the gap `bound`; chain: each starts from the one before it."""
        size = m if p <= active_set.SMALL else min(m, _BLOCK)
        count = -(-m // size)

        def cut(a: jax.Array) -> jax.Array:
            last = jnp.broadcast_to(a[-1:], (count * size - m, *a.shape[1:]))
            return jnp.concatenate([a, last]).reshape(count, size, *a.shape[1:])

        def block(before: tuple[jax.Array, jax.Array], x: tuple[Any, ...]) -> tuple[Any, Solved]:
            l1, l2, s = x
            w, g = (jnp.where(chain, a[None], b) for a, b in zip(before, (s.w, s.g), strict=True))
            at = Origin(s.w, s.g if l2 is None else s.g + l2 * s.w, s.square)

            def measure(w: jax.Array, g: jax.Array, square: jax.Array | None, idx: jax.Array | None) -> jax.Array:
                take = (lambda a: a) if idx is None else (lambda a: a[:, idx])
                l2_ = None if l2 is None else take(l2)
                if square is None:
                    square = lasso_problem.square_near(at, w, g if l2_ is None else g + l2_ * w, idx)
                return lasso_problem.duality_gap(w, g, square, take(l1), l2_, take(q.d[None]), q.vv)

            b, _ = active_set.rounds(
                lasso_problem.oracle(q, at), l1, l2, w, g, measure, tol=bound, inner_tol=inner, max_iter=max_iter,
                most=most, chain=chain, rare=rare,
            )  # fmt: skip
            return (b.w[-1], b.g[-1]), Solved(b.w, b.g, b.extra, b.error, b.n_iter)

        xs, first = (l1, l2, s), (s.w[0], s.g[0])
        if count == 1:
            out = block(first, xs)[1]
        else:
            out = lax.scan(block, first, jax.tree.map(cut, xs))[1]
            out = jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:])[:m], out)
        return out._replace(n_iter=out.n_iter + s.n_iter)

    w0, g0, square = jnp.zeros(p, dtype), q.c, q.vv
    if start is not None:
        w0 = jnp.where((q.d > 0) & jnp.isfinite(start), start, 0)
        g0 = q.c - (dot(q.M, w0) if q.v is None else dot(q.M, dot(w0, q.M)))
        square = jnp.maximum(q.vv - (w0 * (q.c + g0)).sum(), 0)
    zero, w0 = jnp.zeros(m, dtype), jnp.broadcast_to(w0[None], (m, p))
    g0 = jnp.broadcast_to(g0[None], (m, p)) if l2 is None else g0[None] - l2 * w0
    begin = Solved(w0, g0, zero + square, zero, jnp.zeros(m, jnp.int32))
    trusted = (q.rounding <= 0.1 * tol) | ~usable
    if q.v is not None or rare.lean:
        out = solve(begin, True)
        # Every failed fit is left to the whole program: statuses and NaN are kernels too.
        rare.note(~(usable & trusted & (out.gap <= bound).all()))
    else:
        true = partial(lasso_problem.from_data, X, y, w, l1, l2, q, blocked)

        def step(state: tuple[Solved, jax.Array]) -> tuple[tuple[Solved, jax.Array], Verdict]:
            s, first = state
            # From the start the moments do not resolve a gap below their rounding; from a known point they do.
            reach = jnp.where(first & ~trusted, jnp.maximum(bound, 4 * q.rounding * null), bound)
            new = when(~trusted, true, solve(s, first, reach))
            better = first | (new.gap < s.gap)
            new = jax.tree.map(lambda a, b: jnp.where(better if a.ndim == 1 else better[:, None], a, b), new, s)
            stalled = ~first & ~(new.gap < 0.5 * s.gap).any()
            done = trusted | (new.gap <= bound).all() | stalled
            return (new, jnp.zeros_like(first)), Verdict(done, jnp.int32(Status.CONVERGED))

        (out, _), _, _ = drive(step, (begin, jnp.array(True)), max_iter=4)

    coef, intercept = out.w, _intercept(out.w, q, fit_intercept)
    if not rare.lean:
        coef = _attach(coef, live, q, fit_intercept)
        intercept = _attach_intercept(intercept, coef, live, fit_intercept)
    objective = 0.5 * out.square + (l1 * jnp.abs(out.w)).sum(1)
    if l2 is not None:
        objective += 0.5 * (l2 * out.w * out.w).sum(1)
    optimality = jnp.where(out.gap > 0, out.gap / positive(null), 0)
    if rare.lean:
        met = jnp.full(m, int(Status.CONVERGED), jnp.int32)
        return Fit(Linear(coef, intercept), GapInfo(met, out.n_iter, objective, optimality, out.gap))
    status = jnp.where(out.n_iter >= max_iter, Status.MAX_ITER, Status.STALLED)
    status = jnp.where(out.gap <= bound, Status.CONVERGED, status)
    info = GapInfo(status, out.n_iter, objective, optimality, out.gap)
    tests = (q.finite, Status.NONFINITE), (q.valid, Status.SINGULAR)
    return finish(Linear(coef, intercept), info, *tests)


def _most(shape: tuple[int, ...], l2: jax.Array | None) -> int:
    """The most columns that can be active: without an L2 penalty n of them are enough, with one it may be all."""
    n, p = shape
    return p if l2 is not None else min(p, max(2 * n, _ROOM))


def _attach(coef: jax.Array, live: Live, q: Statistics, centre: bool) -> jax.Array:
    """Attach derivatives to coef (m, p), with its support and signs frozen."""
    X, y, w, l1, l2 = live
    X, w = masked(X, w)
    frozen_l1, frozen_l2 = implicit.frozen((l1, l2))
    support = ((coef != 0) | (frozen_l1 == 0)) & (q.d > 0)[None]
    s = jnp.sign(coef)
    weight, x_mean, y_mean = moments.weighted_means(X, y[:, None], w, centre)
    share = 1 / positive(weight)

    def conditions(v: jax.Array) -> jax.Array:
        Z = X - x_mean[None]
        # Masked, so that the Jacobian is symmetric: second derivatives in reverse mode rely on it.
        r = y[:, None] - y_mean[None] - dot(Z, jnp.where(support, v, 0).T)
        g = dot((r if w is None else r * w[:, None]).T, Z) * share
        g = g - l1 * s if l2 is None else g - l1 * s - l2 * v
        return jnp.where(support, g, -v)

    sizes = active_set.capacities(X.shape[1], _most(X.shape, l2))
    oracle = lasso_problem.oracle(q, Origin(coef, coef, coef[:, 0]))

    def inverse(x: tuple[jax.Array, ...]) -> jax.Array:
        b, A, l2 = x

        def visit(size: int, out: jax.Array) -> jax.Array:
            idx = None if size == b.shape[0] else lax.top_k(A.astype(jnp.float32), size)[1]
            take = (lambda a: a) if idx is None else (lambda a: a[idx])
            _, H, _ = oracle.pick(idx)
            H = H if l2 is None else H + jnp.diag(take(l2))
            solve = active_newton.reduced(H, take(A))
            x = solve(take(b))
            x = jnp.where(take(A), x + solve(take(b) - dot(H, x)), take(b))
            return x if idx is None else out.at[idx].set(x)

        return -active_set.by_capacity(sizes, A.sum(dtype=jnp.int32), visit, b)

    return implicit.root(conditions, coef, lambda b: lax.map(inverse, (b, support, frozen_l2)))


def _intercept(coef: jax.Array, q: Statistics, centre: bool) -> jax.Array:
    """The intercepts y_mean - x_mean'coef, (m,)."""
    return q.y_mean - dot(coef, q.x_mean) if centre else jnp.zeros_like(coef[:, 0])


def _attach_intercept(value: jax.Array, coef: jax.Array, live: Live, centre: bool) -> jax.Array:
    """The intercepts with the derivatives of y_mean - x_mean'coef."""
    if not centre:
        return value
    X, y, w, *_ = live
    _, x_mean, y_mean = moments.weighted_means(X, y[:, None], w, centre)
    return implicit.root(lambda b: y_mean - dot(coef, x_mean) - b, value, lambda b: -b)


def l1_max(
    X: jax.Array, y: jax.Array, w: jax.Array | None, factor: jax.Array | None, *, fit_intercept: bool, blocked: bool
) -> jax.Array:
    """The smallest l1 for which l1 * factor leaves only coefficients of factor 0."""
    n, p = X.shape
    dtype = X.dtype
    X, w = masked(X, w)
    weight, x_mean, y_mean = moments.weighted_means(X, y[:, None], w, fit_intercept)
    coef = jnp.zeros(p, dtype)
    if factor is not None:
        # |x_j'r| <= |x_j| |r| <= |x_j| |y|: at twice that, only columns of factor 0 are left.
        rows = (lambda a: a) if w is None else (lambda a: a * w[:, None])
        Z, v = X - x_mean[None], y[:, None] - y_mean[None]
        big = 2 * jnp.sqrt(rows(Z * Z).sum(0) * rows(v * v).sum()) / weight
        l1 = jnp.where(factor > 0, implicit.frozen(big), 0)
        tol = jnp.asarray(default_tol(dtype), dtype)
        options = {"fit_intercept": fit_intercept, "blocked": blocked, "tol": tol, "max_iter": jnp.int32(200)}
        coef = fit(X, y, w, l1, None, None, **options).params.coef
    res = residual.plain(X, y[:, None], w, x_mean, y_mean, coef[:, None], coef[:1], blocked=blocked)
    factor = jnp.ones(p, dtype) if factor is None else factor
    size = jnp.where(factor > 0, jnp.abs(res.g[:, 0]) / positive(factor), 0).max() / weight
    valid = refinement.solvable(w, factor, weight)
    return jnp.where(valid, size * (1 + 64 * eps(dtype)), jnp.nan)


def objective(
    params: Linear, X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array | None
) -> jax.Array:
    """The objective at any params, in X's dtype."""
    value = ridge.objective(params, X, y, w, l2)
    return value + (jnp.broadcast_to(l1, params.coef.shape) * jnp.abs(params.coef)).sum()


def subgradient(
    params: Linear, X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array | None, *,
    fit_intercept: bool,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of least norm; zero for the intercept where none is fitted."""
    g = ridge.gradient(params, X, y, w, l2, fit_intercept=fit_intercept)
    l1 = jnp.broadcast_to(l1, params.coef.shape)
    return g._replace(coef=least_norm(params.coef, g.coef, l1))
