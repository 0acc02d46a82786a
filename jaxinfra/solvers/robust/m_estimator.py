r"""M-estimators of a linear model by iteratively reweighted least squares, from data to `Fit`.

    sum_i w_i psi(r_i / s) (x_i, 1) = 0,    r_i = y_i - x_i'coef - intercept,    s = S(r)

with a scale S of the residuals (`residual_scale`) or a known one.  Each step solves least squares with the weights
w_i psi(z_i) / z_i, z = r / s; where psi is not monotone, the first steps are those of Huber's norm, whose only minimum
is a safer start than least squares.

Derivatives: `_core.implicit` on these equations and the one of the scale, whose matrix is not symmetric.
Source: Huber, Robust Statistics (1981), sections 7.8; Holland and Welsch 1977.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxinfra._core import implicit
from jaxinfra._core.absent import masked, or_ones
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import all_finite, dot, eps, positive, tolerance
from jaxinfra._core.rows import sum_blocks
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Linear, Scaled, Status
from jaxinfra.norms import Huber, Norm
from jaxinfra.solvers.linalg import cholesky, design
from jaxinfra.solvers.linalg.cholesky import solve_root
from jaxinfra.solvers.linalg.design import Data, Frame
from jaxinfra.solvers.linalg.products import mirror, symmetric_product
from jaxinfra.solvers.robust import residual_scale

# Most steps of Huber's norm before one whose psi is not monotone, and the optimality that ends them earlier.  Of 240
# fits (160 of Tukey's norm; outliers, half of y equal), all of which converge in any case: 10 steps change 10, 40 none;
# 5e-3 and 2e-2 take 3 % more and 4 % fewer steps, 1e-1 takes 15 % fewer but ends in minima up to 8 % higher.
_FIRST, _COARSE = 20, 1e-2
_NOTHING = 64  # a scale below this many eps of the spread of y counts as 0: 32 and 128, no difference
_FAR = 10  # units at which y is clipped for the least-squares start: 3 and 5 take 3 % and 2 % fewer steps, 20 as many
_PATIENCE = 20  # steps without progress after which a fit counts as stalled: with 10 one more fails, with 40 none


class _State(NamedTuple):
    theta: jax.Array
    numbers: jax.Array  # the scale and the optimality of the last step, and the smallest optimality so far
    counts: jax.Array  # whether the norm is still Huber's, steps made, and those without progress


def solve(
    data: Data, norm: Norm, constant: jax.Array | None, init: Linear | None, *, estimator: str, fit_intercept: bool,
    blocked: bool, tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit data, its offset already taken from y.

    estimator: "mad", "proposal2" (constant is its cutoff) or "known" (constant is the scale).  Rare: normal equations
    that need a second factorisation, and fits that do not converge.
    """
    live = (data, norm, constant)
    data, norm, constant = implicit.frozen(live)
    dtype = data.X.dtype
    p = data.X.shape[1]
    tol = tolerance(tol, dtype)
    f = design.frame(data.X, data.w, fit_intercept, blocked)
    w = or_ones(data.w, data.y)
    weight = positive(data.weight)
    centre, unit = residual_scale.frame(data.y, w, fit_intercept, blocked)
    y = (data.y - centre) / unit  # the scale is of order 1
    q = p + fit_intercept
    norms = jnp.append(design.column_norms(data, f, fit_intercept), jnp.ones(q - p, dtype))

    def residual(theta: jax.Array) -> jax.Array:
        r = y - dot(data.X, theta[:p] * f.scale)
        r = r + dot(f.centre, theta[:p] * f.scale) - theta[p] if fit_intercept else r
        return jnp.where(w > 0, r, 0)

    def scale_of(r: jax.Array) -> jax.Array:
        if constant is None:
            return residual_scale.mad(r, w)
        return constant / unit if estimator == "known" else residual_scale.proposal2(r, w, q, constant)

    def normal(h: jax.Array, r: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The normal equations V'hV and V'hr in one pass."""

        def sums(X: jax.Array, h: jax.Array, r: jax.Array, w: jax.Array | None) -> tuple[jax.Array, jax.Array]:
            V, w = masked(f.design(X, fit_intercept), w)
            h = h if w is None else jnp.where(jnp.isnan(w), w, h)
            return symmetric_product(V * h[:, None], V), dot((h * r)[None], V)[0]

        H, g = sum_blocks(sums, (data.X, h, r, data.w), blocked=blocked)
        return mirror(H), g

    two = norm.redescending and init is None  # Huber's norm comes first

    def step(state: _State) -> tuple[_State, Verdict]:
        scale, before, best = state.numbers
        first, steps, stagnant = state.counts[0] > 0, state.counts[1], state.counts[2]
        r = residual(state.theta)
        s = scale_of(r)
        z = r / positive(s)
        h = norm.weight(z)
        if norm.redescending:
            h = jnp.where(first, Huber().weight(z), h)
        if init is None:
            # The first trip is the start: least squares on y clipped.
            start = steps < 0
            h, r = jnp.where(start, 1, h), jnp.where(start, jnp.clip(r, -_FAR, _FAR), r)
        H, g = normal(w * h, r)
        optimality = jnp.abs(g / norms).max() / (weight * positive(s))
        # Huber's norm, where it comes first, until it has nearly converged.
        ending = first & ((optimality <= _COARSE) | (steps >= _FIRST))
        # A clearly smaller scale counts as progress too: it may be on its way to 0.  With 0.5 in place of the first or
        # the second 0.9 5 fits and one fail, with 0.99 none differs.
        better = (optimality < 0.9 * best) | (s < 0.9 * scale)
        stuck = ~(s > 0) | ~jnp.isfinite(optimality)
        if init is None:
            ending, better, stuck = ending & ~start, better | start, stuck & ~start
            s, optimality = jnp.where(start, 1, s), jnp.where(start, jnp.inf, optimality)
        met = ~first & (optimality <= tol)
        T = cholesky.inverse_root(H, once=rare.lean)
        theta = jnp.where(met, state.theta, state.theta + solve_root(T, g))
        stagnant = jnp.where(better | first, 0, stagnant + 1)
        new = _State(
            theta, jnp.stack([s, optimality, jnp.minimum(optimality, best)]),
            jnp.stack([(first & ~ending).astype(jnp.int32), steps + 1, stagnant]),
        )  # fmt: skip
        return new, Verdict(met | stuck | (stagnant > _PATIENCE), jnp.where(met, Status.CONVERGED, Status.STALLED))

    begin = _State(
        jnp.zeros(q, dtype) if init is None else _given(init, f, centre, unit, q),
        jnp.array([1, jnp.inf, jnp.inf], dtype), jnp.array([two, 0 if init else -1, 0], jnp.int32),
    )  # fmt: skip
    state, status, n_iter = drive(step, begin, max_iter=max_iter if init else max_iter + 1)
    n_iter = n_iter if init else jnp.maximum(n_iter - 1, 0)

    r, s = residual(state.theta), state.numbers[0]
    rare.note(status != Status.CONVERGED)
    if not rare.lean:
        # A step that did not end the iteration has left the scale behind.
        s = when(status != Status.CONVERGED, lambda _: jnp.asarray(scale_of(r), dtype), s)
    coef, intercept = f.params_of(state.theta * unit, fit_intercept)
    params = Scaled(coef, intercept + centre, s * unit)
    if not rare.lean:
        params = _attach(params, live, f, r, estimator, q)
    z = r / positive(s)
    parts = jnp.stack([w * norm.rho(z), ((w > 0) & (norm.weight(z) > 0)).astype(dtype)])
    total, counting = dot(parts, jnp.ones_like(z))
    value = total / weight * (s * unit) ** 2
    # The rows that count must determine the parameters.
    enough, spread = counting >= min(q, len(y)), s > _NOTHING * eps(dtype)
    rare.note(~(enough & spread))
    if not rare.lean:
        status = jnp.where(enough, status, Status.SINGULAR)
        status = jnp.where(spread, status, Status.ZERO_SCALE)
    return _finish(params, value, state.numbers[1], status, n_iter, live, rare)


def _given(init: Linear, f: Frame, centre: jax.Array, unit: jax.Array, q: int) -> jax.Array:
    """The theta of init."""
    coef, intercept = (jnp.asarray(a, unit.dtype) for a in (init.coef, init.intercept))
    return f.theta_of(Linear(coef, intercept - centre), q > len(coef)) / unit


def _attach(params: Scaled, live: tuple, f: Frame, r: jax.Array, estimator: str, q: int) -> Scaled:
    """Attach derivatives to params by the equations of the coefficients and of the scale."""
    params = implicit.frozen(params)
    rows = residual_scale.mad_rows(r, jnp.ones_like(r) if live[0].w is None else implicit.frozen(live[0].w))
    p = len(params.coef)

    def residual(params: Scaled, live: tuple) -> Scaled:
        data, norm, constant = live
        data = data.masked()
        r = data.y - dot(data.X, params.coef) - params.intercept
        w = or_ones(data.w, r)
        share = w * norm.psi(r / params.scale) / w.sum()
        if estimator == "mad":
            at = params.scale - 0.5 * jnp.abs(r[rows]).sum() / residual_scale.NORMAL
        elif estimator == "proposal2":
            at = residual_scale.proposal2_equation(r, w, q, constant, params.scale)
        else:
            at = params.scale - constant
        return Scaled(dot(share, data.X), share.sum() if q > p else params.intercept, at)

    def inverse(b: Scaled, trans: int = 0) -> Scaled:
        """Solve in the scaled coordinates of the passes, as `penalised` does, with the ridge of `inverse_root` for
        directions that the columns leave undetermined."""
        data, norm, constant = implicit.frozen(live)
        data = data.masked()
        data = data._replace(X=f.columns(data.X))
        unravel = ravel_pytree(params)[1]
        theta = f.theta_of(Linear(params.coef, params.intercept), True)  # without an intercept the centre is 0
        at = jnp.append(theta, params.scale)
        J = jax.jacfwd(lambda v: ravel_pytree(residual(unravel(v), (data, norm, constant)))[0])(at)
        # The curvature of each column by the weights psi(z) / z of the steps: positive where psi' need not be.
        h = norm.weight((data.y - dot(data.X, theta[:p]) - theta[p]) / params.scale)
        h = h if data.w is None else h * data.w
        curvature = dot(h, data.X**2) / (data.weight * params.scale)
        ridge = jnp.where(curvature > 0, cholesky.RIDGE * q * eps(curvature.dtype) * curvature, 1)
        lu = jax.scipy.linalg.lu_factor(J - jnp.diag(jnp.pad(ridge, (0, 2))))
        g = jnp.append(f.gradient_of(Linear(b.coef, b.intercept), True), b.scale)
        x = jax.scipy.linalg.lu_solve(lu, g, trans=trans)
        return Scaled(*f.params_of(x[:-1], True), x[-1])

    return implicit.root(lambda params: residual(params, live), params, inverse, partial(inverse, trans=1))


def _finish(
    params: Scaled, value: jax.Array, optimality: jax.Array, status: jax.Array, n_iter: jax.Array, live: tuple,
    rare: Rare,
) -> Fit:  # fmt: skip
    """The Fit: Status, and NaN where there is no solution."""
    data, norm, constant = implicit.frozen(live)
    sound = data.weight > 0
    finite = jnp.isfinite(data.y.sum() + data.weight)
    if not rare.lean:  # NaN and inf in X reach the value
        X, w = masked(data.X, data.w)
        finite &= jnp.isfinite(dot(jnp.ones_like(data.y), X)).all() & jnp.isfinite(0 if w is None else w.sum())
    if data.w is not None:
        sound &= (data.w >= 0).all()
    for leaf in (*jax.tree.leaves(norm), *([] if constant is None else [constant])):
        sound &= leaf > 0
        finite &= ~jnp.isnan(leaf)
    return finish(
        params,
        Info(status, n_iter, value, optimality),
        (finite, Status.NONFINITE),
        (sound, Status.SINGULAR),
        (all_finite(value, *implicit.frozen(params)), Status.NONFINITE),
        rare=rare,
    )
