r"""Weighted medians of points: of numbers, and of vectors, the point of the smallest mean distance to all of them.

    minimise over theta  sum_t v_t |theta - theta_t|_2 / sum v

Each step is Weiszfeld's, the mean of the points weighted by their inverse distances, or Newton's where that gives a
lower value.  At a data point the step of Vardi and Zhang 2000 moves on, or shows that the point is the median.

Source: Weiszfeld 1937; Vardi and Zhang 2000.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit, order
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.products import norms


def median(v: jax.Array, w: jax.Array) -> jax.Array:
    """The weighted median of v (n,): the mean of the two middle entries, differentiable."""
    fixed = implicit.frozen(v)
    at = [jnp.argmax((fixed == m) & (w > 0)) for m in order.median(fixed, w)]
    return 0.5 * (v[at[0]] + v[at[1]])


class _View(NamedTuple):
    """The terms of the gradient at theta, without the points that coincide with theta."""

    away: jax.Array  # unit vectors of theta - theta_t, (m, q)
    inverse: jax.Array  # v_t / distance, 0 for the points that coincide with theta
    pull: jax.Array  # the gradient without those points
    rest: jax.Array  # its length less the weight of those points, at least 0: the length of the smallest subgradient
    share: jax.Array  # rest / |pull|


def _view(points: jax.Array, v: jax.Array, theta: jax.Array) -> _View:
    away = theta[None] - points
    length = norms(away.T)
    apart = length > eps(points.dtype) * jnp.abs(theta).max()
    length = jnp.where(apart, length, 1)
    inverse, away = jnp.where(apart, v / length, 0), away / length[:, None]
    pull = dot(jnp.where(apart, v, 0), away)
    size = jnp.sqrt(dot(pull, pull))
    rest = jnp.maximum(size - jnp.where(apart, 0, v).sum(), 0)
    return _View(away, inverse, pull, rest, rest / positive(size))


def _curvature(view: _View) -> jax.Array:
    """The Hessian, without the points that coincide with theta."""
    eye = jnp.eye(view.away.shape[1], dtype=view.away.dtype)
    return view.inverse.sum() * eye - dot(view.away.T, view.inverse[:, None] * view.away)


def _shares(weight: jax.Array) -> jax.Array:
    total = weight.sum()
    return weight / positive(total)


def distance(points: jax.Array, weight: jax.Array, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean distance from theta, and the length of its smallest subgradient."""
    v = _shares(weight)
    view = _view(points, v, theta)
    return dot(v, norms((theta[None] - points).T)), view.rest


def solve(
    points: jax.Array, weight: jax.Array, start: jax.Array | None, *, tol: jax.Array, max_iter: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Solve for points (m, q) with weights (m,): (theta, status, iterations), theta differentiable in the points."""
    if points.shape[1] == 1:  # no curvature, and any number between two points may be the median
        return median(points[:, 0], weight)[None], jnp.int32(Status.CONVERGED), jnp.int32(1)
    fixed, v = implicit.frozen((points, _shares(weight)))
    # The medians of the coordinates are a start that no outlier moves far.
    theta = jax.vmap(median, (1, None))(fixed, v) if start is None else implicit.frozen(start)

    def step(theta: jax.Array) -> tuple[jax.Array, Verdict]:
        view = _view(fixed, v, theta)
        inverse = view.inverse.sum()
        weiszfeld = theta - view.share * view.pull / positive(inverse)
        newton = theta - jnp.linalg.solve(_curvature(view), view.pull)
        lower = distance(fixed, v, newton)[0] <= distance(fixed, v, weiszfeld)[0]
        done = view.rest <= tol
        new = jnp.where(jnp.isfinite(newton).all() & lower, newton, weiszfeld)
        return jnp.where(done, theta, new), Verdict(done, jnp.int32(Status.CONVERGED))

    theta, status, n_iter = drive(step, theta, max_iter=max_iter)

    view = _view(fixed, v, theta)
    apart = view.inverse > 0
    held = jnp.where(apart, 0, v)
    holds = (view.rest == 0) & (held.sum() > 0)  # the median is a data point and moves with it

    def residual(theta: jax.Array) -> jax.Array:
        away = jnp.where(apart[:, None], theta[None] - points, 1)
        pull = dot(jnp.where(apart, v / norms(away.T), 0), away)
        return jnp.where(holds, theta - dot(_shares(held), jnp.where(held[:, None] > 0, points, 0)), pull)

    def inverse(b: jax.Array) -> jax.Array:
        H = jnp.where(holds, jnp.eye(len(b), dtype=b.dtype), _curvature(view))
        return jnp.linalg.solve(H, b)

    return implicit.root(residual, theta, inverse), status, n_iter
