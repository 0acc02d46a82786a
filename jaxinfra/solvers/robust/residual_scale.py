r"""Scales of residuals for M-estimators: the median absolute deviation, and Huber's proposal 2.

    mad         median |r| / 0.6745, about 0
    proposal2   the root s of  sum_i w_i min((r_i / s)^2, k^2) / 2 = h sum w, where h is E min(z^2, k^2) / 2 of a
                standard normal z times (sum w - q) / sum w, for q parameters

Both are 1 for standard normal residuals.  Source: Huber, Robust Statistics (1981), sections 5.1 and 7.8; statsmodels'
HuberScale for the constants.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import order
from jaxinfra._core.precision import dot, positive

NORMAL = 0.6744897501960817  # the upper quartile of the standard normal distribution
K2 = 2.5  # statsmodels' d; MASS::rlm has 1.345
# After 15, 30 and 45 halvings proposal 2 has all digits where the largest residual is up to 1e3, 1e6 and 1e12 times as
# large as the others (200 rows, 20 samples); one more power of 10 and the scale is off by up to 2 %.
_HALVINGS = 60
# Rows that give a rough unit, and those that give a centre and a unit: bisection over all rows would take longer than
# the fit.  Of 2048, 4096 and 8192 none is slower than another (m_estimator, 50000 x 5, 3.5 ms).
_FEW, _SAMPLE = 64, 4096


def mad(r: jax.Array, w: jax.Array) -> jax.Array:
    """The median absolute deviation of r (n,) from 0 with weights w (n,)."""
    lower, upper = order.median(jnp.abs(r), w)
    return 0.5 * (lower + upper) / NORMAL


def frame(y: jax.Array, w: jax.Array, fit_intercept: bool, blocked: bool) -> tuple[jax.Array, jax.Array]:
    """A centre and a unit of y (n,) that outliers of any size do not move: the median, 0 without an intercept, and the
    median absolute deviation from it; the root mean square about it where half of the rows equal the centre."""
    step = -(-len(y) // _SAMPLE) if blocked else 1
    some, weight = y[::step], w[::step]

    def middle(i: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """The median of the rows, then of their distances from it: one place in the program for both."""
        v = jnp.where(i == 0, some, jnp.abs(some - found[1]))
        median = 0.5 * sum(order.median(v, weight))  # type: ignore[arg-type]
        return found[1], jnp.where((i > 0) | jnp.isfinite(median), median, 0)

    zero = jnp.zeros((), y.dtype)
    centre, distance = lax.fori_loop(0 if fit_intercept else 1, 2, middle, (zero, zero))
    unit = distance / NORMAL
    total = w.sum()
    rms = jnp.sqrt(dot(w, (y - centre) ** 2) / positive(total))
    unit = jnp.where((unit > 0) & jnp.isfinite(unit), unit, rms)
    return centre, jnp.where((unit > 0) & jnp.isfinite(unit), unit, 1)


def rough(y: jax.Array, w: jax.Array | None, fit_intercept: bool) -> jax.Array:
    """The unit of `frame` from some 64 rows, whatever their weights, that count."""
    step = -(-len(y) // _FEW)
    some = y[::step] if w is None else jnp.where(w > 0, y, jnp.inf)[::step]
    middle = (len(some) - 1) // 2 if w is None else (jnp.isfinite(some).sum() - 1) // 2
    centre = jnp.sort(some)[middle] if fit_intercept else jnp.zeros((), y.dtype)
    return jnp.sort(jnp.abs(some - centre))[middle] / NORMAL


def mad_rows(r: jax.Array, w: jax.Array) -> jax.Array:
    """The two rows (2,) whose absolute residuals `mad` is the mean of."""
    size = jnp.where(w > 0, jnp.abs(r), jnp.inf)
    return jnp.stack([jnp.argmax(size == m) for m in order.median(jnp.abs(r), w)])


def expected(w: jax.Array, q: int, k: jax.Array) -> jax.Array:
    """The right-hand side of proposal 2 over sum w: E min(z^2, k^2) / 2 of a standard normal z, less q parameters."""
    tail = 0.5 * lax.erfc(k / math.sqrt(2))
    normal = 0.5 - tail - k * jnp.exp(-0.5 * k * k) / math.sqrt(2 * math.pi) + k * k * tail
    total = w.sum()
    return normal * (total - q) / positive(total)


def proposal2(r: jax.Array, w: jax.Array, q: int, k: jax.Array) -> jax.Array:
    """Huber's proposal 2 of r (n,) with weights w (n,), q parameters and the cutoff k (); 0 where too few residuals
    differ from 0."""
    aim = 2 * expected(w, q, k) * w.sum()
    square = r * r
    top = jnp.sqrt(dot(w, square) / positive(aim))
    solvable = (aim > 0) & (jnp.where(r != 0, w, 0).sum() * k**2 > aim)

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        s = 0.5 * (low + high)
        more = dot(w, jnp.minimum(square, (k * s) ** 2)) > aim * s * s
        return jnp.where(more, s, low), jnp.where(more, high, s)

    s = lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(top), top))[1]
    # Bisection settles which rows are within the cutoff; given these, the equation has a closed solution.
    inside = jnp.abs(r) <= k * s
    left = aim - k**2 * jnp.where(inside, 0, w).sum()
    exact = jnp.sqrt(jnp.where(inside, w * square, 0).sum() / positive(left))
    return jnp.where(solvable, jnp.where(left > 0, exact, s), 0)


def proposal2_equation(r: jax.Array, w: jax.Array, q: int, k: jax.Array, s: jax.Array) -> jax.Array:
    """The residual of the equation of Huber's proposal 2 at scale s."""
    z = r / s
    return 0.5 * dot(w, jnp.minimum(z * z, k**2)) / w.sum() - expected(w, q, k)
