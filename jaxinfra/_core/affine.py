"""The linear predictor that every linear model shares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxinfra._core import checks
from jaxinfra._core.precision import dot


def decision(
    verb: str, params: Any, X: Any, offset: Any = None, then: Callable[..., jax.Array] | None = None, *more: Any
) -> jax.Array:
    """The predictor X @ coef + intercept (+ offset) where X (n, p) fits coef (p,) or (p, k) of the params.

    then: a function of a module: then(predictor, *more) is returned, from the same program, because each program that a
      new number of rows compiles takes some 20 ms, however little it does.
    """
    X = checks.linear_params(verb, params, X)
    if offset is not None:
        offset = checks.array(verb, "offset", offset)
        shape = (X.shape[0], *params.coef.shape[1:])
        if offset.shape not in (shape, shape[:1]):
            raise ValueError(f"{verb}: offset must have shape {shape} to match X {X.shape}, got offset {offset.shape}")
    return _decision(params.coef, params.intercept, X, offset, more, then=then)


@partial(jax.jit, static_argnames="then")
def _decision(
    coef: jax.Array, intercept: jax.Array, X: jax.Array, offset: jax.Array | None, more: tuple[Any, ...], *,
    then: Callable[..., jax.Array] | None,
) -> jax.Array:  # fmt: skip
    dtype = checks.working_dtype(X, coef)
    X, coef, intercept = (jnp.asarray(a, dtype) for a in (X, coef, intercept))
    eta = dot(X, coef)
    eta = eta + jnp.broadcast_to(intercept, eta.shape)
    if offset is not None:
        eta = eta + as_rows(jnp.asarray(offset, dtype), eta)
    return eta if then is None else then(eta, *more)


def as_rows(v: jax.Array, like: jax.Array) -> jax.Array:
    """The values v, (n,) or of the shape of `like`, broadcast over the targets of `like`."""
    return v if v.ndim == like.ndim else jnp.broadcast_to(v[:, None], like.shape)
