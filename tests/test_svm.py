"""Support vector machines: the columns of the test matrix, against a reference that knows no JAX."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from jaxinfra.solvers import gram
from jaxinfra.svm import _machine
from tests.references import svm
from tests.test_contract import close

N, P = 40, 3
GAMMA = 0.3
X = np.random.default_rng(0).standard_normal((N, P))
Z = np.random.default_rng(1).standard_normal((9, P))
LABELS = (X[:, 0] + 0.5 * np.random.default_rng(2).standard_normal(N) > 0).astype(int)
REAL = X[:, 0] ** 2 + 0.1 * np.random.default_rng(3).standard_normal(N)
W = np.random.default_rng(4).uniform(0.5, 2, N)


@dataclass(frozen=True)
class Machine:
    """One machine: its module, y, hyper-parameters, and the dual of the reference."""

    name: str
    module: Any
    y: Any
    hyper: dict[str, float]
    dual: Any
    static: dict[str, Any] = field(default_factory=dict)

    def fit(self, X=X, y=None, gamma=GAMMA, **kwargs):
        data = () if self.y is None else (self.y if y is None else y,)
        return self.module.fit(X, *data, **{"kernel": kernels.RBF(gamma), **self.hyper, **self.static, **kwargs})

    def verb(self, name, params, **kwargs):
        data = () if self.y is None else (self.y,)
        return getattr(self.module, name)(params, X, *data, **self.hyper, **kwargs)

    def expected(self, w=W):
        """coef, intercept and objective of the reference."""
        sign = 2.0 * LABELS - 1
        K = svm.rbf(X, X, GAMMA)
        bound = self.hyper.get("C", 1) * w
        of_name = {"svc": (sign, bound), "nu_svc": (sign, w), "one_class": (w,)}
        given = of_name.get(self.name, (self.y, bound))
        extra = [v for k, v in self.hyper.items() if k != "C"]
        dual = self.dual(K, *given, *extra)
        b = svm.solve(dual)
        assert dual.violation(b) < 1e-10
        rho, value = dual.rho(b), dual.objective(b)
        r = (rho[0] - rho[1]) / 2 if self.name == "nu_svc" else 1.0
        return b.reshape(-1, N).sum(0) / r, -rho.mean() / r, value / r**2


MACHINES = [
    Machine("svc", ji.svc, LABELS, {"C": 1.5}, svm.svc, {"n_classes": 2}),
    Machine("nu_svc", ji.nu_svc, LABELS, {"nu": 0.43}, svm.nu_svc, {"n_classes": 2}),
    Machine("svr", ji.svr, REAL, {"C": 0.7, "epsilon": 0.1}, svm.svr),
    Machine("nu_svr", ji.nu_svr, REAL, {"C": 0.7, "nu": 0.37}, svm.nu_svr),
    Machine("one_class", ji.one_class, None, {"nu": 0.37}, svm.one_class),
]
machines = pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
# One machine for each kind of dual: the others share their programs but for the bounds.
kinds = pytest.mark.parametrize("machine", [MACHINES[0], MACHINES[3]], ids=lambda m: m.name)


@pytest.mark.core
@machines
def test_signature(machine):
    data = [] if machine.y is None else ["y"]
    for verb, positional in [("fit", ["X", *data]), ("decision", ["params", "X"]), ("predict", ["params", "X"]),
                             ("objective", ["params", "X", *data]),
                             ("optimality", ["params", "X", *data])]:  # fmt: skip
        signature = inspect.signature(getattr(machine.module, verb)).parameters
        assert [p.name for p in signature.values() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
        assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in signature.values())
    assert {"sample_weight", "init", "tol", "max_iter", "kernel", *machine.hyper} <= set(
        inspect.signature(machine.module.fit).parameters
    )


@pytest.mark.core
@machines
def test_reference_and_optimality(machine):
    fit = ji.check(machine.fit(sample_weight=W, tol=1e-11))
    coef, intercept, objective = machine.expected()
    close((fit.params.coef, fit.params.intercept), (coef, intercept), 1e-8, "reference")
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(fit))
    assert int(fit.info.n_support) == (coef != 0).sum()
    np.testing.assert_allclose(fit.info.objective, objective, rtol=1e-9)
    assert fit.info.optimality < 1e-11
    assert machine.verb("optimality", fit.params, sample_weight=W) < 1e-10
    if machine.name != "nu_svc":  # whose verb is the objective before the division by the margin
        np.testing.assert_allclose(machine.verb("objective", fit.params, sample_weight=W), objective, rtol=1e-9)
    values = svm.rbf(Z, X, GAMMA) @ coef + intercept
    np.testing.assert_allclose(machine.module.decision(fit.params, Z), values, rtol=1e-7, atol=1e-8)
    small = machine.module.compact(fit.params)
    assert small.coef.shape == (int(fit.info.n_support),)
    np.testing.assert_allclose(machine.module.decision(small, Z), values, rtol=1e-7, atol=1e-8)


def test_optimality_of_nu_svc_does_not_depend_on_how_its_division_rounds():
    machine = MACHINES[1]
    params = machine.fit(sample_weight=W, tol=1e-11).params
    for scale in (1 / 3, 0.7, 1.1, 3.0):
        moved = params._replace(coef=params.coef * scale)
        assert machine.verb("optimality", moved, sample_weight=W) < 1e-10


@pytest.mark.parametrize("machine", MACHINES[:2], ids=lambda m: m.name)
def test_warm_start(machine):
    cold = machine.fit(sample_weight=W, tol=1e-9)
    warm = machine.fit(sample_weight=W, tol=1e-6, init=cold.params)
    assert warm.info.n_iter <= 2 < cold.info.n_iter
    close(warm.params[:2], cold.params[:2], 1e-6, "start")


@kinds
def test_float32(machine):
    y = machine.y if machine.y is None or machine.y.dtype == int else machine.y.astype(np.float32)
    fit = ji.check(machine.fit(X.astype(np.float32), y, sample_weight=W.astype(np.float32), tol=1e-4))
    assert fit.params.coef.dtype == np.float32
    coef, intercept, objective = machine.expected()
    np.testing.assert_allclose(fit.info.objective, objective, rtol=1e-5)
    found = machine.module.decision(fit.params, Z.astype(np.float32))
    np.testing.assert_allclose(found, svm.rbf(Z, X, GAMMA) @ coef + intercept, atol=2e-3)


@pytest.mark.core
@machines
def test_second_call_compiles_nothing(machine, compilations):
    machine.fit(sample_weight=W, tol=1e-6, max_iter=5)
    with compilations() as count:
        new = {k: 0.9 * v for k, v in machine.hyper.items()}
        machine.fit(X + 0.1, gamma=0.2, sample_weight=2 * W, tol=1e-7, max_iter=7, **new)
    assert count[0] == 0


@kinds
def test_jit_and_vmap(machine):
    """Lanes are the eager fits, one that is NaN leaves the others as they are, and jit changes nothing."""
    weights = np.stack([W, W[::-1], np.full(N, np.nan)])
    lanes = jax.vmap(lambda w, g: machine.fit(gamma=g, sample_weight=w, tol=1e-9))(weights, np.array([0.3, 0.2, 0.1]))
    for i, gamma in enumerate([0.3, 0.2]):
        alone = machine.fit(gamma=gamma, sample_weight=weights[i], tol=1e-9)
        close((lanes.params.coef[i], lanes.params.intercept[i]), alone.params[:2], 1e-7, "lane")
    assert lanes.info.status.tolist() == [0, 0, ji.Status.NONFINITE]
    assert np.isnan(lanes.params.coef[2]).all() and lanes.info.n_support[2] == 0
    with pytest.raises(ValueError, match="one set of vectors at a time"):
        machine.module.decision(lanes.params, Z)
    assert jax.vmap(machine.module.decision, (0, None))(lanes.params, Z).shape == (3, len(Z))
    jitted = jax.jit(lambda w: machine.fit(sample_weight=w, tol=1e-9))(W)
    close(jitted.params[:2], machine.fit(sample_weight=W, tol=1e-9).params[:2], 1e-8, "jit")


@machines
def test_weights(machine):
    """0 is a row that is absent, 2 one that stands twice."""
    w = np.ones(N)
    w[1::5], w[::3] = 2, 0
    keep = np.repeat(np.arange(N), w.astype(int))
    y = None if machine.y is None else machine.y[keep]
    weighted, repeated = machine.fit(sample_weight=w, tol=1e-9), machine.fit(X[keep], y, tol=1e-9)
    assert not weighted.params.coef[::3].any()
    decisions = [machine.module.decision(f.params, Z) for f in (weighted, repeated)]
    close(decisions[0], decisions[1], 1e-6, "twice")


@machines
def test_derivatives(machine):
    """Forward and reverse against central differences, with respect to everything that is traced."""
    names = list(machine.hyper)
    real = machine.name in ("svr", "nu_svr")
    probe = np.linspace(-1, 1, len(Z))

    def loss(X, w, gamma, y, hyper):
        kwargs = dict(zip(names, hyper, strict=True))
        params = machine.fit(X, y, gamma, sample_weight=w, tol=1e-12, **kwargs).params
        return probe @ machine.module.decision(params, Z) + params.intercept * params.coef @ np.cos(np.arange(N))

    at = (X, W, np.full(P, GAMMA), REAL, tuple(np.asarray(v) for v in machine.hyper.values()))
    function = loss if real else lambda X, w, g, y, hyper: loss(X, w, g, None, hyper)

    @jax.jit
    def derivatives(at, along):
        value, push = jax.linearize(function, *at)
        return value, jax.linear_transpose(push, *at)(1.0), push(*along)

    zeros = jax.tree.map(np.zeros_like, at)
    slopes = derivatives(at, zeros)[1]
    rng = np.random.default_rng(5)
    for i, value in enumerate(at):
        if i == 3 and not real:
            continue
        direction = jax.tree.map(lambda v: rng.standard_normal(v.shape) if v.ndim else np.ones(()), value)
        step = 1e-6

        def moved(size, i=i, direction=direction):
            return (*at[:i], jax.tree.map(lambda v, d: v + size * d, at[i], direction), *at[i + 1 :])

        plus, minus = (derivatives(moved(size), zeros)[0] for size in (step, -step))
        difference = (plus - minus) / (2 * step)
        reverse = sum(jax.tree.leaves(jax.tree.map(lambda a, b: (a * b).sum(), slopes[i], direction)))
        forward = derivatives(at, (*zeros[:i], direction, *zeros[i + 1 :]))[2]
        np.testing.assert_allclose([reverse, forward], difference, rtol=2e-5, atol=1e-6)


@pytest.mark.core
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
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    fit = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(GAMMA), sample_weight=W, tol=1e-9))
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
    traced = jax.jit(lambda y: ji.svc.fit(X, y, kernel=kernels.RBF(GAMMA), sample_weight=W, tol=1e-9, n_classes=3))(y)
    close(traced.params[:2], fit.params[:2], 1e-8, "labels traced")


def test_ring_of_rows(monkeypatch):
    """Rows that are overwritten and computed again give the same machine."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((1500, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(1500) > 0).astype(int)
    whole = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(0.2)))
    monkeypatch.setattr(gram, "FULL", 0)
    monkeypatch.setattr(gram, "BYTES", 0)
    jax.clear_caches()
    ring = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(0.2)))
    np.testing.assert_allclose(ring.info.objective, whole.info.objective, rtol=1e-6)
    K, sign = svm.rbf(X.astype(float), X.astype(float), 0.2), 2.0 * y - 1
    assert svm.svc(K, sign, np.ones(1500)).violation(np.asarray(ring.params.coef, float)) < 1e-3


