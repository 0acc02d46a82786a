r"""A fitted model as sums over rows: what covariances and diagnostics are made of, read off the model's own objective.

The linear predictor of a row is moved by its `offset`, so the derivatives of the objective with respect to the offset
are those of each row's loss by its predictor: no model needs formulas of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxinfra._core import checks
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.types import Fit
from jaxinfra.linear import glm, huber, logistic, m_estimator, multinomial, ols, ordinal, quantile, ridge
from jaxinfra.linear._glm_input import check as check_glm
from jaxinfra.linear._glm_input import read as read_glm
from jaxinfra.solvers.cholesky import inverse_factor

SMOOTH = (ols, ridge, logistic, glm, huber, m_estimator, multinomial, ordinal)
SINGLE = (ols, ridge, logistic, glm, huber, m_estimator, quantile)  # one linear predictor a row
ROBUST = (huber, m_estimator)


class Given(NamedTuple):
    """A model with its arguments, checked: what is traced, and what is static."""

    params: Any
    X: Any
    y: Any
    w: Any
    offset: Any
    traced: dict[str, Any]


def parameters(fitted: Any) -> Any:
    """The parameters of a `Fit`, or those that were given themselves."""
    return fitted.params if isinstance(fitted, Fit) else fitted


def check(
    verb: str, model: ModuleType, params: Any, X: Any, y: Any, fixed: Mapping[str, Any] | None, sample_weight: Any,
    offset: Any, allowed: tuple[ModuleType, ...] = SMOOTH,
) -> tuple[Given, tuple[tuple[str, Any], ...]]:  # fmt: skip
    """The arguments of a fit, and those of them that are static."""
    params = parameters(params)
    if model not in allowed:
        names = ", ".join(m.__name__.rsplit(".", 1)[-1] for m in allowed)
        raise TypeError(f"{verb}: model must be one of {names}; for others bootstrap them (select.bootstrap)")
    fixed = dict(fixed or {})
    if not checks.is_zero(fixed.pop("l1", 0)) and model is not quantile:
        raise ValueError(f"{verb}: with an L1 penalty the parameters have no such errors: use select.bootstrap")
    if fixed.pop("class_weight", None) is not None:
        raise ValueError(f"{verb}: class_weight changes what a row counts: give it as sample_weight")
    checks.arguments(verb, model, fixed)
    X, y, _ = checks.design(verb, X, y)
    if jnp.ndim(params.coef) != 1 and model in SINGLE:
        what = "tau" if model is quantile else "target"
        raise ValueError(f"{verb}: one {what} at a time, got coef {jnp.shape(params.coef)}; use jax.vmap")
    w = checks.weights(verb, sample_weight, X, y)
    offset = checks.array(verb, "offset", offset) if offset is not None else None
    traced, static = checks.split(fixed)
    return Given(params, X, y, w, offset, traced), static


class Problem(NamedTuple):
    """A model of q parameters at its solution: coefficients first, then the intercept, scale apart.

    V (n, q): what the parameters are multiplied by; slope and curvature (n,): the derivatives of each row's loss by its
    predictor, a unit of weight; information (n,): what is expected of the curvature, for a GLM; w (n,); penalty (q,):
    the second derivative of the penalty, in the units of the sum of losses.
    """

    theta: jax.Array
    V: jax.Array
    slope: jax.Array
    curvature: jax.Array
    information: jax.Array
    w: jax.Array
    penalty: jax.Array

    @property
    def weight(self) -> jax.Array:
        """The sum of the weights: the number of rows."""
        return self.w.sum()

    def inverse(self, h: jax.Array) -> Inverse:
        """The inverse of V' diag(w h) V with the penalty."""
        return inverse(self.gram(h) + jnp.diag(self.penalty))

    def gram(self, h: jax.Array) -> jax.Array:
        """V' diag(w h) V."""
        return dot(self.V.T, (self.w * h)[:, None] * self.V)


def total(model: ModuleType, given: Given, static: tuple[tuple[str, Any], ...]) -> Any:
    """(params, weights, offset) -> the sum of the losses, without the penalty."""
    accepted = inspect.signature(model.objective).parameters
    fixed = {k: v for k, v in {**given.traced, **dict(static)}.items() if k in accepted}
    if "l2" in accepted:
        fixed["l2"] = 0.0

    def value(params: Any, w: jax.Array, offset: jax.Array | None) -> jax.Array:
        return model.objective(params, given.X, given.y, sample_weight=w, offset=offset, **fixed) * w.sum()

    return value


def dtype_of(given: Given) -> Any:
    """The working dtype."""
    arrays = (given.X, given.y if jnp.issubdtype(given.y.dtype, jnp.floating) else None, given.params.coef)
    return checks.working_dtype(*arrays)


def weights(given: Given) -> jax.Array:
    """The weights of the rows in the working dtype."""
    dtype = dtype_of(given)
    return jnp.ones(given.X.shape[0], dtype) if given.w is None else jnp.asarray(given.w, dtype)


def _penalty(given: Given, static: tuple[tuple[str, Any], ...], shape: tuple[int, ...]) -> jax.Array:
    l2 = {**given.traced, **dict(static)}.get("l2", 0.0)
    return jnp.broadcast_to(jnp.asarray(l2, dtype_of(given)), shape).ravel() * weights(given).sum()


def has_intercept(static: tuple[tuple[str, Any], ...]) -> bool:
    """Whether the intercept was fitted."""
    return bool(dict(static).get("fit_intercept", True))


