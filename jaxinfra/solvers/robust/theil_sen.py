r"""The Theil-Sen estimator: the spatial median of the fits of many small subsets; for one column, of their slopes.

    minimise over theta  sum_t v_t |D (theta - theta_t)|_2

theta_t is the fit of subset t, v_t its weight, and D the change to the coordinates of `Frame`, in equal units.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit
from jaxinfra._core.absent import masked, or_ones
from jaxinfra._core.finish import finish
from jaxinfra._core.precision import all_finite, dot, positive, tolerance
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Linear, Status
from jaxinfra.solvers.linalg.design import Data, Frame
from jaxinfra.solvers.robust import spatial_median, subsets


def solve(
    live: Data, key: jax.Array, init: Linear | None, tol: jax.Array | None, max_iter: jax.Array, *, n_subsets: int,
    size: int, fit_intercept: bool, rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit data, the offset already taken from y: Fit(Linear, Info)."""
    X, y, w, _ = implicit.frozen(live)
    X, w = masked(X, w)
    dtype = X.dtype
    w = or_ones(w, y)
    sound = (w >= 0).all() & (w.sum() > 0)
    finite = jnp.isfinite(dot(jnp.ones_like(y), X)).all() & jnp.isfinite(y.sum() + w.sum())
    tol = tolerance(tol, dtype)

    f, fits = _fits(live, key, n_subsets, size, fit_intercept)
    if _is_classical(X.shape[1], size, fit_intercept):
        theta = _classical(f, fits, live, w)
        value, optimality = _look(fits, implicit.frozen(theta), classical=True)
        status, n_iter = jnp.int32(Status.CONVERGED), jnp.int32(1)
    else:
        start = None
        if init is not None:
            start = f.theta_of(Linear(*(jnp.asarray(a, dtype) for a in init)), fit_intercept)
        theta, status, n_iter = spatial_median.solve(fits.points, fits.weight, start, tol=tol, max_iter=max_iter)
        value, optimality = _look(fits, implicit.frozen(theta), classical=False)
    params = f.params_of(theta, fit_intercept)

    return finish(
        params,
        Info(status, n_iter, value, optimality),
        (finite, Status.NONFINITE),
        ((fits.weight.sum() > 0) & sound, Status.SINGULAR),
        (all_finite(*implicit.frozen(params)), Status.NONFINITE),
        rare=rare,
    )


def values(
    params: Linear, data: Data, key: jax.Array, *, n_subsets: int, size: int, fit_intercept: bool
) -> tuple[jax.Array, jax.Array]:
    """The mean distance of any params to the subsets' fits, and the length of its smallest subgradient."""
    f, fits = _fits(data, key, n_subsets, size, fit_intercept)
    theta = f.theta_of(Linear(*(jnp.asarray(a, data.X.dtype) for a in params)), fit_intercept)
    return _look(fits, theta, classical=_is_classical(data.X.shape[1], size, fit_intercept))


class _Fits(NamedTuple):
    """The subsets' fits as points in equal units (m, q), and their weights (m,): 0 where the rows do not determine one.

    For the classical estimator, of one column and pairs of rows, only the slopes (m, 1).
    """

    points: jax.Array
    weight: jax.Array


def _fits(data: Data, key: jax.Array, n_subsets: int, size: int, fit_intercept: bool) -> tuple[Frame, _Fits]:
    """All subsets' fits, or those of the subsets drawn, differentiable in X and y."""
    X, y, w, _ = data.masked()
    w = jnp.ones_like(y) if w is None else implicit.frozen(w)
    sound = (w >= 0).all() & (w.sum() > 0) & jnp.isfinite(w.sum())
    w = jnp.where(sound, w, 1)
    centre = dot(w, X) / w.sum() if fit_intercept else jnp.zeros_like(X[0])
    square = dot(w, (X - centre[None]) ** 2) / w.sum()
    f = Frame(jnp.stack([centre, 1 / jnp.sqrt(positive(square))]))
    every = subsets.all_of(len(y), size, n_subsets)
    if _is_classical(X.shape[1], size, fit_intercept):
        i, j = (subsets.draw(key, w, n_subsets, size) if every is None else every).T
        run, rise = (X[i, 0] - X[j, 0]) * f.scale[0], y[i] - y[j]
        slope = rise / jnp.where(run == 0, 1, run)
        share = jnp.ones_like(run) if every is None else subsets.shares(w, every)
        return f, _Fits(slope[:, None], jnp.where(run == 0, 0, share))
    drawn = subsets.draw(key, w, n_subsets, size) if every is None else jnp.asarray(every)
    V = f.design(X, fit_intercept)
    points, regular = subsets.solve(V, y, drawn)
    share = jnp.ones(len(points), X.dtype) if every is None else subsets.shares(w, drawn)
    return f, _Fits(points, jnp.where(regular, share, 0))


def _is_classical(p: int, size: int, fit_intercept: bool) -> bool:
    return p == 1 and size == 2 and fit_intercept


def _classical(f: Frame, fits: _Fits, data: Data, w: jax.Array) -> jax.Array:
    """The median slope and the median of y - slope z."""
    slope = spatial_median.median(fits.points[:, 0], fits.weight)
    return jnp.stack([slope, spatial_median.median(data.y - slope * (data.X[:, 0] - f.centre[0]) * f.scale[0], w)])


def _look(fits: _Fits, theta: jax.Array, *, classical: bool) -> tuple[jax.Array, jax.Array]:
    """The mean distance to the subsets' fits, and the length of its smallest subgradient."""
    points, weight = implicit.frozen(fits)
    if classical:
        theta = theta[:1]
    return spatial_median.distance(points, weight, theta)
