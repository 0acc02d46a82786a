"""Inference: textbook sandwiches, refits, what does not exist, bad input; published numbers: test_infer_published."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxinfra as ji
from jaxinfra import families, infer, norms
from tests.helpers import close, of
from tests.inference_rows import BINARY, CLASSES, GROUPS, KINDS, N, P, V, X, Y, groups_of
from tests.references import sandwich


@pytest.mark.parametrize("kind", KINDS)
def test_least_squares(kind):
    even = {} if kind == "model" else {"sample_weight": np.ones(N)}  # the program of those below
    params = ji.ols.fit(X, Y, **even).params
    found = infer.covariance(of(ji.ols, params), X, Y, kind=kind, **even, **groups_of(kind))
    close(found.matrix, sandwich.least_squares(X, Y, kind, groups=GROUPS), 1e-11)
    # Weights are counts.
    w = np.arange(N) % 3
    keep = np.repeat(np.arange(N), w)
    weighted = ji.ols.fit(X, Y, sample_weight=w.astype(float))
    found = infer.covariance(weighted, X, Y, kind=kind, sample_weight=w.astype(float), **groups_of(kind)).matrix
    assert len(np.unique(GROUPS[keep])) == len(np.unique(GROUPS))  # which the correction of clusters counts
    close(found, sandwich.least_squares(X[keep], Y[keep], kind, groups=GROUPS[keep]), 1e-11)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k == "HC3" else pytest.mark.slow) for k in KINDS])
def test_least_squares_with_a_penalty_or_without_an_intercept(kind):
    ridge = ji.ridge.fit(X, Y, l2=0.3).params
    found = infer.covariance(of(ji.ridge, ridge, {"l2": 0.3}), X, Y, kind=kind, **groups_of(kind))
    close(found.matrix, sandwich.least_squares(X, Y, kind, l2=0.3, groups=GROUPS), 1e-11)
    without = ji.ols.fit(X, Y, fit_intercept=False).params
    found = infer.covariance(of(ji.ols, without, {"fit_intercept": False}), X, Y, kind=kind, **groups_of(kind))
    close(found.matrix, sandwich.least_squares(X, Y, kind, groups=GROUPS, intercept=False), 1e-11)


@pytest.mark.slow
def test_float32():
    single, y = X.astype(np.float32), Y.astype(np.float32)
    params = ji.ols.fit(single, y).params
    for kind in KINDS:
        found = infer.covariance(of(ji.ols, params), single, y, kind=kind, **groups_of(kind)).matrix
        assert found.dtype == np.float32
        close(found, sandwich.least_squares(X, Y, kind, groups=GROUPS), 1e-3)


@pytest.mark.slow
def test_outliers_of_robust_models():
    """Rows beyond the corner of the loss have residuals and Cook's distances; both do not depend on the unit of y."""
    rng = np.random.default_rng(6)
    Z = rng.standard_normal((80, 2))
    y = Z @ [1.0, 2.0] + 0.3 * rng.standard_normal(80)
    y[:5] += [8, -9, 10, 7, 12]
    fit = ji.check(ji.m_estimator.fit(Z, y, scale=1.0, tol=1e-12))
    V, theta = np.c_[Z, np.ones(80)], np.append(fit.params.coef, fit.params.intercept)
    H = (V.T * (np.abs(y - V @ theta) < 1.345)) @ V
    weights = 1 - np.eye(80)
    moved = jax.vmap(lambda w: ji.m_estimator.fit(Z, y, scale=1.0, tol=1e-12, sample_weight=w).params)(weights)
    d = theta - np.c_[moved.coef, moved.intercept]
    # The step is exact while no other row comes to the corner, from which these are far.
    found = infer.cooks_distance(fit, Z, y)
    exact = np.einsum("ij,jk,ik->i", d, H, d) / 3
    assert exact[:5].min() > np.median(exact)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    for model in (ji.huber, ji.m_estimator):
        one, ten = (model.fit(Z, k * y, tol=1e-12).params for k in (1, 10))
        close(infer.cooks_distance(of(model, ten), Z, 10 * y), infer.cooks_distance(of(model, one), Z, y), 1e-6)
        r = y - model.predict(one, Z)
        close(infer.residuals(of(model, one), Z, y, kind="pearson"), r / one.scale, 1e-12)
        left = np.sqrt(1 - infer.leverage(of(model, one), Z, y))
        close(infer.residuals(of(model, ten), Z, 10 * y, kind="standardized"), r / one.scale / left, 1e-6)
    with pytest.raises(ValueError, match="kind of a robust model must be one of response"):
        infer.residuals(of(ji.huber, one), Z, y, kind="deviance")


