r"""The prox and subdifferential of the L1 penalty, and accelerated prox-gradient steps for B quadratics with one."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot
from jaxinfra._core.types import Status
from jaxinfra.solvers.moments import diagonal


def soft(u: jax.Array, threshold: jax.Array) -> jax.Array:
    """The soft-threshold operator: the minimiser of (x - u)^2 / 2 + threshold |x|."""
    return jnp.sign(u) * jnp.maximum(jnp.abs(u) - threshold, 0)


def least_norm(w: jax.Array, gradient: jax.Array, l1: jax.Array) -> jax.Array:
    """Of the subdifferential  gradient + l1 d|w|  the element of smallest norm: zero where w is optimal."""
    return jnp.where(w == 0, soft(gradient, l1), gradient + l1 * jnp.sign(w))


def product(H: jax.Array, l2: jax.Array | None, w: jax.Array) -> jax.Array:
    """(H + diag(l2)) w for each row of w (B, p)."""
    return dot(w, H) if l2 is None else dot(w, H) + l2 * w


def accelerated(
    H: jax.Array, c: jax.Array, l1: jax.Array, l2: jax.Array | None, w: jax.Array,
    error: Callable[[jax.Array, jax.Array], jax.Array], tol: jax.Array,
) -> jax.Array:  # fmt: skip
    """Accelerated prox-gradient steps for B problems at once: a start for `newton` where p is large.

    c, l1, l2, w (B, p), c minus the gradient at w.  One product with H serves all, where a Newton step costs each a
    factorisation.  FISTA (Beck and Teboulle 2009) in the scale of the columns, its momentum dropped where it points
    uphill (O'Donoghue and Candes 2015).
    """
    d = diagonal(H)
    t = jnp.where(d > 0, 1 / jnp.where(d > 0, d, 1), 0)

    def grow(_: int, u: jax.Array) -> jax.Array:
        u = t * dot(H, u)
        return u / jnp.maximum(jnp.sqrt((u * u * d).sum()), jnp.finfo(u.dtype).tiny)

    top = lax.fori_loop(0, 16, grow, jnp.sqrt(t))
    bound = 1.25 * jnp.maximum((top * dot(H, top)).sum(), 1)
    D = d[None] if l2 is None else d[None] + l2
    t = jnp.where(D > 0, 1 / jnp.where(D > 0, bound * D, 1), 0)

    def gradient(v: jax.Array) -> jax.Array:
        return c - product(H, l2, v - w)

    def step(_: jax.Array, x: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        u, v, momentum = x
        new = soft(v + t * gradient(v), t * l1)
        uphill = ((v - new) * (new - u) * D).sum(1) > 0
        momentum = jnp.where(uphill, 1, momentum)
        after = 0.5 + jnp.sqrt(0.25 + momentum * momentum)
        return new, new + ((momentum - 1) / after)[:, None] * (new - u), after

    def steps(state: tuple[tuple[jax.Array, ...], jax.Array, jax.Array]):  # type: ignore[no-untyped-def]
        x, best, waited = state
        x = lax.fori_loop(0, 10, step, x)
        worst = error(x[0], gradient(x[0])).max()
        waited = jnp.where(worst < 0.5 * best, 0, waited + 1)
        state = x, jnp.minimum(worst, best), waited
        return state, Verdict((worst <= tol) | (waited > 10), jnp.int32(Status.CONVERGED))

    start = (w, w, jnp.ones_like(w[:, 0])), jnp.full((), jnp.inf, w.dtype), jnp.int32(0)
    end = drive(steps, start, max_iter=100)[0][0][0]
    return jnp.where(jnp.isfinite(end).all(), end, w)
