r"""Generalised linear models: any family with any link."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.families import Family
from jaxinfra.linear._glm_input import GLM, check, read
from jaxinfra.linear._input import Given, options
from jaxinfra.links import Link
from jaxinfra.losses import Likelihood
from jaxinfra.solvers.likelihood import linear_loss, penalised

FACTS = Facts(likelihood="family", estimates_dispersion=True)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, family: Family, link: Link | None = None, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    exposure: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    init: GLM | Linear | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 200,
    fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise half the weighted mean deviance plus an L1, L2 or elastic-net penalty: a generalised linear model.

    .. math:: \min_{w, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, d(y_i, \mu_i) + \sum_j \lambda^{(1)}_j |w_j|
              + \frac12 \sum_j \lambda^{(2)}_j w_j^2, \qquad g(\mu_i) = x_i^\top w + b + o_i + \log e_i

    d is the unit deviance of the family, so without penalty this is the maximum of the likelihood.

    Args:
      X: (n, p) real, traced.
      y: (n,) in the range of the family, traced: any number (Gaussian), 0 to 1 (Binomial: the proportion of successes,
        with the trials as sample_weight), 0 or more (Poisson, NegativeBinomial, Tweedie with power below 2), above 0
        (Gamma, InverseGaussian, Tweedie from 2 on).
      family: `families.Gaussian()`, `Binomial()`, `Poisson()`, `Gamma()`, `InverseGaussian()`, `Tweedie(power)` or
        `NegativeBinomial(alpha)`; the kind is static, power and alpha are traced.
      link: `links.Identity()`, `Log()`, `Logit()`, `Probit()`, `CLogLog()`, `Cauchit()`, `Inverse()`,
        `InverseSquared()`, `Sqrt()` or `Power(exponent)`; the kind is static, the exponent traced.  None means
        `family.link`.
      l1, l2: penalties, traced, at least 0, scalar or (p,), in units of the deviance.  The intercept is not penalised.
      exposure: (n,) above 0, traced; with the log link only: the mean is proportional to it, as for counts of events
        over a time.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,), traced; added to the linear predictor.
      init: GLM or Linear(coef (p,), intercept ()) to start from, traced; None starts without columns.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of evaluations of the objective, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params is GLM(coef (p,), intercept (), link), in units of eta per unit of x; info.objective the
      minimum, info.n_iter the evaluations, info.optimality the largest :math:`|g_j| / (\mathrm{rms}(x_j)\, u)` over the
      columns and the intercept, with g the gradient (with L1 the subgradient of smallest norm), rms that of the column
      about its mean, and u the root mean square of the loss's slope in eta without columns.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a family or link not from
        `jaxinfra.families` and `jaxinfra.links`, a max_iter that is not an integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match, an exposure without the log link; on the host (Python or NumPy) also y
        outside the range of the family, an exposure that is not above 0, or a negative l1, l2, sample_weight or tol.
        Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  DOMAIN with NaN parameters where y is out of range, or the power or alpha of the family (a
      ValueError where the values are on the host).  SEPARABLE with NaN if no finite parameters minimise (a group of
      rows all 0, say) and nothing penalises: add l2.  MAX_ITER; STALLED if rounding stops the progress.  NONFINITE with
      NaN if the input holds NaN or inf, or no start has a finite deviance (links that need a positive eta: give init).
      SINGULAR with NaN for a negative weight or penalty or if all weights are 0.

    Uniqueness: convex for the canonical links and for the log link of Gamma, NegativeBinomial and Tweedie from 1 to 2;
      elsewhere a local minimum, reached by Newton steps with the observed or else the expected information.

    Precision: float64 reaches an optimality of 1e-12 and below, float32 about 1e-6.

    Derivatives: params with respect to X, y, l1, l2, power, alpha, sample_weight, offset and exposure, forward and
      reverse, all orders, by the observed information; with l1 exact where the support does not change.

    Cost: small data (n p^2 below 2e7) n p^2 flops and p^3 / 3 a Newton step, about six steps.  Larger data: the fit of
    a subsample, then about five reads of X at 50 columns, ten at 500.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1, 3, 6, 10])
    >>> fit = ji.check(ji.glm.fit(X, y, family=ji.families.Poisson()))
    >>> print(jnp.exp(fit.params.coef).round(2), jnp.exp(fit.params.intercept).round(2))  # means 8 and 2
    [4.] 2.0
    >>> print(ji.glm.predict(fit.params, X).round(1))
    [2. 2. 8. 8.]

    Source: McCullagh and Nelder, Generalized Linear Models (2nd ed. 1989), sections 2.2 to 2.5; Friedman, Hastie and
    Tibshirani 2010.  Elsewhere: statsmodels GLM, sklearn PoissonRegressor, GammaRegressor and TweedieRegressor (alpha =
    l2), glum (alpha * (1 - l1_ratio) = l2, alpha * l1_ratio = l1), R's glm, glmnet.
    """
    verb = "glm.fit"
    given, loss, dtype = check(verb, X, y, family, link, exposure, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    fitted = _fit(
        given, loss, None if checks.is_zero(l1) else checks.penalty(verb, "l1", l1, given.X, given.y, dtype),
        checks.penalty(verb, "l2", l2, given.X, given.y, dtype),
        None if init is None else Linear(init.coef, init.intercept), checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), **options(verb, given, fit_intercept),
    )  # fmt: skip
    params = GLM(fitted.params.coef, fitted.params.intercept, loss.link)
    return Fit(params, fitted.info, {"family": loss.family, "link": loss.link})


