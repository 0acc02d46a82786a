"""Support vector machines beyond the matrix of `test_svm_contract.py`: kernels, several classes, many rows, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from jaxinfra.solvers.dual import kernel_rows
from jaxinfra.svm import _machine
from tests.helpers import close
from tests.machines import GAMMA, LABELS, REAL, THREE, N, P, W, X, Z
from tests.references import svm


def test_worked_example():
    """Not separable by a line, since the middle point is the negative one: alpha = (1/2, 1, 1/2), w = 0."""
    X, y = np.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]), np.array([1, 0, 1])
    linear = ji.check(ji.svc.fit(X, y, C=1.0, kernel=kernels.Linear()))
    np.testing.assert_allclose(linear.params.coef, [0.5, -1, 0.5], atol=1e-12)
    np.testing.assert_allclose(ji.svc.linear_coef(linear.params), 0, atol=1e-12)
    assert ji.svc.predict(linear.params, X).tolist() == [1, 1, 1]
    assert linear.info.objective == -2
    assert ji.svc.predict(ji.svc.fit(X, y, C=1.0, kernel=kernels.RBF(0.5)).params, X).tolist() == [1, 0, 1]


def test_one_vs_one():
    """Every pair is its own machine on the rows of its two classes; ties go to the first class."""
    y = THREE
    fit = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(GAMMA), sample_weight=W, tol=1e-9, n_classes=3))
    assert fit.params.coef.shape == (3, N)
    for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        rows = (y == i) | (y == j)
        pair = svm.solve(svm.svc(svm.rbf(X[rows], X[rows], GAMMA), np.where(y[rows] == j, 1.0, -1.0), W[rows]))
        np.testing.assert_allclose(fit.params.coef[k][rows], pair, atol=1e-6)
        assert not fit.params.coef[k][~rows].any()
    assert ji.svc.votes(fit.params, Z).sum(1).tolist() == [3] * len(Z)
    assert ji.svc.optimality(fit.params, X, y, sample_weight=W) < 1e-8
    tie = fit.params._replace(coef=0 * fit.params.coef, intercept=np.array([1.0, -1.0, 1.0]))  # 1, 0 and 2 win one each
    assert ji.svc.votes(tie, Z[:1]).tolist() == [[1, 1, 1]]
    assert ji.svc.predict(tie, Z[:1]).tolist() == [0]


@pytest.mark.slow
def test_labels_may_be_traced_and_counted():
    y = THREE
    fit = ji.svc.fit(X, y, kernel=kernels.RBF(GAMMA), sample_weight=W, tol=1e-9)  # which counts three classes
    traced = jax.jit(lambda y: ji.svc.fit(X, y, kernel=kernels.RBF(GAMMA), sample_weight=W, tol=1e-9, n_classes=3))(y)
    close(traced.params[:2], fit.params[:2], 1e-8, "labels traced")


@pytest.mark.slow
def test_ring_of_rows(monkeypatch):
    """Rows that are overwritten and computed again give the same machine."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((1500, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(1500) > 0).astype(int)
    whole = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(0.2)))
    monkeypatch.setattr(kernel_rows, "FULL", 0)
    monkeypatch.setattr(kernel_rows, "BYTES", 0)
    jax.clear_caches()
    ring = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(0.2)))
    np.testing.assert_allclose(ring.info.objective, whole.info.objective, rtol=1e-6)
    K, sign = svm.rbf(X.astype(float), X.astype(float), 0.2), 2.0 * y - 1
    assert svm.svc(K, sign, np.ones(1500)).violation(np.asarray(ring.params.coef, float)) < 1e-3


