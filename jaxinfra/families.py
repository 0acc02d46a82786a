r"""Families of generalised linear models: the variance of y as a function of its mean.

Each family is a frozen dataclass registered as a pytree; parameters such as the Tweedie power are leaves, so they may
be traced and differentiated.  All methods are elementwise.

    family.variance(mu)           V(mu): Var(y) = dispersion * V(mu) / weight
    family.half_deviance(y, mu)   half the unit deviance, the integral of (y - t) / V(t) from mu to y; 0 at mu = y
    family.valid(y)               where y is a value that the family allows
    family.link                   the default link, which `link=None` means
    family.loss(y, eta, link)     half_deviance(y, g^-1(eta)), in a form that neither cancels nor overflows early

Source: McCullagh and Nelder, Generalized Linear Models (2nd ed. 1989), table 2.1; Jorgensen 1987 (Tweedie).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from jaxinfra._core.precision import positive
from jaxinfra._core.pytree import pytree
from jaxinfra.links import Cauchit, CLogLog, Identity, Inverse, InverseSquared, Link, Log, Logit, Probit

Array = jax.Array


def _mean(eta: Array, link: Link) -> tuple[Array, Array]:
    """The mean and its slope.  Under the log link neither they nor a power of the mean up to 2 underflow: for a row of
    y = 0 far below all others, V would be 0, and slope and information 0 / 0."""
    if not isinstance(link, Log):
        return link.inverse(eta), link.slope(eta)
    mu = jnp.maximum(link.inverse(eta), jnp.finfo(eta.dtype).tiny ** 0.5)
    return mu, mu


class Family:
    """A family of distributions of the response."""

    link: ClassVar[Link]

    def variance(self, mu: Array) -> Array:
        """The variance function."""
        raise NotImplementedError

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """Half the unit deviance."""
        raise NotImplementedError

    def valid(self, y: Array) -> Array:
        """Whether the family allows y, elementwise: by operators alone, which NumPy arrays have as well."""
        raise NotImplementedError

    def loss(self, y: Array, eta: Array, link: Link) -> Array:
        """Half the unit deviance at the linear predictor."""
        return self.half_deviance(y, _mean(eta, link)[0])

    def slope(self, y: Array, eta: Array, link: Link) -> Array:
        """The derivative of `loss` by eta: (mu - y) / V(mu) * dmu/deta; NaN where V(mu) overflows, not 0."""
        mu, change = _mean(eta, link)
        return (mu - y) / jnp.where((V := self.variance(mu)) < jnp.inf, V, jnp.nan) * change

    def information(self, eta: Array, link: Link) -> Array:
        """The expected second derivative of `loss` (Fisher): (dmu/deta)^2 / V(mu)."""
        mu, change = _mean(eta, link)
        return change**2 / self.variance(mu)

    def convex(self, link: Link) -> bool:
        """Whether `loss` is known to be convex in eta, so that Newton's method may use its second derivative."""
        return False


@pytree
class Gaussian(Family):
    """The Gaussian family, V = 1: least squares."""

    link: ClassVar[Link] = Identity()

    def variance(self, mu: Array) -> Array:
        """The variance 1."""
        return jnp.ones_like(mu)

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """Half the square, (y - mu)^2 / 2."""
        return 0.5 * (y - mu) ** 2

    def valid(self, y: Array) -> Array:
        """Whether y is finite."""
        return (y > -np.inf) & (y < np.inf)

    def convex(self, link: Link) -> bool:
        """Whether the link is the identity."""
        return isinstance(link, Identity)


@jax.custom_jvp
def _softplus(eta: Array) -> Array:
    """The softplus log(1 + exp eta).  jnp.logaddexp, which handles equal infinities too, is half as fast in float64."""
    return jnp.maximum(eta, 0) + jnp.log1p(jnp.exp(-jnp.abs(eta)))


@_softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _softplus(*primals), jax.nn.sigmoid(*primals) * tangents[0]


