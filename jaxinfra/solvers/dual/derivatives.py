r"""Derivatives of the solution of a box-constrained dual from its optimality conditions.

With F the free variables and the others at their bounds, b and rho solve

    (K b)_v + c_v - rho_g = 0    for v in F of group g
    b_v - bound_v = 0            for v at a bound
    sum_{v in g} b_v = total_g,  or rho_g = the middle of its interval for a group without free variables

The linear system has the bordered matrix [K_FF -1; 1' 0].  The derivative of K b with respect to the kernel and the
rows goes through blocks of rows, so that neither K nor its derivative is ever in memory as a whole.

Source: Keerthi, Sindhwani and Chapelle 2007; the implicit function theorem.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

from jaxinfra._core import implicit
from jaxinfra._core.precision import dot, eps
from jaxinfra.solvers.dual import kernel_rows
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix
from jaxinfra.solvers.dual.problem import Dual

# Free variables for which the system is sized, before all of them; each size is nine kernels.  A gradient of 1000 x 20
# rows with 55 of them free takes 6 ms by a small size, 9 ms by 512 (2 cores).
_CAPACITIES = (128, 512, 1024, 4096)


class Point(NamedTuple):
    """The solution, or a right-hand side of its equations."""

    b: jax.Array  # (N,)
    rho: jax.Array  # (G,)


class _Ends(NamedTuple):
    """The two rows that decide rho of a group without free variables, with their shares."""

    variable: jax.Array  # (G, 2)
    share: jax.Array  # (G, 2)
    empty: jax.Array  # (G,)


def _ends(dual: Dual, b: jax.Array, f: jax.Array, free: jax.Array) -> _Ends:
    # All groups at once: each maximum of its own is two kernels.
    scores = jnp.stack([jnp.stack([dual.within(g, v, -jnp.inf) for v in dual.sides(b, f)]) for g in range(dual.groups)])
    inside = jnp.stack([dual.within(g, free, False) for g in range(dual.groups)])
    some = jnp.concatenate([scores > -jnp.inf, inside[:, None]], 1).any(2)
    share = some[:, :2].astype(b.dtype)
    return _Ends(lax.argmax(scores, 2, jnp.int32), share / jnp.maximum(share.sum(1, keepdims=True), 1), ~some[:, 2])


def attach(
    live_matrix: KernelMatrix, live: Dual, matrix: KernelMatrix, b: jax.Array, rho: jax.Array, g: jax.Array
) -> Point:
    """Attach derivatives to (b, rho) by the optimality conditions.

    live_matrix, live: the problem with the arrays to differentiate by; matrix: the same as constants, in the precision
    that the linear system is solved in; g = K b.
    """
    n, G = matrix.n, len(rho)
    dual, b, rho, g = implicit.frozen((live, b, rho, g))
    free = dual.free(b)
    at_upper = b >= dual.upper
    f = dual.tile(g) + dual.c
    ends = _ends(dual, b, f, free)
    groups = jnp.stack([dual.within(k, jnp.ones_like(b), 0) for k in range(G)])
    inside = groups * free.astype(b.dtype)[None]

    def residual(x: Point) -> Point:
        f = live.tile(live_matrix.times(live.by_row(x.b, n))) + live.c
        bound = jnp.where(at_upper, live.upper, live.lower)
        first = jnp.where(free, f - dual.of_group(x.rho), x.b - bound)
        middle = x.rho - (ends.share * f[ends.variable]).sum(1)
        return Point(first, jnp.where(ends.empty, middle, dot(groups, x.b) - (0 if live.total is None else live.total)))

    wide = matrix.diagonal.dtype

    def bordered(F: jax.Array, rhs_b: jax.Array, rhs_sum: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Solve K_FF z - s_g = rhs_b and sum_g z = rhs_sum for z and s where g has free variables."""
        z, s = _solve_free(matrix, F, inside.astype(wide), rhs_b.astype(wide), rhs_sum.astype(wide))
        return z.astype(b.dtype), s.astype(b.dtype)

    def at_bounds(v: jax.Array) -> jax.Array:
        return jnp.where(free, 0, v)

    def solve(rhs: Point) -> Point:
        fixed = at_bounds(rhs.b)
        lead = gram_times(fixed)
        z, s = bordered(free, jnp.where(free, rhs.b - lead, 0), jnp.where(ends.empty, 0, rhs.rho - dot(groups, fixed)))
        x = z + fixed
        f = dual.tile(gram_rows(x))
        middle = rhs.rho + (ends.share * f[ends.variable]).sum(1)
        return Point(x, jnp.where(ends.empty, middle, s))

    def transpose_solve(rhs: Point) -> Point:
        # Rows of the empty groups: rho_g - mean of f at the ends.  Their multiplier is the cotangent of rho itself.
        middle = jnp.where(ends.empty, rhs.rho, 0)
        # Not a scatter, which is several kernels.
        at = jnp.arange(len(b), dtype=jnp.int32)[None, None] == ends.variable[..., None]
        back = jnp.where(at, (ends.share * middle[:, None])[..., None], 0).sum((0, 1))
        y = rhs.b + dual.tile(gram_rows(back))
        z, s = bordered(free, jnp.where(free, y, 0), jnp.where(ends.empty, 0, -rhs.rho))
        total = jnp.where(ends.empty, 0, -s)
        z_bound = at_bounds(y - dual.tile(gram_rows(z)) - dot(total, groups))
        return Point(z + z_bound, jnp.where(ends.empty, middle, total))

    def gram_rows(v: jax.Array) -> jax.Array:
        return matrix.times(dual.by_row(v, n).astype(wide)).astype(b.dtype)

    def gram_times(v: jax.Array) -> jax.Array:
        return dual.tile(gram_rows(v))

    return implicit.root(residual, Point(b, rho), solve, transpose_solve)


