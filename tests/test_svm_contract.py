"""Support vector machines through the columns of the test matrix, against a reference that knows no JAX."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from tests.helpers import close
from tests.references import svm
from tests.registry import accepted
from tests.test_svm import GAMMA, LABELS, REAL, N, P, W, X, Z

CLASSES = np.digitize(X[:, 0], [-0.5, 0.5])


@dataclass(frozen=True, eq=False)
class Row:
    """One program: its module, the y of the fit, hyper-parameters, what is static, the dual of the reference."""

    name: str
    module: Any
    y: np.ndarray
    hyper: dict[str, float]
    static: dict[str, Any] = field(default_factory=dict)
    dual: Any = None

    def fit(self, X: Any = X, y: Any = None, w: Any = W, gamma: Any = GAMMA, **kwargs: Any) -> ji.Fit:
        given = {"kernel": kernels.RBF(gamma), "sample_weight": w, "tol": 1e-11 if X.dtype == np.float64 else 1e-4}
        y = self.y if y is None else y
        data = () if self.module is ji.one_class else (y,)
        return self.module.fit(X, *data, **accepted(self.module.fit, {**given, **self.hyper, **self.static, **kwargs}))

    def verb(self, name: str, params: Any, X: Any = X, y: Any = None, w: Any = W) -> jax.Array:
        verb = getattr(self.module, name)
        data = () if self.module is ji.one_class else (self.y if y is None else y,)
        given = {"sample_weight": w, **self.hyper, **self.static}
        return verb(params, X, *data, **accepted(verb, given))

    def functional(self, X: Any, y: Any, w: Any, gamma: Any, hyper: dict[str, Any]) -> jax.Array:
        """A smooth function of all parameters."""
        params = self.fit(X, y, w, gamma, **hyper).params
        leaves = [params.coef, params.intercept, self.module.decision(params, Z)]
        return sum((jnp.sin(1.0 + jnp.arange(float(v.size))).reshape(v.shape) * v).sum() for v in leaves)

    @property
    def has_kernel(self) -> bool:
        return self.module is not ji.linear_svm

    @cached_property
    def base(self) -> ji.Fit:
        """The fit of the data as they are."""
        return ji.check(self.fit())

    def expected(self) -> tuple[np.ndarray, ...]:
        """coef, intercept and objective of the reference."""
        K, sign, bound = svm.rbf(X, X, GAMMA), 2.0 * LABELS - 1, self.hyper.get("C", 1) * W
        first = {"svc": (sign, bound), "nu_svc": (sign, W), "one_class": (W,)}.get(self.name, (self.y, bound))
        dual = self.dual(K, *first, *(v for k, v in self.hyper.items() if k != "C"))
        b = svm.solve(dual)
        assert dual.violation(b) < 1e-10
        rho, value = dual.rho(b), dual.objective(b)
        r = (rho[0] - rho[1]) / 2 if self.name == "nu_svc" else 1.0
        return b.reshape(-1, N).sum(0) / r, -rho.mean() / r, value / r**2

    @cached_property
    def slopes(self) -> Callable[..., Any]:
        """One program: (at, direction) -> value, derivative along the direction and gradient of the functional."""

        def function(at: dict[str, Any]) -> jax.Array:
            return self.functional(at["X"], at.get("y", self.y), at["w"], at["gamma"], at["hyper"])

        def both(at: dict[str, Any], along: dict[str, Any]) -> Any:
            value, push = jax.linearize(function, at)
            return value, push(along), jax.linear_transpose(push, at)(jnp.ones(()))[0]

        return jax.jit(both)

    @property
    def at(self) -> dict[str, Any]:
        """All that is traced, and of which the functional has derivatives."""
        real = {"y": self.y} if self.module in (ji.svr, ji.nu_svr) else {}
        hyper = {k: np.asarray(v) for k, v in self.hyper.items()}
        return {"X": X, **real, "w": W, "gamma": np.full(P, GAMMA), "hyper": hyper}


SVC = Row("svc", ji.svc, LABELS, {"C": 1.5}, {"n_classes": 2}, svm.svc)
PAIRS = Row("svc_pairs", ji.svc, CLASSES, {"C": 1.5}, {"n_classes": 3})
NU_SVC = Row("nu_svc", ji.nu_svc, LABELS, {"nu": 0.43}, {"n_classes": 2}, svm.nu_svc)
SVR = Row("svr", ji.svr, REAL, {"C": 0.7, "epsilon": 0.1}, {}, svm.svr)
NU_SVR = Row("nu_svr", ji.nu_svr, REAL, {"C": 0.7, "nu": 0.37}, {}, svm.nu_svr)
ONE_CLASS = Row("one_class", ji.one_class, REAL, {"nu": 0.37}, {}, svm.one_class)
HINGE = Row("hinge", ji.linear_svm, LABELS, {"C": 0.7}, {"n_classes": 2})
SQUARED = Row("squared_hinge", ji.linear_svm, LABELS, {"C": 0.7}, {"n_classes": 2, "loss": "squared_hinge"})
ROWS = [SVC, PAIRS, NU_SVC, SVR, NU_SVR, ONE_CLASS, HINGE, SQUARED]


def over(rows):
    """Several classes and the other loss are options of machines that `make test` has: slow."""
    marks = {PAIRS: pytest.mark.slow, SQUARED: pytest.mark.slow}
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name, marks=marks.get(row, ())) for row in rows])


def arguments(row: Row) -> tuple[Any, ...]:
    return X, row.y, W, np.asarray(GAMMA), {k: np.asarray(v) for k, v in row.hyper.items()}


@pytest.mark.parametrize("row", [row for row in ROWS if row.dual], ids=lambda r: r.name)
def test_signature(row):
    data = [] if row is ONE_CLASS else ["y"]
    for verb, positional in [("fit", ["X", *data]), ("decision", ["params", "X"]), ("predict", ["params", "X"]),
                             ("objective", ["params", "X", *data]),
                             ("optimality", ["params", "X", *data])]:  # fmt: skip
        signature = inspect.signature(getattr(row.module, verb)).parameters
        assert [p.name for p in signature.values() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
        assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in signature.values())
    assert {"sample_weight", "init", "tol", "max_iter", "kernel", *row.hyper} <= set(
        inspect.signature(row.module.fit).parameters
    )


@pytest.mark.core
@pytest.mark.parametrize("row", [row for row in ROWS if row.dual], ids=lambda r: r.name)
def test_reference_and_optimality(row):
    fit = row.base
    coef, intercept, objective = row.expected()
    close((fit.params.coef, fit.params.intercept), (coef, intercept), 1e-8, "reference")
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((fit.params, fit.info)))
    assert int(fit.info.n_support) == (coef != 0).sum()
    np.testing.assert_allclose(fit.info.objective, objective, rtol=1e-9)
    assert fit.info.optimality < 1e-11
    assert row.verb("optimality", fit.params) < 1e-10
    if row is not NU_SVC:  # whose verb is the objective before the division by the margin
        np.testing.assert_allclose(row.verb("objective", fit.params), objective, rtol=1e-9)
    values = svm.rbf(Z, X, GAMMA) @ coef + intercept
    np.testing.assert_allclose(row.module.decision(fit.params, Z), values, rtol=1e-7, atol=1e-8)
    small = row.module.compact(fit.params)
    assert small.coef.shape == (int(fit.info.n_support),)
    np.testing.assert_allclose(row.module.decision(small, Z), values, rtol=1e-7, atol=1e-8)


def test_optimality_of_nu_svc_does_not_depend_on_how_its_division_rounds():
    params = NU_SVC.base.params
    for scale in (1 / 3, 0.7, 1.1, 3.0):
        assert NU_SVC.verb("optimality", params._replace(coef=params.coef * scale)) < 1e-10


@pytest.mark.slow
@over([SVC, NU_SVC])
def test_warm_start(row):
    warm = row.fit(tol=1e-6, init=row.base.params)
    assert warm.info.n_iter <= 2 < row.base.info.n_iter
    close(warm.params[:2], row.base.params[:2], 1e-6, "start")


@over(ROWS)
def test_second_call_compiles_nothing(row, compilations):
    row.fit(max_iter=5)
    new = {k: 0.9 * v for k, v in row.hyper.items()}
    with compilations() as count:
        row.fit(X + 0.1, w=2 * W, gamma=0.2, tol=1e-7, max_iter=7, **new)
    assert count[0] == 0


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_float32_stays_float32(row):
    """Where float64 is available too: parameters, figures and what the verbs give; float64 in y makes all float64."""

    def everything(X, y, w):
        fit = row.fit(X, y, w)
        return (
            fit,
            row.module.decision(fit.params, X),
            *(row.verb(v, fit.params, X, y, w) for v in ("objective", "optimality")),
        )

    y = row.y if row.y.dtype == int else row.y.astype(np.float32)
    single = X.astype(np.float32)
    for leaf in jax.tree.leaves(jax.eval_shape(everything, single, y, W.astype(np.float32))):
        assert leaf.dtype in (np.float32, np.int32), leaf
    if row in (SVR, NU_SVR):
        assert jax.eval_shape(everything, single, REAL, W)[0].params.coef.dtype == np.float64


@pytest.mark.slow
@over([SVC, NU_SVR, PAIRS])
def test_float32(row):
    """One machine for each kind of dual: the others share their programs but for the bounds."""
    y = row.y if row.y.dtype == int else row.y.astype(np.float32)
    fit = ji.check(row.fit(X.astype(np.float32), y, W.astype(np.float32)))
    assert fit.params.coef.dtype == np.float32
    if row is not PAIRS:
        np.testing.assert_allclose(fit.info.objective, row.expected()[2], rtol=1e-5)
    found, expected = row.module.decision(fit.params, Z.astype(np.float32)), row.module.decision(row.base.params, Z)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@over(ROWS)
def test_lanes_are_the_eager_fits(row):
    """A compiled batch over everything at once: X, y, weights, kernel and hyper-parameters; one lane is NaN."""
    others = {"svc_pairs": (row.y + 1) % 3, "svr": 2 * row.y, "nu_svr": 2 * row.y}.get(row.name, 1 - row.y)
    second = 1.1 * X, others, W[::-1], np.asarray(0.2), {k: np.asarray(0.8 * v) for k, v in row.hyper.items()}
    spoiled = X, row.y, np.full(N, np.nan), np.asarray(0.1), second[-1]
    every = jax.tree.map(lambda *v: np.stack(v), arguments(row), second, spoiled)
    batch = jax.jit(jax.vmap(lambda X, y, w, g, hyper: row.fit(X, y, w, g, **hyper)))(*every)
    assert batch.info.status.tolist() == [0, 0, ji.Status.NONFINITE]
    coef = np.asarray(batch.params.coef[2])  # of pairs 0 for the rows of other classes
    assert (np.isnan(coef) | (row is PAIRS) & (coef == 0)).all() and np.isnan(batch.params.intercept[2]).all()
    assert not batch.info.n_support[2].any()
    for lane, (data, label, w, gamma, hyper) in enumerate([arguments(row), second]):
        alone = row.fit(data, label, w, gamma, **hyper)
        found = jax.tree.map(lambda v, lane=lane: v[lane], (batch.params, batch.info.objective))
        close(found, (alone.params, alone.info.objective), 1e-7, f"lane {lane}")
    if row is SVC:
        with pytest.raises(ValueError, match="one set of vectors at a time"):
            row.module.decision(batch.params, Z)
        assert jax.vmap(row.module.decision, (0, None))(batch.params, Z).shape == (3, len(Z))


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [{"y": np.stack([REAL, REAL[::-1]])}, {"w": np.stack([W, W[::-1]])}, {"gamma": np.array([0.2, 0.4])},
     {"C": np.array([0.3, 2.0])}],
    ids=lambda v: next(iter(v)),
)  # fmt: skip
def test_lanes_of_one_argument(values):
    batch = jax.vmap(lambda more: SVR.fit(**more).params[:2])(values)
    for lane in range(2):
        alone = SVR.fit(**{k: v[lane] for k, v in values.items()}).params[:2]
        close([v[lane] for v in batch], alone, 1e-7, f"lane {lane}")


def dot(a, b):
    return sum(np.vdot(v, w) for v, w in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def ends(at, along, step):
    return [jax.tree.map(lambda v, d, s=s: v + s * step * d, at, along) for s in (1, -1)]


@over(ROWS)
def test_derivatives(row):
    """Forward and reverse against central differences, with respect to everything that is traced."""
    rng, at = np.random.default_rng(5), row.at
    for name in at:
        along = jax.tree.map(np.zeros_like, at)
        along[name] = jax.tree.map(lambda v: rng.standard_normal(v.shape), at[name])
        _, forward, slope = row.slopes(at, along)
        step = 1e-5
        plus, minus = (row.slopes(end, along)[0] for end in ends(at, along, step))
        np.testing.assert_allclose([forward, dot(slope, along)], (plus - minus) / (2 * step), rtol=2e-5, atol=2e-6)


@pytest.mark.slow
@over([SVC, PAIRS, NU_SVR, HINGE])
def test_second_derivatives(row):
    """The jvp of the vjp is the central difference of the vjp, along everything that is traced.

    The other machines are built from the same dual with other bounds.
    """
    rng, at = np.random.default_rng(5), {k: v for k, v in row.at.items() if k != "y"}

    def gradient(at):
        return jax.grad(lambda at: row.functional(at["X"], row.y, at["w"], at["gamma"], at["hyper"]))(at)

    along = jax.tree.map(lambda v: rng.standard_normal(v.shape), at)
    slope_and_change = jax.jit(lambda at: jax.jvp(gradient, (at,), (along,)))
    second, step = slope_and_change(at)[1], 1e-5
    plus, minus = (slope_and_change(end)[0] for end in ends(at, along, step))
    size = max(np.abs(v).max() for v in jax.tree.leaves(second))
    for found, up, down in zip(*map(jax.tree.leaves, (second, plus, minus)), strict=True):
        np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-5, atol=1e-7 * size)


@pytest.mark.slow
def test_gradients_of_lanes():
    """The gradient of a batch, vmap of the gradient and the gradient of each lane are the same."""
    values = np.array([0.4, 1.5])

    def one(C):
        return PAIRS.functional(X, CLASSES, W, GAMMA, {"C": C})

    loop = [jax.jit(jax.grad(one))(C) for C in values]
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(one)))(values), loop, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda C: jax.vmap(one)(C).sum()))(values), loop, rtol=1e-7)


@over(ROWS)
def test_weights_are_the_mask(row):
    """0 is a row that is absent, 2 one that stands twice; as many of these, so that the program stays the same."""
    w = np.ones(N)
    for label in np.unique(CLASSES if row is PAIRS else LABELS):
        w[np.flatnonzero((CLASSES if row is PAIRS else LABELS) == label)[:4]] = 0, 2, 2, 0
    keep = np.repeat(np.arange(N), w.astype(int))
    weighted, repeated = ji.check(row.fit(w=w)), ji.check(row.fit(X[keep], row.y[keep], np.ones(N)))
    close(row.module.decision(weighted.params, Z), row.module.decision(repeated.params, Z), 1e-7, "decisions")
    rows = weighted.params.coef if row.has_kernel else weighted.params.dual
    assert not rows[..., w == 0].any()


@over(ROWS)
def test_bad_input(row):
    name = row.module.__name__.rsplit(".", 1)[-1]
    cases = [
        ({"X": X[:, 0]}, ValueError, r"X must have shape \(n, p\) \(one feature"),
        ({"X": X[None]}, ValueError, "jax.vmap"),
        ({"X": X[:0], "y": row.y[:0]}, ValueError, "at least one row"),
        ({"X": X.astype(object)}, TypeError, "X has dtype object"),
        ({"w": np.ones(N + 1)}, ValueError, "sample_weight must have shape .*got sample_weight"),
        ({"w": -W}, ValueError, r"sample_weight must not be negative, got sample_weight\[0\]"),
        ({"max_iter": -1}, ValueError, "max_iter must be at least 0"),
        ({"tol": -1.0}, ValueError, "tol must not be below 0"),
    ]
    if row is not ONE_CLASS:
        cases += [
            ({"y": row.y[:-1]}, ValueError, rf"\({N}, {X.shape[1]}\)"),
            ({"y": row.y.astype(complex)}, TypeError, "y has dtype complex128"),
        ]
    if row.y.dtype == int:
        cases += [({"y": row.y + shift}, ValueError, r"labels must lie in 0\.\.") for shift in (-1, 1)]
    for given, error, words in cases:
        with pytest.raises(error, match=rf"{name}\.fit: .*{words}"):
            row.fit(**given)
    with pytest.raises(ValueError, match=rf"{name}\.predict: X must have shape \(\w, {X.shape[1]}\)"):
        row.module.predict(row.base.params, X[:, 1:])


@over(ROWS)
def test_values_that_only_the_device_knows(row):
    spoiled = X.copy()
    spoiled[3, 1] = np.nan
    given = [{"X": spoiled}, {"w": np.where(np.arange(N) == 3, np.inf, W)}]
    given += [{k: jnp.asarray(np.nan)} for k in row.hyper]
    given += [{"gamma": jnp.asarray(np.nan)}] if row.has_kernel else []
    given += [{"y": np.where(np.arange(N) == 3, np.nan, REAL)}] if row in (SVR, NU_SVR) else []
    cases = [(more, ji.Status.NONFINITE) for more in given]
    below = ji.Status.SINGULAR if row is SQUARED else ji.Status.INFEASIBLE
    cases += [({"w": jnp.asarray(-W)}, below), *(({k: jnp.asarray(-1.0)}, below) for k in row.hyper)]
    if row.y.dtype == int:
        cases += [({"y": jnp.asarray(row.y + 1)}, ji.Status.DOMAIN)]
    for more, status in cases:
        fit = row.fit(**more)
        assert ji.Status(int(fit.info.status)) is status, more
        # Of several machines those of whose rows one is bad.
        assert np.isnan(row.module.decision(fit.params, Z)).reshape(len(Z), -1).any(1).all(), more


@over(ROWS)
def test_no_rows_of_positive_weight(row):
    """Nothing is determined; classifiers say that they did not see two classes."""
    fit = row.fit(y=jnp.asarray(row.y), w=np.zeros(N))
    alone = row in (SVC, PAIRS, NU_SVC, HINGE)
    assert ji.Status(int(fit.info.status)) is (ji.Status.ONE_CLASS if alone else ji.Status.SINGULAR)
    assert alone or (np.isnan(fit.params.coef).all() and np.isnan(fit.params.intercept))
