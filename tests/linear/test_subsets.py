"""RANSAC and Theil-Sen: medians and consensus in plain NumPy, SciPy, scikit-learn, and the columns of the contract."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import theilslopes
from sklearn.linear_model import RANSACRegressor, TheilSenRegressor

import jaxinfra as ji
from jaxinfra.solvers.robust import spatial_median as medians
from jaxinfra.solvers.robust import subsets
from tests.helpers import close

KEY = jax.random.key(7)


@pytest.fixture
def data(rng):
    """14 rows of two columns, two of them far off."""
    X = rng.standard_normal((14, 2)) * [1.0, 3.0] + [2.0, -1.0]
    y = X @ [1.0, -2.0] + 3 + 0.1 * rng.standard_normal(14)
    y[[2, 9]] += [50, -30]
    return X, y


def spatial_median(points, weight):
    """Weiszfeld's steps, many of them, from the mean."""
    theta = points.mean(0)
    for _ in range(20_000):
        h = weight / np.maximum(np.linalg.norm(points - theta, axis=1), 1e-300)
        theta = h @ points / h.sum()
    return theta


def theil_sen(X, y, w, size):
    """From all subsets: the fits in units of standard deviations about the mean, their spatial median, and back."""
    mean = w @ X / w.sum()
    spread = np.sqrt(w @ (X - mean) ** 2 / w.sum())
    V = np.c_[(X - mean) / spread, np.ones(len(y))]
    chosen = [list(s) for s in itertools.combinations(range(len(y)), size)]
    points = np.array([np.linalg.lstsq(V[s], y[s], rcond=None)[0] for s in chosen])
    theta = spatial_median(points, np.array([w[s].prod() for s in chosen]))
    return theta[:-1] / spread, theta[-1] - theta[:-1] @ (mean / spread)


