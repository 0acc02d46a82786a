"""Machines with a linear kernel on data far from 0, such as years: sums that cancel are taken about a centre.

Where the dual variables b sum to 0, a shift c of the rows changes only the intercept:

    sum_i b_i x_i'x + intercept = sum_i b_i (x_i - c)'(x - c) + (intercept + c'w),    w = sum_i b_i x_i
"""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import implicit
from jaxinfra._core.centre import bulk
from jaxinfra._core.precision import dot, eps, outside
from jaxinfra.kernels import Kernel, Linear, Polynomial

# 400 x 5 with one column of this standard deviation: 4 blocks at 1, 983 (3 s) at 100, more than 10000 (31 s) at 1000;
# `linear_svm`, which begins with an interior-point method, 0 at 1000 and more than 10000 at 10000.
_FAST, _FAST_INSIDE = 100.0, 1000.0


def warn_of_units(verb: str, X: Any, weights: Any, kernel: Any) -> None:
    """Warn, for rows on the host, that a fit will be slow in the units of a column."""
    if not (verb.endswith((".fit", ".path")) and isinstance(X, np.ndarray) and isinstance(kernel, Linear | Polynomial)):
        return
    if weights is not None:
        if not isinstance(weights, np.ndarray):
            return  # which rows count is not known here
        X = X[weights > 0]
    if not len(X):
        return
    with np.errstate(all="ignore"):
        spread = X.std(0, dtype=float)
    inside = verb.startswith("linear_svm")
    if not (spread > (_FAST_INSIDE if inside else _FAST)).any() or not np.isfinite(spread).all():
        return
    widest = int(spread.argmax())
    other = "" if inside or verb[:3] != "svc" else ", or use linear_svm, which allows 10 times as much"
    warnings.warn(
        f"{verb}: column {widest} of X has a standard deviation of {spread[widest]:.0e}: without a small C the fit "
        f"takes very long in these units and may stop at max_iter; scale the columns{other}",
        UserWarning,
        stacklevel=outside(),
    )


def centred(X: jax.Array, kernel: Kernel) -> tuple[jax.Array, jax.Array]:
    """The rows about a centre, and the centre (p,); X and 0 where the kernel is not `Linear`."""
    if not isinstance(kernel, Linear):
        return X, jnp.zeros_like(X[0])
    centre = bulk(implicit.frozen(X))
    return X - centre[None], centre


def outer(intercept: jax.Array, coef: jax.Array, X: jax.Array, centre: jax.Array, kernel: Kernel) -> jax.Array:
    """The intercept for rows as they were given, from that for the centred rows X with coef (..., n)."""
    return intercept - dot(dot(coef, X), centre) if isinstance(kernel, Linear) else intercept


@jax.jit
def slope(coef: jax.Array, vectors: jax.Array) -> jax.Array:
    """The sum of coef_i vectors_i: (p,) or (pairs, p).

    A sum of coefficients that is only rounding counts as 0: times a centre far from 0 it would dominate the result.
    """
    centre, total = bulk(vectors), coef.sum(-1)
    total = jnp.where(jnp.abs(total) > 8 * eps(coef.dtype) * jnp.abs(coef).sum(-1), total, 0)
    return dot(coef, vectors - centre[None]) + jnp.multiply.outer(total, centre)


def decision(coef: jax.Array, intercept: jax.Array, vectors: jax.Array, X: jax.Array) -> jax.Array:
    """The decision X w + intercept: (m,) or (m, pairs)."""
    w, centre = slope(coef, vectors), bulk(vectors)
    level = dot(w, centre) + intercept
    value = dot(X - centre[None], w.T)
    return value + (level if value.ndim == 1 else level[None])