def _solve_free(
    matrix: KernelMatrix, free: jax.Array, inside: jax.Array, rhs_b: jax.Array, rhs_sum: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The bordered system on the free variables, sized by how many there are; one lane of a batch at a time."""
    N, G = len(free), len(rhs_sum)
    sizes = [c for c in _CAPACITIES if c <= 0.75 * N] + [N]

    def sized(size: int, matrix: KernelMatrix, at: Any, used: Any, inside: Any, rhs: Any, ridge: Any) -> jax.Array:
        at, used = at[:size], used[:size]
        K = matrix.block(at % matrix.n)
        # K_FF is not positive definite for an indefinite kernel: LU of the bordered matrix, whose pieces are padded
        # and added: a concatenation would be a kernel of its own.
        K = jnp.where(used[:, None] & used[None], 0.5 * (K + K.T), 0)
        border = jnp.where(used[None], inside[:, at], 0)
        row = jnp.pad(border, ((size, 0), (0, G)))
        column = jnp.pad(border.T, ((0, G), (size, 0)))
        # Ones where a variable or a group is absent.
        diagonal = jnp.pad(jnp.where(used, ridge, 1), (0, G)) + jnp.pad(absent(inside), (size, 0))
        A = jnp.pad(K, (0, G)) + row - column + jnp.eye(size + G, dtype=K.dtype) * diagonal[:, None]
        x = jnp.linalg.solve(A, jnp.concatenate([rhs[at], rhs[N:]])[:, None])[:, 0]
        return jnp.concatenate([jnp.pad(x[:size], (0, N - size)), x[size:]])

    def absent(inside: jax.Array) -> jax.Array:
        return (inside.sum(1) == 0).astype(inside.dtype)

    @sequential_vmap
    def choose(matrix: KernelMatrix, free: Any, inside: Any, rhs_b: Any, rhs_sum: Any) -> Any:
        at, count = kernel_rows.places(free, 0)
        used = jnp.arange(N, dtype=jnp.int32) < count
        ridge = 8 * eps(rhs_b.dtype) * jnp.where(free, jnp.abs(jnp.tile(matrix.diagonal, N // matrix.n)), 0).max()
        rhs = jnp.concatenate([jnp.where(free, rhs_b, 0), jnp.where(absent(inside) == 0, rhs_sum, 0)])
        branches = [partial(sized, size) for size in sizes]
        level = sum((count > size).astype(jnp.int32) for size in sizes[:-1])
        x = lax.switch(level, branches, matrix, at, used, inside, rhs, ridge)
        return jnp.zeros_like(rhs_b).at[jnp.where(used, at, N)].set(x[:N], mode="drop"), x[N:]

    return choose(matrix, free, inside, rhs_b, rhs_sum)
