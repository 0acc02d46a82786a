r"""Weighted, ridge-penalised linear least squares with QR-grade digits at the speed of the normal equations.

    minimise over coef, intercept   sum_i w_i (y_i - x_i'coef - intercept)^2 / (2 sum w) + sum_j l2_j coef_j^2 / 2

n >= p (`_primal`): one pass for the moments, a factor T of H = Z'WZ + diag(sum w * l2) (`rank_revealing`), then
residual corrections  coef += TT' (Z'W r - sum w * l2 * coef)  with r from the data: one for well-conditioned data.
Where the corrections show that rounding leaves fewer than 11 digits (5 in float32), they continue with residuals in
one and a half times the working precision, which recovers digits that QR loses on the same data.
n < p (`wide`): the same on the n x n kernel ZZ'.

Derivatives: `_core.implicit` with the normal equations and the minimum-norm condition (see `refinement.attach`).
Sources: Bjorck, Numerical Methods for Least Squares Problems (2024), 2.5 (corrected seminormal equations); Demmel,
Hida, Li and Riedy 2009 (extra-precise refinement); Golub and Pereyra 1973 (derivative of the pseudoinverse).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import absent, affine, implicit
from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import all_finite, dot, positive
from jaxinfra._core.rows import replicated
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Linear
from jaxinfra.solvers.least_squares import moments, refinement, residual, wide
from jaxinfra.solvers.least_squares.refinement import Data, State
from jaxinfra.solvers.linalg import rank_revealing
from jaxinfra.solvers.linalg.rank_revealing import FACTOR_ERROR, apply, project_out

# Form Z'WZ of float64 data in float32 from this many columns on: half the time, two corrections more.  Of 20000 rows
# with 128 and 256 columns a fit takes 10.9 and 81 ms so, 13.1 and 95 in float64.
_SINGLE_FROM = 192


def solve(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array | None, *, fit_intercept: bool, blocked: bool,
    tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit X (n, p), y (n,) or (n, k), w (n,) or None, l2 broadcastable to coef or None (no penalty).

    Every array in the working dtype.  Returns Fit(Linear, RankInfo).
    """
    n, p = X.shape
    targets = y if y.ndim == 2 else y[:, None]
    penalty = _penalty(l2, p, y)
    # With n < p the n x n kernel is smaller, unless penalties differ between features.
    by_feature = penalty is not None and penalty.shape[1] > 1
    method = wide.solve if n < p and not by_feature else _primal
    if penalty is not None and method is _primal:
        penalty = jnp.broadcast_to(penalty, (penalty.shape[0], p))
    fit = method(X, targets, w, penalty, fit_intercept, blocked, tol, max_iter, rare)
    if y.ndim == 1:
        coef, intercept = fit.params
        return Fit(Linear(coef[:, 0], intercept[0]), fit.info)
    return fit


def _penalty(l2: jax.Array | None, p: int, y: jax.Array) -> jax.Array | None:
    """The penalty l2, broadcastable to coef, as (t, f): t is 1 or the number of targets, f 1 or that of features."""
    if l2 is None:
        return None
    if y.ndim == 1:
        return l2.reshape(1, -1)
    return l2.reshape((1,) * (2 - l2.ndim) + l2.shape).T


