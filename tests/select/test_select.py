"""Folds, grids and paths in one compiled call, the one-standard-error rule, gradients of a cross-validated loss."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

import jaxinfra as ji
from jaxinfra import select
from tests.registry import MODELS


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(12)
    X = rng.standard_normal((60, 4))
    y = (rng.uniform(size=60) < 1 / (1 + np.exp(-X @ [1.5, -1.0, 0.0, 0.0]))).astype(int)
    return X, y


@pytest.mark.parametrize("key", [None, 3])
def test_folds_leave_every_row_out_once(key):
    key = None if key is None else jax.random.key(key)
    folds = np.asarray(select.kfold(23, 4, key=key))
    assert folds.shape == (4, 23) and set(np.unique(folds)) == {0.0, 1.0}
    assert ((1 - folds).sum(0) == 1).all()
    assert set((1 - folds).sum(1)) == {5, 6}
    if key is None:
        assert (np.diff(np.argmin(folds, 0)) >= 0).all()
    else:
        assert (folds != np.asarray(select.kfold(23, 4, key=jax.random.key(4)))).any()


def test_stratified_folds_share_out_the_classes(data):
    _, y = data
    folds = 1 - np.asarray(select.kfold(60, 5, key=jax.random.key(0), stratify=y))
    for c in (0, 1):
        counts = folds @ (y == c)
        assert counts.max() - counts.min() <= 1
    assert (folds.sum(1) == 12).all()
    assert select.kfold(60, 5, stratify=jnp.asarray(y)).shape == (5, 60)  # values unknown: nothing to check


def test_grids():
    np.testing.assert_allclose(select.penalties(2.0, 5, ratio=1e-4), 2.0 * 10.0 ** -np.arange(5), rtol=1e-12)
    assert select.penalties(jnp.float32(2)).dtype == jnp.float32 and select.penalties(1).shape == (100,)
    grid = select.product({"l1": np.array([1.0, 2.0, 3.0]), "l2": np.array([0.1, 0.2])})
    assert list(zip(*(np.asarray(v).tolist() for v in grid.values()), strict=True)) == [
        (1.0, 0.1), (1.0, 0.2), (2.0, 0.1), (2.0, 0.2), (3.0, 0.1), (3.0, 0.2)
    ]  # fmt: skip


def by_hand(model, X, y, w, folds, name, values, **fixed):
    """Refit and score in a Python loop."""
    loss = np.empty((len(values), len(folds)))
    zero = {k: 0.0 for k in ("l1", "l2") if k in inspect.signature(model.objective).parameters}
    for i, value in enumerate(values):
        for j, fold in enumerate(np.asarray(folds)):
            fit = ji.check(model.fit(X, y, sample_weight=w * fold, **{name: value}, **fixed))
            given = {k: v for k, v in fixed.items() if k == "family"}
            loss[i, j] = model.objective(fit.params, X, y, sample_weight=w * (1 - fold), **zero, **given)
    return loss


@pytest.mark.parametrize("model, name, fixed", [
    pytest.param(ji.ridge, "l2", {}, id="ridge, fit by fit"),
    pytest.param(ji.logistic, "l1", {"tol": 1e-11}, id="logistic, along the path"),
    pytest.param(
        ji.glm, "l2", {"family": ji.families.Poisson(), "tol": 1e-11}, id="glm with a family", marks=pytest.mark.slow
    ),
])  # fmt: skip
def test_cross_validation_is_the_loop(data, model, name, fixed, compilations):
    X, y = data
    w = np.random.default_rng(0).uniform(0.5, 2, 60)
    folds = select.kfold(60, 3, key=jax.random.key(1), stratify=y)
    grid = select.penalties(0.2, 4, ratio=0.05)
    cv = select.cross_validate(model, X, y, grid={name: grid}, folds=folds, fixed=fixed, sample_weight=w)
    expected = by_hand(model, X, y, w, folds, name, np.asarray(grid), **fixed)
    np.testing.assert_allclose(cv.score, expected, rtol=1e-7)
    np.testing.assert_allclose(cv.mean, expected.mean(1), rtol=1e-7)
    np.testing.assert_allclose(cv.se, expected.std(1, ddof=1) / np.sqrt(3), rtol=1e-6)
    best = int(np.argmin(expected.mean(1)))
    assert cv.best == best
    assert repr(cv).startswith("CrossValidation(lanes of shape (4, 3): 12 CONVERGED,\n    score=[[")
    assert f"best={best}" in repr(cv)
    bound = cv.mean[best] + cv.se[best]
    assert cv.best_1se == next(i for i in range(4) if cv.mean[i] <= bound) <= best
    others, doubled = select.kfold(60, 3, key=jax.random.key(5)), 2 * grid
    with compilations() as count:
        select.cross_validate(model, X, y, grid={name: doubled}, folds=others, fixed=fixed, sample_weight=2 * w)
    assert count[0] == 0


@pytest.mark.slow
def test_agrees_with_sklearn_on_its_folds(data):
    X, y = data
    splits = list(StratifiedKFold(3).split(X, y))
    folds = np.array([np.isin(np.arange(60), train) for train, _ in splits], float)
    C = np.array([0.1, 1.0])
    cv = select.cross_validate(ji.logistic, X, y, grid={"l2": 1 / (C * 40)}, folds=folds, fixed={"tol": 1e-11})
    for i, c in enumerate(C):
        for j, (train, test) in enumerate(splits):
            peer = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10).fit(X[train], y[train])
            p = peer.predict_proba(X[test])[np.arange(len(test)), y[test]]
            assert cv.score[i, j] == pytest.approx(-np.log(p).mean(), rel=1e-6)


def test_a_score_of_ones_own(data):
    X, y = data
    folds = select.kfold(60, 3, stratify=y)
    cv = select.cross_validate(
        ji.logistic,
        X,
        y,
        grid={"l2": np.array([1.0, 0.01])},
        folds=folds,
        score=errors,
        fixed={"class_weight": "balanced"},
    )
    assert ((cv.score * 20).round(6) == (cv.score * 20).round()).all()  # whole errors of 20 rows


def errors(params, X, y, sample_weight):
    wrong = (ji.logistic.predict(params, X) != y.astype(np.int32)).astype(sample_weight.dtype)
    return (sample_weight * wrong).sum() / sample_weight.sum()


# The first row of each module.
PENALISED = list({m.module: m for m in reversed(MODELS) if m.hyper}.values())


@pytest.mark.parametrize(
    "model",
    [pytest.param(m, id=m.name, marks=() if m.name == "ridge" else pytest.mark.slow) for m in PENALISED],
)
def test_gradient_of_the_cross_validated_loss(model):
    """For every model of the registry with hyper-parameters, against central differences."""
    X, y = model.data()
    folds = select.kfold(len(y), 2, key=jax.random.key(2), stratify=y if model_has_classes(model) else None)
    tight = {"tol": 1e-12} if model.module not in (ji.ols, ji.ridge) else {}
    static = {k: v for k, v in model.static.items() if v is not None}
    start = {k: jnp.asarray(v, float) + 0.02 for k, v in model.hyper.items()}

    def loss(hyper):
        return select.cv_loss(model.module, X, y, hyper=hyper, folds=folds, fixed={**static, **tight})

    value, slope = jax.jit(jax.value_and_grad(loss))(start)
    assert np.isfinite(value)
    for name in start:
        d = {k: jnp.where(k == name, 1.0, 0.0) * jnp.ones_like(v) for k, v in start.items()}
        moved = [loss(jax.tree.map(lambda a, b, s=s: a + s * b, start, d)) for s in (1e-5, -1e-5)]
        numeric = (moved[0] - moved[1]) / 2e-5
        assert abs(slope[name].sum() - numeric) <= 1e-5 * max(1, abs(numeric)), name


def model_has_classes(model):
    return model.y in ("binary", "classes")


@pytest.mark.slow
def test_fits_that_did_not_converge_do_not_win(data):
    """A fold without a class: NaN loss, the Status says why, other candidates are chosen."""
    X, y = data
    folds = np.ones((2, 60))
    folds[0, y == 1] = 0
    with pytest.raises(ValueError, match=r"select\.cross_validate: fold 0 is fitted without class 1: use kfold"):
        select.cross_validate(ji.logistic, X, y, grid={"l2": np.array([0.1])}, folds=folds)
    cv = select.cross_validate(ji.logistic, X, jnp.asarray(y), grid={"l2": np.array([0.1])}, folds=folds)
    assert list(np.asarray(cv.status[0])) == [ji.Status.SEPARABLE, ji.Status.CONVERGED]
    assert np.isnan(cv.mean[0])
    cv = select.cross_validate(ji.ridge, X, y, grid={"l2": jnp.array([-1.0, 0.1])}, folds=select.kfold(60, 2))
    assert cv.best == 1 and cv.best_1se == 1


def test_bad_arguments(data):
    X, y = data
    folds = np.asarray(select.kfold(60, 3))
    with pytest.raises(ValueError, match=r"folds must have shape \(F, n\) = \(F, 60\), got folds \(3, 59\)"):
        select.cross_validate(ji.ridge, X, y, grid={"l2": np.ones(2)}, folds=folds[:, 1:])
    with pytest.raises(ValueError, match=r"l2 must have a leading axis of candidates.* with m >= 1, got \(\)"):
        select.cross_validate(ji.ridge, X, y, grid={"l2": 1.0}, folds=folds)
    with pytest.raises(TypeError, match=r"ridge\.fit has no argument 'alpha'; it has X, y, l2"):
        select.cross_validate(ji.ridge, X, y, grid={"alpha": np.ones(2)}, folds=folds)
    with pytest.raises(ValueError, match="n_folds must be from 2 to n = 3, got 4"):
        select.kfold(3, 4)
    with pytest.raises(ValueError, match="class 7 has one row only"):
        select.kfold(4, 2, stratify=np.array([1, 1, 1, 7]))
    with pytest.raises(ValueError, match=r"select.product: l1 must have a leading axis of candidates"):
        select.product({"l1": 1.0})
    with pytest.raises(ValueError, match="0 < ratio <= 1"):
        select.penalties(1.0, ratio=2.0)
