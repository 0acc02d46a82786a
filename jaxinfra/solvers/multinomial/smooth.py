r"""The multinomial likelihood with a smooth penalty, minimised by `newton`, and the derivatives of its minimiser.

Few parameters (`softmax.DENSE`): Newton's method with the full Hessian, 5 to 8 steps.  Many: limited-memory BFGS, whose
initial matrix is the inverse of one q x q approximation of the Hessian (`softmax.Curvature`) at the start; an iteration
costs one pass, two products with Z.
Source: Hastie, Tibshirani and Friedman, 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit
from jaxinfra._core.precision import eps
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra.solvers.linalg.scaled_factor import Factor
from jaxinfra.solvers.methods import limited_memory, newton
from jaxinfra.solvers.methods.limited_memory import Memory
from jaxinfra.solvers.multinomial import softmax
from jaxinfra.solvers.multinomial.softmax import Curvature, ScaledData, Units


class Solution(NamedTuple):
    """How a solver ended: W (K, q), the objective, the gradient of its smooth part, the scaled residual, the last
    step."""

    W: jax.Array
    f: jax.Array
    g: jax.Array
    optimality: jax.Array
    last: jax.Array
    status: jax.Array
    n_iter: jax.Array


def solve(
    data: ScaledData, W: jax.Array, units: Units, bounded: jax.Array, *, tol: jax.Array, max_iter: jax.Array,
    blocked: bool, rare: Rare = WHOLE,
) -> Solution:  # fmt: skip
    """Minimise f from W (K, q).  bounded: whether a maximiser of the likelihood is known to be finite."""
    K, q = W.shape

    def evaluate(theta: jax.Array) -> newton.Evaluation:
        f, g = softmax.value_and_gradient(data, theta.reshape(K, q), blocked=blocked)
        return newton.Evaluation(f, g.reshape(-1))

    def factor(theta: jax.Array, g: jax.Array) -> Factor:
        return softmax.factor(softmax.hessian(data, theta.reshape(K, q), blocked=blocked), rare=rare)

    def product(near: Curvature, g: jax.Array) -> jax.Array:
        return near.solve(g.reshape(K, q)).reshape(-1)

    def memory(theta: jax.Array, g: jax.Array) -> Memory:
        near = Curvature.of(data, theta.reshape(K, q), blocked=blocked, rare=rare)
        return Memory.of(near, product(near, g))

    start = softmax.symmetric(data, W).reshape(-1)
    form: Callable[[jax.Array, jax.Array], Any]
    if W.size <= softmax.DENSE:
        form, rule, patience = factor, newton.EXACT, None
        metric = Factor.like(start)
    else:
        # Formed once: a new one forgets the pairs (394 evaluations and not 102: 2000 x 100, 10 classes, float64).
        form, rule, patience = memory, limited_memory.rule(product), math.inf
        metric = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(memory, start, start))
    unit = jnp.broadcast_to(units.each, W.shape).reshape(-1)
    state, status, n_iter = newton.minimise(
        newton.Problem(evaluate, form), start, unit, rule=rule, metric=metric, patience=patience, cautious=~bounded,
        tol=tol, max_iter=max_iter, rare=rare,
    )  # fmt: skip
    theta, g, last = (v.reshape(K, q) for v in state.points)
    return Solution(softmax.symmetric(data, theta), state.value, g, state.optimality, last, status, n_iter)


def attach(live: ScaledData, W: jax.Array, *, blocked: bool) -> jax.Array:
    """Attach derivatives to W, the root of the optimality conditions of `live`; with L1 on its support, signs fixed.

    The Jacobian is the Hessian: factored for few parameters, else solved with by conjugate gradients.
    """
    data, W = implicit.frozen((live, W))
    free = None if data.l1 is None else (data.l1 == 0) | (W != 0)

    def residual(V: jax.Array) -> jax.Array:
        V = V if free is None else jnp.where(free, V, 0)
        g = softmax.value_and_gradient(live, V, blocked=blocked)[1]
        g = g + softmax.gauge(data, jnp.ones_like(V[0]))[None] * V.mean(0)[None]
        return g if free is None or live.l1 is None else jnp.where(free, g + live.l1 * jnp.sign(W), V)

    def inverse(b: jax.Array) -> jax.Array:
        if W.size <= softmax.DENSE:
            H = softmax.hessian(data, W, blocked=blocked)
            x = softmax.factor(H, free).solve(b.reshape(-1)).reshape(b.shape)
        else:
            tol = eps(W.dtype) ** 0.75
            x = softmax.iterative(data, W, Curvature.of(data, W, blocked=blocked).solve, free, tol, 1000)(b)
        return x if free is None else jnp.where(free, x, b)

    return implicit.root(residual, W, inverse)
