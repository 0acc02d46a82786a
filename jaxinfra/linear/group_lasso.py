r"""The group lasso: least squares that selects or drops whole groups of features."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.precision import per_weight
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.sparse import proximal
from jaxinfra.solvers.sparse.group_norm import GroupNorm


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, groups: ArrayLike, l1: ArrayLike, l2: ArrayLike = 0.0,
    group_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    init: Linear | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals plus a penalty on the norm of each group: the group lasso.

    .. math:: \min_{w, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - x_i^\top w - b)^2
              + \lambda_1 \sum_g u_g \|w_g\|_2 + \frac12 \sum_j \lambda_{2j} w_j^2

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,), traced.
      groups: (p,) labels 0, 1, ... of the features' groups, whole numbers, traced.  Groups need not be contiguous.
      l1: the penalty, a scalar, traced, at least 0, in units of y^2 / (unit of coef).
      l2: scalar or (p,), traced, at least 0: the ridge penalty of each feature.
      group_weight: (G,) not negative, traced: u_g of the group with label g.  None means the square root of its size.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,), in units of y, traced; subtracted from y.
      init: Linear(coef (p,), intercept ()) to start from, traced.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton steps, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,), exactly 0 in the dropped groups, and params.intercept ().  info.gap is the
      duality gap, an upper bound on what the objective can still fall; info.optimality the gap over the objective
      without columns.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), groups that are not integers, a
        max_iter that is not an integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; a negative label of a group, group_weight, l1, l2, sample_weight or tol on
        the host (Python or NumPy).  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  STALLED or MAX_ITER if the optimality misses tol.  NONFINITE with NaN parameters if the input
      holds NaN or inf.  SINGULAR with NaN for a negative weight, penalty or group_weight in compiled code, or if all
      weights are 0.

    Duplicated and constant columns are allowed: the coefficients of a group share its norm.

    Precision: float64 reaches a gap of 1e-12 of the objective, float32 1e-6.

    Derivatives: params with respect to X, y, l1, l2, group_weight, sample_weight and offset, forward and reverse, all
      orders, exact where the set of selected groups does not change.

    Cost: n p^2 flops for the Gram matrix, then p^3 / 3 and four p^2 a step; memory p^2 beyond X.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), jnp.array([3.0, -3.0, 4.0, -4.0])
    >>> fit = ji.check(ji.group_lasso.fit(X, y, groups=jnp.array([0, 0]), group_weight=jnp.array([1.0]), l1=1.25))
    >>> print([f"{w:.3f}" for w in fit.params.coef])  # (3, 4) shortened by l1 / (1/2) = half of its norm 5
    ['1.500', '2.000']

    Source: Yuan and Lin 2006, eq. 2.4; the algorithm: Zhang, Zhang, Sun and Toh 2020.  Elsewhere: skglm GroupLasso and
    celer GroupLasso (alpha = l1, weights = group_weight), R's grpreg and gglasso.
    """
    verb = "group_lasso.fit"
    given, groups, l2, group_weight, dtype = _check(verb, X, y, sample_weight, offset, groups, l2, group_weight)
    checks.init(verb, init, given.X, given.y)
    if np.ndim(l1) != 0:
        raise ValueError(f"{verb}: l1 must be a scalar (group_weight tells groups apart), got l1 {np.shape(l1)}")
    return _fit(
        given, groups, checks.hyper(verb, "l1", l1, dtype), l2, group_weight, init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


def _check(
    verb: str, X: Any, y: Any, sample_weight: Any, offset: Any, groups: Any, l2: Any, group_weight: Any
) -> tuple[Given, Any, Any, Any, np.dtype]:
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    X = given.X
    groups = checks.array(verb, "groups", groups)
    if groups.shape != (X.shape[1],):
        raise ValueError(f"{verb}: groups must have shape ({X.shape[1]},) to match X {X.shape}, got {groups.shape}")
    if not jnp.issubdtype(groups.dtype, jnp.integer):
        raise TypeError(f"{verb}: groups must hold whole numbers, got dtype {groups.dtype}")
    if isinstance(groups, np.ndarray) and groups.min() < 0:
        raise ValueError(f"{verb}: groups must hold labels from 0 on, got groups[{groups.argmin()}] = {groups.min()}")
    if group_weight is not None:
        group_weight = checks.hyper(verb, "group_weight", group_weight, dtype)
        count = int(groups.max()) + 1 if isinstance(groups, np.ndarray) else None
        if group_weight.ndim != 1 or (count is not None and group_weight.shape[0] < count):
            want = "(G,)" if count is None else f"({count},)"
            raise ValueError(f"{verb}: group_weight must have shape {want}, got group_weight {group_weight.shape}")
    return given, groups, checks.penalty(verb, "l2", l2, X, given.y, dtype), group_weight, dtype


def _norm(groups: jax.Array, group_weight: jax.Array | None, l1: jax.Array) -> GroupNorm:
    """l1 times the weight of each feature's group.  A label without weight gets NaN, which ends as NONFINITE."""
    same = (groups[:, None] == groups[None]).astype(l1.dtype)
    if group_weight is None:
        return GroupNorm(l1 * jnp.sqrt(same.sum(1)), same)
    known = (groups >= 0) & (groups < group_weight.shape[0])
    return GroupNorm(l1 * jnp.where(known, group_weight[groups], jnp.nan), same)


_staged = staged(static=("fit_intercept", "blocked"))


@_staged
@rows.replicated
def _fit(given: Given, groups: jax.Array, l1: jax.Array, *rest: Any, **options: Any) -> Fit:
    return proximal.single(_solve(given, groups, l1[None], *rest, **options))


@_staged
@rows.replicated
def _path(given: Given, groups: jax.Array, l1: jax.Array, *rest: Any, **options: Any) -> Fit:
    return _solve(given, groups, l1, *rest, **options)


def _solve(
    given: Given, groups: jax.Array, l1: jax.Array, l2: jax.Array, group_weight: jax.Array | None,
    init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool, blocked: bool,
    rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    init = None if init is None else Linear(init.coef[:, None], init.intercept)
    if group_weight is not None:
        l1 = jnp.where((group_weight < 0).any(), -1, l1)  # as of a negative penalty
    return proximal.one_target(proximal.path(
        X, y[:, None], w, l1, jnp.broadcast_to(l2, (X.shape[1],)), partial(_norm, groups, group_weight), init,
        fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter,
        rare=rare,
    ))  # fmt: skip


@partial(public, path_axis=("l1",))
def path(
    X: ArrayLike, y: ArrayLike, *, groups: ArrayLike, l1: ArrayLike, l2: ArrayLike = 0.0,
    group_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    init: Linear | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    """Fits for m penalties, each started from the one before, in one compiled call.

    Args:
      l1: (m,), traced; best in decreasing order.
      The other arguments as in `fit`.

    Returns:
      Fit with leading axis m: params.coef (m, p), params.intercept (m,), and every field of info (m,).

    Raises: as `fit`; ValueError unless l1 is (m,).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), jnp.array([3.0, -3.0, 4.0, -4.0])
    >>> one = jnp.array([1.0])
    >>> path = ji.group_lasso.path(X, y, groups=jnp.array([0, 0]), group_weight=one, l1=jnp.array([2.5, 1.25]))
    >>> [f"{w:.3f}" for w in path.params.coef[:, 0]]
    ['0.000', '1.500']
    """
    verb = "group_lasso.path"
    given, groups, l2, group_weight, dtype = _check(verb, X, y, sample_weight, offset, groups, l2, group_weight)
    checks.init(verb, init, given.X, given.y)
    return _path(
        given, groups, checks.grid(verb, "l1", l1, dtype), l2, group_weight, init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


@public
def l1_max(
    X: ArrayLike, y: ArrayLike, *, groups: ArrayLike, group_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The smallest l1 at which every group of positive weight is dropped, where no weight is 0.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), jnp.array([3.0, -3.0, 4.0, -4.0])
    >>> print(ji.group_lasso.l1_max(X, y, groups=jnp.array([0, 0]), group_weight=jnp.array([1.0])))
    2.5
    """
    verb = "group_lasso.l1_max"
    given, groups, _, group_weight, _ = _check(verb, X, y, sample_weight, offset, groups, 0.0, group_weight)
    return _l1_max(given, groups, group_weight, **_input.options(verb, given, fit_intercept))


@partial(jax.jit, static_argnames=("fit_intercept", "blocked"))
@rows.replicated
def _l1_max(
    given: Given, groups: jax.Array, group_weight: jax.Array | None, *, fit_intercept: bool, blocked: bool,
) -> jax.Array:  # fmt: skip
    X, y, w, _ = _input.read(given)

    def size(C: jax.Array) -> jax.Array:
        h = _norm(groups, group_weight, jnp.ones((), C.dtype))
        return per_weight(h.norms(C), h.lam)

    return proximal.l1_max(X, y[:, None], w, size, fit_intercept=fit_intercept, blocked=blocked)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.group_lasso.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("group_lasso.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.group_lasso.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("group_lasso.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike, l1: ArrayLike, l2: ArrayLike = 0.0,
    group_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus the penalties: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([3.0, 4.0]), jnp.array(0.0))
    >>> X, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([3.0, 4.0])
    >>> print(ji.group_lasso.objective(at, X, y, groups=jnp.array([0, 0]), group_weight=jnp.array([1.0]), l1=2.0))
    10.0
    """
    verb = "group_lasso.objective"
    given, groups, l2, weight, dtype = _check(verb, X, y, sample_weight, offset, groups, l2, group_weight)
    X, y, w, _ = _input.read(given)
    h = _norm(jnp.asarray(groups), weight, jnp.asarray(checks.hyper(verb, "l1", l1, dtype)))
    return proximal.objective(params, X, y, w, l2, h)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike, l1: ArrayLike, l2: ArrayLike = 0.0,
    group_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of smallest norm, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0, 0.0]), jnp.array(0.0))
    >>> X, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([3.0, -3.0])
    >>> print(jnp.abs(ji.group_lasso.optimality(at, X, y, groups=jnp.array([0, 0]), l1=2.0).coef).max())
    0.0
    """
    verb = "group_lasso.optimality"
    given, groups, l2, weight, dtype = _check(verb, X, y, sample_weight, offset, groups, l2, group_weight)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    X, y, w, _ = _input.read(given)
    h = _norm(jnp.asarray(groups), weight, jnp.asarray(checks.hyper(verb, "l1", l1, dtype)))
    return proximal.subgradient(params, X, y, w, l2, h, fit_intercept=fit_intercept)
