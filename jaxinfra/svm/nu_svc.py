r"""Support vector classification with a share of errors in place of a penalty (nu-SVC)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra import kernels
from jaxinfra._core import checks, rows
from jaxinfra._core.precision import eps, positive
from jaxinfra._core.stages import Rare
from jaxinfra._core.types import Fit, SupportInfo
from jaxinfra._core.verbs import public
from jaxinfra.solvers.dual.problem import Dual
from jaxinfra.svm import _input, _machine, _one_vs_one
from jaxinfra.svm._input import Given
from jaxinfra.svm._machine import Found, Machine
from jaxinfra.svm._one_vs_one import Machines


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, nu: ArrayLike = 0.5, kernel: kernels.Kernel | None = None,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None, n_classes: int | None = None,
    init: Machine | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    r"""Fit the support vector classifier in which at most a share nu of the rows is within the margin.

    .. math:: \min_\beta \tfrac12 \beta^\top K \beta, \quad 0 \le t_i \beta_i \le s_i,
              \quad \sum_{t_i = 1} \beta_i = -\sum_{t_i = -1} \beta_i = \tfrac{\nu}{2} \sum_i s_i

    with :math:`t_i = \pm 1` for the classes 1 and 0 and :math:`s_i` the weight of the row times that of its class;
    then everything is divided by the margin r, so that free support vectors have the decision +1 or -1.
    K classes: one machine for each pair of classes i < j, in the order (0, 1), (0, 2), ..., that of class j positive.

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      y: (n,) integers 0..K-1, traced.
      nu: above 0 and at most twice the share of the smaller class of every pair, traced: an upper bound of the share of
        margin errors and a lower bound of the share of support vectors.
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      class_weight: None; (K,) traced, a factor for each class; or "balanced" (static): inverse to the classes' weights.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      n_classes: static; None reads it from y, which must then not be traced.
      init: a Machine of the same rows to start from, traced.
      tol: the largest violation that counts as converged, before the division by r as in libsvm; traced; None: 1e-3.
      max_iter: maximum number of blocks of a few hundred variables, for each pair; traced.

    Returns:
      Fit(params, info) as those of `svc.fit`; info.objective is that of the divided problem.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), y of floats, a kernel not from
        `jaxinfra.kernels`, an n_classes or max_iter that is not an integer.
      ValueError: shapes that do not match, a class_weight string other than "balanced"; where n_classes is None, y that
        is traced, of one class or whose labels skip a class; on the host (Python or NumPy) also labels outside 0..K-1,
        a nu outside (0, 1], or a negative class_weight, sample_weight or tol.  Other values in a jax.Array do not
        raise: they become a Status.

    Status: as `svc.fit`.  INFEASIBLE with NaN also for a nu that the classes do not allow: above twice the share of the
      smaller one, or so small that no plane separates them with so few margin errors (a margin within info.optimality:
      raise nu, or lower tol).

    Precision: float64 reaches a violation of 1e-11 on data in similar units; float32 the default.

    Derivatives: coef and intercept with respect to X, nu, kernel, class_weight and sample_weight, forward and reverse,
      all orders; exact where the set of free support vectors does not change.

    Cost: as `svc.fit`; the start has nu n rows.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> fit = ji.check(ji.nu_svc.fit(X, y, nu=0.4, kernel=ji.kernels.Linear()))
    >>> print(fit.params.coef.round(3))
    [ 0.  -0.5  0.5  0. ]

    Source: Schoelkopf, Smola, Williamson and Bartlett 2000; Chang and Lin, LIBSVM, eqs. 4 to 6.
    Elsewhere: sklearn.svm.NuSVC, libsvm -s 1.
    """
    verb = "nu_svc.fit"
    given, static, dtype = _check(verb, X, y, nu, kernel, class_weight, sample_weight, n_classes)
    start = _input.start(verb, init, given.X.shape[0], dtype, _one_vs_one.pairs(static["classes"]))
    tol, max_iter = _input.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter)
    coef, intercept, kernel, info = _fit(given, start, tol, max_iter, **static)
    return Fit(Machine(coef, intercept, given.X, kernel), info, {"n_classes": static["classes"]})


def _check(verb: str, X: Any, y: Any, nu: Any, *rest: Any) -> Any:
    given, static, dtype = _input.check_classes(verb, X, y, *rest)
    return given._replace(hyper=(_input.share(verb, "nu", nu, dtype),)), static, dtype


def _build(nu: jax.Array, sign: jax.Array, w: jax.Array) -> Dual:
    """Variables of the sign of their rows within the weights, one group a class."""
    bad = (w < 0) | (nu <= 0)
    lower, upper = jnp.where(bad, 1, jnp.minimum(sign * w, 0)), jnp.where(bad, -1, jnp.maximum(sign * w, 0))
    half = 0.5 * nu * jnp.where(sign != 0, w, 0).sum()
    return Dual(jnp.zeros_like(w), lower, upper, (sign < 0).astype(jnp.int32), jnp.stack([half, -half]))


def _begin(coef: jax.Array, dual: Dual) -> jax.Array:
    """The variables before their division by r."""
    assert dual.total is not None
    there = jnp.maximum(coef, 0).sum()
    # Division, sum and product round, the sum differently from one device to the next.
    return dual.snapped(coef * (dual.total[0] / positive(there)), 32)


def _finish(found: Found) -> Machines:
    """Divided by the margin r; rho of the classes are r1 and -r2 of libsvm.

    Where the reduced hulls of the classes meet r is 0, and what is found of it is within the violation.
    """
    r = 0.5 * (found.rho[0] - found.rho[1])
    middle = -0.5 * (found.rho[0] + found.rho[1])
    size = jnp.abs(found.rho).max()
    sound = r > jnp.maximum(found.violation, 64 * eps(r.dtype) * size)
    r = jnp.where(sound, r, 1)
    return Machines(found.b / r, middle / r, found.objective / (r * r), sound)


@_machine.fitted
@rows.replicated
def _fit(
    given: Given, init: jax.Array | None, tol: jax.Array, max_iter: jax.Array, *, classes: int, balanced: bool,
    capacity: int, rare: Rare,
) -> tuple[jax.Array, jax.Array, kernels.Kernel, SupportInfo]:  # fmt: skip
    data = _input.read_classes(given, classes, balanced)
    result = _one_vs_one.fit(
        given, data, init, partial(_build, *given.hyper), _begin, _finish, tol=tol, max_iter=max_iter, classes=classes,
        capacity=capacity, rare=rare,
    )  # fmt: skip
    return result[0], result[1], data.kernel, result[2]


@public
def decision(params: Machine, X: ArrayLike) -> jax.Array:
    """The value sum_i coef_i k(vectors_i, x) + intercept, positive for class 1 or a pair's second: (m,) or (m, pairs).

    Raises: TypeError if params are not those of a fit; ValueError for an X with other columns than those of the fit.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.decision(at, jnp.array([[3.0]])))
    [3.]
    """
    return _machine.decision(params, _machine.prepare("nu_svc.decision", params, X))


@public
def votes(params: Machine, X: ArrayLike) -> jax.Array:
    """How many of its pairs each class wins: (m, K) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.votes(at, jnp.array([[3.0]])))
    [[0 1]]
    """
    return _machine.decision(params, _machine.prepare("nu_svc.votes", params, X), _one_vs_one.votes)


@public
def predict(params: Machine, X: ArrayLike) -> jax.Array:
    """The class of the most votes, the first of them on a tie, as in libsvm: (m,) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.predict(at, jnp.array([[3.0], [-0.1]])))
    [1 0]
    """
    return _machine.decision(params, _machine.prepare("nu_svc.predict", params, X), _one_vs_one.winner)


def _evaluate(verb: str, params: Machine, X: Any, y: Any, *rest: Any) -> tuple[jax.Array, jax.Array]:
    given, static, dtype = _check(verb, X, y, *rest)
    coef = _input.start(verb, params, given.X.shape[0], dtype, _one_vs_one.pairs(static["classes"]))
    return _values(given, coef, **static)


@_machine.compiled
@rows.replicated
def _values(
    given: Given, coef: jax.Array, *, classes: int, balanced: bool, capacity: int
) -> tuple[jax.Array, jax.Array]:
    data = _input.read_classes(given, classes, balanced)
    build = partial(_build, *given.hyper)
    return _one_vs_one.evaluate(given, data, coef, build, _begin, classes=classes, capacity=capacity)


@public
def objective(
    params: Machine, X: ArrayLike, y: ArrayLike, *, nu: ArrayLike = 0.5, class_weight: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> jax.Array:  # fmt: skip
    """The dual's objective before the division by the margin, summed over pairs.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.objective(at, at.vectors, jnp.array([0, 1])))
    0.5
    """
    return _evaluate("nu_svc.objective", params, X, y, nu, params.kernel, class_weight, sample_weight, n_classes)[0]


@public
def optimality(
    params: Machine, X: ArrayLike, y: ArrayLike, *, nu: ArrayLike = 0.5, class_weight: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> jax.Array:  # fmt: skip
    """The largest violation of the conditions before the division, of any pair: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.optimality(at, at.vectors, jnp.array([0, 1])))
    0.0
    """
    return _evaluate("nu_svc.optimality", params, X, y, nu, params.kernel, class_weight, sample_weight, n_classes)[1]


@public
def compact(params: Machine) -> Machine:
    """The machine of the rows whose coefficients are not 0: the same decisions from fewer rows; on the host.

    Raises: TypeError if the machine is traced; ValueError for a precomputed kernel or a batch of machines.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, 0.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.compact(at).vectors)
    [[1.]]
    """
    return _machine.compact("nu_svc.compact", params)


@public
def linear_coef(params: Machine) -> jax.Array:
    """The coefficients of the columns, sum_i coef_i vectors_i, of a linear kernel: (p,) or (pairs, p).

    Raises: ValueError for a kernel that is not `kernels.Linear`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, -1.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svc.linear_coef(at))
    [-1.]
    """
    return _machine.linear_coef("nu_svc.linear_coef", params)
