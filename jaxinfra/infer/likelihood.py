r"""Log likelihoods of fitted models, and the information criteria made of them."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlogy
from numpy.typing import ArrayLike

from jaxinfra import families
from jaxinfra._core import affine, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot
from jaxinfra._core.types import Fit, short_repr
from jaxinfra.infer import _problem
from jaxinfra.infer._problem import Fitted, Static
from jaxinfra.infer.covariance import dispersion_of, fitted_df, residual_df


def has_likelihood(facts: Facts) -> bool:
    """Whether a model has a log likelihood."""
    return facts.likelihood is not None


def log_likelihood(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, dispersion: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The log likelihood of the rows, constants included, penalties not.  A scalar.

    Args:
      fit: of ols, ridge, logistic, glm (not Tweedie), multinomial or ordinal, at any parameters, traced.
      X, y, sample_weight, offset, exposure: as in `covariance`.
      dispersion: that of the Gaussian, gamma and inverse Gaussian families, traced; None means the maximum of the
        likelihood for Gaussian rows, and Pearson's estimate (`glm.dispersion`) for the others.

    Returns:
      A scalar; shares of a binomial family are counted as whole rows.

    Raises:
      TypeError for a fit of another model, or without its problem.  ValueError for a Tweedie family, whose density has
      no closed form, an L1 penalty, a class_weight, several targets, shapes that do not match, and row arguments that
      the fit was given and that are missing here.

    Derivatives: with respect to all that is traced, by differentiation of the formulas.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.zeros((2, 1)), jnp.array([0, 1])
    >>> print(ji.infer.log_likelihood(ji.logistic.fit(X, y), X, y).round(4))  # 2 log(1/2)
    -1.3863

    Elsewhere: statsmodels' llf, R's logLik.
    """
    model, given, static = _check("infer.log_likelihood", fit, X, y, sample_weight, offset, exposure)
    return _log_likelihood(given, dispersion, model=model, static=static)


def _check(
    verb: str, fit: Fit, X: Any, y: Any, sample_weight: Any, offset: Any, exposure: Any
) -> tuple[ModuleType, Fitted, Static]:
    found = _problem.check(verb, fit, X, y, sample_weight, offset, exposure, has_likelihood)
    if isinstance(fit.problem.arguments.get("family"), families.Tweedie):
        raise ValueError(f"{verb}: a Tweedie density has no closed form; compare deviances instead")
    return found


@partial(jax.jit, static_argnames=("model", "static"))
@rows.replicated
def _log_likelihood(given: Fitted, dispersion: jax.Array | None, *, model: ModuleType, static: Static) -> jax.Array:
    w = _problem.weights(given)
    if model.FACTS.likelihood == "loss":
        offset = None if given.offset is None else jnp.asarray(given.offset, w.dtype)
        return -_problem.total(model, given, static)(given.params, w, offset)
    if model.FACTS.likelihood == "gaussian":
        r = jnp.asarray(given.y, w.dtype) - affine.decision("infer", given.params, given.X, given.offset)
        return _gaussian(r, w, dispersion)
    data, loss = _problem.of_family(given, static)
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
        itself = xlogy(y, y) - y - gammaln(y + 1) + _beyond_poisson(y, jnp.asarray(family.alpha, y.dtype))
        return dot(w, itself - family.half_deviance(y, mu))
    if dispersion is None:
        q = data.X.shape[1] + _problem.has_intercept(static)
        dispersion = dot(w, (y - mu) ** 2 / family.variance(mu)) / (w.sum() - q)
    if isinstance(family, families.Gamma):
        shape = 1 / dispersion
        return dot(w, shape * jnp.log(shape * y / mu) - shape * y / mu - jnp.log(y) - gammaln(shape))
    return -0.5 * dot(w, (y - mu) ** 2 / (y * mu**2 * dispersion) + jnp.log(2 * jnp.pi * dispersion * y**3))


def _beyond_poisson(y: jax.Array, alpha: jax.Array) -> jax.Array:
    """The negative binomial's log likelihood at mu = y less Poisson's: 0 at alpha = 0.

    log Gamma(y + z) - log Gamma(z) - y log z + y - (y + z) log(1 + alpha y), z = 1 / alpha, in which for large z all
    digits cancel; Stirling's series leaves -log(1 + alpha y) / 2 + s(y + z) - s(z), s the series of 1 / z.
    """
    few = alpha < 1 / 16
    z = jnp.where(few, 16, 1 / jnp.where(few, 1, alpha))
    direct = gammaln(y + z) - gammaln(z) - y * jnp.log(z) + y - (y + z) * jnp.log1p(y / z)

    def series(a: jax.Array) -> jax.Array:
        return a * (1 / 12 - a * a * (1 / 360 - a * a * (1 / 1260 - a * a / 1680)))

    return jnp.where(few, series(alpha / (1 + alpha * y)) - series(alpha) - 0.5 * jnp.log1p(alpha * y), direct)


