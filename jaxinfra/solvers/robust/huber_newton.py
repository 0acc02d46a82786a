r"""Newton's method for Huber's regression with its scale, of small data: all that a point is asked for in one pass.

With z the residuals over the scale s and A the scaled columns and one of ones, the sums over the rows of psi(z) A, of
the loss, and of what borders the Hessian are one product; the rest of the Hessian is A'hA.  A step that is too long is
shortened as in `methods.newton`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.absent import or_ones
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stages import Rare
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg import cholesky, design
from jaxinfra.solvers.linalg.cholesky import solve_root
from jaxinfra.solvers.linalg.design import Data, Frame
from jaxinfra.solvers.linalg.products import mirror, symmetric_product

_TRIALS = 30  # shorter steps before the fit counts as stalled


class Setup(NamedTuple):
    """Data without the penalty, y centred."""

    data: Data
    delta: jax.Array
    frame: Frame
    fit_intercept: bool
    blocked: bool


class Found(NamedTuple):
    """The last point that was accepted, in units of the frame."""

    theta: jax.Array
    value: jax.Array
    optimality: jax.Array


def outside_share(g: jax.Array, unit: jax.Array) -> jax.Array:
    """The share of the curvature beyond delta, see `huber._hessian`.

    Rows there have a slope but no curvature: where few rows are within, a Newton step is far too long.  The curvature
    of their majoriser bounds the step and vanishes with the gradient: the last steps are Newton's.
    """
    return jnp.minimum((jnp.abs(g) / unit).max(), 1)


def longest(theta: jax.Array, direction: jax.Array) -> jax.Array:
    """Length of the first trial: a full step, or what takes the scale 99 % of the way to 0 if that would go further."""
    s, ds = theta[-1], direction[-1]
    return jnp.where(s + ds > 0.01 * s, 1, -0.99 * s / jnp.where(ds < 0, ds, -1))


class _State(NamedTuple):
    line: jax.Array  # (2, q) an accepted point, and the step from it that is tried next
    # The value and the optimality there, the change of the value along the step, the length that is tried.
    numbers: jax.Array
    counts: jax.Array  # shorter lengths tried, and accepted steps whose change was rounding


def minimise(
    setup: Setup, theta: jax.Array, unit: jax.Array, ridge: jax.Array, tol: jax.Array, max_iter: jax.Array, rare: Rare
) -> tuple[Found, jax.Array, jax.Array]:
    """Newton's method for small data: value, gradient and Hessian of each point in one pass."""
    dtype, q = theta.dtype, len(theta)
    data, delta = setup.data.masked(), setup.delta
    w, weight = or_ones(data.w, data.y), positive(setup.data.weight)
    # A column of ones sums the rows; without an intercept it is one too many.
    A = design.with_ones(setup.frame.columns(data.X))
    last, size = jnp.arange(q) == q - 1, q - 1

    def evaluate(theta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The value, the gradient and the step."""
        s = theta[-1]
        z = (data.y - dot(A[:, :size], theta[:-1])) / s
        inside, clipped = jnp.abs(z) <= delta, jnp.clip(z, -delta, delta)
        within = jnp.where(inside, z, 0)
        parts = [clipped, 0.5 + clipped * (z - 0.5 * clipped), 0.5 - 0.5 * clipped * clipped, within, within * within]
        sums = dot(w[None] * jnp.stack(parts), A) / weight
        g = jnp.where(last, sums[2, -1], jnp.pad(-sums[0, :size], (0, 1))) + ridge * theta
        h = w * jnp.where(inside, 1, outside_share(g, unit) * delta / jnp.where(inside, 1, jnp.abs(z)))
        border = jnp.where(last, sums[4, -1], jnp.pad(sums[3, :size], (0, 1)))
        H = jnp.pad(mirror(symmetric_product(A[:, :size] * h[:, None], A[:, :size])) / weight, ((0, 1), (0, 1)))
        H = jnp.where(last[None], border[:, None], jnp.where(last[:, None], border[None], H)) / s
        T = cholesky.inverse_root(H + jnp.diag(ridge), once=rare.lean)
        value = jnp.where(s > 0, sums[1, -1] * s + 0.5 * dot(ridge * theta, theta), jnp.inf)
        return value, g, -solve_root(T, g)

    def step(state: _State) -> tuple[_State, Verdict]:
        theta, direction = state.line
        old, before, predicted, t = state.numbers
        tried = theta + t * direction
        value, g, new = evaluate(tried)
        optimality = (jnp.abs(g) / unit).max()
        noise = 8 * eps(dtype) * jnp.abs(old)
        enough = value <= old + 1e-4 * t * predicted
        hidden = (value <= old + noise) & (optimality < before)
        accept = jnp.isfinite(value) & jnp.isfinite(optimality) & (enough | hidden)
        # The minimum of the parabola by both values and the slope, between a tenth and half of the rejected step.
        bend = value - old - t * predicted
        ideal = jnp.where(bend > 0, -predicted * t**2 / (2 * positive(bend)), 0)
        shorter = jnp.where(jnp.isfinite(value), jnp.clip(ideal, 0.1 * t, 0.5 * t), 0.25 * t)
        still = (old - value <= noise) & ~(optimality < 0.9 * before)
        trials, stagnant = state.counts
        counts = jnp.where(
            accept, jnp.stack([jnp.int32(0), jnp.where(still, stagnant + 1, 0)]), jnp.stack([trials + 1, stagnant])
        )
        numbers = jnp.where(
            accept, jnp.stack([value, optimality, dot(g, new), longest(tried, new)]),
            jnp.stack([old, before, predicted, shorter]),
        )  # fmt: skip
        met = accept & (optimality <= tol)
        stalled = (counts[0] > _TRIALS) | (counts[1] > 8)
        line = jnp.where(accept, jnp.stack([tried, new]), state.line)
        return _State(line, numbers, counts), Verdict(met | stalled, jnp.where(met, Status.CONVERGED, Status.STALLED))

    infinite = jnp.array([jnp.inf, jnp.inf, 0, 1], dtype)
    begin = _State(jnp.stack([theta, jnp.zeros_like(theta)]), infinite, jnp.zeros(2, jnp.int32))
    end, status, n_iter = drive(step, begin, max_iter=max_iter)
    rare.note(status != Status.CONVERGED)
    return Found(end.line[0], end.numbers[0], end.numbers[1]), status, n_iter
