r"""Multitask lasso: several targets that share the features they use."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.precision import positive
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.solvers.least_squares import ridge
from jaxinfra.solvers.sparse import proximal
from jaxinfra.solvers.sparse.group_norm import GroupNorm


@public
def fit(
    X: Any,
    y: Any,
    *,
    l1: Any,
    l2: Any = 0.0,
    sample_weight: Any = None,
    offset: Any = None,
    init: Linear | None = None,
    tol: Any = None,
    max_iter: Any = 200,
    fit_intercept: bool = True,
) -> Fit:
    r"""Minimise squared residuals of several targets plus a penalty on the norm of each feature: the multitask lasso.

    .. math:: \min_{W, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, \|y_i - o_i - W^\top x_i - b\|_2^2
              + \sum_j \lambda_{1j} \|W_j\|_2 + \frac12 \sum_j \lambda_{2j} \|W_j\|_2^2

    with W_j the row of feature j: a feature is used for all targets or for none.

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n, k), k targets, traced.
      l1, l2: penalties, scalar or (p,), traced, at least 0.
      sample_weight: (n,) not negative, traced; None means 1.  Weight 0 means that the row is absent, 2 that it
        stands there twice.
      offset: (n,) or (n, k), in units of y, traced; subtracted from y.
      init: Linear(coef (p, k), intercept (k,)) to start from, traced.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: most Newton steps, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p, k) with rows that are exactly 0, params.intercept (k,).  info.gap is the
      duality gap, an upper bound on what the objective can still fall; info.optimality the gap over the objective
      without columns.

    Status: CONVERGED.  STALLED or MAX_ITER if the optimality misses tol.  NONFINITE with NaN parameters if the input
      holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty inside compiled code, or if all weights
      are 0.

    Precision: float64 reaches a gap of 1e-12 of the objective, float32 1e-6.

    Derivatives: params with respect to X, y, l1, l2, sample_weight and offset, forward and reverse, all orders, exact
      where no feature comes in or goes out.

    Cost: n p^2 flops for the Gram matrix, then two p x p factorisations and p^2 k flops a step; memory p^2 beyond X.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])
    >>> fit = ji.check(ji.multitask_lasso.fit(X, y, l1=2.5))
    >>> print([f"{w:.3f}" for w in fit.params.coef[0]])  # (3, 4) shortened by 2.5 of its norm 5
    ['1.500', '2.000']

    Source: Obozinski, Taskar and Jordan 2010; the algorithm: Zhang, Zhang, Sun and Toh 2020.  Elsewhere: sklearn
    MultiTaskLasso (alpha = l1) and MultiTaskElasticNet (alpha * l1_ratio = l1, alpha * (1 - l1_ratio) = l2), glmnet
    with family = "mgaussian".
    """
    verb = "multitask_lasso.fit"
    X, y, dtype = _check(verb, X, y)
    checks.init(verb, init, X, y)
    return _path(
        X, y, _penalty(verb, "l1", l1, X, y, dtype)[None], _penalty(verb, "l2", l2, X, y, dtype),
        checks.weights(verb, sample_weight, X, y), checks.rows_like(verb, "offset", offset, X, y, columns=True), init,
        checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept), blocked=not rows.on_mesh(X, y), single=True,
    )  # fmt: skip


def _check(verb: str, X: Any, y: Any) -> tuple[Any, Any, Any]:
    X, y, dtype = checks.design(verb, X, y)
    if y.ndim != 2:
        raise ValueError(f"{verb}: y must have shape (n, k) (one target: use lasso), got X {X.shape} and y {y.shape}")
    return X, y, dtype


def _penalty(verb: str, name: str, value: Any, X: Any, y: Any, dtype: Any) -> Any:
    """A scalar or (p,)."""
    return checks.penalty(verb, name, value, X, y[:, 0], dtype)


@partial(jax.jit, static_argnames=("fit_intercept", "blocked", "single"))
@rows.replicated
def _path(
    X: jax.Array, y: jax.Array, l1: jax.Array, l2: jax.Array, sample_weight: jax.Array | None,
    offset: jax.Array | None, init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool,
    blocked: bool, single: bool,
) -> Fit:  # fmt: skip
    X, y, w = ridge.prepare(X, y, sample_weight, offset)
    p = X.shape[1]
    fits = proximal.path(
        X, y, w, jnp.broadcast_to(l1[:, None] if l1.ndim == 1 else l1, (l1.shape[0], p)), jnp.broadcast_to(l2, (p,)),
        _norm, init, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter,
    )  # fmt: skip
    return proximal.single(fits) if single else fits


def _norm(l1: jax.Array) -> GroupNorm:
    return GroupNorm(l1, None)


@partial(public, path_axis=("l1",))
def path(
    X: Any, y: Any, *, l1: Any, l2: Any = 0.0, sample_weight: Any = None, offset: Any = None,
    init: Linear | None = None, tol: Any = None, max_iter: Any = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    """`fit` for m penalties, each started at the one before, in one compiled call.

    Args:
      l1: (m,) or (m, p), traced; best in decreasing order.
      The others as in `fit`.

    Returns:
      Fit with leading axis m: params.coef (m, p, k), params.intercept (m, k), and every field of info (m,).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])
    >>> path = ji.multitask_lasso.path(X, y, l1=jnp.array([5.0, 2.5]))
    >>> [f"{w:.3f}" for w in path.params.coef[:, 0, 0]]
    ['0.000', '1.500']
    """
    verb = "multitask_lasso.path"
    X, y, dtype = _check(verb, X, y)
    checks.init(verb, init, X, y)
    (l1,) = checks.penalty_path(verb, X, y[:, 0], dtype, l1=l1)
    return _path(
        X, y, l1, _penalty(verb, "l2", l2, X, y, dtype), checks.weights(verb, sample_weight, X, y),
        checks.rows_like(verb, "offset", offset, X, y, columns=True), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter),
        fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept), blocked=not rows.on_mesh(X, y), single=False,
    )  # fmt: skip


@public
def l1_max(
    X: Any, y: Any, *, penalty_weight: Any = None, sample_weight: Any = None, offset: Any = None,
    fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The smallest l1 at which every coefficient is 0, where no weight is 0.  A scalar.

    penalty_weight: (p,), traced; the penalties are then l1 * penalty_weight.  None means 1.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.multitask_lasso.l1_max(jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])))
    5.0
    """
    verb = "multitask_lasso.l1_max"
    X, y, dtype = _check(verb, X, y)
    weight = _penalty(verb, "penalty_weight", 1.0 if penalty_weight is None else penalty_weight, X, y, dtype)
    return _l1_max(
        X, y, weight, checks.weights(verb, sample_weight, X, y),
        checks.rows_like(verb, "offset", offset, X, y, columns=True),
        fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept), blocked=not rows.on_mesh(X, y),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("fit_intercept", "blocked"))
