r"""A fitted model as sums over rows, for covariances and diagnostics, derived from the model's own objective.

The `offset` of a row adds to its linear predictor, so the derivatives of the objective with respect to the offset are
those of each row's loss by its predictor: no model needs its own formulas.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxinfra import linear
from jaxinfra._core import absent, checks, problem
from jaxinfra._core import compensated as cp
from jaxinfra._core.facts import Facts
from jaxinfra._core.implicit import frozen
from jaxinfra._core.precision import default_tol, dot, positive
from jaxinfra._core.types import Fit
from jaxinfra.infer._design import Design, design
from jaxinfra.infer._inverse import Inverse, inverse
from jaxinfra.linear import _glm_input
from jaxinfra.losses import Likelihood
from jaxinfra.solvers.linalg.design import Data

# A solution may be off by so many default tolerances: fits stop at theirs, and users choose larger ones.
LOOSE = 30

T = TypeVar("T")


class Fitted(NamedTuple):
    """The params of a fit and its arguments, checked; `traced` has its hyper-parameters, and the exposure, by name."""

    params: Any
    X: Any
    y: Any
    w: Any
    offset: Any
    traced: dict[str, Any]


Static = tuple[tuple[str, Any], ...]  # (name, value) of the settings of a fit


def check(
    verb: str, fit: Fit, X: Any, y: Any, sample_weight: Any, offset: Any, exposure: Any,
    suits: Callable[[Facts], bool] = lambda facts: True,
) -> tuple[ModuleType, Fitted, Static]:  # fmt: skip
    """The model of a fit, its arguments, and those of them that are static; suits: which models are allowed."""
    given = {"sample_weight": sample_weight, "offset": offset, "exposure": exposure}
    model, fixed = problem.asked(verb, fit, given)
    params = fit.params
    facts = facts_of(model)
    if facts is None or not suits(facts):
        found = {name: facts_of(getattr(linear, name)) for name in linear.__all__}
        names = ", ".join(name for name, facts in found.items() if facts and suits(facts))
        raise TypeError(
            f"{verb}: the fit must be one of {names}, got {fit.problem.model}; bootstrap others (select.bootstrap)"
        )
    l1 = fixed.pop("l1", 0)
    if facts.smooth and (isinstance(l1, jax.core.Tracer) or np.any(l1)):
        raise ValueError(f"{verb}: with an L1 penalty the parameters have no such errors: use select.bootstrap")
    if fixed.pop("class_weight", None) is not None:
        raise ValueError(f"{verb}: class_weight changes what a row counts: give it as sample_weight")
    X, y, _ = checks.design(verb, X, y)
    if exposure is not None:
        fixed["exposure"] = checks.rows_like(verb, "exposure", exposure, X, y)
    if jnp.ndim(params.coef) != 1 and facts.one_predictor:
        what = "target" if facts.smooth else "tau"
        raise ValueError(f"{verb}: one {what} at a time, got coef {jnp.shape(params.coef)}; use jax.vmap")
    w = checks.weights(verb, sample_weight, X, y)
    offset = checks.array(verb, "offset", offset) if offset is not None else None
    traced, static = checks.split(fixed)
    return model, Fitted(params, X, y, w, offset, traced), static


def facts_of(model: ModuleType) -> Facts | None:
    """The facts that a model declares; None where it has no standard errors."""
    return getattr(model, "FACTS", None)


def of_family(given: Fitted, static: Static) -> tuple[Data, Likelihood]:
    """The rows of a generalised linear model in the working dtype, and its loss."""
    rest = {**given.traced, **dict(static)}
    exposure = rest.get("exposure")
    rows = (given.X, given.y, rest["family"], given.params.link, exposure, given.w, given.offset)
    checked, loss, _ = _glm_input.check("infer", *rows)
    return _glm_input.read(checked), loss


def present(given: Fitted) -> Fitted:
    """The arguments with the content of rows of weight 0 replaced."""
    exposure = given.traced.get("exposure")
    X, y, offset, exposure = absent.replaced(given.w, given.X, given.y, given.offset, exposure)
    traced = given.traced if exposure is None else {**given.traced, "exposure": exposure}
    return given._replace(X=X, y=y, offset=offset, traced=traced)


class OnePredictor(NamedTuple):
    """A model of q parameters theta at its solution: coefficients first, then the intercept, scale apart.

    slope and curvature (n,): the derivatives of each row's loss by its predictor, per unit of weight; information (n,):
    for a GLM the expected curvature, else the curvature; rises (n,): the sign of the derivative of the mean by the
    predictor; w (n,); penalty (q,): the second derivative of the penalty by theta, in the units of the sum of losses.
    """

    theta: jax.Array
    design: Design
    predictor: jax.Array
    slope: jax.Array
    curvature: jax.Array
    information: jax.Array
    rises: jax.Array
    w: jax.Array
    penalty: jax.Array

    @property
    def V(self) -> jax.Array:
        """The rows in the coordinates of the design."""
        return self.design.V

    @property
    def weight(self) -> jax.Array:
        """The sum of the weights, which counts as the number of rows."""
        return self.w.sum()

    def inverse(self, h: jax.Array) -> Inverse:
        """The inverse of V' diag(w h) V with the penalty."""
        back = self.design.back
        return inverse(self.V, self.w * h, dot(back.T, self.penalty[:, None] * back), back)

    def inner(self, bread: Inverse, h: jax.Array) -> jax.Array:
        """The matrix V' diag(w h) V in the white coordinates of an inverse."""
        return bread.inner(self.V, self.w * h)

    def solved(self, bread: Inverse, dispersion: jax.Array) -> jax.Array:
        """Whether the gradient vanishes at theta: (), bool.

        False where a Newton step moves a parameter by more than a twentieth of its standard error, and the predictors
        by more than the tolerance of fits allows, relative to the variation of predictors and residuals.
        """
        g = dot(self.w * self.slope, self.V) + dot(self.design.back.T, self.penalty * self.theta)
        step, variance = bread.apply(g), dispersion * bread.variance
        errors = jnp.where(variance > 0, jnp.abs(step) / jnp.sqrt(positive(variance)), 0)
        h = self.w * jnp.maximum(self.information, 0)
        mean = dot(h, self.predictor) / positive(h.sum())
        left = jnp.where(h > 0, self.w * self.slope**2 / jnp.where(h > 0, self.information, 1), 0)
        size = dot(h, (self.predictor - mean) ** 2) + left.sum()
        moved = dot(h, dot(self.V, step) ** 2)
        return ~((errors.max() > 0.05) & (moved > (LOOSE * default_tol(size.dtype)) ** 2 * size))


