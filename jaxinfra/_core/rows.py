"""Sums over rows: the one place that decides how a pass over a tall X is cut into blocks.

On a CPU a block of rows is centred, weighted and multiplied while it is in the cache, so a pass reads X once from
memory and needs no n x p temporary; one product over all rows runs slower there (float64 200000 x 50: 27 ms against
18 ms in blocks).  On GPU and TPU the rows stay in one piece, and so do rows sharded over a mesh, whose partial sums XLA
turns into one all-reduce.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, PartitionSpec

S = TypeVar("S")

# Elements of X in a block: 1.6 MB of float32, 3.2 MB of float64, which measured best from p = 50 to p = 500.
BLOCK_ELEMENTS = 400_000


def block_rows(n: int, width: int) -> int:
    """The number of rows in a block: all up to 64, else such that it holds `BLOCK_ELEMENTS`, or from two blocks on a
    quarter more to half as many where that leaves no rest, which would be a second pass to compile (20000 x 500: 94
    kernels, not 107)."""
    most = min(n, max(64, BLOCK_ELEMENTS // max(width, 1) // 8 * 8))
    if n < 2 * most:
        return most
    counts = range(-(-4 * n // (5 * most)), 2 * -(-n // most))
    return next((n // count for count in counts if n % count == 0), most)


def in_blocks(X: jax.Array) -> bool:
    """Whether a pass over X on a CPU is cut into blocks."""
    return X.shape[0] >= 2 * block_rows(X.shape[0], X.shape[1])


def sum_blocks(
    fn: Callable[..., S], arrays: tuple[jax.Array | None, ...], *, blocked: bool = True, parts: int = 1
) -> S:
    """The sum over row blocks of `fn(*blocks)`, where `fn` maps rows to sums over those rows (a pytree of arrays).

    arrays: X (n, p) and arrays that share its leading axis, or None.
    blocked: False forces one piece.
    parts: the factor by which blocks are smaller, where a batch that shares X makes several copies of each.
    """
    X = arrays[0]
    assert X is not None
    n = X.shape[0]
    size = block_rows(n, X.shape[1] * parts)
    if not blocked or n < 2 * size:
        return fn(*arrays)

    def cut(*arrays: jax.Array | None) -> S:
        count, rest = divmod(n, size)

        def rows(start: int | jax.Array, length: int) -> list[jax.Array | None]:
            return [None if a is None else lax.dynamic_slice_in_dim(a, start, length) for a in arrays]

        def body(i: jax.Array, sums: S) -> S:
            return jax.tree.map(jnp.add, sums, fn(*rows(i * size, size)))

        shapes = jax.eval_shape(lambda *a: fn(*a), *rows(0, size))
        sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        sums = lax.fori_loop(0, count, body, sums)
        return jax.tree.map(jnp.add, sums, fn(*rows(count * size, rest))) if rest else sums

    return lax.platform_dependent(*arrays, cpu=cut, default=fn)


def on_mesh(*arrays: object) -> bool:
    """Whether an array is known to be spread over several devices, or a mesh is active."""
    for a in arrays:
        if isinstance(a, jax.core.Tracer):
            if _explicit(a) is not None:
                return True
        elif isinstance(a, jax.Array) and len(a.devices()) > 1:
            return True
    return not jax.sharding.get_abstract_mesh().empty


def _explicit(a: object) -> AbstractMesh | None:
    mesh = jax.typeof(a).sharding.mesh
    return None if mesh.empty or not mesh.explicit_axes else mesh


def replicated(fn: Callable[..., S]) -> Callable[..., S]:
    """A function of pytrees of traced arrays, with replicated results, whatever the axis type of their mesh.

    Axes of type Explicit, the default of `jax.make_mesh`, need a sharding for the result of every product over sharded
    rows; within `fn` they are Auto, which leaves the sharding to the compiler.
    """

    @wraps(fn)
    def call(*arrays: object, **static: object) -> S:
        mesh = next((m for a in jax.tree.leaves(arrays) if (m := _explicit(a)) is not None), None)
        if mesh is None:
            return fn(*arrays, **static)
        with jax.sharding.use_abstract_mesh(mesh):
            return jax.sharding.auto_axes(partial(fn, **static), out_sharding=PartitionSpec())(*arrays)

    return call
