r"""Newton's method with a metric that may be old: one evaluation of value and gradient an iteration.

    minimise F(theta) = f(theta) + sum_j l1_j |theta_j|,    f smooth

exact     the Hessian is formed at every accepted step: Newton's method.  For small data.
frozen    the Hessian at an earlier point is the metric, and each step corrects it by the rule of Broyden, Fletcher,
          Goldfarb and Shanno: a preconditioned quasi-Newton method.  It is formed anew, from all rows, where the
          progress that it would buy is worth more than it costs.  An evaluation costs two reads of the data, a Hessian
          p / 15 times as much.  The minimum over a subsample of the rows is the start, its Hessian the first metric.

The metric is a root T of the inverse Hessian, TT' = H^-1.  A step s = T a that changes the gradient by y makes it
T - s (b - a sqrt(a'b / a'a))' / a'b with b = T'y: the factored form of the correction, one product of vectors, which
keeps H positive definite and remembers all steps at the price of a few.

With l1 the step is that of the proximal Newton method: the quadratic model with the penalty is solved by
`active_set`.  Steps are halved until Armijo's condition holds or, where rounding hides the change of F, until the
optimality decreases; a step to an infinite or NaN value is shortened, so that no loss overflows.

Source: Nocedal and Wright, Numerical Optimization (2nd ed. 2006), algorithms 3.1 and 6.1; Brodlie, Gourlay and
Greenstadt 1973 (factored corrections); Hager and Zhang 2005 (approximate Wolfe condition); Lee, Sun and Saunders 2014
(proximal Newton).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stacked import stacked
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.cholesky import RIDGE, solve_root
from jaxinfra.solvers.linalg.scaled_factor import Factor
from jaxinfra.solvers.methods import active_set
from jaxinfra.solvers.methods.proximal_gradient import least_norm

# No difference: with half and twice the value, in 360 fits of huber, logistic, Poisson and Gamma, 120 nearly separable.
_TRIALS = 30  # halvings before a step counts as stalled: no difference
_ROUNDING = 32  # error of a gradient in eps times the mean size of its terms, at most: no difference (in 200)
# Active sets tried for one quadratic model: 25 and 100 take 3 % more and 1 % fewer iterations (120 with l1).
_INNER = 50
# Form the Hessian at each step while n p^2 is below this; a subsample holds 10 p rows, or a sixteenth of all: with an
# eighth and a thirty-second 11 % fewer and 19 % more evaluations on all rows (50 fits, as for `COARSE`).
_EXACT = 2e7
_ROWS, _SHARE = 10, 16
# A Hessian is worth one evaluation for every so many columns.  It takes as long as 3.3 evaluations at 50 columns, 18 at
# 500 (measured); in a batch, which shares the products of the evaluations, as more.
_COLUMNS_PER_EVALUATION = 10
# Tolerance of the fit to the subsample: its minimum differs from that of all rows by more than this.  From 1e-3 to 2e-2
# the evaluations on all rows differ by less than 1 % over 50 fits (logistic, Poisson, huber; 6000 x 8 and 20), with
# 1e-1 by 2 %.
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


class Problem(NamedTuple):
    """A loss as `minimise` sees it: the value with its gradient at theta; the metric at theta, given the gradient."""

    evaluate: Callable[[jax.Array], Evaluation]
    form: Callable[[jax.Array, jax.Array], Any]


class Rule(NamedTuple):
    """The uses of a metric, a pytree: a direction from (metric, theta, gradient), and the metric corrected by
    (metric, whether to use it, gradient before, step, its share t of the direction, gradient after); None: it stays."""

    direction: Callable[[Any, jax.Array, jax.Array], jax.Array]
    learn: Callable[..., Any] | None


class State(NamedTuple):
    """An accepted point with its metric.  Vectors, and numbers, are rows of one array: XLA compiles each part of a
    loop's state by itself."""

    points: jax.Array  # (3, q): theta, the gradient of f, the step that led to theta
    metric: Any  # what `Rule` takes
    numbers: jax.Array  # those of `_Numbers`

    @property
    def theta(self) -> jax.Array:
        """The accepted point."""
        return self.points[0]

    @property
    def gradient(self) -> jax.Array:
        """The gradient of f at theta."""
        return self.points[1]

    @property
    def last(self) -> jax.Array:
        """The step that led to theta."""
        return self.points[2]

    @property
    def value(self) -> jax.Array:
        """F at theta."""
        return self.numbers[0]

    @property
    def optimality(self) -> jax.Array:
        """The largest subgradient at theta, in its unit."""
        return self.numbers[1]