def total(model: ModuleType, given: Fitted, static: Static) -> Any:
    """The function (params, weights, offset) -> the sum of the losses, without the penalty."""
    accepted = inspect.signature(model.objective).parameters
    fixed = {k: v for k, v in {**given.traced, **dict(static)}.items() if k in accepted}
    if "l2" in accepted:
        fixed["l2"] = 0.0

    def value(params: Any, w: jax.Array, offset: jax.Array | None) -> jax.Array:
        return model.objective(params, given.X, given.y, sample_weight=w, offset=offset, **fixed) * w.sum()

    return value


def dtype_of(given: Fitted) -> Any:
    """The working dtype."""
    arrays = (given.X, given.y if jnp.issubdtype(given.y.dtype, jnp.floating) else None, given.params.coef)
    return checks.working_dtype(*arrays)


def weights(given: Fitted) -> jax.Array:
    """The weights of the rows in the working dtype."""
    dtype = dtype_of(given)
    return jnp.ones(given.X.shape[0], dtype) if given.w is None else jnp.asarray(given.w, dtype)


def _penalty(given: Fitted, static: Static, shape: tuple[int, ...]) -> jax.Array:
    l2 = {**given.traced, **dict(static)}.get("l2", 0.0)
    return jnp.broadcast_to(jnp.asarray(l2, dtype_of(given)), shape).ravel() * weights(given).sum()


def has_intercept(static: Static) -> bool:
    """Whether the intercept was fitted."""
    return bool(dict(static).get("fit_intercept", True))


def predictor(given: Fitted) -> jax.Array:
    """The predictor x'coef + intercept + offset, (n,), in double-word arithmetic: with large means its terms cancel."""
    dtype, params = dtype_of(given), given.params
    X, coef, b = (jnp.asarray(a, dtype) for a in (given.X, params.coef, params.intercept))
    offset = jnp.zeros_like(X[:, 0]) if given.offset is None else jnp.asarray(given.offset, dtype)
    plain = dot(X, coef) + b + offset
    exact = frozen((X, coef, b, offset))
    eta = cp.sum_pairs(cp.mul(exact[0], jnp.broadcast_to(exact[1], X.shape)), 1)
    eta = cp.add(cp.normalise(eta), cp.two_sum(jnp.broadcast_to(exact[2], offset.shape), exact[3]))
    return plain + (eta[0] + eta[1] - frozen(plain))


def one_predictor(model: ModuleType, given: Fitted, static: Static) -> OnePredictor:
    """A model of one linear predictor; a scale of the residuals is taken as known."""
    given = present(given)
    dtype, w, params = dtype_of(given), weights(given), given.params
    X, eta = jnp.asarray(given.X, dtype), predictor(given)
    # The losses depend on the predictor alone.
    none = params._replace(coef=jnp.zeros(1, dtype), intercept=jnp.zeros((), dtype))
    alone = given._replace(params=none, X=jnp.zeros_like(X[:, :1]), offset=eta)
    value = total(model, alone, static)
    gradient = jax.grad(lambda o: value(none, w, o))
    slope, curvature = jax.jvp(gradient, (eta,), (jnp.ones_like(eta),))
    each = jnp.where(w > 0, 1 / positive(w), 0)
    curvature = curvature * each
    information, rises = curvature, jnp.ones_like(eta)
    if model.FACTS.likelihood == "family":
        data, loss = of_family(alone, static)
        moved: Any = data.offset  # the predictor, with the log exposure
        information, rises = loss.family.information(moved, loss.link), jnp.sign(loss.link.slope(moved))
    theta = jnp.asarray(params.coef, dtype)
    penalty = _penalty(given, static, theta.shape)
    if has_intercept(static):
        theta, penalty = jnp.append(theta, params.intercept), jnp.append(penalty, 0)
    columns = design(X, w, has_intercept(static))
    return OnePredictor(theta, columns, eta, slope * each, curvature, information, rises, w, penalty)


