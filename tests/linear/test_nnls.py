"""Nonnegative least squares: SciPy, scikit-learn, special cases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from sklearn.linear_model import ElasticNet, LinearRegression

import jaxinfra as ji
from tests.references import nnls as reference


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(31)
    X = rng.uniform(size=(40, 9))
    y = X @ np.array([1.0, 2.0, 0.0, -1.0, 0.5, -0.3, 0.0, 0.1, 1.0]) + 0.3 * rng.standard_normal(40)
    return X, y, rng.uniform(0.5, 2, 40)


@pytest.mark.parametrize("dtype, rel", [(np.float64, 1e-10), (np.float32, 2e-4)], ids=["x64", "x32"])
def test_agrees_with_scipy_and_sklearn(data, dtype, rel):
    X, y, w = (a.astype(dtype) for a in data)
    fit = ji.check(ji.nnls.fit(X, y, fit_intercept=False))
    coef = np.asarray(fit.params.coef)
    np.testing.assert_allclose(coef, scipy.optimize.nnls(*data[:2])[0], atol=10 * rel)
    assert (coef >= 0).all() and (coef == 0).any()
    fit = ji.check(ji.nnls.fit(X, y, sample_weight=w))
    peer = LinearRegression(positive=True).fit(data[0], data[1], sample_weight=data[2])
    np.testing.assert_allclose(fit.params.coef, peer.coef_, atol=10 * rel)
    np.testing.assert_allclose(fit.params.intercept, peer.intercept_, atol=10 * rel)
    expected = reference.fit(X, y, sample_weight=w)
    np.testing.assert_allclose(fit.params.coef, expected[0], atol=10 * rel)


def test_penalties(data):
    X, y, _ = data
    fit = ji.check(ji.nnls.fit(X, y, l1=0.01, l2=0.02))
    peer = ElasticNet(alpha=0.03, l1_ratio=1 / 3, positive=True, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(fit.params.coef, peer.coef_, atol=1e-7)
    top = float(ji.nnls.l1_max(X, y))
    assert not np.asarray(ji.nnls.fit(X, y, l1=top * (1 + 1e-9)).params.coef).any()
    assert np.asarray(ji.nnls.fit(X, y, l1=top * 0.99).params.coef).any()
    l1 = ji.select.penalties(top, 5, ratio=0.01)
    path = ji.check(ji.nnls.path(X, y, l1=l1))
    for i in range(5):
        np.testing.assert_allclose(path.params.coef[i], ji.nnls.fit(X, y, l1=l1[i]).params.coef, atol=1e-9)


@pytest.mark.slow
def test_inactive_constraint_is_ols(data):
    X, _, w = data
    y = X @ np.arange(1.0, 10) + 5
    fit = ji.check(ji.nnls.fit(X, y, sample_weight=w))
    np.testing.assert_allclose(fit.params.coef, ji.ols.fit(X, y, sample_weight=w).params.coef, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
def test_hard_problems(dtype):
    """Duplicated, opposite, constant columns, more columns than rows, badly scaled: always converged, always KKT."""
    rng = np.random.default_rng(5)
    for draw in range(12):
        n, p = (30, 10) if draw % 2 else (8, 20)
        X = rng.uniform(size=(n, p))
        X[:, 1] = X[:, 0]
        X[:, 2] = -X[:, 3]
        X[:, 4] = 2.0
        X[:, 5] *= 1e4
        y = (rng.standard_normal(n) + X[:, 0]).astype(dtype)
        X = X.astype(dtype)
        fit = ji.check(ji.nnls.fit(X, y))
        g, g0 = reference.gradient(*(np.asarray(v, float) for v in fit.params), X, y)
        scale = np.sqrt(((X - X.mean(0)) ** 2).mean(0)) * y.std()
        loose = 1e-7 if dtype == np.float64 else 1e-3
        assert (np.abs(g) <= loose * np.where(scale > 0, scale, 1) + 1e-12).all() and abs(g0) < loose * y.std()


def test_negative_coefficients_have_no_objective(data):
    X, y, _ = data
    at = ji.Linear(jnp.full(9, -0.1), jnp.zeros(()))
    assert np.isinf(ji.nnls.objective(at, X, y))
    fit = ji.nnls.fit(X, y)
    assert np.isclose(ji.nnls.objective(fit.params, X, y), fit.info.objective, rtol=1e-12)
    assert np.abs(np.asarray(ji.nnls.optimality(fit.params, X, y).coef)).max() < 1e-12


@pytest.mark.slow
def test_start_does_not_matter(data):
    X, y, _ = data
    base = ji.nnls.fit(X, y).params
    for init in (np.ones(9), -np.ones(9), 1e3 * np.arange(9.0)):
        again = ji.check(ji.nnls.fit(X, y, init=ji.Linear(jnp.asarray(init), jnp.zeros(())))).params
        assert max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(again), base, strict=True)) < 1e-9
