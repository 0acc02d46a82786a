"""Certified digits: NIST StRD, and the worked example."""

from __future__ import annotations

import numpy as np
import pytest

import jaxinfra as ji
from tests import nist

WANTED = {"Norris": 12, "Pontius": 12, "NoInt1": 12, "NoInt2": 12, "Longley": 9} | {
    f"Wampler{i}": 9 for i in range(1, 6)
}


def digits(data: nist.Dataset, dtype=np.float64) -> float:
    fit = ji.check(ji.ols.fit(data.X.astype(dtype), data.y.astype(dtype), fit_intercept=data.fit_intercept))
    assert fit.info.rank == data.X.shape[1]
    coef = np.asarray(fit.params.coef, float)
    estimate = np.concatenate([[float(fit.params.intercept)], coef]) if data.fit_intercept else coef
    return nist.correct_digits(estimate, data.certified)


# One of each difficulty that NIST states, and one without an intercept; every other is another shape.
QUICK = ("Norris", "NoInt1", "Longley", "Filip")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in WANTED]
)
def test_certified_digits(name, nist_folder):
    assert digits(nist.load(nist_folder, name)) >= WANTED[name]


@pytest.mark.parametrize("name", ["Wampler1", "Wampler2", "NoInt1", "NoInt2"])
def test_certified_digits_by_formula(name):
    assert digits(nist.by_formula(name)) >= WANTED[name]


@pytest.mark.parametrize("name", ["Wampler1", "Wampler2", "NoInt1", "NoInt2"])
def test_files_equal_formula(name, nist_folder):
    file, formula = nist.load(nist_folder, name), nist.by_formula(name)
    np.testing.assert_array_equal(file.X, formula.X)
    np.testing.assert_allclose(file.y, formula.y, rtol=1e-14)
    np.testing.assert_allclose(file.certified, formula.certified, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("name", WANTED)
def test_single_precision_keeps_what_it_can(name, nist_folder):
    """float32 is at least as good as LAPACK's float32 least squares on the same data, and predicts y."""
    from scipy.linalg import lstsq

    data = nist.load(nist_folder, name)
    X, y = data.X.astype(np.float32), data.y.astype(np.float32)
    design = np.column_stack([np.ones_like(y), X]) if data.fit_intercept else X
    lapack = nist.correct_digits(lstsq(design, y)[0], data.certified)
    assert digits(data, np.float32) >= min(lapack, 6)


@pytest.mark.parametrize("dtype, tol", [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_worked_example(dtype, tol):
    X = np.array([[1, 2], [4, 5], [7, 8]], dtype)
    y = np.array([3, 6, 9], dtype)
    fit = ji.ols.fit(X, y, fit_intercept=False)
    np.testing.assert_allclose(fit.params.coef, [-1, 2], atol=10 * tol)
    np.testing.assert_allclose(ji.ols.predict(fit.params, X), y, atol=10 * tol)
    assert fit.info.rank == 2
    # With intercept the centred columns are equal.
    fit = ji.ols.fit(X, y)
    np.testing.assert_allclose(fit.params.coef, [0.5, 0.5], atol=tol)
    np.testing.assert_allclose(fit.params.intercept, 1.5, atol=10 * tol)
    np.testing.assert_allclose(ji.ols.predict(fit.params, X), y, atol=10 * tol)
    assert fit.info.rank == 1
