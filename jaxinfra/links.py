r"""Link functions of generalised linear models: eta = g(mu), the linear predictor as a function of the mean.

Each link is a frozen dataclass and a pytree without leaves, except `Power`, whose exponent is a leaf: it may be traced
and differentiated.  All methods are elementwise.

    link(mu)              eta
    link.inverse(eta)     mu
    link.complement(eta)  1 - mu, without cancellation where mu is a probability near 1
    link.slope(eta)       d mu / d eta
    link.log_inverse(eta), link.log_complement(eta)    logarithms of the two, without underflow

Where eta has no mean (a negative eta under the inverse link of a positive mean) the loss is infinite, and the solvers
shorten the step.  Source: McCullagh and Nelder, Generalized Linear Models (2nd ed. 1989), section 2.2.3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtr, ndtri
from jax.typing import ArrayLike

from jaxinfra._core.precision import positive
from jaxinfra._core.pytree import pytree

Array = jax.Array
Mean = float | np.ndarray | Array


class Link:
    """A link between a mean and a linear predictor.  Subclasses define `__call__`, `inverse` and `slope`."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = g(mu)."""
        raise NotImplementedError

    def inverse(self, eta: Array) -> Array:
        """The mean."""
        raise NotImplementedError

    def complement(self, eta: Array) -> Array:
        """The complement 1 - mean."""
        return 1 - self.inverse(eta)

    def slope(self, eta: Array) -> Array:
        """The derivative of the mean with respect to eta."""
        raise NotImplementedError

    def over_inverse(self, eta: Array) -> Array:
        """The slope over the mean, for a probability also where that underflows."""
        return self.slope(eta) / self.inverse(eta)

    def over_complement(self, eta: Array) -> Array:
        """The slope over 1 - mean, for a probability also where that underflows."""
        return self.slope(eta) / self.complement(eta)

    def log_inverse(self, eta: Array) -> Array:
        """The logarithm of the mean."""
        return jnp.log(self.inverse(eta))

    def log_complement(self, eta: Array) -> Array:
        """The logarithm of 1 - mean."""
        return jnp.log(self.complement(eta))


@pytree
class Identity(Link):
    """The predictor eta = mu: canonical for the Gaussian family."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = mu."""
        return jnp.asarray(mu)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = eta."""
        return eta

    def slope(self, eta: Array) -> Array:
        """The slope 1."""
        return jnp.ones_like(eta)


@pytree
class Log(Link):
    """The predictor eta = log mu: canonical for counts; exp(coef) are ratios of means."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = log mu."""
        return jnp.log(mu)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = exp(eta)."""
        return jnp.exp(eta)

    def slope(self, eta: Array) -> Array:
        """The slope exp(eta)."""
        return jnp.exp(eta)

    def log_inverse(self, eta: Array) -> Array:
        """The logarithm of the mean, eta."""
        return eta


@pytree
class Logit(Link):
    """The predictor eta = log(mu / (1 - mu)): canonical for proportions; exp(coef) are odds ratios."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = log(mu / (1 - mu))."""
        return jnp.log(mu / (1 - mu))

    def inverse(self, eta: Array) -> Array:
        """The mean mu = 1 / (1 + exp(-eta))."""
        return jax.nn.sigmoid(eta)

    def complement(self, eta: Array) -> Array:
        """The complement 1 / (1 + exp(eta))."""
        return jax.nn.sigmoid(-eta)

    def over_inverse(self, eta: Array) -> Array:
        """The ratio 1 - mu."""
        return jax.nn.sigmoid(-eta)

    def over_complement(self, eta: Array) -> Array:
        """The ratio mu."""
        return jax.nn.sigmoid(eta)

    def slope(self, eta: Array) -> Array:
        """The slope mu (1 - mu), from the smaller of the two, which keeps its digits."""
        least = jax.nn.sigmoid(jnp.where(eta > 0, -eta, eta))
        return least * (1 - least)

    def log_inverse(self, eta: Array) -> Array:
        """The logarithm of the mean, -log(1 + exp(-eta))."""
        return jax.nn.log_sigmoid(eta)

    def log_complement(self, eta: Array) -> Array:
        """The logarithm of 1 - mean, -log(1 + exp(eta))."""
        return jax.nn.log_sigmoid(-eta)


@pytree
class Probit(Link):
    """The predictor eta = Phi^-1(mu), the normal quantile."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = Phi^-1(mu)."""
        return ndtri(mu)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = Phi(eta)."""
        return ndtr(eta)

    def complement(self, eta: Array) -> Array:
        """The complement Phi(-eta)."""
        return ndtr(-eta)

    def slope(self, eta: Array) -> Array:
        """The slope, the normal density."""
        return jnp.exp(-0.5 * eta * eta) * 0.3989422804014327

    def over_inverse(self, eta: Array) -> Array:
        """The inverse of Mills' ratio of -eta: about -eta far below 0."""
        return jnp.exp(-0.5 * eta * eta - 0.9189385332046728 - log_ndtr(eta))

    def over_complement(self, eta: Array) -> Array:
        """The ratio of `over_inverse` at -eta."""
        return self.over_inverse(-eta)

    def log_inverse(self, eta: Array) -> Array:
        """The logarithm of the mean, log Phi(eta)."""
        return log_ndtr(eta)

    def log_complement(self, eta: Array) -> Array:
        """The logarithm of 1 - mean, log Phi(-eta)."""
        return log_ndtr(-eta)


