r"""Bootstrap and jackknife: thousands of fits in one compiled call.

A resample is a vector of weights: how often each row was drawn, or 0 where it is left out.  So all fits share one X,
and a batch of them is `vmap` over weights of the model's own `fit`, for every model of the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinfra._core import checks
from jaxinfra._core.types import Fit, Status, short_repr
from jaxinfra.select import _resample


@short_repr
class Resamples(NamedTuple):
    """The results of n fits to resampled rows.

    values: a pytree of arrays with a leading axis n, NaN where a fit did not converge.
    estimate: the same of the fit to all rows.
    se: the standard error, over the fits that converged.
    status: (n,), of the fits.
    """

    values: Any
    estimate: Any
    se: Any
    status: jax.Array

    def interval(self, level: float = 0.95, *, kind: str = "percentile") -> tuple[Any, Any]:
        """The confidence interval of a bootstrap: (lower, upper), each of the structure of `estimate`.

        Args:
          level: between 0 and 1, static.
          kind: "percentile", "basic" (the percentiles mirrored at the estimate) or "normal" (estimate and se), static.

        Raises:
          ValueError for another level or kind.
        """
        if not 0 < level < 1:
            raise ValueError(f"Resamples.interval: level must lie between 0 and 1, got level = {level}")
        if kind not in ("percentile", "basic", "normal"):
            raise ValueError(f"Resamples.interval: kind must be percentile, basic or normal, got {kind!r}")
        tails = 0.5 - 0.5 * level, 0.5 + 0.5 * level
        if kind == "normal":
            z = jax.scipy.special.ndtri(jnp.asarray(tails[1]))
            half = jax.tree.map(lambda se: z.astype(se.dtype) * se, self.se)
            return jax.tree.map(jnp.subtract, self.estimate, half), jax.tree.map(jnp.add, self.estimate, half)
        ends = [jax.tree.map(lambda v, t=t: jnp.nanquantile(v, t, axis=0), self.values) for t in tails]
        if kind == "basic":
            ends = [jax.tree.map(lambda e, q: 2 * e - q, self.estimate, end) for end in ends[::-1]]
        return ends[0], ends[1]


def bootstrap(
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, *, key: jax.Array, n: int = 1000,
    of: Callable[[Any], Any] | None = None, fixed: Mapping[str, Any] | None = None,
    sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None, n_groups: int | None = None,
    bayesian: bool = False,
) -> Resamples:  # fmt: skip
    """Fit n resamples of the rows, drawn with replacement, in one call: errors and intervals for any model.

    Args:
      model: a module with the verbs, static; or a Fit, which carries its module and arguments, and is fitted again.
      X, y: the data of `model.fit`, traced.
      key: a `jax.random.key`, traced.
      n: the number of resamples, static.
      of: params -> an array or a pytree of arrays, static (pass one function, not a new lambda each time, which would
        compile again); None means the parameters themselves, without their kernel, link or training rows.
      fixed: {argument of fit: value} for all fits.  Booleans, whole numbers and strings are static, all else traced.
      sample_weight: (n,) counts, traced: each row is drawn a number of times whose mean and variance are its weight
        (Poisson), so that twice the weights are twice the data.  None draws n rows.
      groups: (n,) whole numbers from 0, traced: whole groups are drawn (clusters).
      n_groups: the number of groups, static; None counts them on the host.
      bayesian: static; True takes exponential weights (Rubin 1981) instead of counts: no row is ever absent.

    Returns:
      Resamples.  Fits that did not converge (a class that was not drawn) are NaN in values and left out of se.

    Raises:
      ValueError for shapes that do not match, a negative weight, class labels with gaps, fewer than 2 groups, an n
      below 1, and row arguments (sample_weight, offset, exposure) that a Fit was given and this call is not.  TypeError
      for an argument that `fit` does not have, a Fit without its problem, a `bayesian` that is no boolean.

    Status: one for each fit, as of the model's `fit`.

    Cost: n fits, in batches that share X; all start at the fit of all rows.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.arange(20.0)[:, None], jnp.arange(20.0) + jnp.tile(jnp.array([1.0, -1.0]), 10)
    >>> resamples = ji.select.bootstrap(ji.ols, X, y, key=jax.random.key(0), n=200)
    >>> resamples.values.coef.shape, bool(resamples.se.coef[0] < 0.1)
    ((200, 1), True)

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6, 9 and 13.
    """
    verb = "select.bootstrap"
    sample, static = _resample.check(verb, model, X, y, fixed, sample_weight, groups, n_groups)
    n, bayesian = checks.static_count(verb, "n", n), checks.flag(verb, "bayesian", bayesian)
    full = _resample.fit_all(sample, static["model"], static["static"])
    return _bootstrap(sample, full, key, n=n, of=of, bayesian=bayesian, **static)


@partial(jax.jit, static_argnames=("model", "n", "of", "bayesian", "static", "count"))
def _bootstrap(
    sample: _resample.Sample, full: Fit, key: jax.Array, *, model: ModuleType, n: int, of: Callable[[Any], Any] | None,
    bayesian: bool, static: tuple[tuple[str, Any], ...], count: int,
) -> Resamples:  # fmt: skip
    fit, estimate = _resample.runner(sample, full, model, of, static)
    draw = _resample.drawn(sample, bayesian, count)
    values, status = _resample.batched(lambda k: fit(draw(k)), jax.random.split(key, n), sample.X.shape[0])
    se = jax.tree.map(lambda v: jnp.nanstd(v, axis=0, ddof=1), values)
    return Resamples(values, estimate, se, status)


def jackknife(
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, *, of: Callable[[Any], Any] | None = None,
    fixed: Mapping[str, Any] | None = None, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None,
    n_groups: int | None = None,
) -> Resamples:  # fmt: skip
    """Fit the data without each row, or without each group: the jackknife, in one call.

    Args:
      model, X, y, of, fixed: as in `bootstrap`.
      sample_weight: (n,) not negative, traced; a row is left out with all its weight.  None means 1.
      groups, n_groups: as in `bootstrap`; whole groups are left out.

    Returns:
      Resamples with values (n, ...) or (n_groups, ...); se = sqrt((n - 1) / n sum (value - mean)^2).

    Raises:
      ValueError and TypeError as `bootstrap`.

    Status: one for each fit, as of the model's `fit`.

    Cost: n fits, or n_groups, in batches that share X.  `infer.leave_one_out` computes the parameters from one fit,
      exactly for least squares, by one Newton step for other models.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.select.jackknife(ji.ols, X, y).values.coef[:, 0].round(2))
    [2. 4. 4. 2.]

    Source: Efron and Tibshirani (1993), chapter 11.
    """
    sample, static = _resample.check("select.jackknife", model, X, y, fixed, sample_weight, groups, n_groups)
    full = _resample.fit_all(sample, static["model"], static["static"])
    return _jackknife(sample, full, of=of, **static)


@partial(jax.jit, static_argnames=("model", "of", "static", "count"))
def _jackknife(
    sample: _resample.Sample, full: Fit, *, model: ModuleType, of: Callable[[Any], Any] | None,
    static: tuple[tuple[str, Any], ...], count: int,
) -> Resamples:  # fmt: skip
    fit, estimate = _resample.runner(sample, full, model, of, static)
    rows = sample.X.shape[0]
    w = sample.weights
    label = jnp.arange(rows) if sample.groups is None else sample.groups
    units = rows if sample.groups is None else count
    each = jnp.arange(units, dtype=label.dtype)
    values, status = _resample.batched(lambda i: fit(jnp.where(label == i, 0, w)), each, rows)
    # Of units without weight there is nothing to leave out.
    there = jnp.zeros(units, w.dtype).at[label].add(w) > 0
    m = (there & (status == Status.CONVERGED)).sum()

    def error(v: jax.Array) -> jax.Array:
        v = jnp.where(there.reshape(-1, *[1] * (v.ndim - 1)), v, jnp.nan)
        share = (m - 1).astype(v.dtype) / m.astype(v.dtype)
        return jnp.sqrt(share * jnp.nansum((v - jnp.nanmean(v, axis=0, keepdims=True)) ** 2, axis=0))

    return Resamples(values, estimate, jax.tree.map(error, values), status)
