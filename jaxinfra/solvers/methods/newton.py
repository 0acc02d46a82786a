r"""Newton's method with a metric that may be old: one evaluation of value and gradient an iteration.

    minimise F(theta) = f(theta) + sum_j l1_j |theta_j|,    f smooth

exact     the Hessian is formed at every accepted step: Newton's method.  For small data.
frozen    the Hessian at an earlier point, perhaps of a subsample of the rows, is the metric, and the pairs of
          limited-memory BFGS correct it: preconditioned L-BFGS.  It is formed anew, from all rows, where the progress
          that it would buy is worth more than it costs.  An evaluation costs two reads of the data, a Hessian p / 15
          times as much.

With l1 the step is that of the proximal Newton method: the quadratic model with the penalty is solved by
`active_set`.  Steps are halved until Armijo's condition holds or, where rounding hides the change of F, until the
optimality decreases; a step to an infinite or NaN value is shortened, so that no loss overflows.

Source: Nocedal and Wright, Numerical Optimization (2nd ed. 2006), algorithms 3.1 and 7.4; Hager and Zhang 2005
(approximate Wolfe condition); Lee, Sun and Saunders 2014 (proximal Newton).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.cholesky import solve_root
from jaxinfra.solvers.methods import active_set
from jaxinfra.solvers.methods.proximal_gradient import least_norm

MEMORY = 6  # pairs of limited-memory BFGS
_TRIALS = 30  # halvings before a step counts as stalled
_ROUNDING = 32  # error of a gradient in eps times the mean size of its terms, at most
_INNER = 50  # active sets tried for one quadratic model
# Form the Hessian at each step while n p^2 is below this; a subsample holds 10 p rows, or a sixteenth of all.
_EXACT = 2e7
_ROWS, _SHARE = 10, 16
# A Hessian is worth one evaluation for every so many columns.  It takes as long as 3.3 evaluations at 50 columns, 18 at
# 500 (measured); in a batch, which shares the products of the evaluations, as more.
_COLUMNS_PER_EVALUATION = 10
# Tolerance of the fit to the subsample: its minimum differs from that of all rows by more than this.
COARSE = 1e-2


def subsample(n: int, p: int, *, blocked: bool) -> int | None:
    """The stride of the rows of large data that give the start and the first metric; None: exact steps on all rows."""
    if not blocked or n * p * p < _EXACT:
        return None
    return max(1, min(n // (_ROWS * p), _SHARE))


def patience(p: int) -> int:
    """Evaluations that a Hessian of p columns is worth."""
    return max(8, p // _COLUMNS_PER_EVALUATION)


class Evaluation(NamedTuple):
    """The value of f and its gradient."""

    value: jax.Array
    gradient: jax.Array


class State(NamedTuple):
    """An accepted point with its metric, and the step that is tried next."""

    theta: jax.Array
    value: jax.Array  # F
    gradient: jax.Array  # of f
    optimality: jax.Array
    last: jax.Array  # the step that led to theta
    metric: jax.Array  # T with TT' = H^-1, or H itself with l1
    steps: jax.Array  # (MEMORY, q): the last steps ...
    changes: jax.Array  # ... and the changes of the gradient along them
    since: jax.Array  # accepted steps since the metric was formed ...
    before: jax.Array  # ... and the optimality there
    direction: jax.Array
    predicted: jax.Array  # change of F along the direction
    t: jax.Array
    trials: jax.Array
    best: jax.Array  # the smallest optimality so far ...
    stagnant: jax.Array  # ... and accepted steps that have not improved on it


def strides(last: jax.Array, tol: jax.Array) -> jax.Array:
    """Whether a step is far longer than the last Newton step to a finite minimum, which leaves its square: (), bool.

    The unit of theta is that in which columns are about 1.
    """
    return jnp.abs(last).max() > 0.003 + 2 * jnp.sqrt(tol)


def rounding(terms: jax.Array, tol: jax.Array) -> jax.Array:
    """The addition to the unit of a gradient for the rounding of its sums, whose terms are far larger than that unit
    where a row is far from all others."""
    return _ROUNDING * eps(terms.dtype) / tol * terms


def resolved(
    status: jax.Array, optimality: jax.Array, rounded: jax.Array, tol: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The (status, optimality) of a fit; `rounded`: its residual in units that allow for `rounding`, if it stalled."""
    reached = (status == Status.STALLED) & (rounded <= tol)
    return jnp.where(reached, Status.CONVERGED, status), jnp.where(reached, rounded, optimality)


