r"""Losses of a linear predictor, elementwise in y and eta, for the solvers of `solvers.likelihood`.

Each loss is a frozen dataclass registered as a pytree, its numeric fields leaves.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxinfra._core.pytree import pytree
from jaxinfra.families import Binomial, Family, Gaussian, NegativeBinomial, Poisson, Tweedie
from jaxinfra.links import (
    Cauchit,
    CLogLog,
    Identity,
    Inverse,
    InverseSquared,
    Link,
    Log,
    Logit,
    Power,
    Probit,
    Sqrt,
)

Array = jax.Array


@pytree
class Likelihood:
    """A family with a link, as the loss of a linear predictor."""

    family: Family
    link: Link

    def value(self, y: Array, eta: Array) -> Array:
        """Half the unit deviance; infinite where eta has no mean."""
        value = self.family.loss(y, eta, self.link)
        return jnp.where(jnp.isnan(value), jnp.inf, value)

    def slope(self, y: Array, eta: Array) -> Array:
        """The first derivative with respect to eta."""
        return self.family.slope(y, eta, self.link)

    def curvature(self, y: Array, eta: Array) -> Array:
        """The second derivative with respect to eta (observed, not expected)."""
        if isinstance(self.link, type(self.family.link)) and not isinstance(self.family, Tweedie | NegativeBinomial):
            return self.family.information(eta, self.link)  # canonical link: observed and expected are equal
        return jax.jvp(lambda eta: self.slope(y, eta), (eta,), (jnp.ones_like(eta),))[1]

    def safe_curvature(self, y: Array, eta: Array) -> Array:
        """The second derivative, or its expectation where it is not positive, so never negative."""
        observed = self.curvature(y, eta)
        return jnp.where(observed > 0, observed, self.family.information(eta, self.link))

    def start(self, mean: Array) -> Array:
        """The eta of a mean; that of 1/2 where the mean of the data has none (all counts 0, all labels 1)."""
        eta = self.link(mean)
        return jnp.where(jnp.isfinite(eta), eta, self.link(jnp.full_like(mean, 0.5)))

    def attains(self, mean: Array) -> Array:
        """Whether a finite eta has this mean."""
        inside = (mean > 0) & (mean < 1) if isinstance(self.family, Binomial) else jnp.isfinite(mean)
        return inside & jnp.isfinite(self.link(mean))

    @property
    def needs_positive(self) -> bool:
        """Whether eta = 0 has no mean that the family allows."""
        identity = isinstance(self.link, Identity) and not isinstance(self.family, Gaussian)
        return identity or isinstance(self.link, Inverse | InverseSquared | Sqrt | Power)

    @property
    def convex(self) -> bool:
        """Whether the second derivative is never negative."""
        return self.family.convex(self.link)

    @property
    def may_separate(self) -> bool:
        """Whether the optimal eta can be infinite: zeros or ones that some direction predicts perfectly."""
        discrete = isinstance(self.family, Binomial | Poisson | NegativeBinomial | Tweedie)
        return discrete and isinstance(self.link, Log | Logit | Probit | CLogLog | Cauchit)


@pytree
class LogLoss(Likelihood):
    """The loss log(1 + exp eta) - y eta of labels y in 0, 1: half the binomial deviance, without the entropy of y."""

    def value(self, y: Array, eta: Array) -> Array:
        """The loss; infinite where y is not a number."""
        value = self.family.loss(jnp.zeros_like(y), eta, self.link) - y * eta
        return jnp.where(jnp.isnan(value), jnp.inf, value)


@pytree
class SquaredHinge:
    """The squared hinge max(0, 1 - t eta)^2 with t = 2 y - 1, for labels y in 0, 1: a smooth support vector loss."""

    def _short(self, y: Array, eta: Array) -> Array:
        """The shortfall of the margin."""
        return jnp.maximum(1 - (2 * y - 1) * eta, 0)

    def value(self, y: Array, eta: Array) -> Array:
        """The square of the shortfall of the margin."""
        return self._short(y, eta) ** 2

    def slope(self, y: Array, eta: Array) -> Array:
        """The first derivative with respect to eta."""
        return -2 * (2 * y - 1) * self._short(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """The second derivative with respect to eta, 0 beyond the margin."""
        return jnp.where(self._short(y, eta) > 0, jnp.full_like(eta, 2), 0)

    safe_curvature = curvature

    def start(self, mean: Array) -> Array:
        """The least-squares value of t."""
        return 2 * mean - 1

    def attains(self, mean: Array) -> Array:
        """Every mean is attained by a finite eta."""
        return jnp.isfinite(mean)

    @property
    def needs_positive(self) -> bool:
        """False: every eta is allowed."""
        return False

    @property
    def convex(self) -> bool:
        """True: the square of a convex function that is not negative."""
        return True

    @property
    def may_separate(self) -> bool:
        """False: the loss is constant beyond the margin."""
        return False
