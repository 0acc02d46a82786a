r"""The constraint w >= 0 with a linear cost lam'w (the L1 penalty of feasible w) for `semismooth_newton`.

Newton's step on the features that are not at zero is the step of the primal-dual active set method (Hintermüller, Ito
and Kunisch 2003); proximal point steps around it make it converge from any start.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.precision import dot
from jaxinfra.solvers.linalg.cholesky import inverse_factor
from jaxinfra.solvers.methods.semismooth_newton import Inverse


class Nonnegative(NamedTuple):
    """The constraint with its linear cost lam (p,)."""

    lam: jax.Array

    def per_group(self, d: jax.Array) -> jax.Array:
        """Every feature is a group."""
        return d

    def prox(self, U: jax.Array, t: jax.Array) -> jax.Array:
        """The prox max(U - t lam, 0)."""
        return jnp.maximum(U - (t * self.lam)[:, None], 0)

    def value(self, W: jax.Array) -> jax.Array:
        """The linear cost lam'W."""
        return (self.lam[:, None] * W).sum()

    def active(self, W: jax.Array) -> jax.Array:
        """The positive features."""
        return W[:, 0] > 0

    def slope(self, W: jax.Array) -> jax.Array:
        """The gradient lam."""
        return jnp.broadcast_to(self.lam[:, None], W.shape)

    def newton(self, H: jax.Array, shift: jax.Array, V: jax.Array) -> Inverse:
        """The inverse of H_AA + diag(shift)."""
        a = self.active(V)
        both = (a[:, None] & a[None, :]).astype(H.dtype)
        eye = jnp.eye(H.shape[0], dtype=H.dtype)
        factor = inverse_factor((H * both + jnp.where(a, shift, 1)[:, None] * eye)[None])[0]
        return lambda b: dot(factor.T, dot(factor, b))

    def clip(self, W: jax.Array) -> jax.Array:
        """The nearest feasible W."""
        return jnp.maximum(W, 0)

    def feasible(self, W: jax.Array) -> jax.Array:
        """Whether no feature is negative."""
        return (W >= 0).all()

    def subgradient(self, W: jax.Array, gradient: jax.Array) -> jax.Array:
        """The element of least norm of gradient + lam + the normal cone at W: what a feasible step can lower."""
        gradient = gradient + self.lam[:, None]
        return jnp.where(W > 0, gradient, jnp.minimum(gradient, 0))
