"""Robust regression: published numbers, scales, norms, outliers, and what has no answer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import HuberRegressor

import jaxinfra as ji
from jaxinfra import norms
from jaxinfra._core import order
from tests.helpers import of
from tests.references import huber as huber_reference
from tests.references import m_estimator as reference

NORMS = [
    norms.Huber(), norms.Tukey(), norms.Hampel(), norms.Andrews(), norms.Ramsay(), norms.Cauchy(), norms.Welsch()
]  # fmt: skip
each_norm = pytest.mark.parametrize("norm", NORMS, ids=lambda n: type(n).__name__)


@pytest.fixture
def outliers(rng):
    """A line in three columns with normal errors of 0.5, a fifth of the rows moved up by 30, and the coefficients."""
    X = rng.standard_normal((200, 3))
    coef = np.array([1.0, -2.0, 0.5])
    y = X @ coef + 4 + 0.5 * rng.standard_normal(200)
    y[rng.permutation(200)[:40]] += 30
    return X, y, coef


def published(name):
    results = pytest.importorskip(
        "statsmodels.robust.tests.results.results_rlm", reason="statsmodels, which ships the results, is not installed"
    )
    from statsmodels.datasets import stackloss

    data = stackloss.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy(), getattr(results, name)()


@pytest.mark.parametrize(
    "name, norm, scale",
    [
        ("Huber", norms.Huber(), "mad"),
        pytest.param("Hampel", norms.Hampel(), "mad", marks=pytest.mark.slow),
        ("BiSquare", norms.Tukey(), "mad"),
        pytest.param("Andrews", norms.Andrews(), "mad", marks=pytest.mark.slow),
        ("HuberHuber", norms.Huber(), "proposal2"),
        pytest.param("HampelHuber", norms.Hampel(), "proposal2", marks=pytest.mark.slow),
        pytest.param("BisquareHuber", norms.Tukey(), "proposal2", marks=pytest.mark.slow),
        pytest.param("AndrewsHuber", norms.Andrews(), "proposal2", marks=pytest.mark.slow),
    ],
)
def test_results_of_r_and_sas(name, norm, scale):
    """Brownlee's stack loss, as statsmodels compares itself: four digits after the point, of the scale three."""
    X, y, result = published(name)
    fit = ji.check(ji.m_estimator.fit(X, y, norm=norm, scale=scale))
    np.testing.assert_allclose(np.append(fit.params.coef, fit.params.intercept), result.params, atol=1.5e-4)
    np.testing.assert_allclose(fit.params.scale, result.scale, atol=1.5e-3)
    z = (y - np.asarray(ji.m_estimator.predict(fit.params, X))) / float(fit.params.scale)
    np.testing.assert_allclose(norm.weight(jnp.asarray(z)), result.weights, atol=1.5e-4)


@each_norm
def test_norms(norm):
    """psi is the textbook's, rho its integral, weight psi(z) / z."""
    z = np.linspace(-9.03, 9.1, 60)
    np.testing.assert_allclose(norm.psi(jnp.asarray(z)), reference.psi(norm, z), atol=1e-14)
    np.testing.assert_allclose(norm.rho(jnp.asarray(z)), reference.rho(norm, z), atol=1e-7)
    np.testing.assert_allclose(jax.vmap(jax.grad(norm.rho))(jnp.asarray(z)), norm.psi(jnp.asarray(z)), atol=1e-14)
    np.testing.assert_allclose(norm.weight(jnp.asarray(z)), reference.psi(norm, z) / z, atol=1e-14)
    assert norm.weight(jnp.zeros(1)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["mad", "proposal2", 0.7])
@each_norm
def test_reference(norm, scale, outliers):
    X, y, _ = outliers
    w = np.linspace(0.5, 2, len(y))
    start = ji.m_estimator.fit(X, y, sample_weight=w).params
    fit = ji.check(ji.m_estimator.fit(X, y, norm=norm, scale=scale, sample_weight=w, init=start, tol=1e-12))
    g = reference.gradient(*(np.asarray(v, float) for v in fit.params), X, y, norm=norm, sample_weight=w)
    assert max(np.abs(g[0]).max(), abs(g[1])) <= 1e-11 * float(fit.params.scale)
    r = y - np.asarray(ji.m_estimator.predict(fit.params, X))
    np.testing.assert_allclose(fit.params.scale, reference.scale_of(r, w, scale, 4), rtol=1e-12)


