"""Errors do not depend on the level of a column, down to the resolution of its dtype."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import infer
from tests import nist
from tests.helpers import of
from tests.inference_models import GROUPS, MODELS, RNG, N, X, Y
from tests.references import sandwich

pytestmark = pytest.mark.slow

moved = pytest.mark.parametrize("name", MODELS)


def errors(name, X, dtype=np.float64, **given):
    """The standard errors of the coefficients, and z of the first, of every kind."""
    model, y, fixed, kinds = MODELS[name]
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    tight = {} if model in (ji.ols, ji.ridge, ji.quantile) else {"tol": 1e-10 if dtype is np.float64 else 1e-5}
    fit = model.fit(X.astype(dtype), y, **fixed, **tight)
    found = []
    for kind in kinds:
        more = {"groups": GROUPS} if kind == "cluster" else {}
        i = infer.inference(of(model, fit, fixed), X.astype(dtype), y, kind=kind, **more)
        found.append(np.asarray(i.se[: np.size(fit.params.coef)], float))
    return np.array(found)


@moved
@pytest.mark.parametrize("dtype, far, rtol", [(np.float64, 1e6, 1e-6), (np.float32, 1e3, 1e-3)])
def test_a_constant_added_to_a_column_changes_no_error(name, dtype, far, rtol):
    """Years, dates, temperatures in kelvin: (X, 1) is never squared with its means."""
    # Kept as they are by the addition.
    rounded = (X * 2**6).round() / 2**6
    moved = rounded + np.array([far, 0, -far])
    assert (moved.astype(dtype).astype(float) == moved).all()
    np.testing.assert_allclose(errors(name, moved, dtype), errors(name, rounded), rtol=rtol)


def test_years():
    """The example of a report: errors of 4.4e-5 where 0.031 is right."""
    year = np.tile(np.arange(2000.0, 2020.0), 2)
    y = 0.3 * (year - year.mean()) + RNG.standard_normal(40)
    for dtype in (np.float32, np.float64):
        x, t = year[:, None].astype(dtype), y.astype(dtype)
        for kind in ("model", "HC3"):
            found = infer.inference(ji.ols.fit(x, t), x, t, kind=kind)
            expected = np.sqrt(np.diag(sandwich.least_squares(x - 2010.0, y, kind)))[0]
            np.testing.assert_allclose(found.se[0], expected, rtol=1e-4 if dtype is np.float32 else 1e-10)
            assert found.covariance.df_residual == 38


def test_beyond_what_the_dtype_carries_there_is_no_error():
    seconds = 1.7e9 + 10 * np.arange(N, dtype=float)
    for dtype in (np.float32, np.float64):
        x = seconds[:, None].astype(dtype)
        found = infer.inference(ji.ols.fit(x, Y.astype(dtype)), x, Y.astype(dtype))
        if dtype is np.float32:
            assert np.isnan(found.se).all() and np.isnan(found.p_value).all()
        else:
            expected = np.sqrt(np.diag(sandwich.least_squares(x - x.mean(), Y, "model")))[0]
            np.testing.assert_allclose(found.se[0], expected, rtol=1e-8)


@pytest.mark.parametrize(
    "name", ["Norris", "Longley", "Pontius", "NoInt1", "NoInt2", "Wampler3", "Wampler4", "Wampler5"]
)
def test_certified_deviations(name, nist_folder):
    """NIST's, to 9 digits; those of Wampler1 and 2 are 0."""
    data = nist.load(nist_folder, name)
    fixed = {"fit_intercept": data.fit_intercept}
    found = infer.inference(of(ji.ols, ji.ols.fit(data.X, data.y, **fixed), fixed), data.X, data.y).se
    found = np.roll(found, 1) if data.fit_intercept else found
    assert nist.correct_digits(found, data.deviations) >= 9


def test_a_polynomial_of_degree_10():
    """(V'V)^-1 by fractions: exact."""
    X = nist.powers(np.linspace(-9, -3, 41).round(3), 10)
    y = np.random.default_rng(0).standard_normal(41)
    V = [[Fraction(v) for v in (*row, 1.0)] for row in X.tolist()]
    A = [[sum(row[i] * row[j] for row in V) for j in range(11)] + [Fraction(int(i == j)) for j in range(11)]
         for i in range(11)]  # fmt: skip
    for k in range(11):
        A[k] = [v / A[k][k] for v in A[k]]
        for i in range(11):
            if i != k:
                A[i] = [a - A[i][k] * b for a, b in zip(A[i], A[k], strict=True)]
    exact = np.array([float(A[i][11 + i]) ** 0.5 for i in range(11)])
    found = infer.inference(ji.ols.fit(X, y), X, y)
    np.testing.assert_allclose(found.se / np.sqrt(found.covariance.dispersion), exact, rtol=1e-6)
    assert found.covariance.df_residual == pytest.approx(30, abs=1e-6)
