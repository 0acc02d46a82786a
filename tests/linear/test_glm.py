"""Generalised linear models beyond the matrix: starts, step control, exposure, parameters of families, bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor

import jaxinfra as ji

F, L = ji.families, ji.links
TIGHT = 1e-11


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    X = rng.standard_normal((60, 3)) * 0.5
    mu = np.exp(X @ [0.8, -0.5, 0.0] + 0.7)
    return X, mu, rng


@pytest.mark.parametrize("peer, family", [(PoissonRegressor, F.Poisson()), (GammaRegressor, F.Gamma()),
                                          (TweedieRegressor, F.Tweedie(1.5))],
                         ids=["poisson", "gamma", "tweedie"])  # fmt: skip
def test_agrees_with_sklearn(data, peer, family):
    X, mu, _ = data
    rng = np.random.default_rng(1)
    y = rng.gamma(2, mu / 2) if peer is GammaRegressor else rng.poisson(mu).astype(float)
    w = rng.uniform(0.5, 2, 60)
    options = {"power": 1.5, "link": "log"} if peer is TweedieRegressor else {}
    model = peer(alpha=0.05, solver="newton-cholesky", tol=1e-10, **options).fit(X, y, sample_weight=w)
    fit = ji.check(ji.glm.fit(X, y, family=family, link=L.Log(), l2=0.05, sample_weight=w, tol=TIGHT))
    np.testing.assert_allclose(fit.params.coef, model.coef_, rtol=1e-6)
    np.testing.assert_allclose(fit.params.intercept, model.intercept_, rtol=1e-6)
    np.testing.assert_allclose(ji.glm.predict(fit.params, X), model.predict(X), rtol=1e-6)


def test_exposure_is_an_offset_and_a_rate(data):
    X, mu, rng = data
    time = rng.uniform(0.5, 3, 60)
    y = rng.poisson(mu * time)
    fit = ji.check(ji.glm.fit(X, y, family=F.Poisson(), exposure=time, tol=TIGHT))
    same = ji.glm.fit(X, y, family=F.Poisson(), offset=np.log(time), tol=TIGHT)
    rate = ji.glm.fit(X, y / time, family=F.Poisson(), sample_weight=time, tol=TIGHT)
    for other in (same, rate):
        np.testing.assert_allclose(fit.params.coef, other.params.coef, rtol=1e-9)
    np.testing.assert_allclose(
        ji.glm.predict(fit.params, X, exposure=time), ji.glm.predict(fit.params, X, offset=np.log(time)), rtol=1e-12
    )
    assert np.asarray(ji.glm.predict(fit.params, X, exposure=time)).sum() == pytest.approx(y.sum())
    with pytest.raises(ValueError, match=r"glm\.fit: exposure means a factor of the mean, which needs the log link"):
        ji.glm.fit(X, y, family=F.Poisson(), link=L.Identity(), exposure=time)
    with pytest.raises(ValueError, match=r"exposure must be above 0, got exposure\[0\] = -"):
        ji.glm.fit(X, y, family=F.Poisson(), exposure=-time)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_steps_never_overflow(data, dtype, scale):
    """Counts of any size, columns whose first Newton step would send exp to infinity."""
    X, mu, _ = data
    rng = np.random.default_rng(2)
    y = rng.gamma(0.05, mu * scale / 0.05).astype(dtype)  # heavy tail
    X = np.column_stack([X, 10 * np.exp(2 * X[:, 0])]).astype(dtype)
    for family in (F.Poisson(), F.Tweedie(1.5), F.NegativeBinomial(0.7)):
        fit = ji.glm.fit(X, y, family=family)
        ji.check(fit)
        g = ji.glm.optimality(ji.glm.GLM(*jax.tree.map(lambda v: v.astype(np.float64), fit.params[:2]), L.Log()),
                              X.astype(float), y.astype(float), family=family)  # fmt: skip
        start = ji.glm.GLM(jnp.zeros(4), jnp.log(y.astype(float).mean()), L.Log())
        begin = ji.glm.optimality(start, X.astype(float), y.astype(float), family=family)
        assert np.abs(np.asarray(g.coef)).max() < (1e-6 if dtype == np.float64 else 1e-2) * np.abs(begin.coef).max()


@pytest.mark.slow
def test_every_link_starts_without_intercept(data):
    X, mu, _ = data
    X = np.abs(X) + 0.5
    rng = np.random.default_rng(3)
    y = rng.gamma(20, X @ [1.0, 0.5, 0.2] / 20)
    pairs = [(F.Gamma(), L.Identity()), (F.Gamma(), L.Inverse()), (F.Gamma(), L.Log()), (F.Gamma(), L.Power(0.7))]
    for family, link in [*pairs, (F.Poisson(), L.Sqrt()), (F.InverseGaussian(), L.InverseSquared())]:
        fit = ji.check(ji.glm.fit(X, y, family=family, link=link, fit_intercept=False))
        assert fit.params.intercept == 0
        gradient = ji.glm.optimality(fit.params, X, y, family=family, fit_intercept=False).coef
        assert np.abs(np.asarray(gradient)).max() < 1e-6


@pytest.mark.slow
def test_init_is_where_it_starts(data):
    X, mu, rng = data
    y = rng.poisson(mu)
    fit = ji.glm.fit(X, y, family=F.Poisson(), tol=1e-9)
    again = ji.glm.fit(X, y, family=F.Poisson(), init=fit.params, tol=1e-9)
    assert again.info.n_iter <= 2 and fit.info.n_iter > 3
    few = ji.glm.fit(X, y, family=F.Poisson(), max_iter=2, tol=1e-9)
    assert few.info.status == ji.Status.MAX_ITER and np.isfinite(np.asarray(few.params.coef)).all()


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda v: {"family": F.Tweedie(v)}, lambda v: {"family": F.NegativeBinomial(v)},
                                  lambda v: {"family": F.Gamma(), "link": L.Power(v - 0.9)}],
                         ids=["tweedie power", "negative binomial alpha", "link exponent"])  # fmt: skip
def test_parameters_of_families_are_traced_and_differentiable(data, make, compilations):
    X, mu, _ = data
    y = np.random.default_rng(4).gamma(5, mu / 5)

    def first(v):
        return ji.glm.fit(X, y, tol=1e-12, l2=0.01, **make(v)).params.coef[0]

    slope = jax.jit(jax.grad(first))(1.4)
    assert abs(slope - (first(1.4 + 1e-5) - first(1.4 - 1e-5)) / 2e-5) < 1e-6 * max(1, abs(slope))
    with compilations() as count:
        first(1.6)
    assert count[0] == 0
    batch = jax.vmap(first)(jnp.array([1.3, 1.5]))
    np.testing.assert_allclose(batch, [first(1.3), first(1.5)], rtol=1e-8)


@pytest.mark.slow
def test_tweedie_is_smooth_through_its_special_powers(data):
    """Powers 1 and 2 are limits of the formula: the deviance and its derivative pass through them."""
    y, mu = jnp.array([0.5, 2.0, 3.0]), jnp.array([1.0, 1.5, 3.5])
    for power, same in [(0.0, F.Gaussian()), (1.0, F.Poisson()), (2.0, F.Gamma()), (3.0, F.InverseGaussian())]:
        at = F.Tweedie(power).half_deviance(y, mu)
        np.testing.assert_allclose(at, same.half_deviance(y, mu), rtol=1e-12)
        if power in (1.0, 2.0):
            near = [F.Tweedie(power + s * 1e-5).half_deviance(y, mu) for s in (1, -1)]
            slope = jax.jvp(lambda p: F.Tweedie(p).half_deviance(y, mu), (power,), (1.0,))[1]
            np.testing.assert_allclose(slope, (near[0] - near[1]) / 2e-5, rtol=1e-6)


def test_zero_counts_everywhere_are_separable(data):
    X, mu, rng = data
    group = (np.arange(60) < 10).astype(float)
    y = np.where(group == 1, 0, rng.poisson(mu) + 1)
    X = np.column_stack([X, group])
    assert ji.glm.fit(X, y, family=F.Poisson()).info.status == ji.Status.SEPARABLE
    ji.check(ji.glm.fit(X, y, family=F.Poisson(), l2=0.01))
    assert ji.glm.fit(X, 0 * y, family=F.Poisson(), l2=0.01).info.status == ji.Status.SEPARABLE
    # An identity link has a finite answer at the border only: never CONVERGED with one outside.
    assert ji.glm.fit(X, 0 * y, family=F.Poisson(), link=L.Identity()).info.status != ji.Status.CONVERGED


OUTSIDE = [(F.Poisson(), -1.0), (F.Binomial(), 1.5), (F.Gamma(), 0.0), (F.Gamma(), -1.0), (F.InverseGaussian(), 0.0),
           (F.Tweedie(1.5), -1.0), (F.Tweedie(2.0), 0.0), (F.NegativeBinomial(1.0), -1.0)]  # fmt: skip


# Each family is a program, and `test_contract.py` asks for the statuses too.
@pytest.mark.parametrize(
    "family, wrong",
    [pytest.param(*case, marks=() if isinstance(case[0], F.Binomial) else pytest.mark.slow) for case in OUTSIDE],
)
def test_values_outside_the_family(data, family, wrong):
    X, _, _ = data
    given = {"family": family, "link": None if isinstance(family, F.Binomial) else L.Log()}
    y = np.full(60, 0.5)
    y[7] = wrong
    with pytest.raises(ValueError, match=rf"glm\.fit: y is outside the range of .*, got y\[7\] = {wrong}"):
        ji.glm.fit(X, y, **given)
    w = np.ones(60)
    fit = ji.glm.fit(X, jnp.asarray(y), sample_weight=w, **given)
    assert fit.info.status == ji.Status.DOMAIN and np.isnan(np.asarray(fit.params.coef)).all()
    w[7] = 0  # absent
    assert ji.glm.fit(X, jnp.asarray(y), sample_weight=w, **given).info.status == ji.Status.CONVERGED


def test_wrong_arguments(data):
    X, mu, _ = data
    with pytest.raises(TypeError, match=r"glm\.fit: family must be one of jaxinfra\.families"):
        ji.glm.fit(X, mu, family="poisson")
    with pytest.raises(TypeError, match=r"glm\.fit: link must be one of jaxinfra\.links"):
        ji.glm.fit(X, mu, family=F.Poisson(), link="log")
    with pytest.raises(ValueError, match=r"y must have shape \(n,\)"):
        ji.glm.fit(X, np.column_stack([mu, mu]), family=F.Poisson())
    fit = ji.glm.fit(X, jnp.asarray(mu), family=F.Tweedie(0.5))
    assert fit.info.status == ji.Status.DOMAIN  # there is no such distribution


def test_deviance_and_dispersion(data):
    X, mu, _ = data
    y = np.random.default_rng(5).gamma(3, mu / 3)
    w = np.random.default_rng(6).uniform(0.5, 2, 60)
    fit = ji.glm.fit(X, y, family=F.Gamma(), link=L.Log(), sample_weight=w)
    m = np.asarray(ji.glm.predict(fit.params, X))
    deviance = 2 * (w * ((y - m) / m - np.log(y / m))).sum()
    assert ji.glm.deviance(fit.params, X, y, family=F.Gamma(), sample_weight=w) == pytest.approx(deviance, rel=1e-12)
    assert fit.info.objective == pytest.approx(deviance / 2 / w.sum(), rel=1e-9)
    pearson = (w * ((y - m) / m) ** 2).sum() / (w.sum() - 4)
    assert ji.glm.dispersion(fit.params, X, y, family=F.Gamma(), sample_weight=w) == pytest.approx(pearson, rel=1e-12)