class SeveralPredictors(NamedTuple):
    """A model of several predictors per row, with q parameters in the order of its leaves.

    In the coordinates of its design: score (n, q), the derivative of each row's loss; H (q, q), the second derivative
    of their weighted sum; D (q, q), that of the penalty; slope (q,), its first; gauge (q, g), orthonormal directions
    that change no prediction, zeros where a penalty decides.
    """

    score: jax.Array
    H: jax.Array
    w: jax.Array
    D: jax.Array
    slope: jax.Array
    back: jax.Array
    gauge: jax.Array | None

    @property
    def inverse(self) -> Inverse:
        """The inverse of H with the penalty."""
        none = jnp.zeros_like(self.score[:0])
        return inverse(none, none[:, 0], self.H + self.D, self.back, self.gauge)

    def fitted(self, bread: Inverse) -> jax.Array:
        """The matrix H in the white coordinates of an inverse; its trace is the effective number of parameters."""
        return dot(bread.root.T, dot(self.H, bread.root))

    def solved(self, bread: Inverse) -> jax.Array:
        """As `OnePredictor.solved`, in units of a row's likelihood."""
        g = dot(self.w, self.score) + self.slope
        step, variance = bread.apply(g), bread.variance
        errors = jnp.where(variance > 0, jnp.abs(step) / jnp.sqrt(positive(variance)), 0)
        return ~((errors.max() > 0.05) & (dot(g, step) > (LOOSE * default_tol(g.dtype)) ** 2 * self.w.sum()))


def several_predictors(model: ModuleType, given: Fitted, static: Static) -> SeveralPredictors:
    """Scores and Hessian by forward derivatives of each row's loss."""
    given = present(given)
    dtype, w = dtype_of(given), weights(given)
    X = jnp.asarray(given.X, dtype)
    ordered = hasattr(given.params, "thresholds")  # instead of an intercept
    columns = design(X, w, ordered or has_intercept(static))
    p = X.shape[1]
    scale, centre = columns.scale[:p], -columns.back[p:, :p]  # no rows without an intercept

    def outer(inner: Any) -> Any:
        """The parameters of X from those of the columns of the design."""
        coef = inner.coef * scale.reshape(-1, *(1,) * (inner.coef.ndim - 1))
        moved = dot(centre, inner.coef).sum(0)
        if ordered:
            return inner._replace(coef=coef, thresholds=inner.thresholds + moved)
        return inner._replace(coef=coef, intercept=inner.intercept - moved)

    offset = None if given.offset is None else jnp.asarray(given.offset, dtype)
    value = total(model, given._replace(X=columns.V[:, :p]), static)
    theta, unravel = ravel_pytree(jax.tree.map(lambda v: jnp.asarray(v, dtype), given.params))
    back = jax.jacfwd(lambda v: ravel_pytree(outer(unravel(v)))[0])(jnp.zeros_like(theta))
    gamma = jax.scipy.linalg.solve_triangular(back, theta, lower=True)
    losses = jax.grad(lambda v, w: value(unravel(v), w, offset), 1)  # linear in w: the loss of every row
    score = jax.jacfwd(lambda v: losses(v, w))(gamma)
    H = jax.hessian(lambda v: value(unravel(v), w, offset))(gamma)
    coef = given.params.coef
    penalty = jnp.pad(_penalty(given, static, coef.shape), (0, len(theta) - coef.size))
    gauge = None
    if model.FACTS.symmetric:
        K = coef.shape[1]
        free = (penalty.reshape(-1, K) == 0).all(1)
        gauge = jnp.kron(jnp.diag(free.astype(dtype)), jnp.ones((K, 1), dtype) / jnp.sqrt(jnp.asarray(K, dtype)))
        if not has_intercept(static):
            keep = slice(p * K)
            score, H, back, penalty, theta = score[:, keep], H[keep, keep], back[keep, keep], penalty[keep], theta[keep]
            gauge = gauge[keep, :p]
    D = dot(back.T, penalty[:, None] * back)
    return SeveralPredictors(score, H, w, D, dot(back.T, penalty * theta), back, gauge)


def solution(verb: str, model: ModuleType, result: T, solved: jax.Array) -> T:
    """Return `result` if the parameters solve the problem that was given; else a ValueError, in compiled code NaN."""
    if isinstance(solved, jax.core.Tracer):
        return jax.tree.map(lambda leaf: jnp.where(solved, leaf, jnp.nan), result)
    if not solved:
        name = model.__name__.rsplit(".", 1)[-1]
        raise ValueError(
            f"{verb}: these parameters do not minimise {name}.objective for the rows given here: pass the X, y, "
            f"sample_weight, offset and exposure that {name}.fit was given; if that is so, fit with a smaller tol"
        )
    return result
