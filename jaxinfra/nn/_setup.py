"""The arguments of `train`, checked and brought into the form that the loop works with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinfra._core import checks
from jaxinfra.nn import _metrics, _step, layers
from jaxinfra.nn._batches import Data

PRECISIONS = {"float32": None, "bfloat16": "bfloat16"}


def data(verb: str, X: Any, y: Any, weight: Any, mask: Any) -> Data:
    """X, y, weights and mask with as many rows each; NumPy arrays stay on the host."""
    X, y = checks.array(verb, "X", X), checks.array(verb, "y", y)
    rows = {"X": X.shape, "y": y.shape}
    if not X.ndim or not y.ndim or X.shape[0] != y.shape[0] or X.shape[0] == 0:
        raise ValueError(f"{verb}: X and y must have the same number of rows, at least one, got {rows}")
    n = X.shape[0]
    weight = np.ones(n, np.float32) if weight is None else np.asarray(weight, np.float32)
    layers.require(weight.shape == (n,), f"{verb}: sample_weight must have shape ({n},), got {weight.shape}")
    good = bool(np.isfinite(weight).all() and (weight >= 0).all())
    layers.require(good, f"{verb}: sample_weight must be finite and not negative")
    layers.require(bool(weight.sum() > 0), f"{verb}: every sample_weight is 0")
    if mask is not None:
        mask = mask if isinstance(mask, jax.Array) else np.asarray(mask)
        layers.require(mask.shape[:1] == (n,), f"{verb}: mask must have {n} rows, got {mask.shape}")
        layers.require(mask.dtype == np.bool_, f"{verb}: mask must be boolean (True: a real step), got {mask.dtype}")
    return Data(_narrow(X), _narrow(y), weight, mask)


def _narrow(array: Any) -> Any:
    """64-bit arrays of the host as what JAX makes of them."""
    if isinstance(array, jax.Array):
        return array
    return np.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))


def wants(apply: Any) -> tuple[str, ...]:
    """Which of `key` and `mask` the function takes."""
    if not callable(apply):
        raise TypeError(f"train: apply must be a function (params, x) -> logits, got {type(apply).__name__}")
    names = inspect.signature(apply).parameters
    return tuple(name for name in ("key", "mask") if name in names)


def plan(
    verb: str, apply: Any, params: Any, rows: Data, loss: Any, precision: str, mesh: Any, rule: Any, augment: Any = None
) -> tuple[Any, int]:
    """(plan, number of classes) after the network has been tried on shapes alone."""
    layers.choice(verb, "precision", precision, PRECISIONS)
    taken = wants(apply)
    layers.require(rows.mask is None or "mask" in taken, f"{verb}: a mask is given, but apply takes none")
    draft = _step.Plan(apply, "squared", rule, taken, PRECISIONS[precision], mesh)
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((2, *a.shape[1:]), a.dtype), (rows.x, rows.mask))
    logits = jax.eval_shape(lambda p, x, m: _step.forward(draft, p, x, m, None), params, *one)
    if loss == "auto":
        integer = jnp.issubdtype(rows.y.dtype, jnp.integer) or rows.y.dtype == jnp.bool_
        if logits.ndim == rows.y.ndim + 1 and integer:
            loss = "softmax"
        elif logits.ndim == rows.y.ndim and integer:
            loss = "sigmoid"
        else:
            loss = "squared"
    if isinstance(loss, str):
        layers.choice(verb, "loss", loss, _metrics.LOSSES)
        shape = logits.shape[:-1] if loss == "softmax" else logits.shape
        fits = shape[1:] == rows.y.shape[1:]
        layers.require(fits, f"{verb}: {loss} needs y of shape (n, *{shape[1:]}), got {rows.y.shape} beside logits "
                       f"(n, *{logits.shape[1:]})")  # fmt: skip
    elif not callable(loss):
        raise TypeError(f"{verb}: loss must be one of {', '.join(_metrics.LOSSES)} or a function, got {loss!r}")
    classes = logits.shape[-1] if loss == "softmax" else 2
    labels(verb, rows, loss, classes)
    if augment is not None:
        x = jax.ShapeDtypeStruct((2, *rows.x.shape[1:]), rows.x.dtype)
        changed = jax.eval_shape(augment, jax.random.key(0), x)
        same = (changed.shape, changed.dtype) == (x.shape, x.dtype)
        layers.require(same, f"{verb}: augment must keep shape and dtype, {x.shape} {x.dtype}, got {changed}")
    return _step.Plan(apply, loss, rule, taken, PRECISIONS[precision], mesh, augment), classes


def validation(verb: str, given: Any, portion: float, rows: Data) -> Data | None:
    """The validation set: given, or the share `portion` of the last rows."""
    if given is not None:
        layers.require(not portion, f"{verb}: give validation or validation_split, not both")
        layers.require(
            isinstance(given, tuple | list) and 2 <= len(given) <= 4,
            f"{verb}: validation must be (X, y), with sample_weight and mask where there are any",
        )
        return data(f"{verb}: validation", *given, *[None] * (4 - len(given)))
    layers.share(verb, "validation_split", portion)
    if not portion:
        return None
    n = len(rows.weight)
    cut = n - round(portion * n)
    layers.require(0 < cut < n, f"{verb}: validation_split {portion} of {n} rows leaves one part empty")
    return Data(*(None if array is None else array[cut:] for array in rows))


def optimizer(given: Any, rate: Any, clip: float | None, params: Any) -> tuple[Any, Any]:
    """(transformation, its state at the start)."""
    if clip is not None and not clip > 0:
        raise ValueError(f"train.fit: clip_norm must be positive, got {clip}")
    dtype = jnp.result_type(*jax.tree.leaves(params))
    if not isinstance(given, str):
        rule = _step.clipped(given, clip)
        return rule, _start(rule, params)
    if callable(rate):
        rule = _step.named_optimizer(given, clip, rate, str(dtype))
        return rule, _start(rule, params)
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"train.fit: learning_rate must be positive and finite, got {rate}")
    rule = _step.named_optimizer(given, clip, None, str(dtype))
    return rule, optax.tree.set(_start(rule, params), learning_rate=jnp.asarray(rate, dtype))


def _start(rule: Any, params: Any) -> Any:
    with _step.optax_promotion():
        return rule.init(params)


def labels(verb: str, rows: Data, loss: Any, classes: int) -> None:
    """Classes are integers 0..K-1, or probabilities under the sigmoid loss; in rows that count."""
    if not _metrics.classified(loss):
        return
    y = np.asarray(rows.y)[rows.weight > 0]
    low, high = y.min(), y.max()
    if loss == "softmax" and not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"{verb}: y must hold integers 0..{classes - 1} under the softmax loss, got {y.dtype}")
    inside = low >= 0 and high <= classes - 1
    layers.require(bool(inside), f"{verb}: y must lie in 0..{classes - 1}, got {low}..{high}")


def class_weighted(verb: str, value: Any, rows: Data, loss: Any, classes: int) -> Data:
    """Rows with their weights times those of their classes: {class: weight}, K weights, or "balanced".

    Balanced gives every class that is there the same number of rows, counted without rows of weight 0.
    """
    if value is None:
        return rows
    layers.require(
        _metrics.classified(loss) and rows.y.ndim == 1,
        f"{verb}: class_weight needs one class a row, under a class loss",
    )
    real = rows.weight > 0
    given = np.where(real, np.asarray(rows.y), 0)
    y = given.astype(np.int64)
    layers.require(bool((y == given).all()), f"{verb}: class_weight needs y of whole numbers, not probabilities")
    if isinstance(value, str):
        layers.choice(verb, "class_weight", value, ("balanced",))
        counts = np.bincount(y[real], minlength=classes)
        value = real.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if isinstance(value, Mapping):
        strange = set(value) - set(range(classes))
        layers.require(not strange, f"{verb}: class_weight names classes outside 0..{classes - 1}: {sorted(strange)}")
        value = [value.get(k, 1.0) for k in range(classes)]
    table = np.asarray(value, np.float32)
    good = table.shape == (classes,) and bool((table >= 0).all() and np.isfinite(table).all())
    layers.require(good, f"{verb}: class_weight must be {classes} weights, none negative, got {value}")
    return rows._replace(weight=rows.weight * table[y])


def counts(verb: str, rows: Data) -> None:
    """Some row must count."""
    layers.require(bool(rows.weight.sum() > 0), f"{verb}: no row is left with a weight above 0")


def divides(verb: str, batch_size: int, mesh: Any) -> None:
    """A batch must spread evenly over the mesh."""
    count = 1 if mesh is None else mesh.size
    layers.require(
        batch_size % count == 0,
        f"{verb}: batch_size {batch_size} must be a multiple of the {count} devices of the mesh",
    )


def seed(key: Any) -> tuple[int, ...]:
    """The numbers of a key, for NumPy's permutations."""
    if not (isinstance(key, jax.Array) and (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.dtype == jnp.uint32)):
        raise TypeError(f"train.fit: key must be a jax.random.key, got {type(key).__name__}")
    numbers = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return tuple(int(n) for n in np.ravel(numbers))
