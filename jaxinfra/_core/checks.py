"""Trace-time checks of the public verbs: an error names the verb, the argument and both shapes.

Only what is known without reading device memory is checked: shapes and dtypes always, values where they are Python
numbers, lists or NumPy arrays.  Wrong values in device memory end as a `Status`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core.precision import warn_once_if_demoted
from jaxinfra._core.types import Fit

ArrayLike = Any


def _name(verb: str, argument: str) -> str:
    return f"{verb}: {argument}"


def array(verb: str, name: str, value: ArrayLike) -> jax.Array | np.ndarray:
    """The value as an array of real numbers, or an error that names its type or dtype."""
    if value is None:
        raise TypeError(f"{_name(verb, name)} is None; it must be an array of real numbers")
    if not isinstance(value, jax.Array | np.ndarray):
        for dense in ("toarray", "todense"):  # of SciPy and of JAX
            if hasattr(value, dense):
                kind = type(value).__name__
                raise TypeError(
                    f"{_name(verb, name)} is sparse ({kind}), which is not supported: pass {name}.{dense}()"
                )
        try:
            value = _frame(verb, name, value) if hasattr(value, "columns") else np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{_name(verb, name)} is not a rectangular array of numbers: {error}") from None
    dtype = value.dtype
    if getattr(dtype, "kind", "O") not in "biuf" and not _is_small_number(dtype):
        hint = (
            "; pass X.real or split real and imaginary parts into columns"
            if jnp.issubdtype(dtype, jnp.complexfloating)
            else "; convert it with np.asarray(..., dtype=float) or encode its categories as numbers"
        )
        raise TypeError(f"{_name(verb, name)} has dtype {dtype}; it must hold real numbers{hint}")
    return value


def _is_small_number(dtype: Any) -> bool:
    """Whether a dtype that NumPy does not have, such as bfloat16 or int4, is one of real numbers."""
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def is_floating(dtype: Any) -> bool:
    """Whether a dtype is one of floating-point numbers: `jnp.issubdtype` takes 0.3 us, and a fit asks several times."""
    return dtype.kind == "f" or (dtype.kind == "V" and jnp.issubdtype(dtype, jnp.floating))


def _frame(verb: str, name: str, frame: Any) -> np.ndarray:
    """A data frame as an array; columns of booleans, whole and real numbers may be mixed."""
    values, labels = np.asarray(frame), list(frame.columns)
    if values.dtype != object:
        return values
    if len(set(labels)) < len(labels):
        raise ValueError(f"{_name(verb, name)} has columns of the same name: {', '.join(map(str, labels))}")
    columns = [np.asarray(frame[label]) for label in labels]
    for label, column in zip(labels, columns, strict=True):
        if column.dtype.kind not in "biuf":
            raise TypeError(
                f"{_name(verb, name)} has a column {label!r} of dtype {column.dtype}; all must hold real numbers: "
                "encode its categories as numbers (pandas.get_dummies), or leave it out"
            )
    return np.column_stack(columns)


def working_dtype(*arrays: ArrayLike) -> np.dtype:
    """The dtype a fit computes in: the promoted inexact dtype, at least float32, within JAX's current mode."""
    wide = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    floats = [a.dtype for a in arrays if a is not None and is_floating(a.dtype)]
    if not floats:
        return np.dtype(np.float64 if wide else np.float32)
    return np.dtype(np.float64 if wide and max(d.itemsize for d in floats) >= 8 else np.float32)


def design(verb: str, X: ArrayLike, y: ArrayLike) -> tuple[Any, Any, np.dtype]:
    """X (n, p) and y (n,) or (n, k), n >= 1 and p >= 1, with the working dtype."""
    given = {name: a for name, a in (("X", X), ("y", y)) if not isinstance(a, list | tuple)}  # Python has no float32
    X, y = array(verb, "X", X), array(verb, "y", y)
    if X.ndim != 2:
        more = " (for a batch of data sets use jax.vmap)" if X.ndim > 2 else " (one feature: X[:, None])"
        raise ValueError(f"{verb}: X must have shape (n, p){more}, got X {X.shape} and y {y.shape}")
    if y.ndim not in (1, 2):
        raise ValueError(f"{verb}: y must have shape (n,) or (n, k), got X {X.shape} and y {y.shape}")
    if X.shape[0] != y.shape[0]:
        raise ValueError(f"{verb}: X and y must have the same number of rows, got X {X.shape} and y {y.shape}")
    if X.shape[0] == 0 or X.shape[1] == 0 or 0 in y.shape:
        raise ValueError(f"{verb}: X and y must hold at least one row and one column, got X {X.shape} and y {y.shape}")
    warn_once_if_demoted(verb, **given)
    return X, y, working_dtype(X, y)