_STATIC = ("fit_intercept", "blocked")


@staged(static=_STATIC)
@rows.replicated
def _fit(
    given: Given, loss: Likelihood, l1: jax.Array | None, l2: jax.Array, init: Linear | None, tol: jax.Array | None,
    max_iter: jax.Array, *, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    data = read(given)
    return penalised.solve(
        data, loss, l1, l2, init, valid=loss.family.valid(data.y), fit_intercept=fit_intercept, blocked=blocked,
        tol=tol, max_iter=max_iter, rare=rare,
    )  # fmt: skip


@public
def path(
    X: ArrayLike, y: ArrayLike, *, family: Family, link: Link | None = None, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    exposure: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    tol: ArrayLike | None = None, max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    """Fits for m penalties, each started from the one before, in one compiled call.

    Args:
      l1, l2: at least one with a leading axis m: (m,) or (m, p); the other may be a scalar.  Best in decreasing order.
      The other arguments as in `fit`.

    Returns:
      Fit with leading axis m: params.coef (m, p), params.intercept (m,), and every field of info (m,).

    Raises: as `fit`; ValueError where neither l1 nor l2 has the axis m, or both have it and differ in it.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1, 3, 6, 10])
    >>> print(ji.glm.path(X, y, family=ji.families.Poisson(), l1=jnp.array([2.0, 0.0])).params.coef.round(2)[:, 0])
    [0.   1.39]
    """
    verb = "glm.path"
    given, loss, dtype = check(verb, X, y, family, link, exposure, sample_weight, offset)
    l1, l2 = checks.penalty_path(verb, given.X, given.y, dtype, optional="l1", l1=l1, l2=l2)
    fit = _path(
        given, loss, l1, l2, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        **options(verb, given, fit_intercept),
    )  # fmt: skip
    m = fit.info.status.shape[0]
    link = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (m, *jnp.shape(leaf))), loss.link)
    params = GLM(fit.params.coef, fit.params.intercept, link)
    return Fit(params, fit.info, {"family": loss.family, "link": loss.link})


