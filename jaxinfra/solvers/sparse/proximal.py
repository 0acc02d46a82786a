r"""Least squares with a penalty whose prox is known, from data to `Fit`: group and multitask lasso, nonnegativity.

    minimise  sum_i w_i |y_i - x_i'W - intercept|^2 / (2 sum w) + sum_j l2_j |W_j|^2 / 2 + h(W)

One pass over the rows gives the Gram matrix, `semismooth_newton` the solution of each of m penalties in turn.  Its
certificate comes from the residual of the data; where rounding of the Gram matrix leaves it above the tolerance, that
residual corrects the linear term and the solver goes on (as in `ridge`).  Derivatives: `_core.implicit` on the
optimality conditions of the features that are not at zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import implicit
from jaxinfra._core.absent import masked
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import all_finite, dot, eps, positive, tolerance
from jaxinfra._core.rows import replicated
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, GapInfo, Info, Linear, Status
from jaxinfra.solvers.least_squares import moments, refinement, residual, ridge
from jaxinfra.solvers.linalg import products
from jaxinfra.solvers.methods import semismooth_newton
from jaxinfra.solvers.sparse.group_norm import GroupNorm
from jaxinfra.solvers.sparse.nonnegative import Nonnegative

# Corrections of the linear term by the residual of the data.  With 2 one of 40 problems differs, with 8 none.
_CORRECTIONS = 4


class _State(NamedTuple):
    W: jax.Array  # (p, k)
    C: jax.Array  # the linear term
    shift: jax.Array  # (k,): intercept - (y_mean - x_mean'W)
    objective: jax.Array
    gap: jax.Array  # zero without one
    optimality: jax.Array
    n_iter: jax.Array
    spent: jax.Array


def path(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array, l2: jax.Array,
    penalty: Callable[[jax.Array], GroupNorm | Nonnegative], init: Linear | None, *, fit_intercept: bool, blocked: bool,
    tol: jax.Array | None, max_iter: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Solutions for m penalties, each started at the one before: Fit with leading axis m.

    X (n, p), y (n, k), w (n,) or None, l1 (m, ...) whose rows `penalty` turns into h, l2 (p,), init of coef (p, k).
    """
    p, dtype = X.shape[1], X.dtype
    live = (X, y, w, l2)
    X, y, w, l2 = implicit.frozen(live)
    tol = tolerance(tol, dtype)
    m = moments.moments(X, y, w, centre=fit_intercept, blocked=blocked)
    valid = refinement.solvable(w, l2, m.weight) & (l1 >= 0).all()
    finite = all_finite(m.c, m.yy, products.diagonal(m.G), l2, implicit.frozen(l1))
    usable = valid & finite
    weight = positive(m.weight)
    eye = jnp.eye(p, dtype=dtype)
    l2 = jnp.where(usable, l2, 0)
    H = jnp.where(usable, m.G / weight, eye) + l2[:, None] * eye
    C = jnp.where(usable, m.c / weight, 0)
    null = 0.5 * jnp.where(usable, m.yy.sum() / weight, 1)
    null = positive(null)
    norms = jnp.sqrt(jnp.where(products.diagonal(m.G) > 0, products.diagonal(m.G) / weight, 1))

    def one(start: jax.Array, l1: jax.Array) -> tuple[jax.Array, tuple[Fit, jax.Array]]:
        within = Rare(lean=rare.lean)  # what this penalty needs
        h = penalty(jnp.where(usable, implicit.frozen(l1), 0))
        q = semismooth_newton.quadratic(H, C, h)

        def certify(s: _State) -> _State:
            """The certificate at W from the data, and the linear term with the gradient of the data at W."""
            res = residual.plain(X, y, w, m.x_mean, m.y_mean, s.W, s.shift, blocked=blocked)
            g = res.g / weight - l2[:, None] * s.W
            offset = res.total / weight if fit_intercept else jnp.zeros_like(res.total)
            square = (res.square.sum() - (res.total * offset).sum()) / weight + (l2[:, None] * s.W * s.W).sum()
            objective = 0.5 * square + h.value(s.W)
            if isinstance(h, GroupNorm):
                gap = h.gap(s.W, g, square, H, within)
                optimality = gap / null
            else:
                gap = jnp.zeros_like(objective)
                kkt = jnp.abs(h.subgradient(s.W, -g)).max(1)
                optimality = (kkt / (norms * jnp.sqrt(2 * null))).max()
            return s._replace(
                C=dot(H, s.W) + g, shift=s.shift + offset, objective=objective, gap=gap, optimality=optimality
            )

        def correct(s: _State) -> _State:
            W, status, n_iter = semismooth_newton.minimise(
                q._replace(C=s.C), h, s.W, max_iter=jnp.maximum(max_iter - s.n_iter, 0)
            )
            return certify(s._replace(W=W, n_iter=s.n_iter + n_iter, spent=status == Status.MAX_ITER))

        def step(s: _State) -> tuple[_State, Verdict]:
            new = correct(s)
            # Another correction is worthwhile as long as the last one halved the optimality: a quarter and 0.9 for the
            # half, and half and twice the 0.01, change the iterations of 40 problems by less than 1 %.
            better = new.optimality < 0.5 * s.optimality
            best = jax.tree.map(lambda a, b: jnp.where(new.optimality <= s.optimality, a, b), new, s)
            best = best._replace(n_iter=new.n_iter, spent=new.spent)
            done = (best.optimality <= 0.01 * tol) | ~better | new.spent
            return best, Verdict(done, jnp.int32(Status.CONVERGED))

        big = jnp.asarray(jnp.inf, dtype)
        begin = _State(h.clip(start), C, jnp.zeros_like(m.y_mean), big, big, big, jnp.int32(0), jnp.array(False))
        if rare.lean:
            s = correct(begin)
            within.note(~(usable & (s.optimality <= jnp.minimum(tol, jnp.maximum(0.01 * tol, 4 * eps(dtype))))))
        else:
            s, _, _ = drive(step, begin, max_iter=_CORRECTIONS)
        if isinstance(h, GroupNorm):
            # A group that only rounding keeps from zero, as at l1_max, is set to zero: 1 / |W_g| would be meaningless.
            # From 4 to 16 eps 180 fits do not differ.
            rounding = q.d * h.norms(s.W) <= 8 * eps(dtype) * h.norms(C).max()
            s = s._replace(W=jnp.where(rounding[:, None], 0, s.W))
        status = jnp.where(s.optimality <= tol, Status.CONVERGED, jnp.where(s.spent, Status.MAX_ITER, Status.STALLED))
        solved = all_finite(s.W, s.objective, s.optimality)
        coef = s.W if rare.lean else _attach(s.W, live, penalty(l1), h, H, fit_intercept)
        intercept, _ = residual.intercept(m.x_mean, m.y_mean, implicit.frozen(coef), s.shift)
        if not rare.lean or not fit_intercept:
            intercept = refinement.intercept(intercept, coef, live, fit_intercept)
        figures = (status, s.n_iter, s.objective, s.optimality)
        info = GapInfo(*figures, s.gap) if isinstance(h, GroupNorm) else Info(*figures)
        if rare.lean:
            # Every failed fit is left to the whole program: statuses and NaN are kernels too.
            within.note(~solved)
            info = info._replace(status=jnp.int32(Status.CONVERGED))
            return s.W, (Fit(Linear(coef, intercept), info), jnp.asarray(within.needed))
        tests = (finite & solved, Status.NONFINITE), (valid, Status.SINGULAR)
        return s.W, (finish(Linear(coef, intercept), info, *tests), jnp.asarray(within.needed))

    start = jnp.zeros((p, y.shape[1]), dtype) if init is None else jnp.asarray(init.coef, dtype)
    if len(l1) == 1:
        found, needed = jax.tree.map(lambda a: a[None], one(start, l1[0])[1])
    else:
        found, needed = lax.scan(one, start, l1)[1]
    rare.note(needed)
    return found


