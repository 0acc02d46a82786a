"""A row of weight 0 is absent, whatever it holds: every model, alone and in batches that share X."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from tests.helpers import close
from tests.machines import DISTINCT
from tests.registry import BY_NAME, MODELS, OTHERS

VALUES = {"nan": np.nan, "inf": np.inf, "1e30": 1e30}
ABSENT = np.arange(40) % 4 == 1
SOLVERS = ("ols", "lasso", "nnls", "group_lasso", "multitask_lasso", "logistic", "multinomial", "glm_poisson", "huber",
           "m_estimator", "quantile")  # fmt: skip


def fits():
    """(name, fit(X, y, w), data) of every model."""
    for model in MODELS:
        if model.n == 40:
            yield model.name, lambda X, y, w, model=model: model.fit(X, y, sample_weight=w), model
    for other in OTHERS:
        yield other.name, other.fit, BY_NAME[other.like]
    for machine in DISTINCT:
        yield machine.name, machine.fit, BY_NAME[machine.like]


FITS = {name: (fit, model) for name, fit, model in fits()}
MACHINE_NAMES = [machine.name for machine in DISTINCT]
QUICK = ("ols", "lasso", "logistic", "multinomial", "huber", "m_estimator", "quantile", "svc", "ordinal")


def spoiled(X, y, value):
    """The same where rows count; the others hold the value, and labels that do not exist."""
    X, y = X.copy(), y.copy()
    X[ABSENT] = value
    y[ABSENT] = 17 if y.dtype.kind == "i" else value
    return X, y


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FITS])
def test_whatever_it_holds(name):
    fit, model = FITS[name]
    X, y = model.data()
    w = np.where(ABSENT, 0.0, model.weights())
    expected = fit(X, y, w)
    for value in VALUES.values():
        found = fit(*spoiled(X, y, value), w)
        assert found.info.status == expected.info.status == ji.Status.CONVERGED, value
        close(numbers(found), numbers(expected), 1e-7, value)
    # Only on the device.
    bad = [jnp.asarray(a) for a in spoiled(X, y, np.nan)]
    close(numbers(fit(*bad, jnp.asarray(w))), numbers(expected), 1e-7)
    # A row that counts is still seen.
    there = np.array(w)
    there[1] = 1.0
    if y.dtype.kind != "i":
        assert fit(*bad, jnp.asarray(there)).info.status == ji.Status.NONFINITE


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FITS])
def test_padded_rows(name):
    """37 rows padded to 40 are 37 rows: by the reference on those where there is one, else by their own fit."""
    fit, model = FITS[name]
    X, y, w = (a[:37] for a in (*model.data(), model.weights()))
    padded = ji.pad_rows(X, y, w)
    assert len(padded[0]) == 40
    found = fit(*padded)
    assert found.info.status == ji.Status.CONVERGED
    if name in BY_NAME:
        expected = model.expected(X, y, sample_weight=w)
        close(numbers(found)[: len(expected)], expected, 1e-5, floor=1e-2)
    elif name == "theil_sen":  # of other subsets
        close(numbers(found), numbers(fit(X, y, w)), 0.2)
    else:
        expected = numbers(fit(X, y, w))
        found = tuple(v[..., :37] if v.shape[-1:] == (40,) else v for v in numbers(found))  # a machine's are of rows
        close(found, expected, 1e-3 if name in MACHINE_NAMES else 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in MODELS if model.n == 6], ids=lambda model: model.name)
def test_padded_rows_that_become_more_than_the_columns(model):
    """6 rows of 9 columns become 16, which another engine fits."""
    X, y = model.data()
    w = model.weights()
    found = model.fit(*(padded := ji.pad_rows(X, y, w))[:2], sample_weight=padded[2])
    assert len(padded[0]) == 16 and found.info.status == ji.Status.CONVERGED
    close(tuple(found.params), model.expected(X, y, sample_weight=w), 1e-5)


def numbers(fit):
    return tuple(getattr(fit.params, name) for name in ("coef", "intercept", "scale", "thresholds")
                 if hasattr(fit.params, name))  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("ols", "logistic") else pytest.mark.slow) for n in (*SOLVERS, "svc")]
)
def test_in_lanes_that_share_it(name):
    """Folds in which a bad row is absent fit as without it; those in which it counts end as NONFINITE."""
    fit, model = FITS[name]
    X, y = model.data()
    w = np.stack([np.where(ABSENT, 0.0, model.weights(k)) for k in range(3)])
    bad = np.array(X)
    bad[1, 0], bad[5] = np.inf, np.nan
    lanes = jax.jit(jax.vmap(lambda w: fit(bad, y, w)))
    w[2, 5] = 1.0
    found = lanes(w)
    assert list(found.info.status) == [0, 0, ji.Status.NONFINITE]
    for k in range(2):
        expected = fit(X, y, w[k])
        close(tuple(v[k] for v in numbers(found)), numbers(expected), 1e-7)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "logistic" else pytest.mark.slow) for n in SOLVERS])
def test_derivatives(name):
    """Derivatives by absent rows are 0, those by the others as without them."""
    fit, model = FITS[name]
    X, y = model.data()
    w = np.where(ABSENT, 0.0, model.weights())
    smooth = y.dtype.kind != "i"

    def total(X, w):
        return sum((v**2).sum() for v in numbers(fit(X, bad_y if smooth else y, w)))

    bad, bad_y = spoiled(X, y, np.nan)
    slope = jax.jit(jax.grad(total, (0, 1)))
    found = slope(bad, w)
    bad_y = y
    expected = jax.jit(jax.grad(total, (0, 1)))(X, w)
    assert (np.asarray(found[0])[ABSENT] == 0).all()
    close(np.asarray(found[0])[~ABSENT], np.asarray(expected[0])[~ABSENT], 1e-6)
    close(np.asarray(found[1])[~ABSENT], np.asarray(expected[1])[~ABSENT], 1e-6)


COMING = ("ols", "logistic", "glm_poisson", "multinomial", "ordinal", "huber", "m_estimator", "lasso")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "logistic" else pytest.mark.slow) for n in COMING])
def test_a_row_that_comes_in(name):
    """The derivative by a weight of 0 is that of the row."""
    fit, model = FITS[name]
    X, y = model.data()
    w = np.where(ABSENT, 0.0, model.weights())

    def total(w):
        return sum((v**2).sum() for v in numbers(fit(X, y, w)))

    found = jax.jit(jax.grad(total))(w)[1]
    h = 1e-4
    values = [float(total(w + k * h * (np.arange(40) == 1))) for k in range(3)]
    assert found == pytest.approx((-3 * values[0] + 4 * values[1] - values[2]) / (2 * h), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("dtype, far", [(np.float32, 1e5), (np.float64, 1e12)])
def test_an_outlier_that_is_absent(dtype, far):
    """It enters no centre, scale, norm or start."""
    x = np.array([-1, 1, -2, 2, 0.5, -0.5, far], dtype)[:, None]
    y, w = np.array([0, 1, 1, 0, 1, 0, 0]), np.array([1] * 6 + [0], dtype)
    fit = ji.check(ji.logistic.fit(x, y, sample_weight=w))
    few = ji.check(ji.logistic.fit(x[:6], y[:6]))
    np.testing.assert_allclose(fit.params.coef, few.params.coef, rtol=1e-3 if dtype is np.float32 else 1e-7)


def test_a_weight_is_a_count_for_the_default_kernel_too():
    model = BY_NAME["logistic"]
    X, y = model.data()
    w = np.arange(40) % 3
    once = ji.svc.fit(np.repeat(X, w, 0), np.repeat(y, w), tol=1e-8)
    found = ji.svc.fit(X, y, sample_weight=w.astype(float), tol=1e-8)
    np.testing.assert_allclose(found.params.kernel.gamma, once.params.kernel.gamma, rtol=1e-12)
    np.testing.assert_allclose(ji.svc.decision(found.params, X), ji.svc.decision(once.params, X), rtol=1e-5, atol=1e-6)
