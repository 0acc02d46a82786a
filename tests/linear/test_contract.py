"""The test matrix: every model of the registry through every column of the contract."""

from __future__ import annotations

import inspect
from functools import cache, cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from tests.helpers import close
from tests.registry import CLASSES, MODELS, Model

PARAMETERS = ["sample_weight", "offset", "init", "tol", "max_iter", "fit_intercept"]

# Values outside the range of y.
OUTSIDE = {
    "binary": (-1, 2),
    "classes": (-1, CLASSES),
    "share": (-0.5, 1.5),
    "count": (-1.0,),
    "positive": (0.0, -1.0),
    "amount": (-1.0,),
}

# One row of each module.  What is read before any engine does not depend on the row, and `make test` asks some columns
# of these alone.
first = list({model.module: model for model in reversed(MODELS)}.values())
# And of the others those that run another engine: the rest are further shapes, families and options of these.
engines = [*first, *(m for m in MODELS if m.name in ("ols_wide", "logistic_l1", "multinomial_l1", "glm_gamma_log"))]


def rows(chosen=MODELS, quick=engines):
    """The chosen rows; those that are not quick are slow."""
    slow = [() if m in quick else pytest.mark.slow for m in chosen]
    return pytest.mark.parametrize(
        "model", [pytest.param(m, id=m.name, marks=marks) for m, marks in zip(chosen, slow, strict=True)]
    )


def rows_and_dtypes(single, quick=engines, core=()):
    """float64 of all rows; float32 of those of `single`."""
    marks = [[pytest.mark.slow] * (m not in quick) + [pytest.mark.core] * (m in core) for m in MODELS]
    doubles = [pytest.param(m, np.float64, id=f"{m.name}-x64", marks=k) for m, k in zip(MODELS, marks, strict=True)]
    singles = [pytest.param(m, np.float32, id=f"{m.name}-x32") for m in MODELS if single(m)]
    return pytest.mark.parametrize("model, dtype", [*doubles, *singles])


def tolerance(dtype, double: float, single: float) -> float:
    return double if dtype == np.float64 else single


def hyper(model: Model, dtype) -> dict:
    return {k: np.asarray(v, dtype) for k, v in model.hyper.items()}


@rows(quick=MODELS)
def test_signature(model):
    for verb, positional in [("fit", ["X", "y"]), ("decision", ["params", "X"]), ("predict", ["params", "X"]),
                             ("objective", ["params", "X", "y"]), ("optimality", ["params", "X", "y"])]:  # fmt: skip
        signature = inspect.signature(getattr(model.module, verb)).parameters
        assert [p.name for p in signature.values() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
        assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in signature.values())
        assert getattr(model.module, verb).__doc__
        if "y" in positional:
            assert {"sample_weight", "offset", *model.hyper} <= set(signature)
    assert set(PARAMETERS) <= set(inspect.signature(model.module.fit).parameters)


@rows_and_dtypes(single=lambda m: True, quick=engines, core=engines)
def test_reference_and_optimality(model, dtype):
    X, y = model.data(dtype=dtype)
    w = model.weights(dtype=dtype)
    # The default tolerance, where those that are not solved to rounding stop.
    fit = ji.check(model.fit(X, y, sample_weight=w, tol=float(np.finfo(dtype).eps ** 0.5)))
    assert isinstance(fit, ji.Fit)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((fit.params, fit.info)))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(fit.params))
    penalty = hyper(model, dtype)
    expected = model.expected(X, y, sample_weight=w, **penalty)
    double, single = (1e-9, 2e-4) if model.direct else (1e-6, 2e-3)
    close(tuple(fit.params), expected, tolerance(dtype, double, single), "reference")

    # The conditions, recomputed in float64 from the data.
    double, single = (1e-12, 1e-5) if model.direct else (1.5e-8, 3.5e-4)
    assert model.certificate(model, fit.params, X, y, w, penalty) <= tolerance(dtype, double, single)
    assert fit.info.optimality <= tolerance(dtype, 1.5e-8, 3.5e-4)
    objective = model.verb("objective", fit.params, X, y, sample_weight=w, **penalty)
    # n < p interpolates: the objective is then rounding of zero.
    floor = tolerance(dtype, 1e-20, 1e-9) * float(np.mean(np.square(y)))
    assert abs(float(fit.info.objective) - float(objective)) <= tolerance(dtype, 1e-9, 1e-3) * float(objective) + floor
    # The verb is the reference's derivative at the solution and far from it, whichever coefficients are zero.
    for shift in (0, 0.1):
        at = fit.params._replace(coef=fit.params.coef + np.asarray(shift, dtype))
        verb = model.verb("optimality", at, X, y, sample_weight=w, **penalty)
        slope = model.slope(at, X, y, sample_weight=w, **penalty)
        size = np.abs(model.slope(at._replace(coef=0 * at.coef), X, y, sample_weight=w, **penalty)[0]).max()
        assert np.abs(np.asarray(verb.coef) - slope[0]).max() <= tolerance(dtype, 1e-12, 1e-5) * size