def powell(Z, y, params, tau):
    """Powell's sandwich as in R's quantreg (summary.rq, se = "ker"), row by row."""
    V, n = np.c_[Z, np.ones(len(y))], len(y)
    r = y - V @ np.r_[params.coef, params.intercept]
    z = stats.norm.ppf(tau)
    h = n ** (-1 / 3) * stats.norm.ppf(0.975) ** (2 / 3) * (1.5 * stats.norm.pdf(z) ** 2 / (2 * z**2 + 1)) ** (1 / 3)
    while tau - h < 0 or tau + h > 1:
        h /= 2
    spread = min(np.std(r, ddof=1), (np.quantile(r, 0.75) - np.quantile(r, 0.25)) / 1.34)
    h = spread * (stats.norm.ppf(tau + h) - stats.norm.ppf(tau - h))
    H = np.linalg.inv(sum(stats.norm.pdf(a / h) / h * np.outer(v, v) for a, v in zip(r, V, strict=True)))
    return tau * (1 - tau) * H @ (V.T @ V) @ H


@pytest.mark.slow
def test_errors_of_quantiles_with_unequal_spread():
    """Powell's by the textbook; where the spread grows with x they are the bootstrap's, unlike those of one density."""
    rng = np.random.default_rng(8)
    Z = rng.uniform(0, 2, (500, 1))
    y = 1 + Z[:, 0] + (0.1 + Z[:, 0] ** 2) * rng.standard_normal(500)
    level = 1 + Z[:, 0] + rng.uniform(-1, 1, 500)  # the deviation is smaller than IQR / 1.34
    for t, tau in ((y, 0.03), (level, 0.5), (y, 0.8)):  # at the first the bandwidth has to be halved
        params = ji.quantile.fit(Z, t, tau=tau).params
        found = infer.covariance(of(ji.quantile, params, {"tau": tau}), Z, t).matrix
        np.testing.assert_allclose(found, powell(Z, t, params, tau), rtol=1e-8)
    fixed = {"tau": 0.8}
    honest = ji.select.bootstrap(ji.quantile, Z, y, key=jax.random.key(0), n=400, fixed=fixed).se.coef[0]
    ratio = [infer.inference(of(ji.quantile, params, fixed), Z, y, kind=k).se[0] / honest for k in ("powell", "iid")]
    # Powell's kernel takes in 2 n h pi^(1/2) = 128 rows, a deviation of a tenth, and smooths over where the spread is
    # small, which adds a fifth in the mean of such data; 400 resamples have an error of 4 %. Three of these below 1.2,
    # half of one above. The errors of one density are 0.4 of the true ones with many rows, and 0.6 with so few.
    assert 0.85 < ratio[0] < 1.25 and ratio[1] < 0.6


