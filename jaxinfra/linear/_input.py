"""The input of the linear models: the data as they were given, checked, and as arrays of the working dtype.

`check` and `read` are for models of a real response; those for classes and for a family are in `_class_input` and
`_glm_input`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import absent, affine, checks, rows
from jaxinfra.solvers.linalg.design import Data


class Given(NamedTuple):
    """The data as they were given: X (n, p), y (n,), (n, k) or soft labels (n, K); None is absent.

    class_weight: (K,); offset: (n,), or a column for each target or class; the others: (n,).
    """

    X: Any
    y: Any
    sample_weight: Any
    offset: Any
    class_weight: Any = None
    exposure: Any = None


def check(
    verb: str, X: Any, y: Any, sample_weight: Any, offset: Any, *, targets: str = "one"
) -> tuple[Given, np.dtype]:
    """The checked data, and the working dtype.  targets: "one", y (n,); "several", y (n, k); "any"."""
    X, y, dtype = checks.design(verb, X, y)
    if targets == "one" and y.ndim != 1:
        raise ValueError(f"{verb}: y must have shape (n,), got X {X.shape} and y {y.shape}")
    if targets == "several" and y.ndim != 2:
        raise ValueError(f"{verb}: y must have shape (n, k) (one target: use lasso), got X {X.shape} and y {y.shape}")
    weights = checks.weights(verb, sample_weight, X, y)
    offset = checks.rows_like(verb, "offset", offset, X, y, columns=targets != "one")
    return Given(X, y, weights, offset), dtype


def read(given: Given) -> Data:
    """The data in the working dtype, the offset taken from y."""
    dtype = checks.working_dtype(given.X, given.y)
    X, y = jnp.asarray(given.X, dtype), jnp.asarray(given.y, dtype)
    if given.offset is not None:
        y = y - affine.as_rows(jnp.asarray(given.offset, dtype), y)
    w = absent.weights(given.sample_weight, dtype)
    (y,) = absent.present(w, y)
    return Data(X, y, w, None)


def blocked(given: Given) -> bool:
    """Whether passes may be cut into blocks of rows."""
    return not rows.on_mesh(given.X, given.y)


def options(verb: str, given: Given, fit_intercept: Any) -> dict[str, bool]:
    """The static options of every linear model: the intercept, and whether passes may be cut into blocks of rows."""
    return {"fit_intercept": checks.flag(verb, "fit_intercept", fit_intercept), "blocked": blocked(given)}


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