def _gaussian(r: jax.Array, w: jax.Array, dispersion: jax.Array | None) -> jax.Array:
    n = w.sum()
    square = dot(w, r * r)
    variance = square / n if dispersion is None else dispersion
    return -0.5 * (n * jnp.log(2 * jnp.pi * variance) + square / variance)


@short_repr
class Counted(NamedTuple):
    """A log likelihood, the effective number of parameters behind it, and the weight of the rows; each ()."""

    log_likelihood: jax.Array
    n_params: jax.Array
    n: jax.Array


def counted(
    verb: str, fit: Fit, X: Any, y: Any, *, sample_weight: Any, offset: Any, exposure: Any, dispersion: Any
) -> Counted:
    """The parts of the criteria and of the likelihood-ratio test."""
    model, given, static = _check(verb, fit, X, y, sample_weight, offset, exposure)
    value = _log_likelihood(given, dispersion, model=model, static=static)
    n_params, n, solved = _count(given, model=model, static=static)
    return _problem.solution(verb, model, Counted(value, n_params, n), solved)


@partial(jax.jit, static_argnames=("model", "static"))
@rows.replicated
def _count(given: Fitted, *, model: ModuleType, static: Static) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The effective number of parameters, the weight, and whether the parameters solve the problem."""
    n = _problem.weights(given).sum()
    if model.FACTS.one_predictor:
        p = _problem.one_predictor(model, given, static)
        bread = p.inverse(p.information)
        dispersion = dispersion_of(p, given, model, static, residual_df(p, bread))
        return fitted_df(p, bread), n, p.solved(bread, dispersion)
    several = _problem.several_predictors(model, given, static)
    bread = several.inverse
    return jnp.trace(several.fitted(bread)), n, several.solved(bread)


def aic(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, dispersion: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    r"""Akaike's criterion of a fit, :math:`2 q - 2 \log L`: the smaller, the better it should predict new rows.

    q is the effective number of parameters: the rank, and with an L2 penalty the trace of the smoother.  A dispersion
    is not counted.

    Args:
      fit, X, y, sample_weight, offset, exposure, dispersion: as in `log_likelihood`.

    Returns:
      A scalar; compare it for fits of the same rows alone.  NaN where the parameters are.

    Raises:
      ValueError for parameters that do not minimise the objective of these rows (in compiled code NaN instead).  The
      others as `log_likelihood`.

    Derivatives: with respect to all that is traced, by differentiation of the formulas.

    Cost: that of `covariance`.  float32: to about 1e-6 of the log likelihood.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(f"{ji.infer.aic(ji.ols.fit(X, y), X, y):.3f}")
    15.352

    Source: Akaike 1974.  Elsewhere: statsmodels' aic, R's AIC, which counts a dispersion.
    """
    given = {"sample_weight": sample_weight, "offset": offset, "exposure": exposure, "dispersion": dispersion}
    found = counted("infer.aic", fit, X, y, **given)
    return 2 * found.n_params - 2 * found.log_likelihood


def bic(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, dispersion: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    r"""Schwarz's criterion of a fit, :math:`q \log n - 2 \log L`: the smaller, the likelier the model.

    n is the weight of the rows and q the effective number of parameters.

    Args:
      fit, X, y, sample_weight, offset, exposure, dispersion: as in `log_likelihood`.

    Returns:
      A scalar, as of `aic`.

    Raises:
      ValueError and TypeError as `aic`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(f"{ji.infer.bic(ji.ols.fit(X, y), X, y):.3f}")
    14.124

    Source: Schwarz 1978.  Elsewhere: statsmodels' bic (of a GLM bic_llf), R's BIC, which counts a dispersion.
    """
    given = {"sample_weight": sample_weight, "offset": offset, "exposure": exposure, "dispersion": dispersion}
    found = counted("infer.bic", fit, X, y, **given)
    return found.n_params * jnp.log(found.n) - 2 * found.log_likelihood
