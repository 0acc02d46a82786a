"""Changes of the data that must not change a fit, on data that hypothesis draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import jaxinfra as ji
from tests.helpers import close
from tests.registry import BY_NAME, CLASSES

pytestmark = pytest.mark.slow

NAMES = ["ols", "ridge", "ols_wide", "lasso", "elastic_net", "logistic", "multinomial", "glm_poisson", "glm_poisson_l1"]
MODELS = [BY_NAME[name] for name in NAMES]
LEAST_SQUARES = [model for model in MODELS if model.subtracts_offset]
seeds = st.integers(0, 2**31)
drawn = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def over(models):
    return pytest.mark.parametrize("model", models, ids=lambda m: m.name)


def fit(model, X, y, w, **kwargs):
    return ji.check(model.fit(X, y, sample_weight=w, **kwargs)).params


@over(MODELS)
@drawn
@given(seed=seeds)
def test_permutation_of_rows_and_columns(model, seed):
    X, y = model.data(seed)
    w = model.weights(seed)
    base = fit(model, X, y, w)
    rng = np.random.default_rng(seed)
    i, j = rng.permutation(len(y)), rng.permutation(X.shape[1])
    by_feature = {k: v[j] for k, v in {**model.hyper, **model.static}.items() if np.shape(v) == j.shape}
    moved = fit(model, X[i][:, j], y[i], w[i], **by_feature)
    close(moved.coef, base.coef[j], 1e-6)
    close(moved.intercept, base.intercept, 1e-6)


@over(LEAST_SQUARES)
@drawn
@given(seed=seeds, shift=st.floats(-1e3, 1e3), scale=st.floats(1e-3, 1e3), flip=st.booleans())
def test_affine_maps_of_y(model, seed, shift, scale, flip):
    X, y = model.data(seed)
    w = model.weights(seed)
    base = fit(model, X, y, w)
    more = {"l1": scale * np.asarray(model.hyper["l1"])} if "l1" in model.hyper else {}
    scale = -scale if flip else scale
    moved = fit(model, X, scale * y + shift, w, **more)
    close(moved.coef, scale * base.coef, 1e-6 + 1e-12 * abs(shift) / abs(scale))


@over(MODELS)
@drawn
@given(seed=seeds, shift=st.floats(-1e3, 1e3))
def test_shifts_of_x(model, seed, shift):
    X, y = model.data(seed)
    w = model.weights(seed)
    base = fit(model, X, y, w)
    moved = fit(model, X + shift, y, w)
    close(moved.coef, base.coef, 1e-6)
    close(model.module.decision(moved, X + shift), model.module.decision(base, X), 1e-6)


@over([model for model in MODELS if not model.subtracts_offset])
@drawn
@given(seed=seeds, shift=st.floats(-20, 20))
def test_a_constant_offset_moves_the_intercept(model, seed, shift):
    X, y = model.data(seed)
    w = model.weights(seed)
    base = fit(model, X, y, w)
    one = np.arange(CLASSES) == 1 if model.y == "classes" else np.array(1)
    moved = fit(model, X, y, w, offset=shift * np.broadcast_to(one.astype(float), (len(y), *one.shape)))
    close(moved.coef, base.coef, 1e-6)
    # The intercepts of classes sum to 0.
    np.testing.assert_allclose(moved.intercept, base.intercept - shift * (one - one.mean() * (one.ndim > 0)), atol=1e-6)


@drawn
@given(seed=seeds, exponents=st.lists(st.integers(-20, 20), min_size=5, max_size=5))
def test_units_of_x(seed, exponents):
    """OLS is equivariant to the units of the columns, whatever their ratio."""
    model = BY_NAME["ols"]
    X, y = model.data(seed)
    w = model.weights(seed)
    units = 10.0 ** np.array(exponents)
    close(fit(model, X * units, y, w).coef * units, fit(model, X, y, w).coef, 1e-6)


@over([BY_NAME["elastic_net"], BY_NAME["logistic"], BY_NAME["multinomial"], BY_NAME["glm_poisson_l1"]])
@drawn
@given(seed=seeds, exponents=st.lists(st.integers(-3, 3), min_size=5, max_size=5))
def test_units_of_x_and_of_the_penalties(model, seed, exponents):
    X, y = model.data(seed)
    w = model.weights(seed)
    units = 10.0 ** np.array(exponents)
    column = units[:, None] if model.y == "classes" else units
    powers = {"l1": column, "l2": column**2}
    base = fit(model, X, y, w, **{k: v * np.ones_like(column) for k, v in model.hyper.items()})
    moved = fit(model, X * units, y, w, **{k: v * powers[k] for k, v in model.hyper.items()})
    close(moved.coef * column, base.coef, 1e-6)


@drawn
@given(seed=seeds)
def test_flipped_labels_flip_the_coefficients(seed):
    model = BY_NAME["logistic"]
    X, y = model.data(seed)
    w = model.weights(seed)
    base, flipped = fit(model, X, y, w), fit(model, X, 1 - y, w)
    close(-flipped.coef, base.coef, 1e-6)
    close(-flipped.intercept, base.intercept, 1e-6)


@drawn
@given(seed=seeds, order=st.permutations(range(CLASSES)))
def test_renamed_classes_permute_the_coefficients(seed, order):
    model, order = BY_NAME["multinomial"], np.array(order)
    X, y = model.data(seed)
    w = model.weights(seed)
    base, renamed = fit(model, X, y, w), fit(model, X, order[y], w)
    close(np.asarray(renamed.coef)[:, order], base.coef, 1e-6)
    close(np.asarray(renamed.intercept)[order], base.intercept, 1e-6)


@over(MODELS)
@drawn
@given(seed=seeds, whole=st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_whole_weights_repeat_rows(model, seed, whole):
    X, y = model.data(seed, n=40 if model.n == 40 else 6)
    w = np.resize(np.array(whole, float), len(y))
    assume(w.sum() >= 3)
    keep = np.repeat(np.arange(len(y)), w.astype(int))
    if model.y in ("binary", "classes", "count"):  # no class is absent
        assume(len(np.unique(y[keep])) >= (CLASSES if model.y == "classes" else 2))
    expected = model.expected(X[keep], y[keep])
    got = fit(model, X, y, w)
    close(np.asarray(X[keep] @ got.coef), X[keep] @ expected[0], 1e-6)
    if np.linalg.cond(X[w > 0] - X[w > 0].mean(0)) < 1e6 or "l2" in model.hyper:
        close(got.coef, expected[0], 1e-6)
