"""Inference: textbook sandwiches, numbers of Stata, SAS, R and gretl, statsmodels' GLMs, refits, and bad input."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxinfra as ji
from jaxinfra import families, infer, links, norms
from tests.references import sandwich
from tests.test_contract import close

sm = pytest.importorskip("statsmodels.api", reason="statsmodels, which ships the published results, is not installed")
import statsmodels
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.regression.tests.results import (
    results_grunfeld_ols_robust_cluster,
    results_macro_ols_robust,
    results_quantile_regression,
)

N, P = 80, 3
RNG = np.random.default_rng(12)
X = RNG.standard_normal((N, P)) + 1
Y = X @ [1.0, 2.0, -1.0] + 1 + RNG.standard_normal(N) * (1 + np.abs(X[:, 0]))
GROUPS = RNG.integers(0, 9, N)
V = np.c_[X, np.ones(N)]
BINARY = (Y > 3).astype(int)
CLASSES = np.digitize(Y, [0.0, 3.0, 5.0])
KINDS = ["model", "HC0", "HC1", "HC2", "HC3", "cluster"]


def groups_of(kind):
    return {"groups": GROUPS} if kind == "cluster" else {}


@pytest.mark.parametrize("kind", KINDS)
def test_least_squares(kind):
    even = {} if kind == "model" else {"sample_weight": np.ones(N)}  # the program of those below
    params = ji.ols.fit(X, Y, **even).params
    found = infer.covariance(ji.ols, params, X, Y, kind=kind, **even, **groups_of(kind))
    close(found.matrix, sandwich.least_squares(X, Y, kind, groups=GROUPS), 1e-11)
    # Weights are counts.
    w = np.arange(N) % 3
    keep = np.repeat(np.arange(N), w)
    weighted = ji.ols.fit(X, Y, sample_weight=w.astype(float)).params
    found = infer.covariance(ji.ols, weighted, X, Y, kind=kind, sample_weight=w.astype(float), **groups_of(kind)).matrix
    assert len(np.unique(GROUPS[keep])) == len(np.unique(GROUPS))  # which the correction of clusters counts
    close(found, sandwich.least_squares(X[keep], Y[keep], kind, groups=GROUPS[keep]), 1e-11)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k == "HC3" else pytest.mark.slow) for k in KINDS])
def test_least_squares_with_a_penalty_or_without_an_intercept(kind):
    ridge = ji.ridge.fit(X, Y, l2=0.3).params
    found = infer.covariance(ji.ridge, ridge, X, Y, kind=kind, fixed={"l2": 0.3}, **groups_of(kind))
    close(found.matrix, sandwich.least_squares(X, Y, kind, l2=0.3, groups=GROUPS), 1e-11)
    without = ji.ols.fit(X, Y, fit_intercept=False).params
    found = infer.covariance(ji.ols, without, X, Y, kind=kind, fixed={"fit_intercept": False}, **groups_of(kind))
    close(found.matrix, sandwich.least_squares(X, Y, kind, groups=GROUPS, intercept=False), 1e-11)


@pytest.mark.slow
def test_float32():
    single, y = X.astype(np.float32), Y.astype(np.float32)
    params = ji.ols.fit(single, y).params
    for kind in KINDS:
        found = infer.covariance(ji.ols, params, single, y, kind=kind, **groups_of(kind)).matrix
        assert found.dtype == np.float32
        close(found, sandwich.least_squares(X, Y, kind, groups=GROUPS), 1e-3)


@pytest.mark.slow
def test_stata_hc1_and_gretl():
    """Macroeconomic data: `regress, robust` of Stata, and gretl's leverages, residuals and influences."""
    from statsmodels.datasets import macrodata

    data, result = macrodata.load_pandas().data, results_macro_ols_robust.results_hc0
    growth, y = (400 * np.diff(np.log(data[name].to_numpy())) for name in ("realgdp", "realinv"))
    Z = np.c_[growth, data["realint"].to_numpy()[:-1]]
    params = ji.ols.fit(Z, y).params
    found = infer.inference(ji.ols, params, Z, y, kind="HC1")
    np.testing.assert_allclose(found.estimate, result.params, rtol=1e-9)
    np.testing.assert_allclose(found.covariance.matrix, result.cov, rtol=1e-9)
    np.testing.assert_allclose(found.statistic, result.tvalues, rtol=1e-9)
    np.testing.assert_allclose(found.p_value, result.pvalues, rtol=1e-8)
    test = infer.wald_test(found, np.eye(3)[:2])
    np.testing.assert_allclose(test.statistic, result.F, rtol=1e-9)
    assert (test.df, test.df_denominator) == (result.df_m, result.df_r)

    folder = Path(statsmodels.__file__).parent / "regression/tests/results"
    rows = re.findall(
        r"^\s+\d{4}:\d\s+(\S+)\s+([\d.]+)\*?\s+(\S+)\s+(\S+)\s*$",
        (folder / "leverage_influence_ols_nostars.txt").read_text(), re.M,
    )  # fmt: skip
    table = np.array(rows, float)
    assert len(table) == len(y)
    r, h = infer.residuals(ji.ols, params, Z, y), infer.leverage(ji.ols, params, Z, y)
    np.testing.assert_allclose(r, table[:, 0], rtol=1e-4)
    np.testing.assert_allclose(h, table[:, 1], atol=5.1e-4)
    np.testing.assert_allclose(r * h / (1 - h), table[:, 2], rtol=1e-4, atol=1e-5)
    dffits = infer.residuals(ji.ols, params, Z, y, kind="studentized") * jnp.sqrt(h / (1 - h))
    np.testing.assert_allclose(dffits, table[:, 3], atol=5.1e-4)


