r"""RANSAC: least squares on the largest consensus set, found by trials from small random subsets."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.least_squares import ridge
from jaxinfra.solvers.robust import ransac


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, key: jax.Array, threshold: ArrayLike | None = None, n_trials: int = 1000,
    confidence: ArrayLike = 0.99, subset_size: int | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 10,
    fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Least squares of the largest set of rows that agree to a threshold: regression with many outliers.

    .. math:: \hat{I} = \arg\max_{t} \sum_{i \in I_t} s_i, \quad I_t = \{i : |y_i - o_i - x_i^\top w_t - b_t| \le c\},
              \qquad (\hat w, \hat b) = \mathrm{ols}(\hat I)

    Each trial t fits a random subset of the rows.  Of trials with equal consensus the one with the smaller sum of
    squares wins.  The consensus of the final fit replaces it while that grows (Chum, Matas and Kittler 2003).

    Args:
      X: (n, p) real, traced.
      y: (n,) real, traced.
      key: a key of `jax.random`, traced.
      threshold: the largest residual c of a row in the consensus, above 0, in units of y, traced; None means the median
        of |y - median y|.
      n_trials: maximum number of trials, static: 1000 suffice at 99 % for half of the rows and 7 parameters.
      confidence: trials end, in blocks of 64, when they have found a subset without outliers at this probability, which
        takes log(1 - confidence) / log(1 - e^subset_size) of them where e is the consensus' share of the rows; above 0,
        1 makes all trials, traced.
      subset_size: rows of a trial, static; None means as many as parameters.
      sample_weight: (n,) not negative, traced; None means 1: how often a row is drawn and counts.
      offset: (n,) in units of y, traced; subtracted from y.
      init: Linear that is one more trial.
      tol: largest `info.optimality` of the final least squares that counts as converged, traced.
      max_iter: maximum number of fits of a consensus, traced; 1 is scikit-learn's.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,), params.intercept ().  info.inliers is the weight of the rows in the
      consensus, info.threshold the residual up to which a row is in it, info.trials the number of trials;
      `inliers(params, X, y, threshold=...)` says which rows they are.  info.objective is half their mean squared
      residual.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a key not from `jax.random`, a
        max_iter that is not an integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match, an n_trials that is not a positive integer, a subset_size below the number
        of parameters or above n; on the host (Python or NumPy) also a threshold that is not above 0, a confidence
        outside (0, 1], or a negative sample_weight or tol.  Values in a jax.Array do not raise:
        they become a Status.

    Status: CONVERGED.  SINGULAR with NaN if no consensus is larger than the subset it was fitted to (raise threshold or
      n_trials), for a threshold or weights below 0, a confidence outside (0, 1] or if all weights are 0.  NONFINITE
      with NaN if the input holds NaN or inf.

    Derivatives: params with respect to X, y, sample_weight and offset, those of least squares on the consensus, exact
      where it does not change.

    Cost: n p flops and n comparisons a trial, in blocks of 64 that read X once, then a few least squares.  A batch
      takes as many blocks as the lane that needs most.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.arange(8.0)[:, None], jnp.array([1.0, 90.0, 5.0, 7.0, -40.0, 11.0, 13.0, 70.0])
    >>> fit = ji.check(ji.ransac.fit(X, y, key=jax.random.key(0), threshold=0.1))
    >>> print(f"{fit.params.coef[0]:.2f} {fit.params.intercept:.2f}, {fit.info.inliers:.0f} rows")
    2.00 1.00, 5 rows

    Source: Fischler and Bolles 1981.  Elsewhere: sklearn.linear_model.RANSACRegressor (residual_threshold,
    max_trials, stop_probability = confidence).
    """
    verb = "ransac.fit"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    q = given.X.shape[1] + fit_intercept
    size = _input.subset_size(verb, subset_size, given.X.shape[0], q)
    if threshold is not None:
        threshold = _input.scalar(verb, "threshold", threshold, dtype, above=0.0)
    n_trials = checks.static_count(verb, "n_trials", n_trials)
    confidence = _input.scalar(verb, "confidence", confidence, dtype, above=0.0, most=1.0)
    fitted = _fit(
        given, key, threshold, confidence, init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter),
        n_trials=n_trials, size=size, fit_intercept=fit_intercept, blocked=_input.blocked(given),
    )  # fmt: skip
    return fitted._replace(problem={"threshold": fitted.info.threshold})


@staged(static=("n_trials", "size", "fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, key: jax.Array, threshold: jax.Array | None, confidence: jax.Array, init: Linear | None,
    tol: jax.Array | None, max_iter: jax.Array, *, n_trials: int, size: int, fit_intercept: bool, blocked: bool,
    rare: Rare,
) -> Fit:  # fmt: skip
    return ransac.solve(
        _input.read(given), key, threshold, confidence, init, tol, max_iter, n_trials=n_trials, size=size,
        fit_intercept=fit_intercept, blocked=blocked, rare=rare,
    )  # fmt: skip


@public
def inliers(
    params: Linear, X: ArrayLike, y: ArrayLike, *, threshold: ArrayLike, offset: ArrayLike | None = None
) -> jax.Array:
    """Which rows agree with the parameters to the threshold: (n,) of True and False.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([2.0]), jnp.array(1.0))
    >>> print(ji.ransac.inliers(at, jnp.array([[0.0], [1.0]]), jnp.array([1.2, 5.0]), threshold=0.5))
    [ True False]
    """
    verb = "ransac.inliers"
    given, dtype = _input.check(verb, X, y, None, offset)
    limit = _input.scalar(verb, "threshold", threshold, dtype, above=0.0)
    return jnp.abs(_input.read(given).y - affine.decision(verb, params, given.X)) <= limit


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.ransac.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("ransac.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The response of a row that is no outlier, which is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.ransac.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("ransac.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, threshold: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the mean of squared residuals of the rows that agree to the threshold.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([2.0]), jnp.array(1.0))
    >>> print(ji.ransac.objective(at, jnp.array([[0.0], [1.0]]), jnp.array([2.0, 50.0]), threshold=1.5))
    0.5
    """
    X, y, w = _agreeing("ransac.objective", params, X, y, threshold, sample_weight, offset)
    return ridge.objective(params, X, y, w, None)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, threshold: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective` while the rows that agree stay the same, as Linear: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([2.0]), jnp.array(1.0))
    >>> print(ji.ransac.optimality(at, jnp.array([[1.0], [1.0]]), jnp.array([2.0, 50.0]), threshold=1.5).coef)
    [1.]
    """
    verb = "ransac.optimality"
    X, y, w = _agreeing(verb, params, X, y, threshold, sample_weight, offset)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    return ridge.gradient(params, X, y, w, None, fit_intercept=fit_intercept)


def _agreeing(
    verb: str, params: Linear, X: Any, y: Any, threshold: Any, sample_weight: Any, offset: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """X, y - offset, and the weights of the rows that agree."""
    inside = inliers(params, X, y, threshold=threshold, offset=offset)
    given, _ = _input.check(verb, X, y, sample_weight, offset)
    X, y, w, _ = _input.read(given)
    return X, y, jnp.where(inside, or_ones(w, y), 0)
