r"""The multinomial likelihood with an L1 part: proximal gradient steps, each followed by a Newton step on the support.

    F(W) = f(W) + sum l1 |W|,    f smooth (`softmax`)

Proximal gradient steps in a diagonal metric, of lengths that the descent lemma allows, converge by themselves and
decide which coefficients leave zero.  The Newton step keeps the signs, a coefficient that would change its sign stops
at zero, and the step is taken only where it lowers F further: it never harms the convergence of the other, and makes it
quadratic once signs and support are those of the solution.
Sources: Beck and Teboulle 2009, eq. 2.5 and lemma 2.3; Bertsekas 1982, section 2 (projected Newton).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Status
from jaxinfra.solvers.methods import newton
from jaxinfra.solvers.methods.proximal_gradient import least_norm
from jaxinfra.solvers.multinomial import softmax
from jaxinfra.solvers.multinomial.smooth import Solution
from jaxinfra.solvers.multinomial.softmax import ScaledData, Units

# Steps without progress after which only rounding is left: with 10 one of 20 fits (300 x 70, 10 classes, float32)
# stalls that converges else, with 40 none differs.
_PATIENCE = 20


class Point(NamedTuple):
    """A point W (K, q) with F, the gradient of f, and the scaled residual."""

    W: jax.Array
    f: jax.Array
    g: jax.Array
    optimality: jax.Array


class _State(NamedTuple):
    here: Point
    L: jax.Array  # curvature of the proximal step in its metric
    last: jax.Array  # the step that led here
    least: jax.Array  # the least F and residual so far ...
    best: jax.Array
    stagnant: jax.Array  # ... and the steps since one that clearly improved on either


def solve(
    data: ScaledData, W: jax.Array, units: Units, bounded: jax.Array, *, tol: jax.Array, max_iter: jax.Array,
    blocked: bool, rare: Rare = WHOLE,
) -> Solution:  # fmt: skip
    """Minimise F from W (K, q); the solution holds F and the gradient of f."""
    l1 = data.l1
    assert l1 is not None
    tiny = 16 * eps(W.dtype)
    # sum_i a_i (diag(p_i) - p_i p_i') is at most 1/2 (Boehning 1992); its product with Z'AZ has this diagonal.
    metric = 0.5 * dot(data.T.sum(1), data.Z * data.Z)[None] + data.l2
    metric = positive(metric)

    def evaluate(W: jax.Array) -> Point:
        f, g = softmax.value_and_gradient(data, W, blocked=blocked)
        return Point(W, f + (l1 * jnp.abs(W)).sum(), g, units.largest(least_norm(W, g, l1)))

    def proximal(here: Point, L: jax.Array) -> tuple[Point, jax.Array]:
        """The step with the smallest of L, 2L, 4L, ... for which the descent lemma holds."""

        def body(carry: tuple[Point, jax.Array, jax.Array]) -> tuple[Point, jax.Array, jax.Array]:
            L = 2 * carry[1]
            V = here.W - here.g / (L * metric)
            V = jnp.sign(V) * jnp.maximum(jnp.abs(V) - l1 / (L * metric), 0)
            new, s = evaluate(V), V - here.W
            model = (here.g * s + l1 * (jnp.abs(V) - jnp.abs(here.W)) + 0.5 * L * metric * s * s).sum()
            below = new.f <= here.f + model + tiny * jnp.abs(here.f)
            # The same to second order from gradients, which still decides where the change is within rounding of F.
            return new, L, below & (((new.g - here.g) * s).sum() <= L * (metric * s * s).sum())

        def cond(carry: tuple[Point, jax.Array, jax.Array]) -> jax.Array:
            return ~carry[2] & (carry[1] < 2.0**40)

        new, L, _ = lax.while_loop(cond, body, (here, L / 2, jnp.array(False)))
        return new, L

    def direction(here: Point, free: jax.Array) -> jax.Array:
        v = jnp.where(free, here.g + l1 * jnp.sign(here.W), 0)
        if W.size <= softmax.DENSE:
            H = softmax.hessian(data, here.W, blocked=blocked)
            return -softmax.factor(H, free, rare).solve(v.reshape(-1)).reshape(v.shape)
        # Half and twice the tolerance: 3 % more and fewer steps; 10 and 40 products: 4 % more and 2 % fewer, and with
        # 10 one of 20 fits stalls.
        return -softmax.iterative(data, here.W, lambda b: b / metric, free, 0.1, 20)(v)

    def newton_step(here: Point) -> tuple[Point, jax.Array]:
        """The best of the projected steps t = 1, 1/2, 1/4, ... on the support, and whether one was accepted."""
        free = (here.W != 0) | (l1 == 0)
        d = direction(here, free)
        v = here.g + l1 * jnp.sign(here.W)

        def body(carry: tuple[Point, jax.Array, jax.Array]) -> tuple[Point, jax.Array, jax.Array]:
            t = carry[1] / 2
            V = here.W + t * d
            V = jnp.where((l1 == 0) | (V * here.W > 0), V, 0)
            new = evaluate(V)
            enough = new.f <= here.f + 1e-4 * jnp.where(free, v * (V - here.W), 0).sum()
            level = (jnp.abs(new.f - here.f) <= tiny * jnp.abs(here.f)) & (new.optimality <= here.optimality)
            return new, t, enough | level

        def cond(carry: tuple[Point, jax.Array, jax.Array]) -> jax.Array:
            return ~carry[2] & (carry[1] > 2.0**-16)

        finite = jnp.isfinite(d).all()
        new, _, accepted = lax.while_loop(cond, body, (here, jnp.full_like(here.f, 2), ~finite))
        accepted &= finite
        return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, here), accepted

    def step(state: _State) -> tuple[_State, Verdict]:
        here = state.here
        near, L = proximal(here, state.L)
        new, _ = newton_step(near)
        last = new.W - here.W
        decreased = new.f < state.least - tiny * jnp.abs(state.least)
        stagnant = jnp.where(decreased | (new.optimality < 0.9 * state.best), 0, state.stagnant + 1)
        small = new.optimality <= tol
        done = newton.arrived(small, ~bounded, last, new.optimality, tol) | (stagnant >= _PATIENCE)
        least, best = jnp.minimum(new.f, state.least), jnp.minimum(new.optimality, state.best)
        # With 0.5 and 0.9 in place of 0.7 the steps of 20 fits differ by less than 1 %.
        state = _State(new, 0.7 * L, last, least, best, stagnant)
        return state, Verdict(done, jnp.where(small, Status.CONVERGED, Status.STALLED))

    start = evaluate(softmax.symmetric(data, W))
    begin = _State(start, jnp.ones_like(start.f), jnp.zeros_like(W), start.f, start.optimality, jnp.int32(0))
    state, status, n_iter = drive(step, begin, max_iter=max_iter)
    return Solution(*state.here, state.last, status, n_iter)
