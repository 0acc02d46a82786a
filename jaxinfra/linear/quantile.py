r"""Quantile regression: the conditional median or any other quantiles, solved exactly as a linear program."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, implicit, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.facts import Facts
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.linalg.design import with_ones
from jaxinfra.solvers.quantile import quantile

FACTS = Facts(smooth=False, estimates_dispersion=True)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, tau: ArrayLike = 0.5, l1: ArrayLike = 0.0, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 100, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of the pinball loss: quantile regression, for one or several quantiles in one call.

    .. math:: \min_{w, b} \frac{1}{\sum_i s_i} \sum_i s_i\, \rho_\tau(y_i - o_i - x_i^\top w - b)
              + \sum_j \lambda_j |w_j|, \qquad \rho_\tau(r) = \max(\tau r, (\tau - 1) r)

    Args:
      X: (n, p) real, traced.
      y: (n,) real, traced.
      tau: the quantiles, strictly between 0 and 1, traced: a scalar, or (m,) for m of them, which share X.
      l1: the penalty, at least 0, traced: a scalar or (p,), in units of y / (unit of coef), per unit of weight.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n,) in units of y, traced; subtracted from y.
      init: Linear to start from, coef (p,) and intercept (), or for m quantiles (p, m) and (m,); None starts at least
        squares.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of interior-point iterations and exchanges together, traced.
      fit_intercept: static.

    Returns:
      Fit(params, info): params.coef (p,) and params.intercept (), in units of y per unit of x; (p, m) and (m,) where
      tau is (m,), and info's fields (m,) then.  As many rows as there are parameters have residual 0.  info.optimality
      is the duality gap, an upper bound on what the objective can still fall, relative to the objective of the best
      intercept alone; at a vertex found optimal it is rounding, elsewhere it holds for parameters of the size of these
      or of the last vertex that was tried.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), a max_iter that is not an
        integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match; on the host (Python or NumPy) also a tau outside (0, 1), or a negative l1,
        sample_weight or tol.  Values in a jax.Array do not raise: they become a Status.

    Status: CONVERGED.  MAX_ITER; STALLED if rounding stops the progress: scale the columns or use float64.  NONFINITE
      with NaN if the input holds NaN or inf.  SINGULAR with NaN for a negative weight or penalty, tau outside 0..1, or
      if all weights are 0 (a ValueError where the values are on the host).

    Where several vertices are optimal, any of them or a point between them is returned: compare objectives, not
    coefficients.  Duplicated and constant columns are allowed; how they share their coefficient is then not determined.
    Quantiles of one call may cross: `predict(..., sort=True)` sorts them for each row.

    Precision: the vertex is exact, its parameters as good as the q equations that define them: 1e-15 times their
      condition number in float64, 1e-6 times it in float32.

    Derivatives: params with respect to X, y and offset, forward and reverse: those of the rows with residual 0, exact
      where these rows do not change; with respect to tau, l1 and weights they are 0 almost everywhere, and 0 here.

    Cost: (n + q) q^2 flops and q^3 / 3 an iteration, 10 to 20 of them, q = p + 1, then about n q for each row that
      enters.  Memory: one copy of X and about twenty vectors of n.  m quantiles take m times as long and no more
      memory.  Rows on a mesh: X stays where it is, vectors of n are gathered to rank the rows.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), jnp.array([1.0, 3.0, 5.0, 7.0, 90.0])
    >>> fit = ji.check(ji.quantile.fit(X, y, tau=0.5))  # the outlier does not move the median
    >>> print(fit.params.coef.round(3), fit.params.intercept.round(3))
    [2.] 1.0

    Source: Koenker and Bassett 1978; Portnoy and Koenker 1997; Koenker, Quantile Regression (2005), chapter 6.
    Elsewhere: sklearn.linear_model.QuantileRegressor (alpha = l1), statsmodels QuantReg, R's quantreg::rq with method =
    "fn".
    """
    verb = "quantile.fit"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    levels = _tau(verb, tau, dtype)
    several = levels.ndim == 1 and init is not None and np.ndim(init.coef) == 2
    checks.init(verb, init, given.X, given.y, classes=len(levels) if several else None)
    return _fit(
        given, levels, checks.penalty(verb, "l1", l1, given.X, given.y, dtype), init,
        checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


def _tau(verb: str, tau: Any, dtype: np.dtype) -> Any:
    value = checks.hyper(verb, "tau", tau, dtype, minimum=None)
    if value.ndim > 1 or 0 in value.shape:
        raise ValueError(f"{verb}: tau must be a scalar or have shape (m,) with m >= 1, got tau {value.shape}")
    if not isinstance(value, jax.Array) and not ((value > 0) & (value < 1)).all():
        raise ValueError(f"{verb}: tau must lie strictly between 0 and 1, got tau = {tau}")
    return value


def _read(given: Given) -> tuple[jax.Array, jax.Array, jax.Array]:
    """X, y - offset and the weights (n,) in the working dtype."""
    X, y, w, _ = _input.read(given)
    return X, y, or_ones(w, y)


@staged(static=("fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, tau: jax.Array, l1: jax.Array, init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *,
    fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    l1 = jnp.broadcast_to(l1, X.shape[1:])

    def one(tau: jax.Array, init: Linear | None, rare: Rare) -> Fit:
        data = (X, y), *implicit.frozen((X, y, w, l1))
        return quantile.solve(*data, init, tol, max_iter, fit_intercept, blocked, tau, rare)

    if tau.ndim == 0:
        return one(tau, init, rare)
    several = init is not None and init.coef.ndim == 2
    inits = Linear(init.coef.T, init.intercept) if several else None  # type: ignore[union-attr]

    def each(pair: tuple[jax.Array, Linear | None]) -> tuple[Fit, jax.Array]:
        within = Rare(lean=rare.lean)
        return one(pair[0], pair[1] if several else init, within), jnp.asarray(within.needed)

    fit, needed = lax.map(each, (tau, inits))
    rare.note(needed)
    return Fit(Linear(fit.params.coef.T, fit.params.intercept), fit.info)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The linear predictor X @ coef + intercept (+ offset): (n,), or (n, m) for m quantiles, in units of y.

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> print(ji.quantile.decision(ji.Linear(jnp.array([2.0]), jnp.array(1.0)), jnp.array([[3.0]])))
    [7.]
    """
    return affine.decision("quantile.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None, sort: bool = False) -> jax.Array:
    """The conditional quantiles: (n,), or (n, m), in units of y.

    sort: static; True sorts the m quantiles of each row in ascending order, which brings them closer to the true ones
    where they cross (Chernozhukov, Fernandez-Val and Galichon 2010).  tau must then be ascending.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([[2.0, 1.0]]), jnp.array([0.0, 1.0]))
    >>> print(ji.quantile.predict(at, jnp.array([[0.0], [3.0]]), sort=True))
    [[0. 1.]
     [4. 6.]]
    """
    eta = affine.decision("quantile.predict", params, X, offset)
    return jnp.sort(eta, axis=-1) if checks.flag("quantile.predict", "sort", sort) and eta.ndim == 2 else eta


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, tau: ArrayLike = 0.5, l1: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The weighted mean pinball loss plus the penalty: what `fit` minimises.  A scalar, or (m,) where tau is (m,).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> print(ji.quantile.objective(at, jnp.array([[1.0], [2.0]]), jnp.array([1.0, -1.0]), tau=0.75))  # (3/4 + 1/4) / 2
    0.5
    """
    verb = "quantile.objective"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    tau, l1 = _tau(verb, tau, dtype), checks.penalty(verb, "l1", l1, given.X, given.y, dtype)
    return _objective(params, given, tau, l1)


@jax.jit
@rows.replicated
def _objective(params: Linear, given: Given, tau: jax.Array, l1: jax.Array) -> jax.Array:
    X, y, w = _read(given)
    eta = affine.decision("quantile.objective", params, X)
    r = affine.as_rows(y, eta) - eta
    loss = jnp.maximum(jnp.broadcast_to(tau, r.shape) * r, jnp.broadcast_to(tau - 1, r.shape) * r)
    penalty = affine.as_rows(jnp.broadcast_to(l1, X.shape[1:]), params.coef) * jnp.abs(params.coef)
    return dot(w, loss) / w.sum() + penalty.sum(0)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, tau: ArrayLike = 0.5, l1: ArrayLike = 0.0,
    sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """A small subgradient of `objective`, as Linear: zero at the solution.

    The multipliers of rows with residual 0 and of coefficients that are 0 are fitted by least squares to the gradient
    of the other terms, then clipped to their range.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Linear(jnp.array([0.0]), jnp.array(0.0))
    >>> g = ji.quantile.optimality(at, jnp.array([[1.0], [2.0]]), jnp.array([1.0, -1.0]), tau=0.75)
    >>> print(g.coef, g.intercept)  # -(0.75 * 1 - 0.25 * 2) / 2 and -(0.75 - 0.25) / 2
    [-0.125] -0.25
    """
    verb = "quantile.optimality"
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    tau, l1 = _tau(verb, tau, dtype), checks.penalty(verb, "l1", l1, given.X, given.y, dtype)
    return _optimality(params, given, tau, l1, fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept))


@partial(jax.jit, static_argnames="fit_intercept")
@rows.replicated
def _optimality(params: Linear, given: Given, tau: jax.Array, l1: jax.Array, *, fit_intercept: bool) -> Linear:
    X, y, w = _read(given)
    l1 = jnp.broadcast_to(l1, X.shape[1:])
    V = with_ones(X) if fit_intercept else X

    def one(coef: jax.Array, intercept: jax.Array, tau: jax.Array) -> Linear:
        eta = dot(X, coef) + intercept
        r = y - eta
        zero = jnp.abs(r) <= 64 * eps(X.dtype) * (jnp.abs(y) + jnp.abs(eta) + dot(jnp.abs(X), jnp.abs(coef)))
        share = w / w.sum()
        g = -dot(share * jnp.where(zero, 0, jnp.where(r > 0, tau, tau - 1)), V)
        g = g.at[: len(coef)].add(l1 * jnp.sign(coef))
        # d of the rows at zero and e of the coefficients at zero: V'd - e = g, in least squares, within their ranges.
        rows_ = jnp.where(zero[:, None], share[:, None] * V, 0)
        free = jnp.append(jnp.where(coef == 0, l1, 0), jnp.zeros(V.shape[1] - len(coef), X.dtype))
        nu = jnp.linalg.pinv(dot(rows_.T, rows_) + jnp.diag(free * free)) @ g
        d, e = jnp.clip(dot(rows_, nu), tau - 1, tau), jnp.clip(-free * nu, -1, 1)
        g = g - dot(d, rows_) + free * e
        return Linear(g[: len(coef)], g[-1] if fit_intercept else jnp.zeros_like(intercept))

    if tau.ndim == 0:
        return one(*params, tau)
    return jax.vmap(one, (1, 0, 0), Linear(1, 0))(*params, tau)  # type: ignore[arg-type]