def _two_loop(metric: jax.Array, steps: jax.Array, changes: jax.Array, g: jax.Array) -> jax.Array:
    """The product of the L-BFGS inverse Hessian with g, from the initial matrix TT'."""
    inner = (steps * changes).sum(1)
    rho = jnp.where(inner > 0, 1 / positive(inner), 0)  # empty places have rho 0

    def first(q: jax.Array, pair: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        s, y, rho = pair
        a = rho * dot(s, q)
        return q - a * y, a

    def second(r: jax.Array, pair: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        s, y, rho, a = pair
        return r + s * (a - rho * dot(y, r)), None

    q, a = lax.scan(first, g, (steps, changes, rho), reverse=True)
    return lax.scan(second, solve_root(metric, q), (steps, changes, rho, a))[0]


def minimise(
    evaluate: Callable[[jax.Array], Evaluation], form: Callable[[jax.Array], jax.Array], theta: jax.Array,
    unit: jax.Array, *, l1: jax.Array | None, metric: jax.Array | None, exact: bool, patience: int, cautious: jax.Array,
    tol: jax.Array, max_iter: jax.Array | int, longest: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> tuple[State, jax.Array, jax.Array]:  # fmt: skip
    """Minimise from theta (q,) until max_j |subgradient_j| / unit_j <= tol.  Returns (state, status, n_iter).

    form(theta): the metric there, T with TT' the inverse of the Hessian, or the Hessian itself if there is an l1.
    metric: a first metric, or None to form it at theta.  patience: evaluations that a Hessian is worth.  cautious: a
    point that meets tol may be on the way to infinity, or on the way from there to a minimum that an outlier hides:
    take one step from a start, and go on while exact steps are long, down to sqrt(eps * tol), where what is left of the
    gradient is not yet rounding.  longest(theta, direction): the first step that is tried, where f is infinite beyond a
    known bound; None means 1.
    """
    q, dtype = theta.shape[0], theta.dtype
    precision = eps(dtype)
    one, zero = jnp.ones((), dtype), jnp.zeros((), dtype)
    empty = jnp.zeros((1 if exact or l1 is not None else MEMORY, q), dtype)

    def penalty(theta: jax.Array) -> jax.Array:
        return zero if l1 is None else (l1 * jnp.abs(theta)).sum()

    def propose(
        theta: jax.Array, g: jax.Array, metric: jax.Array, steps: jax.Array, changes: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        if l1 is not None:
            c = dot(metric, theta) - g
            d = active_set.solve(metric, c, l1, theta, tol=zero, max_iter=_INNER)[0] - theta
            return d, dot(g, d) + penalty(theta + d) - penalty(theta)
        d = -solve_root(metric, g) if exact else -_two_loop(metric, steps, changes, g)
        return d, dot(g, d)

    def step(state: State) -> tuple[State, Verdict]:
        first = ~jnp.isfinite(state.value)
        tried = state.theta + state.t * state.direction
        e = evaluate(tried)
        value = e.value + penalty(tried)
        residual = e.gradient if l1 is None else least_norm(tried, e.gradient, l1)
        optimality = (jnp.abs(residual) / unit).max()
        noise = 8 * precision * jnp.abs(state.value)
        enough = value <= state.value + 1e-4 * state.t * state.predicted
        hidden = (value <= state.value + noise) & (optimality < state.optimality)
        accept = jnp.isfinite(value) & jnp.isfinite(optimality) & (first | enough | hidden)

        def pick(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(accept, new, old)

        s, y = tried - state.theta, e.gradient - state.gradient
        remember = accept & ~first & (dot(s, y) > precision * jnp.sqrt(dot(s, s) * dot(y, y)))
        steps = jnp.where(remember, jnp.concatenate([state.steps[1:], s[None]]), state.steps)
        changes = jnp.where(remember, jnp.concatenate([state.changes[1:], y[None]]), state.changes)
        theta, g = pick(tried, state.theta), pick(e.gradient, state.gradient)
        last = pick(s, state.last)
        optimality = pick(optimality, state.optimality)
        trials = jnp.where(accept, 0, state.trials + 1)
        since = jnp.where(accept, state.since + 1, state.since)

        # Form the Hessian: at every step, or where the steps that are left at the present rate would cost more.
        small = (optimality <= tol) & ~(first & cautious)
        met = small & ~(cautious & strides(last, tol) & (optimality > jnp.sqrt(precision * tol))) if exact else small
        if exact:
            renew = accept & ~met
        else:
            rate = jnp.log(jnp.maximum(optimality, precision * tol) / state.before) / since.astype(dtype)
            left = jnp.where(rate < 0, jnp.log(tol / optimality) / rate, jnp.inf)
            renew = ~met & (((since >= 4) & (left > patience)) | ((trials >= 3) & (since > 0)))
            renew |= first & (metric is None)
        new_metric = when(renew, lambda _: form(theta), state.metric)
        steps, changes = jnp.where(renew, 0, steps), jnp.where(renew, 0, changes)
        d, predicted = propose(theta, g, new_metric, steps, changes)

        # The minimum of the parabola by both values and the slope, between a tenth and half of the rejected step.
        bend = value - state.value - state.t * state.predicted
        ideal = jnp.where(bend > 0, -state.predicted * state.t**2 / (2 * positive(bend)), 0)
        shorter = jnp.where(jnp.isfinite(value), jnp.clip(ideal, 0.1 * state.t, 0.5 * state.t), 0.25 * state.t)
        better = accept & (optimality < 0.9 * state.best)
        stagnant = jnp.where(
            better, 0, jnp.where(accept & (state.value - value <= noise), state.stagnant + 1, state.stagnant)
        )
        stalled = (trials > _TRIALS) | (stagnant > 8)
        full = one if longest is None else longest(theta, d)
        new = State(
            theta, pick(value, state.value), g, optimality, last, new_metric, steps, changes,
            jnp.where(renew, 0, since), jnp.where(renew | first, optimality, state.before), d, predicted,
            jnp.where(accept | renew, full, shorter), trials, jnp.where(better, optimality, state.best), stagnant,
        )  # fmt: skip
        return new, Verdict(met | stalled, jnp.where(small, Status.CONVERGED, Status.STALLED))

    none, infinite = jnp.int32(0), jnp.asarray(jnp.inf, dtype)
    begin = State(
        theta, infinite, jnp.zeros_like(theta), infinite, jnp.zeros_like(theta),
        jnp.eye(q, dtype=dtype) if metric is None else metric,
        empty, empty, none, one, jnp.zeros_like(theta), zero, one, none, infinite, none,
    )  # fmt: skip
    return drive(step, begin, max_iter=max_iter)