def _attach(
    W: jax.Array, live: refinement.Data, h: GroupNorm | Nonnegative, frozen: GroupNorm | Nonnegative, H: jax.Array,
    centre: bool,
) -> jax.Array:  # fmt: skip
    """Attach derivatives to W: the gradient vanishes in the features that are not at zero, W in the others."""
    X, y, w, l2 = live
    X, w = masked(X, w)
    assert l2 is not None
    weight, x_mean, y_mean = moments.weighted_means(X, y, w, centre)
    Z, target = X - x_mean[None], y - y_mean[None]
    active = frozen.active(W)[:, None]

    def conditions(W: jax.Array) -> jax.Array:
        V = jnp.where(active, W, 0)
        r = products.by_row(w, target - dot(Z, V)) / weight
        return jnp.where(active, l2[:, None] * V - dot(Z.T, r) + h.slope(V), W)

    inverse = frozen.newton(H, semismooth_newton.regulariser(products.diagonal(H)), W)
    return implicit.root(conditions, W, inverse)


def l1_max(
    X: jax.Array, y: jax.Array, w: jax.Array | None, size: Callable[[jax.Array], jax.Array], *, fit_intercept: bool,
    blocked: bool,
) -> jax.Array:  # fmt: skip
    """The largest of size(C) (p,), C = Z'W(y - y_mean) / sum w (p, k) the gradient at zero; NaN for weights
    that are negative or all 0."""
    m = moments.moments(X, y, w, centre=fit_intercept, blocked=blocked)
    largest = size(m.c / positive(m.weight)).max()
    return jnp.where(refinement.solvable(w, None, m.weight), largest, jnp.nan)


@jax.jit
@replicated
def objective(
    params: Linear, X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array, h: GroupNorm | Nonnegative
) -> jax.Array:
    """The objective at any params: coef (p,) or (p, k).  Infinite where coef is not feasible."""
    W = params.coef if params.coef.ndim == 2 else params.coef[:, None]
    l2 = jnp.broadcast_to(l2 if params.coef.ndim == 1 or l2.ndim == 0 else l2[:, None], params.coef.shape)
    value = ridge.objective(params, X, y, w, l2) + h.value(W)
    return jnp.where((h.clip(W) == W).all(), value, jnp.inf)


@partial(jax.jit, static_argnames="fit_intercept")
@replicated
def subgradient(
    params: Linear, X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array, h: GroupNorm | Nonnegative, *,
    fit_intercept: bool,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of smallest norm."""
    W = params.coef if params.coef.ndim == 2 else params.coef[:, None]
    l2 = jnp.broadcast_to(l2 if params.coef.ndim == 1 or l2.ndim == 0 else l2[:, None], params.coef.shape)
    g = ridge.gradient(params, X, y, w, l2, fit_intercept=fit_intercept)
    return g._replace(coef=h.subgradient(W, g.coef.reshape(W.shape)).reshape(params.coef.shape))


def single(fit: Fit) -> Fit:
    """The one fit of a path of one penalty."""
    return jax.tree.map(lambda a: a[0], fit)


def one_target(fit: Fit) -> Fit:
    """The fit of one target without its axis: coef (..., p) and intercept (...)."""
    return fit._replace(params=Linear(fit.params.coef[..., 0], fit.params.intercept[..., 0]))
