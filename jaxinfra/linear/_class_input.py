"""The input of the linear models of classes: checked labels; labels, weights and factors of classes combined."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import absent, checks, labels
from jaxinfra._core.absent import or_ones
from jaxinfra._core.precision import dot, positive
from jaxinfra.linear._input import Given
from jaxinfra.solvers.linalg.design import Data
from jaxinfra.solvers.multinomial.multinomial import Shares


def check_two(
    verb: str, X: Any, y: Any, class_weight: Any, sample_weight: Any, offset: Any
) -> tuple[Given, bool, np.dtype]:
    """The checked data of two classes, whether to balance their weights, and the working dtype."""
    X, y, dtype = checks.design(verb, X, y)
    if y.ndim != 1:
        raise ValueError(f"{verb}: y must have shape (n,) for two classes, got X {X.shape} and y {y.shape}")
    weights, offset = checks.weights(verb, sample_weight, X, y), checks.rows_like(verb, "offset", offset, X, y)
    # NaN and inf get their own Status.
    if isinstance(y, np.ndarray) and (bad := checks.counting(weights) & ((y < 0) | (y > 1)) & np.isfinite(y)).any():
        i = int(np.argmax(bad))
        more = " (for more than two classes use multinomial)" if y[i] > 1 else ""
        raise ValueError(f"{verb}: labels must be 0 or 1{more}, got y[{i}] = {y[i]}")
    balanced, class_weight = labels.class_weight(verb, class_weight, 2, dtype)
    return Given(X, y, weights, offset, class_weight), balanced, dtype


def read_two(given: Given, balanced: bool) -> tuple[Data, jax.Array]:
    """The data in the working dtype, with the factors of the classes in w, and where y is valid."""
    dtype = checks.working_dtype(given.X, given.y)
    X, y = jnp.asarray(given.X, dtype), jnp.asarray(given.y, dtype)
    w = absent.weights(given.sample_weight, dtype)
    offset = None if given.offset is None else jnp.asarray(given.offset, dtype)
    y, offset = absent.present(w, y, offset)
    factor = given.class_weight
    if balanced:
        each = jnp.stack([1 - y, y]).sum(1) if w is None else dot(jnp.stack([1 - y, y]), w)
        factor = 0.5 * each.sum() / positive(each)
    if factor is not None:
        share = factor[0] * (1 - y) + factor[1] * y
        w = share if w is None else w * share
    return Data(X, y, w, offset), (y >= 0) & (y <= 1)


def check_several(
    verb: str, X: Any, y: Any, n_classes: int | None, class_weight: Any, sample_weight: Any, offset: Any
) -> tuple[Given, dict[str, Any], np.dtype]:
    """The checked data of K classes, their static settings (K, balanced), and the working dtype."""
    X, y, weights, K, dtype = labels.design(verb, X, y, n_classes, sample_weight)
    balanced, class_weight = labels.class_weight(verb, class_weight, K, dtype)
    offset = labels.offset(verb, offset, X, K)
    return Given(X, y, weights, offset, class_weight), {"K": K, "balanced": balanced}, dtype


def read_several(given: Given, *, K: int, balanced: bool) -> Shares:
    """The rows, with weights, factors of classes and labels combined."""
    X, y, w, offset, class_weight, _ = given
    dtype = checks.working_dtype(X, y)
    X = jnp.asarray(X, dtype)
    w = absent.weights(w, dtype)
    y, offset = absent.present(w, y, offset)
    X, w = absent.masked(X, w)
    # Soft labels sum to 1 up to rounding.
    same = w is None and class_weight is None and not balanced
    w = or_ones(w, X[:, 0])
    if y.ndim == 1:
        known = jnp.asarray(y, jnp.int32)
        Y = (known[:, None] == jnp.arange(K, dtype=jnp.int32)[None]).astype(dtype)
        fits = (known >= 0) & (known < K)
    else:
        Y = jnp.asarray(y, dtype)
        fits = (Y >= 0).all(1) & (jnp.abs(Y.sum(1) - 1) <= 1e-3)
    T = Y * w[:, None]
    finite = jnp.isfinite(X.sum()) & jnp.isfinite(T.sum())
    valid = (w >= 0).all() & (w.sum() > 0)
    if balanced:
        mass = T.sum(0)
        class_weight = jnp.where(mass > 0, T.sum() / (K * positive(mass)), 0)
    if class_weight is not None:
        finite &= jnp.isfinite(class_weight).all()
        valid &= (class_weight >= 0).all()
        T = T * class_weight[None]
    total = T.sum()
    valid &= total > 0
    T = T / positive(total)
    if offset is not None:
        offset = jnp.asarray(offset, dtype)
        offset = jnp.broadcast_to(offset[:, None], T.shape) if offset.ndim == 1 else offset
        finite &= jnp.isfinite(offset.sum())
    return Shares(X, T, None if same else T.sum(1), offset, finite, valid, (fits | (w == 0)).all())


def check_ordered(
    verb: str, X: Any, y: Any, n_classes: int | None, sample_weight: Any, offset: Any
) -> tuple[Given, int, np.dtype]:
    """The checked data of classes in an order, their number, and the working dtype."""
    X, y, weights, K, dtype = labels.design(verb, X, y, n_classes, sample_weight, soft=False)
    return Given(X, y, weights, checks.rows_like(verb, "offset", offset, X, y)), K, dtype


def read_ordered(given: Given) -> Data:
    """The data in the working dtype, y as int32."""
    dtype = checks.working_dtype(given.X)
    w = absent.weights(given.sample_weight, dtype)
    offset = None if given.offset is None else jnp.asarray(given.offset, dtype)
    y, offset = absent.present(w, jnp.asarray(given.y, jnp.int32), offset)
    return Data(jnp.asarray(given.X, dtype), y, w, offset)