def test_stata_clusters():
    """Grunfeld's investments: `regress, vce(cluster company)`."""
    from statsmodels.datasets import grunfeld

    data, result = grunfeld.load_pandas().data, results_grunfeld_ols_robust_cluster.results_cluster
    data = data[~data["firm"].isin(["American Steel"])] if len(data) == 220 else data
    Z, y = data[["value", "capital"]].to_numpy(float), data["invest"].to_numpy(float)
    firms = np.unique(data["firm"].to_numpy(), return_inverse=True)[1]
    found = infer.inference(ji.ols, ji.ols.fit(Z, y).params, Z, y, kind="cluster", groups=firms)
    np.testing.assert_allclose(found.estimate, result.params, rtol=1e-6)
    np.testing.assert_allclose(found.se, result.bse, rtol=1e-6)
    np.testing.assert_allclose(found.p_value, result.pvalues, rtol=1e-5)
    assert found.df == result.df_r
    np.testing.assert_allclose(infer.wald_test(found, np.eye(3)[:2]).statistic, result.F, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("tau, name", [(0.5, "epan2_hsheather"), (0.75, "epanechnikov_hsheather_q75")])
def test_stata_quantiles(tau, name):
    """Engel's food expenditures: `qreg` with its default errors."""
    from statsmodels.datasets import engel

    data, result = engel.load_pandas().data, getattr(results_quantile_regression, name)
    Z, y = data[["income"]].to_numpy(), data["foodexp"].to_numpy()
    params = ji.check(ji.quantile.fit(Z, y, tau=tau)).params
    found = infer.inference(ji.quantile, params, Z, y, kind="iid", fixed={"tau": tau})
    np.testing.assert_allclose(found.estimate, result.table[:, 0], rtol=2e-6)
    np.testing.assert_allclose(found.se, result.table[:, 1], rtol=1e-3)
    np.testing.assert_allclose(found.statistic, result.table[:, 2], rtol=1e-2)
    np.testing.assert_allclose(np.c_[found.lower, found.upper], result.table[:, -2:], rtol=1e-3)
    np.testing.assert_allclose(found.covariance.dispersion, result.sparsity, rtol=1e-3)
    theirs = sm.QuantReg(y, np.c_[Z, np.ones(len(y))]).fit(q=tau, vcov="robust", p_tol=1e-10, max_iter=5000)
    kernel = infer.inference(ji.quantile, params, Z, y, kind="kernel", fixed={"tau": tau})
    np.testing.assert_allclose(kernel.se, theirs.bse, rtol=1e-2)  # which of the two rows at 0 is above is rounding


@pytest.mark.slow
def test_outliers_of_robust_models():
    """Rows beyond the corner of the loss have residuals and Cook's distances; both do not depend on the unit of y."""
    rng = np.random.default_rng(6)
    Z = rng.standard_normal((80, 2))
    y = Z @ [1.0, 2.0] + 0.3 * rng.standard_normal(80)
    y[:5] += [8, -9, 10, 7, 12]
    fit = ji.check(ji.m_estimator.fit(Z, y, scale=1.0, tol=1e-12))
    given = {"fixed": {"scale": 1.0}}
    V, theta = np.c_[Z, np.ones(80)], np.append(fit.params.coef, fit.params.intercept)
    H = (V.T * (np.abs(y - V @ theta) < 1.345)) @ V
    weights = 1 - np.eye(80)
    moved = jax.vmap(lambda w: ji.m_estimator.fit(Z, y, scale=1.0, tol=1e-12, sample_weight=w).params)(weights)
    d = theta - np.c_[moved.coef, moved.intercept]
    # The step is exact while no other row comes to the corner, from which these are far.
    found = infer.cooks_distance(ji.m_estimator, fit.params, Z, y, **given)
    exact = np.einsum("ij,jk,ik->i", d, H, d) / 3
    assert exact[:5].min() > np.median(exact)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    for model in (ji.huber, ji.m_estimator):
        one, ten = (model.fit(Z, k * y, tol=1e-12).params for k in (1, 10))
        close(infer.cooks_distance(model, ten, Z, 10 * y), infer.cooks_distance(model, one, Z, y), 1e-6)
        r = y - model.predict(one, Z)
        close(infer.residuals(model, one, Z, y, kind="pearson"), r / one.scale, 1e-12)
        left = np.sqrt(1 - infer.leverage(model, one, Z, y))
        close(infer.residuals(model, ten, Z, 10 * y, kind="standardized"), r / one.scale / left, 1e-6)
    with pytest.raises(ValueError, match="kind of a robust model must be one of response"):
        infer.residuals(ji.huber, one, Z, y, kind="deviance")


def powell(Z, y, params, tau):
    """Powell's sandwich as in R's quantreg (summary.rq, se = "ker"), row by row."""
    V, n = np.c_[Z, np.ones(len(y))], len(y)
    r = y - V @ np.r_[params.coef, params.intercept]
    z = stats.norm.ppf(tau)
    h = n ** (-1 / 3) * stats.norm.ppf(0.975) ** (2 / 3) * (1.5 * stats.norm.pdf(z) ** 2 / (2 * z**2 + 1)) ** (1 / 3)
    while tau - h < 0 or tau + h > 1:
        h /= 2
    spread = min(np.std(r), (np.quantile(r, 0.75) - np.quantile(r, 0.25)) / 1.34)
    h = spread * (stats.norm.ppf(tau + h) - stats.norm.ppf(tau - h))
    H = np.linalg.inv(sum(stats.norm.pdf(a / h) / h * np.outer(v, v) for a, v in zip(r, V, strict=True)))
    return tau * (1 - tau) * H @ (V.T @ V) @ H


@pytest.mark.slow
def test_errors_of_quantiles_with_unequal_spread():
    """Powell's by the textbook; where the spread grows with x they are the bootstrap's, unlike those of one density."""
    rng = np.random.default_rng(8)
    Z = rng.uniform(0, 2, (500, 1))
    y = 1 + Z[:, 0] + (0.1 + Z[:, 0] ** 2) * rng.standard_normal(500)
    for tau in (0.03, 0.5, 0.8):  # at the first the bandwidth has to be halved
        params = ji.quantile.fit(Z, y, tau=tau).params
        found = infer.covariance(ji.quantile, params, Z, y, fixed={"tau": tau}).matrix
        np.testing.assert_allclose(found, powell(Z, y, params, tau), rtol=1e-8)
    fixed = {"tau": 0.8}
    honest = ji.select.bootstrap(ji.quantile, Z, y, key=jax.random.key(0), n=400, fixed=fixed).se.coef[0]
    ratio = [infer.inference(ji.quantile, params, Z, y, kind=k, fixed=fixed).se[0] / honest for k in ("powell", "iid")]
    assert 0.8 < ratio[0] < 1.25 and ratio[1] < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name, norm", [("Huber", norms.Huber()), ("Hampel", norms.Hampel())])
def test_sas_robust(name, norm):
    """Stack loss: the three estimates H1 to H3 of SAS's PROC ROBUSTREG, as statsmodels prints them."""
    from statsmodels.datasets import stackloss
    from statsmodels.robust.tests.results import results_rlm

    data, result = stackloss.load_pandas(), getattr(results_rlm, name)()
    Z, y = data.exog.to_numpy(), data.endog.to_numpy()
    params = ji.m_estimator.fit(Z, y, norm=norm).params
    for kind, expected in (("H1", result.h1), ("H2", result.h2), ("H3", result.h3)):
        found = infer.covariance(ji.m_estimator, params, Z, y, kind=kind, fixed={"norm": norm}).matrix
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=2e-3)
        theirs = sm.RLM(y, np.c_[Z, np.ones(21)], M=getattr(sm.robust.norms, {"Huber": "HuberT"}.get(name, name))())
        fit = theirs.fit(cov=kind, tol=1e-13, maxiter=2000)
        np.testing.assert_allclose(found, fit.bcov_scaled, rtol=1e-7, atol=1e-9)


