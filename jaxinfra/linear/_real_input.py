"""What the models of one real response share: the checked data, and the data as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinfra._core import checks
from jaxinfra.solvers.least_squares import ridge
from jaxinfra.solvers.linalg.design import Data


class Input(NamedTuple):
    """The data as they were given."""

    X: Any
    y: Any
    sample_weight: Any
    offset: Any


def check(verb: str, X: Any, y: Any, sample_weight: Any, offset: Any) -> tuple[Input, np.dtype]:
    """The checked data, y of shape (n,), and the working dtype."""
    X, y, dtype = checks.design(verb, X, y)
    if y.ndim != 1:
        raise ValueError(f"{verb}: y must have shape (n,), got X {X.shape} and y {y.shape}")
    weights, offset = checks.weights(verb, sample_weight, X, y), checks.rows_like(verb, "offset", offset, X, y)
    return Input(X, y, weights, offset), dtype


def read(raw: Input) -> Data:
    """The data in the working dtype, the offset taken from y."""
    X, y, w = ridge.prepare(*raw[:2], raw.sample_weight, raw.offset)
    return Data(X, y, w, None)


def scalar(verb: str, name: str, value: Any, dtype: np.dtype, *, above: float, most: float = np.inf) -> Any:
    """A traced number, within its bounds where it is on the host."""
    value = checks.hyper(verb, name, value, dtype, minimum=None)
    if value.ndim:
        raise ValueError(f"{verb}: {name} must be a scalar, got {name} {value.shape}")
    if not isinstance(value, jax.Array) and not value > above:
        raise ValueError(f"{verb}: {name} must be above {above:g}, got {name} = {value}")
    if not isinstance(value, jax.Array) and not value <= most:
        raise ValueError(f"{verb}: {name} must be at most {most:g}, got {name} = {value}")
    return value


def subset_size(verb: str, size: Any, n: int, q: int) -> int:
    """Rows of a random subset: from the number of parameters, the default, to that of rows."""
    size = checks.static_count(verb, "subset_size", q if size is None else size)
    if not q <= size <= n:
        raise ValueError(f"{verb}: subset_size must be from the {q} parameters to the {n} rows, got {size}")
    return size
