r"""Ordinal regression: proportional odds, ordered probit and other cumulative link models of ordered classes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra import links
from jaxinfra._core import checks, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Thresholds
from jaxinfra._core.verbs import public
from jaxinfra.linear._class_input import check_ordered, read_ordered
from jaxinfra.linear._input import Given, blocked
from jaxinfra.links import Link
from jaxinfra.solvers.likelihood import ordinal

FACTS = Facts(one_predictor=False, likelihood="loss")

_LINKS = (links.Logit, links.Probit, links.CLogLog, links.Cauchit)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, link: Link | None = None, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, init: Thresholds | None = None,
    tol: ArrayLike | None = None, max_iter: ArrayLike = 100, n_classes: int | None = None,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean log loss of ordered classes plus an L2 penalty: a cumulative link model.

    .. math:: P(y \le k \mid x) = F(\theta_k - x^\top w - o), \qquad
              \min_{w, \theta_0 < \dots < \theta_{K-2}} -\frac{1}{\sum_i s_i} \sum_i s_i \log P(y_i \mid x_i)
              + \frac12 \sum_j \lambda_j w_j^2

    A larger x'w makes higher classes likelier, by the same odds ratio exp(w_j) at every threshold (logit).  There is no
    intercept: the thresholds take its place.

    Args:
      X: (n, p) real, traced.
      y: (n,) labels 0..K-1 in their order, whole numbers, traced.
      link: Logit (proportional odds, the default), Probit, CLogLog or Cauchit of `jaxinfra.links`; F is its inverse.
      l2: the penalty, traced, at least 0: a scalar or (p,).
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,), added to x'w, traced.
      init: Thresholds to start from.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton iterations, traced.
      n_classes: K, static; None takes it from the largest label, which must then be on the host.

    Returns:
      Fit(params, info): params.coef (p,), per unit of x; params.thresholds (K - 1,), ascending; params.link, so that
      prediction needs no further argument.  info.optimality is the largest entry of the gradient, for a coefficient per
      root mean square of its column.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), y of floats, a link of another
        kind, an n_classes or max_iter that is not an integer.
      ValueError: shapes that do not match; where n_classes is None, y that is traced or whose labels skip a class; on
        the host (Python or NumPy) also labels outside 0..K-1, or a negative l2, sample_weight or tol.  Other values in
        a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  SEPARABLE with NaN if the likelihood has no maximum: a column that separates the classes in
      order, or a class without rows (merge it with a neighbour).  DOMAIN with NaN for labels outside 0..K-1 (a
      ValueError where y is a NumPy array).  MAX_ITER; STALLED if rounding stops the progress.  NONFINITE with NaN if
      the input holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty or if all weights are 0.

    Precision: float64 reaches an optimality of 1e-12 and below, float32 about 1e-6.

    Derivatives: params with respect to X, l2, sample_weight and offset, forward and reverse, all orders, exact.

    Cost: n (p + K)^2 flops and (p + K)^3 / 3 a Newton step, about seven steps.  Memory: (p + K)^2 and rows of X in
      blocks.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 0, 1, 1])
    >>> fit = ji.check(ji.ordinal.fit(X, y))  # of two classes: logistic regression, thresholds are -intercept
    >>> print(f"{fit.params.coef[0]:.2f} {fit.params.thresholds[0]:.2f}")  # log 4 and log 2
    1.39 0.69

    Source: McCullagh 1980; Agresti, Analysis of Ordinal Categorical Data (2nd ed. 2010), chapters 3 and 5.
    Elsewhere: R's MASS::polr, statsmodels OrderedModel, mord.LogisticAT.
    """
    verb = "ordinal.fit"
    given, K, dtype = check_ordered(verb, X, y, n_classes, sample_weight, offset)
    p = given.X.shape[1]
    if init is not None and (np.shape(init.coef), np.shape(init.thresholds)) != ((p,), (K - 1,)):
        got = f"{np.shape(init.coef)} and {np.shape(init.thresholds)}"
        raise ValueError(f"{verb}: init must have coef ({p},) and thresholds ({K - 1},), got {got}")
    link = _link(verb, link)
    fitted = _fit(
        given, link, checks.penalty(verb, "l2", l2, given.X, given.y, dtype), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), K=K, blocked=blocked(given),
    )  # fmt: skip
    return fitted._replace(problem={"n_classes": K, "link": link})


def _link(verb: str, link: Any) -> Link:
    link = links.Logit() if link is None else link
    if not isinstance(link, _LINKS):
        names = ", ".join(f"links.{kind.__name__}()" for kind in _LINKS)
        raise TypeError(f"{verb}: link must be one of {names}, got {link!r}")
    return link