@pytest.mark.parametrize("k2", [2.5, 1.345])
def test_cutoff_of_proposal_2(k2, outliers):
    """statsmodels calls it d; R's 1.345 makes another scale."""
    import statsmodels.api as sm

    X, y, _ = outliers

    def fit(k2):
        return ji.m_estimator.fit(X, y, scale="proposal2", k2=k2, tol=1e-12)

    params = ji.check(fit(k2)).params
    constant = sm.add_constant(X, prepend=False)
    theirs = sm.RLM(y, constant, M=sm.robust.norms.HuberT(1.345)).fit(
        scale_est=sm.robust.scale.HuberScale(d=k2, tol=1e-12, maxiter=500), tol=1e-12, maxiter=500
    )
    np.testing.assert_allclose(
        [*params.coef, params.intercept, params.scale], [*theirs.params, theirs.scale], rtol=1e-6
    )
    slope = jax.jvp(lambda k2: fit(k2).params.scale, (k2,), (1.0,))[1]
    ends = [float(fit(k2 + d).params.scale) for d in (-1e-4, 1e-4)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-4, rtol=1e-4)
    if k2 == 2.5:
        np.testing.assert_allclose(fit(None).params.scale, params.scale, rtol=1e-15)
        with pytest.raises(ValueError, match='k2 is the cutoff of scale="proposal2"'):
            ji.m_estimator.fit(X, y, k2=1.345)


@pytest.mark.slow
def test_outliers_do_not_move_them(outliers):
    """Within three of their standard errors. These are 0.5 / 160^(1/2) = 0.04 without the outliers, with them 0.06
    where the loss keeps rising: each adds its k^2. A fifth of rows 30 too high moves the intercept of least squares by
    6, with an error of 12 / 200^(1/2) = 0.85."""
    X, y, coef = outliers
    for norm in NORMS:
        fit = ji.check(ji.m_estimator.fit(X, y, norm=norm))
        se = ji.infer.inference(of(ji.m_estimator, fit.params, {"norm": norm}), X, y, kind="H1").se
        assert (np.abs(fit.params.coef - coef) < 3 * se[:3]).all() and se.max() < 0.075, norm
    redescending = ji.m_estimator.fit(X, y, norm=norms.Tukey()).params
    assert np.abs(redescending.coef - coef).max() < 0.12
    assert abs(redescending.intercept - 4) < 0.12 and abs(ji.ols.fit(X, y).params.intercept - 10) < 3 * 0.85


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_huber_is_scikit_learns(alpha, outliers):
    X, y, _ = outliers
    w = np.linspace(0.5, 2, len(y))
    mine = ji.check(ji.huber.fit(X, y, l2=alpha / w.sum(), sample_weight=w, tol=1e-10))
    theirs = HuberRegressor(epsilon=1.35, alpha=alpha, tol=1e-10, max_iter=10_000).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(mine.params.coef, theirs.coef_, rtol=1e-5)
    np.testing.assert_allclose(mine.params.scale, theirs.scale_, rtol=1e-5)
    at = ji.Scaled(jnp.asarray(theirs.coef_), jnp.asarray(theirs.intercept_), jnp.asarray(theirs.scale_))
    assert mine.info.objective <= ji.huber.objective(at, X, y, l2=alpha / w.sum(), sample_weight=w) * (1 + 1e-14)


@pytest.mark.slow
def test_huber_on_large_data(rng):
    """Rows enough that a subsample comes first."""
    X = rng.standard_normal((30_000, 30)) * np.geomspace(0.1, 10, 30) + 3
    y = X @ rng.standard_normal(30) + rng.standard_t(2, 30_000)
    fit = ji.check(ji.huber.fit(X, y, tol=1e-10))
    assert huber_reference.certificate(*fit.params, X, y) <= 1e-9
    batch = jax.vmap(lambda w: ji.huber.fit(X[:3000], y[:3000], sample_weight=w))(rng.uniform(size=(3, 3000)))
    assert (batch.info.status == ji.Status.CONVERGED).all()


@pytest.mark.slow
def test_degenerate_constants():
    """With a constant that no residual reaches these are least squares."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    expected = ji.ols.fit(X, y).params
    for fit in (
        ji.huber.fit(X, y, delta=1e6, tol=1e-12),
        ji.m_estimator.fit(X, y, norm=norms.Huber(1e6), tol=1e-12),
        ji.m_estimator.fit(X, y, norm=norms.Hampel(1e6, 2e6, 3e6), scale=1.0, tol=1e-12),
    ):
        np.testing.assert_allclose(fit.params.coef, expected.coef, atol=1e-10)
        np.testing.assert_allclose(fit.params.intercept, expected.intercept, atol=1e-10)
    assert abs(ji.huber.fit(X, y, delta=1e6, tol=1e-12).params.scale - np.std(y - ji.ols.predict(expected, X))) < 1e-10


def test_huber_of_few_rows(rng):
    """With 20 rows for 7 unknowns there are at times few within delta, and Newton's plain step is far too long."""
    X = rng.standard_normal((50, 20, 5))
    y = X.sum(2) + rng.standard_t(3, (50, 20))
    info = jax.vmap(lambda X, y: ji.huber.fit(X, y, l2=0.01, tol=1e-10))(X, y).info
    assert (info.status == ji.Status.CONVERGED).all() and info.n_iter.max() <= 40


