r"""Log likelihoods of fitted models, and the information criteria made of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlogy

from jaxinfra import families
from jaxinfra._core import affine, rows
from jaxinfra._core.precision import dot
from jaxinfra.infer import _problem
from jaxinfra.infer._problem import Given
from jaxinfra.linear import glm, logistic, multinomial, ols, ordinal, ridge
from jaxinfra.linear._glm_input import check as check_glm
from jaxinfra.linear._glm_input import read as read_glm

MODELS = (ols, ridge, logistic, glm, multinomial, ordinal)


def log_likelihood(
    model: ModuleType, params: Any, X: Any, y: Any, *, fixed: Mapping[str, Any] | None = None,
    sample_weight: Any = None, offset: Any = None, dispersion: Any = None,
) -> jax.Array:  # fmt: skip
    """The log likelihood of the rows, constants included, penalties not.  A scalar.

    Args:
      model: ols, ridge, logistic, glm (not Tweedie), multinomial or ordinal, static; params, X, y, fixed, sample_weight
        and offset as in `covariance`.
      dispersion: of the Gaussian, gamma and inverse Gaussian families, traced; None means the maximum of the likelihood
        for Gaussian rows, and Pearson's estimate (`glm.dispersion`) for the others.

    Returns:
      A scalar; shares of a binomial family are counted as whole rows.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.infer.log_likelihood(ji.logistic, at, jnp.zeros((2, 1)), jnp.array([0, 1])).round(4))  # 2 log(1/2)
    -1.3863

    Elsewhere: statsmodels' llf, R's logLik.
    """
    given, static = _problem.check("infer.log_likelihood", model, params, X, y, fixed, sample_weight, offset, MODELS)
    family = (fixed or {}).get("family")
    if isinstance(family, families.Tweedie):
        raise ValueError("infer.log_likelihood: a Tweedie density has no closed form; compare deviances instead")
    return _log_likelihood(given, dispersion, model=model, static=static)


@partial(jax.jit, static_argnames=("model", "static"))
@rows.replicated
def _log_likelihood(
    given: Given, dispersion: jax.Array | None, *, model: ModuleType, static: tuple[tuple[str, Any], ...]
) -> jax.Array:
    w = _problem.weights(given)
    if model in (logistic, multinomial, ordinal):
        offset = None if given.offset is None else jnp.asarray(given.offset, w.dtype)
        return -_problem.total(model, given, static)(given.params, w, offset)
    if model in (ols, ridge):
        r = jnp.asarray(given.y, w.dtype) - affine.decision("infer", given.params, given.X, given.offset)
        return _gaussian(r, w, dispersion)
    rest = {**given.traced, **dict(static)}
    raw, loss, _, _ = check_glm(
        "infer", given.X, given.y, rest["family"], given.params.link, rest.get("exposure"), given.w, given.offset
    )
    data = read_glm(raw)
    eta = dot(data.X, jnp.asarray(given.params.coef, w.dtype)) + given.params.intercept
    eta = eta if data.offset is None else eta + data.offset
    y, mu, family = data.y, loss.link.inverse(eta), loss.family
    if isinstance(family, families.Gaussian):
        return _gaussian(y - mu, w, dispersion)
    if isinstance(family, families.Binomial):
        # Half the deviance is what y has over mu; of shares, y itself is not at log likelihood 0.
        itself = xlogy(y, y) + xlogy(1 - y, 1 - y)
        return dot(w, itself - family.loss(y, eta, loss.link))
    if isinstance(family, families.Poisson):
        return dot(w, y * jnp.log(mu) - mu - gammaln(y + 1))
    if isinstance(family, families.NegativeBinomial):
        size = 1 / family.alpha
        return dot(
            w,
            gammaln(y + size) - gammaln(size) - gammaln(y + 1) - size * jnp.log1p(mu / size)
            + y * (jnp.log(mu) - jnp.log(mu + size)),
        )  # fmt: skip
    if dispersion is None:
        q = data.X.shape[1] + _problem.has_intercept(static)
        dispersion = dot(w, (y - mu) ** 2 / family.variance(mu)) / (w.sum() - q)
    if isinstance(family, families.Gamma):
        shape = 1 / dispersion
        return dot(w, shape * jnp.log(shape * y / mu) - shape * y / mu - jnp.log(y) - gammaln(shape))
    return -0.5 * dot(w, (y - mu) ** 2 / (y * mu**2 * dispersion) + jnp.log(2 * jnp.pi * dispersion * y**3))


def _gaussian(r: jax.Array, w: jax.Array, dispersion: jax.Array | None) -> jax.Array:
    n = w.sum()
    square = dot(w, r * r)
    variance = square / n if dispersion is None else dispersion
    return -0.5 * (n * jnp.log(2 * jnp.pi * variance) + square / variance)


def aic(log_likelihood: Any, n_params: Any) -> jax.Array:
    """Akaike's criterion 2 q - 2 log L of q parameters.

    >>> import jaxinfra as ji
    >>> print(ji.infer.aic(-10.0, 3))
    26.0
    """
    value = jnp.asarray(log_likelihood, jnp.result_type(float))
    return 2 * jnp.asarray(n_params, value.dtype) - 2 * value


def bic(log_likelihood: Any, n_params: Any, n: Any) -> jax.Array:
    """Schwarz's criterion q log n - 2 log L of q parameters and n rows.

    >>> import jaxinfra as ji
    >>> print(ji.infer.bic(-10.0, 3, 1))
    20.0
    """
    value = jnp.asarray(log_likelihood, jnp.result_type(float))
    return jnp.asarray(n_params, value.dtype) * jnp.log(jnp.asarray(n, value.dtype)) - 2 * value
