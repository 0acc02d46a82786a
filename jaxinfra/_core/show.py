"""The text of results: numbers where they are few, dtype, shape and range where they are many, and never an error.

A result may be printed while it is traced, batched, deleted, or spread over devices that other processes hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_FEW = 16  # numbers that are printed one by one ...
_SAME = 4  # ... and that many where they are all the same
_READ = 1_000_000  # numbers that are read for their range
_WIDTH, _LONG = 120, 400  # characters of a line, and of one value


def value(x: Any) -> str:
    """Any part of a result, in one line."""
    if isinstance(x, type):
        return x.__name__
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return _array(x)
    if hasattr(x, "_fields") or dataclasses.is_dataclass(x):
        text = f"{type(x).__name__}({', '.join(fields(x))})"
    elif isinstance(x, Mapping):
        text = "{" + ", ".join(f"{k!r}: {value(v)}" for k, v in x.items()) + "}"
    elif isinstance(x, tuple):
        text = "(" + ", ".join(map(value, x)) + (",)" if len(x) == 1 else ")")
    elif isinstance(x, list):
        text = "[" + ", ".join(map(value, x)) + "]"
    else:
        return repr(x)
    return count(x) if len(text) > _LONG and arrays(x) else text


def fields(x: Any) -> list[str]:
    """The name=value of each field of a NamedTuple, and of the fields of a dataclass that differ from the default."""
    if hasattr(x, "_fields"):
        return [f"{name}={value(getattr(x, name))}" for name in x._fields]
    given = [(f, getattr(x, f.name)) for f in dataclasses.fields(x)]
    return [f"{f.name}={value(v)}" for f, v in given if hasattr(v, "dtype") or v != f.default]


def joined(parts: list[str], indent: str = "    ") -> str:
    """The parts in one line, or where that is too long, one a line, indented."""
    line = ", ".join(parts)
    return line if len(indent) + len(line) <= _WIDTH and "\n" not in line else f",\n{indent}".join(parts)


def arrays(x: Any) -> list[Any]:
    """The arrays in a pytree."""
    return [leaf for leaf in jax.tree.leaves(x) if hasattr(leaf, "dtype") and hasattr(leaf, "size")]


def count(x: Any) -> str:
    """The number of arrays in a pytree, and of the numbers in them."""
    found = arrays(x)
    return f"{sum(leaf.size for leaf in found):,} numbers in {len(found)} arrays"


def readable(x: Any) -> bool:
    """Whether the numbers of an array can be read: not while it is traced, deleted, or on other processes' devices."""
    if isinstance(x, np.ndarray | np.generic):
        return x.dtype.kind in "biuf"
    if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer):
        return False
    numbers = jax.dtypes.issubdtype(x.dtype, np.number) or x.dtype == bool
    return bool(numbers and x.is_fully_addressable and not x.is_deleted())


def _array(x: Any) -> str:
    kind = f"{x.dtype}[{','.join(map(str, x.shape))}]"
    size = int(np.prod(x.shape))
    if not 0 < size <= _READ or not readable(x):
        return kind
    x = np.asarray(x)
    x = x if x.dtype.kind in "biu" else x.astype(np.float64)  # of bfloat16 too
    finite = x[np.isfinite(x)]
    same = finite.size == size and finite.min() == finite.max()
    if size <= (_SAME if same else _FEW):
        return _nested(x.tolist())
    if same:
        return f"{kind} of {_nested(finite.flat[0].item())}"
    ends = f" from {_nested(finite.min().item())} to {_nested(finite.max().item())}" if finite.size else ""
    return kind + ends + (f" ({size - finite.size} not finite)" if finite.size < size else "")


def _nested(x: Any) -> str:
    if isinstance(x, list):
        return "[" + ", ".join(map(_nested, x)) + "]"
    return f"{x:.6g}" if isinstance(x, float) else str(x)