@pytree
class Binomial(Family):
    """The binomial family, V = mu (1 - mu), for proportions y in [0, 1]; sample_weight is the number of trials."""

    link: ClassVar[Link] = Logit()

    def variance(self, mu: Array) -> Array:
        """The variance mu (1 - mu)."""
        return mu * (1 - mu)

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """The divergence y log(y / mu) + (1 - y) log((1 - y) / (1 - mu))."""
        return xlogy(y, y) - xlogy(y, mu) + xlogy(1 - y, 1 - y) - xlogy(1 - y, 1 - mu)

    def valid(self, y: Array) -> Array:
        """Whether y is between 0 and 1."""
        return (y >= 0) & (y <= 1)

    def loss(self, y: Array, eta: Array, link: Link) -> Array:
        """Half the unit deviance, with log mu and log(1 - mu) from the link."""
        entropy = xlogy(y, y) + xlogy(1 - y, 1 - y)
        if isinstance(link, Logit):
            return _softplus(eta) - y * eta + entropy
        yes = jnp.where(y > 0, y * link.log_inverse(eta), 0)  # not 0 times an infinite logarithm
        no = jnp.where(y < 1, (1 - y) * link.log_complement(eta), 0)
        if isinstance(link, Probit | CLogLog | Cauchit):
            return entropy - yes - no
        mu = link.inverse(eta)  # other links have means that are no probability
        return jnp.where((mu >= 0) & (mu <= 1), entropy - yes - no, jnp.nan)

    def slope(self, y: Array, eta: Array, link: Link) -> Array:
        """The derivative (1 - y) mu' / (1 - mu) - y mu' / mu."""
        if isinstance(link, Logit):
            return link.inverse(eta) - y
        no = jnp.where(y < 1, (1 - y) * link.over_complement(eta), 0)
        return no - jnp.where(y > 0, y * link.over_inverse(eta), 0)

    def information(self, eta: Array, link: Link) -> Array:
        """The information mu'^2 / (mu (1 - mu))."""
        return link.slope(eta) if isinstance(link, Logit) else link.over_inverse(eta) * link.over_complement(eta)

    def convex(self, link: Link) -> bool:
        """Whether the link is the logit."""
        return isinstance(link, Logit)


def _relative(x: Array) -> Array:
    """The quotient expm1(x) / x, near 0 by its series, so that it has derivatives there."""
    small = jnp.abs(x) < 1e-4
    safe = jnp.where(small, 1, x)
    return jnp.where(small, 1 + x / 2 + x * x / 6, jnp.expm1(safe) / safe)


def _power_deviance(y: Array, log_mu: Array, p: Any) -> Array:
    """Half the unit deviance of V = mu^p in terms of d = log(mu / y), so that large y and mu do not cancel:

    y^(2-p) [B(d, 2-p) - B(d, 1-p)] with B(d, a) = expm1(a d) / a, and mu^(2-p) / (2-p) at y = 0 (for p < 2).
    """
    log_y = jnp.log(positive(y))
    d = log_mu - log_y
    value = jnp.exp((2 - p) * log_y) * d * (_relative((2 - p) * d) - _relative((1 - p) * d))
    at_zero = jnp.exp((2 - p) * log_mu) / jnp.where(p < 2, 2 - p, 1)
    # A y so small that exp(d) overflows is treated as 0.
    tiny = (2 - p) * d > 0.9 * jnp.log(jnp.finfo(y.dtype).max)
    return jnp.where((y > 0) & ~tiny, value, at_zero)


@pytree
class Poisson(Family):
    """The Poisson family, V = mu: counts, and rates with an exposure."""

    link: ClassVar[Link] = Log()

    def variance(self, mu: Array) -> Array:
        """The variance mu."""
        return mu

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """The divergence y log(y / mu) - (y - mu), NaN (an infinite loss) where mu < 0, and where mu = 0 < y."""
        return self._deviance(y, jnp.log(jnp.where(mu > 0, mu, jnp.nan)), mu)

    def _deviance(self, y: Array, log_mu: Array, mu: Array) -> Array:
        # With d = log(mu / y) it is y (expm1(d) - d): where y is near mu, large counts do not cancel.
        d = log_mu - jnp.log(positive(y))
        some = jnp.where(d < 1, y * jnp.expm1(jnp.minimum(d, 1)), mu - y) - y * d
        return jnp.where(y > 0, some, jnp.where(mu >= 0, mu, jnp.nan))

    def valid(self, y: Array) -> Array:
        """Whether y is 0 or more; it need not be whole (quasi-Poisson)."""
        return (y >= 0) & (y < np.inf)

    def loss(self, y: Array, eta: Array, link: Link) -> Array:
        """Half the unit deviance, with log mu from the link."""
        if isinstance(link, Log):
            return self._deviance(y, eta, jnp.exp(eta))
        return self.half_deviance(y, link.inverse(eta))

    def slope(self, y: Array, eta: Array, link: Link) -> Array:
        """The derivative (1 - y / mu) mu'."""
        if isinstance(link, Log):
            return jnp.exp(eta) - y
        mu = link.inverse(eta)
        return (1 - jnp.where(y > 0, y / jnp.where(y > 0, mu, 1), 0)) * link.slope(eta)

    def convex(self, link: Link) -> bool:
        """Whether the link is the log or the identity."""
        return isinstance(link, Log | Identity)


