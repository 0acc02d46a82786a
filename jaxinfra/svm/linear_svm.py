r"""Linear support vector classification for many rows: hinge and squared hinge, one machine per class."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra import kernels
from jaxinfra._core import affine, checks, implicit, rows
from jaxinfra._core.finish import worst
from jaxinfra._core.precision import dot, positive
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Status, SupportInfo, short_repr
from jaxinfra._core.verbs import public
from jaxinfra.losses import SquaredHinge
from jaxinfra.solvers.dual import low_rank
from jaxinfra.solvers.likelihood import penalised
from jaxinfra.solvers.linalg.design import Data
from jaxinfra.svm import _input, _linear_kernel, _machine, _one_vs_one
from jaxinfra.svm._input import Given

LOSSES = ("hinge", "squared_hinge")
_LEAN = 1e6  # n p^2 of data whose rounding in float32, 3 eps |x|^2 |dual| of the largest row x, is about half of tol


@short_repr
class LinearMachine(NamedTuple):
    """A linear machine: decision(x) = x'coef + intercept, coef = sum_i dual_i x_i.

    coef: (p,), or (p, K) for several classes; intercept: () or (K,); dual: (n,) or (n, K), 0 where a row is no support
    vector.
    """

    coef: jax.Array
    intercept: jax.Array
    dual: jax.Array


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, loss: str = "hinge", class_weight: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None, n_classes: int | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    r"""Minimise the hinge loss, or its square, of a linear predictor: the linear support vector classifier.

    .. math:: \min_{w, b} \tfrac12 |w|^2 + \sum_i C_i \max(0, 1 - t_i (w^\top x_i + b))^q, \qquad q = 1 \text{ or } 2

    with :math:`t_i = \pm 1` for the classes 1 and 0 and :math:`C_i` = C times the weights of the row and of its class.
    The intercept is not penalised.  K classes: one machine for each class, which is positive against all others.

    Args:
      X: (n, p) real, traced.
      y: (n,) integers 0..K-1, traced.
      C: above 0, traced; a number or one for each row.
      loss: "hinge" or "squared_hinge", static.
      class_weight: None; (K,) traced, a factor for each class; or "balanced" (static): inverse to the classes' weights.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      n_classes: static; None reads it from y, which must then not be traced.
      tol: traced.  hinge: the largest violation of the dual's conditions that counts as converged, libsvm's eps; None
        means 1e-3.  squared_hinge: the relative gradient of `logistic.fit`; None means sqrt(eps) of the dtype.
      max_iter: maximum number of blocks of a few hundred variables after the interior-point method, or evaluations;
        traced.

    Returns:
      Fit(params, info).  params: a LinearMachine.  info: objective, the sum above at its minimum, over the classes;
      optimality, what tol bounds; n_iter, blocks or evaluations; n_support, rows with a dual variable.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), y of floats, an n_classes or
        max_iter that is not an integer.
      ValueError: shapes that do not match, another loss, a class_weight string other than "balanced"; where n_classes
        is None, y that is traced, of one class or whose labels skip a class; on the host (Python or NumPy) also labels
        outside 0..K-1, a C that is not above 0, or a negative class_weight, sample_weight or tol.  Other values in a
        jax.Array do not raise: they become a Status.

    Status: CONVERGED.  ONE_CLASS if the rows of positive weight are of one class (a ValueError where y is known).
      INFEASIBLE with NaN for C or weights below 0, SINGULAR with the squared hinge.  DOMAIN with NaN for a label
      outside 0..K-1.  NONFINITE with NaN if the input holds NaN or inf.  STALLED if rounding stops the progress: scale
      the columns, loosen tol or use float64.  MAX_ITER.

    Precision: float64 reaches a violation of 1e-9 on data in similar units, float32 1e-4.

    Derivatives: params with respect to X, C, class_weight and sample_weight, forward and reverse; exact where the set
      of support vectors does not change.

    Cost: hinge: 15 to 25 products n p^2 (interior point), then a few blocks that make the support vectors exact.
    squared_hinge: that of `logistic.fit`.  Memory: one copy of X.  Hinge with a column of a standard deviation
    above 1000 takes many more blocks: scale it.  A UserWarning says so where X is NumPy.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> fit = ji.check(ji.linear_svm.fit(X, y))
    >>> print(fit.params.coef.round(3), fit.params.dual.round(3))
    [1.] [ 0.  -0.5  0.5  0. ]

    Source: Cortes and Vapnik 1995; Ferris and Munson 2002; Keerthi and DeCoste 2005.
    Elsewhere: sklearn.svm.LinearSVC(loss=...) with a large intercept_scaling, liblinear -s 3 and -s 2, libsvm -t 0.
    """
    verb = "linear_svm.fit"
    given, static, dtype = _check(verb, X, y, C, class_weight, sample_weight, n_classes)
    _check_loss(verb, loss)
    tol = _input.tolerance(verb, tol, dtype) if loss == "hinge" else checks.tolerance(verb, tol, dtype)
    params, info = _fit(given, tol, checks.count(verb, "max_iter", max_iter), loss=loss, **static)
    return Fit(params, info, {"n_classes": static["classes"]})


def _check_loss(verb: str, loss: str) -> None:
    if loss not in LOSSES:
        raise ValueError(f"{verb}: loss must be one of {LOSSES}, got {loss!r}")


def _check(verb: str, X: Any, y: Any, C: Any, class_weight: Any, sample_weight: Any, n_classes: int | None) -> Any:
    given, static, dtype = _input.check_classes(verb, X, y, kernels.Linear(), class_weight, sample_weight, n_classes)
    del static["capacity"]
    return given._replace(hyper=(_input.positive(verb, "C", C, dtype, given.X.shape[:1]),)), static, dtype


class _One(NamedTuple):
    coef: jax.Array
    intercept: jax.Array
    dual: jax.Array
    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    optimality: jax.Array


def _hinge(X: jax.Array, sign: jax.Array, bound: jax.Array, tol: Any, max_iter: jax.Array, rare: Rare) -> _One:
    """The interior point as the start of the block method, which makes it exact and certifies it.

    Rare, with float64: an interior point that is not optimal to the tolerance; the lean program has no block method.
    In float32 such a point is as good as the rounding of the predictor, which is seldom enough.
    """
    kernel = kernels.Linear()
    X, centre = _linear_kernel.centred(X, kernel)
    dual = _one_vs_one.hinge(sign, bound)
    fixed, Z = implicit.frozen((dual, X))
    wide = _machine.certificate_dtype(X.dtype)
    start, _ = low_rank.solve(*(v.astype(wide) for v in (Z, fixed.c, fixed.lower, fixed.upper)))
    start = start.astype(X.dtype)
    if rare.lean and wide == jnp.float64:
        end = low_rank.certify(fixed, Z, start, tol, wide)
        rare.note(~end.proven | (bound < 0).any())
        b, rho, status = end.b, end.rho, jnp.int32(Status.CONVERGED)
        n_iter, objective, violation = jnp.int32(0), end.objective, end.violation
    else:
        found = _machine.solve(
            X, kernel, dual, start, tol=tol, max_iter=max_iter,
            matrices=_machine.kernel_matrices(Z, kernel, full=False, rare=rare), rare=rare,
        )  # fmt: skip
        b, rho, status, n_iter = found.b, found.rho[0], found.status, found.n_iter
        objective, violation = found.objective, found.violation
    coef = dot(b, X)
    return _One(coef, -rho - dot(centre, coef), b, status, n_iter, -objective, violation)


def _squared(
    X: jax.Array, sign: jax.Array, bound: jax.Array, tol: jax.Array | None, max_iter: jax.Array, rare: Rare
) -> _One:
    """Newton's method on the primal: 1/2 |w|^2 + sum C h^2 = sum C (mean of h^2 + |w|^2 / (2 sum C))."""
    total = bound.sum()
    safe = positive(total)
    y = 0.5 * (sign + 1)
    found = penalised.solve(
        Data(X, y, bound, None), SquaredHinge(), None, 1 / safe, None, valid=jnp.isfinite(y), fit_intercept=True,
        blocked=True, tol=tol, max_iter=max_iter, rare=rare,
    )  # fmt: skip
    coef, intercept = found.params
    short = jnp.maximum(1 - sign * (dot(X, coef) + intercept), 0)
    info = found.info
    return _One(
        coef, intercept, 2 * bound * sign * short, info.status, info.n_iter, total * info.objective, info.optimality
    )


