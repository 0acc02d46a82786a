"""The lean programs of quantile, the robust models and the linear machine, where they suffice and where they do not."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxinfra as ji
from bench.runner import aot
from tests.helpers import close

pytestmark = pytest.mark.slow

# A shape of no other test: what is compiled already would not be counted.
ROWS, COLUMNS = 93, 3
FITS = {
    "quantile": lambda X, y: ji.quantile.fit(X, y, tau=0.3),
    "quantiles": lambda X, y: ji.quantile.fit(X, y, tau=np.array([0.2, 0.7])),
    "huber": lambda X, y: ji.huber.fit(X, y),
    "m_estimator": lambda X, y: ji.m_estimator.fit(X, y, norm=ji.norms.Tukey()),
    "linear_svm": lambda X, y: ji.linear_svm.fit(X, (y > 0).astype(np.int32), n_classes=2),
}


def line(rng):
    X = rng.standard_normal((ROWS, COLUMNS))
    return X, X @ np.array([1.0, -2.0, 0.5]) + rng.standard_normal(ROWS)


@pytest.mark.parametrize("name", FITS)
def test_ordinary_data_need_the_lean_program_alone(name, rng):
    X, y = line(rng)
    before = len(aot.live())
    called = jax.block_until_ready(FITS[name](X, y))
    assert len(aot.live()) == before + 1
    whole = jax.jit(FITS[name])(X, y)
    assert (called.info.status == whole.info.status).all() and (called.info.n_iter == whole.info.n_iter).all()
    close(called.params, whole.params, 1e-9)
    close(called.info.objective, whole.info.objective, 1e-9)


@pytest.mark.parametrize("name", FITS)
def test_what_the_lean_program_leaves_out_is_found(name, rng):
    """NaN, residuals of 0, outliers beyond the frame, and steps that do not suffice."""
    X, y = line(rng)
    nan, far = X.copy(), y.copy()
    nan[3, 1] = np.nan
    far[:40] += 1e8
    for A, b in [(nan, y), (X, X @ np.ones(COLUMNS)), (X, far)]:
        called, whole = FITS[name](A, b), jax.jit(FITS[name])(A, b)
        assert (called.info.status == whole.info.status).all()
        if np.isfinite(np.asarray(whole.params.coef)).all():
            close(called.params, whole.params, 1e-7)
        else:
            assert np.isnan(np.asarray(called.params.coef)).all()


@pytest.mark.parametrize("model", [ji.huber, ji.m_estimator, ji.quantile])
def test_too_few_steps_end_as_in_the_whole_program(model, rng):
    X, y = line(rng)
    called = model.fit(X, y, max_iter=2)
    whole = jax.jit(lambda X, y: model.fit(X, y, max_iter=2))(X, y)
    assert called.info.status == whole.info.status == ji.Status.MAX_ITER
    close(called.params, whole.params, 1e-12)