GLMS = {
    "poisson": (families.Poisson(), None, sm.families.Poisson(), lambda mu: RNG.poisson(mu)),
    "gamma": (
        families.Gamma(), links.Log(), sm.families.Gamma(sm.families.links.Log()), lambda mu: RNG.gamma(3, mu / 3)
    ),
    "probit": (
        families.Binomial(), links.Probit(), sm.families.Binomial(sm.families.links.Probit()),
        lambda mu: (RNG.uniform(size=N) < mu / (1 + mu)) * 1.0,
    ),
    "gaussian": (families.Gaussian(), None, sm.families.Gaussian(), lambda mu: mu + RNG.standard_normal(N)),
    "inverse_gaussian": (
        families.InverseGaussian(), links.Log(), sm.families.InverseGaussian(sm.families.links.Log()),
        lambda mu: RNG.wald(mu, 3),
    ),
    "negative_binomial": (
        families.NegativeBinomial(0.5), links.Log(), sm.families.NegativeBinomial(sm.families.links.Log(), 0.5),
        lambda mu: RNG.poisson(mu),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "gamma" else pytest.mark.slow) for name in GLMS]
)
def test_statsmodels_glm(name):
    """Errors, dispersion, likelihood, criteria, residuals, leverage and Cook's distances."""
    family, link, theirs, draw = GLMS[name]
    y = np.asarray(draw(np.exp(X @ [0.3, 0.2, -0.1])), float)
    offset = np.linspace(-0.2, 0.2, N)
    fixed = {"family": family, "link": link}
    params = ji.check(ji.glm.fit(X, y, offset=offset, tol=1e-12, **fixed)).params
    given = {"fixed": fixed, "offset": offset}
    model = sm.GLM(y, V, family=theirs, offset=offset)
    fit = model.fit(tol=1e-14, maxiter=200)
    for kind in ("model", "HC0", "cluster"):
        extra = {"model": {}, "HC0": {"cov_type": "HC0"}}.get(kind, {"cov_type": kind, "cov_kwds": groups_of(kind)})
        expected = model.fit(tol=1e-14, maxiter=200, **extra)
        found = infer.inference(ji.glm, params, X, y, kind=kind, use_t=False, **given, **groups_of(kind))
        close(found.covariance.matrix, np.asarray(expected.cov_params()), 1e-7, kind)
        close(found.p_value, expected.pvalues, 1e-6, kind)
        close(np.c_[found.lower, found.upper], expected.conf_int(), 1e-7, kind)
    close(found.covariance.dispersion, fit.scale, 1e-8)
    # Of a Gaussian model statsmodels takes the maximum over the scale, as ours without one.
    scale = {"dispersion": fit.scale} if name in ("gamma", "inverse_gaussian") else {}
    close(infer.log_likelihood(ji.glm, params, X, y, **given, **scale), fit.llf, 1e-9)
    close(infer.aic(ji.glm, params, X, y, **given, **scale), fit.aic, 1e-9)
    close(infer.bic(ji.glm, params, X, y, **given, **scale), fit.bic_llf, 1e-9)
    # Against the first column alone, the others 0; of the same shape, so of the same programs.
    less = X * [1.0, 0.0, 0.0]
    smaller = ji.glm.fit(less, y, offset=offset, tol=1e-12, **fixed)
    found = infer.likelihood_ratio_test(ji.glm, smaller, less, params, X, y, **given, **scale)
    theirs = sm.GLM(y, V[:, [0, 3]], family=theirs, offset=offset).fit(tol=1e-14, maxiter=200)
    scaled = (theirs.deviance - fit.deviance) / fit.scale
    close(found.statistic, 2 * (fit.llf - theirs.llf) if name == "gaussian" else scaled, 1e-7)
    assert found.df == 2 and found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 2), rel=1e-8)
    if scale:  # that of the larger model
        close(infer.likelihood_ratio_test(ji.glm, smaller, less, params, X, y, **given).statistic, scaled, 1e-7)
    for kind in ("response", "pearson", "deviance", "working"):
        found = infer.residuals(ji.glm, params, X, y, kind=kind, **given)
        close(found, getattr(fit, f"resid_{kind}"), 1e-7, kind)
    around = fit.get_influence(observed=False)
    close(infer.leverage(ji.glm, params, X, y, **given), around.hat_matrix_diag, 1e-7)
    close(infer.cooks_distance(ji.glm, params, X, y, **given), around.cooks_distance[0], 1e-6)
    close(infer.residuals(ji.glm, params, X, y, kind="standardized", **given), around.resid_studentized, 1e-7)


