"""A short campaign of hostile fits, and what longer ones (`make hostile`) have found."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.optimize import linprog

import jaxinfra as ji
from jaxinfra import families, kernels, links
from tests import hostile
from tests.helpers import close

pytestmark = pytest.mark.slow

SHORT = ("ols", "nnls", "logistic_l2", "gamma", "quantile", "huber", "svr")


@pytest.mark.parametrize("name", SHORT)
def test_no_wrong_answer(name):
    found = hostile.campaign([name], [(8, 3)], [np.float64], 64, seed=1, show=lambda line: None)
    assert not found.faults
    assert found.fits == 129 and found.certified > 20


def test_a_wrong_answer_is_noticed():
    """A certificate that holds for anything would hold here too."""
    model = hostile.MODELS["ols"]
    X, y, w = hostile.draw(np.random.default_rng(3), "real", 40, 3, np.float64)
    fit = model.fit(X, y, w)
    assert hostile.fault(model, X, y, w, fit)[0] == ""
    off = fit._replace(params=fit.params._replace(coef=np.asarray(fit.params.coef) * (1 + 1e-5)))
    assert "times what is allowed" in hostile.fault(model, X, y, w, off)[0]
    lost = fit._replace(info=fit.info._replace(status=np.int32(ji.Status.SINGULAR)))
    assert hostile.fault(model, X, y, w, lost)[0] == "SINGULAR with numbers"
    bad = np.where(np.arange(40)[:, None] == 2, np.nan, X)
    assert "not finite" in hostile.fault(model, bad, y, w, fit)[0]


@pytest.mark.parametrize("name", ["ols", "logistic_l2", "multinomial", "ordinal", "poisson", "svc"])
def test_weights_whose_sum_has_no_reciprocal_are_not_finite(name):
    """XLA divides by multiplying with it, and takes a subnormal one for 0: means were 0, CONVERGED.  These are the
    models that read weights, each in its way."""
    model = hostile.MODELS[name]
    X = np.random.default_rng(3).standard_normal((8, 3))
    y = np.arange(8) % {"binary": 2, "classes": 3}.get(model.y, 5)
    y = y if model.y in ("binary", "classes") else y.astype(float)
    for each, finite in ((1.0, True), (1e308, False)):
        fit = jax.jit(model.fit)(X, y, np.where(np.arange(8) == 2, each, 1.0))
        assert np.isfinite(fit.params.coef).all() == finite
        assert (fit.info.status == ji.Status.NONFINITE) == (not finite)


def rows(n=40, p=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, X @ np.array([1.0, -1.0, 0.5])[:p] + rng.standard_normal(n)


def least(X, y, tau):
    """The smallest mean of pinball losses, by a linear program on an orthonormal basis of the columns."""
    n = len(y)
    V = np.linalg.qr(np.c_[X, np.ones(n)])[0] * np.sqrt(n)
    cost = np.r_[np.zeros(V.shape[1]), np.full(n, tau / n), np.full(n, (1 - tau) / n)]
    bounds = [(None, None)] * V.shape[1] + [(0, None)] * (2 * n)
    return linprog(cost, A_eq=np.hstack([V, np.eye(n), -np.eye(n)]), b_eq=y, bounds=bounds).fun


@pytest.mark.parametrize("module, given", [(ji.huber, {}), (ji.quantile, {"tau": 0.4})])
def test_parameters_that_overflow_are_not_finite(module, given):
    """The fit is right in units of the columns; a slope of 1e40 is no number of float32."""
    X, y = rows()
    X[:, 2] *= 1e-8
    X, y = X.astype(np.float32), y.astype(np.float32)
    assert np.isfinite(ji.check(module.fit(X, y, **given)).params.coef).all()
    fit = module.fit(X, y * np.float32(1e33), **given)
    assert fit.info.status == ji.Status.NONFINITE and np.isnan(fit.params.coef).all()


def test_wide_ridge_with_weights_and_y_whose_product_underflows():
    """A root of the weight times y was 0, and the fit 0, CONVERGED."""
    X, y, w = np.random.default_rng(0).standard_normal((3, 8)), np.array([2.0, 1, -1]), np.array([1.0, 0, 2])
    expected = ji.check(ji.ridge.fit(X, y, l2=0.3, sample_weight=w)).params.coef
    fit = ji.check(ji.ridge.fit(X, y * 1e-291, l2=0.3, sample_weight=w * 1e-124))
    close(np.asarray(fit.params.coef) * 1e291, expected, 1e-9)


@pytest.mark.parametrize("module", [ji.svr, ji.nu_svr])
@pytest.mark.parametrize("kernel", [kernels.Linear(), kernels.RBF(0.5)])
def test_regression_machines_of_a_y_far_from_zero(module, kernel):
    """Its level is the intercept's: y near 1e5 took up to 264 blocks for 6 and ended as STALLED."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)).astype(np.float32)
    y = np.round(64 * (X @ np.array([1, 2, -1]) + 0.3 * rng.standard_normal(40))).astype(np.float32) / 64
    level = np.float32(1e5)  # the sums are exact
    near, far = (ji.check(module.fit(X, y + at, kernel=kernel)) for at in (0 * level, level))
    assert far.info.n_iter <= 2 * near.info.n_iter
    close(module.decision(far.params, X) - level, module.decision(near.params, X), 5e-3)
    close(far.info.objective, near.info.objective, 1e-3)