def _lean_for(given: Given, *_: Any, loss: str, **__: Any) -> bool:
    """In float32 the rounding of a predictor, of about p sqrt(n) eps, has to be below the default tol of 1e-3."""
    n, p = given.X.shape
    return loss != "hinge" or _machine.certificate_dtype(given.X.dtype) == jnp.float64 or n * p * p <= _LEAN


@staged(static=("classes", "balanced", "loss"), lean_for=_lean_for)
@rows.replicated
def _fit(
    given: Given, tol: jax.Array | None, max_iter: jax.Array, *, classes: int, balanced: bool, loss: str, rare: Rare
) -> tuple[LinearMachine, SupportInfo]:
    data = _one_vs_one.bounds(given, given.hyper[0], classes, balanced)
    bound = data.limit
    X = given.X
    solve = _hinge if loss == "hinge" else _squared

    def one(positive: jax.Array) -> tuple[_One, jax.Array]:
        within = Rare(lean=rare.lean)
        sign = jnp.where(data.y == positive, 1, -1).astype(X.dtype)
        found = solve(X, sign, bound, tol, max_iter, within)
        alone = ~(sign * bound > 0).any() | ~(sign * bound < 0).any()
        within.note(alone)
        if not rare.lean:
            alone &= found.status == Status.CONVERGED
            found = found._replace(status=jnp.where(alone, Status.ONE_CLASS, found.status).astype(jnp.int32))
        return found, jnp.asarray(within.needed)

    rare.note(~data.valid)
    if classes == 2:
        found, needed = one(jnp.int32(1))
        rare.note(needed)
        coef, dual = found.coef, found.dual
    else:
        each, needed = jax.vmap(one)(jnp.arange(classes, dtype=jnp.int32))
        rare.note(needed)
        coef, dual = each.coef.T, each.dual.T
        found = each._replace(
            status=worst(each.status), n_iter=each.n_iter.sum(dtype=jnp.int32),
            objective=each.objective.sum(), optimality=each.optimality.max(),
        )  # fmt: skip
    params, status = LinearMachine(coef, found.intercept, dual), found.status
    if not rare.lean:
        params = LinearMachine(*(jnp.where(data.valid, v, jnp.nan) for v in params))
        status = jnp.where(data.valid, status, Status.DOMAIN).astype(jnp.int32)
    support = (jnp.abs(params.dual) > 0).reshape(X.shape[0], -1).any(1).sum(dtype=jnp.int32)
    return params, SupportInfo(status, found.n_iter, found.objective, found.optimality, support)


