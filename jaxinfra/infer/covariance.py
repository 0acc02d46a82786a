r"""Covariance matrices of fitted parameters: from the model, robust to unequal variances, to clusters, to outliers."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra import families
from jaxinfra._core import checks, rows
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.types import Fit, short_repr
from jaxinfra.infer import _problem, _sparsity
from jaxinfra.infer._inverse import Inverse
from jaxinfra.infer._problem import Fitted

_SANDWICH = ("HC0", "HC1", "HC2", "HC3", "cluster")
# Families whose variance is known when the mean is.
_FIXED = (families.Binomial, families.Poisson, families.NegativeBinomial)


@short_repr
class Covariance(NamedTuple):
    """The covariance matrix of the parameters: coefficients, then the intercept or the thresholds.

    matrix: (q, q).
    dispersion: (), the factor of the variance of a row (the residual variance of least squares), 1 where it is known.
    df_residual: (), the weight of the rows less the effective number of parameters.
    """

    matrix: jax.Array
    dispersion: jax.Array
    df_residual: jax.Array


def kinds(model: ModuleType) -> tuple[str, ...]:
    """The kinds of covariance of a model, the default first.

    >>> import jaxinfra as ji
    >>> ji.infer.kinds(ji.quantile)
    ('powell', 'kernel', 'iid')
    """
    facts = _problem.facts_of(model)
    if facts is None:
        raise TypeError(
            f"infer.kinds: {getattr(model, '__name__', model)} has no standard errors: use select.bootstrap"
        )
    if not facts.smooth:
        return ("powell", "kernel", "iid")
    if facts.robust:
        return ("H1", "H2", "H3", *_SANDWICH)
    return ("model", *_SANDWICH) if facts.one_predictor else ("model", "HC0", "HC1", "cluster")


def covariance(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, kind: str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, groups: ArrayLike | None = None,
    n_groups: int | None = None, correction: bool = True,
) -> Covariance:  # fmt: skip
    r"""The covariance matrix of fitted parameters.

    .. math:: \mathrm{model:}\ \phi\, H^{-1} V^\top W V H^{-1}, \qquad
              \mathrm{HC:}\ H^{-1} \Big(\sum_i s_i\, u_i^2\, v_i v_i^\top\Big) H^{-1}, \qquad
              \mathrm{cluster:}\ H^{-1} \Big(\sum_g t_g t_g^\top\Big) H^{-1}

    with H the second derivative of the summed losses and the penalty (of a GLM its expectation in "model", the observed
    one in the others), v = (x, 1), u_i the slope of row i's loss, divided by 1 (HC0), (1 - h_i)^{1/2} (HC2) or
    1 - h_i (HC3) with the leverage h_i, and t_g the sum of scores in group g.

    Args:
      fit: what the fit of ols, ridge, logistic, glm, huber, m_estimator, quantile, multinomial or ordinal returned,
        traced; it carries its model, settings and hyper-parameters.
      X, y: the data that it was given, traced.
      kind: static.  "model"; "HC0", "HC1" (times n / (n - q)), "HC2", "HC3"; "cluster".  Of robust models "H1", "H2",
        "H3" (Huber 1981, eqs. 6.6 to 6.8) instead of "model", of quantile "powell" (for any errors), "kernel"
        and "iid" (where the errors of all rows have one distribution: far too small otherwise) alone.  None takes the
        first of `kinds(model)`.
      sample_weight: (n,), traced: counts of rows, as the fit was given them; twice the weights are twice the data, so
        half the covariance.
      offset, exposure: (n,), traced, as the fit was given them.
      groups: (n,) whole numbers from 0, traced: the clusters.
      n_groups: the number of clusters, static; None counts them on the host.
      correction: static; False leaves out the factor G / (G - 1) * (n - 1) / (n - q) of clusters.

    Returns:
      Covariance.  Rows and columns of parameters that the data do not determine (duplicated columns) are NaN, never 0.
      The scale of a robust model is taken as known.  Multinomial parameters sum to 0 over the classes: their matrix has
      that null space.  Penalised models: of the estimate about its own mean, without the bias.

    Raises:
      TypeError for a fit of another model, or without its problem.  ValueError for a kind that the model does not have,
      groups without kind="cluster" or the reverse, an L1 penalty, a class_weight, several targets, shapes that do not
      match, row arguments that the fit was given and that are missing here, and parameters that do not minimise the
      objective of these rows (in compiled code all is NaN instead).

    Derivatives: with respect to the parameters, X, y and weights, by differentiation of the formulas.

    Cost: two or three products n q^2.  Memory: two copies of X.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> fit = ji.ols.fit(X, y)
    >>> print(ji.infer.covariance(fit, X, y).matrix.round(4))  # 2 (V'V)^-1
    [[ 2. -1.]
     [-1.  1.]]

    Source: White 1980; MacKinnon and White 1985; Liang and Zeger 1986; McCullagh and Nelder (1989), chapter 9.
    Elsewhere: statsmodels' cov_type, R's sandwich::vcovHC and vcovCL.
    """
    verb = "infer.covariance"
    model, given, static = _problem.check(verb, fit, X, y, sample_weight, offset, exposure)
    kind = kinds(model)[0] if kind is None else kind
    if kind not in kinds(model):
        name = model.__name__.rsplit(".", 1)[-1]
        raise ValueError(f"{verb}: kind of {name} must be one of {', '.join(kinds(model))}, got {kind!r}")
    count = 0
    if (kind == "cluster") != (groups is not None):
        raise ValueError(f'{verb}: groups (n,) belong to kind="cluster", got kind={kind!r} and groups {groups!r}')
    if groups is not None:
        groups, count = checks.groups(verb, groups, given.X.shape[0], n_groups)
    correction = checks.flag(verb, "correction", correction)
    found = _covariance(given, groups, model=model, static=static, kind=kind, count=count, correction=correction)
    return _problem.solution(verb, model, *found)


@partial(jax.jit, static_argnames=("model", "static", "kind", "count", "correction"))
@rows.replicated
def _covariance(
    given: Fitted, groups: jax.Array | None, *, model: ModuleType, static: tuple[tuple[str, Any], ...], kind: str,
    count: int, correction: bool,
) -> tuple[Covariance, jax.Array]:  # fmt: skip
    """The matrix, and whether the parameters solve the problem."""
    if not model.FACTS.smooth:
        matrix, dispersion, df, solved = _sparsity.covariance(given, static, kind)
        return Covariance(matrix, dispersion, df), solved
    if not model.FACTS.one_predictor:
        return _general(given, groups, model, static, kind, count, correction)
    p = _problem.one_predictor(model, given, static)
    expected = p.inverse(p.information)
    n, df = p.weight, residual_df(p, expected)
    dispersion = dispersion_of(p, given, model, static, df)
    solved = p.solved(expected, dispersion)
    if kind in ("H1", "H2", "H3"):
        return Covariance(_robust(p, expected, kind, df), dispersion, df), solved
    if kind == "model":
        return Covariance(dispersion * expected.sandwich(p.inner(expected, p.information)), dispersion, df), solved
    # What the estimating equations really do, whatever the model expects of them.
    bread = expected if p.curvature is p.information else p.inverse(p.curvature)
    u = p.slope
    if kind in ("HC2", "HC3"):
        left, alone = without_own(p, expected)
        u = u / (jnp.sqrt(left) if kind == "HC2" else left)
        # A row that is fitted exactly says nothing of its error: the parameters that it decides have none.
        u, bread = jnp.where(jnp.isnan(left), 0, u), bread._replace(undetermined=bread.undetermined | alone.any(0))
    if kind == "cluster":
        meat = _clustered((p.w * u)[:, None] * bread.white(p.V), p.w, groups, count, df, correction)
    else:
        meat = p.inner(bread, u * u) * (over_df(n, df) if kind == "HC1" else 1)
    return Covariance(bread.sandwich(meat), dispersion, df), solved


def fitted_df(p: _problem.OnePredictor, bread: Inverse) -> jax.Array:
    """The effective number of parameters: the trace of the smoother, which is the rank where nothing is penalised."""
    return jnp.trace(p.inner(bread, p.information))


def residual_df(p: _problem.OnePredictor, bread: Inverse) -> jax.Array:
    """The weight of the rows less the effective number of parameters; 0 where that is rounding."""
    left = p.weight - fitted_df(p, bread)
    return jnp.where(left > p.theta.size * eps(left.dtype) ** 0.5, left, 0)


def over_df(v: jax.Array, df: jax.Array) -> jax.Array:
    """v / df, NaN where no degrees of freedom are left."""
    return jnp.where(df > 0, v / positive(df), jnp.nan)


def leverage_of(p: _problem.OnePredictor, bread: Inverse) -> jax.Array:
    """information_i v_i' H^-1 v_i, (n,): what of a unit of weight of row i goes into its own fit."""
    return p.information * (bread.white(p.V) ** 2).sum(1)


