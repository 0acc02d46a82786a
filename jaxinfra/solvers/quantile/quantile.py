r"""Quantile regression of one quantile, from data to `Fit`: `interior_point`, then a vertex near it."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit, order
from jaxinfra._core.absent import masked
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import all_finite, dot, eps, positive, tolerance
from jaxinfra._core.types import Fit, Info, Linear, Status
from jaxinfra.solvers.linalg import design
from jaxinfra.solvers.quantile import interior_point, vertex

_NEAR = 1e-5  # relative gap from which the exchanges of `vertex` are faster than more of `interior_point`


class _State(NamedTuple):
    """The interior point and the vertex near it, whether that was tried before, and the iterations of both."""

    point: interior_point.Point
    corner: vertex.Vertex
    tried: jax.Array
    n_iter: jax.Array


def solve(
    live: tuple[jax.Array, jax.Array], X: jax.Array, y: jax.Array, w: jax.Array, l1: jax.Array, init: Linear | None,
    tol: jax.Array | None, max_iter: jax.Array, fit_intercept: bool, blocked: bool, tau: jax.Array,
) -> Fit:  # fmt: skip
    """Fit one quantile; X, y, w, l1 are constants, `live` holds X and y for the derivatives."""
    n, dtype = len(y), X.dtype
    X, w = masked(X, w)
    tau = implicit.frozen(tau)
    tol = tolerance(tol, dtype)
    total = w.sum()
    sound = (total > 0) & (w >= 0).all() & (l1 >= 0).all() & (tau > 0) & (tau < 1)
    finite = jnp.isfinite(dot(jnp.ones_like(y), X)).all() & jnp.isfinite(y.sum() + total + l1.sum() + tau)

    # Rows times their weights, of mean 1, centred and scaled.
    f = design.frame(X, w, fit_intercept, blocked)
    mean = w / jnp.where(total > 0, total / n, 1)
    V = f.design(X, fit_intercept)
    level = order.quantile(y, w, tau) if fit_intercept else jnp.zeros((), dtype)
    present = (mean > 0).astype(dtype)
    ridge = f.penalty(l1 * n, fit_intercept, 1)
    program = interior_point.Program(
        jnp.where(mean[:, None] > 0, V * mean[:, None], 0), jnp.where(mean > 0, (y - level) * mean, 0),
        (tau - 1) * present, tau * present, ridge,
    )  # fmt: skip
    null = program.loss(program.y).sum()
    null = positive(null)

    start = _start(program, init, f, level, tau, fit_intercept, blocked)

    def attempt(state: _State) -> tuple[_State, Verdict]:
        """The interior point to a gap near the optimum, then exchanges to a vertex; the second time down to tol."""
        goal = jnp.where(state.tried, jnp.minimum(tol, _NEAR), jnp.asarray(_NEAR, dtype))
        goal = null * jnp.maximum(goal, 64 * eps(dtype))
        most = max_iter - state.n_iter
        point, status, n_iter = interior_point.solve(program, state.point, goal=goal, max_iter=most, blocked=blocked)
        # Exchanges that find no optimal vertex leave half of the iterations to the interior point.
        most = jnp.where(state.tried, most - n_iter, (most - n_iter) // 2)
        corner, exchanges = vertex.solve(program, point, max_iter=most)
        new = _State(point, corner, jnp.array(True), state.n_iter + n_iter + exchanges)
        return new, Verdict(corner.optimal | state.tried, status)

    none = vertex.Vertex(start, jnp.zeros(start.shape, jnp.int32), jnp.array(False))
    state = _State(interior_point.begin(program, start), none, jnp.array(False), jnp.int32(0))
    (point, corner, _, n_iter), status, _ = drive(attempt, state, max_iter=2)

    # The better of the two points; an optimal vertex where they differ only by rounding.
    values = jnp.stack([program.value(corner.b), program.value(point.b)])
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    at_corner = values[0] <= values[1] * jnp.where(corner.optimal, 1 + 64 * eps(dtype), 1)
    theta, value = jnp.where(at_corner, corner.b, point.b), jnp.where(at_corner, values[0], values[1])
    # An optimal vertex has the least value up to rounding; else the dual value of the interior point bounds it.  The
    # rounding in V'd + e = 0 counts times the size of the best parameters: of these, or of the last vertex, which is
    # large where the data determine a direction to few digits.
    size = jnp.maximum(jnp.abs(theta), jnp.where(jnp.isfinite(corner.b), jnp.abs(corner.b), 0))
    infeasible = dot(size, jnp.abs(dot(point.d, program.V) + point.e))
    inside = jnp.maximum(value - dot(program.y, point.d), 0) + infeasible
    gap = jnp.where(corner.optimal, jnp.where(at_corner, 0, values[0] - value), inside) / null
    status = jnp.where(status == Status.CONVERGED, Status.STALLED, status)
    status = jnp.where(gap <= tol, Status.CONVERGED, status)

    params = f.params_of(theta, fit_intercept)
    params = params._replace(intercept=params.intercept + level)
    return finish(
        _attach(params, live, corner.basis, fit_intercept),
        Info(status, n_iter, value / n, gap),
        (finite, Status.NONFINITE),
        (sound, Status.SINGULAR),
        (all_finite(value, *params), Status.NONFINITE),
    )


def _start(
    program: interior_point.Program, init: Linear | None, f: design.Frame, level: jax.Array, tau: jax.Array,
    fit_intercept: bool, blocked: bool,
) -> jax.Array:  # fmt: skip
    """The theta of init, or of least squares with the intercept moved to the quantile."""
    if init is not None:
        coef, intercept = (jnp.asarray(a, level.dtype) for a in init)
        return f.theta_of(Linear(coef, intercept - level), fit_intercept)
    b = interior_point.least_squares(program, blocked=blocked)
    if not fit_intercept:
        return b
    w = program.V[:, -1]
    r = program.residual(b) / positive(w)
    return b.at[-1].add(order.quantile(r, w, tau))


def _attach(params: Linear, live: tuple[jax.Array, jax.Array], basis: jax.Array, fit_intercept: bool) -> Linear:
    """Attach derivatives to params: the rows of the basis have residual 0; those of the penalty, a coefficient of 0."""
    X, y = live
    p = X.shape[1]

    def system(X: jax.Array) -> jax.Array:
        V = design.with_ones(X) if fit_intercept else X
        return vertex.rows(V, basis)

    def join(v: Linear) -> jax.Array:
        return jnp.append(v.coef, v.intercept) if fit_intercept else v.coef

    def part(v: jax.Array, rest: Linear) -> Linear:
        return Linear(v[:p], v[p] if fit_intercept else rest.intercept)

    def residual(params: Linear) -> Linear:
        return part(dot(system(X), join(params)) - vertex.values(y, basis), params)

    def inverse(b: Linear, trans: int = 0) -> Linear:
        lu = jax.scipy.linalg.lu_factor(system(implicit.frozen(X)))
        return part(jax.scipy.linalg.lu_solve(lu, join(b), trans=trans), b)

    return implicit.root(residual, params, inverse, partial(inverse, trans=1))
