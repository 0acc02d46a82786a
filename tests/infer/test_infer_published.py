"""Inference: the published numbers of Stata, SAS and gretl, and statsmodels itself."""

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
from tests.helpers import close, of
from tests.inference_rows import BINARY, CLASSES, N, P, V, X, Y, groups_of

sm = pytest.importorskip("statsmodels.api", reason="statsmodels, which ships the published results, is not installed")
import statsmodels
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.regression.tests.results import (
    results_grunfeld_ols_robust_cluster,
    results_macro_ols_robust,
    results_quantile_regression,
)


@pytest.mark.slow
def test_stata_hc1_and_gretl():
    """Macroeconomic data: `regress, robust` of Stata, and gretl's leverages, residuals and influences."""
    from statsmodels.datasets import macrodata

    data, result = macrodata.load_pandas().data, results_macro_ols_robust.results_hc0
    growth, y = (400 * np.diff(np.log(data[name].to_numpy())) for name in ("realgdp", "realinv"))
    Z = np.c_[growth, data["realint"].to_numpy()[:-1]]
    params = ji.ols.fit(Z, y).params
    found = infer.inference(of(ji.ols, params), Z, y, kind="HC1")
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
    r, h = infer.residuals(of(ji.ols, params), Z, y), infer.leverage(of(ji.ols, params), Z, y)
    np.testing.assert_allclose(r, table[:, 0], rtol=1e-4)
    np.testing.assert_allclose(h, table[:, 1], atol=5.1e-4)
    np.testing.assert_allclose(r * h / (1 - h), table[:, 2], rtol=1e-4, atol=1e-5)
    dffits = infer.residuals(of(ji.ols, params), Z, y, kind="studentized") * jnp.sqrt(h / (1 - h))
    np.testing.assert_allclose(dffits, table[:, 3], atol=5.1e-4)


def test_stata_clusters():
    """Grunfeld's investments: `regress, vce(cluster company)`."""
    from statsmodels.datasets import grunfeld

    data, result = grunfeld.load_pandas().data, results_grunfeld_ols_robust_cluster.results_cluster
    data = data[~data["firm"].isin(["American Steel"])] if len(data) == 220 else data
    Z, y = data[["value", "capital"]].to_numpy(float), data["invest"].to_numpy(float)
    firms = np.unique(data["firm"].to_numpy(), return_inverse=True)[1]
    found = infer.inference(ji.ols.fit(Z, y), Z, y, kind="cluster", groups=firms)
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
    found = infer.inference(of(ji.quantile, params, {"tau": tau}), Z, y, kind="iid")
    np.testing.assert_allclose(found.estimate, result.table[:, 0], rtol=2e-6)
    np.testing.assert_allclose(found.se, result.table[:, 1], rtol=1e-3)
    np.testing.assert_allclose(found.statistic, result.table[:, 2], rtol=1e-2)
    np.testing.assert_allclose(np.c_[found.lower, found.upper], result.table[:, -2:], rtol=1e-3)
    np.testing.assert_allclose(found.covariance.dispersion, result.sparsity, rtol=1e-3)
    theirs = sm.QuantReg(y, np.c_[Z, np.ones(len(y))]).fit(q=tau, vcov="robust", p_tol=1e-10, max_iter=5000)
    kernel = infer.inference(of(ji.quantile, params, {"tau": tau}), Z, y, kind="kernel")
    np.testing.assert_allclose(kernel.se, theirs.bse, rtol=1e-2)  # which of the two rows at 0 is above is rounding


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
        found = infer.covariance(of(ji.m_estimator, params, {"norm": norm}), Z, y, kind=kind).matrix
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=2e-3)
        theirs = sm.RLM(y, np.c_[Z, np.ones(21)], M=getattr(sm.robust.norms, {"Huber": "HuberT"}.get(name, name))())
        fit = theirs.fit(cov=kind, tol=1e-13, maxiter=2000)
        np.testing.assert_allclose(found, fit.bcov_scaled, rtol=1e-7, atol=1e-9)


