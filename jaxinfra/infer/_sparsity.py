r"""Errors of quantile regression: the density of the residuals at 0, by a kernel.

    powell   tau (1 - tau) H^-1 Q H^-1,  H = V'F V,  F_i = phi(r_i / h) / h,  Q = V'V
    kernel   Q^-1 (V'D V) Q^-1,  D_i = (tau / f)^2 above and ((1 - tau) / f)^2 below the quantile
    iid      tau (1 - tau) / f^2 Q^-1

with phi the normal density, f the density of all residuals at 0 by Epanechnikov's kernel, and h the bandwidth of Hall
and Sheather 1988.  Only powell allows each row its own density: the others hold where the errors of all rows have one
distribution.  kernel is Stata's vce(robust) and statsmodels' default.

Source: Powell 1991; Koenker, Quantile Regression (2005), sections 3.4 and 4.10.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.scipy.stats import norm

from jaxinfra._core import order
from jaxinfra._core.precision import dot
from jaxinfra.infer import _problem
from jaxinfra.infer._design import design
from jaxinfra.infer._inverse import inverse

_ALPHA = 0.05


def _bandwidth(n: jax.Array, tau: jax.Array) -> jax.Array:
    """The bandwidth of Hall and Sheather, in units of probability."""
    z = ndtri(tau)
    ratio = 1.5 * norm.pdf(z) ** 2 / (2 * z * z + 1)
    h = n ** (-1 / 3) * ndtri(jnp.asarray(1 - _ALPHA / 2, n.dtype)) ** (2 / 3) * ratio ** (1 / 3)
    # Halved until tau - h and tau + h are probabilities, as R's quantreg does.
    return h * jnp.exp2(-jnp.maximum(jnp.floor(jnp.log2(h / jnp.minimum(tau, 1 - tau))) + 1, 0))


def _percentile(v: jax.Array, w: jax.Array, share: float) -> jax.Array:
    """The percentile between the two rows at share * (n - 1), as NumPy's for unit weights."""
    place = share * (w.sum() - 1)
    below = jnp.floor(place)
    first, second = (order.smallest(v, w, below + k) for k in (1, 2))
    second = jnp.where(jnp.isfinite(second), second, first)
    return first + (place - below) * (second - first)


def covariance(
    given: _problem.Fitted, static: tuple[tuple[str, Any], ...], kind: str
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The (matrix, sparsity 1 / f, residual degrees of freedom, whether the parameters solve the problem)."""
    given = _problem.present(given)
    dtype, w = _problem.dtype_of(given), _problem.weights(given)
    tau = jnp.asarray({**given.traced, **dict(static)}.get("tau", 0.5), dtype)
    X = jnp.asarray(given.X, dtype)
    V, back = design(X, w, _problem.has_intercept(static))
    r = jnp.asarray(given.y, dtype) - _problem.predictor(given)
    n = w.sum()
    mean = dot(w, r) / n
    # R's quantreg divides by n - 1, Stata and statsmodels by n.
    deviation = jnp.sqrt(dot(w, (r - mean) ** 2) / (n - 1 if kind == "powell" else n))
    spread = jnp.minimum(deviation, (_percentile(r, w, 0.75) - _percentile(r, w, 0.25)) / 1.34)
    h = _bandwidth(n, tau)
    h = spread * (ndtri(tau + h) - ndtri(tau - h))
    u = r / h
    f = dot(w, jnp.where(jnp.abs(u) <= 1, 0.75 * (1 - u * u), 0)) / (n * h)
    # The residual that rounding of the parameters leaves in rows through which the quantile passes.
    params = jax.tree.map(lambda v: jnp.abs(jnp.asarray(v, dtype)), given.params)
    size = jnp.abs(jnp.asarray(given.y, dtype)).max() + dot(jnp.abs(X), params.coef) + params.intercept
    noise = 64 * jnp.finfo(dtype).eps * size
    solved = _solved(V, w, r, tau, noise)
    none = jnp.zeros((V.shape[1],) * 2, dtype)
    if kind == "powell":
        density = w * norm.pdf(u) / h
        H = inverse(V, density, none, back)
        df = n - jnp.trace(H.inner(V, density))
        return H.sandwich(tau * (1 - tau) * H.inner(V, w)), 1 / f, df, solved
    Q = inverse(V, w, none, back)
    df = n - jnp.trace(Q.inner(V, w))
    if kind == "iid":
        return tau * (1 - tau) / f**2 * Q.plain, 1 / f, df, solved
    # Rows through which the quantile passes count as below it, whatever the sign of their rounding.
    D = jnp.where(r > noise, (tau / f) ** 2, ((1 - tau) / f) ** 2)
    return Q.sandwich(Q.inner(V, w * D)), 1 / f, df, solved


def _solved(V: jax.Array, w: jax.Array, r: jax.Array, tau: jax.Array, noise: jax.Array) -> jax.Array:
    """Whether the rows through which the quantile passes can balance the others, column by column: (), bool.

    Necessary for a minimum, up to a hundredth of the standard deviation of the sum over samples.
    """
    on = jnp.abs(r) <= noise
    pull = jnp.abs(dot(w * jnp.where(on, 0, jnp.where(r > 0, tau, tau - 1)), V))
    reach = dot(jnp.where(on, w, 0), jnp.abs(V)) * jnp.maximum(tau, 1 - tau)
    return ~(pull > reach + 0.01 * jnp.sqrt(tau * (1 - tau) * dot(w, V * V))).any()
