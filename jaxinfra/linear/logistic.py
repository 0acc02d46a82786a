r"""Logistic regression for two classes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.families import Binomial
from jaxinfra.linear._class_input import check_two, read_two
from jaxinfra.linear._input import Given, options
from jaxinfra.links import Logit
from jaxinfra.losses import LogLoss
from jaxinfra.solvers.likelihood import linear_loss, penalised

FACTS = Facts(likelihood="loss")

_LOSS = LogLoss(Binomial(), Logit())


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean log loss plus an L1, L2 or elastic-net penalty: binary logistic regression.

    .. math:: \min_{w, b} \frac{1}{\sum_i s_i} \sum_i s_i \left[\log(1 + e^{\eta_i}) - y_i \eta_i\right]
              + \sum_j \lambda^{(1)}_j |w_j| + \frac12 \sum_j \lambda^{(2)}_j w_j^2,
              \qquad \eta_i = x_i^\top w + b + o_i

    with :math:`s_i` the sample weight times the weight of the class.

    Args:
      X: (n, p) real, traced.  n < p is allowed with a penalty.
      y: (n,) labels 0 or 1 (integers or booleans), or probabilities of class 1 between 0 and 1 (floats); traced.
      l1, l2: penalties, traced, at least 0, scalar or (p,), per unit of weight; the intercept is never penalised.
      class_weight: None; (2,) traced, a factor for each class; or "balanced" (static): inverse to the classes' weights.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,), traced; added to the linear predictor.
      init: Linear(coef (p,), intercept ()) to start from, traced; None starts without columns.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of evaluations of the objective, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,) and params.intercept () in log odds per unit of x; info.objective the minimum
      (for probabilities less their entropy), info.n_iter the evaluations, info.optimality the largest :math:`|g_j| /
      (\mathrm{rms}(x_j) \sqrt{\bar y (1 - \bar y)})` over the columns and the intercept, g the gradient, or with L1 the
      subgradient of smallest norm, and rms that of the column about its mean (for large data over a subsample).

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match, a class_weight string other than "balanced"; on the host (Python or NumPy)
        also labels outside 0..1, a negative penalty, weight or tol.  Values in a jax.Array become a Status instead.

    Status: CONVERGED.  SEPARABLE with NaN if no finite parameters minimise: the columns without penalty separate the
      classes, completely or quasi-completely, or a class is absent: add l2.  DOMAIN with NaN for labels outside 0..1.
      MAX_ITER; STALLED if rounding stops the progress: loosen tol, scale the columns or use float64.  NONFINITE with
      NaN if the input holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty or if all weights are 0.

    Duplicated and constant columns are allowed; how they share their coefficient is undetermined without a penalty.

    Precision: float64 reaches an optimality of 1e-12 and below, float32 about 1e-6.

    Derivatives: params with respect to X, y (floats), l1, l2, class_weight, sample_weight and offset, forward and
      reverse, all orders; with l1 exact where the support does not change.

    Cost: small data (n p^2 below 2e7) n p^2 flops and p^3 / 3 a Newton step, about six steps.  Larger data: the fit of
    a subsample, then about five reads of X at 50 columns, ten at 500.  Memory: p^2 and a sixteenth of X at the least.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 0, 1, 1])
    >>> fit = ji.check(ji.logistic.fit(X, y))
    >>> print(f"{fit.params.coef[0]:.2f} {fit.params.intercept:.2f}")  # log 4 and -log 2
    1.39 -0.69
    >>> ji.Status(int(ji.logistic.fit(X, jnp.array([0, 0, 0, 1, 1, 1])).info.status)).name
    'SEPARABLE'

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, eqs. 4.20 to 4.26 and 18.54.
    Elsewhere: sklearn.linear_model.LogisticRegression (C = 1 / (l2 * sum of weights)), glmnet with family = "binomial",
    statsmodels Logit.
    """
    verb = "logistic.fit"
    given, balanced, dtype = check_two(verb, X, y, class_weight, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    return _fit(
        given, None if checks.is_zero(l1) else checks.penalty(verb, "l1", l1, given.X, given.y, dtype),
        checks.penalty(verb, "l2", l2, given.X, given.y, dtype), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), **options(verb, given, fit_intercept), balanced=balanced,
    )  # fmt: skip


_STATIC = ("balanced", "fit_intercept", "blocked")


