"""Trace-time checks of class labels, class weights and penalties per coefficient and class."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import checks
from jaxinfra._core.types import Linear


def design(verb: str, X: Any, y: Any, n_classes: int | None) -> tuple[Any, Any, int, np.dtype]:
    """X (n, p), y (n,) labels or (n, K) soft labels, K and the working dtype."""
    X, y, dtype = checks.design(verb, X, y)
    if n_classes is not None:
        if isinstance(n_classes, bool) or not isinstance(n_classes, int | np.integer):
            raise TypeError(f"{verb}: n_classes is static and must be a whole number or None, got {n_classes!r}")
        if n_classes < 2:
            raise ValueError(f"{verb}: n_classes must be at least 2, got {n_classes}")
    if y.ndim == 2:
        return X, y, _soft(verb, X, y, n_classes), dtype
    if jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            f"{verb}: y {y.shape} has dtype {y.dtype}; it must hold integers 0..K-1 (y.astype(int)) or be (n, K)"
        )
    if n_classes is None:
        if isinstance(y, jax.core.Tracer):
            raise ValueError(f"{verb}: the values of y {y.shape} are traced, so n_classes must be given")
        n_classes = max(2, int(np.asarray(y).max()) + 1)
    if isinstance(y, np.ndarray):
        bad = (y < 0) | (y >= n_classes)
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"{verb}: labels must lie in 0..{n_classes - 1}, got y[{i}] = {y[i]}")
    return X, y, int(n_classes), dtype


def _soft(verb: str, X: Any, y: Any, n_classes: int | None) -> int:
    K = y.shape[1]
    if K < 2 or n_classes not in (None, K):
        want = "at least 2" if n_classes is None else str(n_classes)
        raise ValueError(f"{verb}: soft labels must have {want} columns, got X {X.shape} and y {y.shape}")
    if isinstance(y, np.ndarray) and np.isfinite(y).all():
        bad = (y < 0).any(1) | (np.abs(y.sum(1) - 1) > 1e-3)
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"{verb}: soft labels must not be negative and must sum to 1, got y[{i}] = {y[i]}")
    return K


def class_weight(verb: str, value: Any, K: int, dtype: np.dtype) -> tuple[bool, Any]:
    """Whether the weights are to balance the classes, and the weights (K,) or None."""
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


def penalty(verb: str, name: str, value: Any, X: Any, K: int, dtype: np.dtype) -> Any:
    """A penalty that broadcasts against coef (p, K)."""
    value = checks.hyper(verb, name, value, dtype)
    broadcasts(verb, name, value, X, K)
    return value


def broadcasts(verb: str, name: str, value: Any, X: Any, K: int) -> None:
    """Raise unless `value` broadcasts against coef (p, K)."""
    coef = (X.shape[1], K)
    try:
        fits = np.broadcast_shapes(value.shape, coef) == coef
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{verb}: {name} must broadcast against coef {coef}, got {name} {value.shape} with X {X.shape}"
        )


def along(verb: str, l1: Any, l2: Any, X: Any, K: int, dtype: np.dtype) -> tuple[Any, Any]:
    """Penalties of a path: a leading axis of the same length m in l1, l2 or both; the other a scalar, l1 also None."""
    penalties = {"l1": l1, "l2": l2}
    for name, value in penalties.items():
        if value is not None:
            value = checks.hyper(verb, name, value, dtype)
            penalties[name] = value
            if value.ndim and value.shape[0]:
                broadcasts(verb, name, value[0], X, K)
    lengths = {v.shape[0] for v in penalties.values() if v is not None and v.ndim}
    if len(lengths) != 1 or 0 in lengths:
        shapes = ", ".join(f"{k} {v.shape}" for k, v in penalties.items() if v is not None)
        raise ValueError(
            f"{verb}: l1 or l2 must have a leading axis of m >= 1, the same where both have one; got {shapes}"
        )
    return penalties["l1"], penalties["l2"]


def is_zero(value: Any) -> bool:
    """Whether a penalty is the number 0, known to the program."""
    return isinstance(value, int | float | np.number) and value == 0


def offset(verb: str, value: Any, X: Any, K: int) -> Any:
    """offset: (n,) or (n, K)."""
    if value is None:
        return None
    value = checks.array(verb, "offset", value)
    if value.shape not in ((X.shape[0],), (X.shape[0], K)):
        raise ValueError(
            f"{verb}: offset must have shape ({X.shape[0]},) or ({X.shape[0]}, {K}) to match X {X.shape}, "
            f"got offset {value.shape}"
        )
    return value


def init(verb: str, value: Linear | None, X: Any, K: int) -> None:
    """Raise unless init is None or Linear(coef (p, K), intercept (K,))."""
    if value is None:
        return
    for name, want in (("coef", (X.shape[1], K)), ("intercept", (K,))):
        got = np.shape(getattr(value, name))
        if got != want:
            raise ValueError(f"{verb}: init.{name} must have shape {want} to match X {X.shape}, got {got}")