def rows_like(verb: str, name: str, value: ArrayLike, X: Any, y: Any, *, columns: bool = False) -> Any:
    """A per-row argument: shape (n,), or y's shape where `columns`; None stays None."""
    if value is None:
        return None
    value = array(verb, name, value)
    allowed = {(X.shape[0],), tuple(y.shape)} if columns else {(X.shape[0],)}
    if tuple(value.shape) not in allowed:
        want = " or ".join(str(s) for s in sorted(allowed, key=len))
        raise ValueError(f"{verb}: {name} must have shape {want} to match X {X.shape}, got {name} {value.shape}")
    return value


def weights(verb: str, value: ArrayLike, X: Any, y: Any) -> Any:
    """The sample_weight, checked: shape (n,), not negative where the values are on the host."""
    value = rows_like(verb, "sample_weight", value, X, y)
    if isinstance(value, np.ndarray) and (value < 0).any():
        i = int(np.argmax(value < 0))
        raise ValueError(f"{verb}: sample_weight must not be negative, got sample_weight[{i}] = {value[i]}")
    return value


def counting(w: Any) -> Any:
    """Whether each row counts, (n,), as far as the host knows: rows of weight 0 may hold anything."""
    return w > 0 if isinstance(w, np.ndarray) else np.True_


def hyper(verb: str, name: str, value: ArrayLike, dtype: np.dtype, *, minimum: float | None = 0.0) -> Any:
    """A traced hyper-parameter in the working dtype; values on the host must be at least `minimum`.

    Python numbers become NumPy scalars, so that a second call with a new value compiles nothing.
    """
    if isinstance(value, bool) or value is None:
        raise TypeError(f"{verb}: {name} must be a number or an array of numbers, got {value!r}")
    if not isinstance(value, jax.Array):
        if isinstance(value, float) and (minimum is None or not value < minimum):
            return np.asarray(value, dtype)  # in 0.2 us, the rest takes 2
        value = array(verb, name, value)
        if minimum is not None and (value < minimum).any():
            raise ValueError(f"{verb}: {name} must not be below {minimum:g}, got {name} = {value}")
        return value.astype(dtype)
    return value if value.dtype == dtype and not value.weak_type else jax.lax.convert_element_type(value, dtype)


def _columns(y: Any, classes: int | None) -> tuple[int, ...]:
    """The shape of the intercept: that of a row of y, or one entry a class."""
    return y.shape[1:] if classes is None else (classes,)


def penalty(
    verb: str, name: str, value: ArrayLike, X: Any, y: Any, dtype: np.dtype, *, classes: int | None = None
) -> Any:
    """A traced penalty, at least 0, that broadcasts against coef: (p,) for y (n,), (p, k) for y (n, k) or k classes."""
    value = hyper(verb, name, value, dtype)
    _check_penalty(verb, name, value.shape, X, y, classes)
    return value


def _check_penalty(verb: str, name: str, shape: tuple[int, ...], X: Any, y: Any, classes: int | None) -> None:
    coef = (X.shape[1], *_columns(y, classes))
    try:  # the common shapes first: `np.broadcast_shapes` takes as long as all the other checks together
        fits = shape in ((), coef) or np.broadcast_shapes(shape, coef) == coef
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{verb}: {name} must broadcast against coef {coef}, got {name} {shape} with X {X.shape} and y {y.shape}"
        )


def penalty_path(
    verb: str, X: Any, y: Any, dtype: np.dtype, *, classes: int | None = None, optional: str | None = None,
    **penalties: ArrayLike,
) -> list[Any]:  # fmt: skip
    """Traced penalties of a path: (m,) or (m, ...) with the rest as in `penalty`; those without axis m are scalars.

    At least one has a leading axis.  optional: the name of one that is None where it is the number 0.
    """
    found: dict[str, Any] = {}
    for name, value in penalties.items():
        if name == optional and is_zero(value):
            found[name] = None
            continue
        found[name] = value = hyper(verb, name, value, dtype)
        if value.ndim and value.shape[0]:
            _check_penalty(verb, name, value.shape[1:], X, y, classes)
    lengths = {v.shape[0] for v in found.values() if v is not None and v.ndim}
    if len(lengths) != 1 or 0 in lengths:
        names = " or ".join(penalties)
        shapes = ", ".join(f"{k} {np.shape(v)}" for k, v in found.items())
        raise ValueError(
            f"{verb}: {names} must have a leading axis of m >= 1, the same where both have one, got {shapes}"
        )
    return list(found.values())


def grid(verb: str, name: str, value: ArrayLike, dtype: np.dtype) -> Any:
    """A traced hyper-parameter of the m fits of a path: (m,)."""
    value = hyper(verb, name, value, dtype)
    if value.ndim != 1 or value.shape[0] == 0:
        raise ValueError(f"{verb}: {name} must have shape (m,) with m >= 1, got {name} {value.shape}")
    return value


