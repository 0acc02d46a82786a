"""Multinomial logistic regression against its reference, and where it has no solution."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import multinomial
from tests.multinomials import ACCURACY, DTYPES, close, problem, scale
from tests.references import multinomial as reference
from tests.registry import BY_NAME

HYPER = {
    "none": {},
    "l2": {"l2": 0.02},
    "l2 by feature": {"l2": np.array([0.0, 0.1, 0.0, 0.02, 1.0])[:, None]},
    "l2 by class": {"l2": np.array([0.1, 0.0, 0.05])},
    "l1": {"l1": 0.03},
    "elastic net": {"l1": 0.02, "l2": 0.01},
    "l1 by feature": {"l1": np.array([0.0, 0.05, 0.02, 0.0, 0.1])[:, None]},
}
QUICK = ("l1",)  # the weights of classes and offsets of each; without them `test_contract.py` has the others
hypers = pytest.mark.parametrize(
    "hyper", [pytest.param(v, id=k, marks=() if k in QUICK else pytest.mark.slow) for k, v in HYPER.items()]
)


def of_one_shape(hyper, dtype=np.float64):
    """A penalty for each coefficient: two programs for all of `HYPER`."""
    return {k: np.broadcast_to(np.asarray(v, dtype), (5, 3)) for k, v in ({"l2": 0.0} | hyper).items()}


@DTYPES
@hypers
def test_reference(dtype, hyper):
    X, y = problem()
    w = np.random.default_rng(1).uniform(0.5, 2, len(y))
    offset = 0.3 * np.random.default_rng(2).standard_normal((len(y), 3))
    cw = np.array([1.0, 2.0, 0.7])
    more = {"sample_weight": w, "offset": offset, "class_weight": cw}
    cast = of_one_shape(hyper, dtype) if dtype is np.float32 else hyper
    tol, rel = ACCURACY[dtype]
    narrow = {k: v.astype(dtype) for k, v in more.items()}
    fit = ji.check(multinomial.fit(X.astype(dtype), y, tol=dtype(tol), **cast, **narrow))
    expected = reference.fit(X, y, n_classes=3, **hyper, **more)
    close(fit.params, expected, rel)
    assert all(leaf.dtype == dtype for leaf in fit.params)

    # Optimality again, in float64 from the data.
    smooth = {k: v for k, v in hyper.items() if k != "l1"}
    g, gb = reference.gradient(*fit.params, X.astype(dtype), y, **smooth, **more)
    # The derivative by coef where the intercept goes with the centred columns; of the subdifferential the least norm.
    g = g - np.mean(X, 0)[:, None] * gb[None]
    coef, l1 = np.asarray(fit.params.coef, float), hyper.get("l1", 0.0)
    g = np.where(coef == 0, np.sign(g) * np.maximum(np.abs(g) - l1, 0), g + l1 * np.sign(coef))
    weight = w * cw[y]
    assert np.abs(g / scale(X, y, 3, weight)).max() <= 1.5 * tol + (3e-6 if dtype == np.float32 else 0)
    assert fit.info.optimality <= tol
    f = reference.objective(*fit.params, X, y, **hyper, **more)
    assert abs(float(fit.info.objective) - f) < (1e-12 if dtype == np.float64 else 1e-5)
    assert abs(float(multinomial.objective(fit.params, X, y, **cast, **more)) - f) < (
        1e-12 if dtype == np.float64 else 1e-5
    )
    verb = multinomial.optimality(fit.params, X, y, **cast, **more)
    close(verb, reference.gradient(*fit.params, X, y, **hyper, **more), 1e-9 if dtype == np.float64 else 1e-4)


@pytest.mark.slow
@hypers
def test_no_intercept(hyper):
    X, y = problem()
    fit = ji.check(multinomial.fit(X, y, **of_one_shape(hyper), fit_intercept=False))
    expected = reference.fit(X, y, n_classes=3, **hyper, fit_intercept=False)
    close(fit.params, expected, 1e-6)
    assert (np.asarray(fit.params.intercept) == 0).all()


@pytest.mark.slow
@DTYPES
@pytest.mark.parametrize("hyper", [{"l2": 0.02}, {"l1": 0.01, "l2": 0.01}], ids=["l2", "elastic net"])
def test_many_parameters(dtype, hyper):
    """More parameters than a Hessian is formed for, fewer rows than columns; certified from the data in float64."""
    n, p = 90, 230
    rng = np.random.default_rng(5)
    X = (rng.standard_normal((n, p)) + rng.uniform(0, 1, p)).astype(dtype)
    y = (X[:, :4] @ rng.standard_normal((4, 3)) + rng.gumbel(size=(n, 3))).argmax(1)
    fit = ji.check(multinomial.fit(X, y, **hyper))
    g, gb = reference.gradient(*fit.params, X, y, **hyper)
    g = g - np.mean(X, 0, dtype=float)[:, None] * gb[None]
    assert np.abs(g / scale(X, y, 3)).max() <= (2e-8 if dtype == np.float64 else 4e-4)


@pytest.mark.slow
def test_gauge():
    X, y = problem()
    fit = multinomial.fit(X, y, l2=np.array([0.0, 0.1, 0.0, 0.02, 1.0])[:, None])
    assert abs(float(fit.params.intercept.sum())) < 1e-12
    assert np.abs(np.asarray(fit.params.coef).sum(1)[[0, 2]]).max() < 1e-12
    shifted = ji.Linear(fit.params.coef, fit.params.intercept + 3.0)
    again = multinomial.fit(X, y, l2=np.array([0.0, 0.1, 0.0, 0.02, 1.0])[:, None], init=shifted)
    assert abs(float(again.params.intercept.sum())) < 1e-12


@pytest.mark.slow
def test_l1_max():
    X, y = problem()
    u = np.linspace(0.5, 2, 5)[:, None]
    offset = np.random.default_rng(0).standard_normal((len(y), 3))
    w = np.linspace(0.5, 2, len(y))
    for more in ({}, {"penalty_weight": u, "offset": offset, "sample_weight": w}):
        top = float(multinomial.l1_max(X, y, **more))
        weight = more.pop("penalty_weight", np.ones((1, 1)))
        at = multinomial.fit(X, y, l1=1.0001 * top * weight, **more).params.coef
        below = multinomial.fit(X, y, l1=0.999 * top * weight, **more).params.coef
        assert (np.asarray(at) == 0).all()
        assert (np.asarray(below) != 0).any()


@pytest.mark.slow
@DTYPES
def test_weights_are_the_mask(dtype):
    X, y = problem()
    w = np.ones(len(y), dtype)
    w[[1, 7]] = 0
    w[[3, 8]] = 2  # as many, so that the program stays the same
    keep = np.repeat(np.arange(len(y)), w.astype(int))
    X = X.astype(dtype)
    for hyper in ({"l2": 0.01}, {"l1": 0.02}):
        a = multinomial.fit(X, y, sample_weight=w, **hyper).params
        b = multinomial.fit(X[keep], y[keep], sample_weight=np.ones(len(keep), dtype), **hyper).params
        c = multinomial.fit(X, y, sample_weight=5 * w, **hyper).params
        close(a, b, 1e-6 if dtype == np.float64 else 3e-3)
        close(a, c, 1e-6 if dtype == np.float64 else 3e-3)
    X[1] = 1e6  # a row of weight 0 is absent, even from a test of its label
    y[1] = 17
    fit = multinomial.fit(X, jnp.asarray(y), n_classes=3, sample_weight=w, l2=0.01)
    assert fit.info.status == ji.Status.CONVERGED


@pytest.mark.slow
def test_soft_labels():
    X, y = problem()
    hard = multinomial.fit(X, y, l2=0.01).params
    close(multinomial.fit(X, np.eye(3)[y], l2=0.01).params, hard, 1e-12)
    soft = np.random.default_rng(0).dirichlet(np.ones(3), len(y))
    expected = reference.fit(X, soft, n_classes=3, l2=0.01, class_weight=[1.0, 2.0, 3.0])
    close(multinomial.fit(X, soft, l2=0.01, class_weight=np.array([1.0, 2.0, 3.0])).params, expected, 1e-6)


@pytest.mark.slow
@DTYPES
def test_no_finite_maximiser(dtype):
    X, y = problem(noise=0.0)  # separable by construction
    X = X.astype(dtype)
    for tol in (None, 1e-4):
        fit = multinomial.fit(X, y, tol=tol)
        assert fit.info.status == ji.Status.SEPARABLE, fit
        assert all(np.isnan(np.asarray(leaf)).all() for leaf in fit.params)
    assert multinomial.fit(X, y, l2=1e-3).info.status == ji.Status.CONVERGED
    # Quasi-separable: one indicator sees one class alone, the rest overlaps.
    X, y = problem()
    lone = ((y == 2) & (np.arange(len(y)) % 3 == 0)).astype(float)
    X = np.column_stack([X, lone]).astype(dtype)
    assert multinomial.fit(X, y).info.status == ji.Status.SEPARABLE
    l2 = np.array([0.0] * 5 + [0.1], dtype)[:, None]
    assert multinomial.fit(X, y, l2=l2).info.status == ji.Status.CONVERGED
    l1 = np.array([0.01] * 5 + [0.0], dtype)[:, None]
    assert multinomial.fit(X, y, l1=l1).info.status == ji.Status.SEPARABLE
    # More columns than rows separate everything.
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 300)).astype(dtype), rng.integers(0, 3, 40)
    assert multinomial.fit(X, y).info.status == ji.Status.SEPARABLE


@pytest.mark.slow
def test_absent_class():
    X, y = problem()
    for hyper in ({}, {"l2": 0.1}, {"l1": 0.1}):
        fit = multinomial.fit(X, y, n_classes=4, **hyper)
        assert fit.info.status == ji.Status.SEPARABLE
        w = (y != 1).astype(float)
        assert multinomial.fit(X, y, sample_weight=w, **hyper).info.status == ji.Status.SEPARABLE
    with pytest.raises(ji.FitError, match="SEPARABLE"):
        ji.check(fit)
    # Without a free intercept the penalty keeps it finite.
    fit = ji.check(multinomial.fit(X, y, n_classes=4, l2=0.1, fit_intercept=False))
    close(fit.params, reference.fit(X, y, n_classes=4, l2=0.1, fit_intercept=False), 1e-6)
    assert multinomial.fit(X, 0 * y).info.status == ji.Status.SEPARABLE


@pytest.mark.slow
@DTYPES
def test_constant_and_duplicated_columns(dtype):
    X, y = problem()
    wide = np.column_stack([X, X[:, 0], np.full(len(y), 0.1), X[:, 1] + X[:, 2]]).astype(dtype)
    best = reference.objective(*reference.fit(X, y, n_classes=3), X, y)
    fit = ji.check(multinomial.fit(wide, y))
    assert abs(reference.objective(*fit.params, wide, y) - best) < (1e-10 if dtype == np.float64 else 1e-5)
    assert np.abs(np.asarray(fit.params.coef)).max() < 20
    for hyper in ({"l2": 0.01}, {"l1": 0.01}):
        fit = ji.check(multinomial.fit(wide, y, **hyper))
        expected = reference.objective(*reference.fit(wide, y, n_classes=3, **hyper), wide, y, **hyper)
        assert abs(reference.objective(*fit.params, wide, y, **hyper) - expected) < 1e-5
        assert (np.asarray(fit.params.coef)[6] == 0).all()


@pytest.mark.slow
def test_units_of_the_columns():
    """Columns in units 1e-6 to 1e6 with large means, float32: as good as in units of one."""
    X, y = problem()
    unit = np.array([1e-6, 1.0, 1e6, 1e3, 1e-3])
    far = (X + 5) * unit
    fit = ji.check(multinomial.fit(far.astype(np.float32), y))
    expected = reference.fit(X, y, n_classes=3)[0]
    assert np.abs(np.asarray(fit.params.coef, float) * unit[:, None] - expected).max() < 2e-3


def test_bad_input():
    X, y = problem()
    with pytest.raises(ValueError, match=r"multinomial.fit: labels must lie in 0..2, got y\[4\] = 3"):
        multinomial.fit(X, np.where(np.arange(len(y)) == 4, 3, y), n_classes=3)
    with pytest.raises(ValueError, match=r"labels must lie in 0..2, got y\[0\] = -1"):
        multinomial.fit(X, np.where(np.arange(len(y)) == 0, -1, y))
    with pytest.raises(TypeError, match=r"y \(120,\) has dtype float64"):
        multinomial.fit(X, y.astype(float))
    with pytest.raises(ValueError, match="n_classes must be at least 2"):
        multinomial.fit(X, y, n_classes=1)
    with pytest.raises(TypeError, match="n_classes is static"):
        multinomial.fit(X, y, n_classes=2.5)
    with pytest.raises(ValueError, match="n_classes must be given"):
        jax.jit(multinomial.fit)(X, y)
    soft = np.eye(3)[y]
    soft[5] = [0.5, 0.6, 0.0]
    with pytest.raises(ValueError, match=r"must sum to 1, got y\[5\] = \[0.5 0.6 0. \]"):
        multinomial.fit(X, soft)
    with pytest.raises(ValueError, match="soft labels must have 4 columns"):
        multinomial.fit(X, np.eye(3)[y], n_classes=4)
    with pytest.raises(ValueError, match="l2 must not be below 0"):
        multinomial.fit(X, y, l2=-1.0)
    with pytest.raises(ValueError, match=r"l1 must broadcast against coef \(5, 3\), got l1 \(5,\)"):
        multinomial.fit(X, y, l1=np.ones(5))
    with pytest.raises(ValueError, match=r"class_weight must have shape \(3,\)"):
        multinomial.fit(X, y, class_weight=np.ones(2))
    with pytest.raises(ValueError, match="class_weight must be None"):
        multinomial.fit(X, y, class_weight="auto")
    with pytest.raises(ValueError, match=r"offset must have shape \(120,\) or \(120, 3\)"):
        multinomial.fit(X, y, offset=np.ones((120, 2)))
    with pytest.raises(ValueError, match=r"init.coef must have shape \(5, 3\)"):
        multinomial.fit(X, y, init=ji.Linear(jnp.ones(5), jnp.ones(3)))
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        multinomial.fit(X, y, sample_weight=-np.ones(120))
    # Values that are only on the device.
    labels = jnp.asarray(y)
    fit = partial(multinomial.fit, n_classes=3, l1=0.01, l2=0.1, sample_weight=np.ones(120))  # a program for all

    def status(*data, **given):
        return fit(*data, **given).info.status

    assert status(X, labels.at[3].set(3)) == ji.Status.DOMAIN
    assert status(X, labels.at[3].set(-1)) == ji.Status.DOMAIN
    assert status(X, jnp.asarray(soft)) == ji.Status.DOMAIN
    assert status(X, jnp.asarray(soft).at[5, 0].set(jnp.nan)) == ji.Status.NONFINITE
    assert status(X, labels, l2=jnp.array(-1.0)) == ji.Status.SINGULAR
    assert status(X, labels, l1=jnp.array(-1.0)) == ji.Status.SINGULAR
    assert status(X, labels, l2=jnp.array(jnp.nan)) == ji.Status.NONFINITE
    assert status(X, labels, sample_weight=jnp.zeros(120)) == ji.Status.SINGULAR
    assert status(X, labels, sample_weight=-jnp.ones(120)) == ji.Status.SINGULAR
    assert status(X, labels, max_iter=1) == ji.Status.MAX_ITER
    for value in (np.nan, np.inf):
        bad = X.copy()
        bad[3, 2] = value
        found = fit(bad, y)
        assert found.info.status == ji.Status.NONFINITE
        assert np.isnan(np.asarray(found.params.coef)).all()


@pytest.mark.parametrize("size", [19.0, 300.0])
def test_a_large_offset_of_a_class_is_taken_back_by_its_intercept(size):
    model = BY_NAME["multinomial"]
    X, y = model.data()
    offset = size * np.eye(3)[np.ones(len(y), int)]
    fit = ji.check(ji.multinomial.fit(X, y, l2=0.05, n_classes=3, offset=offset, tol=1e-10))
    plain = ji.multinomial.fit(X, y, l2=0.05, n_classes=3, tol=1e-10)
    np.testing.assert_allclose(fit.params.coef, plain.params.coef, atol=1e-8)
