r"""Cumulative link models of ordered classes, from data to `Fit`.

    P(y <= k | x) = F(t_k - x'coef - offset),    t_0 < t_1 < ... < t_(K-2)
    minimise  -sum_i w_i log P(y_i | x_i) / sum w + sum_j l2_j coef_j^2 / 2

The loss of a row depends on two thresholds, a = t_y - eta above and b = t_(y-1) - eta below, one of them infinite for
the first and the last class.  With the derivatives of -log(F(a) - F(b)) by a and b, two first and three second ones a
row, gradient and Hessian are sums over rows as for any other linear predictor.  The likelihood is log-concave for every
link here (Pratt 1981), so Newton's method needs only steps that keep the order of the thresholds.

Source: McCullagh 1980; Agresti, Analysis of Ordinal Categorical Data (2nd ed. 2010), section 5.1.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit
from jaxinfra._core.absent import masked, or_ones, weighted
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import when
from jaxinfra._core.precision import all_finite, dot, positive, tolerance
from jaxinfra._core.rows import replicated, sum_blocks
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Status, Thresholds
from jaxinfra.links import Link
from jaxinfra.solvers.likelihood import linear_loss
from jaxinfra.solvers.linalg import cholesky, design
from jaxinfra.solvers.linalg.cholesky import solve_root
from jaxinfra.solvers.linalg.design import Data, Frame
from jaxinfra.solvers.linalg.products import mirror, symmetric_product
from jaxinfra.solvers.linalg.scaled_factor import Factor
from jaxinfra.solvers.methods import newton


def _log1mexp(x: jax.Array) -> jax.Array:
    """The value log(1 - exp(-x)) for x > 0; NaN below, where the thresholds are out of order."""
    return jnp.where(x > 0.7, jnp.log1p(-jnp.exp(-x)), jnp.log(-jnp.expm1(-x)))


def log_probability(a: jax.Array, b: jax.Array, y: jax.Array, K: int, link: Link) -> jax.Array:
    """The log probability of y from the thresholds above and below; the outer classes have only one of them."""
    first, last = y == 0, y == K - 1
    # From the side of the smaller tail, so that no digits cancel.
    high = a + b > 0
    a_, b_ = jnp.where(first | last, 1, a), jnp.where(first | last, -1, b)
    near, far = (
        jnp.where(high, link.log_complement(b_), link.log_inverse(a_)),
        jnp.where(high, link.log_complement(a_), link.log_inverse(b_)),
    )
    between = near + _log1mexp(near - far)
    return jnp.where(
        first,
        link.log_inverse(jnp.where(first, a, 0)),
        jnp.where(last, link.log_complement(jnp.where(last, b, 0)), between),
    )


class Setup(NamedTuple):
    """The problem without penalty: the y of data holds whole numbers, its offset is a part of the predictor."""

    data: Data
    link: Link
    frame: Frame
    K: int
    blocked: bool


def _around(t: jax.Array, y: jax.Array, eta: jax.Array, K: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The distances a, b, and which threshold is above and below: (n, K - 1) of 0 and 1 each."""
    each = jnp.arange(K - 1, dtype=y.dtype)[None]
    above, below = (y[:, None] == each).astype(t.dtype), (y[:, None] - 1 == each).astype(t.dtype)
    return dot(above, t) - eta, dot(below, t) - eta, above, below


def _slopes(a: jax.Array, b: jax.Array, y: jax.Array, K: int, link: Link) -> tuple[jax.Array, jax.Array]:
    """Derivatives of -log P by a and by b, row by row."""
    total = lambda a, b: -log_probability(a, b, y, K, link).sum()  # noqa: E731
    return jax.grad(total, (0, 1))(a, b)


