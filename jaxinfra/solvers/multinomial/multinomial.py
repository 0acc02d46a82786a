r"""Multinomial logistic regression from rows to `Fit`: scaling, the method, Status and derivatives."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import implicit
from jaxinfra._core.finish import finish, usable
from jaxinfra._core.loop import when
from jaxinfra._core.precision import all_finite, dot, eps, tolerance
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Linear, Status
from jaxinfra.solvers.likelihood.linear_loss import recedes
from jaxinfra.solvers.linalg import design
from jaxinfra.solvers.methods import newton
from jaxinfra.solvers.methods.proximal_gradient import least_norm
from jaxinfra.solvers.multinomial import smooth, softmax, sparse
from jaxinfra.solvers.multinomial.softmax import ScaledData, Units

# Towards infinity a step moves some eta by 1; a step along dependent columns, which rounding spoils, by less.
_MOVED = 0.1


class Shares(NamedTuple):
    """Rows in the working dtype: X (n, p), T (n, K), the weight of each row and class as a share of the total, offset
    (n, K) or None, the weight of each row or None where all are the same, and the tests that the input passed."""

    X: jax.Array
    T: jax.Array
    w: jax.Array | None
    offset: jax.Array | None
    finite: jax.Array
    valid: jax.Array
    domain: jax.Array


def null(T: jax.Array, offset: jax.Array | None, fit_intercept: bool) -> jax.Array:
    """The intercepts (K,) of the null model: log class shares less the mean offset, in the symmetric gauge."""
    shares = T.sum(0)
    if not fit_intercept:
        return jnp.zeros_like(shares)
    log = jnp.log(jnp.maximum(shares, jnp.finfo(T.dtype).tiny))
    if offset is not None:
        log = log - dot(T.sum(1), offset) / jnp.maximum(shares.sum(), jnp.finfo(T.dtype).tiny)
    return log - log.mean()


def solve(
    d: Shares, l1: jax.Array | None, l2: jax.Array, start: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *,
    fit_intercept: bool, blocked: bool, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit the rows d with penalties that broadcast against coef (p, K), l1 or None; start: None for the null model."""
    dtype, (p, K) = d.X.dtype, (d.X.shape[1], d.T.shape[1])
    # One frame for all rows that count in any lane, so that lanes that differ only in their weights share Z.
    f = design.frame(*lax.stop_gradient((d.X, d.w)), fit_intercept, blocked=False)
    l2 = jnp.broadcast_to(l2, (p, K))
    penalty, valid = l2, d.valid & (l2 >= 0).all()
    finite = d.finite & jnp.isfinite(l2.sum()) & jnp.isfinite(f.scale).all()
    live = ScaledData(f.design(d.X, fit_intercept), d.T, d.offset, f.penalty(l2, fit_intercept, 2))
    if l1 is not None:
        l1 = jnp.broadcast_to(l1, (p, K))
        penalty, valid, finite = l2 + l1, valid & (l1 >= 0).all(), finite & jnp.isfinite(l1.sum())
        live = live._replace(l1=f.penalty(l1, fit_intercept, 1))
    data = implicit.frozen(live)
    intercepts = null(data.T, data.offset, fit_intercept)
    noise = 16 * eps(dtype) * jnp.abs(f.centre) * f.scale
    units = Units.of(data, intercepts, jnp.append(noise, jnp.zeros(1 if fit_intercept else 0, dtype)))
    if start is None:
        start = Linear(jnp.zeros((p, K), dtype), intercepts)
    W = f.theta_of(implicit.frozen(start), fit_intercept)
    # A class that is absent drives its free intercept to minus infinity.
    separable = (data.T.sum(0) <= 0).any() & fit_intercept
    sound = finite & valid & d.domain & ~separable
    tol = tolerance(tol, dtype)
    bounded = (penalty > 0).all()
    method = smooth.solve if l1 is None else sparse.solve
    end = method(data, W, units, bounded, tol=tol, max_iter=jnp.where(sound, max_iter, 0), blocked=blocked, rare=rare)
    long = newton.strides(end.last, tol) & ~bounded
    if rare.lean:
        rare.note(~sound | (long & (end.status == Status.CONVERGED)) | (end.status == Status.STALLED))
        params = _symmetric(f.params_of(end.W, fit_intercept), fit_intercept)
        rare.note(~all_finite(end.f, *params))
        return Fit(params, Info(end.status, end.n_iter, end.f, end.optimality))
    residual = end.g if data.l1 is None else least_norm(end.W, end.g, data.l1)
    ask = sound & ((long & (end.status == Status.CONVERGED)) | (end.status == Status.STALLED))
    diverges, terms = _last_look(data, end.W, end.last, ask)
    rounded = units.largest(residual, newton.rounding(terms, tol))
    status, optimality = newton.resolved(end.status, end.optimality, rounded, tol)
    separable |= diverges & long & (status == Status.CONVERGED)
    params = _symmetric(f.params_of(smooth.attach(live, end.W, blocked=blocked), fit_intercept), fit_intercept)
    solved = all_finite(end.f, *implicit.frozen(params))
    return finish(
        params,
        Info(status, end.n_iter, end.f, optimality),
        (finite & (solved | ~sound), Status.NONFINITE),
        (d.domain, Status.DOMAIN),
        (valid, Status.SINGULAR),
        (~separable, Status.SEPARABLE),
    )


