"""Candidates of hyper-parameters: penalties on a geometric scale, all combinations of several lists, or pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra._core import checks


class Candidates(dict[str, Any]):
    """A set of m candidates, {hyper-parameter: value}, where all arrays in the values have a leading axis of m."""

    def at(self, i: ArrayLike) -> dict[str, Any]:
        """The hyper-parameters of candidate i, for `fit`."""
        return {name: jax.tree.map(lambda leaf: leaf[i], value) for name, value in self.items()}


def _flatten(grid: Candidates) -> tuple[list[tuple[Any, Any]], Any]:
    return [(jax.tree_util.DictKey(name), value) for name, value in grid.items()], tuple(grid)


jax.tree_util.register_pytree_with_keys(
    Candidates, _flatten, lambda names, values: Candidates(zip(names, values, strict=True))
)


def penalties(top: ArrayLike, m: int = 100, *, ratio: float = 1e-3) -> jax.Array:
    """A grid (m,) of penalties in decreasing geometric steps, from `top` to top * ratio.

    Args:
      top: the largest penalty, such as a model's `l1_max`: (), traced.
      m: the number of penalties, static.
      ratio: the smallest penalty over the largest, above 0 and at most 1, static.

    Raises:
      ValueError for an m below 1 or another ratio.

    >>> import jaxinfra as ji
    >>> print(ji.select.penalties(4.0, 3, ratio=1 / 4))
    [4. 2. 1.]
    """
    if m < 1 or not 0 < ratio <= 1:
        raise ValueError(f"select.penalties: m must be at least 1 and 0 < ratio <= 1, got m = {m}, ratio = {ratio}")
    top = jnp.asarray(top, checks.working_dtype(jnp.asarray(top)))
    return top * jnp.asarray(np.geomspace(1, ratio, m), top.dtype)


def product(axes: Mapping[str, Any]) -> Candidates:
    """All combinations: {name: m_i values} to m_1 m_2 ... candidates, the last name varying fastest.

    Args:
      axes: {hyper-parameter: (m_i, ...)}, traced; or a kernel, a family or another pytree whose arrays have a leading
        axis of m_i, next to numbers that all candidates share.

    Returns:
      Candidates.

    Raises:
      ValueError for no hyper-parameter, or one without a leading axis of candidates.  TypeError for values that are no
      numbers.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> grid = ji.select.product({"C": jnp.array([1.0, 2.0]), "kernel": ji.kernels.RBF(jnp.array([0.5, 0.1, 0.0]))})
    >>> print(grid["C"], grid["kernel"].gamma)
    [1. 1. 1. 2. 2. 2.] [0.5 0.1 0.  0.5 0.1 0. ]
    """
    verb = "select.product"
    values = {name: _axis(verb, name, value) for name, value in axes.items()}
    if not values:
        raise ValueError(f"{verb}: there must be at least one hyper-parameter, got none")
    if len(values) == 1:  # unchanged: nothing is compiled
        return Candidates({name: value for name, (value, _) in values.items()})
    lengths = {name: m for name, (_, m) in values.items()}
    place = np.indices(tuple(lengths.values())).reshape(len(lengths), -1)
    return Candidates(
        {
            name: jax.tree.map(lambda leaf, i=i: leaf[i], value)
            for i, (name, (value, _)) in zip(place, values.items(), strict=True)
        }
    )


def paired(axes: Mapping[str, Any]) -> Candidates:
    """The m candidates of lists of m values each, the i-th of one with the i-th of the others.

    Args:
      axes: as in `product`, all with the same m.

    Returns:
      Candidates.

    Raises:
      ValueError for different numbers of values; the others as `product`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> grid = ji.select.paired({"l1": jnp.array([2.0, 1.0]), "l2": jnp.array([0.5, 0.1])})
    >>> print(grid["l1"], grid["l2"])
    [2. 1.] [0.5 0.1]
    """
    verb = "select.paired"
    values = {name: _axis(verb, name, value) for name, value in axes.items()}
    if len({m for _, m in values.values()}) != 1:
        shapes = ", ".join(f"{name} {m}" for name, (_, m) in values.items())
        raise ValueError(f"{verb}: every hyper-parameter must have the same number of values, got {shapes or 'none'}")
    return Candidates({name: value for name, (value, _) in values.items()})


def _axis(verb: str, name: str, value: Any) -> tuple[Any, int]:
    """The value with a leading axis on every array, and its length; arrays without one are repeated."""
    value = checks.array(verb, name, value) if isinstance(value, list | tuple) else value
    flat, tree = jax.tree.flatten(value)
    leaves = [checks.array(verb, name, leaf) for leaf in flat]
    lengths = {leaf.shape[0] for leaf in leaves if leaf.ndim}
    if len(lengths) != 1 or 0 in lengths:
        shapes = " and ".join(str(leaf.shape) for leaf in leaves) or "no array"
        raise ValueError(
            f"{verb}: {name} must have a leading axis of candidates, shape (m, ...) with m >= 1, got {shapes}; "
            "what is the same for all belongs in fixed"
        )
    (m,) = lengths
    # Host arrays stay on the host: nothing is compiled for them.
    spread = [
        leaf if leaf.ndim else (np if isinstance(leaf, np.ndarray) else jnp).broadcast_to(leaf, m) for leaf in leaves
    ]
    return jax.tree.unflatten(tree, spread), m
