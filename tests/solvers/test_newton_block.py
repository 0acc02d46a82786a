"""Newton's method within a block of a dual, against the pairwise reference."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from jaxinfra.solvers.dual import newton_block
from jaxinfra.solvers.dual.smo import Block
from jaxinfra.solvers.linalg import cholesky
from tests.references import svm

RNG = np.random.default_rng(0)
N = 90
X = RNG.standard_normal((N, 3))
SIGN = np.where(X[:, 0] + X[:, 1] ** 2 + RNG.standard_normal(N) / 2 > 0.7, 1.0, -1.0)
K = svm.rbf(X, X, 0.3)
DUALS = {
    "one group": svm.svc(K, SIGN, np.full(N, 20.0)),
    "two groups": svm.nu_svc(K, SIGN, np.ones(N), 0.4),
    "twins": svm.svc(np.kron(np.ones((2, 2)), K[:45, :45]), np.tile(SIGN[:45], 2), np.full(N, 20.0)),
}
solve = jax.jit(partial(newton_block.solve, tol=1e-10), static_argnames="groups")


def finish(dual, b):
    block = Block(*map(jnp.asarray, (dual.K, dual.lower, dual.upper)), jnp.asarray(dual.group, jnp.int32))
    return np.asarray(solve(block, jnp.asarray(b), jnp.asarray(dual.slope(b)), groups=len(dual.total)))


def sums(dual, b):
    return [b[dual.group == g].sum() for g in range(len(dual.total))]


@pytest.mark.parametrize("tol", [0.1, 0.02])
@pytest.mark.parametrize("name", DUALS)
def test_finds_the_minimum_from_nearby(name, tol):
    dual = DUALS[name]
    near, best = svm.solve(dual, tol=tol), svm.solve(dual)
    found = finish(dual, near)
    assert dual.violation(near) > 1e-3 and dual.violation(found) < 1e-9
    np.testing.assert_allclose(dual.objective(found), dual.objective(best), rtol=1e-11)
    np.testing.assert_allclose(sums(dual, found), dual.total, atol=1e-10)


@pytest.mark.parametrize("name", DUALS)
def test_never_goes_up_and_stays_feasible(name):
    dual = DUALS[name]
    for tol in (1e9, 2.0, 0.5):
        start = svm.solve(dual, tol=tol)
        found = finish(dual, start)
        assert dual.objective(found) <= dual.objective(start) + 1e-12 * abs(dual.objective(start))
        assert (found >= dual.lower).all() and (found <= dual.upper).all()
        np.testing.assert_allclose(sums(dual, found), dual.total, atol=1e-10)


@pytest.mark.slow
def test_indefinite_matrix_is_left_to_pairwise_steps():
    dual = svm.svc(np.tanh(X @ X.T - 1), SIGN, np.full(N, 1.0))
    start = svm.solve(dual, tol=0.5)
    found = finish(dual, start)
    assert np.isfinite(found).all() and dual.objective(found) <= dual.objective(start)


def test_systems_by_panels():
    for p in (7, 300, 700):  # within a panel, a panel and a bit, several sizes of what is left
        A = RNG.standard_normal((p, p))
        A, rhs = A @ A.T / p + np.eye(p), RNG.standard_normal((p, 2))
        np.testing.assert_allclose(jax.jit(cholesky.solve)(A, rhs), np.linalg.solve(A, rhs), rtol=1e-9, atol=1e-9)
    assert np.isnan(jax.jit(cholesky.solve)(np.diag([1.0, -1.0]), np.ones((2, 1)))).any()


@pytest.mark.slow
def test_large_c_to_a_tight_tolerance_takes_few_blocks():
    """Pairwise steps alone need 87 blocks."""
    from sklearn.datasets import make_classification

    A, y = make_classification(1000, 20, n_informative=8, class_sep=0.7, flip_y=0.05, random_state=0)
    A = (A - A.mean(0)) / A.std(0)
    fit = ji.check(ji.svc.fit(A, y, C=1e4, kernel=kernels.RBF(0.005), tol=1e-8))
    dual = svm.svc(svm.rbf(A, A, 0.005), 2.0 * y - 1, np.full(1000, 1e4))
    assert dual.violation(np.asarray(fit.params.coef)) < 1e-7
    assert fit.info.n_iter < 60
