r"""Bagging: the mean of the predictions of many bootstrap fits, made in one compiled call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from numpy.typing import ArrayLike

from jaxinfra._core import checks
from jaxinfra._core.precision import positive
from jaxinfra._core.types import Fit, Status, short_repr
from jaxinfra.select import _resample


@short_repr
class Bagging(NamedTuple):
    """The means of the predictions of many fits.

    prediction: (m, ...), of the new rows.
    sd: (m, ...), the standard deviation over the fits.
    out_of_bag: (n, ...), of the rows of the fit, each by the fits that did not see it; NaN where all did.
    """

    prediction: jax.Array
    sd: jax.Array
    out_of_bag: jax.Array


def bagging(
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, X_new: ArrayLike, *, key: jax.Array, n: int = 100,
    predict: Callable[[Any, Any], jax.Array] | None = None, fixed: Mapping[str, Any] | None = None,
    sample_weight: ArrayLike | None = None,
) -> Bagging:  # fmt: skip
    """Average the predictions of n bootstrap fits.

    Args:
      model, X, y, key, n, fixed, sample_weight: as in `bootstrap`.
      X_new: (m, p) rows to predict, traced.
      predict: (params, X) -> (m, ...), static; None means the model's `predict_proba`, or `predict` where it has none.

    Returns:
      Bagging, over the fits that converged.

    Raises:
      ValueError for an X_new with other columns than X; the others as `bootstrap`.

    Cost: n fits, in batches that share X, and their predictions of both sets of rows.

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
    sample, static = _resample.check(verb, model, X, y, fixed, sample_weight, None, None)
    n = checks.static_count(verb, "n", n)
    X_new = checks.array(verb, "X_new", X_new)
    if X_new.ndim != 2 or X_new.shape[1] != sample.X.shape[1]:
        raise ValueError(f"{verb}: X_new must have shape (m, {sample.X.shape[1]}), got X_new {X_new.shape}")
    module = static["model"]
    predict = predict or getattr(module, "predict_proba", module.predict)
    full = _resample.fit_all(sample, module, static["static"])
    return _bagging(sample, full, X_new, key, model=module, n=n, predict=predict, static=static["static"])


@partial(jax.jit, static_argnames=("model", "n", "predict", "static"))
def _bagging(
    sample: _resample.Sample, full: Fit, X_new: Any, key: jax.Array, *, model: ModuleType, n: int,
    predict: Callable[[Any, Any], jax.Array], static: tuple[tuple[str, Any], ...],
) -> Bagging:  # fmt: skip
    dtype = checks.working_dtype(sample.X, sample.y)

    def both(params: Any) -> tuple[jax.Array, jax.Array]:
        return tuple(jnp.asarray(predict(params, rows), dtype) for rows in (X_new, sample.X))  # type: ignore[return-value]

    fit, _ = _resample.runner(sample, full, model, both, static)
    draw = _resample.drawn(sample, False, 0)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        w = draw(key)
        (new, old), status = fit(w)
        return new, old, ((w == 0) & (status == Status.CONVERGED)).astype(dtype)

    new, old, unseen = _resample.batched(one, jax.random.split(key, n), sample.X.shape[0])
    # (n, rows) times (n, rows, ...), the fits that did not converge left out.
    count = unseen.sum(0)
    seen = jnp.einsum("nr,nr...->r...", unseen, jnp.nan_to_num(old), precision=lax.Precision.HIGHEST)
    total = count.reshape(-1, *[1] * (seen.ndim - 1))
    out = jnp.where(total > 0, seen / positive(total), jnp.nan)
    return Bagging(jnp.nanmean(new, axis=0), jnp.nanstd(new, axis=0, ddof=1), out)