@rows()
def test_second_call_compiles_nothing(model, compilations):
    w = model.weights()
    X, y = model.data(0)
    model.fit(X, y, sample_weight=w, tol=1e-6, max_iter=5)
    X, y = model.data(1)
    more = {k: float(v) * 2 if np.ndim(v) == 0 else np.asarray(v) * 2 for k, v in model.hyper.items()}
    with compilations() as count:
        model.fit(X, y, sample_weight=2 * w, tol=1e-7, max_iter=7, **more)
    assert count[0] == 0


@rows_and_dtypes(single=lambda m: m.single, quick=first)
def test_vmap(model, dtype):
    """Lanes of a batch over y, weights and hyper-parameters are the fits alone; float64 in a `jit`, float32 without."""
    rel = tolerance(dtype, 1e-8, 1e-4)
    X, y = model.data(dtype=dtype)
    w = model.weights(dtype=dtype)
    ys = model.others(y)
    ws = np.stack([w, w[::-1], np.where(np.arange(len(w)) % 5 == 1, 0, w).astype(dtype)])
    penalties = {k: np.stack([v, 3 * v, 2 * v]) for k, v in hyper(model, dtype).items()}

    def fit(y, w, penalty):
        return model.fit(X, y, sample_weight=w, **penalty)

    loop = [fit(ys[i], ws[i], {k: v[i] for k, v in penalties.items()}).params for i in range(3)]
    together = jax.vmap(fit)
    together = jax.jit(together) if dtype is np.float64 else together
    batch = together(ys, ws, penalties)
    assert (batch.info.status == ji.Status.CONVERGED).all()
    for i, params in enumerate(loop):
        close(jax.tree.map(lambda a, i=i: a[i], batch.params), params, rel, f"vmap lane {i}")

    # A NaN lane is NONFINITE with NaN parameters and leaves the others as they were.
    (ws if ys.dtype.kind == "i" else ys)[1] = np.nan
    spoiled = together(ys, ws, penalties)
    assert list(np.asarray(spoiled.info.status)) == [0, ji.Status.NONFINITE, 0]
    assert np.isnan(np.asarray(spoiled.params.coef[1])).all()
    for lane in (0, 2):
        close(jax.tree.map(lambda a, i=lane: a[i], spoiled.params), loop[lane], rel, f"lane {lane} beside NaN")
    with pytest.raises(ji.FitError, match=r"lane 1 \(1 of 3"):
        ji.check(spoiled)


@rows([m for m in engines if m.hyper], quick=())
def test_vmap_over_hyper_parameters(model):
    """Alone: what does not depend on them stays without a batch."""
    X, y = model.data()
    w = model.weights()
    values = {k: np.stack([np.asarray(v, float), 3 * np.asarray(v, float)]) for k, v in model.hyper.items()}
    batch = jax.vmap(lambda more: model.fit(X, y, sample_weight=w, **more))(values)
    for i in range(2):
        one = model.fit(X, y, sample_weight=w, **{k: v[i] for k, v in values.items()})
        close(jax.tree.map(lambda a, i=i: a[i], batch.params), one.params, 1e-8)


