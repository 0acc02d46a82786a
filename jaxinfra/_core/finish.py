"""The end of every fit: its status, and NaN where the status leaves nothing usable."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Status

T = TypeVar("T")
Test = tuple[jax.Array, Status]  # a condition, and the status where it does not hold


def settle(status: jax.Array, *tests: Test) -> jax.Array:
    """The status, int32, unless a test fails; the first that fails decides."""
    for holds, otherwise in reversed(tests):
        status = jnp.where(holds, status, jnp.int32(otherwise))
    return jnp.asarray(status, jnp.int32)


def usable(status: jax.Array) -> jax.Array:
    """`Status.usable` of codes, lane by lane: bool."""
    return reduce(or_, (status == code for code in Status if code.usable))


def worst(status: jax.Array, axis: int | None = None) -> jax.Array:
    """The status of a whole whose parts ended with these codes: one that is not usable goes before one that is."""
    rank = jnp.where(usable(status), status, status + len(Status)).max(axis)
    return (rank % len(Status)).astype(jnp.int32)


def or_nan(status: jax.Array, tree: T) -> T:
    """A pytree with NaN in its floats where the status, whose axes are their leading ones, is not usable."""
    good = usable(status)

    def mark(leaf: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        return jnp.where(good.reshape(good.shape + (1,) * (jnp.ndim(leaf) - good.ndim)), leaf, jnp.nan)

    return jax.tree.map(mark, tree)


def finish(params: Any, info: Any, *tests: Test, rare: Rare = WHOLE) -> Fit:
    """The Fit: `info.status` settled by the tests, the floats of params and info NaN where it is not usable.

    Rare: a test that fails, or a status that is not usable; the lean program returns what it is given.
    """
    if rare.lean:
        rare.note(~reduce(and_, (holds for holds, _ in tests), usable(info.status)))
        return Fit(params, info)
    status = settle(info.status, *tests)
    params, info = or_nan(status, (params, info))
    return Fit(params, info._replace(status=status))
