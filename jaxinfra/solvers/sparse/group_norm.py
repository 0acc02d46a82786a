r"""The group penalty sum_g lam_g |W_g| (Frobenius norms) for `semismooth_newton`: group lasso and multitask lasso.

The Hessian of lam |W_g| is m (I - v v') with v = W_g / |W_g| and m = lam / |W_g|.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.loop import when
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stages import Rare
from jaxinfra.solvers.linalg.cholesky import inverse_factor
from jaxinfra.solvers.linalg.products import diagonal
from jaxinfra.solvers.methods.semismooth_newton import Inverse, regulariser


class GroupNorm(NamedTuple):
    """The penalty: lam (p,), for each feature that of its group; same (p, p), 1 where two features share a group, for
    W (p, 1), or None where every row of W (p, k) is its own group."""

    lam: jax.Array
    same: jax.Array | None

    def norms(self, W: jax.Array) -> jax.Array:
        """The norm |W_g| of each feature's group, (p,).  Differentiable except at zero, where the derivative is 0."""
        square = (W * W).sum(1)
        square = square if self.same is None else dot(self.same, square)
        return jnp.where(square > 0, jnp.sqrt(positive(square)), 0)

    def per_group(self, d: jax.Array) -> jax.Array:
        """The largest d (p,) of each feature's group."""
        return d if self.same is None else (self.same * d[None]).max(1)

    def prox(self, U: jax.Array, t: jax.Array) -> jax.Array:
        """The prox: each group shortened by t lam."""
        size = self.norms(U)
        left = jnp.maximum(size - t * self.lam, 0) / positive(size)
        return U * left[:, None]

    def value(self, W: jax.Array) -> jax.Array:
        """The penalty sum_g lam_g |W_g|, by features: |W_g| = sum_j |W_j|^2 / |W_g|."""
        size = self.norms(W)
        return (self.lam * (W * W).sum(1) / positive(size)).sum()

    def active(self, W: jax.Array) -> jax.Array:
        """The features of groups that are not zero."""
        return self.norms(W) > 0

    def slope(self, W: jax.Array) -> jax.Array:
        """The gradient lam_g W_g / |W_g|, zero for groups at zero."""
        size = self.norms(W)
        return W * (self.lam / positive(size))[:, None]

    def newton(self, H: jax.Array, shift: jax.Array, V: jax.Array) -> Inverse:
        """The inverse of  H_AA + diag(m) - blocks of m v v' + diag(shift)."""
        size = self.norms(V)
        a = size > 0
        v = V / jnp.where(a, size, 1)[:, None]
        both = (a[:, None] & a[None, :]).astype(H.dtype)
        eye = jnp.eye(H.shape[0], dtype=H.dtype)
        if V.shape[1] == 1:
            rest = jnp.where(a, shift, 1)
            if self.same is not None:
                m = self.lam / jnp.where(a, size, 1)
                H = H - self.same * (m[:, None] * dot(v, v.T))
                rest = rest + jnp.where(a, m, 0)
            factor = inverse_factor((H * both + rest[:, None] * eye)[None])[0]
            return lambda b: dot(factor.T, dot(factor, b))

        # k columns share P = H_AA + diag(m); the blocks m v v' have rank one each, so Woodbury's identity subtracts
        # them by a second p x p system.  A larger m, of a group close to zero, would leave that system no digits
        # (powers of -0.3 and -0.5: the same iterations in 10 paths of 8 penalties).
        m = jnp.minimum(self.lam / jnp.where(a, size, 1), eps(H.dtype) ** -0.4 * diagonal(H))
        m = jnp.where(a, m, 0)
        factor = inverse_factor((H * both + jnp.where(a, m + shift, 1)[:, None] * eye)[None])[0]
        u = v * jnp.sqrt(m)[:, None]
        S = eye - dot(factor.T, factor) * dot(u, u.T)
        small = inverse_factor(S[None])[0]

        def solve(b: jax.Array) -> jax.Array:
            z = dot(factor.T, dot(factor, b))
            e = dot(small.T, dot(small, (u * z).sum(1)[:, None]))
            return z + dot(factor.T, dot(factor, u * e))

        return solve

    def clip(self, W: jax.Array) -> jax.Array:
        """Every W is feasible."""
        return W

    def feasible(self, W: jax.Array) -> bool:
        """Every W is."""
        return True

    def gap(self, W: jax.Array, g: jax.Array, square: jax.Array, H: jax.Array, rare: Rare) -> jax.Array:
        r"""Duality gap at W (p, k) from g = Z'r - l2 W and square = |r|^2 + l2 |W|^2, r the residual, all per weight.

        With the penalty l2 as rows of the data, the dual point is the residual scaled by s such that |s g| <= lam:

            gap(s) = square (1 - s)^2 / 2 + sum_g (lam_g |W_g| - s <W_g, g_g>),    both parts >= 0.

        Where lam is 0, g must be 0: the step of those features that minimises the objective makes it so, and the
        decrease of the objective in this step adds to the gap.
        """
        free = (self.lam <= 0) & (diagonal(H) > 0)

        def settle(_: jax.Array) -> jax.Array:
            both = (free[:, None] & free[None, :]).astype(H.dtype)
            rest = jnp.where(free, regulariser(diagonal(H)), 1)
            factor = inverse_factor((H * both + rest[:, None] * jnp.eye(H.shape[0], dtype=H.dtype))[None])[0]
            return dot(factor.T, dot(factor, jnp.where(free[:, None], g, 0)))

        decrease: jax.Array | float = 0.0
        if rare.lean:
            rare.note(free.any())
        else:
            q = when(free.any(), settle, jnp.zeros_like(g))
            decrease = (q * g).sum()
            g = jnp.where((self.lam > 0)[:, None], g - dot(H, q), 0)
            square = jnp.maximum(square - decrease, 0)
        size = self.norms(g)
        most = jnp.where(size > 0, self.lam / positive(size), jnp.inf).min()
        inner = (W * g).sum()
        scale = jnp.minimum(1 + inner / positive(square), most)
        return jnp.maximum(0.5 * decrease + 0.5 * square * (1 - scale) ** 2 + self.value(W) - scale * inner, 0)

    def subgradient(self, W: jax.Array, gradient: jax.Array) -> jax.Array:
        """The element of least norm of gradient + the subdifferential at W."""
        size = self.norms(gradient)
        left = jnp.maximum(size - self.lam, 0) / positive(size)
        return jnp.where(self.active(W)[:, None], gradient + self.slope(W), gradient * left[:, None])