class Derivatives:
    """The parameters of a row as a function of all that is traced, and its derivatives along a random direction."""

    def __init__(self, model: Model) -> None:
        self.model, (self.X, self.y) = model, model.data()
        rng = np.random.default_rng(3)
        o = np.linspace(-1, 1, len(self.y))
        # The same for all classes would change nothing.
        at = {"X": self.X, "offset": o[:, None] * np.arange(CLASSES) if model.y == "classes" else o}
        if model.y in ("real", "positive", "share"):  # a step must not leave the range of y
            at["y"] = self.y
        if model.name != "ols_wide":
            at["sample_weight"] = model.weights()
        at |= {k: np.asarray(v, float) + 0.05 for k, v in model.hyper.items()}  # off the bound 0
        if jax.tree.leaves(model.static.get("family")):
            at["family"] = jax.tree.map(np.asarray, model.static["family"])  # its power
        self.at = at
        self.direction = jax.tree.map(lambda v: rng.standard_normal(np.shape(v)) * 0.1, at)
        shapes = jax.eval_shape(lambda at: self.fit(at)[0], at)
        self.cotangent = jax.tree.map(lambda v: rng.standard_normal(v.shape), shapes)

    def fit(self, at):
        """The params, and beside them the objective."""
        rest = {k: v for k, v in at.items() if k not in ("X", "y")}
        fit = self.model.fit(at["X"], at.get("y", self.y), **rest)
        return fit.params, fit.info.objective

    @cached_property
    def second_order(self):
        """One program for ((params, objective), the jvp along the direction, the vjp, the jvp of the vjp)."""

        def pulled(at):
            params, pull, objective = jax.vjp(self.fit, at, has_aux=True)
            return params, objective, pull(self.cotangent)[0]

        def everything(at):
            (params, objective, slope), (tangent, _, change) = jax.jvp(pulled, (at,), (self.direction,))
            return (params, objective), tangent, slope, change

        return jax.jit(everything)

    @cached_property
    def first_order(self):
        """The same without the last, for the rows of `make test`; the others have it at once."""
        if self.model.second and self.model not in first:
            return self.second_order

        def both(at):
            params, push, objective = jax.linearize(self.fit, at, has_aux=True)
            return (params, objective), push(self.direction), jax.linear_transpose(push, at)(self.cotangent)[0]

        return jax.jit(both)

    @cached_property
    def here(self):
        return self.first_order(self.at)

    def difference(self, function, step=1e-4):
        """The central difference along the direction."""
        plus, minus = (
            function(jax.tree.map(lambda a, d, s=s: a + s * d, self.at, self.direction)) for s in (step, -step)
        )
        return jax.tree.map(lambda a, b: (a - b) / (2 * step), plus, minus)


derivatives = cache(Derivatives)


@rows(quick=first)
def test_derivatives(model):
    """jvp and vjp of the parameters, against central differences of the float64 fit and against each other."""
    of = derivatives(model)
    (value, _), tangent, pulled = of.here[:3]
    if "l1" in model.hyper:  # the support has to be stable, and neither empty nor full
        assert 0 < (np.asarray(value.coef) == 0).sum() < value.coef.size, value.coef
    slope = of.difference(lambda at: of.first_order(at)[0][0])
    close(tangent, slope, 1e-6 if model.direct else 1e-5, "jvp")
    forward = sum(np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (tangent, of.cotangent)), strict=True))
    reverse = sum(np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (pulled, of.direction)), strict=True))
    assert abs(forward - reverse) <= 1e-9 * max(1, abs(forward))


@rows([m for m in MODELS if m.second], quick=())
def test_second_derivatives(model):
    """The jvp of the vjp, against central differences of the vjp."""
    of = derivatives(model)
    close(of.second_order(of.at)[3], of.difference(lambda at: of.second_order(at)[2]), 1e-5, "second order")


@rows_and_dtypes(single=lambda m: m.single, quick=first)
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
    repeated = model.expected(X[keep], y[keep], **hyper(model, dtype))
    weighted = model.fit(X, y, sample_weight=w).params
    close(tuple(weighted), repeated, tolerance(dtype, 1e-8, 2e-4), "0 deleted, 2 repeated")


@rows(first, quick=())
def test_no_weights_are_equal_weights(model):
    X, y = model.data()
    close(model.fit(X, y).params, model.fit(X, y, sample_weight=np.ones(len(y))).params, 1e-8)


