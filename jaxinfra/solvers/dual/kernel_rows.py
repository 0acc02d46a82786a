r"""The kernel matrix as far as it is needed: all of it, or a ring buffer of its rows.

A block method changes few variables at a time and needs the sum of their rows.  Rows are computed when they are first
needed, in groups, by one matrix product a group, and are kept in a ring of slots, from which later uses read them.  The
row of a variable that never changes is never computed.

Source: the row caches of Joachims 1999 (SVMlight) and Wen et al. 2018 (ThunderSVM), with static shapes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinfra._core import compensated
from jaxinfra._core.centre import bulk
from jaxinfra._core.compensated import Pair
from jaxinfra._core.precision import dot
from jaxinfra._core.stages import WHOLE, Rare

# Milliseconds of svc with C = 1 and 20 columns, where the text says no more (2 cores).
# Bytes up to which the whole matrix is computed at once: 2500 rows (25 MB) 16.8, by rows 15.4; 4000 (64 MB) 53 and 34.
FULL = 2**25
BYTES = 300_000_000  # of the ring: the first touch of memory costs as much as computing the row that goes there
# Rows in a group computed by one product, large groups first, then small ones: half and twice no difference (8000 rows,
# 98) ...
_MISSES = 64, 32
# ... and small ones alone where more bytes would leave the cache before they are read: for 8000 rows 102, not 95.
_GROUP = 6_000_000
# Rows read at a time, and in a block of the product with a vector: half and twice no difference (96 to 103).
_HITS, _ROWS = 16, 256
_FEW = 32  # rows whose sum is taken without pairs: over all rows, if sorted by class, it rounds four times as much


class Ring(NamedTuple):
    """A ring buffer of rows of the matrix: the oldest are overwritten first."""

    rows: jax.Array  # (slots, n)
    slot: jax.Array  # (n,) int32: where row i is, or -1
    owner: jax.Array  # (slots,) int32: which row is there, or n
    head: jax.Array  # the next slot to fill


class KernelMatrix(NamedTuple):
    """The kernel with the features of its n rows, or all its values."""

    kernel: Any
    features: Any
    values: jax.Array | None  # (n, n)
    diagonal: jax.Array  # (n,)

    @property
    def n(self) -> int:
        """The number of rows."""
        return self.diagonal.shape[0]

    def start(self) -> Ring | None:
        """An empty ring, or None where all values are in memory."""
        if self.values is not None:
            return None
        n, dtype = self.n, self.diagonal.dtype
        most = _MISSES[0]
        # Half of the rows are often all support vectors, and each slot has its first touch whether it is used or not.
        slots = min(-(-n // (2 * most)) * most + most, max(BYTES // (n * dtype.itemsize), 4 * most))
        none = jnp.full((slots,), n, jnp.int32)
        return Ring(lax.empty((slots, n), dtype), jnp.full((n,), -1, jnp.int32), none, jnp.int32(0))

    def take(self, rows: jax.Array) -> Any:
        """The features of some rows."""
        return jax.tree.map(lambda v: v[rows], self.features)

    def block(self, rows: jax.Array) -> jax.Array:
        """The values between some rows."""
        return self.between(rows, rows)

    def product(self, ring: Ring | None, rows: jax.Array, factors: jax.Array) -> tuple[Ring | None, jax.Array]:
        """The sum of factors_k K[rows_k], (n,), over those of the (q,) rows whose factor is not 0."""
        if self.values is not None:
            return None, dot(factors, self.values[rows])
        assert ring is not None
        slot, used = ring.slot[rows], factors != 0
        hits, misses = used & (slot >= 0), used & (slot < 0)
        # One sort gives the places of the hits, then those of the misses.
        q = len(rows)
        each = jnp.arange(q, dtype=jnp.int32)
        order = lax.sort(jnp.where(hits, each, jnp.where(misses, each + q, 2 * q))) % q
        order = jnp.pad(order, (0, _MISSES[0]))
        known, all_ = hits.sum(dtype=jnp.int32), used.sum(dtype=jnp.int32)
        # Rows in the ring are read before new ones overwrite any.
        total = _known(ring, slot, factors, order, known)
        return self._unknown(ring, rows, factors, order, known, all_, total)

    def _unknown(
        self, ring: Ring, rows: jax.Array, factors: jax.Array, order: jax.Array, known: jax.Array, count: jax.Array,
        total: jax.Array,
    ) -> tuple[Ring, jax.Array]:  # fmt: skip
        n, slots = self.n, len(ring.owner)

        def group(size: int, carry: tuple[jax.Array, Ring, jax.Array]) -> tuple[jax.Array, Ring, jax.Array]:
            done, ring, total = carry
            each = jnp.arange(size, dtype=jnp.int32)
            left = jnp.minimum(count - done, size)
            which = lax.dynamic_slice(order, (done,), (size,))
            valid = each < left
            new = rows[which]
            head = jnp.where(ring.head + size > slots, 0, ring.head)
            gone = lax.dynamic_slice(ring.owner, (head,), (size,))
            owner = jnp.where(valid, new, n)
            slot = ring.slot.at[gone].set(-1, mode="drop").at[owner].set(head + each, mode="drop")
            values = self.kernel.between(self.take(new), self.features)
            held = lax.dynamic_update_slice(ring.rows, values, (head, jnp.int32(0)))
            # Behind the barrier, so that the values are written to the ring as they are made and read from there.
            held = lax.optimization_barrier(held)
            values = lax.dynamic_slice(held, (head, jnp.int32(0)), (size, n))
            total = total + dot(jnp.where(valid, factors[which], 0), values)
            ring = Ring(held, slot, lax.dynamic_update_slice(ring.owner, owner, (head,)), head + left)
            return done + size, ring, total

        carry = (known, ring, total)
        large, small = _MISSES
        if large * n * ring.rows.dtype.itemsize <= _GROUP:
            carry = lax.while_loop(lambda c: c[0] + large <= count, partial(group, large), carry)
        carry = lax.while_loop(lambda c: c[0] < count, partial(group, small), carry)
        return carry[1], carry[2]

    def between(self, rows: jax.Array, columns: jax.Array) -> jax.Array:
        """The values between some rows and others."""
        if self.values is not None:
            return self.values[rows[:, None], columns[None]].astype(self.diagonal.dtype)
        return self.kernel.between(self.take(rows), self.take(columns))

    def times(self, v: jax.Array) -> jax.Array:
        """The product K v, (n,), in blocks of rows that are computed again where a derivative needs them."""
        if self.values is not None:
            return dot(self.values, v)
        if (short := self.kernel.times(self.features, v)) is not None:
            return short
        n = self.n
        size = min(_ROWS, n)
        count = -(-n // size)
        rows = jnp.minimum(jnp.arange(count * size), n - 1).reshape(count, size)

        @jax.checkpoint
        def block(rows: jax.Array) -> jax.Array:
            return dot(self.kernel.between(self.take(rows), self.features), v)

        return lax.map(block, rows).reshape(-1)[:n]

    def all_times(self, v: jax.Array) -> Pair:
        """The product K v, (n,), where `times` is quick, with sums over the rows that round as those over few."""
        zero = jnp.zeros_like(v)
        if self.values is None:
            return self.times(v), zero
        values, n = self.values, self.n
        size = min(_FEW, n)

        def some(i: jax.Array, total: Pair) -> Pair:
            # The last rows start where a whole piece of them is left: those before have had their turn.
            start = jnp.minimum(i * size, n - size)
            factors = lax.dynamic_slice(v, (start,), (size,))
            factors = jnp.where(jnp.arange(size, dtype=jnp.int32) < i * size - start, 0, factors)
            rows = lax.dynamic_slice(values, (start, jnp.zeros_like(start)), (size, n))
            return compensated.add(total, (dot(factors, rows), zero))

        return lax.fori_loop(jnp.int32(0), jnp.int32(-(-n // size)), some, (zero, zero))

    def exactly(self, rows: jax.Array, columns: jax.Array, factors: jax.Array, *, plain: bool) -> Pair:
        """The sum over the columns of factor times K, (len(rows),): plain, or in double-word float32."""
        if plain:
            value = dot(self.between(rows, columns), factors)
            return value, jnp.zeros_like(value)
        if self.values is not None:
            value = self.between(rows, columns)
            hi, lo = value, jnp.zeros_like(value)
        else:
            hi, lo = self.kernel.pairs(self.take(rows), self.take(columns))
        high, low = compensated.mul(hi, jnp.broadcast_to(factors[None], hi.shape))
        return compensated.sum_pairs((high, low + lo * factors[None]), 1)

    def among(self, rows: jax.Array) -> KernelMatrix:
        """The kernel matrix of some rows alone."""
        values = None if self.values is None else self.values[rows[:, None], rows[None]]
        return KernelMatrix(
            self.kernel, None if self.values is not None else self.take(rows), values, self.diagonal[rows]
        )


def places(mask: jax.Array, padding: int) -> tuple[jax.Array, jax.Array]:
    """The places (n + padding,) where a mask is true, in order and then any others, and their number.

    One sort, where `jnp.nonzero` is a cumulative sum and a scatter: ten kernels.
    """
    n = len(mask)
    order = lax.sort(jnp.where(mask, jnp.arange(n, dtype=jnp.int32), n))
    return jnp.pad(jnp.minimum(order, n - 1), (0, padding)), mask.sum(dtype=jnp.int32)


def _known(ring: Ring, slot: jax.Array, factors: jax.Array, order: jax.Array, count: jax.Array) -> jax.Array:
    """The sum over rows that the ring holds, a few at a time, each read once in place."""
    n, size = ring.rows.shape[1], min(_HITS, len(slot))
    each = jnp.arange(size, dtype=jnp.int32)

    def group(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        done, total = carry
        which = lax.dynamic_slice(order, (done,), (size,))
        where = jnp.maximum(slot[which], 0)
        f = jnp.where(each < count - done, factors[which], 0)
        for k in range(size):
            total = total + f[k] * lax.dynamic_slice(ring.rows, (where[k], jnp.int32(0)), (1, n))[0]
        return done + size, total

    total = jnp.zeros((n,), ring.rows.dtype)
    return lax.while_loop(lambda carry: carry[0] < count, group, (jnp.int32(0), total))[1]


def finite(*trees: Any) -> jax.Array:
    """Whether no leaf holds NaN or inf: one sum for all leaves of a shape, in which 0 times these is NaN."""
    sums: dict[Any, jax.Array] = {}
    for leaf in jax.tree.leaves(trees):
        key = (leaf.shape, leaf.dtype)
        sums[key] = 0 * leaf + sums[key] if key in sums else 0 * leaf
    return jnp.stack([v.sum() == 0 for v in sums.values()]).all()


def pairs(kernel: Any, X: jax.Array) -> KernelMatrix:
    """The Gram matrix with features for `kernel.pairs`, which gives its values as pairs."""
    about = kernel.middle(X)
    features = kernel.features(X, about)
    return KernelMatrix(kernel, kernel.pair_features(X, about), None, kernel.diagonal(features))


def of(
    kernel: Any, X: jax.Array, *, precomputed: bool, dtype: Any = None, full: bool | None = None, rare: Rare = WHOLE
) -> KernelMatrix:
    """The Gram matrix of the rows of X, or X itself where it holds the values.

    dtype: what to compute in, that of X by default; full: whether to compute all values now, by default if few.
    """
    dtype = X.dtype if dtype is None else dtype
    n = X.shape[0]
    if precomputed:
        return KernelMatrix(kernel, None, X, jnp.diagonal(X).astype(dtype))
    wide = np.promote_types(X.dtype, dtype)
    X, kernel = X.astype(wide), jax.tree.map(lambda v: v.astype(wide), kernel)
    # Rows are centred before the conversion to `dtype` drops digits.
    about = kernel.middle(X) if wide == dtype else bulk(X)
    features, kernel = jax.tree.map(lambda v: v.astype(dtype), (kernel.features(X, about), kernel))
    if rare.lean:
        features, needed = kernel.lean(features)
        rare.note(needed)
    if full is None:
        full = n * n * jnp.dtype(dtype).itemsize <= FULL
    if full:
        # Behind the barrier, so that XLA does not compute all values of constant rows while it compiles: that took it
        # 0.4 s for 1000 x 20.
        features = lax.optimization_barrier(features)
    values = kernel.between(features, features) if full else None
    return KernelMatrix(kernel, features, values, kernel.diagonal(features))
