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

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap

from jaxinfra._core import implicit
from jaxinfra._core.precision import dot, eps
from jaxinfra.solvers.dual.kernel_rows import KernelMatrix
from jaxinfra.solvers.dual.problem import Dual

_CAPACITIES = (64, 256, 1024)  # free variables for which the system is sized, before all of them


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
    variable, share, empty = [], [], []
    for g in range(dual.groups):
        sides = [dual.within(g, side, -jnp.inf) for side in dual.sides(b, f)]
        variable.append(jnp.stack([side.argmax() for side in sides]))
        present = jnp.stack([side.max() > -jnp.inf for side in sides]).astype(b.dtype)
        share.append(present / jnp.maximum(present.sum(), 1))
        empty.append(~dual.within(g, free, False).any())
    return _Ends(jnp.stack(variable), jnp.stack(share), jnp.stack(empty))


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
        back = jnp.zeros_like(b).at[ends.variable].add(ends.share * middle[:, None])
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
    N = len(free)
    sizes = [c for c in _CAPACITIES if c < N] + [N]

    def sized(
        size: int, matrix: KernelMatrix, free: Any, inside: Any, rhs_b: Any, rhs_sum: Any
    ) -> tuple[jax.Array, jax.Array]:
        index = jnp.nonzero(free, size=size, fill_value=N)[0]
        used = (index < N).astype(rhs_b.dtype)
        at = jnp.minimum(index, N - 1)
        rows = at % matrix.n
        K = matrix.block(rows) * used[:, None] * used[None]
        ridge = 8 * eps(K.dtype) * jnp.abs(jnp.diagonal(K)).max()
        K = 0.5 * (K + K.T)
        border = inside[:, at].T * used[:, None]
        # K_FF is not positive definite for an indefinite kernel: LU of the bordered matrix.
        G = inside.shape[0]
        count = border.sum(0)
        A = jnp.block([
            [K + jnp.diag(1 - used + ridge), -border],
            [border.T, jnp.diag((count == 0).astype(K.dtype))],
        ])  # fmt: skip
        rhs = jnp.concatenate([rhs_b[at] * used, jnp.where(count > 0, rhs_sum, 0)])
        x = jnp.linalg.solve(A, rhs[:, None])[:, 0]
        return jnp.zeros_like(rhs_b).at[index].set(x[:size], mode="drop"), x[size : size + G]

    @sequential_vmap
    def choose(*arrays: Any) -> Any:
        branches = [lambda *a, size=size: sized(size, *a) for size in sizes]
        level = jnp.searchsorted(jnp.asarray(np.asarray(sizes)), arrays[1].sum())
        return lax.switch(level, branches, *arrays)

    return choose(matrix, free, inside, rhs_b, rhs_sum)