def _symmetric(params: Linear, fit_intercept: bool) -> Linear:
    """Intercepts symmetric about the origin of x too, where the columns of coef do not sum to zero."""
    coef, intercept = params
    return Linear(coef, intercept - intercept.mean() if fit_intercept else intercept)


def _last_look(data: ScaledData, W: jax.Array, d: jax.Array, ask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `linear_loss.last_look` at W along d, if `ask`; the terms (K, q) have the effect of rounding in eta too."""

    def look(_: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        a, Z, change = data.T.sum(1), jnp.abs(data.Z), softmax.across(d, data.Z)
        P = jnp.exp(softmax.log_softmax(W, data.Z, data.offset))
        slopes = P * a[None] - data.T.T
        penalty = (data.l2 * W * d).sum()
        if data.l1 is not None:
            penalty += (data.l1 * jnp.where(W == 0, jnp.abs(d), jnp.sign(W) * d)).sum()
        most = jnp.where(a > 0, jnp.abs(change).max(0), 0)
        size = jnp.abs(slopes) + a[None] * P * (1 - P) * softmax.across(jnp.abs(W), Z).max(0)[None]
        return recedes((slopes * change).sum(0), most, penalty, _MOVED), dot(size, Z)

    return when(ask, look, (jnp.zeros_like(ask), jnp.zeros_like(W)))


def path(
    d: Shares, l1: jax.Array | None, l2: jax.Array, tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool,
    blocked: bool, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fits for the penalties along the leading axis of l1 or l2, each from the one before; a scalar stays as it is."""
    K, p = d.T.shape[1], d.X.shape[1]

    def step(start: Linear, moving: tuple[jax.Array | None, ...]) -> tuple[Linear, tuple[Fit, jax.Array]]:
        l1_now, l2_now = (m if m is not None else f for m, f in zip(moving, (l1, l2), strict=True))
        assert l2_now is not None
        here = Rare(lean=rare.lean)
        fit = solve(d, l1_now, l2_now, start, tol, max_iter, fit_intercept=fit_intercept, blocked=blocked, rare=here)
        # A penalty without a solution passes on the start that it had.
        good = usable(fit.info.status)
        after = jax.tree.map(lambda new, old: jnp.where(good, lax.stop_gradient(new), old), fit.params, start)
        return after, (fit, jnp.asarray(here.needed))

    start = Linear(jnp.zeros((p, K), d.X.dtype), null(*lax.stop_gradient((d.T, d.offset)), fit_intercept))
    moving = tuple(v if v is not None and v.ndim else None for v in (l1, l2))
    fits, needed = lax.scan(step, start, moving)[1]
    rare.note(needed)
    return fits


def l1_max(d: Shares, u: jax.Array, *, fit_intercept: bool, blocked: bool) -> jax.Array:
    """The largest |g| / u, g the gradient by coef of the intercept-only model, and a few units of rounding more: the
    sums of a fit round differently, and with this penalty all its coefficients must be 0."""
    dtype, K = d.X.dtype, d.T.shape[1]
    zero = jnp.zeros((), dtype)
    b = null(d.T, d.offset, fit_intercept)
    if d.offset is not None and fit_intercept:
        alone = d._replace(X=jnp.zeros_like(d.X[:, :1]))
        fit = solve(alone, None, zero, None, None, jnp.int32(50), fit_intercept=True, blocked=blocked)
        b = fit.params.intercept
    params = Linear(jnp.zeros((d.X.shape[1], K), dtype), b)
    g = gradient(params, d, None, zero, fit_intercept=True, blocked=blocked).coef
    known = d.finite & d.valid & d.domain & (u >= 0).all()
    largest = (jnp.abs(g) / jnp.broadcast_to(u, g.shape)).max()
    return jnp.where(known, largest * (1 + 32 * eps(dtype)), jnp.nan)


def _unscaled(
    params: Linear, d: Shares, l1: jax.Array | None, l2: jax.Array, blocked: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The objective; W, its smooth gradient and l1 as (K, p + 1), the intercept last, in the units of the data."""
    p, K = params.coef.shape
    as_W = lambda v: jnp.pad(jnp.broadcast_to(v, (p, K)).T, ((0, 0), (0, 1)))  # noqa: E731
    l1 = as_W(jnp.zeros_like(l2) if l1 is None else l1)
    Z = design.with_ones(d.X)
    W = jnp.concatenate([params.coef, params.intercept[None]]).T.astype(d.X.dtype)
    f, g = softmax.value_and_gradient(ScaledData(Z, d.T, d.offset, as_W(l2)), W, blocked=blocked)
    f = f + (l1 * jnp.abs(W)).sum()
    return jnp.where(d.finite & d.valid & d.domain, f, jnp.nan), W, g, l1


def objective(params: Linear, d: Shares, l1: jax.Array | None, l2: jax.Array, *, blocked: bool) -> jax.Array:
    """The objective of `solve` at any params."""
    return _unscaled(params, d, l1, l2, blocked)[0]


def gradient(
    params: Linear, d: Shares, l1: jax.Array | None, l2: jax.Array, *, fit_intercept: bool, blocked: bool
) -> Linear:
    """The gradient of `objective`, with L1 its subgradient of least norm, in the units of the data."""
    _, W, g, l1 = _unscaled(params, d, l1, l2, blocked)
    v = least_norm(W, g, l1).T
    return Linear(v[:-1], v[-1] if fit_intercept else jnp.zeros_like(v[-1]))
