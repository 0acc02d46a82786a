r"""Support vector classification with a kernel (C-SVC): two classes, or several by one-vs-one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from numpy.typing import ArrayLike

from jaxinfra import kernels
from jaxinfra._core import checks, rows
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
    X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, kernel: kernels.Kernel | None = None,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None, n_classes: int | None = None,
    init: Machine | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    r"""Minimise the hinge loss in the space of a kernel: the support vector classifier, by its dual.

    .. math:: \min_{w, b} \tfrac12 |w|^2 + \sum_i C_i \max(0, 1 - t_i (w^\top \phi(x_i) + b))
              \quad\Longleftrightarrow\quad
              \min_\beta \tfrac12 \beta^\top K \beta - t^\top \beta, \quad 0 \le t_i \beta_i \le C_i,
              \quad \sum_i \beta_i = 0

    with :math:`t_i = \pm 1` for the classes 1 and 0 and :math:`C_i` = C times the weights of the row and of its class.
    K classes: one machine for each pair of classes i < j, in the order (0, 1), (0, 2), ..., that of class j positive.

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      y: (n,) integers 0..K-1, traced.
      C: above 0, traced; a number or one for each row.  It multiplies the sum of the losses, as in libsvm.
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      class_weight: None; (K,) traced, a factor for each class; or "balanced" (static): inverse to the classes' weights.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      n_classes: static; None reads it from y, which must then not be traced.
      init: a Machine of the same rows to start from, traced; its coefficients are moved into the bounds.
      tol: the largest violation of the conditions that counts as converged, libsvm's eps; traced; None means 1e-3.
      max_iter: maximum number of blocks of a few hundred variables, for each pair; traced.

    Returns:
      Fit(params, info).  params: a Machine with coef (n,) or (pairs, n), the signed dual variables, 0 where a row is no
      support vector, and intercept () or (pairs,).  info: objective, the dual's at its minimum, summed over pairs;
      optimality, the largest violation :math:`\max_{up} (-f) - \min_{down} (-f)`, f the dual's gradient evaluated
      again after the fit (in float64 where JAX allows it); n_iter, blocks; n_support, rows with a coefficient.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), y of floats, a kernel not from
        `jaxinfra.kernels`, an n_classes or max_iter that is not an integer.
      ValueError: shapes that do not match, a class_weight string other than "balanced"; where n_classes is None, y that
        is traced, of one class or whose labels skip a class; on the host (Python or NumPy) also labels outside 0..K-1,
        a C that is not above 0, or a negative class_weight, sample_weight or tol.  Other values in a jax.Array do not
        raise: they become a Status.

    Status: CONVERGED.  ONE_CLASS if the rows of positive weight are of one class (a ValueError where y is known), also
      for a pair of several classes.  INFEASIBLE with NaN for C or weights below 0.  DOMAIN with NaN for a label outside
      0..K-1 (a ValueError where y is a NumPy array).  NONFINITE with NaN if the input holds NaN or inf.  STALLED if
      rounding stops the progress: info.optimality is the violation reached; loosen tol, scale the columns or use
      float64.  MAX_ITER.

    An indefinite kernel (Sigmoid, some Precomputed) has a stationary point in place of the minimum, as in libsvm.

    Precision: float64 reaches a violation of 1e-11 on data in similar units; float32 the default, tested for C up to
      1000.  With float64 and more than 2048 rows the values of RBF, Polynomial and Sigmoid are first those in float32,
      as libsvm's are; where the certificate in float64 rejects the result, the fit continues in float64.

    Derivatives: coef and intercept with respect to X, C, kernel, class_weight and sample_weight, forward and reverse,
      all orders; exact where the set of free support vectors does not change.

    Cost: the kernel's rows of the support vectors, each once or a few times (n p flops each), and two vectors of a few
    hundred numbers for each of about 1 to 5 n_support steps at C near 1.  Memory: at most 0.5 GB besides X; for several
    classes and `path` n^2 numbers up to 4000 rows.  Linear and polynomial kernels need columns of similar units: one
    with a standard deviation of 100 multiplies the steps of a 400 x 5 fit by 250.  A UserWarning says so if X is NumPy.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]), jnp.array([1, 0, 1])
    >>> fit = ji.check(ji.svc.fit(X, y, kernel=ji.kernels.Linear()))  # not separable: the middle row is in between
    >>> print(fit.params.coef.round(3))
    [ 0.5 -1.   0.5]
    >>> print(ji.svc.predict(fit.params, X))  # kernels.RBF(0.5) would separate them
    [1 1 1]

    Source: Chang and Lin, LIBSVM: a library for support vector machines, 2011, eqs. 1 to 3; Fan, Chen and Lin 2005.
    Elsewhere: sklearn.svm.SVC, libsvm -s 0.
    """
    verb = "svc.fit"
    given, static, dtype = _check(verb, X, y, C, kernel, class_weight, sample_weight, n_classes)
    start = _input.start(verb, init, given.X.shape[0], dtype, _one_vs_one.pairs(static["classes"]))
    tol, max_iter = _input.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter)
    coef, intercept, kernel, info = _fit(given, start, tol, max_iter, **static)
    return Fit(Machine(coef, intercept, given.X, kernel), info, {"n_classes": static["classes"]})


def _check(verb: str, X: Any, y: Any, C: Any, *rest: Any) -> Any:
    given, static, dtype = _input.check_classes(verb, X, y, *rest)
    return given._replace(hyper=(_input.positive(verb, "C", C, dtype, given.X.shape[:1]),)), static, dtype


def _begin(coef: jax.Array, dual: Dual) -> jax.Array:
    return coef


def _finish(found: Found) -> Machines:
    return Machines(found.b, -found.rho[0], found.objective, jnp.array(True))


@_machine.fitted
@rows.replicated
def _fit(
    given: Given, init: jax.Array | None, tol: jax.Array, max_iter: jax.Array, *, classes: int, balanced: bool,
    capacity: int, rare: Rare,
) -> tuple[jax.Array, jax.Array, kernels.Kernel, SupportInfo]:  # fmt: skip
    data = _one_vs_one.bounds(given, given.hyper[0], classes, balanced)
    result = _one_vs_one.fit(
        given, data, init, _one_vs_one.hinge, _begin, _finish, tol=tol, max_iter=max_iter, classes=classes,
        capacity=capacity, rare=rare,
    )  # fmt: skip
    return result[0], result[1], data.kernel, result[2]


@public
def path(
    X: ArrayLike, y: ArrayLike, *, C: ArrayLike, kernel: kernels.Kernel | None = None,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None, n_classes: int | None = None,
    tol: ArrayLike | None = None, max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    """Fits for m values of C, each started from the one before, in one compiled call with one shared kernel matrix.

    Args:
      C: (m,) or (m, n), above 0; best in increasing order.
      The other arguments as in `fit`.

    Returns:
      Fit whose params.coef is (m, n) or (m, pairs, n) and intercept (m,) or (m, pairs), with one set of vectors and one
      kernel; every field of info is (m,).  One machine:
      `params._replace(coef=params.coef[k], intercept=params.intercept[k])`.

    Raises: as `fit`; ValueError unless C is (m,) or (m, n).

    A grid of C and gamma with folds is `vmap` of this over `kernel` and `sample_weight`: folds share the kernel matrix,
    gammas the distances.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]), jnp.array([1, 0, 1])
    >>> print(ji.svc.path(X, y, C=jnp.array([1.0, 2.0]), kernel=ji.kernels.Linear()).params.coef.round(3))
    [[ 0.5 -1.   0.5]
     [ 1.  -2.   1. ]]
    """
    verb = "svc.path"
    given, static, dtype = _input.check_classes(verb, X, y, kernel, class_weight, sample_weight, n_classes)
    bounds = checks.hyper(verb, "C", C, dtype, minimum=None)
    if bounds.ndim not in (1, 2) or bounds.shape[0] == 0 or bounds.shape[1:] not in ((), given.X.shape[:1]):
        raise ValueError(f"{verb}: C must have shape (m,) or (m, {given.X.shape[0]}), got {bounds.shape}")
    if not isinstance(bounds, jax.Array) and (bounds <= 0).any():
        raise ValueError(f"{verb}: C must be above 0, got C = {bounds}")
    tol, max_iter = _input.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter)
    coef, intercept, kernel, info = _path(given._replace(hyper=(bounds,)), tol, max_iter, **static)
    return Fit(Machine(coef, intercept, given.X, kernel), info, {"n_classes": static["classes"]})


@_machine.fitted
@rows.replicated
def _path(
    given: Given, tol: jax.Array, max_iter: jax.Array, *, classes: int, balanced: bool, capacity: int, rare: Rare
) -> tuple[jax.Array, jax.Array, kernels.Kernel, SupportInfo]:
    kernel = _input.kernel_of(given)
    matrices = _one_vs_one.shared(given.X, kernel, rare)

    def one(carry: tuple[jax.Array, jax.Array], C: jax.Array) -> Any:
        coef, last = carry  # and its bounds
        data = _one_vs_one.bounds(given, C, classes, balanced)
        # What was at its bound is there again; what was free has some reason to be where it is.
        now, before = jnp.broadcast_to(data.limit, shape), jnp.broadcast_to(last, shape)
        coef = jnp.where(jnp.abs(coef) >= before, jnp.sign(coef) * now, coef)
        inner = Rare(lean=rare.lean)
        found = _one_vs_one.fit(
            given, data, coef, _one_vs_one.hinge, _begin, _finish, tol=tol, max_iter=max_iter, classes=classes,
            capacity=capacity, matrices=matrices, rare=inner,
        )  # fmt: skip
        last = lax.stop_gradient(jnp.where(jnp.isfinite(found[0]), found[0], 0))
        return (last, data.limit), (found, jnp.asarray(inner.needed))

    shape = (*((pairs,) if (pairs := _one_vs_one.pairs(classes)) else ()), given.X.shape[0])
    start = (jnp.zeros(shape, given.X.dtype), jnp.ones(given.X.shape[:1], given.X.dtype))
    _, ((coef, intercept, info), needed) = lax.scan(one, start, given.hyper[0])
    rare.note(needed)
    return coef, intercept, kernel, info


@public
def decision(params: Machine, X: ArrayLike) -> jax.Array:
    """The value sum_i coef_i k(vectors_i, x) + intercept, positive for class 1 or a pair's second: (m,) or (m, pairs).

    Raises: TypeError if params are not those of a fit; ValueError for an X with other columns than those of the fit.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svc.decision(at, jnp.array([[3.0]])))
    [3.]
    """
    return _machine.decision(params, _machine.prepare("svc.decision", params, X))


@public
def votes(params: Machine, X: ArrayLike) -> jax.Array:
    """How many of its pairs each class wins: (m, K) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, coef = jnp.array([[-1.0], [0.0], [1.0]]), jnp.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]])
    >>> at = ji.Machine(coef, jnp.zeros(3), X, ji.kernels.RBF(1.0))  # a machine for each pair of three classes
    >>> print(ji.svc.votes(at, jnp.array([[1.0]])))
    [[0 1 2]]
    """
    return _machine.decision(params, _machine.prepare("svc.votes", params, X), _one_vs_one.votes)


@public
def predict(params: Machine, X: ArrayLike) -> jax.Array:
    """The class of the most votes, the first of them on a tie, as in libsvm: (m,) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svc.predict(at, jnp.array([[3.0], [-0.1]])))
    [1 0]
    """
    return _machine.decision(params, _machine.prepare("svc.predict", params, X), _one_vs_one.winner)


def _evaluate(verb: str, params: Machine, X: Any, y: Any, *rest: Any) -> tuple[jax.Array, jax.Array]:
    given, static, dtype = _check(verb, X, y, *rest)
    coef = _input.start(verb, params, given.X.shape[0], dtype, _one_vs_one.pairs(static["classes"]))
    return _values(given, coef, **static)


@_machine.compiled
@rows.replicated
def _values(
    given: Given, coef: jax.Array, *, classes: int, balanced: bool, capacity: int
) -> tuple[jax.Array, jax.Array]:
    data = _one_vs_one.bounds(given, given.hyper[0], classes, balanced)
    return _one_vs_one.evaluate(given, data, coef, _one_vs_one.hinge, _begin, classes=classes, capacity=capacity)


@public
def objective(
    params: Machine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, class_weight: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> jax.Array:  # fmt: skip
    """The dual's objective, which `fit` minimises, summed over pairs.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svc.objective(at, at.vectors, jnp.array([0, 1])))
    -0.5
    """
    return _evaluate("svc.objective", params, X, y, C, params.kernel, class_weight, sample_weight, n_classes)[0]


@public
def optimality(
    params: Machine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, class_weight: ArrayLike | str | None = None,
    sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> jax.Array:  # fmt: skip
    """The largest violation of the conditions, of any pair: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-0.5, 0.5]), jnp.array(0.0), jnp.array([[-1.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svc.optimality(at, at.vectors, jnp.array([0, 1])))
    0.0
    """
    return _evaluate("svc.optimality", params, X, y, C, params.kernel, class_weight, sample_weight, n_classes)[1]


@public
def compact(params: Machine) -> Machine:
    """The machine of the rows whose coefficients are not 0: the same decisions from fewer rows; on the host.

    Raises: TypeError if the machine is traced; ValueError for a precomputed kernel or a batch of machines.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, 0.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.svc.compact(at).vectors)
    [[1.]]
    """
    return _machine.compact("svc.compact", params)


@public
def linear_coef(params: Machine) -> jax.Array:
    """The coefficients of the columns, sum_i coef_i vectors_i, of a linear kernel: (p,) or (pairs, p).

    Raises: ValueError for a kernel that is not `kernels.Linear`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, -1.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.svc.linear_coef(at))
    [-1.]
    """
    return _machine.linear_coef("svc.linear_coef", params)