def _predictor(
    f: Frame, theta: jax.Array, X: jax.Array, w: jax.Array | None, offset: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The scaled columns Z, the predictor eta and the weights w."""
    Z, w = masked(f.columns(X), w)
    eta = dot(Z, theta[: X.shape[1]])
    return Z, eta if offset is None else eta + offset, w


def _evaluate(setup: Setup, theta: jax.Array) -> newton.Evaluation:
    """The mean loss, infinite where the thresholds are out of order, and its gradient."""
    data, link, f, K, blocked = setup
    p = data.X.shape[1]

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None, offset: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        Z, eta, w = _predictor(f, theta, X, w, offset)
        a, b, above, below = _around(theta[p:], y, eta, K)
        ga, gb = (weighted(w, g) for g in _slopes(a, b, y, K, link))
        value = weighted(w, -log_probability(a, b, y, K, link)).sum()
        return value, jnp.append(-dot((ga + gb)[None], Z)[0], dot(ga, above) + dot(gb, below))

    value, gradient = sum_blocks(sums, tuple(data), blocked=blocked)
    weight = positive(data.weight)
    # Infinite where the thresholds are out of order: the search shortens the step.
    return newton.Evaluation(jnp.where(jnp.isnan(value), jnp.inf, value) / weight, gradient / weight)


def _hessian(setup: Setup, theta: jax.Array) -> jax.Array:
    data, link, f, K, blocked = setup
    p = data.X.shape[1]

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None, offset: jax.Array | None) -> tuple[jax.Array, ...]:
        Z, eta, w = _predictor(f, theta, X, w, offset)
        a, b, above, below = _around(theta[p:], y, eta, K)
        slopes = lambda a, b: _slopes(a, b, y, K, link)  # noqa: E731
        one, none = jnp.ones_like(a), jnp.zeros_like(a)
        haa, hab = (weighted(w, h) for h in jax.jvp(slopes, (a, b), (one, none))[1])
        hbb = weighted(w, jax.jvp(slopes, (a, b), (none, one))[1][1])
        # The derivative of a and of b by eta is -1.
        cross = (haa + hab)[:, None] * above + (hab + hbb)[:, None] * below
        mixed = dot((hab[:, None] * above).T, below)
        corner = dot((haa[:, None] * above).T, above) + dot((hbb[:, None] * below).T, below) + mixed + mixed.T
        return symmetric_product(Z * (haa + 2 * hab + hbb)[:, None], Z), -dot(Z.T, cross), corner

    H, C, T = sum_blocks(sums, tuple(data), blocked=blocked)
    H = jnp.concatenate([jnp.concatenate([mirror(H), C], 1), jnp.concatenate([C.T, T], 1)])
    return H / positive(data.weight)


def solve(
    data: Data, link: Link, l2: jax.Array, init: Thresholds | None, *, K: int, valid: jax.Array, blocked: bool,
    tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit data with l2 scalar or (p,); valid (n,): where y is one of the classes.  Fit(Thresholds, Info)."""
    p, dtype = data.X.shape[1], data.X.dtype
    live = (data, link, jnp.broadcast_to(l2, (p,)))
    data, link, l2 = implicit.frozen(live)
    tol = tolerance(tol, dtype)
    f = design.frame(data.X, data.w, True, blocked)
    setup = Setup(data, link, f, K, blocked)
    counts = dot(
        (data.y[None] == jnp.arange(K, dtype=data.y.dtype)[:, None]).astype(dtype), or_ones(data.w, data.X[:, 0])
    )
    unit = jnp.append(design.column_norms(data, f, True, bulk=True), jnp.ones(K - 1, dtype))
    ridge = jnp.append(l2 * f.scale**2, jnp.zeros(K - 1, dtype))

    def evaluate(theta: jax.Array) -> newton.Evaluation:
        e = _evaluate(setup, theta)
        return newton.Evaluation(e.value + 0.5 * (ridge * theta * theta).sum(), e.gradient + ridge * theta)

    def longest(theta: jax.Array, d: jax.Array) -> jax.Array:
        """The first trial: a full step, or what closes 99 % of a gap between thresholds if that would close more."""
        gap, change = jnp.diff(theta[p:]), jnp.diff(d[p:])
        limits = jnp.where(gap + change > 0.01 * gap, 1, -0.99 * gap / jnp.where(change < 0, change, -1))
        return jnp.append(limits, jnp.ones(1, dtype)).min()

    def form(theta: jax.Array, _: jax.Array) -> Factor:
        return newton.factored(_hessian(setup, theta) + jnp.diag(ridge), rare)

    theta = _start(init, setup, counts)
    state, status, n_iter = newton.minimise(
        newton.Problem(evaluate, form), theta, unit, rule=newton.EXACT, metric=Factor.like(ridge), patience=None,
        cautious=~(l2.min() > 0), tol=tol, max_iter=max_iter, longest=longest, rare=rare,
    )  # fmt: skip

    coef = state.theta[:p] * f.scale
    params = Thresholds(coef, state.theta[p:] + dot(f.centre, coef), link)
    # As in `penalised`.
    long = newton.strides(state.last, tol) & ~(l2.min() > 0)
    absent = (counts <= 0).any()
    if rare.lean:
        rare.note((long & (status == Status.CONVERGED)) | absent | ~_allowed(data, valid) | ~_sound(data, l2))
        rare.note(~all_finite(state.value, *params[:2]))
        return Fit(params, Info(status, n_iter, state.value, state.optimality))
    diverges, terms = when(
        ((status == Status.CONVERGED) & long) | (status == Status.STALLED),
        lambda _: _last_look(setup, state.theta, state.last, (ridge * state.theta * state.last).sum()),
        (jnp.array(False), jnp.zeros_like(state.theta)),
    )
    rounded = (jnp.abs(state.gradient) / (unit + newton.rounding(terms, tol))).max()
    status, optimality = newton.resolved(status, state.optimality, rounded, tol)
    separable = (diverges & long & (status == Status.CONVERGED)) | absent
    status = jnp.where(separable, Status.SEPARABLE, status)
    params = _attach(params, live, setup)
    info = Info(status, n_iter, *implicit.frozen((state.value, optimality)))
    return _finish(params, info, live, valid)


def _last_look(setup: Setup, theta: jax.Array, d: jax.Array, penalty: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `linear_loss.last_look`."""
    data, link, f, K, _ = setup
    p = data.X.shape[1]
    Z, eta, w = _predictor(f, theta, data.X, data.w, data.offset)
    a, b, above, below = _around(theta[p:], data.y, eta, K)
    ga, gb = _slopes(a, b, data.y, K, link)
    change = dot(Z, d[:p])
    up, down = dot(above, d[p:]) - change, dot(below, d[p:]) - change
    # The outer classes have a threshold on one side alone.
    most = jnp.maximum(jnp.abs(up) * above.sum(1), jnp.abs(down) * below.sum(1))
    most = most if w is None else jnp.where(w > 0, most, 0)
    ga, gb = weighted(w, ga), weighted(w, gb)
    diverges = linear_loss.recedes(ga * up + gb * down, most, data.weight * penalty)
    sizes = jnp.abs(ga)[None] * above.T + jnp.abs(gb)[None] * below.T
    terms = jnp.append(dot(sizes.sum(0), jnp.abs(Z)), sizes.sum(1))
    return diverges, terms / positive(data.weight)


def _start(init: Thresholds | None, setup: Setup, counts: jax.Array) -> jax.Array:
    """The theta of init, or zero coefficients with thresholds that give the shares of the classes."""
    f = setup.frame
    if init is not None:
        coef, t = (jnp.asarray(a, counts.dtype) for a in init[:2])
        return jnp.append(coef / f.scale, t - dot(f.centre, coef))
    some = counts + 1e-3 * counts.sum()  # positive for an absent class too
    share = jnp.cumsum(some)[:-1] / some.sum()
    offset = setup.data.offset
    mean = 0 if offset is None else dot(or_ones(setup.data.w, setup.data.X[:, 0]), offset) / positive(counts.sum())
    return jnp.append(jnp.zeros_like(f.scale), setup.link(share) + mean)


def _attach(params: Thresholds, live: Any, setup: Setup) -> Thresholds:
    """Attach derivatives to params: the gradient vanishes."""
    data, link, l2 = live
    data = data.masked()
    f, K, p = setup.frame, setup.K, data.X.shape[1]
    params = implicit.frozen(params)

    def residual(params: Thresholds) -> Thresholds:
        eta = dot(data.X, params.coef)
        eta = eta if data.offset is None else eta + data.offset
        a, b, above, below = _around(params.thresholds, data.y, eta, K)
        w = or_ones(data.w, data.X[:, 0]) / data.weight
        ga, gb = (w * g for g in _slopes(a, b, data.y, K, link))
        return params._replace(coef=l2 * params.coef - dot(ga + gb, data.X), thresholds=dot(ga, above) + dot(gb, below))

    def inverse(b: Thresholds) -> Thresholds:
        """Solve in the scaled coordinates of the passes: coef = scale u, thresholds = t + centre'coef."""
        _, _, l2_ = implicit.frozen(live)
        theta = jnp.append(params.coef / f.scale, params.thresholds - dot(f.centre, params.coef))
        ridge = jnp.append(l2_ * f.scale**2, jnp.zeros(K - 1, theta.dtype))
        T = cholesky.inverse_root(_hessian(setup, theta) + jnp.diag(ridge))
        x = solve_root(T, jnp.append(f.scale * (b.coef + f.centre * b.thresholds.sum()), b.thresholds))
        coef = x[:p] * f.scale
        return b._replace(coef=coef, thresholds=x[p:] + dot(f.centre, coef))

    return implicit.root(residual, params, inverse)


def _allowed(data: Data, valid: jax.Array) -> jax.Array:
    return (valid if data.w is None else valid | (data.w == 0)).all()


def _sound(data: Data, l2: jax.Array) -> jax.Array:
    return data.weights_valid & (l2 >= 0).all()


def _finish(params: Thresholds, info: Info, live: Any, valid: jax.Array) -> Fit:
    """The Fit: Status, and NaN where there is no solution."""
    data, _, l2 = implicit.frozen(live)
    allowed, sound = _allowed(data, valid), _sound(data, l2)
    total = data.weight + l2.sum() + (0 if data.offset is None else data.offset.sum())
    data = data.masked()
    total += 0 if data.w is None else data.w.sum()
    finite = jnp.isfinite(total) & jnp.isfinite(dot(jnp.ones_like(data.X[:, 0]), data.X)).all()
    return finish(
        params,
        info,
        (finite, Status.NONFINITE),
        (allowed, Status.DOMAIN),
        (sound, Status.SINGULAR),
        (all_finite(info.objective, *jax.tree.leaves(implicit.frozen(params))), Status.NONFINITE),
    )


@partial(jax.jit, static_argnames="K")
@replicated
def objective(params: Thresholds, data: Data, l2: jax.Array, *, K: int) -> jax.Array:
    """The objective at any params."""
    data = data.masked()
    eta = dot(data.X, params.coef)
    eta = eta if data.offset is None else eta + data.offset
    a, b, _, _ = _around(params.thresholds, data.y, eta, K)
    w = or_ones(data.w, data.X[:, 0])
    loss = weighted(w, -log_probability(a, b, data.y, K, params.link)).sum() / w.sum()
    return loss + 0.5 * (l2 * params.coef * params.coef).sum()


def probability_of(params: Thresholds, eta: jax.Array, k: int) -> jax.Array:
    """The log probability of y = k of each row, (n,)."""
    y, K = jnp.full(eta.shape, k, jnp.int32), len(params.thresholds) + 1
    a, b, _, _ = _around(params.thresholds.astype(eta.dtype), y, eta, K)
    return log_probability(a, b, y, K, params.link)