@pytest.mark.slow
def test_statsmodels_classes():
    """Logit, and models of several classes, whose parameters are others there."""
    params = ji.logistic.fit(X, BINARY, tol=1e-12).params
    theirs = sm.Logit(BINARY, V).fit(disp=0, tol=1e-13)
    found = infer.inference(ji.logistic, params, X, BINARY)
    close(found.covariance.matrix, theirs.cov_params(), 1e-8)
    ll = infer.log_likelihood(ji.logistic, params, X, BINARY)
    close(ll, theirs.llf, 1e-10)
    close((infer.aic(ji.logistic, params, X, BINARY), infer.bic(ji.logistic, params, X, BINARY)),
          (theirs.aic, theirs.bic), 1e-10)  # fmt: skip
    null = ji.logistic.fit(0 * X, BINARY)
    test = infer.likelihood_ratio_test(ji.logistic, null, 0 * X, params, X, BINARY)
    close(test.p_value, theirs.llr_pvalue, 1e-8)
    assert (test.df, test.df_denominator) == (3, np.inf)
    again = infer.likelihood_ratio_test(ji.logistic, params, X, params, X, BINARY)
    assert again.df == 0 and np.isnan(again.p_value)
    wald = infer.wald_test(found, np.eye(4)[:2], jnp.array([0.1, 0.2]))
    expected = theirs.wald_test((np.eye(4)[:2], np.array([0.1, 0.2])), use_f=False, scalar=True)
    close(wald.statistic, expected.statistic, 1e-8)
    close(wald.p_value, expected.pvalue, 1e-8)

    # Differences to class 0, which statsmodels has as its parameters.
    K, q = 4, P + 1
    params = ji.multinomial.fit(X, CLASSES, tol=1e-12).params
    theirs = sm.MNLogit(CLASSES, V).fit(disp=0, tol=1e-13, maxiter=100)
    A = np.c_[-np.ones(K - 1), np.eye(K - 1)]
    for kind in ("model", "HC0"):
        C = np.asarray(infer.covariance(ji.multinomial, params, X, CLASSES, kind=kind).matrix).reshape(q, K, q, K)
        found = np.einsum("ac,vcwd,bd->avbw", A, C, A).reshape(q * (K - 1), -1)
        expected = (
            sm.MNLogit(CLASSES, V).fit(disp=0, tol=1e-13, maxiter=100, cov_type="HC0") if kind == "HC0" else theirs
        )
        close(found, np.asarray(expected.cov_params()), 1e-6, kind)
    close(infer.log_likelihood(ji.multinomial, params, X, CLASSES), theirs.llf, 1e-10)
    found = infer.aic(ji.multinomial, params, X, CLASSES), infer.bic(ji.multinomial, params, X, CLASSES)
    close(found, (theirs.aic, theirs.bic), 1e-9)  # K - 1 columns are free

    for name, link in (("logit", links.Logit()), ("probit", links.Probit())):
        params = ji.ordinal.fit(X, CLASSES, link=link, tol=1e-12).params
        theirs = OrderedModel(CLASSES, X, distr=name).fit(method="newton", disp=0, tol=1e-8)
        found = infer.inference(ji.ordinal, params, X, CLASSES, fixed={"link": link})
        close(found.se[:P], theirs.bse[:P], 1e-6)  # their thresholds are differences of logarithms
        close(infer.log_likelihood(ji.ordinal, params, X, CLASSES, fixed={"link": link}), theirs.llf, 1e-9)
        close(infer.aic(ji.ordinal, params, X, CLASSES, fixed={"link": link}), theirs.aic, 1e-9)


