r"""Huber's regression with its scale as one more unknown, from data to `Fit`.

    minimise over coef, intercept, s > 0
        sum_i w_i (s / 2 + s rho(r_i / s)) / sum w + sum_j l2_j coef_j^2 / 2,    r_i = y_i - x_i'coef - intercept
    rho(z) = z^2 / 2 where |z| <= delta, else delta |z| - delta^2 / 2

jointly convex, so Newton's method takes all unknowns at once.  A row within delta has the curvature v v' / s with
v = (x, 1, z), the others have none: one Gram matrix of p + 2 columns.  Small data: exact Newton steps.  Large data: the
minimum over a subsample of the rows is the start, its Hessian the metric, corrected steps on all rows remove the rest.

Source: Huber, Robust Statistics (1981), section 7.7; Owen 2007, A robust hybrid of lasso and ridge regression, section
3 (the concomitant scale).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import absent, implicit
from jaxinfra._core.absent import masked, or_ones
from jaxinfra._core.finish import finish
from jaxinfra._core.precision import all_finite, dot, eps, positive, tolerance
from jaxinfra._core.rows import sum_blocks
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Linear, Scaled, Status
from jaxinfra.norms import Huber
from jaxinfra.solvers.linalg import cholesky, design
from jaxinfra.solvers.linalg.cholesky import solve_root
from jaxinfra.solvers.linalg.design import Data, Frame
from jaxinfra.solvers.linalg.products import mirror, symmetric_product
from jaxinfra.solvers.linalg.scaled_factor import Factor
from jaxinfra.solvers.methods import newton
from jaxinfra.solvers.robust import residual_scale as scales

# A scale below this many eps of the spread of y counts as 0: the residuals are then rounding alone.  From 32 to 128 no
# difference in 160 fits (5 kinds of data, with outliers, with half of y equal; both precisions).
_NOTHING = 64
# The deviation of y over the unit of `residual_scale.rough` up to which the lean program's frame of y is its moments.
_USUAL = 20


class Setup(NamedTuple):
    """Data without the penalty, y centred."""

    data: Data
    delta: jax.Array
    frame: Frame
    fit_intercept: bool
    blocked: bool


def _outside_share(g: jax.Array, unit: jax.Array) -> jax.Array:
    """The share of the curvature beyond delta, see `_hessian`.

    Rows there have a slope but no curvature: where few rows are within, a Newton step is far too long.  The curvature
    of their majoriser bounds the step and vanishes with the gradient: the last steps are Newton's.  At most all of that
    curvature; with half of it 160 fits take 6 % more iterations and one fails, with twice none differs.
    """
    return jnp.minimum((jnp.abs(g) / unit).max(), 1)


def _longest(theta: jax.Array, direction: jax.Array) -> jax.Array:
    """Length of the first trial: a full step, or what takes the scale 99 % of the way to 0 if that would go further.

    98 and 99.5 %: no difference in 160 fits.
    """
    s, ds = theta[-1], direction[-1]
    return jnp.where(s + ds > 0.01 * s, 1, -0.99 * s / jnp.where(ds < 0, ds, -1))


def _columns(f: Frame, X: jax.Array, w: jax.Array | None, theta: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """The scaled columns and ones for the other unknowns (n, q), and the weights."""
    Z = f.columns(X)
    return masked(jnp.pad(Z, ((0, 0), (0, len(theta) - Z.shape[1])), constant_values=1), w)


def _last(theta: jax.Array) -> np.ndarray:
    """Where the scale is in theta."""
    return np.arange(len(theta)) == len(theta) - 1


def _residuals(V: jax.Array, y: jax.Array, theta: jax.Array) -> jax.Array:
    """Residuals in units of the scale, V of `_columns`."""
    return (y - dot(V, jnp.where(_last(theta), 0, theta))) / theta[-1]


def _evaluate(setup: Setup, data: Data, theta: jax.Array) -> newton.Evaluation:
    """The objective without penalty, infinite where the scale is not positive, and its gradient."""
    f, delta = setup.frame, setup.delta

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        V, w = _columns(f, X, w, theta)
        z, w = _residuals(V, y, theta), or_ones(w, y)
        psi = w * jnp.clip(z, -delta, delta)
        # rho - z psi = -psi^2 / 2
        last = 0.5 * (w - psi * jnp.clip(z, -delta, delta)).sum()
        return (w * (0.5 + Huber(delta).rho(z))).sum() * theta[-1], jnp.where(_last(theta), last, -dot(psi[None], V)[0])

    value, gradient = sum_blocks(sums, data[:3], blocked=setup.blocked)
    weight = positive(data.weight)
    value = jnp.where(theta[-1] > 0, value, jnp.inf)
    return newton.Evaluation(value / weight, gradient / weight)


def _hessian(
    setup: Setup, data: Data, theta: jax.Array, *, outside: jax.Array | float = 0.0, single: bool = False
) -> jax.Array:
    """The Hessian, with the share `outside` of the curvature that reweighted least squares gives the other rows."""
    f, delta = setup.frame, setup.delta

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None) -> jax.Array:
        V, w = _columns(f, X, w, theta)
        z = _residuals(V, y, theta)
        inside, size = jnp.abs(z) <= delta, jnp.abs(z)
        V = jnp.where(_last(theta)[None], jnp.where(inside, z, 0)[:, None], V)
        h = absent.weighted(w, jnp.where(inside, 1, outside * delta / jnp.where(inside, 1, size)))
        if single:
            V, h = V.astype(jnp.float32), h.astype(jnp.float32)
        return symmetric_product(V * h[:, None], V)

    H = sum_blocks(sums, data[:3], blocked=setup.blocked).astype(theta.dtype)
    return mirror(H) / (positive(data.weight) * theta[-1])


def solve(
    data: Data, delta: jax.Array, l2: jax.Array, init: Scaled | None, *, fit_intercept: bool, blocked: bool,
    tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit data (its offset already taken from y) with l2 scalar or (p,).  Fit(Scaled, Info).

    Rare: outliers so far away that mean and standard deviation of y are no frame for it.
    """
    live = (data, delta, jnp.broadcast_to(l2, data.X.shape[1:]))
    data, delta, l2 = implicit.frozen(live)
    n, p = data.X.shape
    dtype = data.X.dtype
    tol = tolerance(tol, dtype)

    f = design.frame(data.X, data.w, fit_intercept, blocked)
    w = or_ones(data.w, data.y)
    centre, unit = _frame(data, w, fit_intercept, blocked, rare)
    # The scale then starts at 1.
    setup = Setup(data._replace(y=(data.y - centre) / unit), delta, f, fit_intercept, blocked)

    stride = newton.subsample(n, p, blocked=blocked)
    sample = None if stride is None else setup.data.every(stride)
    one = jnp.ones(2 if fit_intercept else 1, dtype)
    gradient_unit = jnp.append(design.column_norms(sample or setup.data, f, fit_intercept), one)
    # The objective is in units of `unit` as well, so the penalty on coef / unit is larger by it.
    ridge = jnp.pad(f.penalty(l2 * unit, fit_intercept, 2), (0, 1))
    theta = _start(init, f, centre, unit, fit_intercept)
    exact = sample is None

    def metric_at(rows: Data, single: bool, theta: jax.Array, g: jax.Array) -> Any:
        H = _hessian(setup, rows, theta, outside=_outside_share(g, gradient_unit), single=single) + jnp.diag(ridge)
        return newton.factored(H, rare) if exact else cholesky.inverse_root(H, single=single, once=rare.lean)

    def problem(rows: Data, single: bool) -> newton.Problem:
        def evaluate(theta: jax.Array) -> newton.Evaluation:
            e = _evaluate(setup, rows, theta)
            return newton.Evaluation(e.value + 0.5 * (ridge * theta * theta).sum(), e.gradient + ridge * theta)

        return newton.Problem(evaluate, partial(metric_at, rows, single))

    found, status, n_iter = newton.minimise(
        problem(setup.data, False), theta, gradient_unit, rule=newton.EXACT if exact else newton.CORRECTED,
        metric=Factor.like(ridge) if exact else jnp.zeros((len(theta),) * 2, dtype),
        patience=None if exact else newton.patience(p), cautious=jnp.array(False), tol=tol, max_iter=max_iter,
        longest=_longest, sample=None if sample is None else problem(sample, True), from_sample=init is None, rare=rare,
    )  # fmt: skip

    s = found.theta[-1]
    coef, intercept = f.params_of(found.theta[:-1] * unit, fit_intercept)
    params = Scaled(coef, intercept + centre, s * unit)
    if not rare.lean:
        params = _attach(params, live, f, fit_intercept, blocked)
    return _finish(params, found, status, n_iter, live, unit, s <= _NOTHING * eps(dtype), rare)