def test_weighted_medians(rng):
    """Every weight a whole number: the median of the rows, repeated."""
    median, smallest = jax.jit(order.median), jax.jit(order.smallest)
    for n in (1, 2, 7, 50):
        v, w = np.abs(rng.standard_normal(n)).round(1), rng.integers(0, 4, n) + (n < 3)
        lower, upper = median(v, w.astype(float))
        assert 0.5 * (lower + upper) == np.median(np.repeat(v, w))
        tenth = median(v, w * 0.1)
        assert tenth == (lower, upper)
    assert order.quantile(jnp.asarray([3.0, -1.0, 2.0, -5.0]), jnp.ones(4), jnp.asarray(0.5)) == -1
    for dtype in (np.float32, np.float64):  # signs and sizes of all kinds, none of which costs another a digit
        v = np.array([-1e8, 1e-30, 0.1, -0.0, -1e-40, -0.3, 7e9, 0.2, np.inf], dtype)
        for k, exact in enumerate(np.sort(v)):
            assert smallest(v, np.ones(9, dtype), np.asarray(k + 1, dtype)) == exact


@pytest.mark.parametrize("dtype, far", [(np.float64, 1e14), (np.float32, 1e8)], ids=["x64", "x32"])
def test_an_outlier_of_any_size(dtype, far, rng):
    """It moves the fit no more than a nearer one does: starts and units are not those of least squares."""
    X = rng.standard_normal((40, 2)).astype(dtype)
    near = (X @ np.array([1, 2], dtype) + 0.1 * rng.standard_normal(40)).astype(dtype)
    near[3] = 1000
    beyond = near.copy()
    beyond[3] = far
    for fit in (
        lambda y: ji.m_estimator.fit(X, y, norm=norms.Tukey()),
        lambda y: ji.m_estimator.fit(X, y, scale=dtype(1)),
        lambda y: ji.huber.fit(X, y),
    ):
        expected, found = (ji.check(fit(y)).params for y in (near, beyond))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            rtol, atol = (1e-6, 1e-6) if dtype is np.float64 else (1e-3, 3e-5)  # rounding of 1000 in float32
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
        np.testing.assert_allclose(found.coef, [1, 2], rtol=0, atol=0.05)  # three of 0.1 / 40^(1/2)


def test_a_line_and_one_outlier():
    """Eleven of twelve rows are fitted exactly: no scale, and not another line."""
    x, y = np.arange(12.0)[:, None], np.arange(12.0)
    y[-1] = 100
    for fit in (ji.m_estimator.fit(x, y, norm=norms.Tukey()), ji.m_estimator.fit(x, y), ji.huber.fit(x, y)):
        assert fit.info.status == ji.Status.ZERO_SCALE and np.isnan(fit.params.coef).all()


@pytest.mark.slow
def test_a_scale_of_zero(rng):
    """More than half of the rows on a line: no scale, and no coefficients that look like an answer."""
    X = rng.standard_normal((40, 2))
    y = X @ [1.0, 2.0] + 3
    y[:15] += rng.standard_normal(15)
    for fit in (ji.huber.fit(X, y), ji.m_estimator.fit(X, y), ji.m_estimator.fit(X, y, norm=norms.Tukey())):
        assert fit.info.status == ji.Status.ZERO_SCALE
        assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(fit.params))
    # A known scale has an answer, and so has the median. Two or three of the 15 rows are within the norm's 0.23 of the
    # line, with a psi of at most 0.07 against the weight of 25: three of 3^(1/2) 0.07 / 25.
    np.testing.assert_allclose(ji.check(ji.quantile.fit(X, y)).params.coef, [1, 2], rtol=1e-12)
    np.testing.assert_allclose(
        ji.check(ji.m_estimator.fit(X, y, norm=norms.Tukey(), scale=0.05)).params.coef, [1, 2], rtol=1e-2
    )
    # Constant y, and as many parameters as rows.
    assert ji.huber.fit(X, 0 * y + 2).info.status == ji.Status.ZERO_SCALE
    assert ji.m_estimator.fit(X[:3], y[:3]).info.status == ji.Status.ZERO_SCALE
    assert ji.huber.fit(X, rng.standard_normal(40), delta=jnp.asarray(0.9)).info.status == ji.Status.ZERO_SCALE