@pytest.mark.slow
def test_criteria_of_least_squares():
    """From the `Fit` as it comes; nested by columns or by an offset; a penalty counts for less than a parameter."""
    fit, theirs = ji.ols.fit(X, Y), sm.OLS(Y, V).fit()
    close((infer.aic(ji.ols, fit, X, Y), infer.bic(ji.ols, fit, X, Y)), (theirs.aic, theirs.bic), 1e-10)
    close(infer.inference(ji.ols, fit, X, Y).se, theirs.bse, 1e-9)
    both = jax.vmap(lambda y: infer.aic(ji.ols, ji.ols.fit(X, y), X, y))(np.stack([Y, Y**2]))
    close(tuple(both), (sm.OLS(Y, V).fit().aic, sm.OLS(Y**2, V).fit().aic), 1e-10)
    less = X * [1.0, 0.0, 1.0]
    test = infer.likelihood_ratio_test(ji.ols, ji.ols.fit(less, Y), less, fit, X, Y)
    close(test[:3], theirs.compare_lr_test(sm.OLS(Y, V[:, [0, 2, 3]]).fit()), 1e-9)
    slope = 2.5 * X[:, 1]  # the hypothesis that it is 2.5
    test = infer.likelihood_ratio_test(
        ji.ols, ji.ols.fit(less, Y, offset=slope), less, fit, X, Y, offset_smaller=slope, offset=0 * slope
    )
    restricted = sm.OLS(Y - slope, V[:, [0, 2, 3]]).fit()
    close((test.statistic, test.df), (2 * (theirs.llf - restricted.llf), 1.0), 1e-9)
    origin = ji.ols.fit(X, Y, fit_intercept=False)
    test = infer.likelihood_ratio_test(ji.ols, origin, X, fit, X, Y, fixed_smaller={"fit_intercept": False})
    close(test[:3], theirs.compare_lr_test(sm.OLS(Y, X).fit()), 1e-9)
    # Weights are counts.
    w = np.arange(N) % 3
    weighted = ji.ols.fit(X, Y, sample_weight=w * 1.0)
    theirs = sm.OLS(np.repeat(Y, w), np.repeat(V, w, 0)).fit()
    found = [of(ji.ols, weighted, X, Y, sample_weight=w * 1.0) for of in (infer.aic, infer.bic)]
    close(tuple(found), (theirs.aic, theirs.bic), 1e-9)
    ridge, given = ji.ridge.fit(X, Y, l2=0.3), {"fixed": {"l2": 0.3}}
    hat = X - X.mean(0)
    trace = 1 + np.trace(np.linalg.solve(hat.T @ hat + 0.3 * N * np.eye(P), hat.T @ hat))
    ll = infer.log_likelihood(ji.ridge, ridge, X, Y, **given)
    close(infer.aic(ji.ridge, ridge, X, Y, **given), 2 * trace - 2 * ll, 1e-10)
    with pytest.raises(ValueError, match="penalised fits have no such test"):
        infer.likelihood_ratio_test(ji.ridge, ridge, X, ridge, X, Y, **given)
    with pytest.raises(ValueError, match=r"likelihood_ratio_test: smaller: X and y must have the same number of rows"):
        infer.likelihood_ratio_test(ji.ols, fit, X[1:], fit, X, Y)


