"""Group lasso and multitask lasso: references, scikit-learn, certificates, special cases, bad input."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import MultiTaskElasticNet, MultiTaskLasso

import jaxinfra as ji
from tests.helpers import close
from tests.references import group_lasso as reference
from tests.references import nnls

GROUPS = np.array([0, 1, 0, 2, 2, 2, 1, 3])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(21)
    X = rng.standard_normal((50, 8)) + rng.standard_normal(8)
    X[:, 3] = X[:, 4] + 0.1 * X[:, 3]
    coef = np.array([1.0, 0.0, -2.0, 0.5, 0.5, 1.0, 0.0, 0.0])
    y = X @ coef + 1 + rng.standard_normal(50)
    Y = X @ np.outer(coef, [1.0, -1.0, 0.5]) + rng.standard_normal((50, 3))
    return X, y, Y, rng.uniform(0.5, 2, 50)


@pytest.mark.slow
@pytest.mark.parametrize("dtype, rel", [(np.float64, 1e-9), (np.float32, 2e-3)], ids=["x64", "x32"])
def test_group_lasso_is_the_reference(data, dtype, rel):
    X, y, _, w = (a.astype(dtype) for a in data)
    for options in ({"l1": 0.3}, {"l1": 0.3, "l2": 0.5}, {"l1": 0.5, "group_weight": np.array([1.0, 0.2, 2.0, 0.5])},
                    {"l1": 0.2, "fit_intercept": False}):  # fmt: skip
        fit = ji.check(ji.group_lasso.fit(X, y, groups=GROUPS, sample_weight=w, **options))
        expected = reference.fit(X, y, groups=GROUPS, sample_weight=w, **options)
        close(fit.params, expected, rel)
        assert (np.asarray(fit.params.coef) == 0).any() or "group_weight" in options or options["l1"] < 0.3
        gap = reference.gap(*jax.tree.map(np.asarray, fit.params), X, y, groups=GROUPS, sample_weight=w, **options)
        assert gap < (1e-10 if dtype == np.float64 else 1e-5) and fit.info.gap >= 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype, rel", [(np.float64, 1e-9), (np.float32, 2e-3)], ids=["x64", "x32"])
def test_multitask_lasso_is_the_reference(data, dtype, rel):
    X, _, Y, w = (a.astype(dtype) for a in data)
    for options in ({"l1": 0.5}, {"l1": np.linspace(0.2, 0.8, 8), "l2": 0.5}, {"l1": 0.4, "fit_intercept": False}):
        fit = ji.check(ji.multitask_lasso.fit(X, Y, sample_weight=w, **options))
        close(fit.params, reference.fit(X, Y, sample_weight=w, **options), rel)
        gap = reference.gap(*jax.tree.map(np.asarray, fit.params), X, Y, sample_weight=w, **options)
        assert gap < (1e-10 if dtype == np.float64 else 1e-5)
        zero = (np.asarray(fit.params.coef) == 0).all(1)
        assert zero.any() and not zero.all()


@pytest.mark.slow
def test_agrees_with_sklearn(data):
    X, _, Y, _ = data
    fit = ji.check(ji.multitask_lasso.fit(X, Y, l1=0.5, tol=1e-12))
    peer = MultiTaskLasso(alpha=0.5, tol=1e-12, max_iter=100_000).fit(X, Y)
    close(fit.params, (peer.coef_.T, peer.intercept_), 1e-6)
    fit = ji.check(ji.multitask_lasso.fit(X, Y, l1=0.4, l2=0.1, tol=1e-12))
    peer = MultiTaskElasticNet(alpha=0.5, l1_ratio=0.8, tol=1e-12, max_iter=100_000).fit(X, Y)
    close(fit.params, (peer.coef_.T, peer.intercept_), 1e-6)


@pytest.mark.slow
def test_special_cases(data):
    X, y, Y, w = data
    each, ones = np.arange(8), np.ones(8)
    single = ji.group_lasso.fit(X, y, groups=each, group_weight=ones, l1=0.3, sample_weight=w, tol=1e-12).params
    lasso = ji.lasso.fit(X, y, l1=0.3, sample_weight=w, tol=1e-12).params
    close(single, lasso, 1e-8)
    one_task = ji.multitask_lasso.fit(X, y[:, None], l1=0.3, sample_weight=w, tol=1e-12).params
    np.testing.assert_allclose(one_task.coef[:, 0], lasso.coef, atol=1e-9)
    free = ji.group_lasso.fit(X, y, groups=GROUPS, l1=0.0, l2=0.2, sample_weight=w, tol=1e-12).params
    close(free, ji.ridge.fit(X, y, l2=0.2, sample_weight=w).params, 1e-8)
    free = ji.multitask_lasso.fit(X, Y, l1=0.0, tol=1e-12).params
    close(free, ji.ols.fit(X, Y).params, 1e-8)
    # One group of all: a penalty on the norm of coef.
    whole = ji.check(ji.group_lasso.fit(X, y, groups=0 * each, l1=0.3, tol=1e-12)).params
    close(whole, reference.fit(X, y, groups=0 * each, l1=0.3), 1e-9)


@pytest.mark.slow
def test_paths_and_l1_max(data):
    X, y, Y, w = data
    for model, target, options in ((ji.group_lasso, y, {"groups": GROUPS}), (ji.multitask_lasso, Y, {})):
        top = float(model.l1_max(X, target, sample_weight=w, **options))
        assert not np.asarray(model.fit(X, target, l1=top * (1 + 1e-9), sample_weight=w, **options).params.coef).any()
        below = model.fit(X, target, l1=0.999 * top, sample_weight=w, tol=1e-12, **options)
        assert np.asarray(below.params.coef).any()
        l1 = ji.select.penalties(top, 7, ratio=0.02)
        path = ji.check(model.path(X, target, l1=l1, sample_weight=w, tol=1e-12, **options))
        for i in range(7):
            alone = model.fit(X, target, l1=l1[i], sample_weight=w, tol=1e-12, **options).params
            close(jax.tree.map(lambda a, i=i: a[i], path.params), alone, 1e-7)


@pytest.mark.slow
def test_derivatives_where_the_first_group_comes_in():
    """At l1_max 0, below it that of one group, -lam v / v'Hv along v = C_g / |C_g|: on 20 data sets, one in four of
    which had NaN at l1_max."""
    groups = np.array([0, 0, 1, 1, 2, 2])
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 30, 6))
    y = X @ rng.standard_normal(6) + rng.standard_normal((20, 30))

    def coef(l1, X, y):
        return ji.group_lasso.fit(X, y, groups=groups, l1=l1).params.coef

    slopes = jax.jit(
        jax.vmap(lambda l1, X, y: (coef(l1, X, y), jax.jacfwd(coef)(l1, X, y), jax.jacrev(coef)(l1, X, y)))
    )
    top = jax.vmap(lambda X, y: ji.group_lasso.l1_max(X, y, groups=groups))(X, y)
    _, forward, reverse = slopes(top, X, y)
    assert not np.asarray(forward).any() and not np.asarray(reverse).any()
    found, forward, reverse = slopes(top * (1 - 1e-8), X, y)
    for W, one, other, A, b in zip(*map(np.asarray, (found, forward, reverse)), X, y, strict=True):
        Z, there = A - A.mean(0), W != 0
        C, H = Z.T @ (b - b.mean()) / 30, Z.T @ Z / 30
        v = np.where(there, C, 0) / np.linalg.norm(C[there])
        want = -np.sqrt(2) * v / (v @ H @ v)
        assert there.sum() == 2
        np.testing.assert_allclose(one, want, atol=1e-6)
        np.testing.assert_allclose(other, want, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
def test_awkward_columns_and_few_rows(data, dtype):
    X, y, Y, _ = (a.astype(dtype) for a in data)
    large = 1e4 if dtype == np.float64 else 1e2
    X = np.column_stack([X, X[:, 0], np.full(50, 3.0), np.zeros(50), large * X[:, 1]]).astype(dtype)
    groups = np.append(GROUPS, [0, 4, 5, 6])
    for model, target, options in ((ji.group_lasso, y, {"groups": groups}), (ji.multitask_lasso, Y, {})):
        for rows in (50, 9):
            fit = ji.check(model.fit(X[:rows], target[:rows], l1=0.1, **options))
            gap = reference.gap(
                *jax.tree.map(np.asarray, fit.params), X[:rows], target[:rows], l1=0.1, groups=options.get("groups")
            )
            assert gap < (1e-7 if dtype == np.float64 else 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("n, p, correlation", [(200, 20, 0.999), (50, 60, 0.9)])
def test_correlated_columns(n, p, correlation):
    """Nearly equal columns, where the condition of the Gram matrix bounds the steps of first-order methods."""
    rng = np.random.default_rng(7)
    common = rng.standard_normal((n, 1))
    X = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal((n, p))
    Y = X[:, :3] @ rng.standard_normal((3, 2)) + 0.3 * rng.standard_normal((n, 2))
    groups = np.arange(p) // 5
    for model, target, options in ((ji.group_lasso, Y[:, 0], {"groups": groups}), (ji.multitask_lasso, Y, {})):
        top = model.l1_max(X, target, **options)
        for share in (0.3, 0.1, 0.01, 0.001):
            fit = ji.check(model.fit(X, target, l1=share * top, **options))
            gap = reference.gap(*jax.tree.map(np.asarray, fit.params), X, target, l1=float(share * top), **options)
            assert gap < 1e-7
    g, _ = nnls.gradient(*(np.asarray(v) for v in ji.check(ji.nnls.fit(X, Y[:, 0])).params), X, Y[:, 0])
    assert np.abs(g).max() < 1e-7


def test_a_group_without_penalty_needs_the_whole_program(data):
    """Its gap takes a system of its own, which the lean program leaves out."""
    X, y, *_ = data
    weight = np.array([0.0, 1.0, 1.0, 1.0])
    fit = functools.partial(ji.group_lasso.fit, groups=GROUPS, l1=0.1, group_weight=weight)
    found, whole = fit(X, y), jax.jit(fit)(X, y)
    assert found.info.status == whole.info.status == ji.Status.CONVERGED
    np.testing.assert_allclose(found.params.coef, whole.params.coef, rtol=1e-9, atol=1e-12)


def test_bad_input(data):
    X, y, Y, _ = data
    fit = ji.group_lasso.fit
    with pytest.raises(ValueError, match=r"group_lasso\.fit: groups must have shape \(8,\)"):
        fit(X, y, groups=GROUPS[1:], l1=0.1)
    with pytest.raises(TypeError, match="groups must hold whole numbers, got dtype float64"):
        fit(X, y, groups=GROUPS + 0.5, l1=0.1)
    with pytest.raises(ValueError, match=r"groups must hold labels from 0 on, got groups\[0\] = -1"):
        fit(X, y, groups=GROUPS - 1, l1=0.1)
    with pytest.raises(ValueError, match=r"group_weight must have shape \(4,\), got group_weight \(3,\)"):
        fit(X, y, groups=GROUPS, l1=0.1, group_weight=np.ones(3))
    with pytest.raises(ValueError, match="l1 must be a scalar"):
        fit(X, y, groups=GROUPS, l1=np.ones(8))
    with pytest.raises(ValueError, match=r"y must have shape \(n, k\) \(one target: use lasso\)"):
        ji.multitask_lasso.fit(X, y, l1=0.1)
    assert fit(X, y, groups=jnp.asarray(GROUPS), l1=0.1, group_weight=np.ones(3)).info.status == ji.Status.NONFINITE
    assert fit(X, y, groups=GROUPS, l1=jnp.asarray(-0.1)).info.status == ji.Status.SINGULAR
    below = jnp.asarray([1.0, -1.0, 1.0, 1.0])
    assert fit(X, y, groups=GROUPS, l1=0.1, group_weight=below).info.status == ji.Status.SINGULAR
    assert np.isnan(ji.group_lasso.l1_max(X, y, groups=GROUPS, group_weight=below))
    with pytest.raises(ValueError, match="l1 must not be below 0"):
        fit(X, y, groups=GROUPS, l1=-0.1)