def without_own(p: _problem.OnePredictor, bread: Inverse) -> tuple[jax.Array, jax.Array]:
    """1 - leverage, (n,), NaN where a row decides its fit alone; and which parameters such a row decides, (n, q).

    The estimate moves by d = H^-1 v with the row's y, and information d_j^2 over the variance of parameter j is what
    the row has of it: rounding where the row does not touch it.
    """
    white = bread.white(p.V)
    h = p.information * (white**2).sum(1)
    alone = h * jnp.minimum(p.w, 1) > 1 - 1e3 * eps(h.dtype)
    d, variance = dot(white, bread.outer.T), (bread.outer**2).sum(1)
    share = p.information[:, None] * d**2 > eps(h.dtype) ** 0.5 * variance[None]
    return jnp.where(alone, jnp.nan, 1 - h), alone[:, None] & share


def estimates_dispersion(model: ModuleType, family: Any) -> bool:
    """Whether the variance of a row has a factor that the data say."""
    return model.FACTS.estimates_dispersion and not isinstance(family, _FIXED)


def dispersion_of(
    p: _problem.OnePredictor, given: Fitted, model: ModuleType, static: tuple[tuple[str, Any], ...], df: jax.Array
) -> jax.Array:
    """Pearson's estimate, or 1 where the variance is known."""
    if estimates_dispersion(model, given.traced.get("family")):
        square = jnp.where(p.information > 0, p.slope**2 / positive(p.information), 0)
        return over_df(dot(p.w, square), df)
    return jnp.ones((), p.V.dtype)