class _Numbers(NamedTuple):
    value: jax.Array  # infinite before the first evaluation
    optimality: jax.Array
    t: jax.Array  # the share of the direction that is tried next; 0: as much as is allowed
    before: jax.Array  # the optimality where the metric was formed ...
    since: jax.Array  # ... and accepted steps since then
    trials: jax.Array  # rejected ones since the last that was accepted
    best: jax.Array  # the smallest optimality so far ...
    stagnant: jax.Array  # ... and accepted steps that have not improved on it
    early: jax.Array  # 1 on the subsample, 0 on all rows ...
    made: jax.Array  # ... and evaluations there
    last: jax.Array  # the largest element of the step that led to theta
    accepted: jax.Array  # 1 where the last trial was accepted
    renew: jax.Array  # 1 where the metric is to be formed at theta
    code: jax.Array  # the status of the last trial ...
    done: jax.Array  # ... and 1 if it is the end


def strides(last: jax.Array, tol: jax.Array) -> jax.Array:
    """Whether a step, or the largest element of one, is far longer than the last Newton step to a finite minimum, which
    leaves its square: (), bool.

    The unit of theta is that in which columns are about 1.
    """
    # Half and twice either number: of 120 fits of (nearly) separable classes the same ones converge.
    return jnp.abs(last).max() > 0.003 + 2 * jnp.sqrt(tol)


def arrived(small: jax.Array, cautious: jax.Array, last: jax.Array, optimality: jax.Array, tol: jax.Array) -> jax.Array:
    """Whether a point whose optimality meets tol is the end of exact steps: `cautious` as for `minimise`, `last` as for
    `strides`."""
    return small & ~(cautious & strides(last, tol) & (optimality > jnp.sqrt(eps(tol.dtype) * tol)))


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


def _direction(T: jax.Array, theta: jax.Array, g: jax.Array) -> jax.Array:
    return -solve_root(T, g)


def _correct(
    T: jax.Array, use: jax.Array, before: jax.Array, s: jax.Array, t: jax.Array, after: jax.Array
) -> jax.Array:
    first, second = dot(jnp.stack([before, after]), T)
    a, b = -t * first, second - first
    ab, aa, bb = (a * b).sum(), (a * a).sum(), (b * b).sum()
    use &= ab > eps(T.dtype) * jnp.sqrt(aa * bb)
    share = jnp.where(use, 1 / positive(ab), 0)
    return T - (share * s)[:, None] * (b - a * jnp.sqrt(positive(ab) / positive(aa)))[None]


def factored(H: jax.Array, rare: Rare = WHOLE) -> Factor:
    """The metric of `EXACT` from the Hessian, with the ridges of `cholesky.inverse_root`."""
    unit = eps(H.dtype)
    return Factor.of(H, ridges=(RIDGE * len(H) * unit, unit**0.5), rare=rare)


# The metric is a factor of H; and it is a root of the inverse of H, which can be corrected.
EXACT, CORRECTED = Rule(lambda f, _, g: -f.solve(g), None), Rule(_direction, _correct)


def proximal(l1: jax.Array) -> Rule:
    """The step of the proximal Newton method; the metric is H itself."""

    def direction(H: jax.Array, theta: jax.Array, g: jax.Array) -> jax.Array:
        c = dot(H, theta) - g
        return active_set.solve(H, c, l1, theta, tol=jnp.zeros((), g.dtype), max_iter=_INNER)[0] - theta

    return Rule(direction, None)


