r"""Kernel ridge regression: least squares with an L2 penalty in the space of a kernel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra._core import absent, affine, checks, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Info
from jaxinfra._core.verbs import public
from jaxinfra.kernels import Kernel
from jaxinfra.solvers.dual import kernel_ridge
from jaxinfra.solvers.dual.kernel_ridge import System
from jaxinfra.svm import _input, _linear_kernel, _machine
from jaxinfra.svm._input import Given
from jaxinfra.svm._machine import Machine


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, kernel: Kernel | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Machine | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 5,
    fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals plus an L2 penalty in the space of a kernel.

    .. math:: \min_{f, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - f(x_i) - b)^2 + \frac{\lambda}{2} |f|_K^2
              \quad\Longleftrightarrow\quad
              \Big(K + \lambda \sum_i s_i\, \mathrm{diag}(s)^{-1}\Big) \alpha + b = y - o, \quad \sum_i \alpha_i = 0

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      y: (n,) or (n, k) for k targets at once, traced.
      l2: the penalty, above 0, a scalar, traced: scikit-learn's alpha is l2 * sum(sample_weight).
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,) or y's shape, in units of y, traced; subtracted from y.
      init: accepted as in every `fit`; a direct method needs no start and ignores its values.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of solves, the first and its corrections together, at least 1, traced.
      fit_intercept: static; scikit-learn's KernelRidge has no intercept.

    Returns:
      Fit(params, info).  params: a Machine with coef (n,), 0 for rows of weight 0, and intercept (); (k, n) and (k,)
      for k targets.  info.optimality is the largest residual of the equations, relative to the largest |y - o|.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a kernel not from
        `jaxinfra.kernels`, a max_iter that is not an integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; on the host (Python or NumPy) also an l2 that is not above 0, or a negative
        sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  STALLED if rounding leaves a larger residual: raise l2 or use float64.  SINGULAR with NaN if l2
      or a weight is not above 0 where it has to be, or if the kernel's matrix is not positive definite with the
      penalty (a sigmoid kernel, say).  NONFINITE with NaN if the input holds NaN or inf.

    Precision: corrections with residuals in the working precision follow the factorisation; digits are lost to the
      condition number, about (largest eigenvalue of K) / (l2 * sum of weights).

    Derivatives: coef and intercept with respect to X, y, l2, kernel, sample_weight and offset, forward and reverse, all
      orders, exact.

    Cost: n^2 p flops for the kernel's matrix, n^3 / 3 for its factor.  Memory: two matrices n x n.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 2.0, 3.0])
    >>> fit = ji.check(ji.kernel_ridge.fit(X, y, l2=2 / 3, kernel=ji.kernels.Linear()))
    >>> print([f"{v:.2f}" for v in ji.kernel_ridge.predict(fit.params, X)])  # the line of slope (2/3) / (2/3 + 2/3)
    ['1.50', '2.00', '2.50']

    Source: Saunders, Gammerman and Vovk 1998; Rasmussen and Williams, Gaussian Processes (2006), algorithm 2.1.
    Elsewhere: sklearn.kernel_ridge.KernelRidge (without intercept).
    """
    verb = "kernel_ridge.fit"
    given, dtype = _check(verb, X, y, l2, kernel, sample_weight, offset)
    if init is not None:
        _input.start(verb, init, given.X.shape[0], dtype, 0 if given.y.ndim == 1 else given.y.shape[1])
    coef, intercept, kernel, info = _fit(
        given, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter, 1),
        fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept),
    )  # fmt: skip
    return Fit(Machine(coef, intercept, given.X, kernel), info)


def _check(verb: str, X: Any, y: Any, l2: Any, kernel: Any, *rest: Any) -> tuple[Given, np.dtype]:
    given, dtype = _input.check_real(verb, X, y, kernel, *rest, several=True, any_units=True)
    return given._replace(hyper=(_input.positive(verb, "l2", l2, dtype),)), dtype


def _read(given: Given, fit_intercept: bool) -> System:
    X, dtype = given.X, given.X.dtype
    y = jnp.asarray(given.y, dtype)
    if given.offset is not None:
        y = y - affine.as_rows(jnp.asarray(given.offset, dtype), y)
    w = given.sample_weight
    (y,) = absent.present(w, y)
    kernel = _input.kernel_of(given)
    w = or_ones(w, X[:, 0])
    centre = jnp.zeros_like(X[0])
    if fit_intercept:
        X, centre = _linear_kernel.centred(X, kernel)
    return System(X, y.reshape(len(y), -1), jnp.asarray(given.hyper[0], dtype) * w.sum(), kernel, w, centre)