def _frame(data: Data, w: jax.Array, fit_intercept: bool, blocked: bool, rare: Rare) -> tuple[jax.Array, jax.Array]:
    """A centre and a unit of y: the mean and the standard deviation, which leave the least rounding, or those of
    `residual_scale.frame` where outliers make the deviation more than 100 times as large as that unit (50 or 200: 4 of
    160 fits differ, by 0.2 % of all steps)."""
    y, total = data.y, data.weight
    mean = dot(w, y) / positive(total) if fit_intercept else jnp.zeros((), y.dtype)
    spread = jnp.sqrt(dot(w, (y - mean) ** 2) / positive(total))
    if rare.lean:
        rare.note(~((spread <= _USUAL * scales.rough(y, data.w, fit_intercept)) & (spread > 0)))
        return mean, spread
    centre, unit = scales.frame(y, w, fit_intercept, blocked)
    usual = (spread <= 100 * unit) & (spread > 0)
    return jnp.where(usual, mean, centre), jnp.where(usual, spread, unit)


def _start(init: Scaled | None, f: Frame, centre: jax.Array, unit: jax.Array, fit_intercept: bool) -> jax.Array:
    """The theta of init, or zero coefficients with the unit of y as scale."""
    one = jnp.ones(1, unit.dtype)
    if init is None:
        zero = jnp.zeros(len(f.scale) + (1 if fit_intercept else 0), unit.dtype)
        return jnp.concatenate([zero, one])
    coef, intercept, scale = (jnp.asarray(a, unit.dtype) for a in init)
    inner = f.theta_of(Linear(coef, intercept - centre), fit_intercept)
    return jnp.append(inner, jnp.where(scale > 0, scale, unit)) / unit