def minimise(
    problem: Problem, theta: jax.Array, unit: jax.Array, *, rule: Rule, metric: Any, patience: float | None,
    cautious: jax.Array, tol: jax.Array, max_iter: jax.Array | int, l1: jax.Array | None = None,
    longest: Callable[[jax.Array, jax.Array], jax.Array] | None = None, sample: Problem | None = None,
    from_sample: bool = True, rare: Rare = WHOLE,
) -> tuple[State, jax.Array, jax.Array]:  # fmt: skip
    """Minimise from theta (q,) until max_j |subgradient_j| / unit_j <= tol.  Returns (state, status, n_iter).

    metric: like the first one, with any finite values.  patience: evaluations that a Hessian is worth; None: exact
    steps.  cautious: a point that meets tol may be on the way to infinity, or on the way from there to a minimum that
    an outlier hides: take one step from a start, and go on while exact steps are long, down to sqrt(eps * tol), where
    what is left of the gradient is not yet rounding.  longest(theta, direction): the first step that is tried, where f
    is infinite beyond a known bound; None means 1.  sample: the problem on a subsample of the rows, which gives the
    first metric and, if `from_sample`, the start; n_iter does not count its evaluations.
    """
    dtype = theta.dtype
    precision = eps(dtype)
    one, none, inverse = jnp.ones((), dtype), jnp.zeros((), dtype), 1 / unit

    def penalty(theta: jax.Array) -> jax.Array:
        return none if l1 is None else (l1 * jnp.abs(theta)).sum()

    def formed(state: State, on_sample: jax.Array) -> Any:
        renew = _Numbers(*state.numbers).renew > 0
        form, of_sample = (lambda _, p=p: p and p.form(state.theta, state.gradient) for p in (problem, sample))
        if sample is None:
            return when(renew, form, state.metric)
        metric = when(renew & on_sample, of_sample, state.metric)
        return metric if rare.lean else when(renew & ~on_sample, form, metric)

    def evaluated(theta: jax.Array, early: jax.Array) -> Evaluation:
        if sample is None:
            return problem.evaluate(theta)
        e = when(early, lambda _: sample.evaluate(theta), Evaluation(none, theta))
        return when(~early, lambda _: problem.evaluate(theta), e)

    def step(state: State) -> tuple[State, Verdict]:
        theta, g, _ = state.points
        x = _Numbers(*state.numbers)
        first, early = ~jnp.isfinite(x.value), x.early > 0
        # The first metric of all rows is the subsample's, where their gradient is known.
        metric = formed(state, early | (x.made == 1))
        d = rule.direction(metric, theta, g)
        predicted = dot(g, d) + penalty(theta + d) - penalty(theta)
        t = jnp.where(x.t > 0, x.t, one if longest is None else longest(theta, d))
        s = jnp.where(first, 0, t * d)
        tried = theta + s
        e = evaluated(tried, early)
        value = e.value + penalty(tried)
        residual = e.gradient if l1 is None else least_norm(tried, e.gradient, l1)
        optimality, last = jnp.abs(stacked(residual * inverse, s)).max(1)
        noise = 8 * precision * jnp.abs(x.value)  # 4 and 16: one step more or less in 4 of 360 fits
        enough = value <= x.value + 1e-4 * t * predicted
        hidden = (value <= x.value + noise) & (optimality < x.optimality)
        accept = jnp.isfinite(value) & jnp.isfinite(optimality) & (first | enough | hidden)
        last = jnp.where(accept, last, x.last)
        if rule.learn is not None:
            metric = rule.learn(metric, accept & ~first, g, s, t, e.gradient)

        # The minimum of the parabola by both values and the slope, which is in the first half where Armijo's condition
        # fails, and not below a tenth of the rejected step (a twentieth: 0 to 3 % more iterations, a fifth: 0 to 2 %).
        bend = value - x.value - t * predicted
        ideal = jnp.where(bend > 0, -predicted * t**2 / (2 * positive(bend)), 0)
        shorter = jnp.where(jnp.isfinite(value), jnp.clip(ideal, 0.1 * t, 0.5 * t), 0.25 * t)
        level = accept & (x.value - value <= noise)
        optimality = jnp.where(accept, optimality, x.optimality)
        better = accept & (optimality < 0.9 * x.best)  # with 0.5 and 0.99 no difference
        stagnant = jnp.where(better, 0, x.stagnant + jnp.where(level, one, 0))
        trials, since = jnp.where(accept, 0, x.trials + 1), x.since + jnp.where(accept, one, 0)

        # Form the Hessian: at every step, or where the steps that are left at the present rate would cost more.
        # Evaluations of these 50 fits with a rate over 2 and 8 steps: 8 % fewer, 10 % more; after 1 and 6 rejected
        # steps: 8 % fewer, as many; with half and twice the patience: 2 % fewer, 4 % more (without the Hessians).
        goal = tol if sample is None else jnp.where(early, jnp.maximum(tol, COARSE), tol)
        small = (optimality <= goal) & ~(first & cautious)
        if patience is None:
            met = arrived(small, cautious, last, optimality, tol)
            renew = accept & ~met
        else:
            met = small
            rate = jnp.log(jnp.maximum(optimality, precision * goal) / x.before) / since
            left = jnp.where(rate < 0, jnp.log(goal / optimality) / rate, jnp.inf)
            renew = ~met & (((since >= 4) & (left > patience)) | ((trials >= 3) & (since > 0)))
            renew |= first & ~met
        # After 4 or 16 stagnant steps 5 of 360 fits end earlier or later, at the same value and by the same verdict.
        done = met | (trials > _TRIALS) | (stagnant > 8)
        status = jnp.where(small, Status.CONVERGED, Status.STALLED)
        turn = jnp.array(False)
        if sample is not None:
            out = (x.made + 1).astype(jnp.int32) >= max_iter
            turn = early & (done | out)
            done, status = ~early & (done | out), jnp.where(done, status, Status.MAX_ITER)
        if rare.lean:
            # The whole program goes on where a factorisation failed or all rows are to give a Hessian.
            lost = ~jnp.isfinite(predicted) | (False if sample is None else renew & ~turn & ~early & ~first)
            done, status = done | lost, jnp.where(lost, Status.STALLED, status)
        new = _Numbers(
            jnp.where(accept, value, x.value), optimality, jnp.where(accept | renew, 0, shorter),
            jnp.where(renew | first, optimality, x.before), jnp.where(renew, 0, since), trials,
            jnp.where(better, optimality, x.best), stagnant, x.early, x.made + 1, last, accept, renew, status, done,
        )  # fmt: skip
        # What else depends on them reads them from the array: each would be a kernel of its own.
        numbers = stacked(*(a.astype(dtype) for a in new))
        new = _Numbers(*numbers)
        points = jnp.where(new.accepted > 0, jnp.stack([tried, e.gradient, s]), state.points)
        numbers = jnp.where(turn, unknown, numbers)
        return State(points, metric, numbers), Verdict(new.done > 0, new.code.astype(jnp.int32))

    unknown = jnp.asarray([np.inf, np.inf, 0, np.inf, 0, 0, np.inf, *[0] * 8], dtype)
    begin = jnp.stack([theta, jnp.zeros_like(theta), jnp.zeros_like(theta)])
    if sample is None:
        end, status, n_iter = drive(step, State(begin, metric, unknown), max_iter=max_iter)
    else:
        start = unknown.at[_Numbers._fields.index("early")].set(1) if from_sample else unknown
        end, status, _ = drive(step, State(begin, metric, start), max_iter=2 * jnp.minimum(max_iter, 2**29))
        n_iter = _Numbers(*end.numbers).made.astype(jnp.int32)
    rare.note(status == Status.STALLED)
    return end, status, n_iter
