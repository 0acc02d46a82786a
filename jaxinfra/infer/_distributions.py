"""Tails and quantiles of the distributions that tests and intervals need."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import betainc, gammaincc, ndtr, ndtri


def two_sided(statistic: jax.Array, df: jax.Array) -> jax.Array:
    """The tail P(|T| > |statistic|) of Student's t with df degrees of freedom, of the normal where df is inf."""
    square, df = statistic * statistic, lax.stop_gradient(df)  # betainc has no derivative by its parameters
    finite = jnp.where(jnp.isfinite(df), df, 1)
    student = betainc(0.5 * finite, jnp.full_like(square, 0.5), finite / (finite + square))
    return jnp.where(jnp.isfinite(df), student, 2 * ndtr(-jnp.abs(statistic)))


def quantile(level: jax.Array, df: jax.Array) -> jax.Array:
    """The x with P(|T| <= x) = level, without derivatives."""
    level, df = lax.stop_gradient((level, df))
    normal = -ndtri(0.5 * (1 - level))

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        more = two_sided(middle / (1 - middle), df) > 1 - level  # 0..1 mapped onto 0..inf
        return jnp.where(more, middle, low), jnp.where(more, high, middle)

    zero = jnp.zeros_like(normal)
    low, high = lax.fori_loop(0, 60, halve, (zero, zero + 1))
    student = 0.5 * (low + high)
    return jnp.where(jnp.isfinite(df), student / (1 - student), normal)


def chi2_tail(statistic: jax.Array, df: jax.Array) -> jax.Array:
    """The tail P(chi2 > statistic)."""
    return gammaincc(0.5 * df, 0.5 * statistic)


def f_tail(statistic: jax.Array, numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """The tail P(F > statistic); with infinite denominator degrees of freedom that of chi2 / numerator."""
    numerator, denominator = lax.stop_gradient((numerator, denominator))
    finite = jnp.where(jnp.isfinite(denominator), denominator, 1)
    f = betainc(0.5 * finite, 0.5 * numerator, finite / (finite + numerator * statistic))
    return jnp.where(jnp.isfinite(denominator), f, chi2_tail(numerator * statistic, numerator))
