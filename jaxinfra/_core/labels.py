"""Trace-time checks of class labels, class weights and offsets per class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import checks


def design(
    verb: str, X: Any, y: Any, n_classes: int | None, sample_weight: Any, *, soft: bool = True
) -> tuple[Any, Any, Any, int, np.dtype]:
    """X (n, p), y (n,) labels or, if soft, (n, K) soft labels, the weights, K and the working dtype.

    Labels of rows of weight 0 are not checked.
    """
    X, y, dtype = checks.design(verb, X, y)
    if y.ndim != 1 and not soft:
        raise ValueError(f"{verb}: y must have shape (n,), got X {X.shape} and y {y.shape}")
    weights = checks.weights(verb, sample_weight, X, y)
    counts = checks.counting(weights)
    if n_classes is not None:
        if isinstance(n_classes, bool) or not isinstance(n_classes, int | np.integer):
            raise TypeError(f"{verb}: n_classes is static and must be a whole number or None, got {n_classes!r}")
        if n_classes < 2:
            raise ValueError(f"{verb}: n_classes must be at least 2, got {n_classes}")
    if y.ndim == 2:
        return X, y, weights, _soft(verb, X, y, n_classes, counts), dtype
    if jnp.issubdtype(y.dtype, jnp.floating):
        more = " or be (n, K)" if soft else ""
        raise TypeError(f"{verb}: y {y.shape} has dtype {y.dtype}; it must hold integers 0..K-1 (y.astype(int)){more}")
    if n_classes is None:
        if isinstance(y, jax.core.Tracer):
            raise ValueError(f"{verb}: the values of y {y.shape} are traced, so n_classes must be given")
        n_classes = _number(verb, np.asarray(y), counts)
    if isinstance(y, np.ndarray):
        bad = counts & ((y < 0) | (y >= n_classes))
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"{verb}: labels must lie in 0..{n_classes - 1}, got y[{i}] = {y[i]}")
    return X, y, weights, int(n_classes), dtype


def _number(verb: str, y: np.ndarray, counts: Any) -> int:
    """The number of classes of labels on the host."""
    there = np.unique(y[np.broadcast_to(counts, y.shape)])
    n_classes = max(2, int(there.max(initial=0)) + 1)
    missing = np.setdiff1d(np.arange(n_classes), y)  # a class whose weights are all 0 is left to the Status
    if there.size > 1 and there[0] >= 0 and missing.size:
        raise ValueError(
            f"{verb}: class {missing[0]} has no rows; labels must be 0..K-1, got {', '.join(map(str, there[:5]))}"
            f"{', ...' if there.size > 5 else ''}: pass np.unique(y, return_inverse=True)[1], or n_classes"
        )
    return n_classes


def _soft(verb: str, X: Any, y: Any, n_classes: int | None, counts: Any) -> int:
    K = y.shape[1]
    if K < 2 or n_classes not in (None, K):
        want = "at least 2" if n_classes is None else str(n_classes)
        raise ValueError(f"{verb}: soft labels must have {want} columns, got X {X.shape} and y {y.shape}")
    if isinstance(y, np.ndarray):
        with np.errstate(invalid="ignore"):  # NaN and inf have a Status of their own
            bad = counts & np.isfinite(y).all(1) & ((y < 0).any(1) | (np.abs(y.sum(1) - 1) > 1e-3))
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"{verb}: soft labels must not be negative and must sum to 1, got y[{i}] = {y[i]}")
    return K


def counted(verb: str, model: Any, y: Any, fixed: Mapping[str, Any], sample_weight: Any = None) -> dict[str, Any]:
    """The arguments of `model.fit`, with the n_classes of y where it has that argument, for a caller that traces y."""
    known = inspect.signature(model.fit).parameters
    if "n_classes" not in known or "n_classes" in fixed or jnp.issubdtype(y.dtype, jnp.floating) or y.ndim != 1:
        return dict(fixed)
    if isinstance(y, jax.core.Tracer):
        raise ValueError(f"{verb}: the values of y are traced, so fixed must hold n_classes")
    return {**fixed, "n_classes": _number(verb, np.asarray(y), checks.counting(sample_weight))}


def class_weight(verb: str, value: Any, K: int, dtype: np.dtype) -> tuple[bool, Any]:
    """Whether class_weight is "balanced", and otherwise the weights (K,) or None."""
    if value is None:
        return False, None
    if isinstance(value, str):
        if value != "balanced":
            raise ValueError(f'{verb}: class_weight must be None, "balanced" or an array ({K},), got {value!r}')
        return True, None
    value = checks.hyper(verb, "class_weight", value, dtype)
    if value.shape != (K,):
        raise ValueError(f"{verb}: class_weight must have shape ({K},), got class_weight {value.shape}")
    return False, value


def offset(verb: str, value: Any, X: Any, K: int) -> Any:
    """The offset, checked: (n,) or (n, K)."""
    if value is None:
        return None
    value = checks.array(verb, "offset", value)
    if value.shape not in ((X.shape[0],), (X.shape[0], K)):
        raise ValueError(
            f"{verb}: offset must have shape ({X.shape[0]},) or ({X.shape[0]}, {K}) to match X {X.shape}, "
            f"got offset {value.shape}"
        )
    return value


def pairs(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second class of every pair, in the order (0, 1), (0, 2), ..."""
    first, second = np.array(list(combinations(range(classes), 2)), np.int32).T
    return first, second


def classes_of(n_pairs: int) -> int:
    """The number of classes K of K (K - 1) / 2 pairs."""
    return round((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