@rows.replicated
def _l1_max(
    X: jax.Array, y: jax.Array, weight: jax.Array, sample_weight: jax.Array | None, offset: jax.Array | None, *,
    fit_intercept: bool, blocked: bool,
) -> jax.Array:  # fmt: skip
    X, y, w = ridge.prepare(X, y, sample_weight, offset)
    u = jnp.broadcast_to(weight, (X.shape[1],))

    def size(C: jax.Array) -> jax.Array:
        return jnp.where(u > 0, GroupNorm(u, None).norms(C) / positive(u), 0)

    return proximal.l1_max(X, y, w, size, fit_intercept=fit_intercept, blocked=blocked)


@public
def decision(params: Linear, X: Any, *, offset: Any = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n, k), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.multitask_lasso.decision(ji.Linear(jnp.array([[2.0]]), jnp.array([1.0])), jnp.array([[3.0]])))
    [[7.]]
    """
    return affine.decision("multitask_lasso.decision", params, X, offset)


@public
def predict(params: Linear, X: Any, *, offset: Any = None) -> jax.Array:
    """The mean response, which is the linear predictor: (n, k), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.multitask_lasso.predict(ji.Linear(jnp.array([[2.0]]), jnp.array([1.0])), jnp.array([[3.0]])))
    [[7.]]
    """
    return affine.decision("multitask_lasso.predict", params, X, offset)


@public
def objective(
    params: Linear, X: Any, y: Any, *, l1: Any, l2: Any = 0.0, sample_weight: Any = None, offset: Any = None
) -> jax.Array:
    """Half the weighted mean of squared residuals plus the penalties: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([[3.0, 4.0]]), jnp.array([0.0, 0.0]))
    >>> X, y = jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])
    >>> print(ji.multitask_lasso.objective(at, X, y, l1=2.0))
    10.0
    """
    verb = "multitask_lasso.objective"
    X, y, dtype = _check(verb, X, y)
    l1, l2 = (jnp.asarray(_penalty(verb, name, v, X, y, dtype)) for name, v in (("l1", l1), ("l2", l2)))
    w = checks.weights(verb, sample_weight, X, y)
    X, y, w = ridge.prepare(X, y, w, checks.rows_like(verb, "offset", offset, X, y, columns=True))
    return proximal.objective(params, X, y, w, l2, _norm(jnp.broadcast_to(l1, (X.shape[1],))))


@public
def optimality(
    params: Linear, X: Any, y: Any, *, l1: Any, l2: Any = 0.0, sample_weight: Any = None, offset: Any = None,
    fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of smallest norm, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([[0.0, 0.0]]), jnp.array([0.0, 0.0]))
    >>> X, y = jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])
    >>> print(jnp.abs(ji.multitask_lasso.optimality(at, X, y, l1=5.0).coef).max())
    0.0
    """
    verb = "multitask_lasso.optimality"
    X, y, dtype = _check(verb, X, y)
    l1, l2 = (jnp.asarray(_penalty(verb, name, v, X, y, dtype)) for name, v in (("l1", l1), ("l2", l2)))
    w = checks.weights(verb, sample_weight, X, y)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    X, y, w = ridge.prepare(X, y, w, checks.rows_like(verb, "offset", offset, X, y, columns=True))
    h = _norm(jnp.broadcast_to(l1, (X.shape[1],)))
    return proximal.subgradient(params, X, y, w, l2, h, fit_intercept=fit_intercept)
