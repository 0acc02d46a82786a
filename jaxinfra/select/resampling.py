r"""Bootstrap, jackknife, permutation and bagging: thousands of fits in one compiled call.

A resample is a vector of weights: how often each row was drawn, or 0 where it is left out.  So all fits share one X,
and a batch of them is `vmap` over weights of the model's own `fit`, for every model of the library.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinfra._core import checks, implicit
from jaxinfra._core.types import Status

_ELEMENTS = (
    100_000  # weights of the fits of a batch: more than that leave the cache (1000 x 20: 0.22 s, all at once 0.30 s)
)


class Resamples(NamedTuple):
    """What n fits gave: values with a leading axis n, NaN where a fit did not converge; status (n,) says which.

    estimate: of all rows.  se: the standard error, over the fits that converged.
    """

    values: Any
    estimate: Any
    se: Any
    status: jax.Array

    def interval(self, level: float = 0.95, *, kind: str = "percentile") -> tuple[Any, Any]:
        """(lower, upper) of a bootstrap, each of the structure of `estimate`.

        kind: "percentile", "basic" (the percentiles mirrored at the estimate) or "normal" (estimate and se).
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


class PermutationTest(NamedTuple):
    """statistic () of the data, null (n,) of the permutations, p_value (): the share that is as extreme."""

    statistic: jax.Array
    null: jax.Array
    p_value: jax.Array


class Bagging(NamedTuple):
    """Means over the fits: prediction and its standard deviation (m, ...); out_of_bag (n, ...): of the rows of the fit,
    each by the fits that did not see it, NaN where all did."""

    prediction: jax.Array
    sd: jax.Array
    out_of_bag: jax.Array


