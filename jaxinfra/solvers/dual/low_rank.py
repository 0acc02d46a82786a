r"""Interior-point method for the dual of a machine whose kernel matrix has a known factor, K = Z Z' with few columns.

    minimise 1/2 |Z'b|^2 + c'b    subject to  lower <= b <= upper,  sum b = 0

Mehrotra's predictor and corrector.  With s = b - lower, u = upper - b and their multipliers z and v, each iteration
solves (ZZ' + Theta) db - drho = r,  Theta = z/s + v/u diagonal, by the m x m matrix

    M = I + Z' Theta^-1 Z,    (ZZ' + Theta)^-1 r = Theta^-1 (r - Z M^-1 Z' Theta^-1 r)

so the cost is one product n m^2 and a few passes over Z.  The start meets all linear conditions, and equal steps in
both spaces keep them.  At the end, a variable nearer to its bound than its multiplier is to zero is set to the bound.

Source: Ferris and Munson 2002; Fine and Scheinberg 2001; Nocedal and Wright, Numerical Optimization, algorithm 16.4.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.cholesky import inverse_factor

_MOST = 50  # iterations
_STEP = 0.995  # of the way to the nearest bound
_SHORT = 1e-4  # a step after which no progress is expected


class _State(NamedTuple):
    b: jax.Array
    rho: jax.Array
    z: jax.Array
    v: jax.Array
    gap: jax.Array  # sum of s z + u v


def solve(Z: jax.Array, c: jax.Array, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Solve for b (n,), on or between its bounds: (b, iterations).  Z (n, m), the others (n,), lower <= 0 <= upper."""
    n, dtype = len(c), Z.dtype
    free = upper > lower
    width = jnp.where(free, upper - lower, 1)
    count = 2 * jnp.maximum(free.sum(), 1).astype(dtype)

    def times(b: jax.Array) -> jax.Array:
        return dot(Z, dot(b, Z))

    def gap_of(b: jax.Array, z: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.where(free, (b - lower) * z + (upper - b) * v, 0).sum()

    # Half of the smaller side, and as much of the other.
    above, below = jnp.maximum(upper, 0), jnp.maximum(-lower, 0)
    level = 0.5 * jnp.minimum(above.sum(), below.sum())
    b = jnp.where(free, above * (level / positive(above.sum())) - below * (level / positive(below.sum())), 0)
    f = times(b) + c
    unit = jnp.maximum(jnp.abs(c).max(), jnp.finfo(dtype).tiny)
    z, v = jnp.maximum(f, 0) + unit, jnp.maximum(-f, 0) + unit
    start = _State(b, jnp.zeros((), dtype), z, v, gap_of(b, z, v))

    def step(state: _State) -> tuple[_State, Verdict]:
        b, rho, z, v, gap = state
        s, u = jnp.where(free, b - lower, 1), jnp.where(free, upper - b, 1)
        inverse = jnp.where(free, 1 / (z / s + v / u), 0)
        residual = -(times(b) + c - rho - z + v)
        T = inverse_factor((jnp.eye(Z.shape[1], dtype=dtype) + dot((Z * inverse[:, None]).T, Z))[None])[0]

        def reduced(r: jax.Array) -> jax.Array:
            r = inverse * r
            return r - inverse * dot(Z, dot(T.T, dot(T, dot(r, Z))))

        border = reduced(jnp.ones((n,), dtype))
        denominator = jnp.maximum(border.sum(), jnp.finfo(dtype).tiny)

        def direction(low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            """The Newton direction for given changes low and high of the complementarity products s z and u v."""
            db = reduced(residual + low / s - high / u)
            drho = (-b.sum() - db.sum()) / denominator
            db = db + drho * border
            return db, drho, (low - z * db) / s, (high + v * db) / u

        def longest(db: jax.Array, dz: jax.Array, dv: jax.Array) -> jax.Array:
            limit = [jnp.where(free & (d < 0), -x / d, jnp.inf) for x, d in ((s, db), (u, -db), (z, dz), (v, dv))]
            return jnp.minimum(1, jnp.min(jnp.stack(limit)))

        db, drho, dz, dv = direction(-s * z, -u * v)
        t = longest(db, dz, dv)
        mean = gap / count
        after = gap_of(b + t * db, z + t * dz, v + t * dv) / count
        aim = mean * (after / mean) ** 3
        db, drho, dz, dv = direction(aim - s * z - db * dz, aim - u * v + db * dv)
        t = _STEP * longest(db, dz, dv)
        t = jnp.where(jnp.isfinite(t), t, 0)
        take = lambda x, d: jnp.where(t > 0, x + t * d, x)  # noqa: E731
        b, z, v = take(b, db), take(z, dz), take(v, dv)
        state = _State(b, take(rho, drho), z, v, gap_of(b, z, v))
        size = jnp.abs(0.5 * dot(b, times(b))) + jnp.abs(dot(b, c))
        done = state.gap <= 16 * eps(dtype) * size
        stuck = t < _SHORT
        status = jnp.where(done, Status.CONVERGED, Status.STALLED).astype(jnp.int32)
        return state, Verdict(done | stuck, status)

    end, _, n_iter = drive(step, start, max_iter=_MOST)
    # In units of the box and of c, either the distance to a bound or its multiplier is small.
    low = (end.b - lower) / width < end.z / unit
    high = (upper - end.b) / width < end.v / unit
    b = jnp.where(low & (end.z >= end.v), lower, jnp.where(high, upper, end.b))
    return jnp.where(free, b, lower), n_iter
