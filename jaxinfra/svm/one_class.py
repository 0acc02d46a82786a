r"""Support estimation, which finds the rows unlike the others (the one-class support vector machine)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra import kernels
from jaxinfra._core.types import Fit
from jaxinfra._core.verbs import public
from jaxinfra.solvers.dual.problem import Dual
from jaxinfra.svm import _input, _machine, _single
from jaxinfra.svm._machine import Machine


@public
def fit(
    X: ArrayLike, *, nu: ArrayLike = 0.5, kernel: kernels.Kernel | None = None, sample_weight: ArrayLike | None = None,
    init: Machine | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    r"""Find a region that holds all but a share nu of the rows: novelty detection.

    .. math:: \min_\beta \tfrac12 \beta^\top K \beta, \quad 0 \le \beta_i \le s_i, \quad \sum_i \beta_i = \nu \sum_i s_i

    with :math:`s_i` the weight of the row; the region is :math:`\sum_i \beta_i k(x_i, x) \ge \rho`.

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      nu: above 0 and at most 1, traced: an upper bound of the share of rows outside the region and a lower bound of the
        share of support vectors.
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      init: a Machine of the same rows to start from, traced; its coefficients are moved into the bounds.
      tol: the largest violation of the conditions that counts as converged, libsvm's eps; traced; None means 1e-3.
      max_iter: maximum number of blocks of a few hundred variables, traced.

    Returns:
      Fit(params, info).  params: a Machine with coef (n,), 0 for rows inside, and intercept (), -rho.  info: objective,
      the dual's at its minimum; optimality, the largest violation, evaluated again after the fit (in float64 where JAX
      allows it); n_iter, blocks; n_support, rows with a coefficient.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a kernel not from
        `jaxinfra.kernels`, a max_iter that is not an integer.
      ValueError: shapes that do not match; on the host (Python or NumPy) also a nu outside (0, 1], or a negative
        sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  INFEASIBLE with NaN for nu or weights below 0 and nu above 1.  SINGULAR with NaN if no weight is
      positive.  NONFINITE with NaN if the input holds NaN or inf.  STALLED if rounding stops the progress:
      info.optimality is the violation reached; loosen tol or use float64.  MAX_ITER.

    Precision: float64 reaches a violation of 1e-11 on data in similar units; float32 the default.

    Derivatives: coef and intercept with respect to X, nu, kernel and sample_weight, forward and reverse, all orders;
      exact where the set of free support vectors does not change.

    Cost: the start needs the kernel's rows of nu n rows (n p flops each); then as `svc.fit`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X = jnp.array([[0.0], [0.1], [-0.1], [5.0]])
    >>> fit = ji.check(ji.one_class.fit(X, nu=0.25, kernel=ji.kernels.RBF(0.1)))
    >>> print(ji.one_class.predict(fit.params, jnp.array([[0.05], [9.0]])))
    [ 1 -1]

    Source: Schoelkopf, Platt, Shawe-Taylor, Smola and Williamson 2001; Chang and Lin, LIBSVM, eqs. 7 and 8.
    Elsewhere: sklearn.svm.OneClassSVM, libsvm -s 2.
    """
    verb = "one_class.fit"
    given, dtype = _check(verb, X, nu, kernel, sample_weight)
    return _single.fit(verb, given, dtype, _build, init, tol, max_iter, zero_sum=False)


def _check(verb: str, X: Any, nu: Any, kernel: Any, sample_weight: Any) -> Any:
    given, dtype = _input.check_real(verb, X, None, kernel, sample_weight)
    return given._replace(hyper=(_input.share(verb, "nu", nu, dtype),)), dtype


def _build(y: None, w: jax.Array, nu: jax.Array) -> Dual:
    """One variable a row, within the weights."""
    lower, upper = _single.within((w < 0) | (nu <= 0), jnp.zeros_like(w), w)
    return Dual(jnp.zeros_like(w), lower, upper, None, (nu * w.sum())[None])


@public
def decision(params: Machine, X: ArrayLike) -> jax.Array:
    """The value sum_i coef_i k(vectors_i, x) - rho, positive inside the region: (m,).

    Raises: TypeError if params are not those of a fit; ValueError for an X with other columns than those of the fit.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.ones(2), -1 - jnp.exp(-1.0), jnp.array([[0.0], [1.0]]), ji.kernels.RBF(1.0))
    >>> print(ji.one_class.decision(at, jnp.array([[99.0]])).round(4))  # -rho
    [-1.3679]
    """
    return _machine.decision(params, _machine.prepare("one_class.decision", params, X))


@public
def predict(params: Machine, X: ArrayLike) -> jax.Array:
    """The side of each row, 1 inside the region and -1 outside: (m,) int32.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.ones(2), -1 - jnp.exp(-1.0), jnp.array([[0.0], [1.0]]), ji.kernels.RBF(1.0))
    >>> print(ji.one_class.predict(at, jnp.array([[0.5], [99.0]])))
    [ 1 -1]
    """
    return _machine.decision(params, _machine.prepare("one_class.predict", params, X), _side)


def _side(value: jax.Array) -> jax.Array:
    return jnp.where(value > 0, 1, -1).astype(jnp.int32)


@public
def objective(
    params: Machine, X: ArrayLike, *, nu: ArrayLike = 0.5, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The dual's objective, which `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.ones(2), jnp.array(-1.0), jnp.array([[0.0], [99.0]]), ji.kernels.RBF(1.0))
    >>> print(ji.one_class.objective(at, at.vectors, nu=1.0))
    1.0
    """
    verb = "one_class.objective"
    given, dtype = _check(verb, X, nu, params.kernel, sample_weight)
    return _single.evaluate(verb, params, given, dtype, _build, zero_sum=False)[0]


@public
def optimality(
    params: Machine, X: ArrayLike, *, nu: ArrayLike = 0.5, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The largest violation of the conditions: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.ones(2), jnp.array(-1.0), jnp.array([[0.0], [99.0]]), ji.kernels.RBF(1.0))
    >>> print(ji.one_class.optimality(at, at.vectors, nu=1.0))
    0.0
    """
    verb = "one_class.optimality"
    given, dtype = _check(verb, X, nu, params.kernel, sample_weight)
    return _single.evaluate(verb, params, given, dtype, _build, zero_sum=False)[1]


@public
def compact(params: Machine) -> Machine:
    """The machine of the rows whose coefficients are not 0: the same decisions from fewer rows; on the host.

    Raises: TypeError if the machine is traced; ValueError for a precomputed kernel or a batch of machines.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, 0.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.one_class.compact(at).vectors)
    [[1.]]
    """
    return _machine.compact("one_class.compact", params)


@public
def linear_coef(params: Machine) -> jax.Array:
    """The coefficients of the columns, sum_i coef_i vectors_i, of a linear kernel: (p,).

    Raises: ValueError for a kernel that is not `kernels.Linear`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, -1.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.one_class.linear_coef(at))
    [-1.]
    """
    return _machine.linear_coef("one_class.linear_coef", params)
