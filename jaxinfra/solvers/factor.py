r"""Factors of H = A'A + diag(ridge) as a basis T with T'HT = I on the range of H: then H^+ = TT'.

Two rungs:

    cholesky   T = D^-1 R^-1 from the equilibrated Gram matrix.  One p x p Cholesky; the error of TT' grows as
               cond^2, which the residual correction of `least_squares` removes while cond^2 * eps < 1e-3.
    eigen      rank-revealing: three rounds of "form the Gram matrix of A T, eigendecompose, rescale T".  Each
               round resolves singular values a factor sqrt(eps) smaller, as in shifted Cholesky QR (Fukaya et al.
               2020), so those down to eps * largest are found from products alone: no Householder sweep over the
               rows, and nothing but an all-reduce on a mesh.

H has a leading axis t: 1, or one factor per target where penalties differ between targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core.precision import HIGHEST, dot, eps
from jaxinfra.solvers.cholesky import inverse_factor
from jaxinfra.solvers.moments import diagonal

# A factor may be used while the expected relative error of TT' is below this: each correction then gains 3 digits.
FACTOR_ERROR = 1e-3


def rank_tol(dtype: jnp.dtype, n: int, p: int) -> float:
    """Singular values of X (n, p) below this times the largest are rounding.

    LAPACK's eps * max(n, p) is what sums over n rows could lose; those in blocks of rows lose no more for a million
    rows than for some dozens.
    """
    return eps(dtype) * min(max(n, p), 64 + 8 * min(n, p))


class Factor(NamedTuple):
    """T (t, p, p) with H^+ = TT'; null (t, p, p): orthonormal basis of the null space in its first p - rank columns,
    zero elsewhere; scale (t, p): column norms; rank (t,); condition (t,) of the equilibrated A; error (t,): the
    expected relative error of TT'."""

    T: jax.Array
    null: jax.Array
    scale: jax.Array
    rank: jax.Array
    condition: jax.Array
    error: jax.Array


def column_scale(H: jax.Array) -> jax.Array:
    """Square roots of the diagonal of H (t, p, p), 1 where it is not positive."""
    d = diagonal(H)
    return jnp.sqrt(jnp.where(d > 0, d, 1))


def cholesky(H: jax.Array, cancellation: jax.Array, *, single: bool = False, equilibrate: bool = True) -> Factor:
    """The fast rung.  `single`: H was formed in float32 and is factored in it; `cancellation`: what centring cost H.

    A failed factorisation has error = inf.
    """
    p = H.shape[-1]
    form = jnp.float32 if single else H.dtype
    d = column_scale(H) if equilibrate else jnp.ones(H.shape[:2], H.dtype)
    C = H / (d[:, :, None] * d[:, None, :])
    Linv = inverse_factor(C.astype(form)).astype(H.dtype)
    # lambda_max(C^-1) from its largest diagonal element, the variance inflation factor; lambda_max(C) from its norm.
    inflation = (Linv * Linv).sum(-2).max(-1)
    condition2 = jnp.abs(C).sum(-1).max(-1) * inflation
    ok = jnp.isfinite(condition2)
    error = jnp.where(ok, eps(form) * condition2 * cancellation, jnp.inf)
    T = jnp.where(ok[:, None, None], Linv.mT / d[:, :, None], 0)
    return Factor(
        T, jnp.zeros_like(T), d, jnp.where(ok, p, 0).astype(jnp.int32), jnp.sqrt(condition2).astype(H.dtype), error
    )


def eigen(
    H: jax.Array,
    gram: Callable[[jax.Array], jax.Array],
    ridge: jax.Array,
    rank_tol: float,
    *,
    equilibrate: bool = True,
) -> Factor:
    """The robust rung.  gram(T) = (AT)'(AT) for T (t, p, p), from the data; ridge (t, p).

    Singular values of the equilibrated A below `rank_tol` times the largest count as zero; the basis leaves their
    directions out.
    """
    p, dtype = H.shape[-1], H.dtype
    d = column_scale(H) if equilibrate else jnp.ones(H.shape[:2], dtype)
    unit = eps(dtype)
    floor = 8 * p * unit

    def resolve(_: jax.Array, basis: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        T, R = basis
        G = gram(T) + dot(T.mT * ridge[:, None, :], T)
        V, s = lax.linalg.eigh(G)
        s = jnp.sqrt(jnp.maximum(s, floor * s.max(-1, keepdims=True)))
        safe = jnp.where(s > 0, s, 1)
        return dot(T, V / safe[:, None, :]), s[:, :, None] * dot(V.mT, R)

    eye = jnp.broadcast_to(jnp.eye(p, dtype=dtype), H.shape)
    T, R = lax.fori_loop(0, 3, resolve, (eye / d[:, :, None], eye))
    # Now A D^-1 = Q R with orthonormal Q, so R has its singular values and right singular vectors.
    _, s, Vt = lax.linalg.svd(R, full_matrices=False)
    top = s[:, :1]
    keep = (s > rank_tol * top) & (top > 0)
    rank = keep.sum(-1).astype(jnp.int32)
    V = Vt.mT
    T = V * jnp.where(keep, 1 / jnp.where(keep, s, 1), 0)[:, None, :] / d[:, :, None]
    # Null space of A = D^-1 (null space of A D^-1), orthonormalised; reversed so that its columns come first in QR.
    N = jnp.where(keep[:, None, :], 0, V / d[:, :, None])[:, :, ::-1]
    Q, _ = jnp.linalg.qr(N)
    null = jnp.where(jnp.arange(p, dtype=jnp.int32)[None, None, :] < (p - rank)[:, None, None], Q, 0)
    T = T - dot(null, dot(null.mT, T))  # into the row space, which makes TT' the Moore-Penrose inverse
    condition = jnp.where(rank > 0, top[:, 0] / jnp.where(keep, s, jnp.inf).min(-1), jnp.nan)
    return Factor(T, null, d, rank, condition, unit * condition)


def apply(T: jax.Array, g: jax.Array) -> jax.Array:
    """TT'g for g (p, k), with one T for all targets or one per target."""
    if T.shape[0] == 1:
        return dot(T[0], dot(T[0].T, g))
    return jnp.einsum("kij,kj->ik", T, jnp.einsum("kij,ik->kj", T, g, precision=HIGHEST), precision=HIGHEST)


def project_out(null: jax.Array, g: jax.Array) -> jax.Array:
    """g minus its component in the null space."""
    return g - apply(null, g)
