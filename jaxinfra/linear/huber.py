r"""Huber's robust regression, which estimates the scale of the residuals together with the coefficients."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra import norms
from jaxinfra._core import affine, checks, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear, Scaled
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.robust import huber

FACTS = Facts(scale_power=1)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, delta: ArrayLike = 1.35, l2: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | Scaled | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 100, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise a loss quadratic in small and linear in large residuals, jointly with their scale: robust to outliers.

    .. math:: \min_{w, b, \sigma > 0} \frac{1}{\sum_i s_i} \sum_i s_i
              \left(\frac{\sigma}{2} + \sigma\, \rho\!\left(\frac{y_i - o_i - x_i^\top w - b}{\sigma}\right)\right)
              + \frac12 \sum_j \lambda_j w_j^2,
              \qquad \rho(z) = \begin{cases} z^2 / 2 & |z| \le \delta \\ \delta |z| - \delta^2 / 2 \end{cases}

    Args:
      X: (n, p) real, traced.
      y: (n,) real, traced.
      delta: the cutoff between small and large residuals, in units of the scale, above 1, traced.  1.35 keeps 95 % of
        the efficiency of least squares under normal errors.  With delta = inf the coefficients are those of least
        squares.
      l2: the penalty, traced, at least 0: a scalar or (p,), in units of y / (unit of coef)^2, per unit of weight.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,) in units of y, traced; subtracted from y.
      init: Scaled, or Linear, to start from.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton iterations, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,), params.intercept () in units of y per unit of x, params.scale () in units of
      y.  info.optimality is the largest entry of the gradient, for a coefficient per root mean square of its column.
      Outliers are the rows with |y - decision(params, X)| > delta * params.scale.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; on the host (Python or NumPy) also a delta that is not above 1, or a
        negative l2, sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  MAX_ITER; STALLED if rounding stops the progress.  ZERO_SCALE with NaN if the scale goes to 0:
      where more than 1 - 1 / delta^2 of the rows (45 % at 1.35) are fitted exactly.  NONFINITE with NaN if the input
      holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty or if all weights are 0.

    Outliers in y are downweighted, outliers in X (high leverage) are not: for these see `m_estimator` with a
    redescending norm, or `ransac`.  Duplicated and constant columns are allowed; how they share their coefficient is
    not determined.

    Precision: float64 reaches an optimality of 1e-15 times the spread of y over the scale, float32 1e-6 times it.

    Derivatives: params with respect to X, y, delta, l2, sample_weight and offset, forward and reverse, all orders,
      exact where no residual crosses delta.

    Cost: small data (n p^2 below 2e7) n p^2 flops and p^3 / 3 a Newton step, about eight of them.  Larger data: the fit
      of a subsample, then five to ten reads of X.  Memory: p^2 and a sixteenth of X at the least.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.arange(8.0)[:, None], jnp.array([0.1, 0.9, 2.1, 2.9, 4.1, 4.9, 6.1, 70.0])
    >>> fit = ji.check(ji.huber.fit(X, y))
    >>> print(f"{fit.params.coef[0]:.2f}, least squares {ji.ols.fit(X, y).params.coef[0]:.2f}")
    1.02, least squares 6.25

    Source: Huber, Robust Statistics (1981), section 7.7; Owen 2007, section 3.  Elsewhere:
    sklearn.linear_model.HuberRegressor (epsilon = delta, alpha = l2 * sum of weights).
    """
    verb = "huber.fit"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    if isinstance(init, Linear):
        init = Scaled(*init, jnp.zeros((), dtype))
    return _fit(
        given, _input.scalar(verb, "delta", delta, dtype, above=1.0),
        checks.penalty(verb, "l2", l2, given.X, given.y, dtype), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter),
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


@staged(static=("fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, delta: jax.Array, l2: jax.Array, init: Scaled | None, tol: jax.Array | None, max_iter: jax.Array, *,
    fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    return huber.solve(
        _input.read(given), delta, l2, init, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter,
        rare=rare,
    )  # fmt: skip


@public
def decision(params: Scaled, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([2.0]), jnp.array(1.0), jnp.array(0.5))
    >>> print(ji.huber.decision(at, jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("huber.decision", params, X, offset)


@public
def predict(params: Scaled, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The response of a row that is no outlier, which is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([2.0]), jnp.array(1.0), jnp.array(0.5))
    >>> print(ji.huber.predict(at, jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("huber.predict", params, X, offset)


@public
def objective(
    params: Scaled, X: ArrayLike, y: ArrayLike, *, delta: ArrayLike = 1.35, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The weighted mean of scale / 2 + scale * rho plus the penalty: what `fit` minimises.  A scalar, in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([0.0]), jnp.array(0.0), jnp.array(1.0))
    >>> print(ji.huber.objective(at, jnp.array([[1.0], [2.0]]), jnp.array([1.0, -4.0]), delta=2.0))  # (1 + 1/2 + 6) / 2
    3.75
    """
    verb = "huber.objective"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    delta = _input.scalar(verb, "delta", delta, dtype, above=1.0)
    return _objective(params, given, delta, checks.penalty(verb, "l2", l2, given.X, given.y, dtype))


@jax.jit
@rows.replicated
def _objective(params: Scaled, given: Given, delta: jax.Array, l2: jax.Array) -> jax.Array:
    data = _input.read(given)
    z = (data.y - dot(data.X, params.coef) - params.intercept) / params.scale
    w = or_ones(data.w, z)
    loss = params.scale * (0.5 + dot(w, norms.Huber(delta).rho(z)) / w.sum())
    return loss + 0.5 * (l2 * params.coef * params.coef).sum()


@public
def optimality(
    params: Scaled, X: ArrayLike, y: ArrayLike, *, delta: ArrayLike = 1.35, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Scaled:  # fmt: skip
    """The gradient of `objective` with respect to params, as Scaled: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([0.0]), jnp.array(0.0), jnp.array(1.0))
    >>> g = ji.huber.optimality(at, jnp.array([[1.0], [2.0]]), jnp.array([1.0, -4.0]), delta=2.0)
    >>> print(g.coef, g.intercept, g.scale)  # -(1 * 1 - 2 * 2) / 2, -(1 - 2) / 2, 1/2 - (1 + 4) / 4
    [1.5] 0.5 -0.75
    """
    verb = "huber.optimality"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    delta = _input.scalar(verb, "delta", delta, dtype, above=1.0)
    l2 = checks.penalty(verb, "l2", l2, given.X, given.y, dtype)
    return _optimality(params, given, delta, l2, fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept))


@partial(jax.jit, static_argnames="fit_intercept")
@rows.replicated
def _optimality(params: Scaled, given: Given, delta: jax.Array, l2: jax.Array, *, fit_intercept: bool) -> Scaled:
    g = jax.grad(_objective)(params, given, delta, l2)
    return g if fit_intercept else g._replace(intercept=jnp.zeros_like(g.intercept))
