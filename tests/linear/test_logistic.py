"""Logistic regression: the worked example, peers, separable data, large data by subsample, bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import jaxinfra as ji
from jaxinfra.solvers.methods import newton

TIGHT = 1e-12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((80, 4)) @ np.diag([1.0, 3.0, 0.3, 1.0]) + np.array([0.0, 5.0, 1.0, -2.0])
    y = (rng.uniform(size=80) < 1 / (1 + np.exp(-(X - X.mean(0)) @ [1.0, -0.4, 2.0, 0.0]))).astype(int)
    return X, y


def log_loss_gradient(params, X, y, w=None, l2=0.0):
    """Gradient of the mean log loss in float64, by coef and intercept."""
    w = np.ones(len(y)) if w is None else w
    coef = np.asarray(params.coef, float)
    r = w * (1 / (1 + np.exp(-(X @ coef + float(params.intercept)))) - y) / w.sum()
    return np.append(X.T @ r + l2 * coef, r.sum())


def test_worked_example():
    """At w = 0, b = 0 the loss is log 2, its gradient (-2/3, -5/6) and -1/6; one step of 0.01 is as calculus says."""
    X, y = np.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]), np.array([1, 0, 1])
    zero = ji.Linear(jnp.zeros(2), jnp.zeros(()))
    assert abs(ji.logistic.objective(zero, X, y) - np.log(2)) < 1e-15
    g = ji.logistic.optimality(zero, X, y)
    np.testing.assert_allclose(g.coef, [-2 / 3, -5 / 6], rtol=1e-14)
    np.testing.assert_allclose(g.intercept, -1 / 6, rtol=1e-14)
    by_jax = jax.grad(ji.logistic.objective)(zero, X, y)
    np.testing.assert_allclose(by_jax.coef, g.coef, rtol=1e-14)
    step = jax.tree.map(lambda v, g: v - 0.01 * g, zero, g)
    np.testing.assert_allclose(step.coef, [0.01 * 2 / 3, 0.01 * 5 / 6], rtol=1e-14)
    expected = np.mean(np.log1p(np.exp(-(2 * y - 1) * (X @ [0.02 / 3, 0.05 / 6] + 0.01 / 6))))
    assert abs(ji.logistic.objective(step, X, y) - expected) < 1e-15
    # The middle row is the negative one: the best constant model is the best of all.  Centred, the columns are equal.
    fit = ji.check(ji.logistic.fit(X, y))
    np.testing.assert_allclose(ji.logistic.decision(fit.params, X), np.log(2), rtol=1e-12)


@pytest.mark.parametrize("weight", [None, "balanced", np.array([2.0, 0.5])], ids=["none", "balanced", "given"])
def test_l2_agrees_with_sklearn(data, weight):
    X, y = data
    fit = ji.check(ji.logistic.fit(X, y, l2=0.05, class_weight=weight, tol=TIGHT))
    given = weight if weight is None or isinstance(weight, str) else dict(enumerate(weight))
    total = len(y) if weight is None or isinstance(weight, str) else weight[y].sum()
    peer = LogisticRegression(C=1 / (0.05 * total), class_weight=given, solver="newton-cholesky", tol=1e-10)
    peer.fit(X, y)
    np.testing.assert_allclose(fit.params.coef, peer.coef_[0], rtol=1e-6)
    np.testing.assert_allclose(fit.params.intercept, peer.intercept_[0], rtol=1e-6)
    np.testing.assert_allclose(ji.logistic.predict_proba(fit.params, X), peer.predict_proba(X), atol=1e-7)
    assert (np.asarray(ji.logistic.predict(fit.params, X)) == peer.predict(X)).all()


@pytest.mark.parametrize("ratio", [1.0, 0.6])
def test_l1_and_elastic_net_agree_with_sklearn(data, ratio):
    X, y = data
    X = (X - X.mean(0)) / X.std(0)
    fit = ji.check(ji.logistic.fit(X, y, l1=0.12 * ratio, l2=0.12 * (1 - ratio), tol=TIGHT))
    peer = LogisticRegression(l1_ratio=ratio, C=1 / (0.12 * len(y)), solver="saga", tol=1e-12, max_iter=100_000)
    peer.fit(X, y)
    assert 0 < (np.asarray(fit.params.coef) != 0).sum() < 4
    np.testing.assert_allclose(fit.params.coef, peer.coef_[0], atol=1e-8)
    np.testing.assert_allclose(fit.params.intercept, peer.intercept_[0], atol=1e-8)


@pytest.mark.slow
def test_path_and_l1_max(data):
    X, y = data
    top = float(ji.logistic.l1_max(X, y))
    assert not np.asarray(ji.logistic.fit(X, y, l1=top * (1 + 1e-9)).params.coef).any()
    assert np.asarray(ji.logistic.fit(X, y, l1=top * 0.99, tol=1e-10).params.coef).any()
    weight = np.array([1.0, 0.5, 2.0, 0.0])
    unpenalised = ji.logistic.l1_max(X, y, penalty_weight=weight)
    assert np.isfinite(unpenalised)
    l1 = ji.select.penalties(top, 6, ratio=0.05)
    along = ji.check(ji.logistic.path(X, y, l1=l1, l2=0.01, tol=1e-11))
    for i, penalty in enumerate(l1):
        alone = ji.logistic.fit(X, y, l1=penalty, l2=0.01, tol=1e-11)
        np.testing.assert_allclose(along.params.coef[i], alone.params.coef, atol=1e-9)
        np.testing.assert_allclose(along.params.intercept[i], alone.params.intercept, atol=1e-9)


SEPARABLE = {
    "by one column": lambda X, y: (np.column_stack([X, y]), y),
    "for some rows": lambda X, y: (np.column_stack([X, np.arange(80) < 5]), np.where(np.arange(80) < 5, 1, y)),
    "one class": lambda X, y: (X, 0 * y),
    "more columns than rows": lambda X, y: (X[:4] + 0.0, np.array([0, 1, 1, 0])),
}


@pytest.mark.parametrize("case", SEPARABLE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
def test_separable_data_say_so(data, case, dtype):
    X, y = SEPARABLE[case](*data)
    fit = ji.logistic.fit(X.astype(dtype), y)
    assert fit.info.status == ji.Status.SEPARABLE
    assert np.isnan(np.asarray(fit.params.coef)).all() and np.isnan(np.asarray(fit.params.intercept))
    with pytest.raises(ji.FitError, match="SEPARABLE: .*add a penalty"):
        ji.check(fit)
    if case != "one class":  # whose intercept no penalty holds
        ji.check(ji.logistic.fit(X.astype(dtype), y, l2=0.1))


@pytest.mark.slow
def test_a_tiny_penalty_is_enough():
    """Separable data with any penalty have a minimum; only one class with a free intercept has none."""
    X, y = load_iris(return_X_y=True)
    X, y = (X - X.mean(0))[y < 2], y[y < 2]
    for dtype, penalties in ((np.float64, [1e-4, 1e-7, 1e-9]), (np.float32, [1e-2, 1e-4, 1e-5])):
        for l2 in penalties:
            ji.check(ji.logistic.fit(X.astype(dtype), y, l2=l2))
    coef = [np.linalg.norm(ji.logistic.fit(X, y, l2=l2, tol=1e-13).params.coef) for l2 in (1e-4, 1e-6, 1e-8)]
    assert coef[0] < coef[1] < coef[2]
    assert ji.logistic.fit(X, y, l2=1e-8, init=ji.Linear(jnp.zeros(4), jnp.zeros(()))).info.status == 0
    assert ji.logistic.fit(X, 0 * y, l2=1.0).info.status == ji.Status.SEPARABLE
    ji.check(ji.logistic.fit(X, 0 * y, l2=1.0, fit_intercept=False))


@pytest.mark.slow
def test_a_start_on_the_way_to_infinity_is_no_solution(data):
    """There the gradient is below the tolerance already."""
    X, y = SEPARABLE["by one column"](*data)
    far = ji.Linear(jnp.zeros(5).at[4].set(60.0), jnp.asarray(-30.0))
    assert np.abs(log_loss_gradient(far, X, y)).max() < 1e-9
    assert ji.logistic.fit(X, y, init=far).info.status == ji.Status.SEPARABLE
    along = ji.logistic.path(X, y, l2=np.array([1e-3, 1e-9, 0.0]))
    assert list(np.asarray(along.info.status)) == [0, 0, ji.Status.SEPARABLE]


@pytest.mark.slow
def test_nearly_separable_data_converge(data):
    """One row of each class on the wrong side makes the maximum finite, however steep: odds of 39 to 1."""
    y = np.arange(80) % 2
    column = np.where(y == 1, 1.0, -1.0)
    column[:2] *= -1
    fit = ji.check(ji.logistic.fit(column[:, None], y))
    np.testing.assert_allclose(fit.params.coef, [np.log(39)], rtol=1e-7)


def test_duplicated_and_constant_columns(data):
    X, y = data
    plain = ji.check(ji.logistic.fit(X, y, tol=1e-10))
    more = np.column_stack([X, X[:, 1], np.full(80, 7.0), np.zeros(80)])
    for dtype, rel in ((np.float64, 1e-8), (np.float32, 1e-3)):
        fit = ji.check(ji.logistic.fit(more.astype(dtype), y))
        eta = ji.logistic.decision(fit.params, more.astype(dtype))
        expected = np.asarray(ji.logistic.decision(plain.params, X))
        np.testing.assert_allclose(eta, expected, atol=rel * 10 * np.abs(expected).max())


@pytest.mark.slow
def test_units_of_the_columns(data):
    X, y = data
    units = np.array([1e-12, 1e8, 1.0, 1e20])
    fit = ji.check(ji.logistic.fit(X * units, y, tol=1e-11))
    np.testing.assert_allclose(fit.params.coef * units, ji.logistic.fit(X, y, tol=1e-11).params.coef, rtol=1e-6)
    small = np.array([1e-12, 1e8, 1.0, 1e12])
    fit = ji.check(ji.logistic.fit((X * small).astype(np.float32), y))
    np.testing.assert_allclose(
        np.asarray(fit.params.coef) * small, ji.logistic.fit(X, y).params.coef, rtol=0.02, atol=2e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
@pytest.mark.parametrize("order", ["mixed", "by label"])
def test_large_data_by_subsample(monkeypatch, dtype, order, rng):
    """The subsample and the old Hessian are a way there: the solution is that of all rows."""
    monkeypatch.setattr(newton, "_EXACT", 0)
    n, p = 2500 + (order == "mixed"), 6
    X = rng.standard_normal((n, p)) + rng.standard_normal(p)
    y = (rng.uniform(size=n) < 1 / (1 + np.exp(-X @ np.array([1.0, -2.0, 0.5, 0.0, 0.0, 1.0])))).astype(int)
    if order == "by label":
        keep = np.argsort(y, kind="stable")
        X, y = X[keep], y[keep]
    tol = 1e-11 if dtype == np.float64 else 3e-6
    fit = ji.check(ji.logistic.fit(X.astype(dtype), y, l2=1e-3, tol=tol))
    gradient = log_loss_gradient(fit.params, X.astype(dtype).astype(float), y, l2=1e-3)
    assert np.abs(gradient).max() < 10 * tol
    w = (np.arange(n) < 700).astype(dtype)  # a fold: the subsample sees few of its rows
    fit = ji.check(ji.logistic.fit(X.astype(dtype), y ^ (X[:, 0] > 1), l2=1e-3, tol=tol, sample_weight=w))
    gradient = log_loss_gradient(fit.params, X.astype(dtype).astype(float), y ^ (X[:, 0] > 1), w.astype(float), 1e-3)
    assert np.abs(gradient).max() < 10 * tol
    sparse = ji.check(ji.logistic.fit(X.astype(dtype), y, l1=0.02, tol=tol))
    g = log_loss_gradient(sparse.params, X.astype(dtype).astype(float), y)
    coef = np.asarray(sparse.params.coef)
    kkt = np.where(coef == 0, np.maximum(np.abs(g[:-1]) - 0.02, 0), np.abs(g[:-1] + 0.02 * np.sign(coef)))
    assert (coef == 0).any() and max(kkt.max(), abs(g[-1])) < 10 * tol
    separable = ji.logistic.fit(np.column_stack([X[:, 1:], 2.0 * y - 1]).astype(dtype), y)
    assert separable.info.status == ji.Status.SEPARABLE


@pytest.mark.slow
def test_soft_labels(data):
    """Probabilities are weights on both labels; the fit is differentiable in them."""
    X, y = data
    q = np.where(y == 1, 0.8, 0.3)
    fit = ji.check(ji.logistic.fit(X, q, l2=0.1, tol=TIGHT))
    twice = ji.logistic.fit(
        np.vstack([X, X]), np.repeat([1, 0], 80), l2=0.1, sample_weight=np.append(q, 1 - q), tol=TIGHT
    )
    np.testing.assert_allclose(fit.params.coef, twice.params.coef, rtol=1e-9)
    slope = jax.grad(lambda q: ji.logistic.fit(X, q, l2=0.1, tol=TIGHT).params.coef.sum())(q)
    d = np.zeros(80)
    d[7] = 1e-5
    moved = [ji.logistic.fit(X, q + s * d, l2=0.1, tol=TIGHT).params.coef.sum() for s in (1, -1)]
    assert abs(slope[7] - (moved[0] - moved[1]) / 2e-5) < 1e-8


@pytest.mark.slow
def test_balanced_weights_have_derivatives(data):
    X, y = data

    def first(w):
        return ji.logistic.fit(X, y, l2=0.1, class_weight="balanced", sample_weight=w, tol=TIGHT).params.coef[0]

    w = np.ones(80)
    d = np.random.default_rng(0).standard_normal(80) * 1e-5
    assert abs(np.vdot(jax.grad(first)(w), d) - (first(w + d) - first(w - d)) / 2) < 1e-12


def test_bad_labels(data):
    X, y = data
    for wrong, message in [(y + 1, r"labels must be 0 or 1 \(for more than two .* use multinomial\), got y\[\d+\] = 2"),
                           (2 * y - 1, r"labels must be 0 or 1, got y\[\d+\] = -1"),
                           (y + 0.5, r"got y\[\d+\] = 1\.5")]:  # fmt: skip
        with pytest.raises(ValueError, match=rf"logistic\.fit: .*{message}"):
            ji.logistic.fit(X, wrong)
        fit = ji.logistic.fit(X, jnp.asarray(wrong))
        assert fit.info.status == ji.Status.DOMAIN and np.isnan(np.asarray(fit.params.coef)).all()
    with pytest.raises(ValueError, match=r"y must have shape \(n,\) for two classes"):
        ji.logistic.fit(X, np.eye(2)[y])
    with pytest.raises(ValueError, match='class_weight must be None, "balanced" or an array'):
        ji.logistic.fit(X, y, class_weight="even")
    with pytest.raises(ValueError, match=r"class_weight must have shape \(2,\)"):
        ji.logistic.fit(X, y, class_weight=np.ones(3))
    with pytest.raises(ValueError, match="l1 or l2 must have a leading axis"):
        ji.logistic.path(X, y, l2=0.1)
    with pytest.raises(ValueError, match=r"init\.intercept must have shape \(\)"):
        ji.logistic.fit(X, y, init=ji.Linear(jnp.zeros(4), jnp.zeros(1)))
