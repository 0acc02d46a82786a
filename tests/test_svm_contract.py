"""Support vector machines: the columns of the contract that `test_svm.py` and `test_linear_svm.py` leave out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from tests.registry import accepted
from tests.test_contract import close
from tests.test_svm import GAMMA, LABELS, REAL, N, W, X, Z

CLASSES = np.digitize(X[:, 0], [-0.5, 0.5])


@dataclass(frozen=True, eq=False)
class Row:
    """One program: its module, the y of the fit, hyper-parameters and what is static."""

    name: str
    module: Any
    y: np.ndarray
    hyper: dict[str, float]
    static: dict[str, Any] = field(default_factory=dict)

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
    def base(self) -> Any:
        """The parameters on the data as they are."""
        return ji.check(self.fit()).params


SVC = Row("svc", ji.svc, LABELS, {"C": 1.5}, {"n_classes": 2})
PAIRS = Row("svc_pairs", ji.svc, CLASSES, {"C": 1.5}, {"n_classes": 3})
NU_SVC = Row("nu_svc", ji.nu_svc, LABELS, {"nu": 0.43}, {"n_classes": 2})
SVR = Row("svr", ji.svr, REAL, {"C": 0.7, "epsilon": 0.1})
NU_SVR = Row("nu_svr", ji.nu_svr, REAL, {"C": 0.7, "nu": 0.37})
ONE_CLASS = Row("one_class", ji.one_class, REAL, {"nu": 0.37})
HINGE = Row("hinge", ji.linear_svm, LABELS, {"C": 0.7}, {"n_classes": 2})
SQUARED = Row("squared_hinge", ji.linear_svm, LABELS, {"C": 0.7}, {"n_classes": 2, "loss": "squared_hinge"})
ROWS = [SVC, PAIRS, NU_SVC, SVR, NU_SVR, ONE_CLASS, HINGE, SQUARED]


def over(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda r: r.name)


def arguments(row: Row) -> tuple[Any, ...]:
    return X, row.y, W, np.asarray(GAMMA), {k: np.asarray(v) for k, v in row.hyper.items()}


@pytest.mark.core
@over([PAIRS, HINGE, SQUARED])
def test_second_call_compiles_nothing(row, compilations):
    row.fit(max_iter=5)
    new = {k: 0.9 * v for k, v in row.hyper.items()}
    with compilations() as count:
        row.fit(X + 0.1, w=2 * W, gamma=0.2, tol=1e-7, max_iter=7, **new)
    assert count[0] == 0


@pytest.mark.core
@over(ROWS)
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


def test_float32_of_several_classes():
    single = ji.check(PAIRS.fit(X.astype(np.float32), w=W.astype(np.float32))).params
    close(ji.svc.decision(single, Z.astype(np.float32)), ji.svc.decision(PAIRS.base, Z), 2e-3, "float32")


@over([row for row in ROWS if row is not SVR])
def test_lanes_are_the_eager_fits(row):
    """A compiled batch over everything at once: X, y, weights, kernel and hyper-parameters."""
    others = {"svc_pairs": (row.y + 1) % 3, "svr": 2 * row.y, "nu_svr": 2 * row.y}.get(row.name, 1 - row.y)
    second = 1.1 * X, others, W[::-1], np.asarray(0.2), {k: np.asarray(0.8 * v) for k, v in row.hyper.items()}
    both = jax.tree.map(lambda *v: np.stack(v), arguments(row), second)
    batch = ji.check(jax.jit(jax.vmap(lambda X, y, w, g, hyper: row.fit(X, y, w, g, **hyper)))(*both))
    for lane, (data, label, w, gamma, hyper) in enumerate([arguments(row), second]):
        alone = row.fit(data, label, w, gamma, **hyper)
        found = jax.tree.map(lambda v, lane=lane: v[lane], (batch.params, batch.info.objective))
        close(found, (alone.params, alone.info.objective), 1e-7, f"lane {lane}")


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


@over([SVC, PAIRS, NU_SVR, HINGE])
def test_second_derivatives(row):
    """jvp and vjp agree, and the jvp of the vjp is the central difference of the vjp, along everything that is traced.

    The other machines are built from the same dual with other bounds.
    """
    at = tuple(v for i, v in enumerate(arguments(row)) if i != 1)

    def function(at):
        return row.functional(at[0], row.y, *at[1:])

    @jax.jit
    def slope_and_change(at, d):
        (_, slope), (tangent, second) = jax.jvp(jax.value_and_grad(function), (at,), (d,))
        return tangent, slope, second

    rng = np.random.default_rng(5)
    along = jax.tree.map(lambda v: rng.standard_normal(v.shape), at)
    tangent, slope, second = slope_and_change(at, along)
    pairs = zip(jax.tree.leaves(slope), jax.tree.leaves(along), strict=True)
    np.testing.assert_allclose(tangent, sum(np.vdot(a, b) for a, b in pairs), rtol=1e-9)
    step = 1e-5
    ends = [slope_and_change(jax.tree.map(lambda v, d, s=s: v + s * step * d, at, along), along)[1] for s in (1, -1)]
    for found, plus, minus in zip(*map(jax.tree.leaves, (second, *ends)), strict=True):
        size = max(np.abs(v).max() for v in jax.tree.leaves(second))
        np.testing.assert_allclose(found, (plus - minus) / (2 * step), rtol=1e-5, atol=1e-7 * size)


def test_gradients_of_lanes():
    """The gradient of a batch, vmap of the gradient and the gradient of each lane are the same."""
    values = np.array([0.4, 1.5])

    def one(C):
        return PAIRS.functional(X, CLASSES, W, GAMMA, {"C": C})

    loop = [jax.jit(jax.grad(one))(C) for C in values]
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(one)))(values), loop, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda C: jax.vmap(one)(C).sum()))(values), loop, rtol=1e-7)


@over([PAIRS, HINGE, SQUARED])
def test_weights_are_the_mask(row):
    """0 is a row that is absent, 2 one that stands twice."""
    w = np.ones(N)
    for label in np.unique(row.y):
        w[np.flatnonzero(row.y == label)[:4]] = 0, 2, 2, 0
    keep = np.repeat(np.arange(N), w.astype(int))
    weighted, repeated = ji.check(row.fit(w=w)), ji.check(row.fit(X[keep], row.y[keep], np.ones(N)))
    close(row.module.decision(weighted.params, Z), row.module.decision(repeated.params, Z), 1e-7, "decisions")
    rows = weighted.params.coef if row.has_kernel else weighted.params.dual
    assert not rows[..., w == 0].any()


@pytest.mark.core
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
        row.module.predict(row.base, X[:, 1:])


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
