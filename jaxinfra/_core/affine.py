"""The linear predictor that every linear model shares."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinfra._core import checks
from jaxinfra._core.precision import dot
from jaxinfra._core.types import Linear, Scaled


def decision(verb: str, params: Linear | Scaled, X: Any, offset: Any = None) -> jax.Array:
    """The predictor X @ coef + intercept (+ offset) after checking that X (n, p) fits coef (p,) or (p, k)."""
    X = checks.linear_params(verb, params, X)
    if offset is not None:
        offset = checks.array(verb, "offset", offset)
        shape = (X.shape[0], *params.coef.shape[1:])
        if offset.shape not in (shape, shape[:1]):
            raise ValueError(f"{verb}: offset must have shape {shape} to match X {X.shape}, got offset {offset.shape}")
    return _decision(params, X, offset)


@jax.jit
def _decision(params: Linear | Scaled, X: jax.Array, offset: jax.Array | None) -> jax.Array:
    dtype = checks.working_dtype(X, params.coef)
    X, coef, intercept = (jnp.asarray(a, dtype) for a in (X, params.coef, params.intercept))
    eta = dot(X, coef)
    eta = eta + jnp.broadcast_to(intercept, eta.shape)
    if offset is None:
        return eta
    return eta + as_rows(jnp.asarray(offset, dtype), eta)


def as_rows(v: jax.Array, like: jax.Array) -> jax.Array:
    """The values v, (n,) or of the shape of `like`, broadcast over the targets of `like`."""
    return v if v.ndim == like.ndim else jnp.broadcast_to(v[:, None], like.shape)