@pytree
class CLogLog(Link):
    """The predictor eta = log(-log(1 - mu)), the complementary log-log link: proportional hazards in grouped time."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = log(-log(1 - mu))."""
        return jnp.log(-jnp.log1p(-mu))

    def _rate(self, eta: Array) -> Array:
        """The rate exp(eta), clipped where exp(-exp(eta)) is 0 already: infinity times that would be NaN."""
        return jnp.exp(jnp.minimum(eta, 80))

    def inverse(self, eta: Array) -> Array:
        """The mean mu = 1 - exp(-exp(eta))."""
        return -jnp.expm1(-self._rate(eta))

    def complement(self, eta: Array) -> Array:
        """The complement exp(-exp(eta))."""
        return jnp.exp(-self._rate(eta))

    def slope(self, eta: Array) -> Array:
        """The slope exp(eta - exp(eta))."""
        return self._rate(eta) * jnp.exp(-self._rate(eta))

    def over_inverse(self, eta: Array) -> Array:
        """The ratio exp(eta) / (exp(exp(eta)) - 1): 1 far below 0."""
        rate = self._rate(eta)
        return jnp.where(rate > 0, rate * jnp.exp(-rate) / -jnp.expm1(-positive(rate)), 1)

    def over_complement(self, eta: Array) -> Array:
        """The ratio exp(eta)."""
        return jnp.exp(eta)

    def log_complement(self, eta: Array) -> Array:
        """The logarithm of 1 - mean, -exp(eta)."""
        return -jnp.exp(eta)


@pytree
class Cauchit(Link):
    """The predictor eta = tan(pi (mu - 1/2)), the Cauchy quantile: robust to mislabelled proportions."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = tan(pi (mu - 1/2))."""
        return jnp.tan(jnp.pi * (mu - 0.5))

    def inverse(self, eta: Array) -> Array:
        """The mean mu = 1/2 + atan(eta) / pi, without cancellation in the tail."""
        return jnp.arctan2(jnp.ones_like(eta), -eta) / jnp.pi

    def complement(self, eta: Array) -> Array:
        """The complement 1/2 - atan(eta) / pi."""
        return jnp.arctan2(jnp.ones_like(eta), eta) / jnp.pi

    def slope(self, eta: Array) -> Array:
        """The slope 1 / (pi (1 + eta^2))."""
        return 1 / (jnp.pi * (1 + eta * eta))


@pytree
class Inverse(Link):
    """The predictor eta = 1 / mu: canonical for the gamma family (up to sign)."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = 1 / mu."""
        return 1 / jnp.asarray(mu)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = 1 / eta."""
        return 1 / eta

    def slope(self, eta: Array) -> Array:
        """The slope -1 / eta^2."""
        return -1 / (eta * eta)


@pytree
class InverseSquared(Link):
    """The predictor eta = 1 / mu^2: canonical for the inverse Gaussian family (up to factors)."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = mu^-2."""
        return 1 / jnp.square(mu)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = eta^(-1/2)."""
        return jax.lax.rsqrt(eta)

    def slope(self, eta: Array) -> Array:
        """The slope -eta^(-3/2) / 2."""
        return -0.5 * jax.lax.rsqrt(eta) / eta


@pytree
class Sqrt(Link):
    """The predictor eta = sqrt(mu): stabilises the variance of counts.  Only eta > 0 has a mean."""

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = sqrt(mu)."""
        return jnp.sqrt(mu)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = eta^2; NaN for eta < 0, where another eta would have the same mean."""
        return jnp.where(eta >= 0, eta * eta, jnp.nan)

    def slope(self, eta: Array) -> Array:
        """The slope 2 eta."""
        return 2 * eta


@pytree
class Power(Link):
    """The predictor eta = mu^exponent, exponent not 0; the exponent is traced.  Only eta > 0 has a mean."""

    exponent: ArrayLike

    def __call__(self, mu: Mean) -> Array:
        """The predictor eta = mu^exponent."""
        mu = jnp.asarray(mu)
        return mu ** jnp.asarray(self.exponent, mu.dtype)

    def inverse(self, eta: Array) -> Array:
        """The mean mu = eta^(1 / exponent)."""
        return eta ** (1 / jnp.asarray(self.exponent, eta.dtype))

    def slope(self, eta: Array) -> Array:
        """The slope eta^(1 / exponent - 1) / exponent."""
        exponent = jnp.asarray(self.exponent, eta.dtype)
        return eta ** (1 / exponent - 1) / exponent
