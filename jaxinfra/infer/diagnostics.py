r"""Residuals, leverage, and the influence of every row on the fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra._core import checks, problem, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot, positive
from jaxinfra._core.types import Fit
from jaxinfra.infer import _problem
from jaxinfra.infer._inverse import Inverse
from jaxinfra.infer._problem import Fitted, OnePredictor, Static
from jaxinfra.infer.covariance import (
    dispersion_of,
    estimates_dispersion,
    leverage_of,
    over_df,
    residual_df,
    without_own,
)

RESIDUALS = ("response", "working", "pearson", "deviance", "standardized", "studentized")
_OF_ROBUST = ("response", "pearson", "standardized")


def _has_residuals(facts: Facts) -> bool:
    return facts.one_predictor and facts.smooth


class _At(NamedTuple):
    """The problem, H^-1, the residual degrees of freedom, and the dispersion."""

    p: OnePredictor
    bread: Inverse
    df: jax.Array
    dispersion: jax.Array

    @property
    def solved(self) -> jax.Array:
        """Whether the parameters solve the problem."""
        return self.p.solved(self.bread, self.dispersion)


def _at(model: ModuleType, given: Fitted, static: Static) -> _At:
    p = _problem.one_predictor(model, given, static)
    bread = p.inverse(p.information)
    df = residual_df(p, bread)
    return _At(p, bread, df, dispersion_of(p, given, model, static, df))


def residuals(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, kind: str = "response", sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    r"""The residuals of a fit: (n,).

    Args:
      fit: of ols, ridge, logistic, glm, huber or m_estimator, traced.
      X, y, sample_weight, offset, exposure: as in `covariance`.
      kind: static.  "response" y - mu; "working" (y - mu) deta/dmu; "pearson" (y - mu) / sqrt(V); "deviance", the
        signed root of the unit deviance; "standardized" pearson / sqrt(dispersion (1 - h)); "studentized" the same with
        the dispersion of the other rows.  Robust models have "response", "pearson", over the scale, and "standardized".

    Raises:
      ValueError for a kind that the model does not have.  The others as `leverage`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.residuals(ji.ols.fit(X, y), X, y).round(3))
    [-1.  1. -1.  1.]

    Source: McCullagh and Nelder (1989), section 2.4; Cook and Weisberg 1982, section 2.2.
    """
    verb = "infer.residuals"
    if kind not in RESIDUALS:
        raise ValueError(f"{verb}: kind must be one of {', '.join(RESIDUALS)}, got {kind!r}")
    model, given, static = _problem.check(verb, fit, X, y, sample_weight, offset, exposure, _has_residuals)
    if model.FACTS.robust and kind not in _OF_ROBUST:
        raise ValueError(f"{verb}: kind of a robust model must be one of {', '.join(_OF_ROBUST)}, got {kind!r}")
    return _problem.solution(verb, model, *_residuals(given, model=model, static=static, kind=kind))


@partial(jax.jit, static_argnames=("model", "static", "kind"))
@rows.replicated
def _residuals(given: Fitted, *, model: ModuleType, static: Static, kind: str) -> tuple[jax.Array, jax.Array]:
    at = _at(model, given, static)
    return _residuals_at(at, given, model, static, kind), at.solved


def _residuals_at(at: _At, given: Fitted, model: ModuleType, static: Static, kind: str) -> jax.Array:
    p = at.p
    if kind == "response" or model.FACTS.robust:
        known = {k: given.traced[k] for k in ("exposure",) if k in given.traced}
        y = jnp.asarray(given.y, p.V.dtype)
        if hasattr(model, "predict_proba"):
            return y - model.predict_proba(given.params, given.X, offset=given.offset)[:, 1]
        r = y - model.predict(given.params, given.X, offset=given.offset, **known)
        # The slope of a robust loss ends where a row counts as an outlier: its residual is read off y.
        if kind == "response":
            return r
        return r / given.params.scale / (jnp.sqrt(without_own(p, at.bread)[0]) if kind == "standardized" else 1)
    safe = positive(p.information)
    if kind == "working":
        return jnp.where(p.information > 0, -p.slope / safe, 0)
    # Where the mean falls with the predictor the slope of the loss has the sign of y - mu.
    if kind == "deviance":
        given = _problem.present(given)
        offset = None if given.offset is None else jnp.asarray(given.offset, p.V.dtype)
        losses = jax.grad(lambda w: _problem.total(model, given, static)(given.params, w, offset))
        return -p.rises * jnp.sign(p.slope) * jnp.sqrt(2 * jnp.maximum(losses(p.w), 0))
    pearson = jnp.where(p.information > 0, -p.rises * p.slope / jnp.sqrt(safe), 0)
    if kind == "pearson":
        return pearson
    internal = pearson / jnp.sqrt(at.dispersion * without_own(p, at.bread)[0])
    if kind == "standardized" or not estimates_dispersion(model, given.traced.get("family")):
        return internal
    # Without row i the sum of squares is less by internal^2, and one degree of freedom is gone.
    return internal * jnp.sqrt(over_df(at.df - 1, at.df - internal**2))


def leverage(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The leverage of each row, (n,), between 0 and 1: the diagonal of the hat matrix, its own share in its fit.

    Of a row of weight 2 it is that of each copy.  Of a robust model it is 0 for the rows whose residual is so large
    that a change of it changes nothing.

    Args:
      fit: of ols, ridge, logistic, glm, huber or m_estimator, traced.
      X, y, sample_weight, offset, exposure: as in `covariance`.

    Raises:
      TypeError for a fit of another model.  The others as `covariance`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.leverage(ji.ols.fit(X, y), X, y).round(3))
    [0.5 0.5 0.5 0.5]
    """
    verb = "infer.leverage"
    model, given, static = _problem.check(verb, fit, X, y, sample_weight, offset, exposure, _has_residuals)
    return _problem.solution(verb, model, *_leverage(given, model=model, static=static))


