"""The linear machine against the reference of the dual, a direct minimisation, and liblinear."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from tests.helpers import close
from tests.machines import LABELS, THREE, P, W, X, Z
from tests.references import svm


def reference(C, w):
    dual = svm.svc(X @ X.T, 2.0 * LABELS - 1, C * w)
    b = svm.solve(dual)
    return b @ X, -dual.rho(b)[0], b, -dual.objective(b)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
def test_hinge_is_the_dual(dtype):
    coef, intercept, dual, objective = reference(0.7, W)
    data, w = (X + 3).astype(dtype), W.astype(dtype)
    fit = ji.check(
        ji.linear_svm.fit(data, LABELS, C=dtype(0.7), sample_weight=w, tol=1e-9 if dtype is np.float64 else 1e-4)
    )
    rel = 1e-8 if dtype is np.float64 else 1e-3
    close(fit.params, (coef, intercept - 3 * coef.sum(), dual), rel, "reference")
    np.testing.assert_allclose(fit.info.objective, objective, rtol=rel)
    np.testing.assert_allclose(
        ji.linear_svm.objective(fit.params, data, LABELS, C=dtype(0.7), sample_weight=w), objective, rtol=rel
    )
    if dtype is np.float64:
        assert int(fit.info.n_support) == (dual != 0).sum()
        assert ji.linear_svm.optimality(fit.params, data, LABELS, C=0.7, sample_weight=w) < 1e-8


@pytest.mark.slow
def test_hinge_is_the_machine_with_the_linear_kernel():
    linear = ji.linear_svm.fit(X, LABELS, C=0.7, sample_weight=W, tol=1e-9).params
    kernel = ji.svc.fit(X, LABELS, C=0.7, sample_weight=W, kernel=kernels.Linear(), tol=1e-9).params
    np.testing.assert_allclose(ji.svc.decision(kernel, Z), ji.linear_svm.decision(linear, Z), atol=1e-7)


def test_squared_hinge_is_minimal():
    from scipy.optimize import minimize

    t = 2.0 * LABELS - 1

    def objective(theta):
        short = np.maximum(1 - t * (X @ theta[:P] + theta[P]), 0)
        return 0.5 * theta[:P] @ theta[:P] + 0.7 * W @ short**2

    best = minimize(objective, np.zeros(P + 1), method="BFGS", tol=1e-12)
    fit = ji.check(ji.linear_svm.fit(X, LABELS, C=0.7, loss="squared_hinge", sample_weight=W, tol=1e-10))
    np.testing.assert_allclose([*fit.params.coef, fit.params.intercept], best.x, atol=1e-6)
    np.testing.assert_allclose(fit.info.objective, best.fun, rtol=1e-10)
    np.testing.assert_allclose(fit.params.dual @ X, fit.params.coef, atol=1e-8)
    assert ji.linear_svm.optimality(fit.params, X, LABELS, C=0.7, loss="squared_hinge", sample_weight=W) < 1e-9


@pytest.mark.slow
def test_against_liblinear_on_many_rows():
    """2000 rows; liblinear penalises the intercept, here by so little that it does not matter."""
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(0)
    A = rng.standard_normal((2000, 8))
    y = (A @ rng.standard_normal(8) + rng.standard_normal(2000) > 0).astype(int)
    for loss in ji.linear_svm.LOSSES:
        peer = LinearSVC(C=0.5, loss=loss, intercept_scaling=30, tol=1e-6, max_iter=2_000_000).fit(A, y)
        fit = ji.check(ji.linear_svm.fit(A, y, C=0.5, loss=loss))
        theirs = fit.params._replace(coef=jnp.asarray(peer.coef_[0]), intercept=jnp.asarray(peer.intercept_[0]))
        values = [ji.linear_svm.objective(p, A, y, C=0.5, loss=loss) for p in (fit.params, theirs)]
        assert values[0] <= values[1] * (1 + 1e-6)
        np.testing.assert_allclose(fit.params.coef, peer.coef_[0], atol=2e-3)
        if loss == "hinge":
            # The end of the interior path is exact; making its sum zero must not move what is at a bound.
            assert fit.info.n_iter <= 2 and fit.info.optimality < 1e-8


def test_several_classes_and_bad_input():
    y = THREE
    fit = ji.check(ji.linear_svm.fit(X, y, sample_weight=W, tol=1e-9))
    for k in range(3):
        one = ji.linear_svm.fit(X, (y == k).astype(int), sample_weight=W, tol=1e-9).params
        close((fit.params.coef[:, k], fit.params.intercept[k]), one[:2], 1e-6, "one against the rest")
    assert (np.asarray(ji.linear_svm.predict(fit.params, X)) == y).mean() > 0.6
    with pytest.raises(ValueError, match="squared_hinge"):
        ji.linear_svm.fit(X, LABELS, loss="logistic")
    with pytest.raises(ValueError, match="above 0"):
        ji.linear_svm.fit(X, LABELS, C=0.0)
    bad = X.copy()
    bad[0, 0] = np.nan
    for loss in ji.linear_svm.LOSSES:
        fit = ji.linear_svm.fit(bad, LABELS, loss=loss, sample_weight=W)
        assert ji.Status(int(fit.info.status)) is ji.Status.NONFINITE
        assert np.isnan(fit.params.coef).all()
        one_class = {"sample_weight": 1.0 * LABELS, "n_classes": 2}
        alone = ji.linear_svm.fit(X, jnp.asarray(LABELS), loss=loss, **one_class)
        assert ji.Status(int(alone.info.status)) is ji.Status.ONE_CLASS


@pytest.mark.slow
def test_a_thousand_rows_in_float32(rng):
    """More variables than pairwise steps alone are made for, and no more than Newton's method works on."""
    X = rng.standard_normal((1000, 20)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] + rng.standard_normal(1000) > 0).astype(int)
    exact = ji.check(ji.linear_svm.fit(X.astype(float), y, tol=1e-6))
    with jax.enable_x64(False):
        for fit in (ji.linear_svm.fit(X, y, tol=5e-5), jax.jit(lambda X: ji.linear_svm.fit(X, y, tol=5e-5))(X)):
            assert fit.params.coef.dtype == np.float32 and int(fit.info.status) == ji.Status.CONVERGED
            np.testing.assert_allclose(fit.info.objective, exact.info.objective, rtol=1e-5)
            np.testing.assert_allclose(fit.params.coef, exact.params.coef, atol=1e-3)
