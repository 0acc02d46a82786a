"""Scores by name in `select.cross_validate`, grids over any array of a hyper-parameter, and every model through it."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

import jaxinfra as ji
from jaxinfra import select
from jaxinfra.kernels import RBF, Polynomial

N = 60
W = np.random.default_rng(5).uniform(0.5, 2, N)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 4))
    eta = X @ [1.5, -1.0, 0.0, 0.0]
    noise = rng.logistic(size=N)
    return X, {"real": eta + 0.3 * noise, "binary": (eta + noise > 0).astype(int),
               "classes": np.digitize(eta + noise, [-1, 1]), "positive": np.exp(0.3 * eta + 0.1 * noise)}  # fmt: skip


def folds_of(y):
    return select.kfold(N, 3, key=jax.random.key(0), stratify=None if y.dtype.kind == "f" else y)


def labelled(f):
    """A metric of labels."""
    return lambda model, params, X, y, w: f(y, np.asarray(model.predict(params, X)), sample_weight=w)


def ranked(model, params, X, y, w):
    if model is ji.multinomial:  # one against the rest
        p = np.asarray(model.predict_proba(params, X))
        return np.mean([metrics.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in range(3)])
    return metrics.roc_auc_score(y, np.asarray(model.decision(params, X)), sample_weight=w)


def likelihood(model, params, X, y, w):
    return metrics.log_loss(y, np.asarray(model.predict_proba(params, X)), sample_weight=w)


def f1(model, params, X, y, w):
    guess = np.asarray(model.predict(params, X))
    return metrics.f1_score(y, guess, sample_weight=w, average="binary" if y.max() == 1 else "macro")


def hinge(model, params, X, y, w):
    return metrics.hinge_loss(2 * y - 1, np.asarray(model.decision(params, X)), sample_weight=w)


def pinball(model, params, X, y, w):
    return metrics.mean_pinball_loss(y, np.asarray(model.predict(params, X)), sample_weight=w, alpha=0.3)


def gamma(model, params, X, y, w):
    return metrics.mean_gamma_deviance(y, np.asarray(model.predict(params, X)), sample_weight=w)


OLS, LOGISTIC = (ji.ridge, "real", {"l2": [1.0, 0.01]}), (ji.logistic, "binary", {"l2": [0.3, 0.01]})
MULTINOMIAL, SVC = (ji.multinomial, "classes", {"l2": [0.3, 0.01]}), (ji.svc, "binary", {"C": [0.1, 1.0]})
GLM = (ji.glm, "positive", {"l2": [0.3, 0.01]}, {"family": ji.families.Gamma(), "link": ji.links.Log()})
QUANTILE = (ji.quantile, "real", {"l1": [0.2, 0.01]}, {"tau": 0.3})
SLOW = pytest.mark.slow


@pytest.mark.parametrize("case, score, expected", [
    pytest.param(OLS, "squared_error", labelled(metrics.mean_squared_error), id="squared_error", marks=SLOW),
    pytest.param(OLS, "absolute_error", labelled(metrics.mean_absolute_error), id="absolute_error", marks=SLOW),
    pytest.param(OLS, "r2", labelled(metrics.r2_score), id="r2"),
    pytest.param(QUANTILE, "pinball", pinball, id="pinball", marks=SLOW),
    pytest.param(GLM, "deviance", gamma, id="deviance", marks=SLOW),
    pytest.param(LOGISTIC, "log_loss", likelihood, id="log_loss", marks=SLOW),
    pytest.param(LOGISTIC, "accuracy", labelled(metrics.accuracy_score), id="accuracy"),
    pytest.param(LOGISTIC, "balanced_accuracy", labelled(metrics.balanced_accuracy_score), id="balanced", marks=SLOW),
    pytest.param(LOGISTIC, "f1", f1, id="f1", marks=SLOW),
    pytest.param(LOGISTIC, "auc", ranked, id="auc", marks=SLOW),
    pytest.param(MULTINOMIAL, "log_loss", likelihood, id="log_loss, three classes", marks=SLOW),
    pytest.param(MULTINOMIAL, "accuracy", labelled(metrics.accuracy_score), id="accuracy, three classes", marks=SLOW),
    pytest.param(MULTINOMIAL, "f1", f1, id="f1, three classes", marks=SLOW),
    pytest.param(MULTINOMIAL, "auc", ranked, id="auc, three classes", marks=SLOW),
    pytest.param(SVC, "hinge", hinge, id="hinge", marks=SLOW),
    pytest.param(SVC, None, labelled(metrics.accuracy_score), id="the accuracy of a machine by default"),
])  # fmt: skip
def test_named_scores_are_those_of_sklearn(data, case, score, expected):
    """Fitted and scored fold by fold in Python, with weights; rows of weight 0 hold NaN."""
    X, targets = data
    model, kind, grid, *fixed = case
    fixed, y, folds = (fixed or [{}])[0], targets[kind], folds_of(targets[kind])
    ((name, values),) = grid.items()
    w = np.where(np.arange(N) == 7, 0, W)
    spoiled = np.where(np.arange(N)[:, None] == 7, np.nan, X)
    cv = select.cross_validate(model, spoiled, y, grid=grid, folds=folds, fixed=fixed, sample_weight=w, score=score)
    scores = np.asarray(cv.score)
    assert scores.shape == (2, 3)
    for i, value in enumerate(values):
        for j, train in enumerate(np.asarray(folds)):
            fit = ji.check(model.fit(X, y, sample_weight=w * train, **{name: value}, **fixed))
            out = (train == 0) & (w > 0)
            want = expected(model, fit.params, X[out], y[out], w[out])
            assert scores[i, j] == pytest.approx(want, rel=1e-6), (value, j)
    rises = score in ("r2", "accuracy", "balanced_accuracy", "f1", "auc", None)
    assert int(cv.best) == (np.argmax if rises else np.argmin)(np.asarray(cv.mean))
    assert cv.grid.at(int(cv.best))[name] == values[int(cv.best)]


MODELS = {
    "ols": ({"tol": [1e-6, 1e-9]}, "real"),
    "ridge": ({"l2": [1.0, 0.1]}, "real"),
    "lasso": ({"l1": [1.0, 0.1]}, "real"),
    "elastic_net": ({"l1": [1.0, 0.1], "l2": [0.1]}, "real"),
    "group_lasso": ({"l1": [1.0, 0.1]}, "real"),
    "multitask_lasso": ({"l1": [1.0, 0.1]}, "real"),
    "nnls": ({"l2": [1.0, 0.1]}, "real"),
    "logistic": ({"l2": [1.0, 0.1]}, "binary"),
    "glm": ({"l2": [1.0, 0.1]}, "positive"),
    "multinomial": ({"l2": [1.0, 0.1]}, "classes"),
    "huber": ({"l2": [1.0, 0.1]}, "real"),
    "m_estimator": ({"norm": ji.norms.Huber(np.array([1.0, 2.0]))}, "real"),
    "theil_sen": ({"max_iter": [400, 500]}, "real"),
    "ransac": ({"threshold": [1.0, 2.0]}, "real"),
    "quantile": ({"tau": [0.3, 0.5]}, "real"),
    "ordinal": ({"l2": [1.0, 0.1]}, "classes"),
    "svc": ({"C": [0.1, 1.0], "kernel": RBF(np.array([0.5, 0.1]))}, "classes"),
    "nu_svc": ({"nu": [0.3, 0.5]}, "binary"),
    "linear_svm": ({"C": [0.1, 1.0]}, "classes"),
    "svr": ({"epsilon": [0.1, 0.5]}, "real"),
    "nu_svr": ({"nu": [0.3, 0.5]}, "real"),
    "kernel_ridge": ({"l2": [1.0, 0.1], "kernel": Polynomial(2, np.array([0.5, 0.1]), 1.0)}, "real"),
    "one_class": ({"nu": [0.3, 0.5]}, "binary"),
}
NEEDS = {
    "group_lasso": {"groups": np.array([0, 0, 1, 1])},
    "glm": {"family": ji.families.Gamma(), "link": ji.links.Log()},
    "theil_sen": {"key": jax.random.key(0), "n_subsets": 100},
    "ransac": {"key": jax.random.key(0), "n_trials": 100},
}
NO_DEFAULT = {"m_estimator": "absolute_error", "quantile": "pinball", "one_class": "accuracy"}


def models():
    """The modules at the top that fit."""
    return [name for name in vars(ji) if inspect.ismodule(m := getattr(ji, name)) and hasattr(m, "fit")]


def test_every_model_is_here():
    assert sorted(MODELS) == sorted(name for name in models() if name not in ("nn", "calibrate"))


@pytest.mark.parametrize("name", [pytest.param(m, marks=() if m in ("nnls", "svc") else SLOW) for m in MODELS])
def test_every_model_is_cross_validated(data, name):
    """With its default score, or with one by name where the grid leaves no default."""
    X, targets = data
    grid, kind = MODELS[name]
    model, y = getattr(ji, name), targets[kind]
    given = {"fixed": NEEDS.get(name), "score": NO_DEFAULT.get(name)}
    if name in NO_DEFAULT:
        with pytest.raises(TypeError, match=rf"{name}.*give score, such as '"):
            select.cross_validate(model, X, y, grid=grid, folds=folds_of(y), fixed=NEEDS.get(name))
    if name == "multitask_lasso":
        y = np.stack([y, -y], 1)
    cv = select.cross_validate(model, X, y, grid=grid, folds=folds_of(targets[kind]), **given)
    m = np.prod([len(jax.tree.leaves(v)[0]) if not isinstance(v, list) else len(v) for v in grid.values()])
    assert cv.score.shape == (m, 3) and (np.asarray(cv.status) == ji.Status.CONVERGED).all()
    assert np.isfinite(np.asarray(cv.score)).all()
    needed = {"n_classes": 3} if name in ("svc", "linear_svm", "multinomial", "ordinal") else {}
    best = cv.grid.at(int(cv.best))
    targets = () if name == "one_class" else (y,)
    assert ji.check(model.fit(X, *targets, **best, **needed, **NEEDS.get(name, {}))).params is not None


def test_grids_over_a_kernel_are_products(data):
    X, targets = data
    y, C, gammas = targets["binary"], np.array([0.1, 1.0, 10.0]), np.array([0.5, 0.1])
    cv = select.cross_validate(ji.svc, X, y, grid={"C": C, "kernel": RBF(gammas)}, folds=folds_of(y))
    assert cv.score.shape == (6, 3)
    np.testing.assert_array_equal(cv.grid["C"], np.repeat(C, 2))
    np.testing.assert_array_equal(cv.grid["kernel"].gamma, np.tile(gammas, 3))
    one = select.paired({"C": C[:2], "kernel": RBF(gammas)})
    assert jax.tree.structure(jax.tree.map(jnp.asarray, one)) == jax.tree.structure(one)
    pairs = select.cross_validate(ji.svc, X, y, grid=one, folds=folds_of(y))
    np.testing.assert_allclose(pairs.score, np.asarray(cv.score)[[0, 3]], rtol=1e-6)


@SLOW
def test_gradient_of_the_loss_by_a_leaf_of_a_kernel(data):
    X, targets = data
    y, folds = targets["binary"], folds_of(targets["binary"])

    def loss(gamma):
        fixed = {"tol": 1e-10, "kernel": RBF(gamma)}
        return select.cv_loss(ji.svc, X, y, hyper={"C": 1.0}, folds=folds, fixed=fixed, score="hinge")

    slope = jax.grad(loss)(0.3)
    assert slope == pytest.approx(float(loss(0.3 + 1e-5) - loss(0.3 - 1e-5)) / 2e-5, rel=1e-4)
    r2 = {"hyper": {"l2": 0.1}, "folds": folds}
    value = select.cross_validate(ji.ridge, X, targets["real"], grid={"l2": [0.1]}, folds=folds, score="r2").mean[0]
    assert select.cv_loss(ji.ridge, X, targets["real"], score="r2", **r2) == pytest.approx(1 - float(value))


@pytest.mark.parametrize("model, kind, given, error, message", [
    (ji.svc, "binary", {"grid": {"C": [1.0]}, "score": "acc"}, ValueError, "score must be one of .*got 'acc'"),
    (ji.svc, "binary", {"grid": {"C": [1.0]}, "score": 3}, TypeError, "score must be a name, a function or"),
    (ji.svc, "binary", {"grid": {"C": [1.0]}, "score": "log_loss"}, TypeError, "svc has no probabilities of classes"),
    (ji.svc, "binary", {"grid": {"C": [1.0]}, "score": "r2"}, TypeError, "svc predicts classes: take accuracy"),
    (ji.svc, "classes", {"grid": {"C": [1.0]}, "score": "auc"}, TypeError, "a decision for each pair of classes"),
    (ji.ridge, "real", {"grid": {"l2": [1.0]}, "score": "auc"}, TypeError, "ridge predicts numbers, no classes"),
    (ji.ridge, "real", {"grid": {"l2": [1.0]}, "score": "deviance"}, TypeError, "no likelihood: take squared_er"),
    (ji.svc, "binary", {"grid": {"kernel": RBF(0.1)}}, ValueError, r"kernel must have a leading axis.*got \(\)"),
    (ji.svc, "binary", {"grid": {}}, ValueError, "there must be at least one hyper-parameter, got none"),
    (ji.huber, "real", {"grid": {"delta": [1.0, 2.0]}}, TypeError, "on 'delta'.*give score, such as 'squ"),
])  # fmt: skip
def test_bad_scores_and_grids(data, model, kind, given, error, message):
    X, targets = data
    with pytest.raises(error, match=message):
        select.cross_validate(model, X, targets[kind], folds=folds_of(targets[kind]), **given)


def test_labels_that_begin_at_1_are_named(data):
    X, targets = data
    y = targets["classes"] + 1
    for verb in (select.cross_validate, select.bootstrap):
        given = {"key": jax.random.key(0)} if verb is select.bootstrap else {"grid": {"C": [1.0]}, "folds": folds_of(y)}
        with pytest.raises(ValueError, match="class 0 has no rows; labels must be 0..K-1, got 1, 2, 3"):
            verb(ji.svc, X, y, **given)
    with pytest.raises(TypeError, match="accuracies and ranks have no slope, got score 'auc'"):
        select.cv_loss(ji.logistic, X, targets["binary"], hyper={"l2": 0.1}, folds=folds_of(y), score="auc")
    with pytest.raises(ValueError, match="same number of values, got l1 2, l2 1"):
        select.paired({"l1": [1.0, 2.0], "l2": [1.0]})


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_bootstrapped(data, name):
    """With the defaults of `bootstrap`: one draw is the fit of its weights."""
    X, targets = data
    grid, kind = MODELS[name]
    model, y = getattr(ji, name), targets[kind]
    if name == "multitask_lasso":
        y = np.stack([y, -y], 1)
    fixed = {**select.product(grid).at(0), **NEEDS.get(name, {})}
    found = select.bootstrap(model, X, y, key=jax.random.key(1), n=3, fixed=fixed)
    assert (np.asarray(found.status) == ji.Status.CONVERGED).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.estimate))