def test_matrix_in_float32_first():
    """What rows in float32 cannot give, float64 finishes: a tight tolerance, columns far from the origin, large C."""
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
    work, _ = jax.eval_shape(lambda X: _machine.matrices(X, kernels.cast(kernel, X.dtype), full=True), X)
    assert work.values.shape == (2200, 2200)


def test_function_as_kernel_keeps_its_precision():
    rng = np.random.default_rng(8)
    X, scale = rng.standard_normal((2200, 3)), jnp.array([1.0, 0.5, 2.0])
    y = (X[:, 0] + X[:, 1] ** 2 + 0.3 * rng.standard_normal(2200) > 1).astype(int)
    kernel = kernels.Custom(lambda X, Z: jnp.exp(-0.3 * ((X[:, None] - Z[None]) * scale[None, None]) ** 2).prod(-1))
    fit = ji.check(ji.svc.fit(X, y, kernel=kernel, tol=1e-8))
    dual = svm.svc(svm.rbf(X * np.array(scale), X * np.array(scale), 0.3), 2.0 * y - 1, np.ones(2200))
    assert dual.violation(np.asarray(fit.params.coef)) < 1.001e-8


@pytest.mark.core
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


@pytest.mark.core
@pytest.mark.parametrize("module, bad, words", BAD, ids=[f"{m.__name__.split('.')[-1]}-{w}" for m, _, w in BAD])
def test_bad_input_is_named(module, bad, words):
    y = {ji.svr: REAL, ji.one_class: None}.get(module, LABELS)
    y = bad.get("y", y)
    data = () if y is None else (y,)
    with pytest.raises((ValueError, TypeError), match=words):
        module.fit(X, *data, **{k: v for k, v in bad.items() if k != "y"})


