r"""Ordinary and weighted least squares."""

from __future__ import annotations

import jax
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.least_squares import ridge

FACTS = Facts(likelihood="gaussian", estimates_dispersion=True)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    init: Linear | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 10, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals: linear regression with certified digits and exact rank.

    .. math:: \min_{w, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - x_i^\top w - b)^2

    Of all minimisers the one with the smallest :math:`\|w\|_2` is returned.

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,) or (n, k) for k targets at once, traced.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,) or y's shape, in units of y, traced; subtracted from y.
      init: accepted as in every `fit`; a direct method needs no start and ignores its values.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of corrections, traced.  One or two are used unless the data are ill-conditioned.
      fit_intercept: static.  The intercept is exact: by centring, with no constant column.

    Returns:
      Fit(params, info): params.coef (p,) or (p, k) and params.intercept () or (k,), in units of y per unit of x.
      info.rank () is the rank of the centred X, info.condition its condition number with columns scaled to unit norm
      (an estimate within a factor of about 3 where it is small), info.objective the minimum, info.optimality
      :math:`\max_j |z_j^\top S r| / (\|z_j\| \|y\|)` before the last correction, n_iter the corrections.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; a negative sample_weight or tol on the host (Python or NumPy).  Values in a
        jax.Array do not raise: they become a Status.

    Status: CONVERGED.  STALLED or MAX_ITER if the optimality misses tol: scale the columns or use float64.  NONFINITE
      with NaN parameters if X, y, sample_weight or offset hold NaN or inf in a row of positive weight, or their squares
      overflow or underflow the dtype: centred norms above 1e19 or below 1e-19 in float32, 1e154 and 1e-154 in float64.
      SINGULAR with NaN parameters if a weight is negative or all are 0.

    Rank policy: singular values of the centred X with columns scaled to unit norm, below eps times the smaller of
      max(n, p) and 64 + 8 min(n, p) times the largest, count as zero; the solution then has minimum norm in the
      original units.  (n < p: without scaling.)

    Precision: float64 gives 11 digits of the larger coefficients and 9 of all, whatever the residual: where rounding
      would leave fewer, corrections with residuals in double-word arithmetic restore them.  float32 input is computed
      in float32, in the same way: 5 digits or what float32 holds.

    Derivatives: params with respect to X, y, sample_weight and offset, forward and reverse, all orders, exact where the
      rank is constant; info has none.  n < p: with respect to weights only where they are positive.

    Cost: one pass to form Z'SZ (n p^2 flops), one Cholesky (p^3 / 3), two reads of X a correction; memory p^2 beyond X.
      Rank-deficient or ill-conditioned data: two more passes and three p x p eigenproblems.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X = jnp.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]])
    >>> y = jnp.array([3.0, 6.0, 9.0])
    >>> fit = ji.ols.fit(X, y, fit_intercept=False)
    >>> print(fit.params.coef.round(4))
    [-1.  2.]
    >>> fit = ji.ols.fit(X, y)     # centred, the two columns are equal: rank 1, minimum norm
    >>> print(fit.params.coef.round(4), fit.params.intercept.round(4), fit.info.rank)
    [0.5 0.5] 1.5 1

    Source: Bjorck, Numerical Methods for Least Squares Problems (2nd ed. 2024), sections 2.1 and 2.5; Golub and
    Pereyra 1973, eq. 4.12 (derivative).  Elsewhere: sklearn.linear_model.LinearRegression, statsmodels OLS and WLS,
    scipy.linalg.lstsq, R's lm.
    """
    given, dtype = _input.check("ols.fit", X, y, sample_weight, offset, targets="any")
    checks.init("ols.fit", init, given.X, given.y)
    return _fit(
        given,
        checks.tolerance("ols.fit", tol, dtype),
        checks.count("ols.fit", "max_iter", max_iter),
        **_input.options("ols.fit", given, fit_intercept),
    )


@staged(static=("fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, tol: jax.Array | None,
    max_iter: jax.Array, *, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    options = {"fit_intercept": fit_intercept, "blocked": blocked}
    return ridge.solve(X, y, w, None, tol=tol, max_iter=max_iter, rare=rare, **options)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,) or (n, k), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.ols.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("ols.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which for least squares is the linear predictor: (n,) or (n, k), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.ols.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("ols.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals, summed over targets: what `fit` minimises.  A scalar, in y^2.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.ols.objective(params, jnp.array([[1.0], [1.0]]), jnp.array([1.0, 3.0])))
    2.5
    """
    given, _ = _input.check("ols.objective", X, y, sample_weight, offset, targets="any")
    X, y, w, _ = _input.read(given)
    return ridge.objective(params, X, y, w, None)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective` with respect to params, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> ji.ols.optimality(ji.Linear(jnp.array([2.0]), jnp.array(0.0)), X, y).coef.tolist()
    [0.0]
    """
    given, _ = _input.check("ols.optimality", X, y, sample_weight, offset, targets="any")
    X, y, w, _ = _input.read(given)
    return ridge.gradient(params, X, y, w, None, fit_intercept=fit_intercept)
