"""The middle of the columns of data, where outliers do not move it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxinfra._core.precision import positive
from jaxinfra._core.stacked import stacked


@jax.jit
def bulk(A: jax.Array, share: jax.Array | None = None) -> jax.Array:
    """The mean (p,) of the columns of A (n, p) without values further from it than 1.25 mean absolute deviations.

    About the mean of all rows, an outlier would leave few digits for the differences of the others.  Up to 1 / 2.5 of
    the rows, all as far away, are left out; the result is no further from the mean than 1.25 standard deviations, so
    sums of squares about it do not cancel.

    share: weights (n, p) or (n, 1); None means 1.
    """

    def mean(A: jax.Array, share: jax.Array | None) -> jax.Array:
        if share is None:
            return A.mean(0)
        value, total = stacked(share * A, share, axis=1).sum(0)
        return value / positive(total)

    away = jnp.abs(A - mean(A, share)[None])
    near = away <= 1.25 * mean(away, share)[None]
    return mean(A, jnp.where(near, jnp.ones((), A.dtype) if share is None else share, 0))
