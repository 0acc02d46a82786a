r"""Norms of residuals that grow more slowly than the square: the losses of the M-estimators.

    rho(z)      the loss of a residual in units of the scale, z^2 / 2 near 0
    psi(z)      its derivative
    weight(z)   psi(z) / z, the weight in iteratively reweighted least squares

Each norm is a frozen dataclass registered as a pytree, its tuning constants leaves: they may be arrays, and derivatives
with respect to them exist.  The defaults of Huber, Tukey, Andrews, Cauchy and Welsch keep 95 % of the efficiency of
least squares under normal errors.

Source: Huber, Robust Statistics (1981), section 4.8; Hampel et al., Robust Statistics (1986), section 2.6; Ramsay 1977.
Elsewhere: statsmodels.robust.norms.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxinfra._core.pytree import pytree

Array = jax.Array


class Norm:
    """A norm of residuals.  redescending: whether psi returns towards 0, so that there may be several minima."""

    redescending: ClassVar[bool] = True

    def rho(self, z: Array) -> Array:
        """The loss of a residual in units of the scale."""
        raise NotImplementedError

    def weight(self, z: Array) -> Array:
        """The weight psi(z) / z, 1 at 0."""
        raise NotImplementedError

    def psi(self, z: Array) -> Array:
        """The derivative of rho."""
        return z * self.weight(z)


@pytree
class Huber(Norm):
    """Huber's norm, quadratic to k, then linear: convex, one minimum.  statsmodels' HuberT(t = k).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.norms.Huber(1.0).psi(jnp.array([-3.0, 0.5])))
    [-1.   0.5]
    """

    k: float | Array = 1.345
    redescending: ClassVar[bool] = False

    def rho(self, z: Array) -> Array:
        """The loss z^2 / 2, from k on k |z| - k^2 / 2."""
        c = jnp.clip(z, -self.k, self.k)
        return c * (z - 0.5 * c)

    def weight(self, z: Array) -> Array:
        """The weight min(1, k / |z|)."""
        a = jnp.abs(z)
        return jnp.where(a <= self.k, 1, self.k / jnp.where(a <= self.k, 1, a))


@pytree
class Tukey(Norm):
    """Tukey's biweight: rows beyond c have weight 0.  statsmodels' TukeyBiweight(c).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.norms.Tukey(2.0).weight(jnp.array([0.0, 1.0, 3.0])))
    [1.     0.5625 0.    ]
    """

    c: float | Array = 4.685

    def _left(self, z: Array) -> Array:
        return 1 - jnp.minimum(jnp.abs(z / self.c), 1) ** 2

    def rho(self, z: Array) -> Array:
        """The loss c^2 / 6 (1 - (1 - (z / c)^2)^3) up to c, then constant."""
        return jnp.broadcast_to(self.c**2 / 6 * (1 - self._left(z) ** 3), z.shape)

    def weight(self, z: Array) -> Array:
        """The weight (1 - (z / c)^2)^2 up to c, then 0."""
        return self._left(z) ** 2


@pytree
class Hampel(Norm):
    """Hampel's norm: psi rises to a, is constant to b, and falls to 0 at c.  statsmodels' Hampel(a, b, c).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.norms.Hampel(1.0, 2.0, 4.0).psi(jnp.array([0.5, 1.5, 3.0, 5.0])))
    [0.5 1.  0.5 0. ]
    """

    a: float | Array = 2.0
    b: float | Array = 4.0
    c: float | Array = 8.0

    def rho(self, z: Array) -> Array:
        """The integral of psi."""
        v = jnp.abs(z)
        first = jnp.minimum(v, self.a)
        second = jnp.clip(v, self.a, self.b) - self.a
        third = jnp.clip(v, self.b, self.c)
        fall = (self.c - self.b) ** 2 - (self.c - third) ** 2
        return 0.5 * first**2 + self.a * second + 0.5 * self.a * fall / (self.c - self.b)

    def weight(self, z: Array) -> Array:
        """The weight psi(z) / z."""
        v = jnp.abs(z)
        size = self.a * jnp.clip((self.c - v) / (self.c - self.b), 0, 1)
        return jnp.where(v <= self.a, 1, size / jnp.where(v <= self.a, 1, v))


@pytree
class Andrews(Norm):
    """Andrews' wave: psi is a sine up to pi a, then 0.  statsmodels' AndrewWave(a).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.norms.Andrews(1.0).psi(jnp.array([jnp.pi / 2, 4.0])).round(2))
    [1. 0.]
    """

    a: float | Array = 1.339

    def rho(self, z: Array) -> Array:
        """The loss a^2 (1 - cos(z / a)) up to pi a, then constant."""
        return jnp.broadcast_to(self.a**2 * (1 - jnp.cos(jnp.minimum(jnp.abs(z / self.a), jnp.pi))), z.shape)

    def weight(self, z: Array) -> Array:
        """The weight sin(z / a) / (z / a) up to pi a, then 0."""
        u = z / self.a
        return jnp.where(jnp.abs(u) < jnp.pi, jnp.sinc(u / jnp.pi), 0)


@pytree
class Ramsay(Norm):
    """Ramsay's Ea: psi decays as z exp(-a |z|).  statsmodels' RamsayE(a).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(f"{ji.norms.Ramsay(1.0).weight(jnp.array(1.0)):.4f}")  # 1 / e
    0.3679
    """

    a: float | Array = 0.3

    def rho(self, z: Array) -> Array:
        """The loss (1 - exp(-a |z|) (1 + a |z|)) / a^2."""
        u = self.a * jnp.abs(z)
        return (-jnp.expm1(-u) - u * jnp.exp(-u)) / self.a**2

    def weight(self, z: Array) -> Array:
        """The weight exp(-a |z|)."""
        return jnp.exp(-self.a * jnp.abs(z))


@pytree
class Cauchy(Norm):
    """The log likelihood of Cauchy errors; psi decays as 1 / z.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.norms.Cauchy(2.0).weight(jnp.array([0.0, 2.0])))
    [1.  0.5]
    """

    c: float | Array = 2.385

    def rho(self, z: Array) -> Array:
        """The loss c^2 / 2 log(1 + (z / c)^2)."""
        return 0.5 * self.c**2 * jnp.log1p((z / self.c) ** 2)

    def weight(self, z: Array) -> Array:
        """The weight 1 / (1 + (z / c)^2)."""
        return 1 / (1 + (z / self.c) ** 2)


@pytree
class Welsch(Norm):
    """Welsch's norm: psi decays as z times a normal density.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(f"{ji.norms.Welsch(1.0).weight(jnp.array(1.0)):.4f}")  # 1 / e
    0.3679
    """

    c: float | Array = 2.985

    def rho(self, z: Array) -> Array:
        """The loss c^2 / 2 (1 - exp(-(z / c)^2))."""
        return -0.5 * self.c**2 * jnp.expm1(-((z / self.c) ** 2))

    def weight(self, z: Array) -> Array:
        """The weight exp(-(z / c)^2)."""
        return jnp.exp(-((z / self.c) ** 2))
