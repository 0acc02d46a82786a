r"""RANSAC: least squares on the largest consensus set, found by trials from small random subsets.

A trial is the least-squares fit of a subset; the rows whose residual is at most the threshold are its consensus set.
The trial with the largest consensus set is refitted on that set for as long as the set grows.

Source: Fischler and Bolles 1981.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import absent, implicit, order, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Linear, Status, short_repr
from jaxinfra.solvers.least_squares import ridge
from jaxinfra.solvers.linalg import cholesky, design
from jaxinfra.solvers.linalg.cholesky import solve_root
from jaxinfra.solvers.linalg.design import Data
from jaxinfra.solvers.robust import subsets

# Trials whose residuals are in memory at the same time: 32, 64 and 128 take 10.5, 9.1 and 8.2 ms (2000 x 10).
_TOGETHER = 64


@short_repr
class ConsensusInfo(NamedTuple):
    """`Info` with the consensus: the weight of its rows, the residual up to which a row is in it, the trials made."""

    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    optimality: jax.Array
    inliers: jax.Array
    threshold: jax.Array
    trials: jax.Array


class _Best(NamedTuple):
    """The trial on which the most rows agree so far, how many and their sum of squares, and the trials made."""

    theta: jax.Array
    agreed: jax.Array
    square: jax.Array
    trials: jax.Array


def solve(
    live: Data, key: jax.Array, threshold: jax.Array | None, confidence: jax.Array, init: Linear | None,
    tol: jax.Array | None, max_iter: jax.Array, *, n_trials: int, size: int, fit_intercept: bool, blocked: bool,
    rare: Rare = WHOLE,
) -> Fit:  # fmt: skip
    """Fit data, the offset already taken from y: Fit(Linear, ConsensusInfo)."""
    X, y, w, _ = implicit.frozen(live)
    X, w = absent.masked(X, w)
    w = or_ones(w, y)
    sound = (w >= 0).all() & (w.sum() > 0)
    c = _spread(y, jnp.where(sound, w, 1)) if threshold is None else implicit.frozen(threshold)
    sound &= (c >= 0) & (confidence > 0) & (confidence <= 1)
    finite = jnp.isfinite(dot(jnp.ones_like(y), X)).all() & jnp.isfinite(y.sum() + w.sum() + c)

    f = design.frame(X, w, fit_intercept, blocked)
    V = f.design(X, fit_intercept)
    draws = jnp.where(sound & finite, w, 1)

    def block(best: _Best) -> tuple[_Best, Verdict]:
        """The next `_TOGETHER` trials, and whether the confidence is reached."""
        drawn = subsets.draw(jax.random.fold_in(key, best.trials), draws, _TOGETHER, size)
        trials, regular = subsets.solve(V, y, drawn)
        regular &= best.trials + jnp.arange(_TOGETHER, dtype=jnp.int32) < n_trials
        new = _best(V, y, w, c, trials, regular, jnp.minimum(best.trials + _TOGETHER, n_trials))
        better = (new.agreed > best.agreed) | ((new.agreed == best.agreed) & (new.square < best.square))
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)._replace(trials=new.trials)
        # log(1 - share^size) is 0 where no row agrees, and -inf where all do.
        clean = (jnp.maximum(best.agreed, 0) / jnp.where(sound, w.sum(), 1)) ** size
        enough = best.trials.astype(y.dtype) * jnp.log1p(-jnp.minimum(clean, 1)) <= jnp.log1p(-confidence)
        return best, Verdict(enough & (confidence < 1), jnp.int32(Status.CONVERGED))

    nothing = jnp.zeros((), y.dtype)
    best = _Best(jnp.zeros_like(V[0]), nothing - 1, nothing + jnp.inf, jnp.int32(0))
    if init is not None:
        at = f.theta_of(Linear(*(jnp.asarray(a, y.dtype) for a in init)), fit_intercept)
        best = _best(V, y, w, c, at[None], jnp.array([True]), jnp.int32(0))
    best = drive(block, best, max_iter=-(-n_trials // _TOGETHER))[0]

    def weights(theta: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(y - dot(V, theta)) <= c, w, 0)

    def refit(state: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, jax.Array], Verdict]:
        """Refit on the consensus set; done when the set no longer grows."""
        theta, inside = state
        T = cholesky.inverse_root(dot(V.T, inside[:, None] * V))
        fitted = solve_root(T, dot(inside * y, V))
        new = weights(fitted)
        grows = new.sum() > inside.sum()
        return (fitted, jnp.where(grows, new, inside)), Verdict(~grows, jnp.int32(Status.CONVERGED))

    start = weights(best.theta)
    (_, inside), _, n_iter = drive(refit, (best.theta, start), max_iter=jnp.maximum(max_iter - 1, 0))
    final = ridge.solve(
        live.X, live.y, inside if live.w is None else jnp.where(inside > 0, live.w, 0), None,
        fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=jnp.int32(10),
        rare=rare,
    )  # fmt: skip
    together = ((inside > 0).sum() > size) & (best.agreed >= 0)
    status, _, value, optimality, *_ = final.info
    info = ConsensusInfo(status, n_iter + 1, value, optimality, inside.sum(), c, best.trials)
    tests = (finite, Status.NONFINITE), (together & sound, Status.SINGULAR)
    return finish(final.params, info, *tests, rare=rare)


def _spread(y: jax.Array, w: jax.Array) -> jax.Array:
    """The median of |y - median y|."""
    lower, upper = order.median(y, w)
    lower, upper = order.median(jnp.abs(y - 0.5 * (lower + upper)), w)
    return 0.5 * (lower + upper)


def _best(
    V: jax.Array, y: jax.Array, w: jax.Array, c: jax.Array, trials: jax.Array, regular: jax.Array, made: jax.Array
) -> _Best:
    """The best of some trials (count, q)."""

    def sums(V: jax.Array, y: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        r = jnp.abs(y[:, None] - dot(V, trials.T))
        inside = jnp.where(r <= c, w[:, None], 0)
        return inside.sum(0), (inside * r * r).sum(0)

    agreed, square = rows.sum_blocks(sums, (V, y, w), parts=2)
    agreed = jnp.where(regular, agreed, -1)
    best = jnp.argmin(jnp.where(agreed == agreed.max(), square, jnp.inf))
    return _Best(trials[best], agreed[best], square[best], made)