@pytest.mark.slow
def test_two_classes_of_every_kind():
    """Logistic regression as multinomial and as ordinal: the same errors."""
    logistic = ji.logistic.fit(X, BINARY, tol=1e-12).params
    multinomial = ji.multinomial.fit(X, BINARY, tol=1e-12).params
    ordinal = ji.ordinal.fit(X, BINARY, tol=1e-12).params
    for kind in ("model", "HC0", "HC1", "cluster"):
        given = {"kind": kind, **groups_of(kind)}
        expected = infer.inference(of(ji.logistic, logistic), X, BINARY, **given)
        close(infer.inference(of(ji.ordinal, ordinal), X, BINARY, **given).se, expected.se, 1e-7)
        found = infer.inference(of(ji.multinomial, multinomial), X, BINARY, **given).se.reshape(P + 1, 2)
        close(2 * found[:, 0], expected.se, 1e-7)  # their coefficients are half of the difference, each


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, y, fixed",
    [(ji.ols, Y, {}), (ji.ridge, Y, {"l2": 0.2}), (ji.logistic, BINARY, {"l2": 0.1}), (ji.huber, Y, {}),
     (ji.m_estimator, Y, {"norm": norms.Tukey(), "scale": 2.0}),
     (ji.glm, np.abs(Y), {"family": families.Poisson()})],
    ids=["ols", "ridge", "logistic", "huber", "m_estimator", "poisson"],
)  # fmt: skip
def test_leaving_one_out(model, y, fixed):
    """Exact for least squares; one Newton step, and to first order by one derivative, for the others.

    What a Newton step leaves is of the second order in it: of one row among 100 equal ones a hundredth of itself.
    That of `huber` keeps the scale, as an M-estimator with a known one does.
    """
    exact = model in (ji.ols, ji.ridge)
    tight = {} if exact else {"tol": 1e-12}
    w = np.linspace(1, 2, N) * (1 if exact else 100)
    fit = model.fit(X, y, sample_weight=w, **fixed, **tight)
    params, found = fit.params, infer.leave_one_out(fit, X, y, sample_weight=w)
    slope = infer.influence(fit, X, y, sample_weight=w, **tight)
    at = np.append(params.coef, params.intercept)
    linear = np.vstack([slope.coef, slope.intercept])
    assert found.shape == (N, P + 1)
    for i in (0, 17, int(np.argmax(np.abs(linear[0])))):
        less = w.copy()
        less[i] -= 1
        rest = {k: v * w.sum() / less.sum() if k == "l2" else v for k, v in fixed.items()}
        if model is ji.huber:
            known = {"norm": norms.Huber(1.35), "scale": params.scale}
            without = ji.m_estimator.fit(X, y, sample_weight=less, **known, **tight).params
        else:
            without = model.fit(X, y, sample_weight=less, **rest, **tight).params
        without = np.append(without.coef, without.intercept)
        if exact:
            close(found[i], without, 1e-10)
        else:
            assert np.abs(found[i] - without).max() <= 0.01 * np.abs(at - without).max()
        nudged, step = w.copy(), 1e-5 * w[0]
        nudged[i] += step
        numeric = model.fit(X, y, sample_weight=nudged, **fixed, **tight).params
        close(linear[:, i], (np.append(numeric.coef, numeric.intercept) - at) / step, 1e-3)


def spread(params):
    return (params.coef**2).sum()


@pytest.mark.slow
def test_influence_of_a_function():
    """One product for a scalar; for every model whose fit has derivatives."""
    for model, y, fixed in (
        (ji.ols, Y, {}), (ji.logistic, BINARY, {"l2": 0.1}), (ji.multinomial, CLASSES, {"l2": 0.1, "n_classes": 4}),
        (ji.ordinal, CLASSES, {"n_classes": 4}), (ji.lasso, Y, {"l1": 0.3}), (ji.svr, Y, {"C": 0.1}),
    ):  # fmt: skip
        scalar = infer.influence(model.fit(X, y, **fixed), X, y, of=spread)
        assert scalar.shape == (N,)
        w = np.ones(N)
        w[5] += 1e-4
        tight = {**fixed, "tol": 1e-11}
        both = [spread(model.fit(X, y, sample_weight=v, **tight).params) for v in (w, 2 - w)]
        np.testing.assert_allclose(scalar[5], (both[0] - both[1]) / 2e-4, rtol=2e-3, atol=1e-4 * np.abs(scalar).max())


