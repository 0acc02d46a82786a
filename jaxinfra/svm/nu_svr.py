r"""Support vector regression with a kernel, its tube set by a share of errors (nu-SVR)."""

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
    X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, nu: ArrayLike = 0.5, kernel: kernels.Kernel | None = None,
    sample_weight: ArrayLike | None = None, init: Machine | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = _machine.MAX_ITER,
) -> Fit:  # fmt: skip
    r"""Fit support vector regression with a tube that leaves at most a share nu of the rows outside.

    .. math:: \min_\beta \tfrac12 \beta^\top K \beta - y^\top \beta, \quad |\beta_i| \le C_i,
              \quad \sum_{\beta_i > 0} \beta_i = -\sum_{\beta_i < 0} \beta_i = \tfrac{\nu}{2} \sum_i C_i

    with :math:`C_i` = C times the weight of the row.

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      y: (n,) real, traced.
      C: above 0, in units of 1 / y, traced; a number or one for each row.
      nu: above 0 and at most 1, traced: an upper bound of the share of rows outside the tube and a lower bound of the
        share of support vectors.
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      init: a Machine of the same rows to start from, traced; its coefficients are moved into the bounds.
      tol: the largest violation of the conditions that counts as converged, libsvm's eps; traced; None means 1e-3.
      max_iter: maximum number of blocks of a few hundred variables, traced.

    Returns:
      Fit(params, info) as those of `svr.fit`.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a kernel not from
        `jaxinfra.kernels`, a max_iter that is not an integer.
      ValueError: shapes that do not match; on the host (Python or NumPy) also a C that is not above 0, a nu outside
        (0, 1], or a negative sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  INFEASIBLE with NaN for C, nu or weights below 0 and nu above 1.  SINGULAR with NaN if no
      weight is positive.  NONFINITE with NaN if the input holds NaN or inf.  STALLED if rounding stops the progress:
      info.optimality is the violation reached; loosen tol, scale y and the columns or use float64.  MAX_ITER.

    Precision: float64 reaches a violation of 1e-11 on data in similar units; float32 the default.

    Derivatives: coef and intercept with respect to X, y, C, nu, kernel and sample_weight, forward and reverse, all
      orders; exact where the set of free support vectors does not change.

    Cost: as `svr.fit`; the start has nu n rows.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, 1.0, 2.0])
    >>> fit = ji.check(ji.nu_svr.fit(X, y, nu=0.2, kernel=ji.kernels.Linear()))
    >>> print([f"{v:.2f}" for v in ji.nu_svr.predict(fit.params, X)])
    ['0.40', '1.00', '1.60']

    Source: Schoelkopf, Smola, Williamson and Bartlett 2000; Chang and Lin, LIBSVM, eqs. 12 and 13.
    Elsewhere: sklearn.svm.NuSVR, libsvm -s 4.
    """
    verb = "nu_svr.fit"
    given, dtype = _check(verb, X, y, C, nu, kernel, sample_weight)
    return _single.fit(verb, given, dtype, _build, init, tol, max_iter)


def _check(verb: str, X: Any, y: Any, C: Any, nu: Any, kernel: Any, sample_weight: Any) -> Any:
    given, dtype = _input.check_real(verb, X, y, kernel, sample_weight)
    hyper = (_input.positive(verb, "C", C, dtype, given.X.shape[:1]), _input.share(verb, "nu", nu, dtype))
    return given._replace(hyper=hyper), dtype


def _build(y: jax.Array, w: jax.Array, C: jax.Array, nu: jax.Array) -> Dual:
    """b+ in 0..C of rows above the tube, b- in -C..0 of rows below it, each a group."""
    bound = C * w
    bad = (bound < 0) | (C <= 0) | (nu <= 0) | (nu > 1)
    zero = jnp.zeros_like(y)
    up, down = _single.within(bad, zero, bound), _single.within(bad, -bound, zero)
    lower, upper = jnp.concatenate([up[0], down[0]]), jnp.concatenate([up[1], down[1]])
    half = 0.5 * nu * jnp.broadcast_to(bound, y.shape).sum()
    group = jnp.repeat(jnp.arange(2, dtype=jnp.int32), len(y))
    return Dual(jnp.concatenate([-y, -y]), lower, upper, group, jnp.stack([half, -half]))


@public
def decision(params: Machine, X: ArrayLike) -> jax.Array:
    """The predicted y, sum_i coef_i k(vectors_i, x) + intercept: (m,).

    Raises: TypeError if params are not those of a fit; ValueError for an X with other columns than those of the fit.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svr.decision(at, jnp.array([[3.0]])))
    [3.]
    """
    return _machine.decision(params, _machine.prepare("nu_svr.decision", params, X))


@public
def predict(params: Machine, X: ArrayLike) -> jax.Array:
    """The predicted y, the same as `decision`: (m,).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svr.predict(at, jnp.array([[3.0]])))
    [3.]
    """
    return _machine.decision(params, _machine.prepare("nu_svr.predict", params, X))


@public
def objective(
    params: Machine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, nu: ArrayLike = 0.5,
    sample_weight: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The dual's objective, which `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svr.objective(at, at.vectors, jnp.array([0.0, 1.0]), nu=1.0))
    -0.5
    """
    verb = "nu_svr.objective"
    given, dtype = _check(verb, X, y, C, nu, params.kernel, sample_weight)
    return _single.evaluate(verb, params, given, dtype, _build)[0]


@public
def optimality(
    params: Machine, X: ArrayLike, y: ArrayLike, *, C: ArrayLike = 1.0, nu: ArrayLike = 0.5,
    sample_weight: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The largest violation of the conditions: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([-1.0, 1.0]), jnp.array(0.0), jnp.array([[0.0], [1.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svr.optimality(at, at.vectors, jnp.array([0.0, 1.0]), nu=1.0))
    0.0
    """
    verb = "nu_svr.optimality"
    given, dtype = _check(verb, X, y, C, nu, params.kernel, sample_weight)
    return _single.evaluate(verb, params, given, dtype, _build)[1]


@public
def compact(params: Machine) -> Machine:
    """The machine of the rows whose coefficients are not 0: the same decisions from fewer rows; on the host.

    Raises: TypeError if the machine is traced; ValueError for a precomputed kernel or a batch of machines.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, 0.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svr.compact(at).vectors)
    [[1.]]
    """
    return _machine.compact("nu_svr.compact", params)


@public
def linear_coef(params: Machine) -> jax.Array:
    """The coefficients of the columns, sum_i coef_i vectors_i, of a linear kernel: (p,).

    Raises: ValueError for a kernel that is not `kernels.Linear`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0, -1.0]), jnp.array(1.0), jnp.array([[1.0], [3.0]]), ji.kernels.Linear())
    >>> print(ji.nu_svr.linear_coef(at))
    [-1.]
    """
    return _machine.linear_coef("nu_svr.linear_coef", params)