@pytree
class Gamma(Family):
    """The gamma family, V = mu^2: positive amounts of constant coefficient of variation, such as claim sizes."""

    link: ClassVar[Link] = Inverse()

    def variance(self, mu: Array) -> Array:
        """The variance mu^2."""
        return mu * mu

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """The divergence (y - mu) / mu - log(y / mu), NaN where mu <= 0 (an infinite loss)."""
        mu = jnp.where(mu > 0, mu, jnp.nan)
        return (y - mu) / mu - jnp.log(y) + jnp.log(mu)

    def valid(self, y: Array) -> Array:
        """Whether y is above 0."""
        return (y > 0) & (y < np.inf)

    def convex(self, link: Link) -> bool:
        """Whether the link is the log or the inverse."""
        return isinstance(link, Log | Inverse)


@pytree
class InverseGaussian(Family):
    """The inverse Gaussian family, V = mu^3: positive amounts with a heavier tail than gamma."""

    link: ClassVar[Link] = InverseSquared()

    def variance(self, mu: Array) -> Array:
        """The variance mu^3."""
        return mu * mu * mu

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """The divergence (y - mu)^2 / (2 y mu^2), NaN where mu <= 0 (an infinite loss)."""
        mu = jnp.where(mu > 0, mu, jnp.nan)
        return 0.5 * ((y - mu) / mu) ** 2 / y

    def valid(self, y: Array) -> Array:
        """Whether y is above 0."""
        return (y > 0) & (y < np.inf)

    def convex(self, link: Link) -> bool:
        """Whether the link is the inverse square."""
        return isinstance(link, InverseSquared)


@pytree
class Tweedie(Family):
    """The Tweedie family, V = mu^power: 0 is Gaussian, 1 Poisson, between 1 and 2 amounts with exact zeros (rainfall,
    total claims), 2 gamma, 3 inverse Gaussian; powers between 0 and 1 do not exist.  The default link is the log."""

    power: ArrayLike = 1.5
    link: ClassVar[Link] = Log()

    def variance(self, mu: Array) -> Array:
        """The variance mu^power."""
        power = jnp.asarray(self.power, mu.dtype)
        return jnp.where(mu > 0, mu, jnp.where(power == 0, 1, jnp.nan)) ** power

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """The integral of (y - t) / t^power from mu to y; NaN where mu <= 0 (an infinite loss), unless power is 0."""
        p = jnp.asarray(self.power, mu.dtype)
        value = _power_deviance(y, jnp.log(positive(mu)), p)
        return jnp.where(p == 0, 0.5 * (y - mu) ** 2, jnp.where(mu > 0, value, jnp.nan))

    def valid(self, y: Array) -> Array:
        """Whether y is finite (power <= 0), >= 0 (1 <= power < 2), > 0 (power >= 2); false for 0 < power < 1."""
        p: Any = self.power
        return ((p <= 0) | ((p >= 1) & (p < 2) & (y >= 0)) | ((p >= 2) & (y > 0))) & (y > -np.inf) & (y < np.inf)


@pytree
class NegativeBinomial(Family):
    """The negative binomial, V = mu + alpha mu^2: counts that vary more than Poisson's, its limit for alpha -> 0."""

    alpha: ArrayLike = 1.0
    link: ClassVar[Link] = Log()

    def variance(self, mu: Array) -> Array:
        """The variance mu + alpha mu^2."""
        return mu + jnp.asarray(self.alpha, mu.dtype) * mu * mu

    def half_deviance(self, y: Array, mu: Array) -> Array:
        """The divergence y log(y / mu) - (y + 1 / alpha) log((1 + alpha y) / (1 + alpha mu)), NaN where mu <= 0.

        As y log1p((y - mu) / (mu (1 + alpha y))) - log1p(x) / alpha, x = alpha (y - mu) / (1 + alpha mu), which does
        not cancel where y is near mu.
        """
        alpha, mu = jnp.asarray(self.alpha, mu.dtype), jnp.where(mu > 0, mu, jnp.nan)
        r = (y - mu) / (1 + alpha * mu)
        x = alpha * r
        small = jnp.abs(x) < 1e-4
        safe = jnp.where(small, 1, x)
        ratio = (y - mu) / (mu * (1 + alpha * y))
        logs = jnp.log1p(alpha * y) - jnp.log1p(alpha * mu)
        apart = jnp.log(positive(y)) - jnp.log(mu) - logs
        near = ratio > -0.5
        first = y * jnp.where(near, jnp.log1p(jnp.where(near, ratio, 0)), apart)
        scaled = jnp.where(x > -0.5, jnp.log1p(jnp.maximum(safe, -0.5)), logs) / safe
        return first - r * jnp.where(small, 1 - x / 2 + x * x / 3, scaled)

    def valid(self, y: Array) -> Array:
        """Whether y is 0 or more and alpha is not negative."""
        return (y >= 0) & (y < np.inf) & (self.alpha >= 0)  # type: ignore[operator]

    def convex(self, link: Link) -> bool:
        """Whether the link is the log."""
        return isinstance(link, Log)