def is_zero(value: ArrayLike) -> bool:
    """Whether a penalty is the Python or NumPy number 0: the program then omits it."""
    return isinstance(value, int | float | np.number) and value == 0


def init(verb: str, value: Any, X: Any, y: Any, *, classes: int | None = None) -> None:
    """Raise unless init is None or holds coef (p,) or (p, k) and intercept () or (k,)."""
    if value is None:
        return
    intercept = _columns(y, classes)
    for name, want in (("coef", (X.shape[1], *intercept)), ("intercept", intercept)):
        got = tuple(np.shape(getattr(value, name)))
        if got != want:
            raise ValueError(
                f"{verb}: init.{name} must have shape {want} to match X {X.shape} and y {y.shape}, got {got}"
            )


def tolerance(verb: str, tol: ArrayLike, dtype: np.dtype) -> Any:
    """The tol, checked: a scalar that is not negative, or None for the default of the dtype."""
    if tol is None:
        return None
    tol = hyper(verb, "tol", tol, dtype)
    if tol.ndim != 0:
        raise ValueError(f"{verb}: tol must be a scalar, got shape {tol.shape}")
    return tol


def count(verb: str, name: str, value: ArrayLike, minimum: int = 0) -> Any:
    """A whole number, traced, such as max_iter."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < minimum:
            raise ValueError(f"{verb}: {name} must be at least {minimum}, got {value}")
        return np.int32(value)
    value = array(verb, name, value)
    if value.ndim != 0 or not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{verb}: {name} must be one whole number, got dtype {value.dtype} and shape {value.shape}")
    if not isinstance(value, jax.Array):
        return count(verb, name, int(value), minimum)
    return value.astype(np.int32)


def static_count(verb: str, name: str, value: Any, minimum: int = 1) -> int:
    """A static whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{verb}: {name} is static and must be a whole number of at least {minimum}, got {value!r}")
    return int(value)


def groups(verb: str, value: ArrayLike, n: int, n_groups: int | None) -> tuple[Any, int]:
    """Group numbers (n,) from 0 without gaps, and an upper bound of how many groups there are, static.

    On the host any whole numbers are accepted, and None counts them.
    """
    value = array(verb, "groups", value)
    if value.shape != (n,) or not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(f"{verb}: groups must be ({n},) whole numbers, got {value.dtype} {value.shape}")
    if isinstance(value, jax.core.Tracer):
        if n_groups is None:
            raise ValueError(f"{verb}: the values of groups are traced, so n_groups must be given")
    else:
        found, value = np.unique(np.asarray(value), return_inverse=True)
        n_groups = len(found) if n_groups is None else n_groups
        if len(found) > n_groups:
            raise ValueError(f"{verb}: n_groups is {n_groups}, but groups has {len(found)} different numbers")
        value = value.astype(np.int32)
    if n_groups < 2:
        raise ValueError(f"{verb}: there must be at least 2 groups, got {n_groups}")
    return value, n_groups


def arguments(verb: str, model: Any, names: Iterable[str]) -> None:
    """Raise unless `model.fit` has arguments of these names."""
    known = inspect.signature(model.fit).parameters
    if unknown := [name for name in names if name not in known]:
        raise TypeError(f"{verb}: {model.__name__}.fit has no argument {unknown[0]!r}; it has {', '.join(known)}")


def flag(verb: str, name: str, value: Any) -> bool:
    """A static boolean."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{verb}: {name} is static and must be True or False, got {value!r}")
    return bool(value)


def fitted(verb: str, params: Any) -> Any:
    """The params, also those of a `Fit`, or a TypeError for anything else."""
    params = params.params if isinstance(params, Fit) else params
    if not hasattr(params, "coef"):
        raise TypeError(f"{verb}: params must be the params of a fit (fit.params), got {type(params).__name__}")
    return params


def linear_params(verb: str, params: Any, X: ArrayLike) -> Any:
    """X (n, p), checked against the coefficients of `params`."""
    X = array(verb, "X", X)
    coef = fitted(verb, params).coef
    if X.ndim != 2 or X.shape[1] != coef.shape[0]:
        raise ValueError(f"{verb}: X must have shape (n, {coef.shape[0]}), got X {X.shape} and coef {coef.shape}")
    return X


def split(fixed: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """Arguments split into traced ones and static ones, the latter hashable.

    An l1 that is the number 0 is static: it leaves the L1 penalty out of the program.
    """
    static = {
        k: v for k, v in fixed.items() if v is None or isinstance(v, bool | int | str) or (k == "l1" and is_zero(v))
    }
    return {k: v for k, v in fixed.items() if k not in static}, tuple(sorted(static.items()))
