"""The arguments of `train`, checked and converted to the form that the loop uses."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import replace
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
    """X, y, weights and mask with equal numbers of rows, checked; NumPy arrays stay on the host."""
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
    """Host arrays in the dtype that JAX gives them in its current mode."""
    if isinstance(array, jax.Array):
        return array
    return np.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype))


def keywords(apply: Any) -> tuple[str, ...]:
    """Those of the keywords `key` and `mask` that the function takes."""
    if not callable(apply):
        raise TypeError(f"train: apply must be a function (params, x) -> logits, got {type(apply).__name__}")
    names = inspect.signature(apply).parameters
    return tuple(name for name in ("key", "mask") if name in names)


def shape(verb: str, plan: _step.Plan, params: Any, rows: Data) -> Any:
    """The shape and dtype of the logits of all rows, checked, so that errors name the user's arrays."""
    layers.require(rows.mask is None or "mask" in plan.keywords, f"{verb}: a mask is given, but apply takes none")
    logits = _shape(plan, params, rows.x, rows.mask)
    n = len(rows.weight)
    fits = logits.shape[:1] == (n,)
    layers.require(fits, f"{verb}: apply must give logits of the {n} rows of X, got shape {logits.shape}")
    return logits


def _shape(plan: _step.Plan, params: Any, x: Any, mask: Any) -> Any:
    rows = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (x, mask))
    return jax.eval_shape(lambda p, x, m: _step.forward(plan, p, x, m, None), params, *rows)


def plan(
    verb: str, apply: Any, params: Any, rows: Data, loss: Any, precision: str, mesh: Any, rule: Any, augment: Any = None
) -> tuple[_step.Plan, Data, int]:
    """The plan, the rows as `targets` returns them, and the number of classes, from an abstract evaluation."""
    layers.choice(verb, "precision", precision, PRECISIONS)
    draft = _step.Plan(apply, loss, rule, keywords(apply), PRECISIONS[precision], mesh, augment)
    logits = shape(verb, draft, params, rows)
    steps = _stepwise(draft, params, rows, logits)
    if loss == "auto":
        loss = _automatic(verb, rows, logits, steps)
    if isinstance(loss, str):
        layers.choice(verb, "loss", loss, _metrics.LOSSES)
    elif not callable(loss):
        raise TypeError(f"{verb}: loss must be one of {', '.join(_metrics.LOSSES)} or a function, got {loss!r}")
    if augment is not None:
        x = jax.ShapeDtypeStruct(rows.x.shape, rows.x.dtype)
        changed = jax.eval_shape(augment, jax.random.key(0), x)
        same = (changed.shape, changed.dtype) == (x.shape, x.dtype)
        layers.require(same, f"{verb}: augment must keep shape and dtype, {x.shape} {x.dtype}, got {changed.shape} "
                       f"{changed.dtype}")  # fmt: skip
    # Under the softmax with one logit for each step the steps are the classes.
    draft = replace(draft, loss=loss, steps=steps and not (loss == "softmax" and len(logits.shape) == 2))
    return draft, targets(verb, draft, rows, logits), logits.shape[-1] if loss == "softmax" else 2


def _stepwise(plan: _step.Plan, params: Any, rows: Data, logits: Any) -> bool:
    """Whether each step has a prediction: with another number of steps in x the logits have that number too."""
    x, mask = rows.x, rows.mask
    if x.ndim < 2 or logits.shape[1:2] != x.shape[1:2] or (mask is not None and mask.shape != x.shape[:2]):
        return False
    other = jax.ShapeDtypeStruct((x.shape[0], x.shape[1] - 1 or 2, *x.shape[2:]), x.dtype)
    seen = None if mask is None else jax.ShapeDtypeStruct(other.shape[:2], mask.dtype)
    try:
        return _shape(plan, params, other, seen).shape[1:2] == other.shape[1:2]
    except Exception:  # a network of one length raises an error of any class: a mask then is evidence for steps
        return mask is not None


def _automatic(verb: str, rows: Data, logits: Any, steps: bool) -> str:
    """The loss that dtype, shape and values of y suggest."""
    y, classes = rows.y, len(logits.shape) > 1 + steps
    integer = jnp.issubdtype(y.dtype, jnp.integer) or y.dtype == jnp.bool_
    if integer and len(logits.shape) == y.ndim + 1:
        return "softmax"
    if y.shape != logits.shape:
        return "squared"
    real = _real(rows, steps)
    if classes and y.shape[-1] > 1 and _distributions(real):
        return "softmax"
    if integer:
        return "sigmoid"
    zeros, ones = real == 0, real == 1
    layers.require(
        not (zeros.any() and ones.any() and (zeros | ones).all()),
        f'{verb}: y holds only 0 and 1, as {y.dtype}: give loss="sigmoid" for classes, loss="squared" for a regression',
    )
    return "squared"


def _real(rows: Data, steps: bool) -> np.ndarray:
    """The y of the rows that count, and of their real steps where each step has one."""
    y, there = np.asarray(rows.y), rows.weight > 0
    return y[there] if not steps or rows.mask is None else y[there][np.asarray(rows.mask)[there]]


