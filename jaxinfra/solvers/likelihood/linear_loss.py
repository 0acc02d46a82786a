r"""The mean loss of a linear predictor, its gradient and Hessian, each in one pass over the rows.

    F(theta) = sum_i w_i loss(y_i, eta_i) / sum_i w_i + sum_j l2_j coef_j^2 / 2,    eta = X coef + intercept + offset

In the passes X is centred and scaled, Z = (X - centre) * scale, block by block while it sits in the cache, so that the
Hessian is as well conditioned as the data allow and neither squares nor sums overflow.  theta = (coef / scale,
intercept at the centre); without intercept the centre is 0 and theta has p entries.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxinfra._core.absent import masked, weighted
from jaxinfra._core.precision import dot, positive
from jaxinfra._core.rows import replicated, sum_blocks
from jaxinfra._core.types import Linear
from jaxinfra.solvers.linalg.design import Data, Frame, with_ones
from jaxinfra.solvers.linalg.products import mirror, weighted_product
from jaxinfra.solvers.methods.proximal_gradient import least_norm


class Loss(Protocol):
    """A loss of the linear predictor, elementwise, such as `losses.Likelihood`."""

    @property
    def convex(self) -> bool:
        """Static: the second derivative is never negative."""
        ...

    @property
    def may_separate(self) -> bool:
        """Static: data may drive eta to infinity."""
        ...

    @property
    def needs_positive(self) -> bool:
        """Static: eta = 0 has no finite loss."""
        ...

    def start(self, mean: jax.Array) -> jax.Array:
        """The eta of a mean."""
        ...

    def attains(self, mean: jax.Array) -> jax.Array:
        """Whether a finite eta has this mean."""
        ...

    def value(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """The loss; infinite where eta is outside its domain."""
        ...

    def slope(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """The first derivative with respect to eta."""
        ...

    def curvature(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """The second derivative with respect to eta."""
        ...

    def safe_curvature(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """The second derivative, or its expectation where that is not positive."""
        ...


class Sums(NamedTuple):
    """Value and gradient of the mean loss."""

    value: jax.Array
    gradient: jax.Array


def _predictor(V: jax.Array, theta: jax.Array, offset: jax.Array | None) -> jax.Array:
    eta = dot(V, theta)
    return eta if offset is None else eta + offset


def _columns(f: Frame, X: jax.Array, w: jax.Array | None, theta: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """The scaled columns with one of ones where theta has an intercept, and the weights."""
    Z, w = masked(f.columns(X), w)
    return with_ones(Z) if theta.shape[0] > Z.shape[1] else Z, w


def evaluate(data: Data, f: Frame, loss: Loss, theta: jax.Array, *, blocked: bool) -> Sums:
    """The value of F without penalty, and its gradient with respect to theta."""

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None, offset: jax.Array | None) -> Sums:
        V, w = _columns(f, X, w, theta)
        eta = _predictor(V, theta, offset)
        r = weighted(w, loss.slope(y, eta))
        return Sums(weighted(w, loss.value(y, eta)).sum(), dot(r[None], V)[0])

    total = sum_blocks(sums, tuple(data), blocked=blocked)
    weight = positive(data.weight)
    return jax.tree.map(lambda s: s / weight, total)


def hessian(
    data: Data, f: Frame, loss: Loss, theta: jax.Array, *, blocked: bool, safe: bool, single: bool = False
) -> jax.Array:
    """The Hessian (q, q) of F without penalty.  `safe`: with the expected one for rows whose loss is concave.

    `single`: products in float32, for a preconditioner.
    """

    def sums(X: jax.Array, y: jax.Array, w: jax.Array | None, offset: jax.Array | None) -> jax.Array:
        V, w = _columns(f, X, w, theta)
        h = weighted(w, (loss.safe_curvature if safe else loss.curvature)(y, _predictor(V, theta, offset)))
        if single:
            V, h = V.astype(jnp.float32), h.astype(jnp.float32)
        return weighted_product(V, h)

    H = sum_blocks(sums, tuple(data), blocked=blocked).astype(theta.dtype)
    return mirror(H) / positive(data.weight)


# Thresholds of `recedes`: the sum of the slopes as a share of their sizes, and the change of a predictor.  Half and
# twice of either change the status of one of 120 fits of (nearly) separable classes: 0.005 makes one more SEPARABLE.
_LEFT, _MOVED = 0.02, 0.01


def recedes(slopes: jax.Array, change: jax.Array, penalty: jax.Array, moved: float = _MOVED) -> jax.Array:
    """Whether the objective decreases for ever along a direction, (), bool, at the end of a fit whose gradient has
    almost vanished; slopes (n,): of each row's loss along the direction, with its weight; penalty (): the slope of the
    penalty; change (n,): of each row's predictor, by more than `moved` in some row.

    At a minimum the slopes cancel to the tolerance.  Without a minimum each of them vanishes, all of one sign except in
    rows that the direction hardly moves; the curvature vanishes with them, so that a Newton step still moves a
    predictor by 1 (logit), 1 / eta (probit) or exp(-eta) (cloglog), and not by almost 0.
    """
    total, size = slopes.sum() + penalty, jnp.abs(slopes).sum() + jnp.abs(penalty)
    return (jnp.abs(total) > _LEFT * size) & (jnp.abs(change).max() > moved)


def last_look(
    data: Data, f: Frame, loss: Loss, theta: jax.Array, d: jax.Array, penalty: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The result of `recedes` at theta along d, with the slope of the penalty; and the mean |slope_i z_ij| of each
    column (q,), a few eps of which is the error of the gradient at theta."""
    V, w = _columns(f, data.X, data.w, theta)
    change = _predictor(V, d, None)
    r = weighted(w, loss.slope(data.y, _predictor(V, theta, data.offset)))
    diverges = recedes(r * change, change if w is None else jnp.where(w > 0, change, 0), data.weight * penalty)
    return diverges, dot(jnp.abs(r), jnp.abs(V)) / positive(data.weight)


@jax.jit
@replicated
def objective(params: Linear, data: Data, loss: Loss, l1: jax.Array, l2: jax.Array) -> jax.Array:
    """The objective F with the L1 penalty at any params."""
    coef, data = params.coef, data.masked()
    value = weighted(data.w, loss.value(data.y, _predictor(data.X, coef, data.offset) + params.intercept)).sum()
    return value / positive(data.weight) + (l1 * jnp.abs(coef) + 0.5 * l2 * coef * coef).sum()


@partial(jax.jit, static_argnames="fit_intercept")
@replicated
def subgradient(params: Linear, data: Data, loss: Loss, l1: jax.Array, l2: jax.Array, *, fit_intercept: bool) -> Linear:
    """The subgradient of `objective` of smallest norm; zero for the intercept where none is fitted."""
    coef, data = params.coef, data.masked()
    r = weighted(data.w, loss.slope(data.y, _predictor(data.X, coef, data.offset) + params.intercept))
    r = r / positive(data.weight)
    g = least_norm(coef, dot(r[None], data.X)[0] + l2 * coef, l1)
    return Linear(g, r.sum() if fit_intercept else jnp.zeros_like(params.intercept))
