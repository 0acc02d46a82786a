r"""Ridge regression: least squares with an L2 penalty, its path and leave-one-out error."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear, short_repr
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.least_squares import ridge, ridge_path

FACTS = Facts(likelihood="gaussian", estimates_dispersion=True)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 10,
    fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals plus an L2 penalty: ridge regression, intercept unpenalised.

    .. math:: \min_{w, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - x_i^\top w - b)^2
              + \frac12 \sum_j \lambda_j w_j^2

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,) or (n, k) for k targets at once, traced.
      l2: the penalty, traced, at least 0, broadcast against coef: a scalar; (p,) one per feature for y (n,);
        (k,) one per target for y (n, k); (p, 1) one per feature or (p, k) one per coefficient for y (n, k).
        In units of y^2 / (unit of coef)^2, per unit of weight: scikit-learn's alpha is l2 * sum(sample_weight).
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,) or y's shape, in units of y, traced; subtracted from y.
      init: accepted as in every `fit`; a direct method needs no start and ignores its values.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of corrections, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,) or (p, k) and params.intercept () or (k,), in units of y per unit of x.
      info.rank is p unless l2 is 0 somewhere (n when n < p: the system solved is then n x n); info.condition belongs
      to the penalised system; the other fields as in `ols.fit`.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; a negative l2, sample_weight or tol on the host (Python or NumPy).  Values
        in a jax.Array do not raise: they become a Status.

    Status: as `ols.fit`; SINGULAR with NaN parameters for a negative l2 inside compiled code too.

    Precision: as `ols.fit`; the penalty improves the condition number.

    Derivatives: params with respect to X, y, l2, sample_weight and offset, forward and reverse, all orders, exact
      (l2 = 0: where the rank is constant).  n < p: with respect to weights only where they are positive.

    Cost: n p^2 flops and one Cholesky (p^3 / 3; one per target where penalties differ between targets).  n < p with a
      penalty that does not differ between features: n^2 p and n^3 / 3.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> ji.ridge.fit(X, y, l2=2 / 3).params.coef.round(4).tolist()   # cov / (var + l2) = (4/3) / (2/3 + 2/3)
    [1.0]
    >>> slope = jax.grad(lambda l2: ji.ridge.fit(X, y, l2=l2).params.coef[0])
    >>> print(slope(2 / 3).round(4))                                  # -(4/3) / (4/3)^2
    -0.75

    Source: Hoerl and Kennard 1970, eq. 2.1; Golub, Heath and Wahba 1979.  Elsewhere: sklearn.linear_model.Ridge
    (alpha = l2 * sum of weights), glmnet with alpha = 0 and standardize = FALSE, statsmodels OLS.fit_regularized.
    """
    given, dtype = _input.check("ridge.fit", X, y, sample_weight, offset, targets="any")
    checks.init("ridge.fit", init, given.X, given.y)
    return _fit(
        given,
        checks.penalty("ridge.fit", "l2", l2, given.X, given.y, dtype),
        checks.tolerance("ridge.fit", tol, dtype),
        checks.count("ridge.fit", "max_iter", max_iter),
        **_input.options("ridge.fit", given, fit_intercept),
    )


