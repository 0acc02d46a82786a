r"""Errors of quantile regression: the density of the residuals at 0, by a kernel.

    powell   tau (1 - tau) H^-1 Q H^-1,  H = V'F V,  F_i = phi(r_i / h) / h,  Q = V'V
    kernel   Q^-1 (V'D V) Q^-1,  D_i = (tau / f)^2 above and ((1 - tau) / f)^2 below the quantile
    iid      tau (1 - tau) / f^2 Q^-1

with phi the normal density, f the density of all residuals at 0 by Epanechnikov's kernel, and h the bandwidth of Hall
and Sheather 1988.  Each row has a density of its own in powell alone: the others hold where the errors of all rows have
one distribution.  kernel is Stata's vce(robust) and statsmodels' default.

Source: Powell 1991; Koenker, Quantile Regression (2005), sections 3.4 and 4.10.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.scipy.stats import norm

from jaxinfra._core import affine, order
from jaxinfra._core.precision import dot
from jaxinfra.infer import _problem

_ALPHA = 0.05


def _bandwidth(n: jax.Array, tau: jax.Array) -> jax.Array:
    """Hall and Sheather's, in units of probability."""
    z = ndtri(tau)
    ratio = 1.5 * norm.pdf(z) ** 2 / (2 * z * z + 1)
    h = n ** (-1 / 3) * ndtri(jnp.asarray(1 - _ALPHA / 2, n.dtype)) ** (2 / 3) * ratio ** (1 / 3)
    # Halved until tau - h and tau + h are probabilities, as R's quantreg does.
    return h * jnp.exp2(-jnp.maximum(jnp.floor(jnp.log2(h / jnp.minimum(tau, 1 - tau))) + 1, 0))


def _percentile(v: jax.Array, w: jax.Array, share: float) -> jax.Array:
    """Between the two rows at share * (n - 1), as NumPy's percentile for unit weights."""
    place = share * (w.sum() - 1)
    whole = jnp.floor(place)
    first, second = (order.smallest(v, w, whole + k) for k in (1, 2))
    second = jnp.where(jnp.isfinite(second), second, first)
    return first + (place - whole) * (second - first)


def covariance(
    given: _problem.Given, static: tuple[tuple[str, Any], ...], kind: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(matrix, sparsity 1 / f, residual degrees of freedom)."""
    dtype, w = _problem.dtype_of(given), _problem.weights(given)
    tau = jnp.asarray({**given.traced, **dict(static)}.get("tau", 0.5), dtype)
    X = jnp.asarray(given.X, dtype)
    V = jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1) if _problem.has_intercept(static) else X
    r = jnp.asarray(given.y, dtype) - affine.decision("infer", given.params, X, given.offset)
    n = w.sum()
    mean = dot(w, r) / n
    deviation = jnp.sqrt(dot(w, (r - mean) ** 2) / n)
    spread = jnp.minimum(deviation, (_percentile(r, w, 0.75) - _percentile(r, w, 0.25)) / 1.34)
    h = _bandwidth(n, tau)
    h = spread * (ndtri(tau + h) - ndtri(tau - h))
    u = r / h
    f = dot(w, jnp.where(jnp.abs(u) <= 1, 0.75 * (1 - u * u), 0)) / (n * h)
    square = dot(V.T, w[:, None] * V)
    df = n - jnp.asarray(V.shape[1], dtype)
    if kind == "powell":
        H = _problem.inverse(dot(V.T, (w * norm.pdf(u) / h)[:, None] * V))
        return H.sandwich(tau * (1 - tau) * square), 1 / f, df
    Q = _problem.inverse(square)
    if kind == "iid":
        return tau * (1 - tau) / f**2 * Q.marked(Q.matrix), 1 / f, df
    # The rows that the quantile goes through count as below, whatever rounding says.
    noise = 64 * jnp.finfo(dtype).eps * jnp.abs(jnp.asarray(given.y, dtype)).max()
    D = jnp.where(r > noise, (tau / f) ** 2, ((1 - tau) / f) ** 2)
    return Q.sandwich(dot(V.T, (w * D)[:, None] * V)), 1 / f, df
