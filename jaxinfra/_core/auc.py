"""The area under the receiver operating characteristic of weighted rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def auc(scores: jax.Array, plus: jax.Array, minus: jax.Array) -> jax.Array:
    """The probability that a row of the class scores above one of another, ties half (Mann and Whitney 1947).

    scores: (n,).
    plus, minus: (n,), the weight of a row as one of the class, and as one of the others.

    NaN where a row with a weight has a score of NaN, or one of the two has no row.
    """
    order = jnp.argsort(scores)
    s, plus, minus = scores[order], plus[order], minus[order]
    below = jnp.concatenate([jnp.zeros((1,), minus.dtype), jnp.cumsum(minus)])
    low, high = jnp.searchsorted(s, s, side="left"), jnp.searchsorted(s, s, side="right")
    area = (plus * (below[low] + below[high]) / 2).sum() / (plus.sum() * minus.sum())
    return jnp.where((jnp.isnan(s) & (plus + minus > 0)).any(), jnp.nan, area)


def one_against_rest(scores: jax.Array, share: jax.Array, weight: jax.Array) -> jax.Array:
    """The mean over classes of `auc`: scores, share (n, K), the share of each class in a row; weight (n,)."""
    plus = share * weight[:, None]
    return jax.vmap(auc, 1)(scores, plus, weight[:, None] - plus).mean()


def log_odds(logits: jax.Array) -> jax.Array:
    """The log odds log(p / (1 - p)) of each class (n, K): ordered as p, also where p rounds to 1.

    For the likeliest class 1 - p is the sum of the others; these have p <= 1/2, where 1 - p is exact.
    """
    top = jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[1], dtype=jnp.bool_)
    whole = jax.nn.logsumexp(logits, -1, keepdims=True)
    rest = jax.nn.logsumexp(jnp.where(top, -jnp.inf, logits), -1, keepdims=True)
    return logits - jnp.where(top, rest, whole + jnp.log1p(-jnp.exp(logits - whole)))
