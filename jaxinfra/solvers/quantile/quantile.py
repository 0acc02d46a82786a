r"""Quantile regression of one quantile, from data to `Fit`: `interior_point`, then a vertex near it."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit, order
from jaxinfra._core.absent import masked, or_ones
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import all_finite, dot, eps, positive, tolerance
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Linear, Status
from jaxinfra.solvers.linalg import design
from jaxinfra.solvers.methods.mehrotra import Point
from jaxinfra.solvers.quantile import interior_point, vertex

# Relative gap from which the exchanges of `vertex` are faster than more of `interior_point`.  Iterations of both
# together over 80 problems: 1e-4 takes 4 % fewer, 1e-6 2 % more; half and twice change 1 % or none.
_NEAR = 1e-5


class _State(NamedTuple):
    """The interior point and the vertex near it, whether that was tried before, and the iterations of both."""

    point: Point
    corner: vertex.Vertex
    tried: jax.Array
    n_iter: jax.Array


def solve(
    live: tuple[jax.Array, jax.Array], X: jax.Array, y: jax.Array, w: jax.Array | None, l1: jax.Array,
    init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, fit_intercept: bool, blocked: bool,
    tau: jax.Array, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit one quantile; X, y, w, l1 are constants, `live` holds X and y for the derivatives.

    Rare: a second attempt, an end that is no optimal vertex, normal matrices that need a second factorisation.
    """
    n, dtype = len(y), X.dtype
    X, w = masked(X, w)
    f = design.frame(X, w, fit_intercept, blocked)
    w = or_ones(w, y)
    tau = implicit.frozen(tau)
    tol = tolerance(tol, dtype)
    total = w.sum()
    sound = (total > 0) & (w >= 0).all() & (l1 >= 0).all() & (tau > 0) & (tau < 1)
    finite = jnp.isfinite(y.sum() + total + l1.sum() + tau)
    if not rare.lean:  # NaN and inf in X reach the value
        finite &= jnp.isfinite(dot(jnp.ones_like(y), X)).all()

    # Rows times their weights, of mean 1, centred and scaled.
    mean = w / jnp.where(total > 0, total / n, 1)
    V = f.design(X, fit_intercept)
    level = order.quantile(y, w, tau) if fit_intercept else jnp.zeros((), dtype)
    present = (mean > 0).astype(dtype)
    ridge = f.penalty(l1 * n, fit_intercept, 1)
    program = interior_point.with_penalty(
        jnp.where(mean[:, None] > 0, V * mean[:, None], 0), jnp.where(mean > 0, (y - level) * mean, 0),
        (tau - 1) * present, tau * present, ridge,
    )  # fmt: skip
    null = program.loss(program.y).sum()
    null = positive(null)

    inside = partial(interior_point.solve, program, blocked=blocked, once=rare.lean)
    near = null * jnp.maximum(jnp.asarray(_NEAR, dtype), 64 * eps(dtype))

    def attempt(state: _State) -> tuple[_State, Verdict]:
        """The interior point to a gap near the optimum, then exchanges to a vertex; the second time down to tol."""
        goal = jnp.where(state.tried, jnp.minimum(null * jnp.maximum(tol, 64 * eps(dtype)), near), near)
        most = max_iter - state.n_iter
        point, status, n_iter = inside(state.point, goal=goal, max_iter=most)
        # Exchanges that find no optimal vertex leave half of the iterations to the interior point.
        most = jnp.where(state.tried, most - n_iter, (most - n_iter) // 2)
        corner, exchanges = vertex.solve(program, point, max_iter=most)
        new = _State(point, corner, jnp.array(True), state.n_iter + n_iter + exchanges)
        return new, Verdict(corner.optimal | state.tried, status)

    start = _start(program, init, f, level, tau, fit_intercept, blocked, rare.lean)
    none = vertex.Vertex(start, jnp.zeros(start.shape, jnp.int32), jnp.array(False))
    state = _State(interior_point.begin(program, start), none, jnp.array(False), jnp.int32(0))
    if rare.lean:
        state, (_, status) = attempt(state)
    else:
        state, status, _ = drive(attempt, state, max_iter=2)
    point, corner, _, n_iter = state

    # A row of the penalty in the basis is a coefficient of 0, to which the inverse adds its rounding.
    place = n + jnp.arange(V.shape[1], dtype=corner.basis.dtype)
    zero = (corner.basis[:, None] == place[None]).any(0)
    corner = corner._replace(b=jnp.where(zero, 0, corner.b))

    # The better of the two points; an optimal vertex where they differ only by rounding.
    both = jnp.stack([corner.b, point.x])
    values = jax.vmap(lambda b: program.loss(program.residual(b)).sum())(both)
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    at_corner = values[0] <= values[1] * jnp.where(corner.optimal, 1 + 64 * eps(dtype), 1)
    if rare.lean:
        rare.note(~(corner.optimal & at_corner))
        theta, value, gap, status = corner.b, values[0], jnp.zeros((), dtype), jnp.int32(Status.CONVERGED)
    else:
        theta, value = jnp.where(at_corner, corner.b, point.x), jnp.where(at_corner, values[0], values[1])
        # An optimal vertex has the least value up to rounding; else the dual value of the interior point bounds it.
        # The rounding in V'd = 0 counts times the size of the best parameters: of these, or of the last vertex, which
        # is large where the data determine a direction to few digits.
        size = jnp.maximum(jnp.abs(theta), jnp.where(jnp.isfinite(corner.b), jnp.abs(corner.b), 0))
        d = program.dual(point)
        infeasible = dot(size, jnp.abs(dot(d, program.V)))
        bound = jnp.maximum(value - dot(program.y, d), 0) + infeasible
        gap = jnp.where(corner.optimal, jnp.where(at_corner, 0, values[0] - value), bound) / null
        status = jnp.where(status == Status.CONVERGED, Status.STALLED, status)
        status = jnp.where(gap <= tol, Status.CONVERGED, status)

    params = f.params_of(theta, fit_intercept)
    params = params._replace(intercept=params.intercept + level)
    return finish(
        params if rare.lean else _attach(params, live, corner.basis, fit_intercept),
        Info(status, n_iter, value / n, gap),
        (finite, Status.NONFINITE),
        (sound, Status.SINGULAR),
        (all_finite(value, *params), Status.NONFINITE),
        rare=rare,
    )


def _start(
    program: interior_point.Program, init: Linear | None, f: design.Frame, level: jax.Array, tau: jax.Array,
    fit_intercept: bool, blocked: bool, once: bool,
) -> jax.Array:  # fmt: skip
    """The theta of init, or of least squares with the intercept moved to the quantile."""
    if init is not None:
        coef, intercept = (jnp.asarray(a, level.dtype) for a in init)
        return f.theta_of(Linear(coef, intercept - level), fit_intercept)
    b = interior_point.least_squares(program, blocked=blocked, once=once)
    if not fit_intercept:
        return b
    w = jnp.where(program.present, program.V[:, -1], 0)
    r = program.residual(b) / positive(w)
    return b.at[-1].add(order.quantile(r, w, tau))


def _attach(params: Linear, live: tuple[jax.Array, jax.Array], basis: jax.Array, fit_intercept: bool) -> Linear:
    """Attach derivatives to params: the rows of the basis have residual 0; those of the penalty, a coefficient of 0."""
    X, y = live
    p = X.shape[1]

    def system(X: jax.Array) -> jax.Array:
        V = design.with_ones(X) if fit_intercept else X
        return _rows(V, basis)

    def join(v: Linear) -> jax.Array:
        return jnp.append(v.coef, v.intercept) if fit_intercept else v.coef

    def part(v: jax.Array, rest: Linear) -> Linear:
        return Linear(v[:p], v[p] if fit_intercept else rest.intercept)

    def residual(params: Linear) -> Linear:
        return part(dot(system(X), join(params)) - _values(y, basis), params)

    def inverse(b: Linear, trans: int = 0) -> Linear:
        lu = jax.scipy.linalg.lu_factor(system(implicit.frozen(X)))
        return part(jax.scipy.linalg.lu_solve(lu, join(b), trans=trans), b)

    return implicit.root(residual, params, inverse, partial(inverse, trans=1))


def _rows(V: jax.Array, basis: jax.Array) -> jax.Array:
    """The rows `basis` (q,) of V (n, q) over the identity."""
    n, q = V.shape
    unit = (basis[:, None] - n == jnp.arange(q, dtype=basis.dtype)[None]).astype(V.dtype)
    return jnp.where((basis < n)[:, None], V[jnp.minimum(basis, n - 1)], unit)


def _values(y: jax.Array, basis: jax.Array) -> jax.Array:
    """The values of y (n,) in the rows of the basis, 0 in those of the penalty."""
    return jnp.where(basis < len(y), y[jnp.minimum(basis, len(y) - 1)], 0)
