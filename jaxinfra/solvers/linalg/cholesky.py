r"""Cholesky factors: C = LL', from C to L^-1, and to the solution of a system.

On a CPU by blocks, with LAPACK on small blocks only.  A larger call wakes the threads of LAPACK's BLAS, which then
spin beside XLA's own for some 20 ms and double the time of every product that follows (measured on 2 cores:
float32 200000 x 50, the whole fit 29 ms instead of 15).  Blocks below are smaller than what wakes them.

    Cholesky, right-looking, with the same elimination applied to the identity     Golub and Van Loan, 4.2.6
    [L11 0; L21 L22]^-1 = [I11 0; -I22 L21 I11  I22],  I = L^-1 of each block       Higham, Accuracy, 14.2
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.loop import when
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra.solvers.linalg.products import diagonal

# Largest triangular solve and Cholesky that stay on one thread, and the size from which the spinning matters less than
# the flops of `_blocked`, three times as many.
_SOLVE, _FACTOR, _LARGE = 28, 100, 1024
_PANEL = 256  # columns that `factor` eliminates at a time from that size on, where small products cost more


def _eye_like(a: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)


def _pad(a: jax.Array, size: int) -> jax.Array:
    """Pad a (..., p, p) to a matrix of `size` with the identity."""
    p = a.shape[-1]
    if size == p:
        return a
    widths = [(0, 0)] * (a.ndim - 2) + [(0, size - p)] * 2
    tail = jnp.diag((jnp.arange(size) >= p).astype(a.dtype))
    return jnp.pad(a, widths) + jnp.broadcast_to(tail, (*a.shape[:-2], size, size))


def _solve(L: jax.Array) -> jax.Array:
    return lax.linalg.triangular_solve(L, _eye_like(L), left_side=True, lower=True)


def _cholesky(C: jax.Array) -> jax.Array:
    return lax.linalg.cholesky(C, symmetrize_input=False)


def _blocks(L: jax.Array, size: int, row: int, column: int, step: int) -> jax.Array:
    """The blocks (row + i * step, column + i * step) of L, stacked (t, i, size, size).

    A masked sum, because one slice for each block would be many small programs to compile.
    """
    t, p = L.shape[:2]
    count = p // size // step
    L = L.reshape(t, count, step, size, count, step, size)[:, :, row, :, :, column, :]
    same = jnp.eye(count, dtype=bool)[None, :, None, :, None]
    return jnp.where(same, L, 0).sum(3)


def _place(block: jax.Array, i: int, j: int) -> jax.Array:
    """Block (i, j) of a 2 x 2 block matrix of zeros."""
    size = block.shape[-1]
    return jnp.pad(block, [(0, 0), (0, 0), (i * size, size - i * size), (j * size, size - j * size)])


def _invert(L: jax.Array) -> jax.Array:
    """The inverse of lower triangular L (t, p, p): small diagonal blocks first, then joined two by two."""
    p, levels = L.shape[-1], 0
    while -(-p // 2**levels) > _SOLVE:
        levels += 1
    size = -(-p // 2**levels)
    L = _pad(L, size << levels)
    inverse = _solve(_blocks(L, size, 0, 0, 1))
    for _ in range(levels):
        first, second = inverse[:, ::2], inverse[:, 1::2]
        lower = -dot(dot(second, _blocks(L, size, 1, 0, 2)), first)
        inverse = _place(first, 0, 0) + _place(lower, 1, 0) + _place(second, 1, 1)
        size *= 2
    return inverse[:, 0, :p, :p]


def _blocked(C: jax.Array) -> jax.Array:
    """The inverse factor L^-1 of C (t, p, p), p large: a loop, each trip of which eliminates some columns of [C, I]."""
    t, p = C.shape[:2]
    count = -(-p // _FACTOR)
    size = -(-p // count)
    A = _pad(C, size * count)
    index = jnp.arange(size * count, dtype=jnp.int32)

    def eliminate(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        A, M = carry
        start, zero = i * size, jnp.zeros((), i.dtype)
        diagonal = _invert(_cholesky(lax.dynamic_slice(A, (zero, start, start), (t, size, size))))
        below = (index >= start + size)[None, :, None]
        panel = lax.dynamic_slice(A, (zero, zero, start), (t, size * count, size))
        W = dot(jnp.where(below, panel, 0), diagonal.mT)
        rows = dot(diagonal, lax.dynamic_slice(M, (zero, start, zero), (t, size, size * count)))
        return A - dot(W, W.mT), lax.dynamic_update_slice(M - dot(W, rows), rows, (zero, start, zero))

    return lax.fori_loop(0, count, eliminate, (A, _eye_like(A)))[1][:, :p, :p]


def inverse_factor(C: jax.Array) -> jax.Array:
    """The lower triangular L^-1 (t, p, p) of the symmetric C = LL' (t, p, p); NaN where C is not positive definite."""
    plain = lambda C: _solve(_cholesky(C))  # noqa: E731
    p = C.shape[-1]
    if p <= _SOLVE or p > _LARGE:
        return plain(C)
    on_cpu = (lambda C: _invert(_cholesky(C))) if p <= _FACTOR else _blocked
    return lax.platform_dependent(C, cpu=on_cpu, default=plain)


