"""The precision policy: which dtype a fit computes in, its default tolerances, and exact-precision products.

`jax_enable_x64` is never changed.  Fits compute in the promoted inexact dtype of the data; hyper-parameters are cast to
it.  Products on which the accuracy depends run at `Precision.HIGHEST`, so that no accelerator rounds them to bfloat16
or TF32.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

HIGHEST = lax.Precision.HIGHEST


class PrecisionWarning(UserWarning):
    """Warning that float64 data are computed in float32, since JAX is in its 32-bit mode."""


_warned: set[str] = set()


def outside() -> int:
    """The `stacklevel` for a warning of the caller that points at the first line outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame, level = frame.f_back, level + 1
    return level


def warn_once_if_demoted(verb: str, **arrays: object) -> None:
    """Warn once per process that float64 NumPy data are computed in float32 because x64 is off."""
    if _warned or jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return
    for name, value in arrays.items():
        if not isinstance(value, jax.Array) and np.asarray(value).dtype in (np.float64, np.longdouble):
            _warned.add(verb)
            warnings.warn(
                f"{verb}: {name} is float64 but JAX runs in 32-bit mode, so the fit is computed in float32 (about 7 "
                'digits). For float64 call jax.config.update("jax_enable_x64", True) before the first use of JAX, or '
                "set JAX_ENABLE_X64=1; to silence this, pass float32.",
                PrecisionWarning,
                stacklevel=outside(),
            )
            return


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product `a @ b` at full precision on every device."""
    return jnp.matmul(a, b, precision=HIGHEST)


def all_finite(*arrays: jax.Array | None) -> jax.Array:
    """Whether no array holds NaN or inf: (), bool."""
    return jnp.isfinite(sum((a.sum() for a in arrays if a is not None), 0.0))  # type: ignore[return-value]


def eps(dtype: Any) -> float:
    """The unit of rounding of `dtype` (the spacing at 1)."""
    return float(jnp.finfo(dtype).eps)


def default_tol(dtype: Any) -> float:
    """The tolerance that `tol=None` means: sqrt(eps) of the working dtype (1.5e-8, or 3.5e-4 in float32)."""
    return eps(dtype) ** 0.5


def tolerance(tol: jax.Array | None, dtype: Any) -> jax.Array:
    """The tol, or the default of the working dtype."""
    return jnp.asarray(default_tol(dtype), dtype) if tol is None else tol


def positive(a: jax.Array) -> jax.Array:
    """The values a where they are positive, else 1: a divisor."""
    return jnp.where(a > 0, a, 1)


def per_weight(size: jax.Array, weight: jax.Array) -> jax.Array:
    """The ratio size / weight of penalty weights: 0 where the weight is 0, NaN where it is negative or NaN."""
    return jnp.where(weight > 0, size / positive(weight), jnp.where(weight == 0, 0, jnp.nan))
