"""The rows of each step: seeded permutations, cut into batches and chunks; short batches are padded with weight 0."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

CHUNK_BYTES = 2**26  # of data for one compiled call
CHUNK_STEPS = 256


class Data(NamedTuple):
    """Rows of a data set: inputs, targets, weights and an optional mask, each with n along the first axis."""

    x: Any
    y: Any
    weight: Any
    mask: Any

    def take(self, rows: np.ndarray, real: np.ndarray) -> tuple[Any, Any, Any, Any]:
        """The rows (steps, batch, ...); JAX arrays are gathered on their device.

        A row of weight 0 is absent, whatever it holds: a row that counts takes its place, since 0 times NaN is NaN.
        """
        weight = np.where(real, self.weight[rows], np.float32(0))
        rows = np.where(weight > 0, rows, np.int32(self.weight.argmax()))
        mask = None if self.mask is None else _take(self.mask, rows)
        return _take(self.x, rows), _take(self.y, rows), weight, mask


def _take(array: Any, rows: np.ndarray) -> Any:
    return _gather(array, rows) if isinstance(array, jax.Array) else np.take(array, rows, axis=0)


_gather = jax.jit(lambda array, rows: array[rows])


class Order(NamedTuple):
    """The order of n rows in an epoch."""

    n: int
    batch: int
    steps: int
    chunk: int
    seed: tuple[int, ...]
    shuffle: bool

    def rows(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of each batch of the epoch and whether they count, (chunks, chunk, batch) each.

        A pass over the data is a permutation; an epoch of more steps than a pass continues with the next one.
        """
        needed, number = self.steps * self.batch, 0
        found: list[np.ndarray] = []
        whole = -(-self.n // self.batch) * self.batch  # rows of a pass with its last batch padded
        while sum(len(part) for part in found) < needed:
            order = np.arange(self.n)
            if self.shuffle:
                order = np.random.default_rng([*self.seed, epoch, number]).permutation(self.n)
            found.append(np.pad(order, (0, whole - self.n), constant_values=-1))
            number += 1
        rows = np.concatenate(found)[:needed]
        chunks = -(-self.steps // self.chunk)
        rows = np.pad(rows, (0, chunks * self.chunk * self.batch - needed), constant_values=-1)
        rows = rows.reshape(chunks, self.chunk, self.batch)
        return np.where(rows < 0, 0, rows).astype(np.int32), rows >= 0


def chunk_steps(steps: int, bytes_per_step: int) -> int:
    """The number of steps of one compiled call: as many as fit, in calls of equal length."""
    most = max(1, min(CHUNK_STEPS, CHUNK_BYTES // max(bytes_per_step, 1)))
    calls = -(-steps // most)
    return -(-steps // calls)


def row_bytes(array: Any) -> int:
    """The bytes of one row."""
    return int(np.prod(array.shape[1:])) * array.dtype.itemsize
