r"""Interior-point method for the dual of a machine whose kernel matrix has a known factor, K = Z Z' with few columns.

    minimise 1/2 |Z'b|^2 + c'b    subject to  lower <= b <= upper,  sum b = 0

`methods.mehrotra` with the intercept rho as the multiplier of the sum.  Each iteration solves

    (ZZ' + Theta) db - drho = r,  sum db = -sum b,    Theta = z/s + v/u diagonal

by the m x m matrix

    M = I + Z' Theta^-1 Z,    (ZZ' + Theta)^-1 r = Theta^-1 (r - Z M^-1 Z' Theta^-1 r)

so the cost is one product n m^2 and a few passes over Z.  Theta is kept above rounding, which slows no step towards the
end: what the direction misses is in the next residual.  At the end, a variable nearer to its bound than its
multiplier is to zero is set to the bound.

Source: Ferris and Munson 2002; Fine and Scheinberg 2001.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import compensated
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra.solvers.dual.problem import Dual
from jaxinfra.solvers.linalg.cholesky import inverse_factor, solve_root
from jaxinfra.solvers.methods import mehrotra

# Most iterations: 40 and 160 change none of 120 problems (5 kinds of data, 2 shapes, C 0.01 to 100, both precisions).
_MOST = 80
# Of the way to the nearest bound.  In these problems 0.9, 0.99 and 0.9975 take 30 % and 3 % more and 2 % fewer
# iterations, with 2.2, 1.3 and 0.8 times the violation at the end (geometric mean).
_STEP = 0.995
# The least Theta, in eps of the largest diagonal element of K.  Between the bounds Theta goes to 0, M^-1 to rounding:
# in float32 the violation at the end was 10 to 1000 times as large without it, and with 16 five times where w is 0.
_RIDGE = 64


def solve(Z: jax.Array, c: jax.Array, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Solve for b (n,), on or between its bounds: (b, iterations).  Z (n, m), the others (n,), lower <= 0 <= upper."""
    dtype = Z.dtype
    tiny = jnp.finfo(dtype).tiny
    wide = upper > lower
    ridge = _RIDGE * eps(dtype) * (Z * Z).sum(1).max()

    # Half of the smaller side, and as much of the other.  A quarter: 2 % fewer iterations, 1.1 times the violation at
    # the end; 0.9: 9 % more, 1.7 times.
    box = jnp.maximum(jnp.stack([-lower, upper]), 0)
    total = box.sum(1)
    below, above = box * (0.5 * total.min() / positive(total))[:, None]
    b = jnp.where(wide, above - below, 0)
    f = dot(Z, dot(b, Z)) + c
    unit = jnp.maximum(jnp.abs(c).max(), tiny)
    multipliers = jnp.maximum(jnp.stack([f, -f]), 0) + unit
    start = mehrotra.begin(jnp.zeros((1,), dtype), wide, jnp.stack([jnp.stack([b - lower, upper - b]), multipliers]))

    def system(rho: jax.Array, pairs: jax.Array, inverse: jax.Array) -> mehrotra.Direction:
        inverse = inverse / (1 + ridge * inverse)
        b = mehrotra.values(lower, upper, pairs)
        left = -(dot(Z, dot(b, Z)) + c - rho - pairs[1, 0] + pairs[1, 1])
        T = inverse_factor((jnp.eye(Z.shape[1], dtype=dtype) + dot((Z * inverse[:, None]).T, Z))[None])[0].T

        def reduced(r: jax.Array) -> jax.Array:
            r = inverse * r
            return r - inverse * dot(Z, solve_root(T, dot(r, Z)))

        border = reduced(jnp.ones_like(b))
        denominator = jnp.maximum(border.sum(), tiny)

        def direction(h: jax.Array) -> tuple[jax.Array, jax.Array]:
            db = reduced(left + h)
            drho = -(b + db).sum() / denominator
            return drho[None], db + drho * border

        return direction

    def goal(point: mehrotra.Point) -> jax.Array:
        b = mehrotra.values(lower, upper, point.pairs)
        w = dot(b, Z)
        return eps(dtype) * (0.5 * dot(w, w) + jnp.abs(dot(b, c)))

    end, _, n_iter = mehrotra.solve(system, start, wide, goal=goal, share=_STEP, together=True, max_iter=_MOST)
    # In units of the box and of c, either the distance to a bound or its multiplier is small.
    width = jnp.where(wide, upper - lower, 1)
    (low, high), (z, v) = end.pairs / jnp.stack([width, jnp.full_like(c, unit)])[:, None]
    b = jnp.where((low < z) & (z >= v), lower, jnp.where(high < v, upper, mehrotra.values(lower, upper, end.pairs)))
    return jnp.where(wide, b, lower), n_iter


class End(NamedTuple):
    """A point whose sum is 0, with what `solver.Solution` says of it, and whether it is optimal to the tolerance."""

    b: jax.Array
    rho: jax.Array
    objective: jax.Array
    violation: jax.Array
    proven: jax.Array


def certify(dual: Dual, Z: jax.Array, b: jax.Array, tol: jax.Array, wide: Any) -> End:
    """The end of `solve` without other methods: free variables take what is missing from the sum of 0.

    The gradient is evaluated in the dtype `wide` where that is float64, else in double-word arithmetic.
    """
    missing = -b.sum()
    free = dual.free(b)
    room = jnp.where(free, jnp.where(missing > 0, dual.upper - b, dual.lower - b), 0)
    share = missing / jnp.where(room.sum() == 0, 1, room.sum())
    b = b + share * room
    if wide == jnp.float64:
        f = (dot(Z.astype(wide), dot(b.astype(wide), Z.astype(wide))) + dual.c.astype(wide)).astype(b.dtype)
    else:
        w = compensated.normalise(compensated.dot(jnp.broadcast_to(b[:, None], Z.shape), Z))
        hi, lo = compensated.dot(Z.T, jnp.broadcast_to(w[0][:, None], Z.T.shape))
        hi, more = compensated.two_sum(hi, dual.c)
        f = hi + (more + lo + dot(Z, w[1]))
    up, down = dual.sides(b, f)
    ends = jnp.stack([up, down]).max(1)
    violation = jnp.maximum(ends.sum(), 0)
    sums = dot(
        jnp.stack([jnp.where(free, f, 0), free.astype(f.dtype), b, jnp.abs(b), 0.5 * b * (f + dual.c)]),
        jnp.ones_like(b),
    )
    count = sums[1]
    rho = jnp.where(count > 0, sums[0] / jnp.maximum(count, 1), 0.5 * (ends[1] - ends[0]))
    balanced = jnp.abs(sums[2]) <= eps(b.dtype) ** (2 / 3) * sums[3]
    sound = jnp.isfinite(ends).all() & (share <= 0.5)
    return End(b, rho, sums[4], violation, (violation < tol) & balanced & sound)