@pytest.mark.parametrize("size", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_theil_sen_of_all_subsets(data, size):
    X, y = data
    w = np.linspace(0.5, 2, 14)
    given = {"key": KEY, "subset_size": size, "sample_weight": w}
    fit = ji.check(ji.theil_sen.fit(X, y, **given, tol=1e-12))
    close(tuple(fit.params), theil_sen(X, y, w, size), 1e-8)
    close(ji.theil_sen.objective(fit.params, X, y, **given), fit.info.objective, 1e-12)
    assert ji.theil_sen.optimality(fit.params, X, y, **given) <= 1e-12
    away = fit.params._replace(coef=fit.params.coef + 0.1)
    assert ji.theil_sen.objective(away, X, y, **given) > fit.info.objective
    assert ji.theil_sen.optimality(away, X, y, **given) > 1e-3
    # The subsets without the two rows are of the majority.
    if size == 3:
        assert np.abs(fit.params.coef - np.array([1.0, -2.0])).max() < 0.2


@pytest.mark.slow
def test_theil_sen_in_float32(data):
    X, y = data
    single = ji.check(ji.theil_sen.fit(X.astype(np.float32), y.astype(np.float32), key=KEY, subset_size=3))
    close(single.params, ji.theil_sen.fit(X, y, key=KEY).params, 2e-3)


@pytest.mark.slow
def test_theil_sen_in_any_unit_of_y_and_of_the_weights(data):
    """Squares of distances and products of weights overflow, or underflow to a subset that does not count."""
    X, y = (np.asarray(a, np.float32) for a in data)
    w = np.linspace(0.5, 2, 14, dtype=np.float32)

    def fit(y, w):
        return ji.check(ji.theil_sen.fit(X, y, key=KEY, sample_weight=w)).params.coef

    expected = fit(y, w)
    for unit in (1e30, 1e-25):
        close(fit(y * np.float32(unit), w) / np.float32(unit), expected, 1e-3)
    for unit in (1e20, 1e-20):
        close(fit(y, w * np.float32(unit)), expected, 1e-3)


@pytest.mark.slow
def test_theil_sen_takes_no_rounding_for_a_slope():
    """In a subset that holds a row twice the last pivot is rounding over the one before it, here 6e-5 of the first."""
    X = np.array(
        [[-0.3618232, 0.5410759, -0.30989197], [1.4306939, 1.4847772, -0.6256391], [-0.4693299, 1.0402908, 2.064371],
         [-1.2554882, -0.83989346, -1.272535], [-0.4693299, 1.0402908, 2.064371], [0.21626474, 0.6068708, 1.240324],
         [0.2278286, 0.98646635, -0.74778247], [0.21626474, 0.6068708, 1.240324]], np.float32,
    )  # fmt: skip
    y = [0.4610003, 3.1820855, -3.7340813, 1.2682155, -3.7340813, -3.2521837, 2.2152443, -3.2521837]
    w = [0.67266494, 0.89138, 1.44639, 1.6118166, 0.9662155, 1.0172515, 1.4815341, 0.8682751]
    found = [ji.check(ji.theil_sen.fit(X.astype(t), np.asarray(y, t), key=KEY, sample_weight=np.asarray(w, t)))
             for t in (np.float32, np.float64)]  # fmt: skip
    close(found[0].info.objective, found[1].info.objective, 1e-3)
    close(found[0].params.coef, found[1].params.coef, 1e-2)


def test_theil_sen_of_a_slope_that_overflows():
    fit = ji.theil_sen.fit([[1e-5], [2e-5]], [0.0, 1e306], key=KEY)
    assert fit.info.status == ji.Status.NONFINITE and np.isnan(fit.params.coef).all()


@pytest.mark.slow
def test_theil_sen_is_scipys_and_scikit_learns(data):
    """One column: the median of the slopes.  Several, in standard units: scikit-learn's spatial median."""
    X, y = data
    for n in (13, 14):  # an even and an odd number of slopes and rows
        slope, intercept, _, _ = theilslopes(y[:n], X[:n, 1], method="joint")
        fit = ji.check(ji.theil_sen.fit(X[:n, 1:], y[:n], key=KEY))
        close(tuple(fit.params), (np.array([slope]), intercept), 1e-12)
    Z = (X - X.mean(0)) / X.std(0)
    theirs = TheilSenRegressor(max_subpopulation=1e6, tol=1e-12, max_iter=100_000, random_state=0).fit(Z, y)
    mine = ji.theil_sen.fit(Z, y, key=KEY, tol=1e-12).params
    close(tuple(mine), (theirs.coef_, theirs.intercept_), 1e-5)


@pytest.mark.slow
def test_theil_sen_of_drawn_subsets(data):
    """Near the median of all subsets, whatever the key; units of the columns do not matter."""
    X, y = data
    all_of_them = ji.theil_sen.fit(X, y, key=KEY, n_subsets=10_000).params
    one, other = (ji.theil_sen.fit(X, y, key=jax.random.key(k), n_subsets=300).params for k in (0, 1))
    assert (np.asarray(one.coef) != np.asarray(other.coef)).all()
    for drawn in (one, other):
        assert np.abs(drawn.coef - all_of_them.coef).max() < 0.1
    scaled = ji.theil_sen.fit(X * [10.0, 0.1] + 5, y, key=jax.random.key(0), n_subsets=300).params
    close(scaled.coef * np.array([10.0, 0.1]), one.coef, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("columns, intercept", [(1, True), (2, True), (1, False)])
def test_theil_sen_derivatives(data, columns, intercept):
    """Without an intercept one column has a median of numbers, which has no curvature: its derivatives were NaN."""
    X, y = data[0][:, :columns], data[1]
    rng = np.random.default_rng(0)
    along = (rng.standard_normal(X.shape), rng.standard_normal(y.shape))

    def params(X, y):
        return ji.theil_sen.fit(X, y, key=KEY, tol=1e-13, fit_intercept=intercept).params

    value, tangent = jax.jvp(params, (X, y), along)
    cotangent = jax.tree.map(lambda v: rng.standard_normal(v.shape), value)
    pulled = jax.vjp(params, X, y)[1](cotangent)
    forward = sum(np.vdot(a, b) for a, b in zip(tangent, cotangent, strict=True))
    np.testing.assert_allclose(forward, sum(np.vdot(a, b) for a, b in zip(pulled, along, strict=True)), rtol=1e-8)
    plus, minus = (params(X + s * along[0], y + s * along[1]) for s in (1e-6, -1e-6))
    close(tangent, jax.tree.map(lambda a, b: (a - b) / 2e-6, plus, minus), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [1.0, 5.0])
def test_derivative_of_a_spatial_median(rng, heavy):
    """Between the points, and at one that outweighs the others, with which the median moves."""
    points, along = rng.standard_normal((2, 7, 3))
    weight = np.where(np.arange(7) == 2, heavy, 1.0)

    @jax.jit
    def found(points):
        return medians.solve(points, weight, None, tol=jnp.asarray(1e-13), max_iter=jnp.int32(500))[0]

    tangent = jax.jvp(found, (points,), (along,))[1]
    close(tangent, (found(points + 1e-6 * along) - found(points - 1e-6 * along)) / 2e-6, 1e-5)
    if heavy > 1:
        close(tangent, along[2], 1e-12)


def test_drawn_rows():
    """Different rows, never one of weight 0, the first in proportion to its weight, the second to what is left."""
    w = jnp.array([1.0, 2.0, 0.0, 3.0, 1.0, 1.0])
    drawn = np.asarray(subsets.draw(KEY, w, 20_000, 3))
    assert all(len(set(row)) == 3 for row in drawn[:500])
    assert not (drawn == 2).any()
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=6) / 20_000, w / 8, atol=0.015)
    second = drawn[drawn[:, 0] == 3, 1]
    np.testing.assert_allclose(
        np.bincount(second, minlength=6) / len(second), np.array([1, 2, 0, 0, 1, 1]) / 5, atol=0.03
    )


