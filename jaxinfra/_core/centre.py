"""The middle of the columns of data, where outliers do not move it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxinfra._core.absent import or_ones
from jaxinfra._core.precision import positive


@jax.jit
def bulk(A: jax.Array, share: jax.Array | None = None) -> jax.Array:
    """The mean (p,) of the columns of A (n, p) without values further from it than 1.25 mean absolute deviations.

    About the mean of all rows, an outlier would leave few digits for the differences of the others.  Up to 1 / 2.5 of
    the rows, all as far away, are left out; the result is no further from the mean than 1.25 standard deviations, so
    sums of squares about it do not cancel.

    share: weights (n, p) or (n, 1); None means 1.
    """
    share = or_ones(share, A[:, :1])

    def mean(A: jax.Array, share: jax.Array) -> jax.Array:
        total = share.sum(0)
        return (share * A).sum(0) / positive(total)

    away = jnp.abs(A - mean(A, share)[None])
    return mean(A, jnp.where(away <= 1.25 * mean(away, share)[None], share, 0))