@pytest.mark.core
def test_status_of_bad_input():

    def status(fit):
        return ji.Status(int(fit.info.status))

    bad = X.copy()
    bad[3, 1] = np.inf
    rbf = kernels.RBF(GAMMA)
    for fit, expected in [
        (ji.svc.fit(bad, LABELS, kernel=rbf), ji.Status.NONFINITE),
        (ji.svc.fit(X, LABELS, kernel=rbf, C=jnp.array(-1.0)), ji.Status.INFEASIBLE),
        (ji.svc.fit(X, LABELS, kernel=rbf, C=jnp.array(0.0)), ji.Status.INFEASIBLE),
        (ji.nu_svc.fit(X, LABELS, kernel=rbf, nu=0.999), ji.Status.INFEASIBLE),
        (ji.svc.fit(X, jnp.asarray(LABELS) + 1, kernel=rbf, n_classes=2), ji.Status.DOMAIN),
    ]:
        assert status(fit) is expected
        assert np.isnan(fit.params.coef).all() and np.isnan(fit.params.intercept)
    alone = ji.svc.fit(X, jnp.asarray(LABELS), kernel=rbf, sample_weight=1.0 * LABELS)
    assert status(alone) is ji.Status.ONE_CLASS
    assert ji.svc.predict(alone.params, Z).tolist() == [1] * len(Z)
    few = ji.svc.fit(X, LABELS, kernel=rbf, tol=1e-12, max_iter=0)
    assert status(few) is ji.Status.MAX_ITER
    assert few.info.optimality > 1


