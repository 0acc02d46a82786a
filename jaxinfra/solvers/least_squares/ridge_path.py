r"""All ridge solutions of one data set from one singular value decomposition.

With A = sqrt(W) Z = U S V' (Z = X - x_mean) and mu = sum w * l2, for every penalty at once

    coef = V diag(S / (S^2 + mu)) U' sqrt(W) y,    h_i = sum_j U_ij^2 S_j^2 / (S_j^2 + mu) + w_i / sum w

so m penalties cost one factorisation and m products.  Golub, Heath and Wahba 1979.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxinfra._core.precision import dot, positive
from jaxinfra.solvers.least_squares.moments import centred
from jaxinfra.solvers.linalg.design import in_units
from jaxinfra.solvers.linalg.rank_revealing import rank_tol, svd


def path(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array, *, fit_intercept: bool
) -> tuple[jax.Array, ...]:
    """Solve for y (n, k) and l2 (m,): coef (m, p, k), intercept (m, k), loo (m, k), gcv (m, k), dof (m,)."""
    n, p = X.shape
    w = in_units(w)
    weight, x_mean, y_mean, A, v = centred(X, y, w, fit_intercept)
    finite = jnp.isfinite(A.sum() + v.sum() + weight + l2.sum()) & (l2 >= 0).all() & (weight > 0)
    if w is not None:
        finite &= (w >= 0).all()
    A = jnp.where(finite, A, 0)
    U, s, Vt = svd(A)
    mu = weight * l2
    # Without a penalty singular values below rounding count as zero, as in ols.
    counts = (mu > 0)[:, None] | (s > rank_tol(X.dtype, n, p) * s[0])[None]  # (m, r)
    total = (s * s)[None] + mu[:, None]
    inverse = jnp.where(counts & (total > 0), 1 / positive(total), 0)
    kept = (s * s)[None] * inverse

    def product(*factors: jax.Array, subscripts: str) -> jax.Array:
        return jnp.einsum(subscripts, *factors, precision="highest")

    coef = product(Vt, s[None] * inverse, dot(U.T, v), subscripts="rp,mr,rk->mpk")
    # One correction with residuals from the data removes the rounding of the decomposition.
    r = v[None] - product(A, coef, subscripts="np,mpk->mnk")
    g = product(A, r, subscripts="np,mnk->mpk") - mu[:, None, None] * coef
    coef = coef + product(Vt, inverse, dot(Vt, g), subscripts="rp,mr,mrk->mpk")
    r = v[None] - product(A, coef, subscripts="np,mpk->mnk")  # residuals times sqrt(w)
    h = dot(kept, (U * U).T)  # (m, n): leverages of the penalised columns
    dof = kept.sum(1)
    if fit_intercept:
        h = h + (jnp.ones(n, X.dtype) if w is None else w)[None] / weight
        dof = dof + 1
    share = jnp.maximum(1 - h, 0)[:, :, None]
    loo = jnp.where(share > 0, r / positive(share), jnp.where(r == 0, 0, jnp.inf))
    loo = (loo * loo).sum(1) / weight
    free = 1 - dof / weight
    gcv = jnp.where(free > 0, 1 / positive(free), jnp.inf)[:, None] ** 2 * (r * r).sum(1) / weight
    intercept = y_mean[None] - product(x_mean, coef, subscripts="p,mpk->mk")
    return tuple(jnp.where(finite, out, jnp.nan) for out in (coef, intercept, loo, gcv, dof))
