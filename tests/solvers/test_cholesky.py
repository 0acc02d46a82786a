"""The inverse Cholesky factor by blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinfra.solvers.linalg import cholesky


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [5, 28, 29, 100, 101, 250])
def test_inverse_factor(p, dtype, rng):
    """One block, joined blocks and the loop over blocks give L^-1 of several matrices at once."""
    A = rng.standard_normal((2, 3 * p, p))
    C = np.einsum("tij,tik->tjk", A, A) / (3 * p)
    out = np.asarray(jax.jit(cholesky.inverse_factor)(jnp.asarray(C, dtype)))
    expected = np.linalg.inv(np.linalg.cholesky(C))
    assert np.abs(out - expected).max() < 10 * np.finfo(dtype).eps * p**0.5 * np.abs(expected).max()
    assert not np.triu(out, 1).any()


@pytest.mark.parametrize("p", [5, 50, 150])
def test_inverse_factor_of_an_indefinite_matrix_is_nan(p):
    C = jnp.eye(p).at[p - 1, p - 1].set(-1.0)
    assert not np.isfinite(np.asarray(jax.jit(cholesky.inverse_factor)(C[None]))).all()
