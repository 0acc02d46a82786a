"""Quantile regression: scikit-learn's objectives, ties, several quantiles at once, and bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize
from sklearn.linear_model import QuantileRegressor

import jaxinfra as ji
from tests import certificates
from tests.helpers import close

TAUS = np.array([0.1, 0.5, 0.9])


@pytest.fixture
def data(rng):
    X = rng.standard_normal((150, 4)) + 1
    return X, X @ [1.0, -2.0, 0.5, 0.0] + rng.standard_t(3, 150) * (1 + np.abs(X[:, 0]))


@pytest.mark.parametrize("l1", [0.0, 0.05])
@pytest.mark.parametrize("tau", TAUS)
def test_objective_of_scikit_learn(tau, l1, data):
    X, y = data
    w = np.linspace(0.5, 2, len(y))
    theirs = QuantileRegressor(quantile=tau, alpha=l1).fit(X, y, sample_weight=w)
    at = ji.Linear(jnp.asarray(theirs.coef_), jnp.asarray(theirs.intercept_))
    fit = ji.check(ji.quantile.fit(X, y, tau=tau, l1=l1, sample_weight=w))
    expected = ji.quantile.objective(at, X, y, tau=tau, l1=l1, sample_weight=w)
    np.testing.assert_allclose(fit.info.objective, expected, rtol=1e-8)
    assert fit.info.objective <= expected * (1 + 1e-12)


def least(X, y, tau):
    """The least objective by HiGHS: where rows tie, the reference's edges of one basis may all go up too early."""
    n, V = len(y), np.c_[X, np.ones(len(y))]
    costs = np.r_[np.zeros(V.shape[1]), np.full(n, tau / n), np.full(n, (1 - tau) / n)]
    bounds = [(None, None)] * V.shape[1] + [(0, None)] * (2 * n)
    return optimize.linprog(costs, A_eq=np.c_[V, np.eye(n), -np.eye(n)], b_eq=y, bounds=bounds).fun


@pytest.mark.slow
@pytest.mark.parametrize("tau", TAUS)
def test_ties(tau, rng):
    """Whole numbers, every row twice, and columns that repeat: many vertices are as good, the objective is one."""
    X = rng.integers(0, 4, (60, 3)).astype(float)
    y = X @ [1.0, -2.0, 3.0] + rng.integers(-2, 3, 60)
    best = least(X, y, tau)
    for Z, v in ((X, y), (np.r_[X, X], np.r_[y, y]), (np.c_[X, X[:, 0], np.ones(60)], y)):
        fit = ji.check(ji.quantile.fit(Z, v, tau=tau))
        np.testing.assert_allclose(ji.quantile.objective(fit.params, Z, v, tau=tau), best, rtol=1e-7)
    few = ji.check(ji.quantile.fit(X[:3], y[:3], tau=tau))  # as many parameters as rows
    assert few.info.objective < 1e-12
    constant = ji.check(ji.quantile.fit(X, 0 * y + 3, tau=tau)).params
    close((constant.coef, constant.intercept), (np.zeros(3), 3.0), 1e-12)


def test_several_quantiles(data, compilations):
    """In one call what they are one by one; sorted where they cross."""
    X, y = data
    fit = ji.check(ji.quantile.fit(X, y, tau=TAUS))
    assert fit.params.coef.shape == (4, 3) and fit.info.n_iter.shape == (3,)
    for k, tau in enumerate(TAUS):
        one = ji.quantile.fit(X, y, tau=tau).params
        close((fit.params.coef[:, k], fit.params.intercept[k]), tuple(one), 1e-12)
    objectives = ji.quantile.objective(fit.params, X, y, tau=TAUS)
    close(objectives, fit.info.objective, 1e-12)
    slope = ji.quantile.optimality(fit.params, X, y, tau=TAUS)
    assert np.abs(slope.coef).max() < 1e-12 and slope.coef.shape == (4, 3)
    far = 50 * np.linspace(-1, 1, 20)[:, None] * np.ones((20, 4))
    plain = np.asarray(ji.quantile.predict(fit.params, far))
    assert (np.diff(plain, axis=1) < 0).any()
    np.testing.assert_array_equal(ji.quantile.predict(fit.params, far, sort=True), np.sort(plain, axis=1))
    with compilations() as count:
        ji.quantile.fit(X + 1, 2 * y, tau=np.array([0.2, 0.4, 0.6]))
    assert count[0] == 0


