r"""The multitask lasso: least squares for several targets that select the same features."""

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
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise squared residuals of several targets plus a penalty on the norm of each feature: the multitask lasso.

    .. math:: \min_{W, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, \|y_i - o_i - W^\top x_i - b\|_2^2
              + \sum_j \lambda_{1j} \|W_j\|_2 + \frac12 \sum_j \lambda_{2j} \|W_j\|_2^2

    with W_j the row of feature j: a feature is used for all targets or for none.

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n, k), k targets, traced.
      l1, l2: penalties, scalar or (p,), traced, at least 0.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,) or (n, k), in units of y, traced; subtracted from y.
      init: Linear(coef (p, k), intercept (k,)) to start from, traced.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton steps, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p, k) with rows that are exactly 0, params.intercept (k,).  info.gap is the
      duality gap, an upper bound on what the objective can still fall; info.optimality the gap over the objective
      without columns.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; a negative l1, l2, sample_weight or tol on the host (Python or NumPy).
        Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  STALLED or MAX_ITER if the optimality misses tol.  NONFINITE with NaN parameters if the input
      holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty in compiled code, or if all weights are 0.

    Precision: float64 reaches a gap of 1e-12 of the objective, float32 1e-6.

    Derivatives: params with respect to X, y, l1, l2, sample_weight and offset, forward and reverse, all orders, exact
      where the set of selected features does not change.

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
    given, dtype = _input.check(verb, X, y, sample_weight, offset, targets="several")
    checks.init(verb, init, given.X, given.y)
    return _fit(
        given, _penalty(verb, "l1", l1, given, dtype), _penalty(verb, "l2", l2, given, dtype), init,
        checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


def _one_target(given: Given) -> np.ndarray:
    """A stand-in for one target, (n,): a penalty is a scalar or (p,), one for each row of coef."""
    return np.broadcast_to(np.float32(0), given.y.shape[:1])


def _penalty(verb: str, name: str, value: Any, given: Given, dtype: Any) -> Any:
    return checks.penalty(verb, name, value, given.X, _one_target(given), dtype)


_staged = staged(static=("fit_intercept", "blocked"))


@_staged
@rows.replicated
def _fit(given: Given, l1: jax.Array, *rest: Any, **options: Any) -> Fit:
    return proximal.single(_solve(given, l1[None], *rest, **options))


@_staged
@rows.replicated
def _path(given: Given, l1: jax.Array, *rest: Any, **options: Any) -> Fit:
    return _solve(given, l1, *rest, **options)


def _solve(
    given: Given, l1: jax.Array, l2: jax.Array, init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *,
    fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    p = X.shape[1]
    return proximal.path(
        X, y, w, jnp.broadcast_to(l1[:, None] if l1.ndim == 1 else l1, (l1.shape[0], p)), jnp.broadcast_to(l2, (p,)),
        _norm, init, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter,
        rare=rare,
    )  # fmt: skip


def _norm(l1: jax.Array) -> GroupNorm:
    return GroupNorm(l1, None)


@partial(public, path_axis=("l1",))
def path(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    """Fits for m penalties, each started from the one before, in one compiled call.

    Args:
      l1: (m,) or (m, p), traced; best in decreasing order.
      The other arguments as in `fit`.

    Returns:
      Fit with leading axis m: params.coef (m, p, k), params.intercept (m, k), and every field of info (m,).

    Raises: as `fit`; ValueError unless l1 is (m,) or (m, p).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])
    >>> path = ji.multitask_lasso.path(X, y, l1=jnp.array([5.0, 2.5]))
    >>> [f"{w:.3f}" for w in path.params.coef[:, 0, 0]]
    ['0.000', '1.500']
    """
    verb = "multitask_lasso.path"
    given, dtype = _input.check(verb, X, y, sample_weight, offset, targets="several")
    checks.init(verb, init, given.X, given.y)
    (l1,) = checks.penalty_path(verb, given.X, _one_target(given), dtype, l1=l1)
    return _path(
        given, l1, _penalty(verb, "l2", l2, given, dtype), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter),
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


@public
def l1_max(
    X: ArrayLike, y: ArrayLike, *, penalty_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The smallest l1 at which every coefficient is 0, where no weight is 0.  A scalar.

    penalty_weight: (p,), traced; the penalties are then l1 * penalty_weight.  None means 1.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.multitask_lasso.l1_max(jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])))
    5.0
    """
    verb = "multitask_lasso.l1_max"
    given, dtype = _input.check(verb, X, y, sample_weight, offset, targets="several")
    weight = _penalty(verb, "penalty_weight", 1.0 if penalty_weight is None else penalty_weight, given, dtype)
    return _l1_max(
        given, weight,
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("fit_intercept", "blocked"))
@rows.replicated
def _l1_max(
    given: Given, weight: jax.Array, *,
    fit_intercept: bool, blocked: bool,
) -> jax.Array:  # fmt: skip
    X, y, w, _ = _input.read(given)
    u = jnp.broadcast_to(weight, (X.shape[1],))

    def size(C: jax.Array) -> jax.Array:
        return per_weight(GroupNorm(u, None).norms(C), u)

    return proximal.l1_max(X, y, w, size, fit_intercept=fit_intercept, blocked=blocked)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n, k), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.multitask_lasso.decision(ji.Linear(jnp.array([[2.0]]), jnp.array([1.0])), jnp.array([[3.0]])))
    [[7.]]
    """
    return affine.decision("multitask_lasso.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which is the linear predictor: (n, k), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.multitask_lasso.predict(ji.Linear(jnp.array([[2.0]]), jnp.array([1.0])), jnp.array([[3.0]])))
    [[7.]]
    """
    return affine.decision("multitask_lasso.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus the penalties: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([[3.0, 4.0]]), jnp.array([0.0, 0.0]))
    >>> X, y = jnp.array([[1.0], [-1.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])
    >>> print(ji.multitask_lasso.objective(at, X, y, l1=2.0))
    10.0
    """
    verb = "multitask_lasso.objective"
    given, dtype = _input.check(verb, X, y, sample_weight, offset, targets="several")
    l1, l2 = (jnp.asarray(_penalty(verb, name, v, given, dtype)) for name, v in (("l1", l1), ("l2", l2)))
    X, y, w, _ = _input.read(given)
    return proximal.objective(params, X, y, w, l2, _norm(jnp.broadcast_to(l1, (X.shape[1],))))


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, fit_intercept: bool = True,
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
    given, dtype = _input.check(verb, X, y, sample_weight, offset, targets="several")
    l1, l2 = (jnp.asarray(_penalty(verb, name, v, given, dtype)) for name, v in (("l1", l1), ("l2", l2)))
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    X, y, w, _ = _input.read(given)
    h = _norm(jnp.broadcast_to(l1, (X.shape[1],)))
    return proximal.subgradient(params, X, y, w, l2, h, fit_intercept=fit_intercept)
