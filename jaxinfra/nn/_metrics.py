"""What is measured while training: losses a row, and metrics over a whole set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": lambda logits, y: optax.softmax_cross_entropy_with_integer_labels(logits, y),
    "sigmoid": lambda logits, y: optax.sigmoid_binary_cross_entropy(logits, y.astype(logits.dtype)),
    "squared": lambda logits, y: jnp.square(logits - y.astype(logits.dtype)),
}
METRICS = ("accuracy", "auc", "confusion")


def row_losses(loss: Any, logits: jax.Array, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    """(n,): the loss of each row; of a prediction a step the mean over real steps."""
    values = (LOSSES[loss] if isinstance(loss, str) else loss)(logits, y)
    if values.ndim == 1:
        return values
    if mask is None or values.shape[:2] != mask.shape:
        return values.mean(tuple(range(1, values.ndim)))
    real = mask.astype(values.dtype)
    return (values * real).sum(1) / jnp.maximum(real.sum(1), jnp.ones((), values.dtype))


def classified(loss: Any) -> bool:
    """Whether predictions under this loss are classes."""
    return loss in ("softmax", "sigmoid")


def _classes(loss: Any, logits: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(the class of each y, the likeliest one), int32."""
    guess = jnp.argmax(logits, -1) if loss == "softmax" else logits > 0
    truth = y if loss == "softmax" else y.astype(logits.dtype) > 0.5
    return truth.astype(jnp.int32), guess.astype(jnp.int32)


def hits(loss: Any, logits: jax.Array, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    """(n,): 1 where the likeliest class is y's; of a prediction a step the share of real steps."""
    truth, guess = _classes(loss, logits, y)
    right = (truth == guess).astype(logits.dtype)
    return right if right.ndim == 1 else row_losses(lambda a, _: a, right, y, mask)


def _confusion(loss: str, logits: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """(K, K): the weight of rows of class i (first axis) called j."""
    classes = logits.shape[-1] if loss == "softmax" else 2
    truth, guess = _classes(loss, logits, y)
    table = jnp.zeros((classes, classes), weight.dtype)
    return table.at[truth.reshape(-1), guess.reshape(-1)].add(weight.reshape(-1))


def _auc(scores: jax.Array, positive: jax.Array, weight: jax.Array) -> jax.Array:
    """The probability that a row of the class scores above one of another, ties half (Mann and Whitney 1947)."""
    order = jnp.argsort(scores)
    s = scores[order]
    plus = jnp.where(positive, weight, jnp.zeros_like(weight))[order]
    minus = jnp.where(positive, jnp.zeros_like(weight), weight)[order]
    below = jnp.concatenate([jnp.zeros((1,), minus.dtype), jnp.cumsum(minus)])
    low, high = jnp.searchsorted(s, s, side="left"), jnp.searchsorted(s, s, side="right")
    return (plus * (below[low] + below[high]) / 2).sum() / (plus.sum() * minus.sum())


@partial(jax.jit, static_argnames=("loss", "names"))
def measure(loss: Any, names: tuple[str, ...], logits: Any, y: Any, weight: Any, mask: Any) -> dict[str, Any]:
    """Loss and metrics over a whole set, each weighted by `weight` (n,)."""
    total = weight.sum()
    losses = row_losses(loss, logits, y, mask)
    found = {"loss": jnp.where(weight > 0, losses * weight, jnp.zeros_like(losses)).sum() / total}
    steps = logits.ndim == 3 or (loss == "sigmoid" and logits.ndim == 2)
    each = weight
    if steps:
        real = jnp.ones(logits.shape[:2], weight.dtype) if mask is None else mask.astype(weight.dtype)
        each = weight[:, None] * real
    if "accuracy" in names:
        found["accuracy"] = (hits(loss, logits, y, mask) * weight).sum() / total
    if "confusion" in names:
        found["confusion"] = _confusion(loss, logits, y, each)
    if "auc" in names:
        flat, truth = each.reshape(-1), y.reshape(-1)
        if loss == "sigmoid":
            found["auc"] = _auc(logits.reshape(-1), truth.astype(logits.dtype) > 0.5, flat)
        else:  # the mean over classes of one against the rest
            scores = jax.nn.softmax(logits, -1).reshape(-1, logits.shape[-1])
            classes = jnp.arange(logits.shape[-1], dtype=jnp.int32)
            against = jax.vmap(lambda s, k: _auc(s, truth.astype(jnp.int32) == k, flat), (1, 0))(scores, classes)
            found["auc"] = against.mean()
    return found


def better(monitor: str, new: float, old: float, margin: float) -> bool:
    """Whether `new` improves on `old` by more than the margin: upwards for accuracy and AUC, else downwards."""
    if np.isnan(old):
        return not np.isnan(new)
    return new > old + margin if monitor.endswith(("accuracy", "auc")) else new < old - margin
