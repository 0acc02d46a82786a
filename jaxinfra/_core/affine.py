"""The linear predictor that every linear model shares."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinfra._core import checks
from jaxinfra._core.precision import dot


def decision(verb: str, params: Any, X: Any, offset: Any = None) -> jax.Array:
    """The predictor X @ coef + intercept (+ offset) where X (n, p) fits coef (p,) or (p, k) of the params."""
    X = checks.linear_params(verb, params, X)
    if offset is not None:
        offset = checks.array(verb, "offset", offset)
        shape = (X.shape[0], *params.coef.shape[1:])
        if offset.shape not in (shape, shape[:1]):
            raise ValueError(f"{verb}: offset must have shape {shape} to match X {X.shape}, got offset {offset.shape}")
    return _decision(params.coef, params.intercept, X, offset)


@jax.jit
def _decision(coef: jax.Array, intercept: jax.Array, X: jax.Array, offset: jax.Array | None) -> jax.Array:
    dtype = checks.working_dtype(X, coef)
    X, coef, intercept = (jnp.asarray(a, dtype) for a in (X, coef, intercept))
    eta = dot(X, coef)
    eta = eta + jnp.broadcast_to(intercept, eta.shape)
    if offset is None:
        return eta
    return eta + as_rows(jnp.asarray(offset, dtype), eta)


def as_rows(v: jax.Array, like: jax.Array) -> jax.Array:
    """The values v, (n,) or of the shape of `like`, broadcast over the targets of `like`."""
    return v if v.ndim == like.ndim else jnp.broadcast_to(v[:, None], like.shape)