def test_traced(compilations):
    """Batches and compiled code; new values compile nothing."""

    def errors(y, w):
        params = ji.logistic.fit(X, y, l2=0.1, sample_weight=w).params
        return infer.inference(of(ji.logistic, params, {"l2": 0.1}), X, y, kind="HC3", sample_weight=w).se

    ys, ws = np.stack([BINARY, 1 - BINARY]), np.stack([np.ones(N), np.linspace(0.5, 2, N)])
    batch = jax.jit(jax.vmap(errors))(ys, ws)
    for i in range(2):
        close(batch[i], errors(ys[i], ws[i]), 1e-9)
    with compilations() as count:
        errors(ys[1], 2 * ws[1])
    assert count[0] == 0
    step = np.zeros_like(X)
    step[3, 1] = 1e-5

    @jax.jit
    @jax.value_and_grad
    def se(x):
        return infer.inference(ji.ols.fit(x, Y), x, Y, kind="HC3").se[0]

    difference = (se(X + step)[0] - se(X - step)[0]) / 2e-5
    np.testing.assert_allclose(se(X)[1][3, 1], difference, rtol=1e-6)


TWICE = np.c_[X, X[:, 0]]


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in ("model", "HC3") else pytest.mark.slow) for k in KINDS]
)
def test_errors_of_duplicated_columns_do_not_exist(kind):
    """The others keep theirs."""
    found = infer.inference(ji.ols.fit(TWICE, Y), TWICE, Y, kind=kind, **groups_of(kind))
    se, p_value = np.asarray(found.se), np.asarray(found.p_value)
    assert np.isnan(se[[0, 3]]).all() and np.isnan(p_value[[0, 3]]).all()
    expected = np.sqrt(np.diag(sandwich.least_squares(X, Y, kind, groups=GROUPS)))
    close(se[[1, 2, 4]], expected[1:], 1e-8, kind)


def test_errors_that_do_not_exist():
    """Nothing is 0 in silence."""
    constant = np.c_[X[:, :2], np.ones(N)]
    found = infer.inference(ji.logistic.fit(constant, BINARY), constant, BINARY)
    assert np.isfinite(found.se[:2]).all() and np.isnan(found.se[2:]).all()
    full = infer.inference(ji.ols.fit(X[:4], Y[:4]), X[:4], Y[:4])  # no degrees of freedom
    assert np.isnan(full.p_value).all() or not np.isfinite(full.se).any()
    bad = infer.inference(of(ji.ols, ji.Linear(jnp.full(3, jnp.nan), jnp.asarray(jnp.nan))), X, Y)
    assert np.isnan(bad.se).all() and np.isnan(bad.statistic).all()
    found = infer.inference(ji.ols.fit(TWICE, Y), TWICE, Y)
    assert np.isnan(infer.wald_test(found, np.eye(5)[:1]).statistic)
    assert np.isfinite(infer.wald_test(found, np.eye(5)[1]).statistic)


def test_bad_arguments():
    params = ji.ols.fit(X, Y).params
    with pytest.raises(
        TypeError, match=r"infer.covariance: the fit must be one of glm, huber, .*, ridge, got lasso; bootstrap"
    ):
        infer.covariance(of(ji.lasso, params), X, Y)
    with pytest.raises(ValueError, match="with an L1 penalty"):
        infer.covariance(of(ji.logistic, params, {"l1": 0.1}), X, BINARY)
    with pytest.raises(ValueError, match="kind of ols must be one of model, HC0, .*got 'H1'"):
        infer.covariance(of(ji.ols, params), X, Y, kind="H1")
    with pytest.raises(ValueError, match="kind of huber must be one of H1, H2"):
        infer.covariance(of(ji.huber, params), X, Y, kind="model")
    with pytest.raises(ValueError, match='groups .n,. belong to kind="cluster"'):
        infer.covariance(of(ji.ols, params), X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"groups must be \(80,\) whole numbers"):
        infer.covariance(of(ji.ols, params), X, Y, kind="cluster", groups=GROUPS + 0.5)
    with pytest.raises(ValueError, match="at least 2 groups"):
        infer.covariance(of(ji.ols, params), X, Y, kind="cluster", groups=0 * GROUPS)
    with pytest.raises(TypeError, match="has no argument 'alpha'"):
        infer.covariance(of(ji.ols, params, {"alpha": 1.0}), X, Y)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        infer.inference(of(ji.ols, params), X, Y, level=95)
    with pytest.raises(ValueError, match=r"restriction must have shape \(4,\)"):
        infer.wald_test(infer.inference(of(ji.ols, params), X, Y), np.eye(3))
    with pytest.raises(ValueError, match="kind must be one of response"):
        infer.residuals(of(ji.ols, params), X, Y, kind="raw")
    with pytest.raises(ValueError, match="one target at a time"):
        infer.covariance(ji.ols.fit(X, np.c_[Y, Y]), X, np.c_[Y, Y])
    with pytest.raises(ValueError, match="names must have 3 entries"):
        infer.summary(ji.ols.fit(X, Y), X, Y, names=["a"])
    with pytest.raises(ValueError, match="Tweedie"):
        infer.log_likelihood(ji.glm.fit(X, np.abs(Y), family=families.Tweedie(1.5)), X, np.abs(Y))


