r"""Standard errors, tests and confidence intervals of fitted parameters."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra import families
from jaxinfra._core import checks, problem
from jaxinfra._core.precision import dot
from jaxinfra._core.types import Fit, short_repr
from jaxinfra.infer import _distributions, likelihood
from jaxinfra.infer.covariance import Covariance, covariance, estimates_dispersion, n_clusters
from jaxinfra.infer.likelihood import Counted


@short_repr
class Inference(NamedTuple):
    """Estimates, errors, tests and intervals, (q,) each: coefficients, then the intercept or the thresholds.

    estimate, se: the parameters and their standard errors; NaN where an error does not exist.
    statistic, p_value: estimate / se, and its two-sided tail.
    lower, upper: the confidence interval.
    df: (), the degrees of freedom of Student's t; inf for the normal distribution.
    covariance: the `Covariance` behind the errors.
    """

    estimate: jax.Array
    se: jax.Array
    statistic: jax.Array
    p_value: jax.Array
    lower: jax.Array
    upper: jax.Array
    df: jax.Array
    covariance: Covariance


@short_repr
class Test(NamedTuple):
    """A test of several parameters: the statistic (), its p_value (), and the degrees of freedom ()."""

    statistic: jax.Array
    p_value: jax.Array
    df: jax.Array
    df_denominator: jax.Array


def inference(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, kind: str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, groups: ArrayLike | None = None,
    n_groups: int | None = None, correction: bool = True, level: ArrayLike = 0.95, use_t: bool | None = None,
) -> Inference:  # fmt: skip
    """Standard errors, z or t tests against 0 and confidence intervals of every parameter.

    Args:
      fit, X, y, kind, sample_weight, offset, exposure, groups, n_groups, correction: as in `covariance`.
      level: that of the intervals, between 0 and 1, traced.
      use_t: static; Student's t instead of the normal distribution, with n - q degrees of freedom, of clusters their
        number less 1.  None: where the dispersion is estimated (least squares, quantile, gamma and other GLMs).

    Returns:
      Inference.

    Raises:
      ValueError for a level outside (0, 1) on the host.  TypeError for a use_t that is no boolean.  The others as
      `covariance`.

    Cost: that of `covariance`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> i = ji.infer.inference(ji.ols.fit(X, y), X, y)
    >>> print([f"{v[0]:.3f}" for v in (i.estimate, i.se, i.statistic, i.p_value)])
    ['3.000', '1.414', '2.121', '0.168']

    Elsewhere: the table of statsmodels' summary, R's coeftest and confint.default.
    """
    verb = "infer.inference"
    C = covariance(
        fit, X, y, kind=kind, sample_weight=sample_weight, offset=offset, exposure=exposure, groups=groups,
        n_groups=n_groups, correction=correction,
    )  # fmt: skip
    known = fit.problem.arguments
    if use_t is None:
        use_t = estimates_dispersion(fit.problem.module, known.get("family"))
    intercept = bool(known.get("fit_intercept", True))
    level = _level(verb, level, C.matrix.dtype)
    if kind == "cluster":  # what is independent are the clusters
        groups, count = checks.groups(verb, groups, np.shape(X)[0], n_groups)
        w = jnp.ones(np.shape(X)[0], C.matrix.dtype) if sample_weight is None else jnp.asarray(sample_weight)
        C = C._replace(df_residual=(n_clusters(w, groups, count) - 1).astype(C.matrix.dtype))
    return _inference(fit.params, C, level, use_t=checks.flag(verb, "use_t", use_t), intercept=intercept)


def _level(verb: str, level: Any, dtype: Any) -> Any:
    level = checks.hyper(verb, "level", level, dtype, minimum=None)
    if not isinstance(level, jax.Array) and not 0 < level < 1:
        raise ValueError(f"{verb}: level must lie between 0 and 1, got level = {level}")
    return level


@partial(jax.jit, static_argnames=("use_t", "intercept"))
def _inference(params: Any, C: Covariance, level: jax.Array, *, use_t: bool, intercept: bool) -> Inference:
    dtype = C.matrix.dtype
    parts = [jnp.asarray(params.coef, dtype).ravel()]
    if hasattr(params, "thresholds"):
        parts.append(jnp.asarray(params.thresholds, dtype))
    elif intercept:
        parts.append(jnp.asarray(params.intercept, dtype).ravel())
    estimate = jnp.concatenate(parts)
    variance = jnp.diagonal(C.matrix)
    se = jnp.sqrt(jnp.where(variance > 0, variance, jnp.nan))
    df = C.df_residual if use_t else jnp.full_like(C.df_residual, jnp.inf)
    statistic = estimate / se
    half = _distributions.quantile(level, df) * se
    tail = _distributions.two_sided(statistic, df)
    return Inference(estimate, se, statistic, tail, estimate - half, estimate + half, df, C)


def wald_test(inference: Inference, restriction: ArrayLike, value: ArrayLike = 0.0) -> Test:
    r"""Test linear restrictions of the parameters: :math:`(R\theta - r)^\top (R C R^\top)^{-1} (R\theta - r)`.

    Args:
      inference: what `inference` returned, traced.
      restriction: R (m, q) or (q,), traced; the statistic is chi2 with m degrees of freedom or, where df is finite, F.
      value: r, () or (m,), traced.

    Returns:
      Test: statistic (chi2, or F = chi2 / m), p_value, df = m and df_denominator.  NaN where R involves parameters
      without errors.

    Raises:
      ValueError for a restriction of another shape.  TypeError for one that holds no numbers.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> i = ji.infer.inference(ji.ols.fit(X, y), X, y)
    >>> print(f"{ji.infer.wald_test(i, jnp.array([1.0, 0.0])).statistic:.3f}")  # t^2
    4.500
    """
    verb = "infer.wald_test"
    R = checks.array(verb, "restriction", restriction)
    q = inference.estimate.shape[-1]
    if R.ndim not in (1, 2) or R.shape[-1] != q:
        raise ValueError(f"{verb}: restriction must have shape ({q},) or (m, {q}), got {R.shape}")
    return _wald(inference, jnp.asarray(R, inference.se.dtype).reshape(-1, q), jnp.asarray(value, inference.se.dtype))


@jax.jit
def _wald(inference: Inference, R: jax.Array, value: jax.Array) -> Test:
    # NaN times 0 is NaN: parameters that R leaves out must not reach the sums.
    used = (R != 0).any(0)
    C = jnp.where(used[:, None] & used[None], inference.covariance.matrix, 0)
    difference = dot(R, inference.estimate) - value
    statistic = dot(difference, jnp.linalg.solve(dot(R, dot(C, R.T)), difference))
    m, df = jnp.asarray(R.shape[0], R.dtype), inference.df
    finite = jnp.isfinite(df)
    tail = jnp.where(finite, _distributions.f_tail(statistic / m, m, df), _distributions.chi2_tail(statistic, m))
    return Test(jnp.where(finite, statistic / m, statistic), tail, m, df)


def likelihood_ratio_test(
    smaller: Fit, X_smaller: ArrayLike, larger: Fit, X_larger: ArrayLike, y: ArrayLike, *,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, offset_smaller: ArrayLike | None = None,
    exposure: ArrayLike | None = None, dispersion: ArrayLike | None = None,
) -> Test:  # fmt: skip
    r"""Test a fit against that of a larger model which contains it: :math:`2 (\log L_1 - \log L_0)`.

    The statistic is approximately chi2 if the smaller model holds; its degrees of freedom are the parameters that the
    data determine of the larger model, less those of the smaller.

    Args:
      smaller, larger: fits of one model, ols, ridge (l2 = 0), logistic, glm (not Tweedie), multinomial or ordinal,
        traced; without penalty, since the statistic of penalised fits has another distribution.
      X_smaller, X_larger: (n, p0) and (n, p1), traced, of the same rows; a column of zeros makes a model of the
        intercept alone.
      y: as in `fit`, traced.
      sample_weight, offset, exposure: as in `covariance`, of both fits.
      offset_smaller: that of the smaller fit where it has another; None means the same.
      dispersion: as in `log_likelihood`, of both, traced; None means for the gamma and inverse Gaussian families the
        estimate of the larger model.

    Returns:
      Test: statistic, p_value, df, df_denominator (inf), each ().  p_value is NaN where the larger model has no more
      parameters than the smaller, or where parameters are NaN.  All is NaN in compiled code if an l2 is not 0.

    Raises:
      ValueError for fits with a penalty, and for fits of two models.  The others as `aic`.

    Derivatives: of statistic and p_value with respect to all that is traced, by differentiation of the formulas.

    Cost: that of two `covariance`.  float32: to about 1e-6 of the log likelihoods, so take float64 for many rows.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> mean, slope = ji.ols.fit(0 * X, y), ji.ols.fit(X, y)
    >>> test = ji.infer.likelihood_ratio_test(mean, 0 * X, slope, X, y)
    >>> print(f"{test.statistic:.3f} {test.df:.0f} {test.p_value:.4f}")  # 4 log(13 / 4)
    4.715 1 0.0299

    Source: Wilks 1938.  Elsewhere: statsmodels' compare_lr_test, R's anova(test="LRT") and lmtest::lrtest.
    """
    verb = "infer.likelihood_ratio_test"
    given: dict[str, Any] = {"sample_weight": sample_weight, "exposure": exposure}
    offset_smaller = offset if offset_smaller is None else offset_smaller
    pair = (("smaller", smaller, X_smaller, offset_smaller), ("larger", larger, X_larger, offset))
    unpenalised: Any = True
    for name, fit, _, moved in pair:
        model, known = problem.asked(f"{verb}: {name}", fit, {**given, "offset": moved})
        l2 = known.get("l2", 0)
        if isinstance(l2, jax.core.Tracer):
            unpenalised = unpenalised & (l2 == 0).all()
        elif np.any(l2):
            raise ValueError(f"{verb}: penalised fits have no such test: use select.permutation_test or infer.aic")
    if smaller.problem.model != larger.problem.model:
        raise ValueError(f"{verb}: fits of two models, {smaller.problem.model} and {larger.problem.model}")
    family = larger.problem.arguments.get("family")
    if dispersion is None and isinstance(family, families.Gamma | families.InverseGaussian):
        dispersion = covariance(larger, X_larger, y, offset=offset, **given).dispersion
    test = _ratio(*(
        likelihood.counted(f"{verb}: {name}", fit, X, y, offset=moved, dispersion=dispersion, **given)
        for name, fit, X, moved in pair
    ))  # fmt: skip
    return test if unpenalised is True else jax.tree.map(lambda v: jnp.where(unpenalised, v, jnp.nan), test)


@jax.jit
def _ratio(smaller: Counted, larger: Counted) -> Test:
    statistic = 2 * (larger.log_likelihood - smaller.log_likelihood)
    df = jnp.round(larger.n_params - smaller.n_params)
    tail = _distributions.chi2_tail(statistic, jnp.maximum(df, 1))
    return Test(statistic, jnp.where(df > 0, tail, jnp.nan), df, jnp.full_like(statistic, jnp.inf))
