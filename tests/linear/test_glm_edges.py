"""Generalised linear models where means under- and overflow, or leave the range of the family."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

import jaxinfra as ji
from jaxinfra import families as FA
from jaxinfra import links as L

pytestmark = pytest.mark.slow

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])


def fit(x, y, family, link=None, dtype=np.float64, **given):
    x = np.asarray(x, dtype)[:, None]
    found = ji.glm.fit(x, np.asarray(y, dtype), family=family, link=link, **given)
    return found, np.asarray(ji.glm.predict(found.params, x), float)


@DTYPES
@pytest.mark.parametrize(
    "family", [FA.Poisson(), FA.NegativeBinomial(0.5), FA.Tweedie(1.5)], ids=lambda f: type(f).__name__
)
def test_a_mean_that_underflows(family, dtype):
    """A row of y = 0 whose mean is 0 has no effect, however far it is: the fit is that of the others."""
    x, y = np.array([0, 0, 1, 1, 2, 2, 2000]), [4, 6, 2, 3, 1, 1, 0]
    others = ji.check(fit(x[:6], y[:6], family, dtype=dtype)[0])
    for far in (2000, 1e5):
        x[-1] = far
        found = ji.check(fit(x, y, family, dtype=dtype)[0])
        np.testing.assert_allclose(found.params.coef, others.params.coef, rtol=1e-6 if dtype is np.float64 else 1e-3)


CERTAIN = {
    "logistic": lambda x, y: ji.logistic.fit(x, y),
    "probit": lambda x, y: ji.glm.fit(x, y.astype(x.dtype), family=FA.Binomial(), link=L.Probit()),
    "cloglog": lambda x, y: ji.glm.fit(x, y.astype(x.dtype), family=FA.Binomial(), link=L.CLogLog()),
    "multinomial": lambda x, y: ji.multinomial.fit(x, y, n_classes=2),
    "ordinal": lambda x, y: ji.ordinal.fit(x, y, n_classes=2),
}


@DTYPES
@pytest.mark.parametrize("name", CERTAIN)
def test_a_row_whose_class_is_certain(name, dtype):
    """In units of a spread that one row determines, the gradient of all others is 0: that was called converged at a
    tenth of the slope, or separable."""
    x, y = np.array([0, 0, 1, 1, 2, 2, 2], dtype)[:, None], np.array([0, 0, 1, 0, 1, 0, 1])
    others = ji.check(CERTAIN[name](x[:6], y[:6])).params.coef
    for far in (1e5, 1e6) if dtype is np.float32 else (1e8, 1e12):
        x[-1] = far
        fit = ji.check(CERTAIN[name](x, y))
        np.testing.assert_allclose(fit.params.coef, others, rtol=1e-6 if dtype is np.float64 else 1e-3)


@pytest.mark.parametrize(
    "link, far, coef", [(L.CLogLog(), 12, 0.9668), (L.Probit(), 100, 0.8175)], ids=["cloglog", "probit"]
)
@DTYPES
def test_a_probability_that_is_1(link, far, coef, dtype):
    """log(1 - mu) and the slope over it have digits where mu and 1 - mu have none."""
    x, y = np.array([0, 0, 1, 1, 2, 2, far]), np.array([0, 0, 1, 0, 1, 0, 1])
    found, mean = fit(x, y, FA.Binomial(), link, dtype)
    ji.check(found)
    np.testing.assert_allclose(found.params.coef, coef, rtol=1e-3)
    assert mean[-1] == 1


OUTSIDE = {
    "binomial_identity": (FA.Binomial(), L.Identity(), [0, 1, 2, 3], [0, 0, 1, 1], (0, 1)),
    "binomial_log": (FA.Binomial(), L.Log(), [0, 0, 1, 1], [0, 1, 1, 1], (0, 1)),
    "poisson_identity": (FA.Poisson(), L.Identity(), [0, 1, 2, 3], [0, 1, 2, 9], (0, np.inf)),
}


@pytest.mark.parametrize("name", OUTSIDE)
@DTYPES
def test_means_stay_within_the_range_of_the_family(name, dtype):
    """At a minimum on the edge the fit may stop early, and says so; beyond the edge it never is."""
    family, link, x, y, (low, high) = OUTSIDE[name]
    found, mean = fit(x, y, family, link, dtype)
    rounding = 10 * np.finfo(dtype).eps
    assert (mean >= low - rounding).all() and (mean <= high + rounding).all()

    def loss(theta):
        eta = theta[0] * np.asarray(x, float) + theta[1]
        mu = np.exp(eta) if isinstance(link, L.Log) else eta
        if (mu < low).any() or (mu > high).any():
            return np.inf
        return float(np.mean(np.asarray(family.half_deviance(np.asarray(y, float), np.clip(mu, 1e-300, high)))))

    if found.info.status == ji.Status.CONVERGED:
        starts = [minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
                  for start in ([0.1, 0.3], [0.1, -1.0])]  # fmt: skip
        assert found.info.objective <= min(s.fun for s in starts) + 1e-5
    else:
        assert found.info.status in (ji.Status.MAX_ITER, ji.Status.STALLED)


def test_counts_of_0():
    """Under the log link there is no finite minimum, under the square root there is one at 0."""
    x, y = [0, 1, 2, 3], [0, 0, 0, 0]
    assert fit(x, y, FA.Poisson())[0].info.status == ji.Status.SEPARABLE
    found, mean = fit(x, y, FA.Poisson(), L.Sqrt())
    assert found.info.status == ji.Status.CONVERGED and not mean.any()
    assert fit(x, y, FA.Poisson(), L.Identity())[0].info.status in (ji.Status.CONVERGED, ji.Status.STALLED)


@pytest.mark.parametrize("name", CERTAIN)
def test_missing_values_as_999999(name):
    """The information of a few such rows is a small remainder of large terms, which float32 resolves."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 3))
    y = (rng.random(200) < 1 / (1 + np.exp(-X @ [0.7, -0.5, 0.3]))).astype(int)
    X[rng.choice(200, 4, replace=False), 0] = 999999
    y[np.flatnonzero(X[:, 0] == 999999)] = [0, 1, 1, 0]
    single, double = (ji.check(CERTAIN[name](X.astype(dtype), y)).params.coef for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single, double, rtol=1e-3)


def with_missing_values(seed, share, value):
    """1000 rows of three classes, some with a value in the first column that marks a missing one, in float32."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((1000, 3))
    y = np.digitize(X @ [0.7, -0.5, 0.3] + rng.logistic(size=1000), [-1, 1])
    X[rng.choice(1000, int(1000 * share), replace=False), 0] = value
    return X.astype(np.float32), y


@pytest.mark.parametrize("value", [9999, 999999, 1e10])
def test_missing_values_beside_three_classes(value):
    """The softmax is invariant to a constant added to all classes; rounding of such rows must not move along it."""
    for seed in range(3):
        X, y = with_missing_values(seed, 0.1, value)
        single, double = (
            np.asarray(ji.check(ji.multinomial.fit(A, y, n_classes=3, l2=1e-4)).params.coef)
            for A in (X, X.astype(float))
        )
        assert (np.abs(single - double) < 1e-4 * np.abs(double).max(1, keepdims=True)).all(), seed


def test_a_likelihood_that_cannot_get_on_stops():
    """With rows at 1e10, rounding would accept steps without progress endlessly."""
    X, y = with_missing_values(0, 0.01, 1e10)
    fit = ji.multinomial.fit(X, y, n_classes=3)
    assert fit.info.status == ji.Status.STALLED and fit.info.n_iter < 200