@pytest.mark.slow
def test_two_classes_of_every_kind():
    """Logistic regression as multinomial and as ordinal: the same errors."""
    logistic = ji.logistic.fit(X, BINARY, tol=1e-12).params
    multinomial = ji.multinomial.fit(X, BINARY, tol=1e-12).params
    ordinal = ji.ordinal.fit(X, BINARY, tol=1e-12).params
    for kind in ("model", "HC0", "HC1", "cluster"):
        given = {"kind": kind, **groups_of(kind)}
        expected = infer.inference(ji.logistic, logistic, X, BINARY, **given)
        close(infer.inference(ji.ordinal, ordinal, X, BINARY, **given).se, expected.se, 1e-7)
        found = infer.inference(ji.multinomial, multinomial, X, BINARY, **given).se.reshape(P + 1, 2)
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
    params = model.fit(X, y, sample_weight=w, **fixed, **tight).params
    found = infer.leave_one_out(model, params, X, y, fixed=fixed, sample_weight=w)
    slope = infer.influence(model, X, y, fixed={**fixed, **tight}, sample_weight=w)
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
        scalar = infer.influence(model, X, y, of=spread, fixed=fixed)
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
        return infer.inference(ji.logistic, params, X, y, kind="HC3", fixed={"l2": 0.1}, sample_weight=w).se

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
        return infer.inference(ji.ols, ji.ols.fit(x, Y).params, x, Y, kind="HC3").se[0]

    difference = (se(X + step)[0] - se(X - step)[0]) / 2e-5
    np.testing.assert_allclose(se(X)[1][3, 1], difference, rtol=1e-6)