@pytest.fixture
def half(rng):
    """200 rows, of which 90 are anywhere, and which are not."""
    X = rng.standard_normal((200, 3)) + 1
    y = X @ [1.0, -2.0, 0.5] + 4 + 0.1 * rng.uniform(-1, 1, 200)
    bad = rng.permutation(200)[:90]
    y[bad] = 30 * rng.standard_normal(90)
    X[bad[:30]] += 10  # leverage
    return X, y, ~np.isin(np.arange(200), bad)


def test_ransac_finds_the_consensus(half):
    X, y, good = half
    w = np.linspace(0.5, 2, 200)
    fit = ji.check(ji.ransac.fit(X, y, key=KEY, threshold=0.15, sample_weight=w))
    inside = np.asarray(ji.ransac.inliers(fit.params, X, y, threshold=0.15))
    assert inside[good].all() and inside[~good].sum() <= 4
    # It is the least-squares fit of these rows, and `inliers` is their weight.
    V = np.c_[X, np.ones(200)][inside]
    expected = np.linalg.lstsq(np.sqrt(w[inside])[:, None] * V, np.sqrt(w[inside]) * y[inside], rcond=None)[0]
    close(tuple(fit.params), (expected[:3], expected[3]), 1e-12)
    np.testing.assert_allclose(fit.info.inliers, w[inside].sum(), rtol=1e-12)
    np.testing.assert_allclose(
        ji.ransac.objective(fit.params, X, y, threshold=0.15, sample_weight=w), fit.info.objective, rtol=1e-9
    )
    gradient = ji.ransac.optimality(fit.params, X, y, threshold=0.15, sample_weight=w)
    assert np.abs(gradient.coef).max() < 1e-12
    theirs = RANSACRegressor(residual_threshold=0.15, max_trials=2000, random_state=0).fit(X, y)
    mine = ji.ransac.fit(X, y, key=KEY, threshold=0.15, sample_weight=np.ones(200))
    assert float(mine.info.inliers) >= theirs.inlier_mask_.sum()
    close(mine.params.coef, theirs.estimator_.coef_, 2e-2)
    everyone = np.linalg.lstsq(np.c_[X, np.ones(200)], y, rcond=None)[0]
    assert np.abs(everyone - expected)[:3].max() > 0.3


@pytest.mark.slow
def test_a_redescending_norm_goes_on_from_the_consensus(half):
    """With the efficiency of all good rows."""
    X, y, good = half
    start = ji.check(ji.ransac.fit(X, y, key=KEY, threshold=0.15)).params
    expected = np.linalg.lstsq(np.c_[X, np.ones(200)][good], y[good], rcond=None)[0]
    close(ji.m_estimator.fit(X, y, norm=ji.norms.Tukey(), init=start).params.coef, expected[:3], 2e-2)


