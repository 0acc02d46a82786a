r"""The lasso: least squares with an L1 penalty, its path, and the smallest penalty that makes every coefficient 0."""

from __future__ import annotations

import jax
from numpy.typing import ArrayLike

from jaxinfra._core import affine
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _elastic_net


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 1000, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals plus an L1 penalty: the lasso, with a certificate.

    .. math:: \min_{w, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - x_i^\top w - b)^2
              + \sum_j \lambda_j |w_j|

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,), traced.
      l1: the penalty, traced, at least 0: a scalar or (p,), one per feature; 0 leaves a feature unpenalised.  In units
        of y^2 / (unit of coef), per unit of weight: scikit-learn's alpha, glmnet's lambda without standardisation.
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
      ValueError: shapes that do not match; a negative l1, sample_weight or tol on the host (Python or NumPy).  Values
        in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  MAX_ITER or STALLED if the gap misses tol: raise max_iter, loosen tol or use float64.  NONFINITE
      with NaN parameters if X, y, l1, sample_weight or offset hold NaN or inf.  SINGULAR with NaN parameters for a
      negative weight or penalty inside compiled code, or if all weights are 0.

    Constant columns get 0.  Duplicated columns share the coefficient that one alone would have.

    Precision: float64 reaches a relative gap of 1e-12 and less, float32 one of 1e-6 on ordinary data.

    Derivatives: params with respect to X, y, l1, sample_weight and offset, forward and reverse, all orders, exact
      where the support does not change; info has none.

    Cost: p <= 200 or n >= 4 p: one pass to form Z'SZ (n p^2 flops), then a few Cholesky factorisations of the active
      columns.  Otherwise one copy of X, and one read of it for each of a few working sets.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> fit = ji.check(ji.lasso.fit(X, y, l1=1 / 3))
    >>> print(fit.params.coef.round(4), fit.params.intercept.round(4))  # (cov - l1) / var = (4/3 - 1/3) / (2/3)
    [1.5] 1.0
    >>> print(jax.grad(lambda l1: ji.lasso.fit(X, y, l1=l1).params.coef[0])(1 / 3).round(4))  # -1 / var
    -1.5

    Source: Tibshirani 1996; the algorithm: Hintermueller, Ito and Kunisch 2003; the gap: Kim et al. 2007, eq. 12.
    Elsewhere: sklearn.linear_model.Lasso (alpha = l1), glmnet with alpha = 1 and standardize = FALSE (lambda = l1),
    statsmodels OLS.fit_regularized.
    """
    return _elastic_net.fit("lasso.fit", X, y, {"l1": l1}, sample_weight, offset, init, tol, max_iter, fit_intercept)


@public
def path(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 1000, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Lasso solutions for m penalties, each started from the one before, in one compiled call.

    Args:
      X: (n, p), traced.  y: (n,), traced.
      l1: (m,) or (m, p) penalties, at least 0, traced, in the units of `fit`; best in decreasing order, such as
        ``l1_max * geomspace(1, 1e-3, 100)``.
      sample_weight, offset, init, tol, fit_intercept: as in `fit`; init starts the first penalty.
      max_iter: maximum number of Newton steps for each penalty, traced.

    Returns:
      Fit with leading axis m: params.coef (m, p), params.intercept (m,), and every field of info (m,).

    Raises: as `fit`; ValueError unless l1 is (m,) or (m, p).

    Status, precision and derivatives: as `fit`, for each penalty.

    Cost: for more than 4 penalties, n >= p and at most 4096 columns: one pass to form Z'SZ; otherwise the reads of
      `fit`, once for about ten penalties.  Then, for each penalty, one to three Cholesky factorisations of up to 100
      active columns; for more columns gradient steps, about ten penalties in one product with the working set's Z'SZ.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> ji.lasso.path(X, y, l1=jnp.array([4 / 3, 1 / 3, 0.0])).params.coef.round(4).tolist()
    [[0.0], [1.5], [2.0]]

    Source: Friedman, Hastie and Tibshirani 2010, section 2.5; Fan, Jiao and Lu 2014.  Elsewhere:
    sklearn.linear_model.lasso_path, glmnet.
    """
    return _elastic_net.path("lasso.path", X, y, {"l1": l1}, sample_weight, offset, init, tol, max_iter, fit_intercept)


@public
def l1_max(
    X: ArrayLike, y: ArrayLike, *, penalty_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    r"""The smallest l1 at which all penalised coefficients are 0: where a path starts.  A scalar.

    .. math:: \max_j \frac{1}{u_j \sum_i s_i} \left| \sum_i s_i\, (x_{ij} - \bar x_j)(y_i - o_i - \bar y) \right|

    penalty_weight: (p,) factors u_j, traced, at least 0, for penalties l1 * penalty_weight; None means 1.  Features of
    factor 0 are fitted first.  The value is rounded up, so that `fit` gives zeros at it.  Differentiable.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> print(f"{ji.lasso.l1_max(X, y):.4f}")
    1.3333
    """
    return _elastic_net.l1_max("lasso.l1_max", X, y, penalty_weight, sample_weight, offset, fit_intercept)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.lasso.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("lasso.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which for the lasso is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.lasso.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("lasso.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus sum(l1 * |coef|): what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([1.0]), jnp.array(0.0))
    >>> print(ji.lasso.objective(at, jnp.array([[1.0], [1.0]]), jnp.array([1.0, 3.0]), l1=4.0))
    5.0
    """
    return _elastic_net.objective("lasso.objective", params, X, y, {"l1": l1}, sample_weight, offset)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of least norm, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> abs(ji.lasso.optimality(ji.Linear(jnp.array([1.5]), jnp.array(1.0)), X, y, l1=1 / 3).coef).round(5).tolist()
    [0.0]
    """
    return _elastic_net.optimality("lasso.optimality", params, X, y, {"l1": l1}, sample_weight, offset, fit_intercept)