@staged(static=_STATIC)
@rows.replicated
def _fit(
    given: Given, l1: jax.Array | None, l2: jax.Array, init: Linear | None, tol: jax.Array | None, max_iter: jax.Array,
    *, balanced: bool, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    data, valid = read_two(given, balanced)
    return penalised.solve(
        data, _LOSS, l1, l2, init, valid=valid, fit_intercept=fit_intercept, blocked=blocked, tol=tol,
        max_iter=max_iter, rare=rare,
    )  # fmt: skip


@public
def path(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 200,
    fit_intercept: bool = True,
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
    >>> X, y = jnp.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 0, 1, 1])
    >>> print(ji.logistic.path(X, y, l1=jnp.array([0.1, 0.0])).params.coef.round(3)[:, 0])
    [0.    1.386]
    """
    verb = "logistic.path"
    given, balanced, dtype = check_two(verb, X, y, class_weight, sample_weight, offset)
    l1, l2 = checks.penalty_path(verb, given.X, given.y, dtype, optional="l1", l1=l1, l2=l2)
    return _path(
        given, l1, l2, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        **options(verb, given, fit_intercept), balanced=balanced,
    )  # fmt: skip


@staged(static=_STATIC)
@rows.replicated
def _path(
    given: Given, l1: jax.Array | None, l2: jax.Array, tol: jax.Array | None, max_iter: jax.Array, *, balanced: bool,
    fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    data, valid = read_two(given, balanced)
    return penalised.path(
        data, _LOSS, l1, l2, valid=valid, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter,
        rare=rare,
    )  # fmt: skip


@public
def l1_max(
    X: ArrayLike, y: ArrayLike, *, penalty_weight: ArrayLike | None = None, class_weight: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The smallest l1 at which every coefficient is 0, a scalar: where a path begins.

    Args:
      penalty_weight: (p,), traced; the penalties are then l1 * penalty_weight.  None means 1.
      The other arguments as in `fit`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 0, 1, 1])
    >>> print(f"{ji.logistic.l1_max(X, y):.4f}")
    0.0833
    """
    verb = "logistic.l1_max"
    given, balanced, dtype = check_two(verb, X, y, class_weight, sample_weight, offset)
    weight = checks.penalty(
        verb, "penalty_weight", 1.0 if penalty_weight is None else penalty_weight, given.X, given.y, dtype
    )
    return _l1_max(given, weight, **options(verb, given, fit_intercept), balanced=balanced)


@partial(jax.jit, static_argnames=_STATIC)
@rows.replicated
def _l1_max(given: Given, weight: jax.Array, *, balanced: bool, fit_intercept: bool, blocked: bool) -> jax.Array:
    data, _ = read_two(given, balanced)
    return penalised.l1_max(data, _LOSS, weight, fit_intercept=fit_intercept, blocked=blocked)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The log odds X @ coef + intercept (+ offset): (n,).

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.logistic.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("logistic.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The likelier class, 0 or 1: (n,) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.logistic.predict(ji.Linear(jnp.array([2.0]), jnp.array(-1.0)), jnp.array([[0.0], [1.0]])))
    [0 1]
    """
    return affine.decision("logistic.predict", params, X, offset, _class)


def _class(eta: jax.Array) -> jax.Array:
    return (eta > 0).astype(jnp.int32)


@public
def predict_proba(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The probabilities of classes 0 and 1: (n, 2).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.logistic.predict_proba(ji.Linear(jnp.array([2.0]), jnp.array(-1.0)), jnp.array([[0.5]])))
    [[0.5 0.5]]
    """
    return affine.decision("logistic.predict_proba", params, X, offset, _shares)


def _shares(eta: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(jnp.stack([-eta, eta], 1))


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The weighted mean log loss plus the penalties: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.logistic.objective(at, jnp.array([[1.0], [2.0]]), jnp.array([0, 1])).round(4))  # log 2
    0.6931
    """
    verb = "logistic.objective"
    given, balanced, dtype = check_two(verb, X, y, class_weight, sample_weight, offset)
    l1, l2 = (checks.penalty(verb, name, v, given.X, given.y, dtype) for name, v in (("l1", l1), ("l2", l2)))
    return linear_loss.objective(params, read_two(given, balanced)[0], _LOSS, l1, l2)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective` (with L1 the subgradient of smallest norm), as Linear: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.logistic.optimality(at, jnp.array([[1.0], [2.0]]), jnp.array([0, 1])).coef)
    [-0.25]
    """
    verb = "logistic.optimality"
    given, balanced, dtype = check_two(verb, X, y, class_weight, sample_weight, offset)
    l1, l2 = (checks.penalty(verb, name, v, given.X, given.y, dtype) for name, v in (("l1", l1), ("l2", l2)))
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    data = read_two(given, balanced)[0]
    return linear_loss.subgradient(params, data, _LOSS, l1, l2, fit_intercept=fit_intercept)
