"""The test matrix: every model of the registry through every column of the contract."""

from __future__ import annotations

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from tests.registry import MODELS, Model

DTYPES = [np.float64, np.float32]
PARAMETERS = ["sample_weight", "offset", "init", "tol", "max_iter", "fit_intercept"]

models = pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["x64", "x32"])


def tolerance(dtype, double: float, single: float) -> float:
    return double if dtype == np.float64 else single


def close(actual, expected, rel: float, what: str = "") -> None:
    """Largest deviation relative to the largest expected entry, leaf by leaf."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, float), np.asarray(e, float)
        assert a.shape == e.shape, what
        worst = np.abs(a - e).max() / max(np.abs(e).max(), 1e-8)
        assert worst <= rel, f"{what}: off by {worst:.1e} relative, allowed {rel:.0e}"


def hyper(model: Model, dtype) -> dict:
    return {k: np.asarray(v, dtype) for k, v in model.hyper.items()}


@pytest.mark.core
@models
def test_signature(model):
    for verb, positional in [("fit", ["X", "y"]), ("decision", ["params", "X"]), ("predict", ["params", "X"]),
                             ("objective", ["params", "X", "y"]), ("optimality", ["params", "X", "y"])]:  # fmt: skip
        signature = inspect.signature(getattr(model.module, verb)).parameters.values()
        assert [p.name for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
        assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in signature)
        assert getattr(model.module, verb).__doc__
    assert set(PARAMETERS) <= set(inspect.signature(model.module.fit).parameters)


@pytest.mark.core
@models
@dtypes
def test_reference_and_optimality(model, dtype):
    X, y = model.data(dtype=dtype)
    w = model.weights(dtype=dtype)
    fit = ji.check(model.fit(X, y, sample_weight=w))
    assert isinstance(fit, ji.Fit)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(fit))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(fit.params))
    expected = model.reference(X, y, sample_weight=w, **hyper(model, dtype), **model.static)
    close(fit.params, expected, tolerance(dtype, 1e-9, 2e-4), "reference")

    # The conditions, recomputed in float64 from the data: |dF/dcoef_j| relative to |x_j| |y| / sum w.
    gradient = model.gradient(*fit.params, X, y, sample_weight=w, **hyper(model, dtype))[0]
    root = np.sqrt(w.astype(float))[:, None]
    scale = np.linalg.norm(root * X, axis=0).min() * np.linalg.norm(root * y.reshape(len(y), -1)) / w.sum()
    assert np.abs(gradient).max() / scale <= tolerance(dtype, 1e-12, 1e-5)
    assert fit.info.optimality <= tolerance(dtype, 1.5e-8, 3.5e-4)
    objective = model.module.objective(fit.params, X, y, sample_weight=w, **hyper(model, dtype))
    # n < p interpolates: the objective is then rounding of zero.
    floor = tolerance(dtype, 1e-20, 1e-9) * float(np.mean(np.square(y)))
    assert abs(float(fit.info.objective) - float(objective)) <= tolerance(dtype, 1e-9, 1e-3) * float(objective) + floor
    static = {k: v for k, v in model.static.items() if k == "fit_intercept"}
    verb = model.module.optimality(fit.params, X, y, sample_weight=w, **hyper(model, dtype), **static)
    assert np.abs(np.asarray(verb.coef)).max() / scale <= tolerance(dtype, 1e-12, 1e-5)


@pytest.mark.core
@models
def test_second_call_compiles_nothing(model, compilations):
    w = model.weights()
    X, y = model.data(0)
    model.fit(X, y, sample_weight=w, tol=1e-6, max_iter=5)
    X, y = model.data(1)
    more = {k: float(v) * 2 if np.ndim(v) == 0 else np.asarray(v) * 2 for k, v in model.hyper.items()}
    with compilations() as count:
        model.fit(X, y, sample_weight=2 * w, tol=1e-7, max_iter=7, **more)
    assert count[0] == 0


@models
@dtypes
def test_jit_and_vmap(model, dtype):
    """Lanes of a compiled batch, over y and weights, are the eager fits."""
    rel = tolerance(dtype, 1e-8, 1e-4)
    X, y = model.data(dtype=dtype)
    w = model.weights(dtype=dtype)
    ys = np.stack([y, 2 * y, y[::-1]])
    ws = np.stack([w, w[::-1], np.where(np.arange(len(w)) % 5 == 1, 0, w).astype(dtype)])
    loop = [model.fit(X, y_, sample_weight=w_).params for y_, w_ in zip(ys, ws, strict=True)]
    together = jax.jit(jax.vmap(lambda y, w: model.fit(X, y, sample_weight=w)))
    batch = together(ys, ws)
    assert (batch.info.status == ji.Status.CONVERGED).all()
    for i, params in enumerate(loop):
        close(jax.tree.map(lambda a, i=i: a[i], batch.params), params, rel, f"vmap lane {i}")

    # A NaN lane is NONFINITE with NaN parameters and leaves the others as they were.
    ys[1] = np.nan
    spoiled = together(ys, ws)
    assert list(np.asarray(spoiled.info.status)) == [0, ji.Status.NONFINITE, 0]
    assert np.isnan(np.asarray(spoiled.params.coef[1])).all()
    for lane in (0, 2):
        close(jax.tree.map(lambda a, i=lane: a[i], spoiled.params), loop[lane], rel, f"lane {lane} beside NaN")
    with pytest.raises(ji.FitError, match=r"lane 1 \(1 of 3"):
        ji.check(spoiled)


@models
def test_vmap_over_hyper_parameters(model):
    if not model.hyper:
        return  # nothing to map over
    X, y = model.data()
    ((name, value),) = model.hyper.items()
    values = np.stack([np.asarray(value), 3 * np.asarray(value)])
    batch = jax.vmap(lambda v: model.fit(X, y, **{name: v}))(values)
    for i in range(2):
        close(jax.tree.map(lambda a, i=i: a[i], batch.params), model.fit(X, y, **{name: values[i]}).params, 1e-8)


@models
def test_derivatives(model):
    """jvp and vjp of the parameters, against central differences of the float64 fit and against each other."""
    X, y = model.data()
    w = model.weights()
    rng = np.random.default_rng(3)
    arguments = {"X": X, "y": y, **({} if model.name == "ols_wide" else {"sample_weight": w})}
    arguments |= {k: np.asarray(v, float) + 0.05 for k, v in model.hyper.items()}  # off the bound l2 = 0

    def params(arguments):
        rest = {k: v for k, v in arguments.items() if k not in ("X", "y")}
        return model.fit(arguments["X"], arguments["y"], **rest).params

    direction = {k: rng.standard_normal(np.shape(v)) * 0.1 for k, v in arguments.items()}
    value, tangent = jax.jit(lambda a, d: jax.jvp(params, (a,), (d,)))(arguments, direction)
    step = 1e-5
    moved = [jax.tree.map(lambda a, d, s=s: a + s * step * d, arguments, direction) for s in (1, -1)]
    plus, minus = (params(m) for m in moved)
    close(tangent, jax.tree.map(lambda a, b: (a - b) / (2 * step), plus, minus), 1e-6, "jvp")

    # One program gives the vjp and its own jvp, the second order.
    cotangent = jax.tree.map(lambda v: rng.standard_normal(v.shape), value)
    pull = jax.jit(lambda a, d: jax.jvp(lambda a: jax.vjp(params, a)[1](cotangent)[0], (a,), (d,)))
    pulled, second = pull(arguments, direction)
    forward = sum(np.vdot(a, b) for a, b in zip(jax.tree.leaves(tangent), jax.tree.leaves(cotangent), strict=True))
    reverse = sum(np.vdot(a, b) for a, b in zip(jax.tree.leaves(pulled), jax.tree.leaves(direction), strict=True))
    assert abs(forward - reverse) <= 1e-9 * max(1, abs(forward))
    step = 1e-4
    moved = [jax.tree.map(lambda a, d, s=s: a + s * step * d, arguments, direction) for s in (1, -1)]
    plus, minus = (pull(m, direction)[0] for m in moved)
    close(second, jax.tree.map(lambda a, b: (a - b) / (2 * step), plus, minus), 1e-5, "second order")


@models
@dtypes
def test_weights_are_the_mask(model, dtype):
    rel = tolerance(dtype, 1e-8, 1e-4)
    X, y = model.data(dtype=dtype)
    n = len(y)
    w = np.ones(n, dtype)
    plain = model.fit(X, y, sample_weight=w).params
    close(model.fit(X, y, sample_weight=7 * w).params, plain, rel, "scaling all weights")
    w[[1, 3]] = 0
    w[0] = 2
    keep = np.repeat(np.arange(n), w.astype(int))
    repeated = model.reference(X[keep], y[keep], **hyper(model, dtype), **model.static)
    close(model.fit(X, y, sample_weight=w).params, repeated, tolerance(dtype, 1e-8, 2e-4), "0 deleted, 2 repeated")


@models
def test_offset_is_subtracted(model):
    X, y = model.data()
    o = np.linspace(-1, 1, len(y))
    shifted = y - (o[:, None] if y.ndim == 2 else o)
    close(model.fit(X, y, offset=o).params, model.fit(X, shifted).params, 1e-12)
    fit = model.fit(X, y, offset=o)
    eta = model.module.decision(fit.params, X, offset=o)
    close(eta, np.asarray(model.module.decision(fit.params, X)) + (o[:, None] if y.ndim == 2 else o), 1e-12)


@pytest.mark.core
@models
def test_bad_input(model):
    X, y = model.data()
    fit = partial(model.fit)
    name = model.module.__name__.rsplit(".", 1)[-1]
    shapes = rf"{name}\.fit: .*\({len(y)}, {X.shape[1]}\)"
    with pytest.raises(ValueError, match=shapes):
        fit(X, y[:-1])
    with pytest.raises(ValueError, match=rf"{name}\.fit: X must have shape \(n, p\) \(one feature"):
        fit(X[:, 0], y)
    with pytest.raises(ValueError, match="jax.vmap"):
        fit(X[None], y)
    with pytest.raises(ValueError, match="at least one row"):
        fit(X[:0], y[:0])
    with pytest.raises(TypeError, match=rf"{name}\.fit: X has dtype object"):
        fit(X.astype(object), y)
    with pytest.raises(TypeError, match=rf"{name}\.fit: y has dtype complex128"):
        fit(X, y.astype(complex))
    with pytest.raises(ValueError, match=rf"{name}\.fit: sample_weight must have shape .*got sample_weight"):
        fit(X, y, sample_weight=np.ones(len(y) + 1))
    with pytest.raises(ValueError, match=r"sample_weight must not be negative, got sample_weight\[0\] = -1"):
        fit(X, y, sample_weight=-np.ones(len(y)))
    with pytest.raises(ValueError, match="offset must have shape"):
        fit(X, y, offset=np.ones(len(y) + 1))
    with pytest.raises(ValueError, match="max_iter must be at least 0"):
        fit(X, y, max_iter=-1)
    with pytest.raises(TypeError, match="fit_intercept is static"):
        fit(X, y, fit_intercept=1)
    with pytest.raises(ValueError, match="init.coef must have shape"):
        fit(X, y, init=ji.Linear(jnp.ones(X.shape[1] + 1), jnp.zeros(())))
    for key, value in model.hyper.items():
        with pytest.raises(ValueError, match=f"{key} must not be below 0"):
            fit(X, y, **{key: -np.asarray(value) - 1})
        with pytest.raises(ValueError, match=f"{name}.fit: {key} must broadcast against coef"):
            fit(X, y, **{key: np.ones(X.shape[1] + 1)})
    with pytest.raises(ValueError, match=rf"{name}\.predict: X must have shape \(n, {X.shape[1]}\)"):
        model.module.predict(model.fit(X, y).params, X[:, 1:])


@models
def test_values_that_only_the_device_knows(model):
    X, y = model.data()
    w = model.weights()
    for argument in ("X", "y", "w"):
        for value in (np.nan, np.inf):
            spoiled = {"X": X.copy(), "y": y.copy(), "w": w.copy()}
            spoiled[argument].flat[3] = value
            fit = model.fit(spoiled["X"], spoiled["y"], sample_weight=spoiled["w"])
            assert fit.info.status == ji.Status.NONFINITE, (argument, value)
            assert all(np.isnan(np.asarray(leaf)).all() for leaf in fit.params)
    for weights in (-w, 0 * w):
        fit = model.fit(X, y, sample_weight=jnp.asarray(weights))
        assert fit.info.status == ji.Status.SINGULAR
        assert np.isnan(np.asarray(fit.params.coef)).all()
    for key, value in model.hyper.items():
        negative = {key: jnp.asarray(-np.asarray(value) - 1)}
        assert model.fit(X, y, sample_weight=w, **negative).info.status == ji.Status.SINGULAR
    with pytest.raises(ji.FitError, match="SINGULAR"):
        ji.check(fit)