@pytest.mark.slow
def test_ransac_options(half, compilations):
    X, y, good = half
    without = ji.check(ji.ransac.fit(X, y, key=KEY, threshold=0.15, sample_weight=good.astype(float))).params
    alone = ji.check(ji.ransac.fit(X[good], y[good], key=KEY, threshold=0.15)).params
    close(without, alone, 1e-10)  # weight 0 is absent, and all the others agree
    offset = np.linspace(-5, 5, 200)
    shifted = ji.ransac.fit(X, y + offset, key=KEY, threshold=0.15, offset=offset).params
    close(shifted, ji.ransac.fit(X, y, key=KEY, threshold=0.15).params, 1e-10)
    # Lanes over keys and thresholds; the default threshold; more rows a trial; a start that counts as a trial.
    keys = jax.random.split(KEY, 3)
    batch = jax.vmap(lambda k, c: ji.ransac.fit(X, y, key=k, threshold=c))(keys, np.array([0.15, 0.12, 0.2]))
    close(batch.params.coef[1], ji.ransac.fit(X, y, key=keys[1], threshold=0.12).params.coef, 1e-10)
    default = ji.check(ji.ransac.fit(X, y, key=KEY))
    np.testing.assert_allclose(default.info.threshold, np.median(np.abs(y - np.median(y))), rtol=1e-12)
    assert ji.check(ji.ransac.fit(X, y, key=KEY, threshold=0.15, subset_size=6)).info.inliers >= 110
    # 110 of 200 rows are good, so that 0.55^4 of the subsets are: 48 trials are enough at 99 %, made in a block of 64.
    made = [int(ji.ransac.fit(X, y, key=KEY, threshold=0.15, confidence=c).info.trials) for c in (0.99, 1 - 1e-9, 1.0)]
    assert made[0] == 64 and made[0] < made[1] < made[2] == 1000
    few = ji.ransac.fit(X, y, key=KEY, threshold=0.15, n_trials=1, init=alone)
    assert few.info.trials == 1
    assert few.info.inliers >= 110
    assert "CONVERGED" in repr(few)
    another = jax.random.key(1)
    with compilations() as count:
        ji.ransac.fit(X + 1, 2 * y, key=another, threshold=0.3)
    assert count[0] == 0
    g = jax.grad(lambda y: ji.ransac.fit(X, y, key=KEY, threshold=0.15).params.coef[0])(y)
    inside = np.asarray(ji.ransac.inliers(ji.ransac.fit(X, y, key=KEY, threshold=0.15).params, X, y, threshold=0.15))
    V = np.c_[X, np.ones(200)][inside]
    np.testing.assert_allclose(np.asarray(g)[inside], np.linalg.pinv(V)[0], atol=1e-12)
    assert not np.asarray(g)[~inside].any()


@pytest.mark.slow
def test_bad_input(half):
    X, y, _ = half
    ransac, theil = (lambda *a, f=f, **k: f(*a, key=KEY, **k) for f in (ji.ransac.fit, ji.theil_sen.fit))
    for fit, name in ((ransac, "ransac"), (theil, "theil_sen")):
        with pytest.raises(ValueError, match=rf"{name}.fit: subset_size must be from the 4 parameters to the 200 rows"):
            fit(X, y, subset_size=3)
        with pytest.raises(ValueError, match=rf"{name}.fit: y must have shape \(n,\)"):
            fit(X, X)
        w = np.ones(200)
        bad = fit(X, np.where(np.arange(200) == 3, np.nan, y), sample_weight=w)
        assert bad.info.status == ji.Status.NONFINITE
        assert fit(X, y, sample_weight=jnp.asarray(-w)).info.status == ji.Status.SINGULAR
        assert fit(X, y, sample_weight=np.zeros(200)).info.status == ji.Status.SINGULAR
        assert np.isnan(fit(0 * X, y, sample_weight=w).params.coef).all()  # no subset determines anything
    with pytest.raises(TypeError, match="key"):
        ji.ransac.fit(X, y)
    with pytest.raises(ValueError, match="threshold must be above 0"):
        ransac(X, y, threshold=0.0)
    with pytest.raises(ValueError, match="confidence must be at most 1"):
        ransac(X, y, confidence=99)
    for confidence in (-0.5, 0.0, 1.5):
        assert ransac(X, y, confidence=jnp.asarray(confidence)).info.status == ji.Status.SINGULAR
    with pytest.raises(ValueError, match="n_trials is static and must be a whole number"):
        ransac(X, y, n_trials=0)
    with pytest.raises(ValueError, match="n_subsets is static and must be a whole number"):
        theil(X, y, n_subsets=2.0)
    nobody = ransac(X, y, threshold=1e-12, sample_weight=w)
    assert nobody.info.status == ji.Status.SINGULAR
    assert np.isnan(nobody.params.coef).all()