def _primal(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array | None, centre: bool, blocked: bool,
    tol: jax.Array | None, max_iter: jax.Array, rare: Rare,
) -> Fit:  # fmt: skip
    n, p = X.shape
    dtype = X.dtype
    live: Data = (X, y, w, l2)
    X, y, w, l2 = implicit.frozen(live)
    rank_tol = rank_revealing.rank_tol(dtype, n, p)
    single = dtype == jnp.float64 and p >= _SINGLE_FROM and n >= 2 * p

    m = moments.moments(X, y, w, centre=centre, blocked=blocked, single=single, rare=rare)
    valid = refinement.solvable(w, l2, m.weight)
    finite = m.finite & all_finite(l2)
    usable = jnp.array(True) if rare.lean else valid & finite  # lean: NaN reaches coef
    ridge = jnp.zeros((1, p), dtype) if l2 is None else jnp.where(usable, m.weight * l2, 0)
    weight = positive(m.weight)
    gram = partial(moments.gram, X, w, m.x_mean, centre=centre, blocked=blocked)

    def system(G: jax.Array) -> jax.Array:
        eye = jnp.eye(p, dtype=dtype)
        return (G if rare.lean else jnp.where(usable, G, eye))[None] + ridge[:, :, None] * eye[None]

    def grams(T: jax.Array) -> jax.Array:
        return gram(T[0])[None] if T.shape[0] == 1 else jax.lax.map(gram, T)

    c = m.c if rare.lean else jnp.where(usable, m.c, 0)
    H = system(m.G)
    f = rank_revealing.cholesky(H, m.cancellation, single=single, rare=rare)
    if single:
        in_double = lambda _: rank_revealing.cholesky(system(gram(None)), jnp.ones((), dtype))  # noqa: E731
        f = rare.when(~(f.error.max() < FACTOR_ERROR) & usable, in_double, f)
    robust = lambda _: rank_revealing.eigen(H, grams, ridge, rank_tol)  # noqa: E731
    f = rare.when(~(f.error.max() < FACTOR_ERROR) & usable, robust, f)

    norm_y = jnp.sqrt(m.yy)

    def step(state: State) -> tuple[State, Verdict]:
        # The barrier ties X to the state: else XLA hoists X - x_mean out of the loop, an n x p temporary.
        X_, coef = lax.optimization_barrier((X, state.coef))
        here = (X_, y, w, m.x_mean, m.y_mean, coef, state.shift)
        res = residual.plain(*here, blocked=blocked)
        if not rare.lean:
            res = when(state.paired, lambda _: residual.pairs(*here, centre=centre, blocked=blocked), res)
        g = res.g - ridge.T * coef
        d = apply(f.T, g)
        offset = res.total / weight if centre else jnp.zeros_like(res.total)
        # The objective after the correction: that of a quadratic decreases by g'd / 2.
        objective = 0.5 * (res.square.sum() - (g * d).sum() - (res.total * offset).sum()) / weight
        if l2 is not None:
            objective += 0.5 * (ridge.T * coef * coef).sum() / weight
        size = refinement.relative(d, coef + d, f.norms, norm_y)
        optimality = refinement.scaled_gradient(g, f.norms, norm_y)
        new = State(coef + d, state.shift + offset, size, jnp.maximum(objective, 0), optimality, state.paired)
        return refinement.judge(state, new)

    begin = refinement.start(apply(f.T, c), jnp.zeros_like(m.y_mean))
    state, status, n_iter = drive(step, begin, max_iter=max_iter)
    rare.note(state.paired)

    coef = state.coef
    if not rare.lean:
        coef = project_out(f.null, coef)  # removes the rounding of the corrections
        coef = refinement.attach(coef, f, live, centre)
    intercept, _ = residual.intercept(m.x_mean, m.y_mean, implicit.frozen(coef), state.shift)
    if not rare.lean:
        intercept = refinement.intercept(intercept, coef, live, centre)
    return refinement.conclude(coef, intercept, state, status, n_iter, f, tol, valid, finite, rare)


@jax.jit
@replicated
def objective(params: Linear, X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array | None) -> jax.Array:
    """The objective of this module at any params, in X's dtype."""
    X, w = absent.masked(X, w)
    r = y - affine.decision("objective", params, X)
    square = (r * r) if r.ndim == 1 else (r * r).sum(1)
    value = 0.5 * (square.mean() if w is None else dot(w, square) / w.sum())
    if l2 is None:
        return value
    return value + 0.5 * (jnp.broadcast_to(l2, params.coef.shape) * params.coef**2).sum()


@partial(jax.jit, static_argnames="fit_intercept")
@replicated
def gradient(
    params: Linear, X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array | None, *,
    fit_intercept: bool,
) -> Linear:  # fmt: skip
    """The gradient of `objective`; zero for the intercept where none is fitted."""
    g = jax.grad(objective)(params, X, y, w, l2)
    return g if fit_intercept else g._replace(intercept=jnp.zeros_like(g.intercept))
