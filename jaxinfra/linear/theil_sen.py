r"""The Theil-Sen estimator: the median of the fits to small subsets of the rows."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.robust import theil_sen


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, key: jax.Array, n_subsets: int = 10_000, subset_size: int | None = None,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, init: Linear | None = None,
    tol: ArrayLike | None = None, max_iter: ArrayLike = 500, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""The spatial median of the least-squares fits to many small subsets: regression that is robust to outliers.

    .. math:: \min_\theta \sum_t v_t\, |D (\theta - \theta_t)|_2, \qquad \theta_t = \mathrm{ols}(\text{subset } t)

    with D = diag(root mean squares of the columns of X about their means, and 1 for the value of the fit at the means),
    so that the units of the columns do not matter.  For one column and subsets of two rows it is the classical
    estimator instead: the median of the slopes between two rows, and the median of y - slope x.

    Args:
      X: (n, p) real, traced.
      y: (n,) real, traced.
      key: a key of `jax.random`, traced; ignored where all subsets are used.
      n_subsets: static.  If there are at most this many subsets, all are used; otherwise this many are drawn.
      subset_size: rows of a subset, static; None means as many as parameters q.  Larger ones are more efficient and
        tolerate fewer outliers: a share of about 1 - 0.5^(1 / subset_size) of the rows (29 % at 2, 13 % at 5).
      sample_weight: (n,) not negative, traced; None means 1: how often a row is drawn.
      offset: (n,) in units of y, traced; subtracted from y.
      init: Linear to start from; ignored where the medians are those of numbers: with one parameter, or with one column
        and subsets of two rows.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton steps towards the median, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,), params.intercept ().  info.objective is the mean distance to the subsets'
      fits; info.optimality the length of the mean of the unit vectors towards them, 0 at their median.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool, a key not from `jax.random` where subsets are drawn.
      ValueError: shapes that do not match, an n_subsets that is not a positive integer, a subset_size outside q..n; a
        negative sample_weight or tol on the host (Python or NumPy).  Values in a jax.Array do not raise: they become a
        Status.

    Status: CONVERGED.  SINGULAR with NaN if no subset determines the parameters, for a negative weight or if all
      weights are 0.  NONFINITE with NaN if the input holds NaN or inf, or if a parameter overflows.  MAX_ITER; STALLED.

    Derivatives: params with respect to X, y and offset, forward and reverse, all orders, for the subsets as drawn.

    Cost: n_subsets QR factorisations (2 subset_size q^2 flops) and n_subsets q numbers; 10 to 30 steps over them.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.arange(5.0)[:, None], jnp.array([1.0, 3.0, 5.0, 7.0, 90.0])
    >>> fit = ji.check(ji.theil_sen.fit(X, y, key=jax.random.key(0)))  # the outlier does not move it
    >>> print(f"{fit.params.coef[0]:.2f} {fit.params.intercept:.2f}")
    2.00 1.00

    Source: Theil 1950; Sen 1968; Dang, Peng, Wang and Zhang 2008.  Elsewhere: sklearn.linear_model.TheilSenRegressor
    (max_subpopulation = n_subsets, n_subsamples = subset_size), scipy.stats.theilslopes.
    """
    verb = "theil_sen.fit"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    size = _input.subset_size(verb, subset_size, given.X.shape[0], given.X.shape[1] + fit_intercept)
    return _fit(
        given, key, init, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        n_subsets=checks.static_count(verb, "n_subsets", n_subsets), size=size, fit_intercept=fit_intercept,
    )  # fmt: skip


@staged(static=("n_subsets", "size", "fit_intercept"))
@rows.replicated
def _fit(
    given: Given, key: jax.Array, init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *, n_subsets: int,
    size: int, fit_intercept: bool, rare: Rare,
) -> Fit:  # fmt: skip
    return theil_sen.solve(
        _input.read(given), key, init, tol, max_iter, n_subsets=n_subsets, size=size, fit_intercept=fit_intercept,
        rare=rare,
    )  # fmt: skip


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.theil_sen.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("theil_sen.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The response of a row that is no outlier, which is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.theil_sen.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("theil_sen.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, key: jax.Array, n_subsets: int = 10_000,
    subset_size: int | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The mean distance to the subsets' fits in the units of `fit`, of one column that of the slopes.  A scalar.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 4.0])  # slopes 1, 2, 3; deviation of X 0.816
    >>> at = ji.Linear(jnp.array([2.0]), jnp.array(0.0))
    >>> print(ji.theil_sen.objective(at, X, y, key=jax.random.key(0)).round(3))  # 0.816 * 2 / 3
    0.544
    """
    given = (X, y, key, n_subsets, subset_size, sample_weight, offset, fit_intercept)
    return _values("theil_sen.objective", params, *given)[0]


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, key: jax.Array, n_subsets: int = 10_000,
    subset_size: int | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The length of the mean of the unit vectors towards the subsets' fits: zero at the solution.  A scalar.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 4.0])
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.theil_sen.optimality(at, X, y, key=jax.random.key(0)).round(3))  # all slopes are above
    1.0
    """
    given = (X, y, key, n_subsets, subset_size, sample_weight, offset, fit_intercept)
    return _values("theil_sen.optimality", params, *given)[1]


def _values(
    verb: str, params: Linear, X: Any, y: Any, key: Any, n_subsets: Any, subset_size: Any, sample_weight: Any,
    offset: Any, fit_intercept: Any,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    given, _ = _input.check(verb, X, y, sample_weight, offset)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    size = _input.subset_size(verb, subset_size, given.X.shape[0], given.X.shape[1] + fit_intercept)
    count = checks.static_count(verb, "n_subsets", n_subsets)
    return _looked(params, given, key, n_subsets=count, size=size, fit_intercept=fit_intercept)


@partial(jax.jit, static_argnames=("n_subsets", "size", "fit_intercept"))
@rows.replicated
def _looked(
    params: Linear, given: Given, key: jax.Array, *, n_subsets: int, size: int, fit_intercept: bool
) -> tuple[jax.Array, jax.Array]:
    return theil_sen.values(
        params, _input.read(given), key, n_subsets=n_subsets, size=size, fit_intercept=fit_intercept
    )
