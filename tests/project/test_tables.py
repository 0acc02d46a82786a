"""The tables of docs/hyperparameters.md: rows run against the library that they name, as the page says it.

`ELSEWHERE` are the rows that are not run here, with the reason.
"""

from __future__ import annotations

import re
import warnings

import jax
import numpy as np
import pytest
import statsmodels.api as sm
from sklearn import kernel_ridge, linear_model, svm

import jaxinfra as ji
from jaxinfra import families, kernels, links, norms
from tests.conftest import ROOT
from tests.helpers import close, of

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(4)
N, P = 60, 3
X = RNG.standard_normal((N, P)) + 0.5
ETA = X @ np.array([1.0, -0.5, 0.2])
Y = ETA + RNG.standard_normal(N)
LABELS = (ETA + RNG.logistic(size=N) > 0.3).astype(int)
COUNTS = RNG.poisson(np.exp(0.5 * ETA)).astype(float)
CLASSES = np.digitize(ETA + RNG.logistic(size=N), [-0.5, 1.0])
W = RNG.integers(1, 4, N).astype(float)
ONE = sm.add_constant(X, prepend=False)
PAGE = (ROOT / "docs" / "hyperparameters.md").read_text(encoding="utf-8")
ROWS = {}


def row(name):
    """A row of the page, by what begins it."""

    def keep(test):
        ROWS[name] = test
        return test

    return keep


def mine(model, y, **given):
    """coef and intercept in one vector, or columns of them."""
    params = ji.check(model.fit(X, y, **{"tol": 1e-11, **given})).params
    return np.concatenate([np.atleast_2d(np.asarray(params.coef).T).T, np.atleast_1d(params.intercept)[None]]).squeeze()


def theirs(model, y=Y, w=None):
    model = model.fit(X, y, sample_weight=w) if w is not None else model.fit(X, y)
    return np.append(np.ravel(model.coef_), model.intercept_)


@row("scikit-learn `Ridge(alpha)`")
def ridge():
    close(mine(ji.ridge, Y, l2=0.3, sample_weight=W), theirs(linear_model.Ridge(alpha=0.3 * W.sum()), Y, W), 1e-9)


@row("statsmodels `OLS` and `WLS` with `.fit()`")
def least_squares():
    """Weights are counts here, precisions there: estimates agree, errors by the factor of the page."""
    found = sm.WLS(Y, ONE, weights=W).fit()
    fit = ji.ols.fit(X, Y, sample_weight=W)
    close(np.append(fit.params.coef, fit.params.intercept), found.params, 1e-10)
    se = ji.infer.inference(fit, X, Y, sample_weight=W).se
    close(se * np.sqrt((W.sum() - P - 1) / (N - P - 1)), found.bse, 1e-8)
    repeated = sm.OLS(np.repeat(Y, W.astype(int)), np.repeat(ONE, W.astype(int), 0)).fit()
    close(se, repeated.bse, 1e-8)


@row("statsmodels `.fit_regularized(L1_wt=0, alpha)`")
def regularised():
    found = sm.OLS(Y, ONE).fit_regularized(L1_wt=0, alpha=[0.3] * P + [0])
    close(mine(ji.ridge, Y, l2=0.3), found.params, 1e-9)


@row("scikit-learn `LogisticRegression(C)`, L2")
def logistic():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = linear_model.LogisticRegression(C=0.7, tol=1e-12, max_iter=10_000, class_weight={0: 1.0, 1: 2.0})
        found = theirs(peer, LABELS, W)
    total = (W * (1 + LABELS)).sum()
    close(
        mine(ji.logistic, LABELS, l2=1 / (0.7 * total), sample_weight=W, class_weight=np.array([1.0, 2.0])), found, 1e-5
    )


