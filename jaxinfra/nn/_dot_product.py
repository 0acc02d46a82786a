"""Scaled dot-product attention with its own backward pass (Vaswani et al. 2017, eq. 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def allowed(mask: jax.Array | None, steps: int, causal: bool) -> jax.Array | None:
    """The allowed pairs of query (third axis) and key (last), to broadcast with (n, heads, t, t); None: all."""
    seen = None if mask is None else mask[:, None, None, :]
    if not causal:
        return seen
    past = jnp.tril(jnp.ones((steps, steps), bool))[None, None]
    return past if seen is None else past & seen


def scores(query: jax.Array, key: jax.Array, may: jax.Array | None) -> jax.Array:
    """The weights softmax(Q K' / sqrt(d)) over the allowed keys, (n, heads, t, t); all 0 where none is allowed."""
    logits = jnp.einsum("nhqd,nhkd->nhqk", query, key) * (query.shape[-1] ** -0.5)
    if may is None:
        return jax.nn.softmax(logits, -1)
    lowest = jnp.asarray(jnp.finfo(logits.dtype).min, logits.dtype)
    return jnp.where(may, jax.nn.softmax(jnp.where(may, logits, lowest), -1), jnp.zeros((), logits.dtype))


@jax.custom_vjp
def attend(query: jax.Array, key: jax.Array, value: jax.Array, may: jax.Array | None) -> jax.Array:
    """Attention softmax(Q K' / sqrt(d)) V for (n, heads, t, d) arrays."""
    return jnp.einsum("nhqk,nhkd->nhqd", scores(query, key, may), value)


def _forward(query, key, value, may):
    weights = scores(query, key, may)
    return jnp.einsum("nhqk,nhkd->nhqd", weights, value), (query, key, value, weights)


def _backward(kept, cotangent):
    query, key, value, weights = kept
    by_value = jnp.einsum("nhqk,nhqd->nhkd", weights, cotangent)
    by_weights = jnp.einsum("nhqd,nhkd->nhqk", cotangent, value)
    # The Jacobian of the softmax, diag(w) - w w', and the scale of the logits.
    spread = by_weights - (weights * by_weights).sum(-1, keepdims=True)
    by_logits = weights * spread * (query.shape[-1] ** -0.5)
    by_query = jnp.einsum("nhqk,nhkd->nhqd", by_logits, key)
    return by_query, jnp.einsum("nhqk,nhqd->nhkd", by_logits, query), by_value, None


attend.defvjp(_forward, _backward)