def _attach(params: Scaled, live: tuple, f: Frame, fit_intercept: bool, blocked: bool) -> Scaled:
    """Attach derivatives to params: the gradient of the objective vanishes."""
    data, delta, l2 = live
    data = data.masked()
    params = implicit.frozen(params)

    def residual(params: Scaled) -> Scaled:
        z = (data.y - dot(data.X, params.coef) - params.intercept) / params.scale
        w = or_ones(data.w, data.y) / data.weight
        psi = jnp.clip(z, -delta, delta)
        g = w * psi
        return Scaled(
            l2 * params.coef - dot(g, data.X), -g.sum() if fit_intercept else params.intercept,
            0.5 * (1 - dot(g, psi)),
        )  # fmt: skip

    def inverse(b: Scaled) -> Scaled:
        """Solve in the scaled coordinates of the passes, as `penalised` does."""
        rows, delta_, l2_ = implicit.frozen(live)
        setup = Setup(rows, delta_, f, fit_intercept, blocked)
        theta = jnp.append(f.theta_of(Linear(params.coef, params.intercept), fit_intercept), params.scale)
        ridge = jnp.pad(f.penalty(l2_, fit_intercept, 2), (0, 1))
        T = cholesky.inverse_root(_hessian(setup, rows, theta) + jnp.diag(ridge))
        x = solve_root(T, jnp.append(f.gradient_of(Linear(b.coef, b.intercept), fit_intercept), b.scale))
        out = f.params_of(x[:-1], fit_intercept)
        return Scaled(out.coef, out.intercept if fit_intercept else b.intercept, x[-1])

    return implicit.root(residual, params, inverse)


def _finish(
    params: Scaled, found: newton.State, status: jax.Array, n_iter: jax.Array, live: tuple, unit: jax.Array,
    no_scale: jax.Array, rare: Rare,
) -> Fit:  # fmt: skip
    """The Fit: Status, and NaN where there is no solution."""
    data, delta, l2 = implicit.frozen(live)
    found = implicit.frozen(found)
    sound = (data.weight > 0) & (l2 >= 0).all() & (delta > 0)
    if data.w is not None:
        sound &= (data.w >= 0).all()
    finite = jnp.isfinite(data.y.sum() + data.weight + l2.sum() + delta)
    return finish(
        params,
        Info(status, n_iter, found.value * unit, found.optimality),
        (finite, Status.NONFINITE),
        (sound, Status.SINGULAR),
        (all_finite(found.value, *implicit.frozen(params)), Status.NONFINITE),
        (~no_scale & (delta > 1), Status.ZERO_SCALE),
        rare=rare,
    )