TWICE = np.c_[X, X[:, 0]]


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in ("model", "HC3") else pytest.mark.slow) for k in KINDS]
)
def test_errors_of_duplicated_columns_do_not_exist(kind):
    """The others keep theirs."""
    found = infer.inference(ji.ols, ji.ols.fit(TWICE, Y).params, TWICE, Y, kind=kind, **groups_of(kind))
    se, p_value = np.asarray(found.se), np.asarray(found.p_value)
    assert np.isnan(se[[0, 3]]).all() and np.isnan(p_value[[0, 3]]).all()
    expected = np.sqrt(np.diag(sandwich.least_squares(X, Y, kind, groups=GROUPS)))
    close(se[[1, 2, 4]], expected[1:], 1e-8, kind)


def test_errors_that_do_not_exist():
    """Nothing is 0 in silence."""
    constant = np.c_[X[:, :2], np.ones(N)]
    found = infer.inference(ji.logistic, ji.logistic.fit(constant, BINARY).params, constant, BINARY)
    assert np.isfinite(found.se[:2]).all() and np.isnan(found.se[2:]).all()
    full = infer.inference(ji.ols, ji.ols.fit(X[:4], Y[:4]).params, X[:4], Y[:4])  # no degrees of freedom
    assert np.isnan(full.p_value).all() or not np.isfinite(full.se).any()
    bad = infer.inference(ji.ols, ji.Linear(jnp.full(3, jnp.nan), jnp.asarray(jnp.nan)), X, Y)
    assert np.isnan(bad.se).all() and np.isnan(bad.statistic).all()
    found = infer.inference(ji.ols, ji.ols.fit(TWICE, Y).params, TWICE, Y)
    assert np.isnan(infer.wald_test(found, np.eye(5)[:1]).statistic)
    assert np.isfinite(infer.wald_test(found, np.eye(5)[1]).statistic)