@partial(jax.jit, static_argnames=("model", "static"))
@rows.replicated
def _leverage(given: Fitted, *, model: ModuleType, static: Static) -> tuple[jax.Array, jax.Array]:
    at = _at(model, given, static)
    return leverage_of(at.p, at.bread), at.solved


def cooks_distance(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Cook's distance (n,): the change of all predictions without a row, over q times the dispersion; above 1 is large.

    By one Newton step from the fit of all rows, d'Hd / (q dispersion) with d = H^-1 v u / (1 - h), u the slope of the
    row's loss; of robust models at a fixed scale.

    Args:
      fit, X, y, sample_weight, offset, exposure: as in `leverage`.

    Raises:
      TypeError and ValueError as `leverage`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.cooks_distance(ji.ols.fit(X, y), X, y).round(3))
    [0.5 0.5 0.5 0.5]

    Source: Cook 1977; Pregibon 1981 for GLMs.
    """
    verb = "infer.cooks_distance"
    model, given, static = _problem.check(verb, fit, X, y, sample_weight, offset, exposure, _has_residuals)
    return _problem.solution(verb, model, *_cooks(given, model=model, static=static))


@partial(jax.jit, static_argnames=("model", "static"))
@rows.replicated
def _cooks(given: Fitted, *, model: ModuleType, static: Static) -> tuple[jax.Array, jax.Array]:
    at = _at(model, given, static)
    p, dispersion = at.p, at.dispersion
    if model.FACTS.robust:
        dispersion = given.params.scale**model.FACTS.scale_power
    left, _ = without_own(p, at.bread)
    square = p.slope**2 * (at.bread.white(p.V) ** 2).sum(1)
    return square / (left**2 * dispersion * (p.weight - at.df)), at.solved


def leave_one_out(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    r"""The parameters without each row, (n, q): coefficients, then the intercept.

    .. math:: \theta_{(i)} = \theta + \frac{H^{-1} v_i\, u_i}{1 - h_i}

    exact for least squares (with an L2 penalty: at the same sum of weights times l2), one step of Newton's method from
    the fit of all rows for the other models, of robust ones with the scale of all rows.  Of a row of weight 2 one copy
    is left out.

    Args:
      fit, X, y, sample_weight, offset, exposure: as in `leverage`.

    Raises:
      TypeError and ValueError as `leverage`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.leave_one_out(ji.ols.fit(X, y), X, y)[0].round(2))  # slope 5 - 3 without row 0
    [2. 3.]

    Source: Miller 1974; Pregibon 1981.
    """
    verb = "infer.leave_one_out"
    model, given, static = _problem.check(verb, fit, X, y, sample_weight, offset, exposure, _has_residuals)
    return _problem.solution(verb, model, *_leave_one_out(given, model=model, static=static))


@partial(jax.jit, static_argnames=("model", "static"))
@rows.replicated
def _leave_one_out(given: Fitted, *, model: ModuleType, static: Static) -> tuple[jax.Array, jax.Array]:
    at = _at(model, given, static)
    p = at.p._replace(information=at.p.curvature)
    bread = at.bread if at.p.curvature is at.p.information else p.inverse(p.curvature)
    left, alone = without_own(p, bread)
    step = dot(bread.white(p.V), bread.outer.T) * jnp.where(jnp.isnan(left), 0, p.slope / left)[:, None]
    # Without a row that decides a parameter alone that is free.
    return jnp.where(bread.undetermined[None] | alone, jnp.nan, p.theta[None] + step), at.solved


def influence(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, of: Callable[[Any], Any] | None = None,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, exposure: ArrayLike | None = None,
    tol: ArrayLike | None = None,
) -> Any:  # fmt: skip
    r"""The effect of one more unit of weight of each row on a function of the parameters, to first order.

    .. math:: \frac{\partial\, \varphi(\hat\theta)}{\partial s_i}

    by the derivative of the fit itself: one vector-Jacobian product for a scalar function, whatever its number of rows
    and parameters.  The infinitesimal jackknife: without row i the function is about
    :math:`\varphi(\hat\theta) - s_i\, \partial \varphi / \partial s_i`.

    Args:
      fit: of a model whose parameters have derivatives with respect to weights: all of the library but `quantile` and
        `theil_sen`, where they are 0.  It is fitted again with its arguments; its parameters are not used.
      X, y: the data that it was given, traced.
      of: params -> an array of any shape, or a pytree of arrays, static (pass one function, not a new lambda each time,
        which would compile again); None means the parameters themselves.
      sample_weight, offset, exposure: (n,), as the fit was given them, traced.
      tol: that of the fit, traced; None means the model's default.

    Returns:
      The value of `of` with one more axis at the end: (..., n).

    Raises:
      TypeError for a fit without its problem, and an argument that its model's `fit` does not have.  ValueError for
      shapes that do not match, and row arguments that the fit was given and that are missing here.

    Cost: a fit, and a vector-Jacobian product for each number that `of` returns.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.influence(ji.ols.fit(X, y), X, y).intercept.round(3))  # of the mean of the first two, 2
    [-0.5  0.5  0.   0. ]

    Source: Hampel 1974; Giordano et al. 2019, A Swiss army infinitesimal jackknife.
    """
    verb = "infer.influence"
    X, y, dtype = checks.design(verb, X, y)
    w = checks.weights(verb, sample_weight, X, y)
    w = jnp.ones(np.shape(X)[0], dtype) if w is None else jnp.asarray(w, dtype)
    model, known = problem.asked(verb, fit, {"sample_weight": sample_weight, "offset": offset, "exposure": exposure})
    rows = {"offset": offset, "exposure": exposure, "tol": tol}
    traced, static = checks.split({**known, **{name: value for name, value in rows.items() if value is not None}})
    return _influence(X, y, w, traced, model=model, static=static, of=of)


@partial(jax.jit, static_argnames=("model", "static", "of"))
def _influence(
    X: Any, y: Any, w: jax.Array, traced: dict[str, Any], *, model: ModuleType, static: Static,
    of: Callable[[Any], Any] | None,
) -> Any:  # fmt: skip
    def function(w: jax.Array) -> Any:
        params = model.fit(X, y, sample_weight=w, **traced, **dict(static)).params
        return params if of is None else of(params)

    return jax.jacrev(function)(w)
