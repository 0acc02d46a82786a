r"""M-estimators: robust regression with any norm of the residuals and a robust scale."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra import norms
from jaxinfra._core import affine, checks, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear, Scaled
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.norms import Norm
from jaxinfra.solvers.robust import m_estimator
from jaxinfra.solvers.robust import residual_scale as scales

FACTS = Facts(scale_power=2)

_ESTIMATORS = ("mad", "proposal2")


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, norm: Norm | None = None, scale: ArrayLike | str = "mad",
    k2: ArrayLike | None = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    init: Linear | Scaled | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 200,
    fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Solve the estimating equations of a robust norm: regression that is robust to large residuals.

    .. math:: \sum_i s_i\, \psi(r_i / \sigma)\, (x_i, 1) = 0, \qquad r_i = y_i - o_i - x_i^\top w - b, \qquad
              \sigma = S(r)

    which is the gradient, for the scale that comes out, of :math:`\sum_i s_i \sigma^2 \rho(r_i / \sigma) / \sum_i s_i`.

    Args:
      X: (n, p) real, traced.
      y: (n,) real, traced.
      norm: one of `jaxinfra.norms`, its constants traced; None means Huber(1.345).
      scale: "mad" (the median of |r| over 0.6745) or "proposal2" (Huber's, which tolerates fewer outliers), static:
        estimated again at every step; or a number, traced: the known scale, in units of y.
      k2: the cutoff of proposal2 on residuals in units of the scale, above 0, traced; None means 2.5, statsmodels' d;
        MASS::rlm has 1.345.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
        proposal2 takes sum(sample_weight) as the number of rows.
      offset: (n,) in units of y, traced; subtracted from y.
      init: Linear or Scaled to start from (its scale is not used).  None starts from least squares, followed by
        Huber's norm where the norm redescends.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of steps, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,), params.intercept () in units of y per unit of x, params.scale () in units of
      y.  info.optimality is the largest entry of the equations over sum(sample_weight), for a coefficient per root mean
      square of its column.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a norm not from
        `jaxinfra.norms`, a max_iter that is not an integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match, a scale string other than "mad" and "proposal2", k2 without "proposal2"; on
        the host (Python or NumPy) also a scale, k2 or constant of the norm that is not above 0, or a negative
        sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  MAX_ITER; STALLED if the steps make no progress: loosen tol.  ZERO_SCALE with NaN if the scale
      is 0: half of the rows are fitted exactly, so give a scale or use `quantile`.  SINGULAR with NaN if the rows whose
      weight psi(z) / z is not 0 are fewer than the parameters (all are outliers: another start, a larger constant or
      scale), for a negative weight or constant, or if all weights are 0.  NONFINITE with NaN if the input is not
      finite.

    A redescending norm has several solutions; which one is returned depends on the start.  Outliers in X that dominate
    least squares and Huber's norm require another start, such as that of `ransac`.  Duplicated and constant columns are
    allowed; how they share their coefficient is not determined.

    Precision: float64 reaches an optimality of 1e-12 and below, float32 about 1e-6.

    Derivatives: params with respect to X, y, the constants of the norm, k2, a known scale, sample_weight and offset,
      forward and reverse, all orders, exact where the rows that define the median do not change and none crosses a kink
      of psi.

    Cost: n p^2 flops, p^3 / 3 and, for the scale, about 64 sums over n a step; 10 to 50 steps.  Memory: p^2 and five
      vectors of n; a derivative takes 2 p + 2 more.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.arange(8.0)[:, None], jnp.array([0.1, 0.9, 2.1, 2.9, 4.1, 4.9, 6.1, 70.0])
    >>> fit = ji.check(ji.m_estimator.fit(X, y, norm=ji.norms.Tukey()))
    >>> print(f"{fit.params.coef[0]:.3f} {fit.params.intercept:.3f}")  # the last row has weight 0
    1.000 0.016

    Source: Huber, Robust Statistics (1981), chapter 7.  Elsewhere: statsmodels RLM (scale_est = "mad" or HuberScale()),
    R's MASS::rlm.
    """
    verb = "m_estimator.fit"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    estimator, constant = _scale(verb, scale, k2, dtype)
    norm = _norm(verb, norm, dtype)
    fitted = _fit(
        given, norm, constant, None if init is None else Linear(init.coef, init.intercept),
        checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter), estimator=estimator,
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip
    return fitted._replace(problem={"norm": norm})