@staged(static=("fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, l2: jax.Array,
    tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    return ridge.solve(X, y, w, l2, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter, rare=rare)


@short_repr
class Path(NamedTuple):
    """A ridge path over m penalties.  coef (m, p) or (m, p, k); intercept, loo and gcv (m,) or (m, k); dof (m,).

    loo is the leave-one-out mean squared error, gcv the generalised cross-validation score, both in units of y^2; dof
    the effective number of parameters, the intercept included.
    """

    coef: jax.Array
    intercept: jax.Array
    loo: jax.Array
    gcv: jax.Array
    dof: jax.Array


@public
def path(
    X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Path:  # fmt: skip
    r"""Ridge solutions for m penalties, with leave-one-out and GCV errors, from one factorisation.

    .. math:: \mathrm{loo}(\lambda) = \frac{\sum_i s_i\, (r_i / (1 - h_i))^2}{\sum_i s_i},\qquad
              \mathrm{gcv}(\lambda) = \frac{\sum_i s_i r_i^2 / \sum_i s_i}{(1 - \mathrm{dof} / \sum_i s_i)^2}

    where h_i is the leverage of row i.  Leaving out row i means leaving out one unit of its weight's share: for
    weights 0 and 1 this is exactly a refit without the row at the same total penalty l2 * sum(sample_weight).

    Args:
      X: (n, p), traced.  y: (n,) or (n, k), traced.
      l2: (m,) penalties, at least 0, traced, in the units of `fit`; 0 gives the minimum-norm solution.
      sample_weight, offset, fit_intercept: as in `fit`.

    Returns:
      Path; NaN throughout if the input holds NaN or inf, or a negative weight or penalty.

    Raises: as `fit`; ValueError unless l2 is (m,).

    Precision: singular values come from the weighted, centred X itself, without forming squares, and one correction
      with residuals from the data follows: 14 digits in float64, 6 in float32, fewer for ill-conditioned X.

    Derivatives: with respect to l2 exact, all orders; with respect to the data they go through the SVD and need
      distinct singular values.

    Cost: one SVD of X (n p min(n, p) flops, several times), then n p flops a penalty and target.  Up to 40 columns, or
      rows, it comes from products and from small calls of LAPACK's, which stay on one thread (`rank_revealing.svd`).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> ji.ridge.path(X, y, l2=jnp.array([0.0, 2 / 3])).coef.round(4).tolist()
    [[2.0], [1.0]]

    Source: Golub, Heath and Wahba 1979, eqs. 1.4 and 2.3.  Elsewhere: sklearn.linear_model.RidgeCV.
    """
    given, dtype = _input.check("ridge.path", X, y, sample_weight, offset, targets="any")
    fit_intercept = checks.flag("ridge.path", "fit_intercept", fit_intercept)
    return _path(given, checks.grid("ridge.path", "l2", l2, dtype), fit_intercept=fit_intercept)


@partial(jax.jit, static_argnames="fit_intercept")
@rows.replicated
def _path(
    given: Given, l2: jax.Array, *,
    fit_intercept: bool,
) -> Path:  # fmt: skip
    X, y, w, _ = _input.read(given)
    out = Path(*ridge_path.path(X, y if y.ndim == 2 else y[:, None], w, l2, fit_intercept=fit_intercept))
    if y.ndim == 2:
        return out
    return Path(out.coef[..., 0], out.intercept[:, 0], out.loo[:, 0], out.gcv[:, 0], out.dof)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,) or (n, k), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.ridge.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("ridge.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which for ridge is the linear predictor: (n,) or (n, k), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.ridge.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("ridge.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus half of sum(l2 * coef^2): what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([1.0]), jnp.array(0.0))
    >>> print(ji.ridge.objective(at, jnp.array([[1.0], [1.0]]), jnp.array([1.0, 3.0]), l2=4.0))
    3.0
    """
    given, dtype = _input.check("ridge.objective", X, y, sample_weight, offset, targets="any")
    l2 = checks.penalty("ridge.objective", "l2", l2, given.X, given.y, dtype)
    X, y, w, _ = _input.read(given)
    return ridge.objective(params, X, y, w, l2)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective` with respect to params, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> abs(ji.ridge.optimality(ji.Linear(jnp.array([1.0]), jnp.array(2.0)), X, y, l2=2 / 3).coef).round(6).tolist()
    [0.0]
    """
    given, dtype = _input.check("ridge.optimality", X, y, sample_weight, offset, targets="any")
    l2 = checks.penalty("ridge.optimality", "l2", l2, given.X, given.y, dtype)
    X, y, w, _ = _input.read(given)
    return ridge.gradient(params, X, y, w, l2, fit_intercept=fit_intercept)