def test_quantile_ends_at_a_vertex():
    """It is exact there, and is found from inside at once: no optimal vertex was ever taken for one."""
    X, y = rows()
    fit = ji.check(ji.quantile.fit(X, y, tau=0.3))
    assert fit.info.optimality == 0 and fit.info.n_iter < 15
    assert (np.abs(y - ji.quantile.decision(fit.params, X)) < 1e-12).sum() == 4
    assert fit.info.objective == pytest.approx(least(X, y, 0.3), rel=1e-9)


def test_quantile_with_a_row_far_away():
    """The dual's infeasibility is worth something where coefficients are large."""
    X, y = rows()
    X[7] *= 1e7
    fit = ji.quantile.fit(X, y, tau=0.3)
    best = least(X, y, 0.3)
    assert fit.info.status == ji.Status.CONVERGED
    assert ji.quantile.objective(fit.params, X, y, tau=0.3) == pytest.approx(best, rel=1e-6)


def test_quantile_keeps_to_max_iter():
    X, y = rows()
    X[:, 2] = X[:, 1] + 1e-9 * X[:, 2]
    for most in (1, 3, 7):
        assert ji.quantile.fit(X, y, tau=0.3, max_iter=most).info.n_iter <= most


@pytest.mark.parametrize("dtype, far", [(np.float64, 1e7), (np.float32, 1e4)])
@pytest.mark.parametrize("model", [ji.logistic, ji.multinomial])
def test_a_far_row_of_little_weight(model, dtype, far):
    """Gradients are in units of the columns' weighted spread: coefficients were 0 and CONVERGED."""
    X, y = rows()
    y, w = (y > 0).astype(np.int32), np.ones(40)
    X[0] *= far
    w[0] = 1e-3 / far
    few = ji.check(model.fit(X[1:], y[1:], l2=0.01)).params
    fit = ji.check(model.fit(X.astype(dtype), y, sample_weight=w.astype(dtype), l2=0.01)).params
    close(fit.coef, few.coef, 0.02, "nearly without it")


def test_one_class_in_a_batch():
    """Sums that round differently than alone made one class two."""
    X, _ = rows(8)
    w = np.random.default_rng(2).uniform(0.5, 2, (64, 8))
    fits = jax.jit(jax.vmap(lambda w: ji.logistic.fit(X, np.ones(8), sample_weight=w)))(w)
    assert (fits.info.status == ji.Status.SEPARABLE).all()


@pytest.mark.parametrize("dtype, unit, status", [
    (np.float64, 1e-6, "CONVERGED"), (np.float64, 1e-200, "STALLED"), (np.float32, 1e-30, "STALLED"),
])  # fmt: skip
def test_counts_in_any_unit(dtype, unit, status):
    """The unit of gradients is the slope's size, whose square is 0 here: what is not reached is not CONVERGED."""
    X, y = rows()
    y = np.random.default_rng(1).poisson(np.exp(0.5 * X[:, 0] + 1)).astype(float)
    few = ji.check(ji.glm.fit(X, y, family=families.Poisson())).params
    fit = ji.glm.fit(*(a.astype(dtype) for a in (X, y * unit)), family=families.Poisson())
    assert ji.Status(int(fit.info.status)).name == status
    if status == "CONVERGED":
        close(fit.params.coef, few.coef, 1e-6)


@pytest.mark.parametrize("dtype, far", [(np.float64, 1e163), (np.float32, 1e25)])
def test_variances_that_overflow(dtype, far):
    """mu^2 is infinite and the slope was 0 everywhere."""
    X, y = rows()
    fit = ji.glm.fit(X.astype(dtype), (np.exp(y) * far).astype(dtype), family=families.Gamma(), link=links.Log())
    assert fit.info.status == ji.Status.NONFINITE


