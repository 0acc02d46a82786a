r"""Support vector regression with a kernel (epsilon-SVR)."""

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
    X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, epsilon: ArrayLike = 0.1, kernel: kernels.Kernel | None = None,
    sample_weight: ArrayLike | None = None, init: Machine | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    r"""Minimise the absolute error beyond a tube in the space of a kernel: support vector regression, by its dual.

    .. math:: \min_{w, b} \tfrac12 |w|^2 + \sum_i C_i \max(0, |y_i - w^\top \phi(x_i) - b| - \epsilon)
              \quad\Longleftrightarrow\quad
              \min_\beta \tfrac12 \beta^\top K \beta - y^\top \beta + \epsilon |\beta|_1,
              \quad |\beta_i| \le C_i, \quad \sum_i \beta_i = 0

    with :math:`C_i` = C times the weight of the row.

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      y: (n,) real, traced.
      C: above 0, in units of 1 / y, traced; a number or one for each row.
      epsilon: half the width of the tube without loss, at least 0, in units of y, traced.
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      init: a Machine of the same rows to start from, traced; its coefficients are moved into the bounds.
      tol: the largest violation of the conditions that counts as converged, libsvm's eps; traced; None means 1e-3.
      max_iter: maximum number of blocks of a few hundred variables, traced.

    Returns:
      Fit(params, info).  params: a Machine with coef (n,), 0 for rows within the tube, and intercept ().  info:
      objective, the dual's at its minimum; optimality, the largest violation, evaluated again after the fit (in float64
      where JAX allows it); n_iter, blocks; n_support, rows with a coefficient.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a kernel not from
        `jaxinfra.kernels`, a max_iter that is not an integer.
      ValueError: shapes that do not match; on the host (Python or NumPy) also a C that is not above 0, or a negative
        epsilon, sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  INFEASIBLE with NaN for C, epsilon or weights below 0.  SINGULAR with NaN if no weight is
      positive.  NONFINITE with NaN if the input holds NaN or inf.  STALLED if rounding stops the progress:
      info.optimality is the violation reached; loosen tol, scale y and the columns or use float64.  MAX_ITER.

    Precision: float64 reaches a violation of 1e-11 on data in similar units; float32 the default.

    Derivatives: coef and intercept with respect to X, y, C, epsilon, kernel and sample_weight, forward and reverse, all
      orders; exact where the set of free support vectors does not change.

    Cost: the kernel's rows of the support vectors, each once or a few times (n p flops each), and two vectors of a few
    hundred numbers for each of about 1 to 5 n_support steps at C near 1.  Memory: at most 0.5 GB besides X.
    Units of columns as in `svc.fit`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 2.0])
    >>> fit = ji.check(ji.svr.fit(X, y, epsilon=0.5, kernel=ji.kernels.Linear()))
    >>> print([f"{v:.2f}" for v in ji.svr.predict(fit.params, X)])  # the flattest line within 0.5 of every y
    ['0.50', '1.00', '1.50']

    Source: Chang and Lin, LIBSVM: a library for support vector machines, 2011, eqs. 10 and 11.
    Elsewhere: sklearn.svm.SVR, libsvm -s 3.
    """
    verb = "svr.fit"
    given, dtype = _check(verb, X, y, C, epsilon, kernel, sample_weight)
    return _single.fit(verb, given, dtype, _build, init, tol, max_iter)


def _check(verb: str, X: Any, y: Any, C: Any, epsilon: Any, kernel: Any, sample_weight: Any) -> Any:
    given, dtype = _input.check_real(verb, X, y, kernel, sample_weight)
    hyper = (
        _input.positive(verb, "C", C, dtype, given.X.shape[:1]),
        _input.not_negative(verb, "epsilon", epsilon, dtype),
    )
    return given._replace(hyper=hyper), dtype


def _build(y: jax.Array, w: jax.Array, C: jax.Array, epsilon: jax.Array) -> Dual:
    """b+ in 0..C of rows above the tube, b- in -C..0 of rows below it."""
    bound = C * w
    bad = (bound < 0) | (C <= 0) | (epsilon < 0)
    zero = jnp.zeros_like(y)
    up, down = _single.within(bad, zero, bound), _single.within(bad, -bound, zero)
    lower, upper = jnp.concatenate([up[0], down[0]]), jnp.concatenate([up[1], down[1]])
    c = jnp.concatenate([epsilon - y, -epsilon - y])
    return Dual(c, lower, upper, None, None)


@public
def decision(params: Machine, X: ArrayLike) -> jax.Array:
    """The predicted y, sum_i coef_i k(vectors_i, x) + intercept: (m,).

    Raises: TypeError if params are not those of a fit; ValueError for an X with other columns than those of the fit.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svr.decision(at, jnp.array([[3.0]])))
    [3.]
    """
    return _machine.decision(params, _machine.prepare("svr.decision", params, X))


@public
def predict(params: Machine, X: ArrayLike) -> jax.Array:
    """The predicted y, the same as `decision`: (m,).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svr.predict(at, jnp.array([[3.0]])))
    [3.]
    """
    return _machine.decision(params, _machine.prepare("svr.predict", params, X))


@public
def objective(
    params: Machine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, epsilon: ArrayLike = 0.1,
    sample_weight: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The dual's objective, which `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svr.objective(at, at.vectors, jnp.array([0.0, 1.0]), epsilon=0.0))
    -0.5
    """
    verb = "svr.objective"
    given, dtype = _check(verb, X, y, C, epsilon, params.kernel, sample_weight)
    return _single.evaluate(verb, params, given, dtype, _build)[0]


@public
def optimality(
    params: Machine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, epsilon: ArrayLike = 0.1,
    sample_weight: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The largest violation of the conditions: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.svr.optimality(at, at.vectors, jnp.array([0.0, 1.0]), epsilon=0.0))
    0.0
    """
    verb = "svr.optimality"
    given, dtype = _check(verb, X, y, C, epsilon, params.kernel, sample_weight)
    return _single.evaluate(verb, params, given, dtype, _build)[1]


@public
def compact(params: Machine) -> Machine:
    """The machine of the rows whose coefficients are not 0: the same decisions from fewer rows; on the host.

    Raises: TypeError if the machine is traced; ValueError for a precomputed kernel or a batch of machines.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, 0.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.svr.compact(at).vectors)
    [[1.]]
    """
    return _machine.compact("svr.compact", params)


@public
def linear_coef(params: Machine) -> jax.Array:
    """The coefficients of the columns, sum_i coef_i vectors_i, of a linear kernel: (p,).

    Raises: ValueError for a kernel that is not `kernels.Linear`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, -1.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.svr.linear_coef(at))
    [-1.]
    """
    return _machine.linear_coef("svr.linear_coef", params)