@partial(jax.jit, static_argnames="count")
def n_clusters(w: jax.Array, groups: jax.Array, count: int) -> jax.Array:
    """The number of groups that have rows: (), of at most `count`."""
    return (jax.ops.segment_max(w, groups, count) > 0).sum().astype(w.dtype)


def _clustered(
    scores: jax.Array, w: jax.Array, groups: jax.Array | None, count: int, df: jax.Array, correction: bool
) -> jax.Array:
    assert groups is not None
    sums = jax.ops.segment_sum(scores, groups, count)
    meat = dot(sums.T, sums)
    if not correction:
        return meat
    G = n_clusters(w, groups, count)
    return meat * over_df(G, G - 1) * over_df(w.sum() - 1, df)


def _robust(p: _problem.OnePredictor, weighted: Inverse, kind: str, df: jax.Array) -> jax.Array:
    """Huber's three estimates, from psi and its derivative."""
    n = p.weight
    mean = dot(p.w, p.information) / n
    variance = dot(p.w, (p.information - mean) ** 2) / n
    k = 1 + (n - df) / n * variance / mean**2
    square = over_df(dot(p.w, p.slope**2), df)
    if kind == "H1":
        return k**2 * square / mean**2 * p.inverse(jnp.ones_like(p.slope)).plain
    if kind == "H2":
        return k * square / mean * weighted.plain
    return square / k * weighted.sandwich(p.inner(weighted, jnp.ones_like(p.slope)))


def _general(
    given: Fitted, groups: jax.Array | None, model: ModuleType, static: tuple[tuple[str, Any], ...], kind: str,
    count: int, correction: bool,
) -> tuple[Covariance, jax.Array]:  # fmt: skip
    p = _problem.several_predictors(model, given, static)
    bread, n = p.inverse, p.w.sum()
    fitted = p.fitted(bread)
    df = n - jnp.trace(fitted)
    if kind == "model":
        meat = fitted
    elif kind == "cluster":
        meat = _clustered(p.w[:, None] * bread.white(p.score), p.w, groups, count, df, correction)
    else:
        meat = bread.inner(p.score, p.w) * (over_df(n, df) if kind == "HC1" else 1)
    return Covariance(bread.sandwich(meat), jnp.ones((), n.dtype), df), p.solved(bread)
