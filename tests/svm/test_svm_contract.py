"""Support vector machines through the columns of the test matrix, against a reference without JAX."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from tests.helpers import close
from tests.machines import (
    GAMMA,
    HINGE,
    LABELS,
    NU_SVC,
    NU_SVR,
    ONE_CLASS,
    PAIRS,
    REAL,
    SQUARED,
    SUPPORT_VECTOR,
    SVC,
    SVR,
    THREE,
    Machine,
    N,
    P,
    W,
    X,
    Z,
    over,
)
from tests.references import svm


def functional(row: Machine, X: Any, y: Any, w: Any, gamma: Any, hyper: dict[str, Any]) -> jax.Array:
    """A smooth function of all parameters."""
    params = row.solve(X, y, w, gamma, **hyper).params
    leaves = [params.coef, params.intercept, row.module.decision(params, Z)]
    return sum((jnp.sin(1.0 + jnp.arange(float(v.size))).reshape(v.shape) * v).sum() for v in leaves)


def slopes(row: Machine) -> Callable[..., Any]:
    """One program: (at, direction) -> value, derivative along the direction and gradient of the functional."""

    def function(at: dict[str, Any]) -> jax.Array:
        return functional(row, at["X"], at.get("y", row.y), at["w"], at["gamma"], at["hyper"])

    def both(at: dict[str, Any], along: dict[str, Any]) -> Any:
        value, push = jax.linearize(function, at)
        return value, push(along), jax.linear_transpose(push, at)(jnp.ones(()))[0]

    return jax.jit(both)


def traced(row: Machine) -> dict[str, Any]:
    """All that is traced, and of which the functional has derivatives."""
    real = {"y": row.y} if row.module in (ji.svr, ji.nu_svr) else {}
    hyper = {k: np.asarray(v) for k, v in row.hyper.items()}
    return {"X": X, **real, "w": W, "gamma": np.full(P, GAMMA), "hyper": hyper}


def arguments(row: Machine) -> tuple[Any, ...]:
    return X, row.y, W, np.asarray(GAMMA), {k: np.asarray(v) for k, v in row.hyper.items()}


@pytest.mark.parametrize("row", [row for row in SUPPORT_VECTOR if row.dual], ids=lambda r: r.name)
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
@pytest.mark.parametrize("row", [row for row in SUPPORT_VECTOR if row.dual], ids=lambda r: r.name)
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
    warm = row.solve(tol=1e-6, init=row.base.params)
    assert warm.info.n_iter <= 2 < row.base.info.n_iter
    close(warm.params[:2], row.base.params[:2], 1e-6, "start")


@over(SUPPORT_VECTOR)
def test_second_call_compiles_nothing(row, compilations):
    row.solve(max_iter=5)
    new = {k: 0.9 * v for k, v in row.hyper.items()}
    with compilations() as count:
        row.solve(X + 0.1, w=2 * W, gamma=0.2, tol=1e-7, max_iter=7, **new)
    assert count[0] == 0


@pytest.mark.parametrize("row", SUPPORT_VECTOR, ids=lambda r: r.name)
def test_float32_stays_float32(row):
    """Where float64 is available too: parameters, figures and what the verbs give; float64 in y makes all float64."""

    def everything(X, y, w):
        fit = row.solve(X, y, w)
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
    fit = ji.check(row.solve(X.astype(np.float32), y, W.astype(np.float32)))
    assert fit.params.coef.dtype == np.float32
    if row is not PAIRS:
        np.testing.assert_allclose(fit.info.objective, row.expected()[2], rtol=1e-5)
    found, expected = row.module.decision(fit.params, Z.astype(np.float32)), row.module.decision(row.base.params, Z)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@over(SUPPORT_VECTOR)
def test_lanes_are_the_eager_fits(row):
    """A compiled batch over everything at once: X, y, weights, kernel and hyper-parameters; one lane is NaN."""
    others = {"svc_pairs": (row.y + 1) % 3, "svr": 2 * row.y, "nu_svr": 2 * row.y}.get(row.name, 1 - row.y)
    second = 1.1 * X, others, W[::-1], np.asarray(0.2), {k: np.asarray(0.8 * v) for k, v in row.hyper.items()}
    spoiled = X, row.y, np.full(N, np.nan), np.asarray(0.1), second[-1]
    every = jax.tree.map(lambda *v: np.stack(v), arguments(row), second, spoiled)
    batch = jax.jit(jax.vmap(lambda X, y, w, g, hyper: row.solve(X, y, w, g, **hyper)))(*every)
    assert batch.info.status.tolist() == [0, 0, ji.Status.NONFINITE]
    coef = np.asarray(batch.params.coef[2])  # of pairs 0 for the rows of other classes
    assert (np.isnan(coef) | (row is PAIRS) & (coef == 0)).all() and np.isnan(batch.params.intercept[2]).all()
    assert not batch.info.n_support[2].any()
    for lane, (data, label, w, gamma, hyper) in enumerate([arguments(row), second]):
        alone = row.solve(data, label, w, gamma, **hyper)
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
    batch = jax.vmap(lambda more: SVR.solve(**more).params[:2])(values)
    for lane in range(2):
        alone = SVR.solve(**{k: v[lane] for k, v in values.items()}).params[:2]
        close([v[lane] for v in batch], alone, 1e-7, f"lane {lane}")


def dot(a, b):
    return sum(np.vdot(v, w) for v, w in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def ends(at, along, step):
    return [jax.tree.map(lambda v, d, s=s: v + s * step * d, at, along) for s in (1, -1)]


@over(SUPPORT_VECTOR)
def test_derivatives(row):
    """Forward and reverse against central differences, with respect to everything that is traced."""
    rng, at, slope_of = np.random.default_rng(5), traced(row), slopes(row)
    for name in at:
        along = jax.tree.map(np.zeros_like, at)
        along[name] = jax.tree.map(lambda v: rng.standard_normal(v.shape), at[name])
        _, forward, slope = slope_of(at, along)
        step = 1e-5
        plus, minus = (slope_of(end, along)[0] for end in ends(at, along, step))
        np.testing.assert_allclose([forward, dot(slope, along)], (plus - minus) / (2 * step), rtol=2e-5, atol=2e-6)


@pytest.mark.slow
@over([SVC, PAIRS, NU_SVR, HINGE])
def test_second_derivatives(row):
    """The jvp of the vjp is the central difference of the vjp, along everything that is traced.

    The other machines are built from the same dual with other bounds.
    """
    rng, at = np.random.default_rng(5), {k: v for k, v in traced(row).items() if k != "y"}

    def gradient(at):
        return jax.grad(lambda at: functional(row, at["X"], row.y, at["w"], at["gamma"], at["hyper"]))(at)

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
        return functional(PAIRS, X, THREE, W, GAMMA, {"C": C})

    loop = [jax.jit(jax.grad(one))(C) for C in values]
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(one)))(values), loop, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda C: jax.vmap(one)(C).sum()))(values), loop, rtol=1e-7)


@over(SUPPORT_VECTOR)
def test_weights_are_the_mask(row):
    """A weight of 0 drops a row, 2 counts it twice; as many of each, so that the program stays the same."""
    w = np.ones(N)
    for label in np.unique(THREE if row is PAIRS else LABELS):
        w[np.flatnonzero((THREE if row is PAIRS else LABELS) == label)[:4]] = 0, 2, 2, 0
    keep = np.repeat(np.arange(N), w.astype(int))
    weighted, repeated = ji.check(row.solve(w=w)), ji.check(row.solve(X[keep], row.y[keep], np.ones(N)))
    close(row.module.decision(weighted.params, Z), row.module.decision(repeated.params, Z), 1e-7, "decisions")
    rows = weighted.params.coef if row.has_kernel else weighted.params.dual
    assert not rows[..., w == 0].any()


@over(SUPPORT_VECTOR)
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
            row.solve(**given)
    with pytest.raises(ValueError, match=rf"{name}\.predict: X must have shape \(\w, {X.shape[1]}\)"):
        row.module.predict(row.base.params, X[:, 1:])


@over(SUPPORT_VECTOR)
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
    cases += [({"nu": jnp.asarray(1.5)}, below)] if "nu" in row.hyper else []
    if row.y.dtype == int:
        cases += [({"y": jnp.asarray(row.y + 1)}, ji.Status.DOMAIN)]
    for more, status in cases:
        fit = row.solve(**more)
        assert ji.Status(int(fit.info.status)) is status, more
        # Of several machines those of whose rows one is bad.
        assert np.isnan(row.module.decision(fit.params, Z)).reshape(len(Z), -1).any(1).all(), more


@over(SUPPORT_VECTOR)
def test_no_rows_of_positive_weight(row):
    """Nothing is determined; classifiers end as ONE_CLASS."""
    fit = row.solve(y=jnp.asarray(row.y), w=np.zeros(N))
    alone = row in (SVC, PAIRS, NU_SVC, HINGE)
    assert ji.Status(int(fit.info.status)) is (ji.Status.ONE_CLASS if alone else ji.Status.SINGULAR)
    assert alone or (np.isnan(fit.params.coef).all() and np.isnan(fit.params.intercept))