@pytest.mark.slow
def test_matrix_in_float32_first():
    """Where rows in float32 are not enough, float64 finishes: a tight tolerance, columns far from 0, large C."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((2200, 4)) + 1e5
    y = (X[:, 0] * 0.5 + np.sin(3 * X[:, 1]) + 0.3 * rng.standard_normal(2200) > 5e4).astype(int)
    K, sign = svm.rbf(X - 1e5, X - 1e5, 0.2), 2.0 * y - 1
    for C, tol in ((1.0, 1e-3), (1.0, 1e-9), (100.0, 1e-6)):
        dual = svm.svc(K, sign, np.full(2200, C))
        fit = ji.check(ji.svc.fit(X, y, C=C, kernel=kernels.RBF(0.2), tol=tol))
        coef = np.asarray(fit.params.coef)
        assert dual.violation(coef) < 1.001 * tol and abs(coef.sum()) < 1e-11 * np.abs(coef).sum()
        np.testing.assert_allclose(fit.info.objective, dual.objective(coef), rtol=1e-6)
    again = ji.check(ji.svc.fit(X, y, C=C, kernel=kernels.RBF(0.2), tol=tol, init=fit.params))
    assert int(again.info.n_iter) < int(fit.info.n_iter) / 2


@pytest.mark.parametrize(
    "kernel",
    [kernels.RBF(0.1), kernels.Linear(), kernels.Custom(lambda X, Z: X @ Z.T)],
    ids=["rbf", "linear", "custom"],
)
def test_machines_share_the_whole_matrix(kernel):
    X = jnp.zeros((2200, 2))
    work, _ = jax.eval_shape(lambda X: _machine.kernel_matrices(X, kernels.cast(kernel, X.dtype), full=True), X)
    assert work.values.shape == (2200, 2200)


@pytest.mark.slow
def test_function_as_kernel_keeps_its_precision():
    rng = np.random.default_rng(8)
    X, scale = rng.standard_normal((2200, 3)), jnp.array([1.0, 0.5, 2.0])
    y = (X[:, 0] + X[:, 1] ** 2 + 0.3 * rng.standard_normal(2200) > 1).astype(int)
    kernel = kernels.Custom(lambda X, Z: jnp.exp(-0.3 * ((X[:, None] - Z[None]) * scale[None, None]) ** 2).prod(-1))
    fit = ji.check(ji.svc.fit(X, y, kernel=kernel, tol=1e-8))
    dual = svm.svc(svm.rbf(X * np.array(scale), X * np.array(scale), 0.3), 2.0 * y - 1, np.ones(2200))
    assert dual.violation(np.asarray(fit.params.coef)) < 1.001e-8


def test_kernels():
    D = (X[:, None] - Z[None]) ** 2
    dots = X @ Z.T
    scale = np.array([0.1, 0.2, 0.4])
    for kernel, value in [
        (kernels.Linear(), dots),
        (kernels.Polynomial(3, 0.5, 1.0), (0.5 * dots + 1) ** 3),
        (kernels.RBF(0.4), np.exp(-0.4 * D.sum(-1))),
        (kernels.RBF(scale), np.exp(-(D * scale).sum(-1))),
        (kernels.RBF.length_scale(scale), np.exp(-(D / (2 * scale**2)).sum(-1))),
        (kernels.Sigmoid(0.5, 0.1), np.tanh(0.5 * dots + 0.1)),
        (kernels.RBF(0.4) * kernels.Linear(), np.exp(-0.4 * D.sum(-1)) * dots),
        (kernels.Linear() + 2.0 * kernels.Polynomial(2), dots + 2 * dots**2),
        (kernels.Custom(lambda X, Z: X @ Z.T), dots),
    ]:  # fmt: skip
        np.testing.assert_allclose(kernel(X, Z), value, rtol=1e-12, atol=1e-14)
        features = kernel.features(jnp.asarray(X), jnp.asarray(Z.mean(0)))
        np.testing.assert_allclose(kernel.diagonal(features), np.diag(kernel(X, X)), rtol=1e-12)
    # Far from the origin no digits are lost.
    far = (X + 1000).astype(np.float32)
    exact = np.exp(-0.4 * ((far[:, None].astype(float) - far[None]) ** 2).sum(-1))
    np.testing.assert_allclose(kernels.RBF(np.float32(0.4))(far, far), exact, atol=2e-5)
    assert kernels.scale(np.ones((3, 2))) == 1
    assert float(kernels.scale(X)) == pytest.approx(1 / (P * X.var()))


@pytest.mark.slow
def test_precomputed_and_custom_kernels():
    K = svm.rbf(X, X, GAMMA)
    expected = ji.svc.fit(X, LABELS, kernel=kernels.RBF(GAMMA), tol=1e-9).params
    given = ji.check(ji.svc.fit(K, LABELS, kernel=kernels.Precomputed(), tol=1e-9)).params
    np.testing.assert_allclose(given.coef, expected.coef, atol=1e-8)
    values = ji.svc.decision(expected, Z)
    np.testing.assert_allclose(ji.svc.decision(given, svm.rbf(Z, X, GAMMA)), values, atol=1e-8)
    # Derivatives by the values of the kernel.
    slope = jax.grad(
        lambda K: ji.svc.fit(K, LABELS, kernel=kernels.Precomputed(), tol=1e-12, n_classes=2).params.intercept
    )
    assert np.abs(slope(K)).max() > 0


BAD = [
    (ji.svc, {"C": 0.0}, "above 0"),
    (ji.svc, {"C": -1.0}, "above 0"),
    (ji.svc, {"C": np.ones(3)}, "shape"),
    (ji.svc, {"kernel": "rbf"}, "kernels.RBF"),
    (ji.svc, {"kernel": lambda X, Z: X @ Z.T}, "kernels.Custom"),
    (ji.svc, {"kernel": kernels.Precomputed()}, "square"),
    (ji.svc, {"kernel": 2.0 * kernels.Precomputed()}, "as arrays"),
    (ji.svc, {"kernel": kernels.RBF(np.nan)}, "finite"),
    (ji.svc, {"kernel": kernels.RBF(np.ones(2))}, "gamma must be"),
    (ji.svc, {"y": np.ones(N, int)}, "class 1 alone"),
    (ji.svc, {"y": REAL}, "integers"),
    (ji.svc, {"sample_weight": -W}, "negative"),
    (ji.svc, {"class_weight": "auto"}, "balanced"),
    (ji.nu_svc, {"nu": 1.5}, "at most 1"),
    (ji.nu_svc, {"nu": 0.0}, "above 0"),
    (ji.svr, {"epsilon": -0.1}, "below 0"),
    (ji.one_class, {"nu": 2.0}, "at most 1"),
]


@pytest.mark.parametrize("module, bad, words", BAD, ids=[f"{m.__name__.split('.')[-1]}-{w}" for m, _, w in BAD])
def test_bad_input_is_named(module, bad, words):
    y = {ji.svr: REAL, ji.one_class: None}.get(module, LABELS)
    y = bad.get("y", y)
    data = () if y is None else (y,)
    with pytest.raises((ValueError, TypeError), match=words):
        module.fit(X, *data, **{k: v for k, v in bad.items() if k != "y"})


def test_status_of_bad_input():

    def status(fit):
        return ji.Status(int(fit.info.status))

    bad = X.copy()
    bad[3, 1] = np.inf
    rbf = kernels.RBF(GAMMA)
    # One program for all: with weights and the number of classes, as those of `test_svm_contract.py` have.
    svc, nu_svc = (partial(m.fit, kernel=rbf, sample_weight=W, n_classes=2) for m in (ji.svc, ji.nu_svc))
    for fit, expected in [
        (svc(bad, LABELS), ji.Status.NONFINITE),
        (svc(X, LABELS, C=jnp.array(-1.0)), ji.Status.INFEASIBLE),
        (svc(X, LABELS, C=jnp.array(0.0)), ji.Status.INFEASIBLE),
        (nu_svc(X, LABELS, nu=0.999), ji.Status.INFEASIBLE),
        (svc(X, jnp.asarray(LABELS + 1)), ji.Status.DOMAIN),
    ]:
        assert status(fit) is expected
        assert np.isnan(fit.params.coef).all() and np.isnan(fit.params.intercept)
    alone = svc(X, jnp.asarray(LABELS), sample_weight=1.0 * LABELS)
    assert status(alone) is ji.Status.ONE_CLASS
    assert ji.svc.predict(alone.params, Z).tolist() == [1] * len(Z)
    few = svc(X, LABELS, tol=1e-12, max_iter=0)
    assert status(few) is ji.Status.MAX_ITER
    assert few.info.optimality > 1


@pytest.mark.slow
def test_probabilities():
    """Platt's sigmoid and the temperature against their definitions, the coupling against its optimality."""
    from scipy.optimize import minimize

    y = THREE
    rbf = kernels.RBF(GAMMA)
    folds = ji.select.kfold(N, 4, stratify=y)
    fit = ji.svc.fit(X, y, kernel=rbf)
    held_out = np.zeros((N, 3))
    for fold in np.asarray(folds):
        part = ji.svc.fit(X, y, kernel=rbf, sample_weight=fold).params
        held_out[fold == 0] = ji.svc.decision(part, X[fold == 0])
    platt = ji.calibrate.fit(ji.svc, X, y, folds=folds, fixed={"kernel": rbf})
    assert ji.Status(int(platt.status)) is ji.Status.CONVERGED
    for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        rows = (y == i) | (y == j)
        counts = (y == i).sum(), (y == j).sum()
        t = np.where(y[rows] == j, (counts[1] + 1) / (counts[1] + 2), 1 / (counts[0] + 2))

        def loss(ab, d=held_out[rows, k], t=t):
            return np.sum(np.logaddexp(0, ab[0] * d + ab[1]) - t * (ab[0] * d + ab[1]))

        np.testing.assert_allclose([platt.slope[k], platt.offset[k]], minimize(loss, [1, 0], tol=1e-10).x, atol=1e-3)
    p = np.asarray(ji.calibrate.predict_proba(fit, platt, Z))
    np.testing.assert_allclose(p.sum(1), 1)
    slope, offset, decided = (np.asarray(v) for v in (platt.slope, platt.offset, ji.decision(fit, Z)))
    r = 1 / (1 + np.exp(-(slope * decided + offset)))
    pairs = [(0, 1), (0, 2), (1, 2)]
    for row, won in zip(p, r, strict=True):

        def spread(p, won=won):
            return sum((a * p[i] - (1 - a) * p[j]) ** 2 for a, (i, j) in zip(won, pairs, strict=True))

        for step in np.eye(3) - 1 / 3:
            assert spread(row) <= spread(row + 1e-3 * step) + 1e-12
            assert spread(row) <= spread(row - 1e-3 * step) + 1e-12
    temperature = ji.calibrate.fit(ji.svc, X, y, folds=folds, fixed={"kernel": rbf}, method="temperature")
    scores = np.stack([-held_out[:, 0] - held_out[:, 1], held_out[:, 0] - held_out[:, 2], held_out[:, 1:].sum(1)], 1)

    def log_loss(s):
        return np.mean(np.logaddexp.reduce(s * scores, axis=1) - s * scores[np.arange(N), y])

    np.testing.assert_allclose(temperature.slope, minimize(log_loss, 1.0, tol=1e-10).x[0], rtol=1e-4)
    p = ji.calibrate.predict_proba(fit, temperature, Z)
    np.testing.assert_allclose(p.sum(1), 1)
    with pytest.raises(ValueError, match="platt"):
        ji.calibrate.fit(ji.svc, X, y, folds=folds, method="isotonic")


