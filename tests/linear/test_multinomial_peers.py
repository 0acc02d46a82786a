"""Multinomial logistic regression: scikit-learn, and the published numbers of Stata and glmnet."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import multinomial
from tests.conftest import SHARED
from tests.multinomials import close, problem, scale
from tests.references import multinomial as reference


@pytest.mark.slow
def test_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, y = problem(n=200)
    w = np.random.default_rng(1).uniform(0.5, 2, len(y))
    for l2 in (1e-3, 0.1):
        peer = linear_model.LogisticRegression(C=1 / (l2 * w.sum()), tol=1e-12, solver="newton-cholesky", max_iter=1000)
        peer.fit(X, y, w)
        fit = ji.check(multinomial.fit(X, y, l2=l2, sample_weight=w))
        close(fit.params, (peer.coef_.T, peer.intercept_), 1e-6)
        np.testing.assert_allclose(multinomial.predict_proba(fit.params, X), peer.predict_proba(X), atol=1e-7)
        assert (np.asarray(multinomial.predict(fit.params, X)) == peer.predict(X)).all()
        assert multinomial.predict(fit.params, X).dtype == jnp.int32
    balanced = linear_model.LogisticRegression(C=1 / (0.01 * len(y)), class_weight="balanced", tol=1e-12,
                                               solver="newton-cholesky", max_iter=1000).fit(X, y)  # fmt: skip
    fit = multinomial.fit(X, y, l2=0.01, class_weight="balanced")
    close(fit.params, (balanced.coef_.T, balanced.intercept_), 1e-6)


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of its argument `penalty`
@pytest.mark.slow
def test_scikit_learn_l1():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, y = problem(n=200)
    X = (X - X.mean(0)) / X.std(0)
    for l1, l2 in ((0.03, 0.0), (0.02, 0.02)):
        C, ratio = 1 / ((l1 + l2) * len(y)), l1 / (l1 + l2)
        peer = linear_model.LogisticRegression(
            C=C, l1_ratio=ratio, solver="saga", tol=1e-12, max_iter=20000, random_state=0, penalty="elasticnet"
        ).fit(X, y)
        fit = ji.check(multinomial.fit(X, y, l1=l1, l2=l2))
        close((fit.params.coef,), (peer.coef_.T,), 1e-6)
        assert ((np.asarray(fit.params.coef) == 0) == (peer.coef_.T == 0)).all()


@pytest.mark.slow
def test_two_classes_are_binary_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, y = problem(K=2)
    binary = linear_model.LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(X, y)
    fit = ji.check(multinomial.fit(X, y))
    coef, intercept = (np.asarray(v)[..., 1] - np.asarray(v)[..., 0] for v in fit.params)
    close((coef, intercept), (binary.coef_[0], binary.intercept_[0]), 1e-6)
    # Half of the squared penalty goes to each class: l2 on coef (p, 2) is l2 / 2 on their difference.
    l2 = 0.05
    binary = linear_model.LogisticRegression(C=2 / (l2 * len(y)), tol=1e-12, solver="newton-cholesky").fit(X, y)
    coef = np.asarray(multinomial.fit(X, y, l2=l2).params.coef)
    close((coef[:, 1] - coef[:, 0],), (binary.coef_[0],), 1e-6)


@pytest.mark.slow
def test_statsmodels_published_numbers():
    """anes96 with four of its columns, as Stata's mlogit has them in statsmodels' own results."""
    results = pytest.importorskip(
        "statsmodels.discrete.tests.results.results_discrete", reason="statsmodels is not installed"
    )
    anes96 = pytest.importorskip("statsmodels.datasets.anes96", reason="statsmodels is not installed")
    published = results.Anes().mnlogit_basezero
    data = anes96.load_pandas()
    X = data.exog[["logpopul", "selfLR", "age", "educ", "income"]].to_numpy()
    y = data.endog.to_numpy().astype(int)
    fit = ji.check(multinomial.fit(X, y))
    coef = np.vstack([np.asarray(fit.params.intercept)[None], np.asarray(fit.params.coef)])
    expected = np.asarray(published.params)
    base = coef[:, 1:] - coef[:, :1]
    # The published order of columns has the constant last.
    np.testing.assert_allclose(np.vstack([base[1:], base[:1]]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(-len(y) * float(fit.info.objective), published.llf, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of its argument `penalty`
def test_glmnet_example():
    folder = SHARED / "glmnet"
    if not folder.is_dir():
        pytest.skip(f"glmnet's examples are not at {folder.relative_to(SHARED.parents[1])} beside the project")
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X = np.loadtxt(folder / "MultinomialExampleX.dat", delimiter=",")
    y = np.loadtxt(folder / "MultinomialExampleY.dat").astype(int)
    y = y - y.min()
    n = len(y)
    peer = linear_model.LogisticRegression(C=1 / (0.02 * n), tol=1e-12, solver="newton-cholesky", max_iter=1000)
    peer.fit(X, y)
    fit = ji.check(multinomial.fit(X, y, l2=0.02))
    close(fit.params, (peer.coef_.T, peer.intercept_), 1e-6)

    # Its L1 path: every certificate again in float64, and scikit-learn at one of the penalties.
    largest = float(multinomial.l1_max(X, y))
    l1 = largest * np.geomspace(1, 0.05, 8)
    path = multinomial.path(X, y, l1=l1)
    assert (np.asarray(path.info.status) == ji.Status.CONVERGED).all()
    assert (np.asarray(path.params.coef[0]) == 0).all()
    assert (np.asarray(path.params.coef[1]) != 0).any()
    for i in range(len(l1)):
        g, gb = reference.gradient(path.params.coef[i], path.params.intercept[i], X, y, l1=l1[i])
        assert np.abs((g - X.mean(0)[:, None] * gb[None]) / scale(X, y, 3)).max() < 2e-8
    peer = linear_model.LogisticRegression(
        C=1 / (l1[4] * n), l1_ratio=1.0, penalty="elasticnet", solver="saga", tol=1e-10, max_iter=5000, random_state=0
    ).fit(X, y)
    close((path.params.coef[4],), (peer.coef_.T,), 1e-5)