@pytest.mark.parametrize("model, given", [(ji.nnls, {}), (ji.lasso, {"l1": 0.01}), (ji.ols, {})])
def test_squares_that_vanish(model, given):
    """The column would pass for a constant one."""
    X, y = rows()
    X[:, 0] *= 1e-170
    assert model.fit(X, y, **given).info.status == ji.Status.NONFINITE
    X[:, 0] = 1e-170 / 3
    assert model.fit(X, y, **given).info.status == ji.Status.CONVERGED


def gaussian(X, gamma):
    return np.exp(-gamma * ((X[:, None] - X[None]) ** 2).sum(-1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gaussian_kernels_with_a_row_far_away(dtype):
    """Rows keep the digits that distinguish them; the kernel value of a row with itself was not 1."""
    X, y = rows()
    X[7] *= 1e8
    X = X.astype(dtype)
    fit = ji.check(ji.kernel_ridge.fit(X, y.astype(dtype), l2=0.1, kernel=kernels.RBF(0.5)))
    K, n = gaussian(X.astype(float), 0.5), len(X)
    system = np.block([[K + 0.1 * n * np.eye(n), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    close(fit.params.coef, np.linalg.solve(system, np.append(y, 0))[:n], 1e-6 if dtype is np.float64 else 1e-3)
    fit = ji.check(ji.one_class.fit(X * dtype(1e9), kernel=kernels.RBF(0.5)))
    close(fit.params.coef, np.full(n, 0.5), 1e-3, "all rows are alone")


def test_a_distance_that_overflows():
    """With few columns the row is isolated, whatever its distance; squares of a spread or residual are NONFINITE."""
    X, _ = rows()
    X[7] = 1e200
    near, alone = kernels.RBF(0.5), np.where(np.arange(len(X)) == 7, 1e3, X[:, 0])
    far = X.copy()
    far[7] = 100
    for model, given in ((ji.one_class, ()), (ji.kernel_ridge, (alone,))):
        l2 = {"l2": 0.1} if given else {}
        coef = [ji.check(model.fit(Z, *given, kernel=near, **l2)).params.coef for Z in (X, far)]
        np.testing.assert_allclose(coef[0], coef[1], rtol=1e-12)
    assert np.isnan(kernels.scale(X))
    assert ji.kernel_ridge.fit(X, X[:, 1] * 0, l2=0.1).info.status == ji.Status.NONFINITE
    assert ji.kernel_ridge.fit(X, X[:, 0], l2=0.1, kernel=near).info.status == ji.Status.NONFINITE
    wide = np.tile(X, 6)  # with many columns distances come from products
    assert ji.one_class.fit(wide, kernel=near).info.status == ji.Status.NONFINITE


@pytest.mark.parametrize("model, given", [(ji.svr, {}), (ji.nu_svr, {}), (ji.kernel_ridge, {"l2": 0.1}), (ji.svc, {})])
def test_linear_kernels_far_from_0(model, given):
    """Years in float32: the machine of centred rows, whose intercept alone differs."""
    x = np.tile(np.arange(2000.0, 2020.0), 2)[:, None]
    y = 0.3 * (x[:, 0] - x.mean()) + np.random.default_rng(0).standard_normal(40)
    y = (y > 0).astype(int) if model is ji.svc else y.astype(np.float32)
    given = {"kernel": kernels.Linear(), **given}
    near, far = (X.astype(np.float32) for X in (x - x.mean(), x))
    expected, fit = (ji.check(model.fit(X, y, **given)).params for X in (near, far))
    close(model.decision(fit, far), model.decision(expected, near), 1e-3)


@pytest.mark.parametrize("model, given", [
    (ji.svc, {"kernel": kernels.Linear()}), (ji.svr, {"kernel": kernels.Polynomial(2)}), (ji.linear_svm, {}),
])  # fmt: skip
def test_columns_in_units_that_are_slow(model, given):
    """Said before the fit: with one column of 1e7 it takes minutes and ends at max_iter."""
    X, y = rows()
    X[:, 1] *= 1e7
    y = (y > 0).astype(int)
    message = r"fit: column 1 of X has a standard deviation of 8e\+06.*scale the columns"
    with pytest.warns(UserWarning, match=message) as said:
        model.fit(X, y, max_iter=1, **given)
    assert said[0].filename == __file__
