"""The certificate of a dual's solution: an upper bound of its violation from values of f that are evaluated again.

f is evaluated in float64 where JAX allows it, else in double-word arithmetic: first for the variables at the two ends
of the conditions, then for more until no other can matter, even with twice the largest error seen so far.

The lean program without float64 evaluates f in float32, and takes the result where the rounding of f cannot matter.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import compensated
from jaxinfra._core.compensated import Pair
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.stages import Rare
from jaxinfra.solvers.dual import kernel_rows
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix
from jaxinfra.solvers.dual.problem import Dual

# Rows and support vectors of one piece: half and twice of either change 100 ms of svc (8000 x 20) by 4 % or less.
_CHUNK, _SUPPORT = 64, 256
# Units of rounding of a kernel value in a violation, where the errors of a sum add up as random ones do.  Found: up to
# 1.7 (kernels from narrow to wide, C 1 and 30, outliers), 3 for a wide kernel and rows sorted by class.  With 10 many
# fits of 20000 rows would go on to the whole program.
_UNITS = 3


class Check(NamedTuple):
    """Gradient entries computed so far."""

    g: Pair
    seen: jax.Array  # (n,) rows whose g is exact
    error: jax.Array  # the largest correction so far
    bound: jax.Array  # of the violation


def certify(
    exact: KernelMatrix, dual: Dual, b: jax.Array, g: Pair, tol: jax.Array, *, rare: Rare, plain: bool = False
) -> tuple[Pair, jax.Array]:
    """K b with exact values where they matter, and an upper bound of the violation.

    plain: values in the precision of `exact`, without pairs.  The lean program evaluates the rows at the ends alone.
    """
    n, dtype = exact.n, b.dtype
    wide = exact.diagonal.dtype
    plain = plain or wide == jnp.float64
    by_row = dual.by_row(b, n)
    if plain and (exact.values is not None or exact.kernel.times(exact.features, by_row.astype(wide)) is not None):
        g = _rounded(exact.all_times(by_row.astype(wide)), dtype)
        return g, dual.violation(b, dual.gradient(g))
    size, width = min(_CHUNK, n), min(_SUPPORT, n)
    order, count = kernel_rows.places(by_row != 0, width)

    def evaluate(rows: jax.Array) -> Pair:
        def piece(carry: tuple[jax.Array, Pair]) -> tuple[jax.Array, Pair]:
            done, total = carry
            which = lax.dynamic_slice(order, (done,), (width,))
            factors = jnp.where(jnp.arange(width, dtype=jnp.int32) < count - done, by_row[which], 0).astype(wide)
            return done + width, compensated.add(total, exact.exactly(rows, which, factors, plain=plain))

        zero = jnp.zeros((size,), wide)
        return _rounded(lax.while_loop(lambda c: c[0] < count, piece, (jnp.int32(0), (zero, zero)))[1], dtype)

    def bounds(check: Check) -> tuple[jax.Array, jax.Array]:
        """The bound of the violation, and by how much each row may exceed the values that are exact (n,)."""
        sides = dual.sides(b, dual.gradient(check.g))
        seen = dual.tile(check.seen)
        beyond, bound = jnp.full((n,), -jnp.inf, dtype), jnp.zeros((), dtype)
        for group in range(dual.groups):
            ends = []
            for side in sides:
                side = dual.within(group, side, -jnp.inf)
                known = jnp.where(seen, side, -jnp.inf).max()
                open_ = jnp.where(seen, -jnp.inf, side + 2 * check.error)
                ends.append(jnp.maximum(known, open_.max()))
                excess = jnp.where(jnp.isfinite(known), open_ - known, open_).reshape(-1, n).max(0)
                beyond = jnp.maximum(beyond, excess)
            bound = jnp.maximum(bound, jnp.where(jnp.isfinite(ends[0] + ends[1]), ends[0] + ends[1], 0))
        return bound, beyond

    def chunk(carry: tuple[Check, jax.Array, jax.Array]) -> tuple[Check, jax.Array, jax.Array]:
        check, rows, _ = carry
        new = evaluate(rows)
        error = jnp.abs((new[0] - check.g[0][rows]) + (new[1] - check.g[1][rows])).max()
        g = (check.g[0].at[rows].set(new[0]), check.g[1].at[rows].set(new[1]))
        check = Check(g, check.seen.at[rows].set(True), jnp.maximum(error, check.error), check.bound)
        bound, beyond = bounds(check)
        check = check._replace(bound=bound)
        more = (beyond > 0).any() & (bound >= tol)
        return check, lax.top_k(beyond, size)[1].astype(jnp.int32), more

    # First the rows at the ends, half of them from either side.
    ends = jnp.stack(dual.sides(b, dual.gradient(g)))
    ends = jnp.where(jnp.isfinite(ends), ends, -jnp.inf).reshape(2, -1, n).max(1)
    first = jnp.concatenate([lax.top_k(ends[0], size - size // 2)[1], lax.top_k(ends[1], max(size // 2, 1))[1]])
    first = first[:size].astype(jnp.int32)
    if size == n:
        first = jnp.arange(n, dtype=jnp.int32)
    zero = jnp.zeros((), dtype)
    start = Check(g, jnp.zeros((n,), bool), zero, zero)
    if rare.lean:
        check, _, more = chunk((start, first, jnp.array(True)))
        rare.note(more)
    else:
        check = lax.while_loop(lambda c: c[2], chunk, (start, first, jnp.array(True)))[0]
    return check.g, check.bound


def _rounded(total: Pair, dtype: jnp.dtype) -> Pair:
    """A sum in the precision of the certificate as a pair of the working precision."""
    hi, lo = total
    rounded = (hi + lo).astype(dtype)
    return rounded, ((hi - rounded.astype(hi.dtype)) + lo).astype(dtype)


def rounding(work: KernelMatrix, b: jax.Array) -> jax.Array:
    """The rounding of the violation in the working precision, of a kernel that knows that of its values."""
    return _UNITS * eps(b.dtype) * work.kernel.rounding(work.features) * jnp.sqrt(dot(b, b))