def single(model: ModuleType, given: Given, static: tuple[tuple[str, Any], ...]) -> Problem:
    """A model of one linear predictor; a scale of the residuals is taken as known."""
    dtype, w, params = dtype_of(given), weights(given), given.params
    X = jnp.asarray(given.X, dtype)
    offset = jnp.zeros_like(w) if given.offset is None else jnp.asarray(given.offset, dtype)
    value = total(model, given, static)
    gradient = jax.grad(lambda o: value(params, w, o))
    slope, curvature = jax.jvp(gradient, (offset,), (jnp.ones_like(offset),))
    each = jnp.where(w > 0, 1 / jnp.where(w > 0, w, 1), 0)
    curvature = curvature * each
    information = curvature
    if model is glm:
        rest = {**given.traced, **dict(static)}
        raw, loss, _, _ = check_glm(
            "infer", given.X, given.y, rest["family"], params.link, rest.get("exposure"), given.w, given.offset
        )
        eta = dot(X, jnp.asarray(params.coef, dtype)) + params.intercept
        known = read_glm(raw).offset
        information = loss.family.information(eta if known is None else eta + known, loss.link)
    theta, V = jnp.asarray(params.coef, dtype), X
    penalty = _penalty(given, static, theta.shape)
    if has_intercept(static):
        theta = jnp.append(theta, params.intercept)
        V, penalty = jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1), jnp.append(penalty, 0)
    return Problem(theta, V, slope * each, curvature, information, w, penalty)


class General(NamedTuple):
    """A model of several predictors a row, of q parameters in the order of its leaves.

    score (n, q): the derivative of each row's loss; H (q, q): the second derivative of their weighted sum; gauge
    (q, g): orthonormal directions that change no prediction.
    """

    score: jax.Array
    H: jax.Array
    w: jax.Array
    penalty: jax.Array
    gauge: jax.Array


def general(model: ModuleType, given: Given, static: tuple[tuple[str, Any], ...]) -> General:
    """Scores and Hessian by forward derivatives of each row's loss."""
    dtype, w = dtype_of(given), weights(given)
    offset = None if given.offset is None else jnp.asarray(given.offset, dtype)
    value = total(model, given, static)
    params = jax.tree.map(lambda v: jnp.asarray(v, dtype), given.params)
    theta, unravel = ravel_pytree(params)
    losses = jax.grad(lambda v, w: value(unravel(v), w, offset), 1)  # linear in w: the loss of every row
    score = jax.jacfwd(lambda v: losses(v, w))(theta)
    H = jax.hessian(lambda v: value(unravel(v), w, offset))(theta)
    coef = params.coef
    penalty = jnp.pad(_penalty(given, static, coef.shape), (0, len(theta) - coef.size))
    keep = jnp.arange(len(theta))
    gauge = jnp.zeros((len(theta), 0), dtype)
    if model is multinomial:
        p, K = coef.shape
        gauge = jnp.kron(jnp.eye(p + 1, dtype=dtype), jnp.ones((K, 1), dtype) / jnp.sqrt(jnp.asarray(K, dtype)))
        if not has_intercept(static):
            keep, gauge = keep[: p * K], gauge[: p * K, :p]
    return General(score[:, keep], H[keep][:, keep], w, penalty[keep], gauge)


class Inverse(NamedTuple):
    """H^-1 (q, q), a generalised one where H is singular, and which parameters H does not determine (q,)."""

    matrix: jax.Array
    lost: jax.Array

    def sandwich(self, meat: jax.Array) -> jax.Array:
        """H^-1 meat H^-1, NaN in the rows and columns of parameters that are not determined."""
        return self.marked(dot(self.matrix, dot(meat, self.matrix)))

    def marked(self, matrix: jax.Array) -> jax.Array:
        """NaN in those rows and columns."""
        return jnp.where(self.lost[:, None] | self.lost[None], jnp.nan, matrix)


def inverse(H: jax.Array, gauge: jax.Array | None = None) -> Inverse:
    """The inverse of a symmetric H.

    Directions without curvature are left out; what is orthogonal to all of them keeps its inverse.  A gauge is a known
    direction of that kind, on which parameters are 0 by convention.
    """
    q = H.shape[0]
    diagonal = jnp.diagonal(H)
    d = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    C = H / (d[:, None] * d[None])
    limit = 64 * q * eps(H.dtype)
    T = inverse_factor(C[None])[0]
    # The diagonal of C^-1 are variance inflations.
    plain = dot(T.T, T)
    definite = jnp.isfinite(T).all() & (jnp.diagonal(plain).max() < 1 / limit) & (diagonal > 0).all()
    # Of a matrix that is not needed an eigendecomposition with derivatives.
    values, U = jnp.linalg.eigh(jnp.where(definite, jnp.diag(jnp.arange(1, q + 1, dtype=H.dtype)), C))
    flat = values <= limit * jnp.maximum(values[-1], 1)
    free = U / d[:, None]
    matrix = dot(free * jnp.where(flat, 0, 1 / jnp.where(flat, 1, values))[None], free.T)
    matrix = jnp.where(definite, jnp.where(definite, plain, 1) / (d[:, None] * d[None]), matrix)
    null = jnp.where(flat[None], free, 0)
    if gauge is not None and gauge.shape[1]:
        null = null - dot(gauge, dot(gauge.T, null))
        project = jnp.eye(q, dtype=H.dtype) - dot(gauge, gauge.T)
        matrix = dot(project, dot(matrix, project))
    size = jnp.abs(free).max()
    lost = jnp.abs(null).max(1) > 1e3 * eps(H.dtype) ** 0.5 * size
    lost = ~definite & (lost | ~jnp.isfinite(values).all())
    return Inverse(jnp.where(jnp.isfinite(values).all(), matrix, jnp.nan), lost)
