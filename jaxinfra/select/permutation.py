r"""Permutation tests: thousands of fits to permuted data in one compiled call."""

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
class PermutationTest(NamedTuple):
    """The statistic () of the data, null (n,) of the permutations, and p_value (), the share that is as extreme."""

    statistic: jax.Array
    null: jax.Array
    p_value: jax.Array


def permutation_test(
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, *, key: jax.Array, of: Callable[[Any], Any], n: int = 999,
    alternative: str = "two-sided", fixed: Mapping[str, Any] | None = None, sample_weight: ArrayLike | None = None,
) -> PermutationTest:  # fmt: skip
    """Test the null hypothesis that y does not depend on X, by a statistic of the fit to data with permuted y.

    Args:
      model, X, y, key, fixed: as in `bootstrap`; y is permuted, X and the weights are not.
      of: params -> a scalar, the statistic, static.
      n: the number of permutations, static.
      sample_weight: (n,) not negative, traced; None means 1.
      alternative: static; "two-sided" compares absolute values, "greater" and "less" one side.

    Returns:
      PermutationTest: p_value = (1 + as extreme) / (1 + n), over the fits that converged.

    Raises:
      ValueError for another alternative; the others as `bootstrap`.

    Cost: n fits, in batches that share X.

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
    sample, static = _resample.check(verb, model, X, y, fixed, sample_weight, None, None)
    n = checks.static_count(verb, "n", n)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"{verb}: alternative must be two-sided, greater or less, got {alternative!r}")
    chosen = {"model": static["model"], "static": static["static"]}
    full = _resample.fit_all(sample, **chosen)
    return _permutation_test(sample, full, key, of=of, n=n, alternative=alternative, **chosen)


@partial(jax.jit, static_argnames=("model", "of", "n", "alternative", "static"))
def _permutation_test(
    sample: _resample.Sample, full: Fit, key: jax.Array, *, model: ModuleType, of: Callable[[Any], Any], n: int,
    alternative: str, static: tuple[tuple[str, Any], ...],
) -> PermutationTest:  # fmt: skip
    fit, statistic = _resample.runner(sample, full, model, of, static)
    rows = sample.X.shape[0]
    y, w = jnp.asarray(sample.y), sample.weights
    one = lambda k: fit(w, y[jax.random.permutation(k, rows)])  # noqa: E731
    null, status = _resample.batched(one, jax.random.split(key, n), rows)
    side = {"two-sided": jnp.abs, "greater": lambda v: v, "less": jnp.negative}[alternative]
    extreme = (side(null) >= side(statistic) * (1 - 1e-12 * jnp.sign(side(statistic)))).sum()
    good = (status == Status.CONVERGED).sum()
    p = (1 + extreme).astype(null.dtype) / (1 + good).astype(null.dtype)
    return PermutationTest(statistic, null, jnp.where(jnp.isnan(statistic), jnp.nan, p))
