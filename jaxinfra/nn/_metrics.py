"""Losses of rows, and metrics over a whole data set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinfra._core import auc
from jaxinfra.nn import layers


def _softmax(logits: jax.Array, y: jax.Array) -> jax.Array:
    """The cross-entropy of classes (...,), or of probabilities of classes (..., K)."""
    if y.ndim < logits.ndim:
        return optax.softmax_cross_entropy_with_integer_labels(logits, y)
    share = y.astype(logits.dtype)  # of a class without a share the logit may be -inf
    return -jnp.where(share == 0, jnp.zeros_like(share), share * jax.nn.log_softmax(logits, -1)).sum(-1)


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": _softmax,
    "sigmoid": lambda logits, y: optax.sigmoid_binary_cross_entropy(logits, y.astype(logits.dtype)),
    "squared": lambda logits, y: jnp.square(logits - y.astype(logits.dtype)),
}
METRICS = ("accuracy", "auc", "confusion")
BLOCK = 2**20  # entries that are counted one by one: in float32 2^24 + 1 is 2^24


def row_losses(loss: Any, logits: jax.Array, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The loss of each row, (n,); with predictions for steps and their mask (n, t) the mean over real steps."""
    if mask is not None and isinstance(loss, str):  # masked steps may hold NaN, or no class
        logits, y = layers.blank(logits, mask), layers.blank(y, mask)
    values = (LOSSES[loss] if isinstance(loss, str) else loss)(logits, y)
    if values.ndim == 1:
        return values
    if mask is None or values.shape[:2] != mask.shape:
        return values.mean(tuple(range(1, values.ndim)))
    values = layers.blank(values.mean(tuple(range(2, values.ndim))), mask)
    return values.sum(1) / jnp.maximum(mask.sum(1, dtype=values.dtype), jnp.ones((), values.dtype))


def classified(loss: Any) -> bool:
    """Whether predictions under this loss are classes."""
    return loss in ("softmax", "sigmoid")


def _classes(loss: Any, logits: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The class of each y and the likeliest class, int32."""
    if loss == "softmax":
        truth, guess = y if y.ndim < logits.ndim else jnp.argmax(y, -1), jnp.argmax(logits, -1)
    else:
        truth, guess = y.astype(logits.dtype) > 0.5, logits > 0
    return truth.astype(jnp.int32), guess.astype(jnp.int32)


def _unknown(loss: Any, logits: jax.Array) -> jax.Array:
    """Where there is no likeliest class, because a logit is NaN."""
    return jnp.isnan(logits).any(-1) if loss == "softmax" else jnp.isnan(logits)


def hits(loss: Any, logits: jax.Array, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The hits of each row, (n,): 1 or 0, over real steps their mean; NaN where a logit is NaN."""
    truth, guess = _classes(loss, logits, y)
    right = jnp.where(_unknown(loss, logits), jnp.nan, (truth == guess).astype(logits.dtype))
    return right if right.ndim == 1 else row_losses(lambda a, _: a, right, y, mask)


def _confusion(loss: str, logits: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """The confusion matrix (K, K): the weight of rows of class i (first axis) called j."""
    classes = logits.shape[-1] if loss == "softmax" else 2
    truth, guess = _classes(loss, logits, y)
    block = jnp.arange(truth.size, dtype=jnp.int32) // jnp.int32(BLOCK)
    weight = jnp.where(_unknown(loss, logits) & (weight > 0), jnp.nan, weight)
    table = jnp.zeros((-(-truth.size // BLOCK), classes, classes), weight.dtype)
    return table.at[block, truth.reshape(-1), guess.reshape(-1)].add(weight.reshape(-1)).sum(0)


@partial(jax.jit, static_argnames=("loss", "names"))
def measure(loss: Any, names: tuple[str, ...], logits: Any, y: Any, weight: Any, mask: Any) -> dict[str, Any]:
    """Loss and metrics over a data set, weighted by `weight` (n,); mask: (n, t) of predictions for steps, or None."""
    total = weight.sum()
    losses = row_losses(loss, logits, y, mask)
    found = {"loss": jnp.where(weight > 0, losses * weight, jnp.zeros_like(losses)).sum() / total}
    if not names:
        return found
    truth = _classes(loss, logits, y)[0]
    each = jnp.broadcast_to(weight.reshape((-1,) + (1,) * (truth.ndim - 1)), truth.shape)
    each = each if mask is None else layers.blank(each, mask)
    if "accuracy" in names:
        right = hits(loss, logits, y, mask)
        found["accuracy"] = jnp.where(weight > 0, right * weight, jnp.zeros_like(right)).sum() / total
    if "confusion" in names:
        found["confusion"] = _confusion(loss, logits, y, each)
    if "auc" in names:
        flat, truth = each.reshape(-1), truth.reshape(-1)
        if loss == "sigmoid":
            plus = jnp.where(truth > 0, flat, jnp.zeros_like(flat))
            found["auc"] = auc.auc(logits.reshape(-1), plus, flat - plus)
        else:  # the mean over classes of one against the rest
            scores = auc.log_odds(logits.reshape(-1, logits.shape[-1]))
            share = jax.nn.one_hot(truth, logits.shape[-1], dtype=flat.dtype)
            found["auc"] = auc.one_against_rest(scores, share, flat)
    return found


def better(monitor: str, new: float, old: float, margin: float) -> bool:
    """Whether `new` is better than `old` by more than the margin: larger for accuracy and AUC, else smaller."""
    if np.isnan(old):
        return not np.isnan(new)
    return new > old + margin if monitor.endswith(("accuracy", "auc")) else new < old - margin
