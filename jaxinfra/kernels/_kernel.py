"""The base of all kernels, and the kernels made of others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxinfra._core import checks
from jaxinfra._core.centre import bulk
from jaxinfra._core.compensated import Pair
from jaxinfra._core.pytree import pytree

Array = jax.Array
# Columns up to which squared distances are sums of squared differences, right wherever the rows are (`_rbf`).  That has
# its price: svc of 8000 rows with 6, 10 and 14 columns (C = 1, 2 cores) takes 80, 112 and 148 ms, else 69, 96 and 106.
FEW = 16


class Kernel:
    """The base of all kernels.

    >>> import jax.numpy as jnp
    >>> from jaxinfra import kernels
    >>> k = kernels.RBF(0.5) + 2 * kernels.Linear()
    >>> print(k(jnp.array([[2.0]]), jnp.array([[2.0]])))
    [[9.]]
    """

    def __call__(self, X: ArrayLike, Z: ArrayLike) -> Array:
        """The values k(x, z) for rows X (n, p) and Z (m, p): (n, m).

        Raises:
          ValueError for X and Z of other shapes.  TypeError for arrays without numbers.
        """
        X, Z = checks.array("kernel", "X", X), checks.array("kernel", "Z", Z)
        if X.ndim != 2 or Z.ndim != 2 or X.shape[1] != Z.shape[1]:
            raise ValueError(f"kernel: X (n, p) and Z (m, p) must have equal columns, got {X.shape} and {Z.shape}")
        dtype = checks.working_dtype(X, Z)
        X, Z = jnp.asarray(X, dtype), jnp.asarray(Z, dtype)
        about, kernel = self.middle(Z), cast(self, dtype)
        return kernel.between(kernel.features(X, about), kernel.features(Z, about))

    def middle(self, X: Array) -> Array:
        """The point that `features` subtracts where X (n, p) keeps its dtype: (p,), 0 where differences come first."""
        return jnp.zeros_like(X[0]) if X.shape[1] <= FEW else bulk(X)

    def features(self, X: Array, about: Array) -> Any:
        """The part that depends on one set of rows: a pytree of arrays with the rows first.

        about: (p,), the same for all rows of a problem, from `middle`; kernels of differences subtract it, so that no
          digits are lost far from the origin.
        """
        return X

    def between(self, a: Any, b: Any) -> Array:
        """The values for the features of n and of m rows: (n, m)."""
        raise NotImplementedError

    def times(self, a: Any, v: Array) -> Array | None:
        """The matrix of n rows times v (n,), where the kernel has a cheaper product than by the matrix, else None."""
        return None

    def diagonal(self, a: Any) -> Array:
        """The values k(x, x) for the features of n rows: (n,)."""
        one = lambda row: self.between(*[jax.tree.map(lambda v: v[None], row)] * 2)[0, 0]  # noqa: E731
        return jax.vmap(one)(a)

    def pair_features(self, X: Array, about: Array) -> Any:
        """The features that `pairs` needs, of one set of rows."""
        return self.features(X, about)

    def pairs(self, a: Any, b: Any) -> Pair:
        """The values in 1.5 times the working precision where a kernel has it, for certificates without float64."""
        value = self.between(a, b)
        return value, jnp.zeros_like(value)

    def lean(self, a: Any) -> tuple[Any, Array | bool]:
        """Features with which `between` leaves out what few data need, and whether these data need it."""
        return a, False

    def rounding(self, a: Any) -> Array | None:
        """The typical rounding error of the values of n rows in units of eps, or None where it is not known."""
        return None

    def __add__(self, other: Kernel) -> Kernel:
        return Sum(self, other) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other: Any) -> Kernel:
        return Product(self, other) if isinstance(other, Kernel) else Scaled(self, other)

    __rmul__ = __mul__


@pytree
class Sum(Kernel):
    """The sum of two kernels."""

    first: Kernel
    second: Kernel

    def features(self, X: Array, about: Array) -> tuple[Any, Any]:
        """The features of both kernels."""
        return self.first.features(X, about), self.second.features(X, about)

    def between(self, a: tuple[Any, Any], b: tuple[Any, Any]) -> Array:
        """The sum of both kernels."""
        return self.first.between(a[0], b[0]) + self.second.between(a[1], b[1])

    def diagonal(self, a: tuple[Any, Any]) -> Array:
        """The sum of both kernels."""
        return self.first.diagonal(a[0]) + self.second.diagonal(a[1])


@pytree
class Product(Kernel):
    """The product of two kernels."""

    first: Kernel
    second: Kernel

    def features(self, X: Array, about: Array) -> tuple[Any, Any]:
        """The features of both kernels."""
        return self.first.features(X, about), self.second.features(X, about)

    def between(self, a: tuple[Any, Any], b: tuple[Any, Any]) -> Array:
        """The product of both kernels."""
        return self.first.between(a[0], b[0]) * self.second.between(a[1], b[1])

    def diagonal(self, a: tuple[Any, Any]) -> Array:
        """The product of both kernels."""
        return self.first.diagonal(a[0]) * self.second.diagonal(a[1])


@pytree
class Scaled(Kernel):
    """A multiple of a kernel."""

    kernel: Kernel
    factor: float | Array

    def features(self, X: Array, about: Array) -> Any:
        """The features of the kernel."""
        return self.kernel.features(X, about)

    def between(self, a: Any, b: Any) -> Array:
        """The multiple of the kernel."""
        return self.factor * self.kernel.between(a, b)

    def diagonal(self, a: Any) -> Array:
        """The multiple of the kernel."""
        return self.factor * self.kernel.diagonal(a)


def cast(kernel: Kernel, dtype: DTypeLike) -> Kernel:
    """The kernel with its numbers as arrays of a dtype."""
    return jax.tree.map(lambda v: jnp.asarray(v, dtype), kernel)