@pytest.mark.slow
def test_path():
    """Warm-started fits are the fits."""
    C = np.array([0.1, 1.0, 10.0])
    for y in (LABELS, THREE):
        path = ji.check(ji.svc.path(X, y, C=C, kernel=kernels.RBF(GAMMA), tol=1e-9))
        for k in (0, 2):
            fit = ji.svc.fit(X, y, C=C[k], kernel=kernels.RBF(GAMMA), tol=1e-9)
            close((path.params.coef[k], path.params.intercept[k]), fit.params[:2], 1e-6, "path")
    with pytest.raises(ValueError, match="above 0"):
        ji.svc.path(X, LABELS, C=np.array([1.0, 0.0]))


@pytest.mark.slow
def test_float32_alone_is_certified_in_pairs():
    """Without float64 the violation is that of float64 too, where float32 kernel values would be off by as much."""
    code = """
import numpy as np, jaxinfra as ji
rng = np.random.default_rng(0)
X = rng.standard_normal((300, 4)).astype(np.float32)
y = (X[:, 0] * X[:, 1] + rng.standard_normal(300) > 0).astype(int)
fit = ji.check(ji.svc.fit(X, y, C=1000.0, kernel=ji.kernels.RBF(0.1), tol=1e-3))
b, sign, X = np.asarray(fit.params.coef, float), 2.0 * y - 1, X.astype(float)
gamma = float(np.float32(0.1))
f = np.exp(-gamma * ((X[:, None] - X) ** 2).sum(-1)) @ b - sign
up, down = b < np.maximum(sign, 0) * 1000, b > np.minimum(sign, 0) * 1000
violation = f[down].max() - f[up].min()
assert violation < 1e-3 and abs(violation - float(fit.info.optimality)) < 3e-5, (violation, fit.info)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "JAX_ENABLE_X64": "0"})