@row("scikit-learn `PoissonRegressor(alpha)`, `GammaRegressor`, `TweedieRegressor`")
def poisson():
    peer = linear_model.PoissonRegressor(alpha=0.2, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    close(mine(ji.glm, COUNTS, family=families.Poisson(), l2=0.2), theirs(peer, COUNTS), 1e-7)
    given = {"alpha": 0.2, "tol": 1e-12, "max_iter": 10_000, "solver": "newton-cholesky"}
    found = mine(ji.glm, COUNTS + 1, family=families.Gamma(), link=links.Log(), l2=0.2)
    close(found, theirs(linear_model.GammaRegressor(**given), COUNTS + 1), 1e-7)
    found = mine(ji.glm, COUNTS, family=families.Tweedie(1.5), l2=0.2)
    close(found, theirs(linear_model.TweedieRegressor(power=1.5, **given), COUNTS), 1e-7)


@row("SciPy and NumPy `lstsq`")
def without_intercept():
    close(ji.ols.fit(X, Y, fit_intercept=False).params.coef, np.linalg.lstsq(X, Y, rcond=None)[0], 1e-10)


@row("scikit-learn `Lasso(alpha)`, `MultiTaskLasso(alpha)`")
def lasso():
    close(mine(ji.lasso, Y, l1=0.2), theirs(linear_model.Lasso(alpha=0.2, tol=1e-12)), 1e-7)
    both = np.stack([Y, ETA], 1)
    peer = linear_model.MultiTaskLasso(alpha=0.2, tol=1e-12, max_iter=10_000).fit(X, both)
    close(mine(ji.multitask_lasso, both, l1=0.2), np.vstack([peer.coef_.T, peer.intercept_]), 1e-6)


@row("scikit-learn `ElasticNet(alpha, l1_ratio)`")
def elastic_net():
    close(
        mine(ji.elastic_net, Y, l1=0.06, l2=0.14),
        theirs(linear_model.ElasticNet(alpha=0.2, l1_ratio=0.3, tol=1e-12)),
        1e-7,
    )


@row("scikit-learn `LogisticRegression(C, l1_ratio)`")
def logistic_l1():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = linear_model.LogisticRegression(C=0.2, l1_ratio=0.3, solver="saga", tol=1e-10, max_iter=100_000)
        found = theirs(peer, LABELS)
    close(mine(ji.logistic, LABELS, l1=0.3 / (0.2 * N), l2=0.7 / (0.2 * N)), found, 1e-4)


@row("scikit-learn `LinearRegression(positive=True)`, SciPy `nnls`")
def nonnegative():
    close(mine(ji.nnls, Y), theirs(linear_model.LinearRegression(positive=True)), 1e-8)


@row("statsmodels `GLM(family, freq_weights, offset, exposure)`")
def glm():
    """Robust errors there are HC0 under every name, and freq_weights count rows as sample_weight does."""
    exposure, offset = RNG.uniform(1, 3, N), 0.1 * RNG.standard_normal(N)
    found = sm.GLM(COUNTS, ONE, family=sm.families.Poisson(), freq_weights=W, offset=offset, exposure=exposure).fit(
        tol=1e-13
    )
    at = {"sample_weight": W, "offset": offset, "exposure": exposure}
    fit = ji.check(ji.glm.fit(X, COUNTS, family=families.Poisson(), tol=1e-11, **at))
    close(np.append(fit.params.coef, fit.params.intercept), found.params, 1e-7)
    close(ji.infer.inference(fit, X, COUNTS, **at).se, found.bse, 1e-6)
    plain = sm.GLM(COUNTS, ONE, family=sm.families.Poisson())
    fit = ji.glm.fit(X, COUNTS, family=families.Poisson(), tol=1e-11)
    robust = ji.infer.inference(fit, X, COUNTS, kind="HC0").se
    for kind in ("HC0", "HC3"):
        close(robust, plain.fit(cov_type=kind, tol=1e-13).bse, 1e-6)


@row("statsmodels `MNLogit`")
def multinomial():
    found = sm.MNLogit(CLASSES, ONE).fit(disp=0, tol=1e-13, method="newton").params
    params = mine(ji.multinomial, CLASSES)
    close(params[:, 1:] - params[:, :1], found, 1e-6)


@row("scikit-learn `HuberRegressor(epsilon, alpha)`")
def huber():
    peer = linear_model.HuberRegressor(epsilon=1.5, alpha=2.0, tol=1e-10, max_iter=10_000)
    close(mine(ji.huber, Y, delta=1.5, l2=2.0 / N), theirs(peer), 1e-5)


@row("statsmodels `RLM(M=HuberT(t))`")
def robust():
    peers = sm.robust.norms
    pairs = [
        (norms.Huber(1.2), peers.HuberT(1.2)), (norms.Tukey(4.0), peers.TukeyBiweight(4.0)),
        (norms.Hampel(2.0, 4.0, 8.0), peers.Hampel(2.0, 4.0, 8.0)), (norms.Andrews(1.5), peers.AndrewWave(1.5)),
        (norms.Ramsay(0.3), peers.RamsayE(0.3)),
    ]  # fmt: skip
    for norm, peer in pairs:
        found = sm.RLM(Y, ONE, M=peer).fit(tol=1e-12, maxiter=500)
        close(mine(ji.m_estimator, Y, norm=norm), found.params, 1e-6)


@row('`cov="H1"`, `"H2"`, `"H3"`')
def robust_errors():
    fit = ji.m_estimator.fit(X, Y, norm=norms.Huber(1.345), tol=1e-12)
    for kind in ("H1", "H2", "H3"):
        found = sm.RLM(Y, ONE, M=sm.robust.norms.HuberT(1.345)).fit(tol=1e-12, maxiter=500, cov=kind)
        given = {"norm": norms.Huber(1.345)}
        close(ji.infer.inference(of(ji.m_estimator, fit.params, given), X, Y, kind=kind).se, found.bse, 1e-5)


@row("scikit-learn `QuantileRegressor(quantile, alpha)`")
def quantile():
    peer = linear_model.QuantileRegressor(quantile=0.3, alpha=0.02, solver="highs")
    close(mine(ji.quantile, Y, tau=0.3, l1=0.02), theirs(peer), 1e-6)


@row("scikit-learn `RANSACRegressor(residual_threshold")
def consensus():
    """The same rows agree where outliers are clear, and one fit of them gives the same line."""
    y = np.where(np.arange(N) % 5 == 0, 50.0, ETA + 0.01 * Y)
    peer = linear_model.RANSACRegressor(residual_threshold=0.3, max_trials=200, random_state=0).fit(X, y)
    fit = ji.check(ji.ransac.fit(X, y, key=jax.random.key(0), threshold=0.3, n_trials=200, max_iter=1))
    peer = peer.estimator_
    close(np.append(fit.params.coef, fit.params.intercept), np.append(peer.coef_, peer.intercept_), 1e-8)


@row("scikit-learn `KernelRidge(alpha)`, without intercept")
def ridge_of_kernels():
    peer = kernel_ridge.KernelRidge(alpha=0.5, kernel="rbf", gamma=0.2).fit(X, Y)
    fit = ji.check(ji.kernel_ridge.fit(X, Y, l2=0.5 / N, kernel=kernels.RBF(0.2), fit_intercept=False))
    close(fit.params.coef, peer.dual_coef_, 1e-8)


@row('R `polr(method="logistic")`')
def ordinal():
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    model = OrderedModel(CLASSES, X, distr="logit")
    found = model.fit(method="bfgs", disp=0, gtol=1e-6, skip_hessian=True)
    params = ji.check(ji.ordinal.fit(X, CLASSES, link=links.Logit(), tol=1e-10)).params
    close(params.coef, found.params[:P], 1e-5)
    close(params.thresholds, model.transform_threshold_params(found.params)[1:-1], 1e-5)


@row("scikit-learn `SVC(C, gamma, tol)`")
def machine():
    peer = svm.SVC(C=0.8, gamma=0.3, tol=1e-8).fit(X, LABELS, sample_weight=W)
    fit = ji.svc.fit(X, LABELS, C=0.8, kernel=kernels.RBF(0.3), tol=1e-8, sample_weight=W)
    close(ji.svc.decision(fit.params, X), peer.decision_function(X), 1e-5)
    assert float(kernels.scale(X)) == pytest.approx(svm.SVC(gamma="scale").fit(X, LABELS)._gamma)


@row('`gamma="scale"`, `gamma="auto"`')
def default_kernels():
    for name in ("scale", "auto"):
        peer = svm.SVC(gamma=name, tol=1e-8).fit(X, LABELS)
        fit = ji.svc.fit(X, LABELS, kernel=kernels.RBF(getattr(kernels, name)(X)), tol=1e-8)
        close(ji.svc.decision(fit.params, X), peer.decision_function(X), 1e-5)


@row("`dual_coef_`, `intercept_`")
def coefficients():
    peer = svm.SVC(gamma=0.3, tol=1e-8).fit(X, LABELS)
    params = ji.svc.fit(X, LABELS, kernel=kernels.RBF(0.3), tol=1e-8).params
    close(np.asarray(params.coef)[peer.support_], peer.dual_coef_[0], 1e-5)
    close(np.append(np.asarray(params.coef).sum(), params.intercept), np.append(0, peer.intercept_), 1e-5)


@row('`kernel="poly", degree, gamma, coef0`')
def other_kernels():
    peer = svm.SVC(kernel="poly", degree=2, gamma=0.3, coef0=1.0, tol=1e-8).fit(X, LABELS)
    fit = ji.svc.fit(X, LABELS, kernel=kernels.Polynomial(2, 0.3, 1.0), tol=1e-8)
    close(ji.svc.decision(fit.params, X), peer.decision_function(X), 1e-5)


@row("`NuSVC(nu)`, `SVR(C, epsilon)`")
def other_machines():
    rbf = {"kernel": kernels.RBF(0.3), "tol": 1e-8}
    pairs = [
        (ji.nu_svc, {"nu": 0.4}, LABELS, svm.NuSVC(nu=0.4, gamma=0.3, tol=1e-8)),
        (ji.svr, {"C": 0.8, "epsilon": 0.2}, Y, svm.SVR(C=0.8, epsilon=0.2, gamma=0.3, tol=1e-8)),
        (ji.nu_svr, {"C": 0.8, "nu": 0.4}, Y, svm.NuSVR(C=0.8, nu=0.4, gamma=0.3, tol=1e-8)),
    ]
    for model, given, y, peer in pairs:
        peer.fit(X, y)
        value = peer.decision_function(X) if hasattr(peer, "decision_function") else peer.predict(X)
        close(model.decision(ji.check(model.fit(X, y, **given, **rbf)).params, X), value, 1e-5)
    peer = svm.OneClassSVM(nu=0.4, gamma=0.3, tol=1e-8).fit(X)
    close(ji.one_class.decision(ji.one_class.fit(X, nu=0.4, **rbf).params, X), peer.decision_function(X), 1e-5)


@row("`class_weight`, `sample_weight`")
def weights_of_classes():
    """`balanced` counts weights here and rows there; they are one where there are no weights."""
    peer = svm.SVC(gamma=0.3, tol=1e-8, class_weight="balanced").fit(X, LABELS)
    fit = ji.svc.fit(X, LABELS, kernel=kernels.RBF(0.3), tol=1e-8, class_weight="balanced")
    close(ji.svc.decision(fit.params, X), peer.decision_function(X), 1e-5)
    counts = np.array([(W * (k == LABELS)).sum() for k in (0, 1)])
    given = {int(k): W.sum() / 2 / counts[k] for k in (0, 1)}
    peer = svm.SVC(gamma=0.3, tol=1e-8, class_weight=given).fit(X, LABELS, sample_weight=W)
    fit = ji.svc.fit(X, LABELS, kernel=kernels.RBF(0.3), tol=1e-8, class_weight="balanced", sample_weight=W)
    close(ji.svc.decision(fit.params, X), peer.decision_function(X), 1e-5)


@row('statsmodels `cov_type="HC3"`')
def robust_covariances():
    fit = ji.ols.fit(X, Y)
    groups = np.arange(N) // 5
    for kind, given in [("HC0", {}), ("HC1", {}), ("HC2", {}), ("HC3", {}), ("cluster", {"groups": groups})]:
        found = sm.OLS(Y, ONE).fit(cov_type=kind, **({"cov_kwds": given} if given else {})).bse
        close(ji.infer.inference(fit, X, Y, kind=kind, **given).se, found, 1e-8)


@pytest.mark.parametrize("name", ROWS, ids=lambda name: re.sub(r"\W+", "_", name)[:40])
def test_row(name):
    assert f"| {name}" in PAGE, "the page has no such row"
    ROWS[name]()


ELSEWHERE = {
    "elsewhere": "the heads of the tables",
    "---": "and the lines below them",
    "glmnet": "R is not here",
    "R `rlm": "the same; test_robust has its published numbers",
    "Stata": "not here; test_infer_published has its numbers",
    "celer": "its compiler takes 46 s: not run",
    "`LinearSVC": "penalises the intercept; test_linear_svm holds both objectives against each other",
    "`probability=True`": "libsvm's folds are random; test_svm has the method",
    "statsmodels `scale_est": "test_robust, with d",
    "scikit-learn `TheilSen": "another estimator, as the row says",
}


def test_every_row():
    """Each is run here or has a reason, so that a new one is not forgotten."""
    table = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")]
    assert not [name for name in table if not name.startswith((*ROWS, *ELSEWHERE))]
