"""The thin singular value decomposition from products and small LAPACK calls."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra.solvers.linalg import rank_revealing

SHAPES = [(30, 6), (6, 30), (60, 28)]  # eigenvectors by eigh, of the transpose, and by svd


def matrices(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Matrices (m, n, p) of full and of lower rank, of one size and of very different ones."""
    A, r = rng.standard_normal((n, p)), min(n, p)
    U, _, V = np.linalg.svd(A, full_matrices=False)
    sums, twice, empty = A.copy(), A.copy(), A.copy()
    sums[:, -1] = A[:, 0] + A[:, 1]
    twice[:, -1] = A[:, 0]
    empty[:, 2] = 0
    graded = U * np.logspace(0, -12, r) @ V
    hilbert = 1 / (np.arange(n)[:, None] + np.arange(p) + 1.0)
    sizes = np.where(np.arange(p) % 2, 1e15, 1e-15)
    one = np.outer(A[:, 0], A[0])
    return np.stack([A, sums, twice, empty, graded, hilbert, one, 1e30 * A, 1e-30 * A, A * sizes, 0 * A, 0 * A + 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n, p", SHAPES)
def test_svd_is_backward_stable(n, p, dtype, rng):
    """As LAPACK's: of a matrix within rounding of A, with orthonormal vectors where s is above rounding."""
    A = matrices(n, p, rng).astype(dtype)
    out = jax.jit(jax.vmap(rank_revealing.svd))(A)
    eps, tol = np.finfo(dtype).eps, rank_revealing.rank_tol(jnp.dtype(dtype), n, p)
    for A_, U, s, Vt in zip(A.astype(float), *(np.asarray(part, float) for part in out), strict=True):
        expected = np.linalg.svd(A_, compute_uv=False)
        top = expected[0]
        assert np.abs(s - expected).max() <= 20 * eps * top
        assert (np.diff(s) <= 0).all()
        assert np.linalg.norm((U * s) @ Vt - A_, 2) <= 2 * tol * top
        kept = expected > 2 * tol * top
        eye = np.eye(kept.sum())
        np.testing.assert_allclose(U[:, kept].T @ U[:, kept], eye, atol=40 * eps)
        np.testing.assert_allclose(Vt[kept] @ Vt[kept].T, eye, atol=40 * eps)
    assert np.isnan(np.asarray(jax.jit(jax.vmap(rank_revealing.svd))(np.full_like(A, np.nan))[1])).all()


@pytest.mark.slow
def test_svd_has_the_derivatives_of_lapacks(rng):
    A, C = rng.standard_normal((9, 4)), rng.standard_normal((9, 4))

    def loss(svd):
        def of(A):
            U, s, Vt = svd(A)
            return (C * ((U * s[None] ** 1.5) @ Vt)).sum()

        return of

    ours, lapacks = loss(rank_revealing.svd), loss(lambda A: jnp.linalg.svd(A, full_matrices=False))
    for derivative in (jax.grad, jax.hessian):
        expected = jax.jit(derivative(lapacks))(A)
        np.testing.assert_allclose(jax.jit(derivative(ours))(A), expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("p", [25, 40])
def test_lapack_stays_on_one_thread(p, rng):
    """No call of LAPACK's in the program is large enough to wake threads; those that are named here are by far the most
    expensive."""
    X, y = rng.standard_normal((200, p)), rng.standard_normal(200)
    l2 = np.array([0.1, 1.0])
    for fit in (lambda X, y: ji.ridge.path(X, y, l2=l2), lambda X, y: ji.ols.fit(X, y)):
        text = jax.jit(fit).lower(X, y).as_text()
        calls = re.findall(r"stablehlo\.custom_call @lapack_d(\w+?)_ffi\(.*?-> \(?tensor<([\dx]+)xf64>", text)
        seen = {
            name: max(np.prod([int(i) for i in size.split("x")]) for n, size in calls if n == name) for name, _ in calls
        }
        assert "gesdd" in seen and ("syevd" in seen) == (p <= 25)
        assert seen["gesdd"] <= 40 * 40 and seen.get("syevd", 0) <= 25 * 25 and seen.get("geqrf", 0) <= 40 * 40