def test_all_rows_outliers(rng):
    X, y = rng.standard_normal((40, 2)), 100 * rng.standard_normal(40)
    fit = ji.m_estimator.fit(X, y, norm=norms.Tukey(), scale=1e-6, init=ji.Linear(jnp.ones(2), jnp.zeros(())))
    assert fit.info.status == ji.Status.SINGULAR
    assert np.isnan(fit.params.coef).all()


def test_bad_arguments(rng):
    X, y = rng.standard_normal((20, 2)), rng.standard_normal(20)
    with pytest.raises(ValueError, match="huber.fit: delta must be above 1, .*got delta = 1.0"):
        ji.huber.fit(X, y, delta=1.0)
    with pytest.raises(TypeError, match="norm must be one of jaxinfra.norms"):
        ji.m_estimator.fit(X, y, norm="huber")
    with pytest.raises(ValueError, match=r'scale must be "mad", "proposal2" or a number'):
        ji.m_estimator.fit(X, y, scale="iqr")
    with pytest.raises(ValueError, match="scale must be above 0"):
        ji.m_estimator.fit(X, y, scale=0.0)
    with pytest.raises(ValueError, match=r"a constant of Tukey\(c=-1.0\) must be above 0"):
        ji.m_estimator.fit(X, y, norm=norms.Tukey(-1.0))
    assert ji.m_estimator.fit(X, y, norm=norms.Tukey(jnp.asarray(-1.0))).info.status == ji.Status.SINGULAR
    for model in (ji.huber, ji.m_estimator):
        with pytest.raises(ValueError, match=r"y must have shape \(n,\)"):
            model.fit(X, X)


@pytest.mark.slow
def test_derivatives_of_constants(rng):
    """With respect to the constant of the norm, a known scale, and delta."""
    X = rng.standard_normal((60, 2))
    y = X @ [1.0, 2.0] + rng.standard_t(2, 60)

    def coef(c, s, delta):
        robust = ji.m_estimator.fit(X, y, norm=norms.Tukey(c), scale=s, tol=1e-13).params
        return jnp.append(robust.coef, ji.huber.fit(X, y, delta=delta, tol=1e-13).params.coef)

    at = (4.0, 1.3, 1.5)
    exact = jax.jacfwd(coef, (0, 1, 2))(*at)
    assert np.allclose(exact, jax.jacrev(coef, (0, 1, 2))(*at), atol=1e-12)
    for i in range(3):
        step = np.eye(3)[i] * 1e-5
        numeric = (coef(*(at + step)) - coef(*(at - step))) / 2e-5
        np.testing.assert_allclose(exact[i], numeric, atol=1e-7)


# The scale of Huber's fit is once a 3000th of the spread of y, where rounding is an optimality of 3e-12.
@pytest.mark.slow
@pytest.mark.parametrize(
    "fit",
    [lambda X, y, sign=1: ji.huber.fit(X, y, tol=1e-11), lambda X, y, sign=1: ji.m_estimator.fit(X, y, tol=1e-12),
     lambda X, y, sign=1: ji.m_estimator.fit(X, y, norm=norms.Tukey(), scale="proposal2", tol=1e-12),
     lambda X, y, sign=1: ji.quantile.fit(X, y, tau=0.3 if sign > 0 else 0.7)],
    ids=["huber", "m_estimator", "tukey", "quantile"],
)  # fmt: skip
def test_equivariance(fit, rng):
    """Order of rows; y scaled, turned and moved along the columns; columns mixed and shifted: the same fit."""
    X = rng.standard_normal((50, 3)) + 1
    y = X @ [1.0, -2.0, 0.5] + rng.standard_t(2, 50)
    base = ji.check(fit(X, y)).params
    order = rng.permutation(50)
    np.testing.assert_allclose(fit(X[order], y[order]).params.coef, base.coef, rtol=1e-8)
    for c in (1e-3, -40.0):
        moved = ji.check(fit(X, c * y + X @ [3.0, 0.0, 1.0] + 7, np.sign(c))).params
        np.testing.assert_allclose(moved.coef, c * base.coef + np.array([3.0, 0.0, 1.0]), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(moved.intercept, c * base.intercept + 7, rtol=1e-7)
        if hasattr(base, "scale"):
            np.testing.assert_allclose(moved.scale, abs(c) * base.scale, rtol=1e-7)
    A = rng.standard_normal((3, 3)) + 2 * np.eye(3)
    mixed = ji.check(fit(X @ A + 100, y)).params
    np.testing.assert_allclose(A @ mixed.coef, base.coef, rtol=1e-6)