def bootstrap(
    model: ModuleType, X: Any, y: Any, *, key: Any, n: int = 1000, of: Callable[[Any], Any] | None = None,
    fixed: Mapping[str, Any] | None = None, sample_weight: Any = None, groups: Any = None, n_groups: int | None = None,
    bayesian: bool = False,
) -> Resamples:  # fmt: skip
    """Fit n resamples of the rows, drawn with replacement, in one call: errors and intervals for any model.

    Args:
      model: a module with the verbs, static.
      X, y: the data of `model.fit`, traced.
      key: a key of `jax.random`, traced.
      n: the number of resamples, static.
      of: params -> an array or a pytree of arrays, static (pass one function, not a new lambda each time, which would
        compile again); None means the parameters themselves, without their kernel, link or training rows.
      fixed: {argument of fit: value} for all fits.  Booleans, whole numbers and strings are static, all else traced.
      sample_weight: (n,) counts, traced: the rows are drawn in proportion, as many as the weights sum to.
      groups: (n,) whole numbers from 0, traced: whole groups are drawn (clusters).  n_groups: static, their number;
        None counts them on the host.
      bayesian: static; True takes exponential weights (Rubin 1981) instead of counts: no row is ever absent.

    Returns:
      Resamples.  Fits that did not converge (a class that was not drawn) are NaN in values and left out of se.

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
    problem, static = _check(verb, model, X, y, fixed, sample_weight, groups, n_groups)
    _whole(verb, "n", n)
    return _bootstrap(
        problem, key, model=model, n=int(n), of=of, bayesian=checks.flag(verb, "bayesian", bayesian), **static
    )


class _Problem(NamedTuple):
    """Data, counts of the rows or None, groups or None, and the traced arguments of the fits."""

    X: Any
    y: Any
    counts: Any
    groups: Any
    traced: dict[str, Any]

    @property
    def weights(self) -> jax.Array:
        """The counts in the working dtype, 1 where there are none."""
        dtype = checks.working_dtype(self.X, self.y)
        return jnp.ones(self.X.shape[0], dtype) if self.counts is None else jnp.asarray(self.counts, dtype)


def _whole(verb: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{verb}: {name} is static and must be a whole number of at least 1, got {value!r}")


def _check(
    verb: str, model: ModuleType, X: Any, y: Any, fixed: Mapping[str, Any] | None, sample_weight: Any, groups: Any,
    n_groups: int | None,
) -> tuple[_Problem, dict[str, Any]]:  # fmt: skip
    X, y, _ = checks.design(verb, X, y)
    w = checks.weights(verb, sample_weight, X, y)
    known = inspect.signature(model.fit).parameters
    fixed = dict(fixed or {})
    if unknown := [name for name in fixed if name not in known]:
        raise TypeError(f"{verb}: {model.__name__}.fit has no argument {unknown[0]!r}; it has {', '.join(known)}")
    if "n_classes" in known and "n_classes" not in fixed and not jnp.issubdtype(y.dtype, jnp.floating):
        if isinstance(y, jax.core.Tracer):
            raise ValueError(f"{verb}: the values of y are traced, so fixed must hold n_classes")
        fixed["n_classes"] = max(2, int(np.asarray(y).max()) + 1)
    count = 0
    if groups is not None:
        groups = checks.array(verb, "groups", groups)
        if groups.shape != (X.shape[0],) or not jnp.issubdtype(groups.dtype, jnp.integer):
            raise ValueError(f"{verb}: groups must be ({X.shape[0]},) whole numbers, got {groups.dtype} {groups.shape}")
        if n_groups is None and isinstance(groups, jax.core.Tracer):
            raise ValueError(f"{verb}: the values of groups are traced, so n_groups must be given")
        count = int(np.asarray(groups).max()) + 1 if n_groups is None else n_groups
    traced, static = checks.split(fixed)
    return _Problem(X, y, w, groups, traced), {"static": static, "count": count}


def _numbers(params: Any) -> Any:
    """The parameters without kernels, links and training rows."""
    kept = ("coef", "intercept", "scale", "thresholds")
    return {name: getattr(params, name) for name in params._fields if name in kept}


def _named(params: Any, values: Any) -> Any:
    """Those values as a tuple with names again, where nothing was left out."""
    return type(params)(**values) if set(params._fields) == set(values) else values


def _runner(
    problem: _Problem, model: ModuleType, of: Callable[[Any], Any] | None, static: tuple[tuple[str, Any], ...]
) -> tuple[Callable[..., Any], Any]:
    """fit(weights, y) -> (what is asked of it, NaN where it did not converge; status), and the same of all rows."""
    fixed = {**problem.traced, **dict(static)}
    known = inspect.signature(model.fit).parameters

    def answer(fit: Any) -> tuple[Any, jax.Array]:
        value = _named(fit.params, _numbers(fit.params)) if of is None else of(fit.params)
        good = fit.info.status == Status.CONVERGED
        return jax.tree.map(lambda v: jnp.where(good, v, jnp.nan), value), fit.info.status

    whole = model.fit(problem.X, problem.y, sample_weight=problem.weights, **fixed)
    start = {}
    if "init" in known and "init" not in fixed:  # NaN is no start
        start["init"] = jax.tree.map(lambda v: jnp.where(jnp.isfinite(v), v, 0), implicit.frozen(whole.params))

    def fit(w: jax.Array, y: Any = problem.y) -> tuple[Any, jax.Array]:
        return answer(model.fit(problem.X, y, sample_weight=w, **{**start, **fixed}))

    return fit, answer(whole)[0]


def _together(rows: int) -> int:
    return max(1, _ELEMENTS // rows)


@partial(jax.jit, static_argnames=("model", "n", "of", "bayesian", "static", "count"))
def _bootstrap(
    problem: _Problem, key: jax.Array, *, model: ModuleType, n: int, of: Callable[[Any], Any] | None, bayesian: bool,
    static: tuple[tuple[str, Any], ...], count: int,
) -> Resamples:  # fmt: skip
    fit, estimate = _runner(problem, model, of, static)
    draw = _drawn(problem, bayesian, count)
    rows = problem.X.shape[0]
    values, status = lax.map(lambda k: fit(draw(k)), jax.random.split(key, n), batch_size=min(n, _together(rows)))
    se = jax.tree.map(lambda v: jnp.nanstd(v, axis=0, ddof=1), values)
    return Resamples(values, estimate, se, status)


def _drawn(problem: _Problem, bayesian: bool, count: int) -> Callable[[jax.Array], jax.Array]:
    """key -> the weights of one resample."""
    rows = problem.X.shape[0]
    w = problem.weights
    units = rows if problem.groups is None else count

    def draw(key: jax.Array) -> jax.Array:
        if bayesian:
            times = jax.random.exponential(key, (units,), w.dtype)
        elif problem.groups is not None or problem.counts is None:
            times = jnp.bincount(jax.random.randint(key, (units,), 0, units), length=units).astype(w.dtype)
        else:
            # As many draws as the weights sum to would be a shape: as many as rows, each for its share.
            place = jax.random.uniform(key, (units,), w.dtype) * w.sum()
            row = jnp.searchsorted(jnp.cumsum(w), place, side="right")
            return jnp.bincount(row, length=units).astype(w.dtype) * (w.sum() / units)
        return w * (times if problem.groups is None else times[problem.groups])

    return draw


def jackknife(
    model: ModuleType, X: Any, y: Any, *, of: Callable[[Any], Any] | None = None,
    fixed: Mapping[str, Any] | None = None, sample_weight: Any = None, groups: Any = None, n_groups: int | None = None,
) -> Resamples:  # fmt: skip
    """Fit the data without each row, or without each group: the jackknife, in one call.

    Arguments as in `bootstrap`.  `infer.leave_one_out` and `infer.influence` have the same from one fit, exactly for
    least squares and to first order for others.

    Returns:
      Resamples with values (n, ...) or (n_groups, ...); se = sqrt((n - 1) / n sum (value - mean)^2).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.select.jackknife(ji.ols, X, y).values.coef[:, 0].round(2))
    [2. 4. 4. 2.]

    Source: Efron and Tibshirani (1993), chapter 11.
    """
    problem, static = _check("select.jackknife", model, X, y, fixed, sample_weight, groups, n_groups)
    return _jackknife(problem, model=model, of=of, **static)


@partial(jax.jit, static_argnames=("model", "of", "static", "count"))
def _jackknife(
    problem: _Problem, *, model: ModuleType, of: Callable[[Any], Any] | None, static: tuple[tuple[str, Any], ...],
    count: int,
) -> Resamples:  # fmt: skip
    fit, estimate = _runner(problem, model, of, static)
    rows = problem.X.shape[0]
    w = problem.weights
    label = jnp.arange(rows) if problem.groups is None else problem.groups
    units = rows if problem.groups is None else count
    each = jnp.arange(units, dtype=label.dtype)
    values, status = lax.map(lambda i: fit(jnp.where(label == i, 0, w)), each, batch_size=min(units, _together(rows)))
    good = (status == Status.CONVERGED).sum()

    def error(v: jax.Array) -> jax.Array:
        m = good.astype(v.dtype)
        return jnp.sqrt((m - 1) / m * jnp.nansum((v - jnp.nanmean(v, axis=0, keepdims=True)) ** 2, axis=0))

    return Resamples(values, estimate, jax.tree.map(error, values), status)


def permutation_test(
    model: ModuleType, X: Any, y: Any, *, key: Any, of: Callable[[Any], Any], n: int = 999,
    alternative: str = "two-sided", fixed: Mapping[str, Any] | None = None, sample_weight: Any = None,
) -> PermutationTest:  # fmt: skip
    """Test a statistic of the fit against those of data whose y is permuted: that X has nothing to do with y.

    Args:
      model, X, y, key, fixed, sample_weight: as in `bootstrap`; y moves, X and the weights stay.
      of: params -> a scalar, static.
      n: permutations, static.
      alternative: static; "two-sided" compares absolute values, "greater" and "less" one side.

    Returns:
      PermutationTest: p_value = (1 + as extreme) / (1 + n), over the fits that converged.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X = jnp.arange(12.0)[:, None]
    >>> test = ji.select.permutation_test(ji.ols, X, X[:, 0], key=jax.random.key(0), of=lambda p: p.coef[0])
    >>> print(f"{test.p_value:.3f}")
    0.001

    Source: Fisher 1935; Good, Permutation, Parametric, and Bootstrap Tests of Hypotheses (2005).
    """
    verb = "select.permutation_test"
    problem, static = _check(verb, model, X, y, fixed, sample_weight, None, None)
    _whole(verb, "n", n)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"{verb}: alternative must be two-sided, greater or less, got {alternative!r}")
    return _permutation_test(
        problem, key, model=model, of=of, n=int(n), alternative=alternative, static=static["static"]
    )


@partial(jax.jit, static_argnames=("model", "of", "n", "alternative", "static"))
def _permutation_test(
    problem: _Problem, key: jax.Array, *, model: ModuleType, of: Callable[[Any], Any], n: int, alternative: str,
    static: tuple[tuple[str, Any], ...],
) -> PermutationTest:  # fmt: skip
    fit, statistic = _runner(problem, model, of, static)
    rows = problem.X.shape[0]
    y, w = jnp.asarray(problem.y), problem.weights
    one = lambda k: fit(w, y[jax.random.permutation(k, rows)])  # noqa: E731
    null, status = lax.map(one, jax.random.split(key, n), batch_size=min(n, _together(rows)))
    side = {"two-sided": jnp.abs, "greater": lambda v: v, "less": jnp.negative}[alternative]
    extreme = (side(null) >= side(statistic) * (1 - 1e-12 * jnp.sign(side(statistic)))).sum()
    good = (status == Status.CONVERGED).sum()
    p = (1 + extreme).astype(null.dtype) / (1 + good).astype(null.dtype)
    return PermutationTest(statistic, null, jnp.where(jnp.isnan(statistic), jnp.nan, p))


def bagging(
    model: ModuleType, X: Any, y: Any, X_new: Any, *, key: Any, n: int = 100,
    predict: Callable[[Any, Any], jax.Array] | None = None, fixed: Mapping[str, Any] | None = None,
    sample_weight: Any = None,
) -> Bagging:  # fmt: skip
    """Average the predictions of n bootstrap fits.

    Args:
      model, X, y, key, n, fixed, sample_weight: as in `bootstrap`.
      X_new: (m, p) rows to predict, traced.
      predict: (params, X) -> (m, ...), static; None means the model's `predict_proba`, or `predict` where it has none.

    Returns:
      Bagging.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X = jnp.arange(12.0)[:, None]
    >>> bag = ji.select.bagging(ji.ols, X, 2 * X[:, 0], jnp.array([[20.0]]), key=jax.random.key(0), n=20)
    >>> print(bag.prediction.round(2))
    [40.]

    Source: Breiman 1996.  Elsewhere: sklearn.ensemble.BaggingRegressor and BaggingClassifier.
    """
    verb = "select.bagging"
    problem, static = _check(verb, model, X, y, fixed, sample_weight, None, None)
    _whole(verb, "n", n)
    X_new = checks.array(verb, "X_new", X_new)
    if X_new.ndim != 2 or X_new.shape[1] != problem.X.shape[1]:
        raise ValueError(f"{verb}: X_new must have shape (m, {problem.X.shape[1]}), got X_new {X_new.shape}")
    predict = predict or getattr(model, "predict_proba", model.predict)
    return _bagging(problem, X_new, key, model=model, n=int(n), predict=predict, static=static["static"])


@partial(jax.jit, static_argnames=("model", "n", "predict", "static"))
def _bagging(
    problem: _Problem, X_new: Any, key: jax.Array, *, model: ModuleType, n: int,
    predict: Callable[[Any, Any], jax.Array], static: tuple[tuple[str, Any], ...],
) -> Bagging:  # fmt: skip
    dtype = checks.working_dtype(problem.X, problem.y)

    def both(params: Any) -> tuple[jax.Array, jax.Array]:
        return tuple(jnp.asarray(predict(params, rows), dtype) for rows in (X_new, problem.X))  # type: ignore[return-value]

    fit, _ = _runner(problem, model, both, static)
    draw = _drawn(problem, False, 0)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        w = draw(key)
        (new, old), status = fit(w)
        return new, old, ((w == 0) & (status == Status.CONVERGED)).astype(dtype)

    rows = problem.X.shape[0]
    new, old, unseen = lax.map(one, jax.random.split(key, n), batch_size=min(n, _together(rows)))
    # (n, rows) times (n, rows, ...), the fits that did not converge left out.
    count = unseen.sum(0)
    seen = jnp.einsum("nr,nr...->r...", unseen, jnp.nan_to_num(old), precision=lax.Precision.HIGHEST)
    total = count.reshape(-1, *[1] * (seen.ndim - 1))
    out = jnp.where(total > 0, seen / jnp.where(total > 0, total, 1), jnp.nan)
    return Bagging(jnp.nanmean(new, axis=0), jnp.nanstd(new, axis=0, ddof=1), out)
