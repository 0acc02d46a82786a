r"""The elastic net: least squares with an L1 and an L2 penalty, and its path."""

from __future__ import annotations

import jax
from numpy.typing import ArrayLike

from jaxinfra._core import affine
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _elastic_net


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 1000, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals plus an L1 and an L2 penalty: the elastic net.

    .. math:: \min_{w, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - x_i^\top w - b)^2
              + \sum_j \lambda^{(1)}_j |w_j| + \frac12 \sum_j \lambda^{(2)}_j w_j^2

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,), traced.
      l1: the penalty, traced, at least 0: a scalar or (p,), one per feature; 0 leaves a feature unpenalised.  In units
        of y^2 / (unit of coef), per unit of weight: alpha * l1_ratio in scikit-learn, lambda * alpha in glmnet.
      l2: likewise, in units of y^2 / (unit of coef)^2: alpha * (1 - l1_ratio), or lambda * (1 - alpha).
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,), in units of y, traced; subtracted from y.
      init: Linear to start from, traced; only its coef is used.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton steps, traced.
      fit_intercept: static.  The intercept is exact: by centring, with no constant column, never penalised.

    Returns:
      Fit(params, info): params.coef (p,), its zeros exact, and params.intercept (), in units of y per unit of x.
      info.gap is the duality gap, an upper bound on what the objective can still fall; info.optimality the gap relative
      to the objective of the intercept alone; info.objective the minimum; info.n_iter the Newton steps.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; a negative l1, l2, sample_weight or tol on the host (Python or NumPy).
        Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  MAX_ITER or STALLED if the gap misses tol: raise max_iter, loosen tol or use float64.  NONFINITE
      with NaN parameters if X, y, l1, l2, sample_weight or offset hold NaN or inf.  SINGULAR with NaN parameters for a
      negative weight or penalty inside compiled code, or if all weights are 0.

    Constant columns get 0; duplicated columns get equal coefficients where l2 is positive.

    Precision: float64 reaches a relative gap of 1e-12 and less, float32 one of 1e-6 on ordinary data.

    Derivatives: params with respect to X, y, l1, l2, sample_weight and offset, forward and reverse, all orders, exact
      where the support does not change; info has none.

    Cost: p <= 200 or n >= 4 p: one pass to form Z'SZ (n p^2 flops), then a few Cholesky factorisations of the active
      columns.  Otherwise one copy of X, and one read of it for each of a few working sets.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> fit = ji.check(ji.elastic_net.fit(X, y, l1=1 / 3, l2=1 / 3))
    >>> print(fit.params.coef.round(4), fit.params.intercept.round(4))  # (cov - l1) / (var + l2) = (4/3 - 1/3) / 1
    [1.] 2.0
    >>> print(jax.grad(lambda l1: ji.elastic_net.fit(X, y, l1=l1, l2=1 / 3).params.coef[0])(1 / 3).round(4))
    -1.0

    Source: Zou and Hastie 2005; the algorithm: Hintermueller, Ito and Kunisch 2003; the gap: Kim et al. 2007, eq. 12.
    Elsewhere: sklearn.linear_model.ElasticNet, glmnet with standardize = FALSE, statsmodels OLS.fit_regularized.
    """
    return _elastic_net.fit(
        "elastic_net.fit", X, y, {"l1": l1, "l2": l2}, sample_weight, offset, init, tol, max_iter, fit_intercept
    )


@public
def path(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 1000, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Elastic-net solutions for m penalties, each started from the one before, in one compiled call.

    Args:
      X: (n, p), traced.  y: (n,), traced.
      l1, l2: penalties, at least 0, traced, in the units of `fit`: (m,) or (m, p), or a scalar where the other has the
        axis m; best in decreasing order, as in ``l1_max * geomspace(1, 1e-3, 100)`` with an l2 in proportion.
      sample_weight, offset, init, tol, fit_intercept: as in `fit`; init starts the first penalty.
      max_iter: maximum number of Newton steps for each penalty, traced.

    Returns:
      Fit with leading axis m: params.coef (m, p), params.intercept (m,), and every field of info (m,).

    Raises: as `fit`; ValueError where neither l1 nor l2 has the axis m, or both have it and differ in it.

    Status, precision and derivatives: as `fit`, for each penalty.

    Cost: for more than 4 penalties, n >= p and at most 4096 columns: one pass to form Z'SZ; otherwise the reads of
      `fit`, once for about ten penalties.  Then, for each penalty, one to three Cholesky factorisations of up to 100
      active columns; for more columns gradient steps, about ten penalties in one product with the working set's Z'SZ.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> path = ji.elastic_net.path(X, y, l1=jnp.array([4 / 3, 1 / 3, 0.0]), l2=1.0)
    >>> [f"{w:.3f}" for w in path.params.coef[:, 0]]
    ['0.000', '0.600', '0.800']

    Source: Friedman, Hastie and Tibshirani 2010, section 2.5; Fan, Jiao and Lu 2014.  Elsewhere:
    sklearn.linear_model.enet_path, glmnet.
    """
    return _elastic_net.path(
        "elastic_net.path", X, y, {"l1": l1, "l2": l2}, sample_weight, offset, init, tol, max_iter, fit_intercept
    )


@public
def l1_max(
    X: ArrayLike, y: ArrayLike, *, penalty_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    r"""The smallest l1 at which all penalised coefficients are 0, whatever l2: where a path starts.  A scalar.

    .. math:: \max_j \frac{1}{u_j \sum_i s_i} \left| \sum_i s_i\, (x_{ij} - \bar x_j)(y_i - o_i - \bar y) \right|

    penalty_weight: (p,) factors u_j, traced, at least 0, for penalties l1 * penalty_weight; None means 1.  Features of
    factor 0 are fitted first, without an l2.  Rounded up, so that `fit` gives zeros at it.  Differentiable.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> print(f"{ji.elastic_net.l1_max(X, y):.4f}")
    1.3333
    """
    return _elastic_net.l1_max("elastic_net.l1_max", X, y, penalty_weight, sample_weight, offset, fit_intercept)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.elastic_net.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("elastic_net.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which for the elastic net is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.elastic_net.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("elastic_net.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus sum(l1 * |coef| + l2 * coef^2 / 2): what `fit` minimises.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([1.0]), jnp.array(0.0))
    >>> print(ji.elastic_net.objective(at, jnp.array([[1.0], [1.0]]), jnp.array([1.0, 3.0]), l1=4.0, l2=2.0))
    6.0
    """
    return _elastic_net.objective("elastic_net.objective", params, X, y, {"l1": l1, "l2": l2}, sample_weight, offset)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of least norm, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> at = ji.Linear(jnp.array([1.0]), jnp.array(2.0))
    >>> abs(ji.elastic_net.optimality(at, X, y, l1=1 / 3, l2=1 / 3).coef).round(5).tolist()
    [0.0]
    """
    return _elastic_net.optimality(
        "elastic_net.optimality", params, X, y, {"l1": l1, "l2": l2}, sample_weight, offset, fit_intercept
    )