@rows(quick=first)
def test_offset(model):
    """Least squares subtract it from y; elsewhere it is a part of the linear predictor."""
    of = derivatives(model)
    (params, objective), o = of.here[0], of.at["offset"]
    rest = {k: v for k, v in of.at.items() if k in ("sample_weight", *model.hyper)}
    spread = o[:, None] if params.coef.ndim == 2 and o.ndim == 1 else o
    eta = model.module.decision(params, of.X, offset=o)
    close(eta, np.asarray(model.module.decision(params, of.X)) + spread, 1e-12)
    if model.subtracts_offset:
        expected = model.expected(of.X, of.y - spread, **rest)
    else:
        expected = model.expected(of.X, of.y, offset=o, **rest)
        close(objective, model.verb("objective", params, of.X, of.y, offset=o, **rest), 1e-9, "objective")
        slope = model.verb("optimality", params, of.X, of.y, offset=o, **rest)
        assert max(np.abs(np.asarray(leaf)).max() for leaf in slope) < 1e-9
    close(tuple(params), expected, 1e-8, "reference")


@rows()
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
    for wrong in OUTSIDE.get(model.y, ()):
        with pytest.raises(ValueError, match=rf"{name}\.fit: .*got y\[0\] = {wrong}"):
            fit(X, np.where(np.arange(len(y)) == 0, np.asarray(wrong, y.dtype), y))
    for key, value in model.hyper.items():
        with pytest.raises(ValueError, match=f"{key} must not be below 0"):
            fit(X, y, **{key: -np.asarray(value) - 1})
        with pytest.raises(ValueError, match=f"{name}.fit: {key} must (broadcast against coef|be a scalar)"):
            fit(X, y, **{key: np.ones(X.shape[1] + 1)})
    with pytest.raises(ValueError, match=rf"{name}\.predict: X must have shape \(n, {X.shape[1]}\)"):
        model.module.predict(model.fit(X, y, sample_weight=model.weights()).params, X[:, 1:])


@rows()
def test_values_that_only_the_device_knows(model):
    X, y = model.data()
    w = model.weights()
    for argument in ("X", "w") if y.dtype.kind == "i" else ("X", "y", "w"):
        for value in (np.nan, np.inf):
            spoiled = {"X": X.copy(), "y": y.copy(), "w": w.copy()}
            spoiled[argument].flat[3] = value
            fit = model.fit(spoiled["X"], spoiled["y"], sample_weight=spoiled["w"])
            assert fit.info.status == ji.Status.NONFINITE, (argument, value)
            assert all(np.isnan(np.asarray(leaf)).all() for leaf in jax.tree.leaves(fit.params))
    for weights in (-w, 0 * w):
        fit = model.fit(X, y, sample_weight=jnp.asarray(weights))
        assert fit.info.status == ji.Status.SINGULAR
        assert np.isnan(np.asarray(fit.params.coef)).all()
    for wrong in OUTSIDE.get(model.y, ()):
        fit = model.fit(X, jnp.asarray(y).at[0].set(wrong), sample_weight=w)
        assert fit.info.status == ji.Status.DOMAIN
        assert np.isnan(np.asarray(fit.params.coef)).all()
    for key, value in model.hyper.items():
        negative = {key: jnp.asarray(-np.asarray(value) - 1)}
        assert model.fit(X, y, sample_weight=w, **negative).info.status == ji.Status.SINGULAR
    with pytest.raises(ji.FitError, match="SINGULAR"):
        ji.check(model.fit(X, y, sample_weight=jnp.asarray(-w)))


@pytest.mark.parametrize("model", [m for m in MODELS if m.y in ("binary", "classes")], ids=lambda m: m.name)
def test_what_no_finite_parameters_fit(model):
    """Separable classes and an absent class get their Status, and a penalty helps against the first of them."""
    X, y = model.data()
    w = model.weights()
    free = {k: 0 * np.asarray(v) for k, v in model.hyper.items()}
    separable = np.digitize(X[:, 0], np.quantile(X[:, 0], [0.3, 0.6] if model.y == "classes" else [0.5]))
    fit = model.fit(X, separable, sample_weight=w, **free)
    assert fit.info.status == ji.Status.SEPARABLE
    assert np.isnan(np.asarray(fit.params.coef)).all()
    ji.check(model.fit(X, separable, sample_weight=w))
    for absent in (0 * y, np.minimum(y, 1) if model.y == "classes" else 0 * y + 1):
        assert model.fit(X, absent, sample_weight=w).info.status == ji.Status.SEPARABLE