@staged(static=("fit_intercept",))
@rows.replicated
def _fit(
    given: Given, tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool, rare: Rare
) -> tuple[jax.Array, jax.Array, Kernel, Info]:
    problem = _read(given, fit_intercept)
    (a, b), info, _ = kernel_ridge.solve(problem, tol, max_iter, fit_intercept=fit_intercept, rare=rare)
    if fit_intercept:
        b = _linear_kernel.outer(b, a.T, problem.X, problem.centre, problem.kernel)
    coef, intercept = (a.T, b) if given.y.ndim > 1 else (a[:, 0], b[0])
    return coef, intercept, problem.kernel, info


@public
def decision(params: Machine, X: ArrayLike) -> jax.Array:
    """The predicted y, sum_i coef_i k(vectors_i, x) + intercept: (m,) or (m, k).

    Raises: TypeError if params are not those of a fit; ValueError for an X with other columns than those of the fit.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0]), jnp.array(1.0), jnp.array([[1.0]]), ji.kernels.Linear())
    >>> print(ji.kernel_ridge.decision(at, jnp.array([[3.0]])))
    [7.]
    """
    return _machine.decision(params, _machine.prepare("kernel_ridge.decision", params, X))


@public
def predict(params: Machine, X: ArrayLike) -> jax.Array:
    """The predicted y, the same as `decision`: (m,) or (m, k).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0]), jnp.array(1.0), jnp.array([[1.0]]), ji.kernels.Linear())
    >>> print(ji.kernel_ridge.predict(at, jnp.array([[3.0]])))
    [7.]
    """
    return _machine.decision(params, _machine.prepare("kernel_ridge.predict", params, X))


@public
def objective(
    params: Machine, X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the weighted mean of squared residuals plus half of l2 coef'K coef: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0]]), jnp.array([5.0])
    >>> at = ji.Machine(jnp.array([2.0]), jnp.array(1.0), X, ji.kernels.Linear())
    >>> print(ji.kernel_ridge.objective(at, X, y, l2=0.5))  # (5 - 3)^2 / 2 + 0.5 * 4 / 2
    3.0
    """
    given, _ = _check("kernel_ridge.objective", X, y, l2, params.kernel, sample_weight, offset)
    return _values(params.coef, params.intercept, given)[0]


@public
def optimality(
    params: Machine, X: ArrayLike, y: ArrayLike, *, l2: ArrayLike, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The largest residual of the equations, relative to the largest |y - offset|: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 2.0, 3.0])
    >>> fit = ji.kernel_ridge.fit(X, y, l2=2 / 3, kernel=ji.kernels.Linear())
    >>> bool(ji.kernel_ridge.optimality(fit.params, X, y, l2=2 / 3) < 1e-6)
    True
    """
    verb = "kernel_ridge.optimality"
    given, _ = _check(verb, X, y, l2, params.kernel, sample_weight, offset)
    _, equations, total = _values(params.coef, params.intercept, given)
    return jnp.maximum(equations, total) if checks.flag(verb, "fit_intercept", fit_intercept) else equations


@jax.jit
@rows.replicated
def _values(coef: jax.Array, intercept: jax.Array, given: Given) -> tuple[jax.Array, jax.Array, jax.Array]:
    return kernel_ridge.values(_read(given, False), coef, intercept)  # at any coef, whatever its sum


@public
def compact(params: Machine) -> Machine:
    """The machine of the rows whose coefficients are not 0: the same decisions from fewer rows; on the host.

    Raises: TypeError if the machine is traced; ValueError for a precomputed kernel or a batch of machines.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, 0.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.kernel_ridge.compact(at).vectors)
    [[1.]]
    """
    return _machine.compact("kernel_ridge.compact", params)


@public
def linear_coef(params: Machine) -> jax.Array:
    """The coefficients of the columns, sum_i coef_i vectors_i, of a linear kernel: (p,) or (k, p).

    Raises: ValueError for a kernel that is not `kernels.Linear`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, -1.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.kernel_ridge.linear_coef(at))
    [-1.]
    """
    return _machine.linear_coef("kernel_ridge.linear_coef", params)