def test_summary():
    """The lines of statsmodels' summary, for several kinds of parameters."""
    sm = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    fit = ji.logistic.fit(X, BINARY, tol=1e-12)
    text = infer.summary(fit, X, BINARY, names=["age", "dose", "weight"])
    assert repr(text) == str(text)
    theirs = sm.Logit(BINARY, V).fit(disp=0, tol=1e-13).summary(xname=["age", "dose", "weight", "intercept"])
    wanted = [line.split() for line in str(theirs.tables[1]).splitlines()]
    mine = [line.split() for line in str(text).splitlines()]
    for row in wanted:
        if row and row[0] in ("age", "dose", "weight", "intercept"):
            assert row in mine
    assert "P>|z|" in text and "CONVERGED" in text and f"{-float(fit.info.objective) * N:.5g}" in text
    assert all(len(line) <= 78 for line in str(text).splitlines())
    for size in (1e-9, 1e6, 1e12):  # and a long name
        scaled = ji.ols.fit(X / size, Y)
        text = str(infer.summary(scaled, X / size, Y, names=["a" * 40, "dose of the drug", "c"]))
        table = [line for line in text.splitlines() if re.match("a|dose|c |inter| +coef", line)]
        found = [[cell for cell in re.split(r" {2,}", line) if cell] for line in table]
        assert [len(cells) for cells in found] == [6, 7, 7, 7, 7]
        assert {len(line) for line in table} == {len(text.splitlines()[0])}  # the columns end at the same place
        np.testing.assert_allclose(float(found[1][1]), scaled.params.coef[0], rtol=1e-5)
        np.testing.assert_allclose(float(found[2][6]), infer.inference(scaled, X / size, Y).upper[1], rtol=1e-4)


@pytest.mark.slow
def test_summary_of_classes_and_of_robust_models():
    classes = infer.summary(ji.ordinal.fit(X, CLASSES), X, CLASSES)
    assert "0/1" in classes and "2/3" in classes
    several = infer.summary(ji.multinomial.fit(X, CLASSES), X, CLASSES)
    assert "x2:3" in several and "intercept:0" in several
    robust = infer.summary(ji.huber.fit(X, Y), X, Y, kind="H2")
    assert "H2" in robust and "AIC" not in robust


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
def test_log_likelihood_of_a_negative_binomial_near_poisson(dtype):
    """Gamma(y + 1 / alpha) / Gamma(1 / alpha) has no digits left there."""
    x, y = np.arange(4.0)[:, None].astype(dtype), np.array([0, 2, 1, 4], dtype)
    for alpha in (0.0, 1e-16, 1e-6, 1e-3, 0.07, 0.5):
        fixed = {"family": families.NegativeBinomial(dtype(alpha))}
        fit = ji.glm.fit(x, y, **fixed)
        mean = np.asarray(ji.glm.predict(fit.params, x), float)
        each = (
            stats.nbinom.logpmf(y, 1 / alpha, 1 / (1 + alpha * mean)) if alpha > 1e-9 else stats.poisson.logpmf(y, mean)
        )
        found = infer.log_likelihood(fit, x, y)
        np.testing.assert_allclose(found, each.sum(), rtol=1e-9 if dtype is np.float64 else 3e-6)
