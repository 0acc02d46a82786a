r"""The common parts of the resampling methods: checked data, draws, and the fit of one resample."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import checks, implicit, labels
from jaxinfra._core.finish import worst
from jaxinfra._core.problem import unpacked
from jaxinfra._core.types import Fit, Status
from jaxinfra.select._scores import supervised

# Weights of the fits of a batch: more exceed the cache, fewer make small products (1000 logistic fits of 1000 x 20 take
# 99 ms in batches of 250, 113 ms in batches of 100, 106 ms all at once).
_ELEMENTS = 250_000


class Sample(NamedTuple):
    """Data, counts of the rows or None, groups or None, and the traced arguments of the fits."""

    X: Any
    y: Any
    counts: Any
    groups: Any
    traced: dict[str, Any]

    @property
    def weights(self) -> jax.Array:
        """The counts in the working dtype, 1 if None."""
        dtype = checks.working_dtype(self.X, self.y)
        return jnp.ones(self.X.shape[0], dtype) if self.counts is None else jnp.asarray(self.counts, dtype)


def check(
    verb: str, model: ModuleType | Fit, X: Any, y: Any, fixed: Mapping[str, Any] | None, sample_weight: Any,
    groups: Any, n_groups: int | None,
) -> tuple[Sample, dict[str, Any]]:  # fmt: skip
    """The checked sample, and its static part: the model, its settings, the number of groups."""
    model, fixed = unpacked(verb, model, fixed, sample_weight)
    X, y, _ = checks.design(verb, X, y)
    w = checks.weights(verb, sample_weight, X, y)
    fixed = labels.counted(verb, model, y, fixed, w)
    checks.arguments(verb, model, fixed)
    count = 0
    if groups is not None:
        groups, count = checks.groups(verb, groups, X.shape[0], n_groups)
    traced, static = checks.split(fixed)
    return Sample(X, y, w, groups, traced), {"model": model, "static": static, "count": count}


def _numbers(params: Any) -> Any:
    """The parameters without kernels, links and training rows."""
    kept = ("coef", "intercept", "scale", "thresholds")
    return {name: getattr(params, name) for name in params._fields if name in kept}


def _named(params: Any, values: Any) -> Any:
    """The values as the NamedTuple of the parameters, where no field was left out."""
    return type(params)(**values) if set(params._fields) == set(values) else values


def fit_all(sample: Sample, model: ModuleType, static: tuple[tuple[str, Any], ...]) -> Fit:
    """The fit of all rows.  By itself, since its program may be there already, or be wanted again."""
    y = (sample.y,) if supervised(model) else ()
    fit = model.fit(sample.X, *y, sample_weight=sample.counts, **sample.traced, **dict(static))
    return Fit(fit.params, fit.info)


def runner(
    sample: Sample, full: Fit, model: ModuleType, of: Callable[[Any], Any] | None,
    static: tuple[tuple[str, Any], ...],
) -> tuple[Callable[..., Any], Any]:  # fmt: skip
    """The function (weights, y) -> (result, NaN unless converged; status), and the result of the fit of all rows,
    `full`.

    The fits are whole, not lean: of a thousand resamples one nearly always needs the whole program.
    """
    fixed = {**sample.traced, **dict(static)}
    known = inspect.signature(model.fit).parameters

    def answer(fit: Any) -> tuple[Any, jax.Array]:
        value = _named(fit.params, _numbers(fit.params)) if of is None else of(fit.params)
        status = worst(fit.info.status)  # of several quantiles
        return jax.tree.map(lambda v: jnp.where(status == Status.CONVERGED, v, jnp.nan), value), status

    start = {}
    if "init" in known and "init" not in fixed:  # a start must be finite
        start["init"] = jax.tree.map(lambda v: jnp.where(jnp.isfinite(v), v, 0), implicit.frozen(full.params))

    def fit(w: jax.Array, y: Any = sample.y) -> tuple[Any, jax.Array]:
        data = (sample.X, y) if supervised(model) else (sample.X,)
        return answer(model.fit(*data, sample_weight=w, **{**start, **fixed}))

    return fit, answer(full)[0]


def batched(fn: Callable[[jax.Array], Any], items: jax.Array, rows: int) -> Any:
    """`fn` of each of the items (n, ...), in batches of equal size, so that one program serves all of them."""
    n = len(items)
    batches = -(-n // max(1, _ELEMENTS // rows))
    size = -(-n // batches)
    padded = items[jnp.arange(batches * size) % n].reshape(batches, size, *items.shape[1:])
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:])[:n], lax.map(jax.vmap(fn), padded))


def drawn(sample: Sample, bayesian: bool, count: int) -> Callable[[jax.Array], jax.Array]:
    """The function key -> weights of one resample."""
    w = sample.weights

    def draw(key: jax.Array) -> jax.Array:
        if sample.groups is not None:
            if bayesian:
                times = jax.random.exponential(key, (count,), w.dtype)
                return w * times[sample.groups]
            # Groups without any weight are not drawn; the number of draws is that of the others.
            present = jax.ops.segment_max(w, sample.groups, count) > 0
            drawn = jax.random.randint(key, (count,), 0, jnp.maximum(present.sum(), 1))
            drawn = jnp.where(jnp.arange(count) < present.sum(), jnp.argsort(~present, stable=True)[drawn], count)
            return w * jnp.bincount(drawn, length=count).astype(w.dtype)[sample.groups]
        if bayesian:
            return jax.random.gamma(key, w)  # the sum of w exponential weights
        if sample.counts is not None:
            # The number of draws would be a shape, so each row is drawn independently, w times on average.
            return jax.random.poisson(key, w).astype(w.dtype)
        rows = len(w)
        return jnp.bincount(jax.random.randint(key, (rows,), 0, rows), length=rows).astype(w.dtype)

    return draw
