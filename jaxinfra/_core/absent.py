"""A row of weight 0 is absent, whatever it holds: NaN, inf or a label that does not exist must not enter a sum.

    present   vectors of the rows, where data are read
    masked    X in a pass over blocks of rows: one more operation on values that the pass reads anyway
    filled    X as a whole: for kernels, to which zeros are a row like others, and whose centre depends on all rows
    replaced  every row of weight 0, where a result depends on the values of all rows
    weighted  values of the rows times their weights

All but `replaced`, and `filled` for values far away, keep values whose product with 0 is 0, so that the derivative with
respect to a weight of 0 is that of a row that enters.  Lanes of a batch that differ in their weights, such as the folds
of a cross-validation, still share one X: where a row that would make a sum NaN counts in some of them, those lanes get
a weight of NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from jaxinfra._core.implicit import frozen

Pass = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def _harmless(a: jax.Array) -> jax.Array:
    """Whether 0 times a, or times its square, is 0, and a sum of squares does not overflow; elementwise."""
    if not jnp.issubdtype(a.dtype, jnp.floating):
        return jnp.ones(a.shape, bool)
    return jnp.abs(a) < jnp.finfo(a.dtype).max ** 0.5 / 64


def weights(w: Any, dtype: Any) -> Any:
    """The weights w (n,) in the working dtype, or None.

    NaN, which every fit detects, where their sum has no normal reciprocal: XLA multiplies by the reciprocal, and
    flushes a subnormal one to 0.
    """
    if w is None:
        return None
    w = jnp.asarray(w, dtype)
    return jnp.where(w.sum() <= jnp.finfo(dtype).max / 8, w, jnp.nan)


def or_ones(w: jax.Array | None, like: jax.Array) -> jax.Array:
    """The weights, or ones like a vector of the rows."""
    return jnp.ones_like(like) if w is None else w


def present(w: jax.Array | None, *arrays: jax.Array | None) -> tuple[Any, ...]:
    """The arrays, whose leading axis are the rows, without values in rows of weight 0 that would make a sum NaN."""
    return _each(w, arrays, _first)


def replaced(w: jax.Array | None, *arrays: jax.Array | None) -> tuple[Any, ...]:
    """The arrays, whose leading axis are the rows, with the first row that counts in place of those of weight 0."""
    return _each(w, arrays, lambda a, here: jnp.where(_column(here, a), a, first_row(a, here)[None]))


def _each(w: jax.Array | None, arrays: tuple[jax.Array | None, ...], change: Callable[..., jax.Array]) -> Any:
    if w is None:
        return arrays
    here = jnp.asarray(w) > 0
    return tuple(None if a is None else change(jnp.asarray(a), here) for a in arrays)


def _column(here: jax.Array, a: jax.Array) -> jax.Array:
    return here.reshape(-1, *(1,) * (a.ndim - 1))


def first_row(a: jax.Array, here: jax.Array) -> jax.Array:
    """The first row of a (n, ...) where `here` (n,) is true, 0 if none is: as a sum, which gathers no sharded rows."""
    i = jnp.arange(len(here))
    return jnp.where(_column(i == jnp.where(here, i, len(here)).min(), a), a, 0).sum(0).astype(a.dtype)


def _first(a: jax.Array, here: jax.Array) -> jax.Array:
    return jnp.where(_column(here, a) | _harmless(a), a, first_row(a, here)[None])


def _zero(a: jax.Array, here: jax.Array) -> jax.Array:
    return jnp.where(_column(here, a) | _harmless(a), a, 0)


def _near(a: jax.Array, here: jax.Array) -> jax.Array:
    """The rows a, with the first that counts in place of absent values ten times as far from it as all that count."""
    first = first_row(a, here)[None]
    away = jnp.abs(a - first)
    spread = jnp.where(here[:, None], away, 0).max(0)
    spread = jnp.where(spread > 0, spread, spread.max())
    return jnp.where(here[:, None] | (away <= 10 * spread[None]), a, first)


def _replacing(fill: Callable[[jax.Array, jax.Array], jax.Array]) -> Pass:
    """(X, w) -> (fill(X, rows that count), w), with lanes that share X."""

    def alone(X: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return fill(X, w > 0), w

    @custom_vmap
    def cleaned(X: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return alone(X, w)

    @cleaned.def_vmap
    def lanes(
        axis_size: int, in_batched: list[bool], X: jax.Array, w: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[bool, bool]]:
        if in_batched[0]:
            w = w if in_batched[1] else jnp.broadcast_to(w, (axis_size, *w.shape))
            return jax.vmap(alone)(X, w), (True, True)
        sound = _harmless(X).all(1)
        return (fill(X, (w > 0).any(0) & sound), jnp.where((w > 0) & ~sound[None], jnp.nan, w)), (False, True)

    @jax.custom_jvp
    def differentiable(X: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return cleaned(X, w)

    @differentiable.defjvp
    def derivative(
        primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        X, w = primals
        return differentiable(X, w), (jnp.where(_column(w > 0, X) | _harmless(X), tangents[0], 0), tangents[1])

    return differentiable


_masked, _filled = _replacing(_zero), _replacing(_near)


def masked(X: jax.Array, w: jax.Array | None) -> tuple[jax.Array, Any]:
    """X (n, p) with zeros for values in rows of weight 0 that would make a sum NaN, and w (n,)."""
    return (X, None) if w is None else _masked(X, w)


def filled(X: jax.Array, w: jax.Array | None) -> tuple[jax.Array, Any]:
    """X with values of the first row that counts in place of far ones in rows of weight 0, and w (n,)."""
    return (X, None) if w is None else _filled(X, w)


def weighted(w: jax.Array | None, v: jax.Array) -> jax.Array:
    """The products w v, 0 where w is 0."""
    # A row of weight 0 is absent even where its loss is infinite.
    return v if w is None else jnp.where(w > 0, w * v, 0 * w)


def spoiled(w: jax.Array, *terms: jax.Array) -> jax.Array:
    """The rows of weight 0 with a term that is not finite, (n,): in a derivative 0 times that would be NaN."""
    return (w == 0) & ~jnp.isfinite(sum(frozen(terms)))
