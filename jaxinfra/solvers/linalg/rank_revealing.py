r"""Factors of H = A'A + diag(ridge) as a basis T with T'HT = I on the range of H: then H^+ = TT'.

Two methods, the second where the first fails:

    cholesky   T = D^-1 R^-1 from the equilibrated Gram matrix.  One p x p Cholesky; the error of TT' grows as
               cond^2, which the residual correction of `ridge` removes while cond^2 * eps < 1e-3.
    eigen      rank-revealing: three rounds of "form the Gram matrix of A T, eigendecompose, rescale T".  Each
               round resolves singular values a factor sqrt(eps) smaller, as in shifted Cholesky QR (Fukaya et al.
               2020), so those down to eps * largest are found from products alone: no Householder sweep over the
               rows, and nothing but an all-reduce on a mesh.

`svd` is the singular value decomposition of A from the same rounds.

H has a leading axis t: 1, or one factor per target where penalties differ between targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinfra._core import implicit
from jaxinfra._core.precision import HIGHEST, dot, eps, positive
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra.solvers.linalg.cholesky import inverse_factor, solve_root
from jaxinfra.solvers.linalg.products import diagonal, power_of_two

# A factor may be used while the expected relative error of TT' is below this: each correction then gains 3 digits.
# From 1e-4 to 1e-2 at most 3 of 80 fits end otherwise, and the same ones converge.
FACTOR_ERROR = 1e-3
# Largest eigendecomposition and svd that LAPACK computes on one thread.  Beyond, where divide and conquer and blocked
# reflections begin, its BLAS wakes threads that on a busy machine wait for a core: eigh of 26 x 26 takes 2.9 to 15 ms
# instead of 0.07 beside two busy programs on 2 cores.  (A system with one right side wakes none at 100.)
_EIGH, _SVD = 25, 40


def rank_tol(dtype: jnp.dtype, n: int, p: int) -> float:
    """Singular values of X (n, p) below this times the largest are rounding.

    LAPACK's eps * max(n, p) is what sums over n rows could lose; sums in blocks of rows lose no more for a million rows
    than for some dozens.
    """
    return eps(dtype) * min(max(n, p), 64 + 8 * min(n, p))


class Factor(NamedTuple):
    """The factor T (t, p, p) with H^+ = TT'; null (t, p, p): an orthonormal basis of the null space in its first
    p - rank columns, zero elsewhere; norms (t, p): of the columns; rank (t,); condition (t,) of the equilibrated A;
    error (t,): the expected relative error of TT'."""

    T: jax.Array
    null: jax.Array
    norms: jax.Array
    rank: jax.Array
    condition: jax.Array
    error: jax.Array


def column_scale(H: jax.Array) -> jax.Array:
    """Square roots of the diagonal of H (t, p, p), 1 where it is not positive."""
    d = diagonal(H)
    return jnp.sqrt(positive(d))


def cholesky(
    H: jax.Array, cancellation: jax.Array, *, single: bool = False, equilibrate: bool = True, rare: Rare = WHOLE
) -> Factor:
    """The fast method.  `single`: H was formed in float32 and is factored in it; `cancellation`: see `Moments`.

    A failed factorisation has error = inf, in a lean program NaN.
    """
    p = H.shape[-1]
    form = jnp.float32 if single else H.dtype
    d = column_scale(H) if equilibrate else jnp.ones(H.shape[:2], H.dtype)
    C = H / (d[:, :, None] * d[:, None, :])
    Linv = inverse_factor(C.astype(form)).astype(H.dtype)
    # lambda_max(C^-1) from its largest diagonal element, the variance inflation factor; lambda_max(C) from its norm.
    inflation = (Linv * Linv).sum(-2).max(-1)
    condition2 = jnp.abs(C).sum(-1).max(-1) * inflation
    error, T = eps(form) * condition2 * cancellation, Linv.mT / d[:, :, None]
    rank = jnp.full(condition2.shape, p, jnp.int32)
    if not rare.lean:
        ok = jnp.isfinite(condition2)
        error, T = jnp.where(ok, error, jnp.inf), jnp.where(ok[:, None, None], T, 0)
        rank = jnp.where(ok, rank, 0)
    return Factor(T, jnp.zeros_like(T), d, rank, jnp.sqrt(condition2).astype(H.dtype), error)