GLMS = {
    "poisson": (families.Poisson(), None, sm.families.Poisson(), lambda rng, mu: rng.poisson(mu)),
    "gamma": (
        families.Gamma(), links.Log(), sm.families.Gamma(sm.families.links.Log()), lambda rng, mu: rng.gamma(3, mu / 3)
    ),
    "probit": (
        families.Binomial(), links.Probit(), sm.families.Binomial(sm.families.links.Probit()),
        lambda rng, mu: (rng.uniform(size=N) < mu / (1 + mu)) * 1.0,
    ),
    "gaussian": (families.Gaussian(), None, sm.families.Gaussian(), lambda rng, mu: mu + rng.standard_normal(N)),
    "inverse_gaussian": (
        families.InverseGaussian(), links.Log(), sm.families.InverseGaussian(sm.families.links.Log()),
        lambda rng, mu: rng.wald(mu, 3),
    ),
    "negative_binomial": (
        families.NegativeBinomial(0.5), links.Log(), sm.families.NegativeBinomial(sm.families.links.Log(), 0.5),
        lambda rng, mu: rng.poisson(mu),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "gamma" else pytest.mark.slow) for name in GLMS]
)
def test_statsmodels_glm(name):
    """Errors, dispersion, likelihood, criteria, residuals, leverage and Cook's distances."""
    family, link, theirs, draw = GLMS[name]
    y = np.asarray(draw(np.random.default_rng(12), np.exp(X @ [0.3, 0.2, -0.1])), float)
    offset = np.linspace(-0.2, 0.2, N)
    fixed = {"family": family, "link": link}
    ours = ji.check(ji.glm.fit(X, y, offset=offset, tol=1e-12, **fixed))
    given = {"offset": offset}
    model = sm.GLM(y, V, family=theirs, offset=offset)
    fit = model.fit(tol=1e-14, maxiter=200)
    for kind in ("model", "HC0", "cluster"):
        extra = {"model": {}, "HC0": {"cov_type": "HC0"}}.get(kind, {"cov_type": kind, "cov_kwds": groups_of(kind)})
        expected = model.fit(tol=1e-14, maxiter=200, **extra)
        found = infer.inference(ours, X, y, kind=kind, use_t=False, **given, **groups_of(kind))
        close(found.covariance.matrix, np.asarray(expected.cov_params()), 1e-7, kind)
        close(found.p_value, expected.pvalues, 1e-6, kind)
        close(np.c_[found.lower, found.upper], expected.conf_int(), 1e-7, kind)
    close(found.covariance.dispersion, fit.scale, 1e-8)
    # Of a Gaussian model statsmodels takes the maximum over the scale, as ours without one.
    scale = {"dispersion": fit.scale} if name in ("gamma", "inverse_gaussian") else {}
    close(infer.log_likelihood(ours, X, y, **given, **scale), fit.llf, 1e-9)
    close(infer.aic(ours, X, y, **given, **scale), fit.aic, 1e-9)
    close(infer.bic(ours, X, y, **given, **scale), fit.bic_llf, 1e-9)
    # Against the first column alone, the others 0; of the same shape, so of the same programs.
    less = X * [1.0, 0.0, 0.0]
    smaller = ji.glm.fit(less, y, offset=offset, tol=1e-12, **fixed)
    found = infer.likelihood_ratio_test(smaller, less, ours, X, y, **given, **scale)
    theirs = sm.GLM(y, V[:, [0, 3]], family=theirs, offset=offset).fit(tol=1e-14, maxiter=200)
    scaled = (theirs.deviance - fit.deviance) / fit.scale
    close(found.statistic, 2 * (fit.llf - theirs.llf) if name == "gaussian" else scaled, 1e-7)
    assert found.df == 2 and found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 2), rel=1e-8)
    if scale:  # that of the larger model
        close(infer.likelihood_ratio_test(smaller, less, ours, X, y, **given).statistic, scaled, 1e-7)
    for kind in ("response", "pearson", "deviance", "working"):
        found = infer.residuals(ours, X, y, kind=kind, **given)
        close(found, getattr(fit, f"resid_{kind}"), 1e-7, kind)
    around = fit.get_influence(observed=False)
    close(infer.leverage(ours, X, y, **given), around.hat_matrix_diag, 1e-7)
    close(infer.cooks_distance(ours, X, y, **given), around.cooks_distance[0], 1e-6)
    close(infer.residuals(ours, X, y, kind="standardized", **given), around.resid_studentized, 1e-7)


