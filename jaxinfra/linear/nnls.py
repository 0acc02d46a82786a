r"""Nonnegative least squares, with optional elastic-net penalties."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.precision import per_weight
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.sparse import proximal
from jaxinfra.solvers.sparse.nonnegative import Nonnegative


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 200, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals under coef >= 0: nonnegative least squares.

    .. math:: \min_{w \ge 0,\, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - x_i^\top w - b)^2
              + \sum_j \lambda_{1j} w_j + \frac12 \sum_j \lambda_{2j} w_j^2

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,), traced.
      l1, l2: penalties, scalar or (p,), traced, at least 0.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,), in units of y, traced; subtracted from y.
      init: Linear(coef (p,), intercept ()) to start from, traced.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of Newton steps, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,), at least 0 and exactly 0 where the constraint is active, and
      params.intercept (), unconstrained.  info.optimality is :math:`\max_j |g_j| / (\|z_j\| \|y\|)` as in `ols.fit`,
      with g the part of the gradient that a feasible step can reduce.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; a negative l1, l2, sample_weight or tol on the host (Python or NumPy).
        Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  STALLED or MAX_ITER if the optimality misses tol.  NONFINITE with NaN parameters if the input
      holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty in compiled code, or if all weights are 0.

    Duplicated columns are allowed: how they share their coefficient depends on the start.

    Precision: float64 reaches an optimality of 1e-14, float32 1e-6.

    Derivatives: params with respect to X, y, l1, l2, sample_weight and offset, forward and reverse, all orders, exact
      where the set of active constraints does not change.

    Cost: n p^2 flops for the Gram matrix, then p^3 / 3 and four p^2 a step; memory p^2 beyond X.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), jnp.array([3.0, -3.0, -4.0, 4.0])
    >>> print([f"{w:.3f}" for w in ji.check(ji.nnls.fit(X, y)).params.coef])
    ['3.000', '0.000']

    Source: Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23; the algorithm: Hintermueller, Ito and
    Kunisch 2003 with Li, Sun and Toh 2018.  Elsewhere: scipy.optimize.nnls (fit_intercept=False), sklearn
    LinearRegression(positive=True), ElasticNet(positive=True).
    """
    verb = "nnls.fit"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    l1, l2 = (checks.penalty(verb, name, v, given.X, given.y, dtype) for name, v in (("l1", l1), ("l2", l2)))
    return _fit(
        given, l1, l2, init, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


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
    init = None if init is None else Linear(init.coef[:, None], init.intercept)
    return proximal.one_target(proximal.path(
        X, y[:, None], w, jnp.broadcast_to(l1[:, None] if l1.ndim == 1 else l1, (l1.shape[0], p)),
        jnp.broadcast_to(l2, (p,)), _cost, init, fit_intercept=fit_intercept, blocked=blocked, tol=tol,
        max_iter=max_iter, rare=rare,
    ))  # fmt: skip


def _cost(l1: jax.Array) -> Nonnegative:
    return Nonnegative(l1)


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
      Fit with leading axis m: params.coef (m, p), params.intercept (m,), and every field of info (m,).

    Raises: as `fit`; ValueError unless l1 is (m,) or (m, p).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> path = ji.nnls.path(jnp.array([[1.0], [-1.0]]), jnp.array([3.0, -3.0]), l1=jnp.array([3.0, 1.0]))
    >>> [f"{w:.3f}" for w in path.params.coef[:, 0]]
    ['0.000', '2.000']
    """
    verb = "nnls.path"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    (l1,) = checks.penalty_path(verb, given.X, given.y, dtype, l1=l1)
    return _path(
        given, l1, checks.penalty(verb, "l2", l2, given.X, given.y, dtype), init, checks.tolerance(verb, tol, dtype),
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
    >>> print(ji.nnls.l1_max(jnp.array([[1.0], [-1.0]]), jnp.array([3.0, -3.0])))
    3.0
    """
    verb = "nnls.l1_max"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    weight = checks.penalty(
        verb, "penalty_weight", 1.0 if penalty_weight is None else penalty_weight, given.X, given.y, dtype
    )
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
        return per_weight(jnp.maximum(C[:, 0], 0), u)

    return proximal.l1_max(X, y[:, None], w, size, fit_intercept=fit_intercept, blocked=blocked)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.nnls.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("nnls.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The mean response, which is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.nnls.predict(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("nnls.predict", params, X, offset)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus the penalties, infinite for a negative coef.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([3.0]), jnp.array(0.0))
    >>> print(ji.nnls.objective(at, jnp.array([[1.0], [-1.0]]), jnp.array([3.0, -3.0]), l1=2.0))
    6.0
    """
    verb = "nnls.objective"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    l1, l2 = (
        jnp.asarray(checks.penalty(verb, name, v, given.X, given.y, dtype)) for name, v in (("l1", l1), ("l2", l2))
    )
    X, y, w, _ = _input.read(given)
    return proximal.objective(params, X, y, w, l2, _cost(jnp.broadcast_to(l1, (X.shape[1],))))


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of smallest norm, as Linear(coef, intercept): zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.nnls.optimality(at, jnp.array([[1.0], [-1.0]]), jnp.array([3.0, -3.0]), l1=2.0).coef)
    [-1.]
    """
    verb = "nnls.optimality"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    l1, l2 = (
        jnp.asarray(checks.penalty(verb, name, v, given.X, given.y, dtype)) for name, v in (("l1", l1), ("l2", l2))
    )
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    X, y, w, _ = _input.read(given)
    h = _cost(jnp.broadcast_to(l1, (X.shape[1],)))
    return proximal.subgradient(params, X, y, w, l2, h, fit_intercept=fit_intercept)
