"""A factor of a Hessian in units in which its diagonal is 1, with a ridge that makes it regular."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_solve

from jaxinfra._core.loop import when
from jaxinfra._core.precision import dot, positive
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra.solvers.linalg.cholesky import inverse_factor
from jaxinfra.solvers.linalg.products import diagonal

# Parameters up to which LAPACK stays on one thread (`cholesky`) and a factor serves one right-hand side as it is.
_SMALL = 100


class Factor(NamedTuple):
    """The factor L of H scaled to a unit diagonal, or its inverse for more than `_SMALL` parameters, and the scale."""

    L: jax.Array
    scale: jax.Array

    @classmethod
    def of(
        cls, H: jax.Array, free: jax.Array | None = None, *, ridges: tuple[float, float], rare: Rare = WHOLE
    ) -> Factor:
        """Of H (q, q), positive semidefinite up to rounding, on the parameters that are `free` (q,).

        ridges: added to the diagonal, and in its place if that factorisation fails; NaN then in the lean program.
        """
        q = H.shape[0]
        eye = jnp.eye(q, dtype=H.dtype)
        size = diagonal(H)
        keep = size > 0 if free is None else (size > 0) & free
        scale = lax.rsqrt(positive(size))
        scale = scale if free is None else jnp.where(free, scale, 0)
        A = H * scale[:, None] * scale[None] + jnp.where(keep, 0, 1)[:, None].astype(H.dtype) * eye

        def factor(ridge: float) -> jax.Array:
            C = A + ridge * eye
            return lax.linalg.cholesky(C, symmetrize_input=False) if q <= _SMALL else inverse_factor(C[None])[0]

        L = factor(ridges[0])
        if not rare.lean:
            L = when(~jnp.isfinite(L.sum()), lambda _: factor(ridges[1]), L)
        return cls(L, scale)

    @classmethod
    def like(cls, scale: jax.Array) -> Factor:
        """Any factor, with any finite scale (q,)."""
        return cls(jnp.asarray(np.eye(len(scale)), scale.dtype), scale)

    def solve(self, b: jax.Array) -> jax.Array:
        """The solution H^-1 b for b (q,), zero off the free parameters."""
        x = self.scale * b
        return self.scale * (cho_solve((self.L, True), x) if len(x) <= _SMALL else dot(self.L.T, dot(self.L, x)))