@staged(static=_STATIC)
@rows.replicated
def _path(
    given: Given, loss: Likelihood, l1: jax.Array | None, l2: jax.Array, tol: jax.Array | None, max_iter: jax.Array, *,
    fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    data = read(given)
    return penalised.path(
        data, loss, l1, l2, valid=loss.family.valid(data.y), fit_intercept=fit_intercept, blocked=blocked, tol=tol,
        max_iter=max_iter, rare=rare,
    )  # fmt: skip


@public
def decision(params: GLM, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,).

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.glm.GLM(jnp.array([2.0]), jnp.array(1.0), ji.links.Log())
    >>> print(ji.glm.decision(params, jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("glm.decision", params, X, offset)


@public
def predict(
    params: GLM, X: ArrayLike, *, offset: ArrayLike | None = None, exposure: ArrayLike | None = None
) -> jax.Array:
    """The mean response (n,); with exposure (n,) the mean over that exposure.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.glm.GLM(jnp.array([2.0]), jnp.array(0.0), ji.links.Log())
    >>> print(ji.glm.predict(params, jnp.array([[0.0]]), exposure=jnp.array([5.0])))
    [5.]
    """
    X = checks.linear_params("glm.predict", params, X)
    exposure = checks.rows_like("glm.predict", "exposure", exposure, X, X)
    return affine.decision("glm.predict", params, X, offset, _mean, params.link, exposure)


def _mean(eta: jax.Array, link: Link, exposure: jax.Array | None) -> jax.Array:
    mean = link.inverse(eta)
    return mean if exposure is None else mean * jnp.asarray(exposure, mean.dtype)


@public
def deviance(
    params: GLM, X: ArrayLike, y: ArrayLike, *, family: Family, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The deviance: the weighted sum of the unit deviances.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.glm.GLM(jnp.array([0.0]), jnp.array(2.0), ji.links.Identity())
    >>> print(ji.glm.deviance(params, jnp.zeros((2, 1)), jnp.array([1.0, 4.0]), family=ji.families.Gaussian()))
    5.0
    """
    given, loss, _ = check("glm.deviance", X, y, family, params.link, exposure, sample_weight, offset)
    data = read(given)
    zero = jnp.zeros((), data.X.dtype)
    return 2 * data.weight * linear_loss.objective(Linear(params.coef, params.intercept), data, loss, zero, zero)


@public
def dispersion(
    params: GLM, X: ArrayLike, y: ArrayLike, *, family: Family, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, n_params: int | None = None,
) -> jax.Array:  # fmt: skip
    """Pearson's estimate of the dispersion, sum w (y - mu)^2 / V(mu) / (sum w - n_params).  A scalar.

    n_params: static, p + 1 if None.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.glm.GLM(jnp.array([0.0]), jnp.array(2.0), ji.links.Identity())
    >>> y = jnp.array([1.0, 1.0, 4.0, 3.0])
    >>> print(ji.glm.dispersion(params, jnp.zeros((4, 1)), y, family=ji.families.Gaussian()))
    3.5
    """
    given, loss, _ = check("glm.dispersion", X, y, family, params.link, exposure, sample_weight, offset)
    data = read(given)
    eta = affine.decision("glm.dispersion", params, X, data.offset)
    mu = loss.link.inverse(eta)
    square = (data.y - mu) ** 2 / loss.family.variance(mu)
    total = square.sum() if data.w is None else dot(data.w, square)
    count = data.X.shape[1] + 1 if n_params is None else n_params
    return total / (data.weight - jnp.asarray(count, data.weight.dtype))


@public
def objective(
    params: GLM, X: ArrayLike, y: ArrayLike, *, family: Family, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    exposure: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean deviance plus the penalties: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.glm.GLM(jnp.array([1.0]), jnp.array(2.0), ji.links.Identity())
    >>> y = jnp.array([1.0, 4.0])
    >>> print(ji.glm.objective(params, jnp.zeros((2, 1)), y, family=ji.families.Gaussian(), l1=0.5))
    1.75
    """
    verb = "glm.objective"
    given, loss, dtype = check(verb, X, y, family, params.link, exposure, sample_weight, offset)
    l1, l2 = (checks.penalty(verb, name, v, given.X, given.y, dtype) for name, v in (("l1", l1), ("l2", l2)))
    return linear_loss.objective(Linear(params.coef, params.intercept), read(given), loss, l1, l2)


@public
def optimality(
    params: GLM, X: ArrayLike, y: ArrayLike, *, family: Family, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    exposure: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective` (with L1 the subgradient of smallest norm), as Linear: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.glm.GLM(jnp.array([0.0]), jnp.array(2.0), ji.links.Identity())
    >>> X, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 4.0])
    >>> print(ji.glm.optimality(params, X, y, family=ji.families.Gaussian()).coef)
    [-1.5]
    """
    verb = "glm.optimality"
    given, loss, dtype = check(verb, X, y, family, params.link, exposure, sample_weight, offset)
    l1, l2 = (checks.penalty(verb, name, v, given.X, given.y, dtype) for name, v in (("l1", l1), ("l2", l2)))
    at, fit_intercept = Linear(params.coef, params.intercept), checks.flag(verb, "fit_intercept", fit_intercept)
    return linear_loss.subgradient(at, read(given), loss, l1, l2, fit_intercept=fit_intercept)