def _panels(p: int) -> tuple[int, int]:
    """Columns in a panel, and the number of panels."""
    count = -(-p // (_FACTOR if p <= _LARGE else _PANEL))
    return -(-p // count), count


def _eliminate(C: jax.Array) -> jax.Array:
    """The factor by panels of columns, left-looking: a panel is written once, when all before it are done.

    Each diagonal block is replaced by the inverse of its factor.  All products are of square tiles, in loops: as few
    flops as with one product for each panel, and the same few kernels for any p.  With a product of 4000 x p after it,
    factor and solution take 35, 53 and 172 ms for p = 500, 1000 and 2000, by LAPACK, whose threads then spin, 64, 68
    and 154; alone 1.3, 7 and 45 ms, by LAPACK 1.1, 5 and 27 (float32, 2 cores).
    """
    size, count = _panels(len(C))
    C, zero = _pad(C, size * count), jnp.int32(0)

    def tile(a: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
        return lax.dynamic_slice(a, (i * size, j * size), (size, size))

    def column(k: jax.Array, C: jax.Array) -> jax.Array:
        def reduce(t: jax.Array, C: jax.Array) -> jax.Array:
            """Panel k less what another panel eliminates, one tile of it."""
            i, j = k + t % (count - k), t // (count - k)
            new = tile(C, i, k) - dot(tile(C, i, j), tile(C, k, j).T)
            return lax.dynamic_update_slice(C, new, (i * size, k * size))

        def below(i: jax.Array, C: jax.Array) -> jax.Array:
            """A tile of the factor below the diagonal block."""
            return lax.dynamic_update_slice(C, dot(tile(C, i, k), tile(C, k, k).T), (i * size, k * size))

        C = lax.fori_loop(zero, k * (count - k), reduce, C)
        C = lax.dynamic_update_slice(C, inverse_factor(tile(C, k, k)[None])[0], (k * size, k * size))
        return lax.fori_loop(k + 1, jnp.int32(count), below, C)

    return lax.fori_loop(zero, jnp.int32(count), column, C)


def _substitute(F: jax.Array, rhs: jax.Array) -> jax.Array:
    """Forward and backward substitution by the panels of `_eliminate`."""
    p, zero = len(rhs), jnp.int32(0)
    size, count = _panels(p)
    rhs = jnp.pad(rhs, ((0, len(F) - p), (0, 0)))

    def parts(i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Where panel i starts, the inverse of its diagonal block, and the panel below it."""
        start = i * size
        panel = lax.dynamic_slice(F, (zero, start), (len(F), size))
        below = jnp.where(jnp.arange(len(F), dtype=jnp.int32)[:, None] >= start + size, panel, 0)
        return start, lax.dynamic_slice(panel, (start, zero), (size, size)), below

    def rows(v: jax.Array, start: jax.Array) -> jax.Array:
        return lax.dynamic_slice(v, (start, zero), (size, v.shape[1]))

    def forward(i: jax.Array, rhs: jax.Array) -> jax.Array:
        start, inverse, below = parts(i)
        y = dot(inverse, rows(rhs, start))
        return lax.dynamic_update_slice(rhs - dot(below, y), y, (start, zero))

    def backward(i: jax.Array, rhs: jax.Array) -> jax.Array:
        start, inverse, below = parts(count - 1 - i)
        x = dot(inverse.T, rows(rhs, start) - dot(below.T, rhs))
        return lax.dynamic_update_slice(rhs, x, (start, zero))

    rhs = lax.fori_loop(zero, jnp.int32(count), forward, rhs)
    return lax.fori_loop(zero, jnp.int32(count), backward, rhs)[:p]


def factor(C: jax.Array) -> jax.Array:
    """The factor that `substitute` takes, of the symmetric positive definite C (p, p); NaN where C is not."""
    size, count = _panels(len(C))
    plain = lambda C: _pad(_cholesky(C), size * count)  # noqa: E731
    return lax.platform_dependent(C, cpu=_eliminate, default=plain)


def substitute(F: jax.Array, rhs: jax.Array) -> jax.Array:
    """The solution C^-1 rhs, rhs (p, k), with F = factor(C)."""

    def plain(F: jax.Array, rhs: jax.Array) -> jax.Array:
        p = len(rhs)
        return jax.scipy.linalg.cho_solve((F[:p, :p], True), rhs)

    return lax.platform_dependent(F, rhs, cpu=_substitute, default=plain)


def solve(C: jax.Array, rhs: jax.Array) -> jax.Array:
    """The solution C^-1 rhs for symmetric positive definite C (p, p), rhs (p, k); NaN where C is not."""
    return substitute(factor(C), rhs)


# Units of rounding per parameter that replace missing curvature: 5 and 20 change no status of 80 fits by Newton's
# method; of 120 (nearly) separable ones, 5 mends one and loses one, with 4 % fewer iterations, 20 mends one, with 3 %
# fewer.
RIDGE = 10


def inverse_root(H: jax.Array, *, single: bool = False, once: bool = False) -> jax.Array:
    """A root T (q, q) with TT' = H^-1, for H symmetric and positive semidefinite up to rounding.

    A tiny ridge replaces missing curvature (duplicated or constant columns, along which the gradient is 0 as well); if
    that factorisation fails by rounding, a larger one.  `single`: H was formed in float32 and is factored in it.
    `once`: NaN where the first factorisation fails.
    """
    dtype = jnp.float32 if single else H.dtype
    q, unit = H.shape[0], eps(dtype)
    diag = diagonal(H)
    d = jnp.sqrt(positive(diag))
    eye = jnp.eye(q, dtype=dtype)
    C = (H / (d[:, None] * d[None])).astype(dtype) + jnp.where(diag > 0, 0, 1)[:, None].astype(dtype) * eye
    L = inverse_factor((C + RIDGE * q * unit * eye)[None])[0]
    if not once:
        L = when(~jnp.isfinite(L.sum()), lambda _: inverse_factor((C + unit**0.5 * eye)[None])[0], L)
        L = jnp.where(jnp.isfinite(L.sum()), L, eye)
    return L.T.astype(H.dtype) / d[:, None]


def solve_root(T: jax.Array, b: jax.Array) -> jax.Array:
    """The solution H^-1 b from T with TT' = H^-1."""
    return dot(T, dot(T.T, b))
