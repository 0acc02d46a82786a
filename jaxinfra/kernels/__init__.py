r"""Kernels: k(x, z) for all pairs of rows, as pytrees whose numeric fields are leaves.

    Linear()                               x'z
    Polynomial(degree, gamma, coef0)       (gamma x'z + coef0)^degree
    RBF(gamma)                             exp(-sum_j gamma_j (x_j - z_j)^2), gamma scalar or (p,)
    Sigmoid(gamma, coef0)                  tanh(gamma x'z + coef0), not positive definite
    Precomputed()                          X is the matrix of kernel values itself
    Custom(function, params)               any function of two sets of rows

Sums and products of kernels are kernels, and so are their multiples by a number.  `scale` and `auto` return the `gamma`
that scikit-learn and libsvm use by default.

A solver needs many blocks of the same matrix.  So the work that depends on one set of rows alone is done once, in
`features`, and `between` does the rest for a pair of sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxinfra._core import absent, address, checks, compensated
from jaxinfra._core.compensated import Pair
from jaxinfra._core.precision import dot, positive
from jaxinfra._core.pytree import pytree, static
from jaxinfra.kernels._kernel import Kernel, Product, Scaled, Sum, cast
from jaxinfra.kernels._rbf import RBF

__all__ = [
    "auto",
    "cast",
    "Custom",
    "Kernel",
    "Linear",
    "Polynomial",
    "Precomputed",
    "Product",
    "RBF",
    "scale",
    "Scaled",
    "Sigmoid",
    "Sum",
]

address.at_home(globals())

Array = jax.Array


@pytree
class Linear(Kernel):
    """The linear kernel x'z."""

    def between(self, a: Array, b: Array) -> Array:
        """The products of the rows."""
        return dot(a, b.T)

    def times(self, a: Array, v: Array) -> Array:
        """The product X (X'v), without the matrix."""
        return dot(a, dot(v, a))

    def diagonal(self, a: Array) -> Array:
        """The squared lengths."""
        return (a * a).sum(1)

    def rounding(self, a: Array) -> Array:
        """The largest squared length."""
        return self.diagonal(a).max()

    def pairs(self, a: Array, b: Array) -> Pair:
        """The products of the rows."""
        return compensated.matmul((a, jnp.zeros_like(a)), (b, jnp.zeros_like(b)))


@pytree
class Polynomial(Kernel):
    """The polynomial kernel (gamma x'z + coef0)^degree: libsvm's and scikit-learn's "poly".

    Args:
      degree: a whole number of at least 1, static.
      gamma, coef0: numbers, traced.

    Raises:
      ValueError for another degree.
    """

    degree: int = static(default=3)
    gamma: ArrayLike = 1.0
    coef0: ArrayLike = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.degree, bool) or not isinstance(self.degree, int | np.integer) or self.degree < 1:
            raise ValueError(f"kernels.Polynomial: degree is static and a whole number >= 1, got {self.degree!r}")

    def between(self, a: Array, b: Array) -> Array:
        """The power of the affine products."""
        return jax.lax.integer_pow(self.gamma * dot(a, b.T) + self.coef0, int(self.degree))

    def pairs(self, a: Array, b: Array) -> Pair:
        """The power by repeated squaring."""
        product = compensated.matmul((a, jnp.zeros_like(a)), (b, jnp.zeros_like(b)))
        constant = jnp.broadcast_to(self.coef0, product[0].shape)
        gamma = (jnp.broadcast_to(self.gamma, product[0].shape), jnp.zeros_like(product[0]))
        base = compensated.normalise(compensated.add(compensated.multiply(gamma, product), (constant, 0 * constant)))
        value: Pair | None = None
        for bit in f"{int(self.degree):b}":
            value = compensated.multiply(value, value) if value else None
            if bit == "1":
                value = compensated.multiply(value, base) if value else base
            # Without the barrier small blocks are one XLA kernel, into which each product is copied once for every
            # use: degree 8 compiled for two minutes.
            value = jax.lax.optimization_barrier(value)
        assert value is not None
        return value

    def diagonal(self, a: Array) -> Array:
        """The power of the affine squared lengths."""
        return jax.lax.integer_pow(self.gamma * (a * a).sum(1) + self.coef0, int(self.degree))


