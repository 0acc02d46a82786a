r"""Penalised likelihood of a linear predictor, from data to `Fit`: what logistic regression and the GLMs share.

    minimise  sum_i w_i loss(y_i, x_i'coef + intercept + offset_i) / sum w
              + sum_j l1_j |coef_j| + sum_j l2_j coef_j^2 / 2

Small data: Newton's method.  Large data: the minimum over a subsample of the rows is the start, its Hessian the metric,
and corrected steps on all rows remove the rest (`newton`).  Derivatives: `_core.implicit` on the gradient, with the
observed Hessian; with l1 restricted to the support.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import absent, implicit
from jaxinfra._core.absent import first_row, masked, weighted
from jaxinfra._core.finish import finish, usable
from jaxinfra._core.loop import when
from jaxinfra._core.precision import all_finite, dot, per_weight, positive, tolerance
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Linear, Status
from jaxinfra.solvers.likelihood import linear_loss
from jaxinfra.solvers.likelihood.linear_loss import Loss
from jaxinfra.solvers.linalg import cholesky, design
from jaxinfra.solvers.linalg.cholesky import inverse_factor, solve_root
from jaxinfra.solvers.linalg.design import Data, Frame
from jaxinfra.solvers.linalg.scaled_factor import Factor
from jaxinfra.solvers.methods import newton
from jaxinfra.solvers.methods.proximal_gradient import least_norm


class Setup(NamedTuple):
    """The problem without penalties: data, loss, coordinates, the unit of gradients, a subsample or None."""

    data: Data
    loss: Loss
    frame: Frame
    unit: jax.Array
    sample: Data | None
    fit_intercept: bool
    blocked: bool

    def penalties(self, l1: jax.Array | None, l2: jax.Array) -> tuple[jax.Array | None, jax.Array]:
        """The penalties l1 and l2 in the coordinates of theta; none on the intercept."""
        lasso = None if l1 is None else self.frame.penalty(l1, self.fit_intercept, 1)
        return lasso, self.frame.penalty(l2, self.fit_intercept, 2)

    def hessian(self, rows: Data, theta: jax.Array, ridge: jax.Array, *, single: bool = False) -> jax.Array:
        """The Hessian with the ridge: the observed one, or for a loss that is not convex the safe one if indefinite."""
        at = partial(linear_loss.hessian, rows, self.frame, self.loss, theta, blocked=self.blocked, single=single)
        diagonal = ridge[:, None] * jnp.eye(theta.shape[0], dtype=theta.dtype)
        H = at(safe=False) + diagonal
        if self.loss.convex:
            return H
        indefinite = ~jnp.isfinite(inverse_factor(H[None]).sum())
        return when(indefinite, lambda _: at(safe=True) + diagonal, H)


def solve(
    data: Data, loss: Loss, l1: jax.Array | None, l2: jax.Array, init: Linear | None, *, valid: jax.Array,
    fit_intercept: bool, blocked: bool, tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit data with l1 and l2, scalar or (p,); l1 may be None.  valid (n,): where y is allowed.  Fit(Linear, Info)."""
    if rare.lean:
        data, l1, l2 = _checked(data, l1, l2, valid)
    live = (data, loss, *(None if v is None else jnp.broadcast_to(v, data.X.shape[1:]) for v in (l1, l2)))
    setup = _prepare(*implicit.frozen((data, loss)), fit_intercept, blocked, rare)
    return _solve(setup, live, init, valid, tol, max_iter, rare)