def _distributions(y: np.ndarray) -> bool:
    """Whether the last axis of y holds probabilities of classes, such as a one-hot row."""
    rounding = float(jnp.finfo(y.dtype).eps) if jnp.issubdtype(y.dtype, jnp.floating) else 0.0
    y = y.astype(np.float64)
    return bool((y >= 0).all() and (np.abs(y.sum(-1) - 1) <= max(1e-3, rounding)).all())


def targets(verb: str, plan: _step.Plan, rows: Data, logits: Any) -> Data:
    """The rows, with y checked against the logits, weight 0 for rows without a real step, and one-hot y as integers."""
    if plan.steps and rows.mask is not None:
        rows = rows._replace(weight=np.where(np.asarray(rows.mask).any(1), rows.weight, np.float32(0)))
    counts(verb, rows)
    y = rows.y
    if not isinstance(plan.loss, str):
        values = jax.eval_shape(plan.loss, logits, jax.ShapeDtypeStruct(y.shape, y.dtype))
        fits = values.shape[:1] == (len(y),)
        layers.require(fits, f"{verb}: loss must give a value for each of the {len(y)} rows, got shape {values.shape}")
        return rows
    shapes = [logits.shape[:-1]] * (plan.loss == "softmax") + [logits.shape]
    layers.require(
        y.shape in shapes,
        f"{verb}: {plan.loss} needs y of shape {' or '.join(map(str, shapes))} beside logits {logits.shape}, "
        f"got {y.shape}",
    )
    real = _real(rows, plan.steps)
    if plan.loss == "softmax" and y.shape == logits.shape:
        layers.require(_distributions(real), f"{verb}: the {y.shape[-1]} columns of y must be probabilities of the "
                       "classes: none negative, their sum 1")  # fmt: skip
        single = bool(np.isin(real, (0, 1)).all())
        return rows._replace(y=np.asarray(y).argmax(-1).astype(np.int32)) if single else rows
    if _metrics.classified(plan.loss):
        classes = logits.shape[-1] if plan.loss == "softmax" else 2
        low, high = real.min(), real.max()
        if plan.loss == "softmax" and not np.issubdtype(real.dtype, np.integer):
            raise TypeError(f"{verb}: y must hold integers 0..{classes - 1} under the softmax loss, got {real.dtype}")
        inside = low >= 0 and high <= classes - 1
        layers.require(bool(inside), f"{verb}: y must lie in 0..{classes - 1}, got {low}..{high}")
    return rows


def validation(verb: str, given: Any, portion: float, rows: Data) -> Data | None:
    """The validation set: the one given, or the last rows, `portion` of all."""
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


def sorted_warning(verb: str, rows: Data, held: Data, loss: Any) -> None:
    """Warn where the rows are sorted by class: the classes at the end are then rare or absent in training."""
    if not _metrics.classified(loss) or rows.y.ndim != 1 or held.y.ndim != 1:
        return
    y = np.concatenate([np.asarray(part.y)[part.weight > 0] for part in (rows, held)])
    changes, classes = np.count_nonzero(y[1:] != y[:-1]), len(np.unique(y))
    if 1 < classes == changes + 1:
        warnings.warn(
            f"{verb}: validation_split holds out the last rows, and y is sorted by class: shuffle X and y first, or "
            "give validation=(X, y)", UserWarning, stacklevel=3,
        )  # fmt: skip


def optimizer(given: Any, rate: Any, clip: float | None, params: Any) -> tuple[Any, Any]:
    """The transformation and its state at the start."""
    if clip is not None and not clip > 0:
        raise ValueError(f"train.fit: clip_norm must be positive, got {clip}")
    with _step.optax_promotion():
        dtype = jnp.result_type(*jax.tree.leaves(_step.wide(params)))
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
        return rule.init(_step.wide(params))


def class_weighted(verb: str, value: Any, rows: Data, loss: Any, classes: int) -> Data:
    """The rows with their weights times those of their classes: {class: weight}, K weights, or "balanced".

    "balanced" gives every class that is present the same total weight.
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
        mass = np.bincount(y, rows.weight.astype(np.float64), classes)
        value = mass.sum() / (np.count_nonzero(mass) * np.where(mass > 0, mass, 1))
    if isinstance(value, Mapping):
        strange = set(value) - set(range(classes))
        layers.require(not strange, f"{verb}: class_weight names classes outside 0..{classes - 1}: {sorted(strange)}")
        value = [value.get(k, 1.0) for k in range(classes)]
    table = np.asarray(value, np.float32)
    good = table.shape == (classes,) and bool((table >= 0).all() and np.isfinite(table).all())
    layers.require(good, f"{verb}: class_weight must be {classes} weights, none negative, got {value}")
    return rows._replace(weight=rows.weight * table[y])


def counts(verb: str, rows: Data) -> None:
    """Raise unless some row counts."""
    layers.require(bool(rows.weight.sum() > 0), f"{verb}: no row is left with a weight above 0")


def divides(verb: str, batch_size: int, mesh: Any) -> None:
    """Raise unless a batch divides evenly over the devices of the mesh."""
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