@pytree
class Sigmoid(Kernel):
    """The sigmoid kernel tanh(gamma x'z + coef0), not positive definite: a fit may end at a stationary point.

    Args:
      gamma, coef0: numbers, traced.
    """

    gamma: ArrayLike = 1.0
    coef0: ArrayLike = 0.0

    def between(self, a: Array, b: Array) -> Array:
        """The hyperbolic tangent of the affine products."""
        return jnp.tanh(self.gamma * dot(a, b.T) + self.coef0)

    def diagonal(self, a: Array) -> Array:
        """The same of the squared lengths."""
        return jnp.tanh(self.gamma * (a * a).sum(1) + self.coef0)


@pytree
class Precomputed(Kernel):
    """Kernel values given as X: (n, n) between the rows of the fit, (m, n) where a fit predicts m new rows."""


@pytree
class Custom(Kernel):
    """A function of two sets of rows as a kernel: function(X (n, p), Z (m, p)) -> (n, m), symmetric in X and Z.

    Args:
      function: static; pass the same object every time, since a new one compiles again.
      params: None, or a pytree of arrays, traced, the third argument of the function; fits have derivatives with
        respect to it.

    >>> import jax.numpy as jnp
    >>> from jaxinfra import kernels
    >>> def laplacian(X, Z, gamma):
    ...     return jnp.exp(-gamma * jnp.abs(X[:, None] - Z[None]).sum(-1))
    >>> print(kernels.Custom(laplacian, 1.0)(jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 1.0]])).round(3))
    [[0.135]]
    """

    function: Callable[..., Array] = static()
    params: Any = None

    def between(self, a: Array, b: Array) -> Array:
        """The values of the callable."""
        return self.function(a, b) if self.params is None else self.function(a, b, self.params)


def scale(X: ArrayLike, sample_weight: ArrayLike | None = None) -> Array:
    """The gamma 1 / (p var(X)): scikit-learn's gamma="scale".

    Args:
      X: (n, p), traced.
      sample_weight: (n,), traced; the number of times that each row counts, None means once.

    Returns:
      A scalar: 1 where X does not vary, NaN where the variance overflows.

    Raises:
      ValueError for other shapes.  TypeError for arrays without numbers.

    >>> import jax.numpy as jnp
    >>> from jaxinfra import kernels
    >>> print(kernels.scale(jnp.array([[0.0, 2.0], [2.0, 0.0]])))
    0.5
    """
    X = _rows("kernels.scale", X)
    if sample_weight is None:
        spread = X.var() * X.shape[1]
    else:
        w = checks.rows_like("kernels.scale", "sample_weight", sample_weight, X, X)
        X, w = absent.masked(X, jnp.asarray(w, X.dtype))
        share = w / positive(w.sum())
        spread = dot(share, (X - dot(share, X).mean()) ** 2).sum()
    # A variance that overflows has a reciprocal of 0, a kernel that is 1 for all rows.
    return jnp.where(jnp.isfinite(spread), 1 / positive(spread), jnp.nan)


def auto(X: ArrayLike) -> Array:
    """The gamma 1 / p: libsvm's default, scikit-learn's gamma="auto".

    Args:
      X: (n, p), traced; its columns are counted.

    Raises:
      ValueError for another shape.  TypeError for an X that holds no numbers.

    >>> import jax.numpy as jnp
    >>> from jaxinfra import kernels
    >>> print(kernels.auto(jnp.zeros((3, 4))))
    0.25
    """
    X = _rows("kernels.auto", X)
    return jnp.asarray(1 / X.shape[1], X.dtype)


def _rows(verb: str, X: ArrayLike) -> Array:
    X = checks.array(verb, "X", X)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"{verb}: X must have shape (n, p), n and p at least 1, got X {X.shape}")
    return jnp.asarray(X, checks.working_dtype(X))