def path(
    data: Data, loss: Loss, l1: jax.Array | None, l2: jax.Array, *, valid: jax.Array, fit_intercept: bool,
    blocked: bool, tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """`solve` for m penalties, each started at the solution before: Fit with leading axis m.

    l1 and l2: (), (m,) or (m, p), one of them with axis m; l1 may be None.
    """
    m = max(v.shape[0] for v in (l1, l2) if v is not None and v.ndim)

    def spread(v: jax.Array | None) -> jax.Array | None:
        return None if v is None else jnp.broadcast_to(v[:, None] if v.ndim == 1 else v, (m, data.X.shape[1]))

    if rare.lean:
        data, l1, l2 = _checked(data, l1, l2, valid)
    setup = _prepare(*implicit.frozen((data, loss)), fit_intercept, blocked, rare)

    def one(before: Linear, penalties: Any) -> tuple[Linear, tuple[Fit, jax.Array]]:
        here = Rare(lean=rare.lean)
        fit = _solve(setup, (data, loss, *penalties), before, valid, tol, max_iter, here)
        good = usable(fit.info.status)
        after = jax.tree.map(lambda new, old: jnp.where(good, new, old), implicit.frozen(fit.params), before)
        return after, (fit, jnp.asarray(here.needed))

    start = setup.frame.params_of(_start(setup, None), fit_intercept)
    fits, needed = lax.scan(one, start, (spread(l1), spread(l2)))[1]
    rare.note(needed)
    return fits


def l1_max(data: Data, loss: Loss, weight: jax.Array, *, fit_intercept: bool, blocked: bool) -> jax.Array:
    """The smallest l1 for which l1 * weight (p,) gives coef = 0: the largest |g_j| / weight_j of the null model."""
    nothing = data._replace(X=jnp.zeros_like(data.X[:, :1]))
    zero = jnp.zeros(1, data.X.dtype)
    null = solve(
        nothing, loss, None, zero, None, valid=jnp.ones(data.y.shape, bool), fit_intercept=fit_intercept,
        blocked=blocked, tol=None, max_iter=jnp.int32(100),
    ).params  # fmt: skip
    at = Linear(jnp.zeros_like(data.X[0]), null.intercept)
    g = linear_loss.subgradient(at, data, loss, zero, zero, fit_intercept=fit_intercept).coef
    largest = per_weight(jnp.abs(g), jnp.broadcast_to(weight, g.shape)).max()
    return jnp.where(data.weights_valid, largest, jnp.nan)


def _prepare(data: Data, loss: Loss, fit_intercept: bool, blocked: bool, rare: Rare) -> Setup:
    n, p = data.X.shape
    stride = newton.subsample(n, p, blocked=blocked)
    f = design.frame(data.X, data.w, fit_intercept, blocked)
    sample = None if stride is None else data.every(stride)
    norms = design.column_norms(sample or data, f, fit_intercept, bulk=loss.may_separate)
    norms = jnp.append(norms, jnp.ones(1 if fit_intercept else 0, data.X.dtype))
    return Setup(data, loss, f, norms * _null_slope(data, loss, rare), sample, fit_intercept, blocked)


def _checked(data: Data, l1: jax.Array | None, l2: jax.Array, valid: jax.Array) -> tuple[Data, Any, jax.Array]:
    """NaN, which reaches the objective, in place of labels, weights and penalties that are not allowed: the lean
    program needs no other test."""
    valid = valid if data.w is None else valid | (data.w == 0)
    w, lasso, ridge = (None if v is None else jnp.where(v >= 0, v, jnp.nan) for v in (data.w, l1, l2))
    return data._replace(y=jnp.where(valid, data.y, jnp.nan), w=w), lasso, ridge  # type: ignore[return-value]


def _solve(
    setup: Setup, live: Any, init: Linear | None, valid: jax.Array, tol: jax.Array | None, max_iter: jax.Array,
    rare: Rare,
) -> Fit:  # fmt: skip
    data, loss, f = setup.data, setup.loss, setup.frame
    _, _, l1, l2 = implicit.frozen(live)
    lasso, ridge = setup.penalties(l1, l2)
    p, dtype = data.X.shape[1], data.X.dtype
    penalised = (l2 if l1 is None else l1 + l2).min() > 0
    tol = tolerance(tol, dtype)

    exact = setup.sample is None

    def problem(rows: Data, single: bool) -> newton.Problem:
        def evaluate(theta: jax.Array) -> newton.Evaluation:
            s = linear_loss.evaluate(rows, f, loss, theta, blocked=setup.blocked)
            return newton.Evaluation(s.value + 0.5 * (ridge * theta * theta).sum(), s.gradient + ridge * theta)

        def form(theta: jax.Array, _: jax.Array) -> Any:
            H = setup.hessian(rows, theta, ridge, single=single)
            if lasso is not None:
                return H
            return newton.factored(H, rare) if exact else cholesky.inverse_root(H, single=single, once=rare.lean)

        return newton.Problem(evaluate, form)

    theta = _start(setup, init)
    state, status, n_iter = newton.minimise(
        problem(data, False), theta, setup.unit, l1=lasso,
        rule=newton.proximal(lasso) if lasso is not None else newton.EXACT if exact else newton.CORRECTED,
        metric=Factor.like(ridge) if exact and lasso is None else jnp.zeros((len(theta),) * 2, dtype),
        patience=None if exact else newton.patience(p),
        cautious=~penalised & loss.may_separate, tol=tol, max_iter=max_iter,
        # A subsample's Hessian differs more from that of all rows than float32 from float64.
        sample=None if setup.sample is None else problem(setup.sample, True), from_sample=init is None, rare=rare,
    )  # fmt: skip
    params = f.params_of(state.theta, setup.fit_intercept)
    long, alone = _suspects(setup, state, penalised, tol)
    if rare.lean:
        rare.note((long & (status == Status.CONVERGED)) | alone | ~(data.weight > 0))
        rare.note(~all_finite(state.value, *params))
        return Fit(params, Info(status, n_iter, state.value, state.optimality))

    slope = (ridge * state.theta * state.last).sum()
    if lasso is not None:
        slope += (lasso * jnp.where(state.theta == 0, jnp.abs(state.last), jnp.sign(state.theta) * state.last)).sum()
    residual = state.gradient if lasso is None else least_norm(state.theta, state.gradient, lasso)
    status, optimality = _judge(setup, state, status, long, slope, residual, tol)
    status = jnp.where(alone, Status.SEPARABLE, status)
    params = _attach(params, live, setup)
    info = Info(status, n_iter, *implicit.frozen((state.value, optimality)))
    return _finish(params, info, live, valid)


def _null(data: Data, loss: Loss) -> jax.Array:
    """The predictor eta of the intercept-only model, without the offset."""
    eta = loss.start(_mean(data))
    return eta if data.offset is None else eta - _mean(data._replace(y=data.offset))


def _mean(data: Data) -> jax.Array:
    """The weighted mean of y, about a value of it: exact where all y are the same, since rounding would hide that only
    one class is present."""
    if data.w is None:
        return data.y[0] + (data.y - data.y[0]).sum() / data.weight
    some = jnp.where(data.w > 0, data.y, -jnp.inf).max()
    some = jnp.where(jnp.isfinite(some), some, 0)
    return some + dot(data.w, data.y - some) / positive(data.weight)


def _null_slope(data: Data, loss: Loss, rare: Rare) -> jax.Array:
    """The root mean square of the loss's slope in the intercept-only model: the unit of gradients."""
    eta = _null(data, loss) + (jnp.zeros_like(data.y) if data.offset is None else data.offset)
    slope = loss.slope(data.y, eta)
    slope = slope if data.w is None else jnp.where(data.w > 0, slope, 0)
    top = jnp.ones((), slope.dtype)
    if not rare.lean:
        # Divided out, since the square may overflow or underflow.
        top = jnp.abs(slope).max()
        top = jnp.where((top > 0) & jnp.isfinite(top), top, 1)
    square = weighted(data.w, (slope / top) ** 2).sum() / positive(data.weight)
    limits = jnp.finfo(slope.dtype)
    rare.note(~((square > limits.tiny / limits.eps) & (square < limits.max * limits.eps)))
    return top * jnp.sqrt(jnp.where((square > 0) & jnp.isfinite(square), square, 1))


def _start(setup: Setup, init: Linear | None) -> jax.Array:
    """The start in theta: init, or the intercept-only model."""
    data, loss, f = setup.data, setup.loss, setup.frame
    dtype = data.X.dtype
    if init is not None:
        params = Linear(jnp.asarray(init.coef, dtype), jnp.asarray(init.intercept, dtype))
        return f.theta_of(params, setup.fit_intercept)
    zero = jnp.zeros_like(f.scale)
    if setup.fit_intercept:
        return jnp.append(zero, _null(data, loss))
    if not loss.needs_positive:
        return zero
    # At coef = 0 the loss is not finite: start with the least-squares fit of the null model's eta.
    Z, w = masked(data.X * f.scale[None], data.w)
    Zw = Z if w is None else Z * w[:, None]
    T = cholesky.inverse_root(dot(Zw.T, Z))
    return solve_root(T, Zw.sum(0) * _null(data, loss))


def _suspects(setup: Setup, state: newton.State, penalised: jax.Array, tol: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether there may be no minimum, since the last step was long: towards infinity steps stay long, towards a finite
    minimum each is about the square of the one before.  And whether there is none since a class is absent: where all
    columns are penalised only the intercept can diverge, and only if no finite one gives the mean of y."""
    if not setup.loss.may_separate:
        return jnp.array(False), jnp.array(False)
    long = newton.strides(state.last, tol) & ~penalised
    return long, ~setup.loss.attains(_mean(setup.data)) & setup.fit_intercept


def _judge(
    setup: Setup, state: newton.State, status: jax.Array, long: jax.Array, slope: jax.Array, residual: jax.Array,
    tol: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """The (status, optimality): SEPARABLE where the gradient has almost vanished and the loss still decreases along the
    last step, CONVERGED where only rounding is left."""
    if not setup.loss.may_separate:
        return status, state.optimality
    look = partial(linear_loss.last_look, setup.data, setup.frame, setup.loss, state.theta, state.last, slope)
    nothing = (jnp.array(False), jnp.zeros_like(state.theta))
    ask = ((status == Status.CONVERGED) & long) | (status == Status.STALLED)
    diverges, terms = when(ask, lambda _: look(), nothing)
    rounded = (jnp.abs(residual) / (setup.unit + newton.rounding(terms, tol))).max()
    status, optimality = newton.resolved(status, state.optimality, rounded, tol)
    return jnp.where(diverges & long & (status == Status.CONVERGED), Status.SEPARABLE, status), optimality


def _attach(params: Linear, live: Any, setup: Setup) -> Linear:
    """Attach derivatives to params: the gradient vanishes on the support, coef off it."""
    data, loss, l1, l2 = live
    data = data.masked()
    f, fit_intercept = setup.frame, setup.fit_intercept
    weight = data.weight
    params = implicit.frozen(params)
    support = jnp.ones_like(params.coef) if l1 is None else (params.coef != 0).astype(params.coef.dtype)
    sign = jnp.sign(params.coef)

    def residual(params: Linear) -> Linear:
        coef = params.coef * support
        eta = dot(data.X, coef) + params.intercept
        if data.offset is not None:
            eta = eta + data.offset
        if data.w is None:
            r = loss.slope(data.y, eta) / weight
        else:
            spoiled = absent.spoiled(data.w, loss.slope(data.y, eta), loss.curvature(data.y, eta))
            eta = jnp.where(spoiled, first_row(implicit.frozen(eta), data.w > 0), eta)
            r = data.w * jnp.where(spoiled, 0, loss.slope(data.y, eta)) / weight
        g = dot(r, data.X) + l2 * coef
        if l1 is not None:
            g = g + l1 * sign
        return Linear(support * g + (1 - support) * params.coef, r.sum() if fit_intercept else params.intercept)

    def inverse(b: Linear) -> Linear:
        """Solve in the scaled coordinates of the passes: theta = A params, so H^-1 = A^-1 H_theta^-1 A^-T."""
        rows, loss_, _, l2_ = implicit.frozen(live)
        one = jnp.ones(1 if fit_intercept else 0, params.coef.dtype)
        mask = jnp.append(support, one)
        H = linear_loss.hessian(rows, f, loss_, f.theta_of(params, fit_intercept), blocked=setup.blocked, safe=False)
        H = H * mask[:, None] * mask[None]
        T = cholesky.inverse_root(H + jnp.diag(f.penalty(l2_ * support, fit_intercept, 2) + 1 - mask))
        x = solve_root(T, mask * f.gradient_of(b, fit_intercept))
        out = f.params_of(mask * x, fit_intercept)
        return Linear(out.coef + (1 - support) * b.coef, out.intercept if fit_intercept else b.intercept)

    return implicit.root(residual, params, inverse)


def _finish(params: Linear, info: Info, live: Any, valid: jax.Array) -> Fit:
    """The Fit: Status, and NaN where there is no solution."""
    data, _, l1, l2 = implicit.frozen(live)
    present = data.weights_valid & (l2 >= 0).all()
    allowed = valid if data.w is None else valid | (data.w == 0)
    vectors = data.y.sum() + data.weight + l2.sum()
    if data.offset is not None:
        vectors += data.offset.sum()
    if l1 is not None:
        present &= (l1 >= 0).all()
        vectors += l1.sum()
    return finish(
        params,
        info,
        (jnp.isfinite(vectors), Status.NONFINITE),
        (allowed.all(), Status.DOMAIN),
        (present, Status.SINGULAR),
        (all_finite(info.objective, *implicit.frozen(params)), Status.NONFINITE),
    )