def _norm(verb: str, norm: Any, dtype: np.dtype) -> Norm:
    """The norm with its constants as arrays."""
    norm = norms.Huber() if norm is None else norm
    if not isinstance(norm, Norm):
        raise TypeError(f"{verb}: norm must be one of jaxinfra.norms such as norms.Tukey(4.685), got {norm!r}")
    return jax.tree.map(lambda v: _input.scalar(verb, f"a constant of {norm!r}", v, dtype, above=0.0), norm)


def _scale(verb: str, scale: Any, k2: Any, dtype: np.dtype) -> tuple[str, Any]:
    """The name of the estimator, and the number that it takes: proposal 2's cutoff, or the scale that is known."""
    if k2 is not None and not (isinstance(scale, str) and scale == "proposal2"):
        raise ValueError(f'{verb}: k2 is the cutoff of scale="proposal2", got k2 = {k2!r} with scale = {scale!r}')
    if isinstance(scale, str):
        if scale not in _ESTIMATORS:
            raise ValueError(f'{verb}: scale must be "mad", "proposal2" or a number, got {scale!r}')
        k2 = scales.K2 if k2 is None else k2
        return scale, _input.scalar(verb, "k2", k2, dtype, above=0.0) if scale == "proposal2" else None
    return "known", _input.scalar(verb, "scale", scale, dtype, above=0.0)


@staged(static=("estimator", "fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, norm: Norm, constant: jax.Array | None, init: Linear | None, tol: jax.Array | None,
    max_iter: jax.Array, *, estimator: str, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    return m_estimator.solve(
        _input.read(given), norm, constant, init, estimator=estimator, fit_intercept=fit_intercept, blocked=blocked,
        tol=tol, max_iter=max_iter, rare=rare,
    )  # fmt: skip


@public
def decision(params: Scaled, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([2.0]), jnp.array(1.0), jnp.array(0.5))
    >>> print(ji.m_estimator.decision(at, jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("m_estimator.decision", params, X, offset)


@public
def predict(params: Scaled, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The response of a row that is no outlier, which is the linear predictor: (n,), in units of y.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([2.0]), jnp.array(1.0), jnp.array(0.5))
    >>> print(ji.m_estimator.predict(at, jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("m_estimator.predict", params, X, offset)


@public
def objective(
    params: Scaled, X: ArrayLike, y: ArrayLike, *, norm: Norm | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The weighted mean of scale^2 * rho(r / scale): what `fit` minimises for the scale in params.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([0.0]), jnp.array(0.0), jnp.array(1.0))
    >>> X, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, -4.0])
    >>> print(ji.m_estimator.objective(at, X, y, norm=ji.norms.Huber(2.0)))  # (1/2 + 6) / 2
    3.25
    """
    verb = "m_estimator.objective"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    return _objective(params, given, _norm(verb, norm, dtype))


@jax.jit
@rows.replicated
def _objective(params: Scaled, given: Given, norm: Norm) -> jax.Array:
    X, y, w, _ = _input.read(given)
    z = (y - dot(X, params.coef) - params.intercept) / params.scale
    w = or_ones(w, z)
    return params.scale**2 * dot(w, norm.rho(z)) / w.sum()


@public
def optimality(
    params: Scaled, X: ArrayLike, y: ArrayLike, *, norm: Norm | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective` for the scale in params, as Linear: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Scaled(jnp.array([0.0]), jnp.array(0.0), jnp.array(1.0))
    >>> X, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, -4.0])
    >>> print(ji.m_estimator.optimality(at, X, y, norm=ji.norms.Huber(2.0)).coef)  # -(1 * 1 - 2 * 2) / 2
    [1.5]
    """
    verb = "m_estimator.optimality"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    fit_intercept = checks.flag(verb, "fit_intercept", fit_intercept)
    return _optimality(params, given, _norm(verb, norm, dtype), fit_intercept=fit_intercept)


@partial(jax.jit, static_argnames="fit_intercept")
@rows.replicated
def _optimality(params: Scaled, given: Given, norm: Norm, *, fit_intercept: bool) -> Linear:
    g = jax.grad(_objective)(params, given, norm)
    return Linear(g.coef, g.intercept if fit_intercept else jnp.zeros_like(g.intercept))