def _eigenvectors(G: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvectors V and eigenvalues s, G = V diag(s) V', of symmetric G, positive semidefinite up to rounding."""
    if _EIGH < G.shape[-1] <= _SVD:
        V, s, _ = lax.linalg.svd(G, full_matrices=False)
        return V, s
    return lax.linalg.eigh(G)  # type: ignore[return-value]


def _orthonormal(gram: Callable[[jax.Array], jax.Array], scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Factors T, R (t, p, p): AT has orthonormal columns and AT R = A D, from gram(T) = (AT)'(AT); scale (t, p) of D.

    In directions in which AD is negligible beside its largest singular value, AT is rounding; the singular values of
    R, which are those of AD, show which directions these are.
    """
    p, dtype = scale.shape[-1], scale.dtype
    floor = 8 * p * eps(dtype)  # 4 and 16: 3 to 4 % more corrections in 80 fits, and one more that converges

    def resolve(_: jax.Array, basis: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        T, R = basis
        V, s = _eigenvectors(gram(T))
        s = jnp.sqrt(jnp.maximum(s, floor * s.max(-1, keepdims=True)))
        safe = positive(s)
        return dot(T, V / safe[:, None, :]), s[:, :, None] * dot(V.mT, R)

    # Two rounds would do in the 80 fits; with six 11 of them fail.
    eye = jnp.broadcast_to(jnp.eye(p, dtype=dtype), (*scale.shape, p))
    return lax.fori_loop(0, 3, resolve, (eye * scale[:, :, None], eye))


def svd(A: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The thin singular value decomposition U (n, r), s (r,), Vt (r, p) of A (n, p), by `_orthonormal`.

    Columns of U (rows of Vt where n < p) are zero where s is below rounding.  LAPACK's would sweep over the rows with
    its own threads (float32 1000 x 20 beside two busy programs: 46 ms instead of 0.3), and gather the rows of a mesh.
    Here it decomposes r x r only.
    """
    if min(A.shape) > _SVD:
        return lax.linalg.svd(A, full_matrices=False)  # type: ignore[return-value]
    if A.shape[0] < A.shape[1]:
        U, s, Vt = svd(A.T)
        return Vt.T, s, U.T
    frozen = implicit.frozen(A)
    unit = power_of_two(jnp.abs(frozen).max())
    frozen = frozen / unit
    squared = lambda A: dot(A.T, A)[None]  # noqa: E731
    d = column_scale(squared(frozen))
    _, R = _orthonormal(lambda T: squared(dot(frozen, T[0])), 1 / d)
    _, s, Vt = implicit.frozen(lax.linalg.svd(R[0] * d, full_matrices=False))
    keep = s > rank_tol(A.dtype, *A.shape) * s[0]
    # A V = Q diag(s).  One more round, by Cholesky and differentiable: Q'Q is the identity up to rounding.
    Q = dot(A / unit, Vt.T) * jnp.where(keep, 1 / jnp.where(keep, s, 1), 0)[None]
    G = dot(Q.T, Q) + jnp.diag(jnp.where(keep, 0, 1).astype(A.dtype))
    L_inv = inverse_factor(G[None])[0]
    U, s, Vt = lax.linalg.svd(dot(L_inv, dot(G, s[:, None] * Vt)) * unit, full_matrices=False)
    return dot(Q, dot(L_inv.T, U)), s, Vt


def eigen(
    H: jax.Array,
    gram: Callable[[jax.Array], jax.Array],
    ridge: jax.Array,
    rank_tol: float,
    *,
    equilibrate: bool = True,
) -> Factor:
    """The robust method.  gram(T) = (AT)'(AT) for T (t, p, p), from the data; ridge (t, p).

    Singular values of the equilibrated A below `rank_tol` times the largest count as zero; the basis leaves their
    directions out.
    """
    p, dtype = H.shape[-1], H.dtype
    d = column_scale(H) if equilibrate else jnp.ones(H.shape[:2], dtype)
    # A column that is zero in H is left out: in `gram` it is the rounding of its mean.
    nonzero = diagonal(H) > 0
    inverse = jnp.where(nonzero, 1 / d, 0) if equilibrate else d
    T, R = _orthonormal(lambda T: gram(T) + dot(T.mT * ridge[:, None, :], T), inverse)
    # Now A D^-1 = Q R with orthonormal Q, so R has its singular values and right singular vectors.
    _, s, Vt = lax.linalg.svd(R, full_matrices=False)
    top = s[:, :1]
    keep = (s > rank_tol * top) & (top > 0)
    rank = keep.sum(-1).astype(jnp.int32)
    V = Vt.mT
    T = V * jnp.where(keep, 1 / jnp.where(keep, s, 1), 0)[:, None, :] * inverse[:, :, None]
    # Null space of A = D^-1 (null space of A D^-1), orthonormalised; reversed so that its columns come first in QR.
    # A zero column's direction gets the smallest scale, relative to which the rounding of the others stays small.
    smallest = jnp.where(nonzero, d, jnp.inf).min(-1, keepdims=True)
    scale = jnp.where(nonzero | (smallest == jnp.inf), d, smallest)
    N = jnp.where(keep[:, None, :], 0, V / scale[:, :, None])[:, :, ::-1]
    Q, _ = jnp.linalg.qr(N)
    null = jnp.where(jnp.arange(p, dtype=jnp.int32)[None, None, :] < (p - rank)[:, None, None], Q, 0)
    T = T - dot(null, dot(null.mT, T))  # into the row space, which makes TT' the Moore-Penrose inverse
    condition = jnp.where(rank > 0, top[:, 0] / jnp.where(keep, s, jnp.inf).min(-1), jnp.nan)
    return Factor(T, null, d, rank, condition, eps(dtype) * condition)


def apply(T: jax.Array, g: jax.Array) -> jax.Array:
    """The product TT'g for g (p, k), with one T for all targets or one per target."""
    if T.shape[0] == 1:
        return solve_root(T[0], g)
    return jnp.einsum("kij,kj->ik", T, jnp.einsum("kij,ik->kj", T, g, precision=HIGHEST), precision=HIGHEST)


def project_out(null: jax.Array, g: jax.Array) -> jax.Array:
    """Remove from g its component in the null space."""
    return g - apply(null, g)