def test_bad_arguments():
    params = ji.ols.fit(X, Y).params
    with pytest.raises(TypeError, match=r"infer.covariance: model must be one of ols, ridge, .*bootstrap"):
        infer.covariance(ji.lasso, params, X, Y)
    with pytest.raises(ValueError, match="with an L1 penalty"):
        infer.covariance(ji.logistic, params, X, BINARY, fixed={"l1": 0.1})
    with pytest.raises(ValueError, match="kind of ols must be one of model, HC0, .*got 'H1'"):
        infer.covariance(ji.ols, params, X, Y, kind="H1")
    with pytest.raises(ValueError, match="kind of huber must be one of H1, H2"):
        infer.covariance(ji.huber, params, X, Y, kind="model")
    with pytest.raises(ValueError, match='groups .n,. belong to kind="cluster"'):
        infer.covariance(ji.ols, params, X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"groups must be \(80,\) whole numbers"):
        infer.covariance(ji.ols, params, X, Y, kind="cluster", groups=GROUPS + 0.5)
    with pytest.raises(ValueError, match="at least 2 groups"):
        infer.covariance(ji.ols, params, X, Y, kind="cluster", groups=0 * GROUPS)
    with pytest.raises(TypeError, match="has no argument 'alpha'"):
        infer.covariance(ji.ols, params, X, Y, fixed={"alpha": 1.0})
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        infer.inference(ji.ols, params, X, Y, level=95)
    with pytest.raises(ValueError, match=r"restriction must have shape \(4,\)"):
        infer.wald_test(infer.inference(ji.ols, params, X, Y), np.eye(3))
    with pytest.raises(ValueError, match="kind must be one of response"):
        infer.residuals(ji.ols, params, X, Y, kind="raw")
    with pytest.raises(ValueError, match="one target at a time"):
        infer.covariance(ji.ols, ji.ols.fit(X, np.c_[Y, Y]).params, X, np.c_[Y, Y])
    with pytest.raises(ValueError, match="names must have 3 entries"):
        infer.summary(ji.ols, ji.ols.fit(X, Y), X, Y, names=["a"])
    with pytest.raises(ValueError, match="Tweedie"):
        infer.log_likelihood(ji.glm, ji.glm.fit(X, np.abs(Y), family=families.Tweedie(1.5)).params, X, np.abs(Y),
                             fixed={"family": families.Tweedie(1.5)})  # fmt: skip


def test_summary():
    """What statsmodels prints, line by line, for several kinds of parameters."""
    fit = ji.logistic.fit(X, BINARY, tol=1e-12)
    text = infer.summary(ji.logistic, fit, X, BINARY, names=["age", "dose", "weight"])
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
        text = str(infer.summary(ji.ols, scaled, X / size, Y, names=["a" * 40, "dose of the drug", "c"]))
        table = [line for line in text.splitlines() if re.match("a|dose|c |inter| +coef", line)]
        found = [[cell for cell in re.split(r" {2,}", line) if cell] for line in table]
        assert [len(cells) for cells in found] == [6, 7, 7, 7, 7]
        assert {len(line) for line in table} == {len(text.splitlines()[0])}  # the columns end at the same place
        np.testing.assert_allclose(float(found[1][1]), scaled.params.coef[0], rtol=1e-5)
        np.testing.assert_allclose(float(found[2][6]), infer.inference(ji.ols, scaled, X / size, Y).upper[1], rtol=1e-4)


@pytest.mark.slow
def test_summary_of_classes_and_of_robust_models():
    classes = infer.summary(ji.ordinal, ji.ordinal.fit(X, CLASSES), X, CLASSES)
    assert "0/1" in classes and "2/3" in classes
    several = infer.summary(ji.multinomial, ji.multinomial.fit(X, CLASSES), X, CLASSES)
    assert "x2:3" in several and "intercept:0" in several
    robust = infer.summary(ji.huber, ji.huber.fit(X, Y), X, Y, kind="H2")
    assert "H2" in robust and "AIC" not in robust