@pytest.mark.slow
def test_statsmodels_classes():
    """Logit, and models of several classes, whose parameters are others there."""
    params = ji.logistic.fit(X, BINARY, tol=1e-12).params
    theirs = sm.Logit(BINARY, V).fit(disp=0, tol=1e-13)
    found = infer.inference(of(ji.logistic, params), X, BINARY)
    close(found.covariance.matrix, theirs.cov_params(), 1e-8)
    ll = infer.log_likelihood(of(ji.logistic, params), X, BINARY)
    close(ll, theirs.llf, 1e-10)
    close((infer.aic(of(ji.logistic, params), X, BINARY), infer.bic(of(ji.logistic, params), X, BINARY)),
          (theirs.aic, theirs.bic), 1e-10)  # fmt: skip
    null = ji.logistic.fit(0 * X, BINARY)
    test = infer.likelihood_ratio_test(of(ji.logistic, null), 0 * X, of(ji.logistic, params), X, BINARY)
    close(test.p_value, theirs.llr_pvalue, 1e-8)
    assert (test.df, test.df_denominator) == (3, np.inf)
    again = infer.likelihood_ratio_test(of(ji.logistic, params), X, of(ji.logistic, params), X, BINARY)
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
        C = np.asarray(infer.covariance(of(ji.multinomial, params), X, CLASSES, kind=kind).matrix).reshape(q, K, q, K)
        found = np.einsum("ac,vcwd,bd->avbw", A, C, A).reshape(q * (K - 1), -1)
        expected = (
            sm.MNLogit(CLASSES, V).fit(disp=0, tol=1e-13, maxiter=100, cov_type="HC0") if kind == "HC0" else theirs
        )
        close(found, np.asarray(expected.cov_params()), 1e-6, kind)
    close(infer.log_likelihood(of(ji.multinomial, params), X, CLASSES), theirs.llf, 1e-10)
    found = infer.aic(of(ji.multinomial, params), X, CLASSES), infer.bic(of(ji.multinomial, params), X, CLASSES)
    close(found, (theirs.aic, theirs.bic), 1e-9)  # K - 1 columns are free

    for name, link in (("logit", links.Logit()), ("probit", links.Probit())):
        params = ji.ordinal.fit(X, CLASSES, link=link, tol=1e-12).params
        theirs = OrderedModel(CLASSES, X, distr=name).fit(method="newton", disp=0, tol=1e-8)
        found = infer.inference(of(ji.ordinal, params, {"link": link}), X, CLASSES)
        close(found.se[:P], theirs.bse[:P], 1e-6)  # their thresholds are differences of logarithms
        close(infer.log_likelihood(of(ji.ordinal, params, {"link": link}), X, CLASSES), theirs.llf, 1e-9)
        close(infer.aic(of(ji.ordinal, params, {"link": link}), X, CLASSES), theirs.aic, 1e-9)


@pytest.mark.slow
def test_criteria_of_least_squares():
    """From the `Fit` as it comes; nested by columns or by an offset; a penalty counts for less than a parameter."""
    fit, theirs = ji.ols.fit(X, Y), sm.OLS(Y, V).fit()
    close((infer.aic(fit, X, Y), infer.bic(fit, X, Y)), (theirs.aic, theirs.bic), 1e-10)
    close(infer.inference(fit, X, Y).se, theirs.bse, 1e-9)
    both = jax.vmap(lambda y: infer.aic(ji.ols.fit(X, y), X, y))(np.stack([Y, Y**2]))
    close(tuple(both), (sm.OLS(Y, V).fit().aic, sm.OLS(Y**2, V).fit().aic), 1e-10)
    less = X * [1.0, 0.0, 1.0]
    test = infer.likelihood_ratio_test(ji.ols.fit(less, Y), less, fit, X, Y)
    close(test[:3], theirs.compare_lr_test(sm.OLS(Y, V[:, [0, 2, 3]]).fit()), 1e-9)
    slope = 2.5 * X[:, 1]  # the hypothesis that it is 2.5
    test = infer.likelihood_ratio_test(
        ji.ols.fit(less, Y, offset=slope), less, fit, X, Y, offset_smaller=slope, offset=0 * slope
    )
    restricted = sm.OLS(Y - slope, V[:, [0, 2, 3]]).fit()
    close((test.statistic, test.df), (2 * (theirs.llf - restricted.llf), 1.0), 1e-9)
    none = [ji.ridge.fit(rows, Y, l2=0.0) for rows in (less, X)]
    expected = infer.likelihood_ratio_test(ji.ols.fit(less, Y), less, fit, X, Y)
    close(infer.likelihood_ratio_test(none[0], less, none[1], X, Y)[:3], expected[:3], 1e-9)
    origin = ji.ols.fit(X, Y, fit_intercept=False)
    test = infer.likelihood_ratio_test(origin, X, fit, X, Y)
    close(test[:3], theirs.compare_lr_test(sm.OLS(Y, X).fit()), 1e-9)
    # Weights are counts.
    w = np.arange(N) % 3
    weighted = ji.ols.fit(X, Y, sample_weight=w * 1.0)
    theirs = sm.OLS(np.repeat(Y, w), np.repeat(V, w, 0)).fit()
    found = [criterion(weighted, X, Y, sample_weight=w * 1.0) for criterion in (infer.aic, infer.bic)]
    close(tuple(found), (theirs.aic, theirs.bic), 1e-9)
    ridge = ji.ridge.fit(X, Y, l2=0.3)
    hat = X - X.mean(0)
    trace = 1 + np.trace(np.linalg.solve(hat.T @ hat + 0.3 * N * np.eye(P), hat.T @ hat))
    ll = infer.log_likelihood(ridge, X, Y)
    close(infer.aic(ridge, X, Y), 2 * trace - 2 * ll, 1e-10)
    with pytest.raises(ValueError, match="penalised fits have no such test"):
        infer.likelihood_ratio_test(ridge, X, ridge, X, Y)
    with pytest.raises(ValueError, match=r"likelihood_ratio_test: smaller: X and y must have the same number of rows"):
        infer.likelihood_ratio_test(fit, X[1:], fit, X, Y)
