"""Rows of weight 0, so that data of many lengths share a few programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra._core import checks

_FEWEST = 16


def pad_rows(
    X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, *more: ArrayLike | None,
    sizes: Sequence[int] | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """Append rows of weight 0 until their number is one of a few, each of which compiles once, for data that grow.

    A program belongs to its shapes: a loop over data sets of 1 to 1000 rows compiles 1000 programs, and 25 for padded
    ones.  A row of weight 0 is absent for every model, so the fit is that of the rows that were given, up to the
    rounding of sums; every `fit` takes a sample_weight, `nn.train.fit` too.

    Args:
      X: (n, p), n >= 1, any array or data frame that a verb takes.
      y: labels or responses, (n,) or (n, k), of any dtype; None where there are none.
      sample_weight: (n,); None means 1.
      more: other arrays with a value or row for each row, or None: offset, exposure, groups, a C of each row.
      sizes: the numbers of rows to choose from, static; the next one above n is taken.  None: 16, and from there four
        between each power of two and the next (16, 20, 24, 28, 32, 40, 48, ...), so that of 16 rows on less than a
        quarter are added.

    Returns:
      (X, y, sample_weight, *more), each with N >= n rows; the weights are there also where N = n, so that this too is
      the same program.  Added rows are copies of the last one: their labels and groups are known ones.  NumPy arrays,
      lists and data frames come back as NumPy arrays, JAX's as JAX's on their device, None as None.

    Raises:
      ValueError: no rows; arrays of different numbers of rows; n above all sizes.  TypeError: an X or a sample_weight
        that does not hold real numbers.

    What random numbers choose depends on N: the subsets of `theil_sen` and `ransac`, folds and resamples of `select`
    are other ones, as right as those of n rows.  `kernels.Precomputed` also has a column for each row: not for it.

    To predict, pad X alone and cut the answer in NumPy, because a cut of a JAX array of a new length compiles too:
    `np.asarray(ji.predict(fit, ji.pad_rows(Z)[0]))[: len(Z)]`.

    Derivatives: through JAX arrays; those by added rows add to the last row's, and are 0 for every fit.
    Cost: a copy of the rows.  JAX arrays on a CPU are copied without compiling; on other devices and over several
    a small program a length does it: there, pad NumPy arrays.  Under `jit` the shapes are known and it works the same.

    >>> import numpy as np
    >>> import jax
    >>> import jaxinfra as ji
    >>> lengths = set()
    >>> for n in range(100, 200):
    ...     X, y, w = ji.pad_rows(np.ones((n, 3)), np.ones(n))
    ...     lengths.add(len(w))      # ji.ols.fit(X, y, sample_weight=w) compiles for each of these
    >>> sorted(lengths), int(w.sum())
    ([112, 128, 160, 192, 224], 199)
    """
    verb = "pad_rows"
    X = checks.array(verb, "X", _of_list(X))
    n = X.shape[0] if X.ndim else 0
    if n == 0:
        raise ValueError(f"{verb}: X must hold at least one row, got X {X.shape}")
    if sample_weight is None:
        sample_weight = np.ones(n, checks.working_dtype(X))
    names = ["X", "y", "sample_weight", *(f"more[{i}]" for i in range(len(more)))]
    sample_weight = checks.array(verb, "sample_weight", _of_list(sample_weight))
    size = _size(verb, n, sizes)
    padded = []
    for name, value in zip(names, (X, y, sample_weight, *more), strict=True):
        if value is not None and not isinstance(value, jax.Array | np.ndarray):
            value = np.asarray(_of_list(value))
        if value is not None and value.shape[:1] != (n,):
            raise ValueError(f"{verb}: {name} must have the {n} rows of X {X.shape}, got {name} {value.shape}")
        padded.append(_pad(value, size - n, zero=name == "sample_weight"))
    if isinstance(X, jax.Array) and isinstance(padded[2], np.ndarray):
        padded[2] = like(X, padded[2])
    return tuple(padded)


def _of_list(value: Any) -> Any:
    """A list of Python numbers, which have no precision of their own, in JAX's default one; others as they are."""
    if not isinstance(value, list | tuple):
        return value
    array = np.asarray(value)
    return array.astype(checks.working_dtype(array)) if array.dtype.kind == "f" else array


def _size(verb: str, n: int, sizes: Sequence[int] | None) -> int:
    """The number of rows that n become."""
    if sizes is None:
        step = max(1 << (n.bit_length() - 1), _FEWEST) // 4  # from 2**k on the next multiple of 2**k / 4
        return max(-(-n // step) * step, _FEWEST)
    enough = [checks.static_count(verb, "sizes", size) for size in sizes if size >= n]
    if not enough:
        most = max(sizes, default=0)
        raise ValueError(f"{verb}: there are {n} rows, and sizes end at {most}: add a larger one")
    return min(enough)


def _pad(value: Any, more: int, *, zero: bool) -> Any:
    """The value with so many more rows: zeros, or copies of the last."""
    if value is None or more == 0:
        return value
    if isinstance(value, np.ndarray):
        last = np.zeros_like(value[-1:]) if zero else value[-1:]
        return np.concatenate([value, np.repeat(last, more, 0)])
    if _on_host(value):
        return like(value, _pad(np.asarray(value), more, zero=zero))
    width = [(0, more)] + [(0, 0)] * (value.ndim - 1)
    return jnp.pad(value, width, mode="constant" if zero else "edge")


def _on_host(value: jax.Array) -> bool:
    """Whether NumPy reads the array without a copy."""
    if isinstance(value, jax.core.Tracer):
        return False
    devices = value.devices()
    return len(devices) == 1 and next(iter(devices)).platform == "cpu"


def like(array: jax.Array, value: np.ndarray) -> jax.Array:
    """The value where the array is, as firmly as that."""
    if isinstance(array, jax.core.Tracer):
        return jnp.asarray(value)
    if _on_host(array):
        return jax.device_put(value, array.sharding if array.committed else None)  # type: ignore[attr-defined]
    return jax.device_put(value)
