r"""The coordinates in which second derivatives are formed: columns about their means, in units of their spread."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.implicit import frozen
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra.solvers.linalg.design import with_ones
from jaxinfra.solvers.linalg.products import power_of_two


class Design(NamedTuple):
    """The columns V (n, q), each about its mean and in units of its spread, and a column of ones where there is an
    intercept; theta = back gamma, back (q, q), from the parameters gamma of V to those of X.

    Second derivatives in (X, 1) itself would contain the squares of its means: in a column of years, digits would be
    lost to the distance from the year 0.
    """

    V: jax.Array
    back: jax.Array

    @property
    def scale(self) -> jax.Array:
        """The factors (p,): the columns of V are those of X less their means, times these."""
        return jnp.diagonal(self.back)


def design(X: jax.Array, w: jax.Array, fit_intercept: bool) -> Design:
    """The design of X (n, p) with weights w (n,).  Its coordinates carry no derivatives: no result depends on them."""
    p, dtype = X.shape[1], X.dtype
    total = positive(w.sum())
    centre = frozen(dot(w, X) / total) if fit_intercept else jnp.zeros_like(X[0])
    Z = X - centre[None]
    scale = 1 / power_of_two(jnp.abs(frozen(Z)).max(0))
    Z = Z * scale[None]
    # A column that varies less than this has at most two digits left in the predictor.
    varies = jnp.sqrt(dot(w, frozen(Z) ** 2) / total) > 100 * eps(dtype) * jnp.abs(centre * scale)
    Z = jnp.where(varies[None], Z, 0)
    if not fit_intercept:
        return Design(Z, jnp.diag(scale))
    back = jnp.diag(jnp.append(scale, jnp.ones((), dtype)))
    back = back - jnp.pad((centre * scale)[None], ((p, 0), (0, 1)))
    return Design(with_ones(Z), back)