@public
def decision(params: LinearMachine, X: ArrayLike) -> jax.Array:
    """The linear predictor X @ coef + intercept: (m,), positive for class 1, or (m, K).

    Raises: TypeError if params are not those of a fit; ValueError for an X whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> fit = ji.linear_svm.fit(X, y)
    >>> print(ji.linear_svm.decision(fit.params, jnp.array([[3.0]])))
    [3.]
    """
    return affine.decision("linear_svm.decision", params, X)


@public
def predict(params: LinearMachine, X: ArrayLike) -> jax.Array:
    """The class of the largest decision: (m,) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> fit = ji.linear_svm.fit(X, y)
    >>> print(ji.linear_svm.predict(fit.params, jnp.array([[3.0], [-0.1]])))
    [1 0]
    """
    return affine.decision("linear_svm.predict", params, X, None, _class)


def _class(value: jax.Array) -> jax.Array:
    return ((value > 0) if value.ndim == 1 else value.argmax(1)).astype(jnp.int32)


@public
def objective(
    params: LinearMachine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, loss: str = "hinge",
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> jax.Array:  # fmt: skip
    """The objective of `fit`, summed over the classes: a scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> print(ji.linear_svm.objective(ji.linear_svm.fit(X, y).params, X, y))
    0.5
    """
    return _evaluate("linear_svm.objective", params, X, y, loss, C, class_weight, sample_weight, n_classes)[0]


@public
def optimality(
    params: LinearMachine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, loss: str = "hinge",
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> jax.Array:  # fmt: skip
    """The residual of the optimality conditions at `params`: zero at the solution.  A scalar.

    hinge: the largest violation of the dual's conditions; squared_hinge: the largest derivative of `objective`, over
    the sum of C.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> print(ji.linear_svm.optimality(ji.linear_svm.fit(X, y).params, X, y))
    0.0
    """
    return _evaluate("linear_svm.optimality", params, X, y, loss, C, class_weight, sample_weight, n_classes)[1]


def _evaluate(verb: str, params: LinearMachine, X: Any, y: Any, loss: str, *rest: Any) -> tuple[jax.Array, jax.Array]:
    given, static, _ = _check(verb, X, y, *rest)
    _check_loss(verb, loss)
    return _values(params, given, loss=loss, **static)


@partial(jax.jit, static_argnames=("classes", "balanced", "loss"))
@rows.replicated
def _values(
    params: LinearMachine, given: Given, *, classes: int, balanced: bool, loss: str
) -> tuple[jax.Array, jax.Array]:
    data = _one_vs_one.bounds(given, given.hyper[0], classes, balanced)
    bound = data.limit
    n = given.X.shape[0]
    coef, beta = params.coef.reshape(given.X.shape[1], -1), params.dual.reshape(n, -1)
    positive = jnp.arange(1 if classes == 2 else 0, classes, dtype=jnp.int32)
    sign = jnp.where(data.y[:, None] == positive[None], 1, -1).astype(given.X.dtype)
    short = jnp.maximum(1 - sign * (dot(given.X, coef) + params.intercept.reshape(1, -1)), 0)
    weight = bound[:, None]
    value = 0.5 * (coef**2).sum() + (weight * (short if loss == "hinge" else short**2)).sum()
    if loss == "hinge":
        duals = [_one_vs_one.hinge(sign[:, k], bound) for k in range(sign.shape[1])]
        X, _ = _linear_kernel.centred(given.X, kernels.Linear())
        found = [_machine.evaluate(X, kernels.Linear(), d, beta[:, k])[1] for k, d in enumerate(duals)]
        return value, jnp.stack(found).max()
    pull = 2 * weight * sign * short
    gradient = jnp.concatenate([coef - dot(given.X.T, pull), -pull.sum(0)[None]])
    return value, jnp.abs(gradient).max() / bound.sum()