def test_probabilities():
    """Platt's sigmoid and the temperature against their definitions, the coupling against its optimality."""
    from scipy.optimize import minimize

    y = np.digitize(X[:, 0], [-0.5, 0.5])
    rbf = kernels.RBF(GAMMA)
    folds = ji.select.kfold(N, 4, stratify=y)
    params = ji.svc.fit(X, y, kernel=rbf).params
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
    p = np.asarray(ji.calibrate.predict_proba(ji.svc, params, platt, Z))
    np.testing.assert_allclose(p.sum(1), 1)
    slope, offset, decided = (np.asarray(v) for v in (platt.slope, platt.offset, ji.svc.decision(params, Z)))
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
    p = ji.calibrate.predict_proba(ji.svc, params, temperature, Z)
    np.testing.assert_allclose(p.sum(1), 1)
    with pytest.raises(ValueError, match="platt"):
        ji.calibrate.fit(ji.svc, X, y, folds=folds, method="isotonic")


def test_path():
    """Warm-started fits are the fits."""
    C = np.array([0.1, 1.0, 10.0])
    for y in (LABELS, np.digitize(X[:, 0], [-0.5, 0.5])):
        path = ji.check(ji.svc.path(X, y, C=C, kernel=kernels.RBF(GAMMA), tol=1e-9))
        for k in (0, 2):
            fit = ji.svc.fit(X, y, C=C[k], kernel=kernels.RBF(GAMMA), tol=1e-9)
            close((path.params.coef[k], path.params.intercept[k]), fit.params[:2], 1e-6, "path")
    with pytest.raises(ValueError, match="above 0"):
        ji.svc.path(X, LABELS, C=np.array([1.0, 0.0]))


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
