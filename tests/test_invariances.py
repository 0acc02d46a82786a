"""What must not change a fit, on data that hypothesis draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxinfra as ji
from tests.registry import BY_NAME

MODELS = [BY_NAME["ols"], BY_NAME["ridge"], BY_NAME["ols_wide"]]
seeds = st.integers(0, 2**31)
models = pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
drawn = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def fit(model, X, y, w):
    return ji.check(model.fit(X, y, sample_weight=w)).params


def close(a, b, rel=1e-6):
    a, b = np.asarray(a), np.asarray(b)
    assert np.abs(a - b).max() <= rel * max(np.abs(b).max(), 1e-3)


@models
@drawn
@given(seed=seeds)
def test_permutation_of_rows_and_columns(model, seed):
    X, y = model.data(seed)
    w = model.weights(seed)
    base = fit(model, X, y, w)
    rng = np.random.default_rng(seed)
    i, j = rng.permutation(len(y)), rng.permutation(X.shape[1])
    moved = fit(model, X[i][:, j], y[i], w[i])
    close(moved.coef, base.coef[j])
    close(moved.intercept, base.intercept)


@models
@drawn
@given(seed=seeds, shift=st.floats(-1e3, 1e3), scale=st.floats(1e-3, 1e3), flip=st.booleans())
def test_affine_maps_of_y_and_shifts_of_x(model, seed, shift, scale, flip):
    X, y = model.data(seed)
    w = model.weights(seed)
    base = fit(model, X, y, w)
    scale = -scale if flip else scale
    moved = fit(model, X, scale * y + shift, w)
    close(moved.coef, scale * base.coef, 1e-6 + 1e-12 * abs(shift) / abs(scale))
    moved = fit(model, X + shift, y, w)
    close(moved.coef, base.coef)
    close(ji.ols.predict(moved, X + shift), ji.ols.predict(base, X))


@drawn
@given(seed=seeds, exponents=st.lists(st.integers(-20, 20), min_size=5, max_size=5))
def test_units_of_x(seed, exponents):
    """OLS is equivariant to the units of the columns, whatever their ratio."""
    model = BY_NAME["ols"]
    X, y = model.data(seed)
    w = model.weights(seed)
    units = 10.0 ** np.array(exponents)
    close(fit(model, X * units, y, w).coef * units, fit(model, X, y, w).coef)


@models
@drawn
@given(seed=seeds, whole=st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_whole_weights_repeat_rows(model, seed, whole):
    X, y = model.data(seed, n=40 if model.n == 40 else 6)
    w = np.resize(np.array(whole, float), len(y))
    if w.sum() < 3:
        return
    keep = np.repeat(np.arange(len(y)), w.astype(int))
    expected = model.reference(X[keep], y[keep], **model.hyper)
    got = fit(model, X, y, w)
    close(np.asarray(X[keep] @ got.coef), X[keep] @ expected[0], 1e-6)
    if np.linalg.cond(X[w > 0] - X[w > 0].mean(0)) < 1e6 or model.hyper:
        close(got.coef, expected[0])