@staged(static=("K", "blocked"))
@rows.replicated
def _fit(
    given: Given, link: Link, l2: jax.Array, init: Thresholds | None, tol: jax.Array | None, max_iter: jax.Array, *,
    K: int, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    data = read_ordered(given)
    valid = (data.y >= 0) & (data.y < K)
    data = data._replace(y=jnp.where(valid, data.y, 0))
    return ordinal.solve(data, link, l2, init, K=K, valid=valid, blocked=blocked, tol=tol, max_iter=max_iter, rare=rare)


@public
def decision(params: Thresholds, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef (+ offset), to compare with the thresholds: (n,).

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Thresholds(jnp.array([2.0]), jnp.array([-1.0, 1.0]), ji.links.Logit())
    >>> print(ji.ordinal.decision(at, jnp.array([[3.0]])))
    [6.]
    """
    return _decision(params, *_checked("ordinal.decision", params, X, offset))


def _checked(verb: str, params: Thresholds, X: ArrayLike, offset: ArrayLike | None) -> tuple[Any, Any]:
    """The rows and their offset."""
    X = checks.linear_params(verb, params, X)
    return X, checks.rows_like(verb, "offset", offset, X, X)


@jax.jit
@rows.replicated
def _decision(params: Thresholds, X: jax.Array, offset: jax.Array | None) -> jax.Array:
    dtype = checks.working_dtype(X, params.coef)
    eta = dot(jnp.asarray(X, dtype), jnp.asarray(params.coef, dtype))
    return eta if offset is None else eta + jnp.asarray(offset, dtype)


@public
def predict(params: Thresholds, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The likeliest class, 0..K-1: (n,) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Thresholds(jnp.array([2.0]), jnp.array([-1.0, 1.0]), ji.links.Logit())
    >>> print(ji.ordinal.predict(at, jnp.array([[-3.0], [0.1], [3.0]])))
    [0 1 2]
    """
    return _likeliest(params, *_checked("ordinal.predict", params, X, offset))


@public
def predict_proba(params: Thresholds, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The probabilities of the classes 0..K-1: (n, K).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Thresholds(jnp.array([2.0]), jnp.array([-1.0, 1.0]), ji.links.Logit())
    >>> print([f"{v:.3f}" for v in ji.ordinal.predict_proba(at, jnp.array([[0.0]]))[0]])
    ['0.269', '0.462', '0.269']
    """
    return _probabilities(params, *_checked("ordinal.predict_proba", params, X, offset))


@jax.jit
@rows.replicated
def _likeliest(params: Thresholds, X: jax.Array, offset: jax.Array | None) -> jax.Array:
    return jnp.argmax(_probabilities(params, X, offset), axis=1).astype(jnp.int32)


@jax.jit
@rows.replicated
def _probabilities(params: Thresholds, X: jax.Array, offset: jax.Array | None) -> jax.Array:
    eta = _decision(params, X, offset)
    classes = range(params.thresholds.shape[0] + 1)
    return jnp.exp(jnp.stack([ordinal.probability_of(params, eta, k) for k in classes], 1))


@public
def objective(
    params: Thresholds, X: ArrayLike, y: ArrayLike, *, l2: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The weighted mean log loss plus the penalty: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Thresholds(jnp.array([0.0]), jnp.array([0.0]), ji.links.Logit())
    >>> print(ji.ordinal.objective(at, jnp.array([[1.0], [2.0]]), jnp.array([0, 1])).round(4))  # log 2
    0.6931
    """
    verb = "ordinal.objective"
    given, K, dtype = check_ordered(verb, X, y, params.thresholds.shape[0] + 1, sample_weight, offset)
    l2 = checks.penalty(verb, "l2", l2, given.X, given.y, dtype)
    return ordinal.objective(params, read_ordered(given), l2, K=K)


@public
def optimality(
    params: Thresholds, X: ArrayLike, y: ArrayLike, *, l2: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Thresholds:  # fmt: skip
    """The gradient of `objective` with respect to params, as Thresholds: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Thresholds(jnp.array([0.0]), jnp.array([0.0]), ji.links.Logit())
    >>> print(ji.ordinal.optimality(at, jnp.array([[1.0], [2.0]]), jnp.array([0, 1])).coef)
    [-0.25]
    """
    verb = "ordinal.optimality"
    given, K, dtype = check_ordered(verb, X, y, params.thresholds.shape[0] + 1, sample_weight, offset)
    l2 = checks.penalty(verb, "l2", l2, given.X, given.y, dtype)
    return jax.grad(ordinal.objective)(params, read_ordered(given), l2, K=K)