@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("far", [1.0, 1e2, 2e5])
def test_fewer_rows_than_columns(far, n):
    """All rows are met, however far away one is: in float32 others differ by 1e-5 of it."""
    for seed in (0, 2, 5, 7):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((n, 8)), rng.standard_normal(n)
        X[-1] *= far
        fit = ji.check(ji.quantile.fit(X.astype(np.float32), y.astype(np.float32), tau=0.3))
        coef = np.abs(np.asarray(fit.params.coef, float))
        rounding = 4 * np.finfo(np.float32).eps * (np.abs(X) @ coef + abs(float(fit.params.intercept)))
        assert float(fit.info.objective) <= rounding.mean() + 1e-6, seed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "apart"), [(np.float64, 1e-6), (np.float64, 1e-11), (np.float32, 1e-3), (np.float32, 1e-5)]
)
def test_columns_that_are_nearly_the_same(dtype, apart):
    """Beside uninformative columns, which no basis can use, columns that differ by little are used."""
    eps = np.finfo(dtype).eps
    for seed in range(4):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, 40))
        X = np.c_[a, a + apart * b, np.full(40, 3.0), a].astype(dtype)
        y = (a + 2 * b + rng.standard_t(3, 40)).astype(dtype)
        fit = ji.check(ji.quantile.fit(X, y, tau=0.3))
        problem = certificates.Problem(X, y, np.ones(40), eps, eps**0.5)
        assert certificates.pinball(problem, fit.params, 0.3) <= 1, seed


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_say_nothing(dtype):
    """Of many rows: there the rounding of V'd is far above eps, and still no vertex is given up for it."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((20000, 6))
        y = (X[:, 0] + rng.standard_t(3, 20000)).astype(dtype)
        X = np.c_[X, X[:, 0], X[:, 1] + X[:, 2], np.full(20000, 3.0)].astype(dtype)
        fit = ji.check(ji.quantile.fit(X, y, tau=0.3))
        assert fit.info.optimality == 0
        plain = ji.check(ji.quantile.fit(X[:, :6], y, tau=0.3))
        np.testing.assert_allclose(fit.info.objective, plain.info.objective, rtol=64 * np.finfo(dtype).eps)


@pytest.mark.slow
def test_derivatives_beside_columns_that_say_nothing():
    """Of predictions, which are determined where coefficients are not: NaN or wrong while the basis was singular."""

    @jax.jit
    def seen(X, y):
        predicted = ji.quantile.predict(ji.quantile.fit(X, y, tau=0.3).params, X[:4])
        return predicted @ jnp.arange(1.0, 5.0)

    slopes = jax.jit(jax.grad(seen, (0, 1)))
    step = 1e-6
    for seed in range(3):
        rng = np.random.default_rng(seed)
        a, b, da, db = rng.standard_normal((4, 40))
        y = a + 2 * b + rng.standard_t(3, 40)
        one, dy = np.ones(40), rng.standard_normal((5, 40))
        # The third column and the direction that leaves it what it is.
        for c, dc in ((0.1 * one, 0.3 * one), (a, da), (a + b, da + db)):
            X, D = np.c_[a, b, c], np.c_[da, db, dc]
            by_X, by_y = slopes(X, y)
            expected = [(seen(X, y + step * d) - seen(X, y - step * d)) / (2 * step) for d in dy]
            np.testing.assert_allclose(dy @ by_y, expected, rtol=1e-6, atol=1e-6)
            expected = (seen(X + step * D, y) - seen(X - step * D, y)) / (2 * step)
            np.testing.assert_allclose((by_X * D).sum(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_lanes_of_quantiles(data):
    X, y = data
    lanes = jax.vmap(lambda tau: ji.quantile.fit(X, y, tau=tau).params.coef)(TAUS)
    close(lanes, ji.quantile.fit(X, y, tau=TAUS).params.coef.T, 1e-10)


@pytest.mark.slow
def test_start(data):
    """From the solution, and from far away, the same vertex."""
    X, y = data
    base = ji.quantile.fit(X, y, tau=0.3).params
    for init in (base, ji.Linear(jnp.full(4, 100.0), jnp.asarray(-50.0))):
        close(ji.check(ji.quantile.fit(X, y, tau=0.3, init=init)).params, base, 1e-10)


def test_bad_tau(data):
    X, y = data
    for tau in (0.0, 1.0, -0.1, np.array([0.5, 1.5]), np.nan):
        with pytest.raises(ValueError, match="quantile.fit: tau must lie strictly between 0 and 1"):
            ji.quantile.fit(X, y, tau=tau)
    with pytest.raises(ValueError, match=r"tau must be a scalar or have shape \(m,\)"):
        ji.quantile.fit(X, y, tau=np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match=r"y must have shape \(n,\)"):
        ji.quantile.fit(X, X)
    fit = ji.quantile.fit(X, y, tau=jnp.array([0.5, 1.5, jnp.nan]))
    assert list(fit.info.status) == [ji.Status.CONVERGED, ji.Status.SINGULAR, ji.Status.NONFINITE]
    assert np.isfinite(fit.params.coef[:, 0]).all() and np.isnan(fit.params.coef[:, 1:]).all()
