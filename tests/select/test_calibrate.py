"""Every classifier through `calibrate` with its defaults; `test_svm` compares the method with libsvm's."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxinfra as ji
from tests.helpers import close

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 3))
ETA = 1.5 * X[:, 0] + RNG.logistic(size=120)
LABELS = {2: (ETA > 0).astype(int), 4: np.digitize(ETA, [-1.5, 0, 1.5])}
CLASSIFIERS = ["svc", "nu_svc", "linear_svm", "logistic", "multinomial"]
CASES = [(name, K, "platt") for name in CLASSIFIERS for K in LABELS if name != "logistic" or K == 2]
CASES += [("multinomial", 4, "temperature"), ("linear_svm", 4, "temperature")]


def folds(y):
    return ji.select.kfold(120, 3, key=jax.random.key(0), stratify=y)


@pytest.mark.slow
@pytest.mark.parametrize("name, K, method", CASES)
def test_every_classifier(name, K, method):
    """Probabilities sum to 1 and tell more than the shares of the classes."""
    model, y = getattr(ji, name), LABELS[K]
    fixed = {"nu": 0.3} if name == "nu_svc" else {}
    found = ji.calibrate.fit(model, X, y, folds=folds(y), method=method, fixed=fixed)
    assert found.status == ji.Status.CONVERGED
    fit = ji.check(model.fit(X, y, **fixed))
    p = np.asarray(ji.calibrate.predict_proba(fit, found, X))
    assert p.shape == (120, K)
    close(p.sum(1), np.ones(120), 1e-12)
    share = np.bincount(y) / 120
    assert -np.log(p[np.arange(120), y]).mean() < 0.95 * -(share * np.log(share)).sum()
    if method == "temperature":  # of scores class by class
        scores = float(found.slope) * K * np.asarray(model.decision(fit, X))
        close(p, np.exp(scores) / np.exp(scores).sum(1, keepdims=True), 1e-9)


def test_a_fit_knows_what_is_calibrated():
    """Settings, hyper-parameters and the number of classes are those of the fit; weights have to be passed."""
    y, w = LABELS[2], 1.0 + np.arange(120) % 2
    fit = ji.logistic.fit(X, y, l2=0.1, sample_weight=w, fit_intercept=False)
    said = {"l2": 0.1, "fit_intercept": False}
    expected = ji.calibrate.fit(ji.logistic, X, y, folds=folds(y), fixed=said, sample_weight=w)
    found = ji.calibrate.fit(fit, X, y, folds=folds(y), sample_weight=w)
    close(found, expected, 1e-12)
    close(jax.jit(ji.calibrate.predict_proba)(fit, found, X), ji.calibrate.predict_proba(fit, found, X), 1e-12)
    with pytest.raises(ValueError, match="the fit was given sample_weight, so sample_weight of these rows is needed"):
        ji.calibrate.fit(fit, X, y, folds=folds(y))
    moved = ji.logistic.fit(X, y, offset=ETA, l2=0.1)
    for call in (
        lambda: ji.calibrate.fit(ji.logistic, X, y, folds=folds(y), fixed={"offset": ETA}),
        lambda: ji.calibrate.fit(moved, X, y, folds=folds(y)), lambda: ji.calibrate.predict_proba(moved, found, X),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="an offset is no part of a decision: calibrate a fit without one"):
            call()
    with pytest.raises(TypeError, match="predict_proba: it takes what the fit of a model returned, got Linear"):
        ji.calibrate.predict_proba(fit.params, found, X)


def test_logistic_is_a_regression_on_its_decisions():
    y = LABELS[2]
    weights = folds(y)
    found = ji.calibrate.fit(ji.logistic, X, y, folds=weights)
    value = np.zeros(120)
    for fold in np.asarray(weights):
        params = ji.logistic.fit(X, y, sample_weight=fold).params
        value[fold == 0] = np.asarray(ji.logistic.decision(params, X))[fold == 0]
    ones, zeros = y.sum(), 120 - y.sum()
    target = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    params = ji.logistic.fit(value[:, None], target).params
    close(np.append(found.slope, found.offset), np.append(params.coef, params.intercept), 1e-5)


def test_decisions_that_are_all_0_have_equal_probabilities():
    """Whatever the temperature."""
    y = LABELS[2]
    fit = ji.logistic.fit(0 * X, y, fit_intercept=False, l2=0.1)
    found = ji.calibrate.fit(fit, 0 * X, y, folds=folds(y), method="temperature")
    assert found.status == ji.Status.CONVERGED and np.isfinite(found.slope)
    close(ji.calibrate.predict_proba(fit, found, 0 * X), np.full((120, 2), 0.5), 1e-12)


def test_labels_are_whole_numbers_and_their_number_may_be_given():
    y = LABELS[2]
    with pytest.raises(ValueError, match=r"y must have shape \(n,\)"):
        ji.calibrate.fit(ji.multinomial, X, np.eye(2)[y], folds=folds(y))
    with pytest.raises(TypeError, match=r"it must hold integers 0..K-1 \(y.astype\(int\)\)$"):
        ji.calibrate.fit(ji.svc, X, y + 0.0, folds=folds(y))
    fit = ji.multinomial.fit(X, y, l2=0.1)  # of two classes
    assert ji.calibrate.fit(fit, X, y, folds=folds(y), n_classes=3).slope.shape == (3,)


@pytest.mark.parametrize("name, message", [
    ("ordinal", "got 'jaxinfra.linear.ordinal', which has probabilities of its own"),
    ("ols", "got 'jaxinfra.linear.ols'"),
])  # fmt: skip
def test_other_models_are_named(name, message):
    y = LABELS[4]
    names = "model must be one of svc, nu_svc, linear_svm, logistic, multinomial, "
    with pytest.raises(TypeError, match=names + message):
        ji.calibrate.fit(getattr(ji, name), X, y, folds=folds(y))
    with pytest.raises(ValueError, match="logistic is for two classes, got 4: use multinomial"):
        ji.calibrate.fit(ji.logistic, X, y, folds=folds(y))
