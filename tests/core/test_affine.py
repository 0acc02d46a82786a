"""Predictions: how many programs a new number of rows compiles, and the linear predictor."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra.svm import _one_vs_one

RNG = np.random.default_rng(0)
COEF, INTERCEPT = RNG.standard_normal(3), np.float64(0.5)
LINEAR = ji.Linear(jnp.asarray(COEF), jnp.asarray(INTERCEPT))
SEVERAL = ji.Linear(jnp.asarray(RNG.standard_normal((3, 4))), jnp.zeros(4))
VECTORS = jnp.asarray(RNG.standard_normal((6, 3)))
PAIRS = ji.Machine(jnp.asarray(RNG.standard_normal((3, 6))), jnp.zeros(3), VECTORS, ji.kernels.Linear())
PARAMS = [
    ("ols", LINEAR, 1), ("logistic", LINEAR, 1), ("multinomial", SEVERAL, 1),
    ("glm", ji.GLM(*LINEAR, ji.links.Log()), 1), ("linear_svm", SEVERAL, 1),
    ("ordinal", ji.Thresholds(LINEAR.coef, jnp.array([-1.0, 1.0]), ji.links.Logit()), 1),
    ("svc", PAIRS, 1), ("nu_svc", PAIRS, 1),
]  # fmt: skip


@pytest.mark.parametrize("name, params, programs", PARAMS, ids=[row[0] for row in PARAMS])
def test_programs_of_a_new_number_of_rows(name, params, programs, compilations):
    model = getattr(ji, name)
    for n in (7, 8):
        X = RNG.standard_normal((n, 3))
        with compilations() as count:
            model.predict(params, X)
        assert count[0] <= programs  # svc and nu_svc share theirs


def test_a_machine_predicts_in_blocks_that_all_numbers_of_rows_share(compilations):
    """Blocks of 16, 128 and, for more than 384, 1024 rows, the last one filled up."""
    gamma, coef = 0.5, np.asarray(PAIRS.coef)
    machine = PAIRS._replace(kernel=ji.kernels.RBF(gamma))
    compiled = []
    for n in (3, 1, 0, 16, 17, 130, 260, 1200, 1024, 2100):
        X = RNG.standard_normal((n, 3))
        with compilations() as count:
            found = ji.svc.decision(machine, X)
        square = ((X[:, None] - np.asarray(VECTORS)[None]) ** 2).sum(2)
        np.testing.assert_allclose(found, np.exp(-gamma * square) @ coef.T, rtol=1e-12, atol=1e-12)
        compiled.append(count[0])
    assert compiled == [2, 0, 0, 0, 1, 0, 0, 1, 0, 0]  # first what depends on the machine alone
    inside = jax.jit(lambda scale: scale * ji.svc.decision(machine, X[:20]))(2.0)  # of constants, while tracing
    np.testing.assert_allclose(inside, 2 * ji.svc.decision(machine, X[:20]), rtol=1e-12)


def test_the_predictor_and_what_follows_it_are_one_program():
    X = RNG.standard_normal((100, 3))
    expected = X @ COEF + INTERCEPT
    np.testing.assert_allclose(ji.ols.decision(LINEAR, X), expected, rtol=1e-12, atol=1e-12)
    found = ji.logistic.predict(LINEAR, X, offset=np.full(100, 0.25))
    np.testing.assert_array_equal(found, expected + 0.25 > 0)


def test_votes_are_counted():
    """Each pair's vote goes to its second class where its decision is not negative."""
    value = RNG.standard_normal((20, 6))  # of four classes
    expected = np.zeros((20, 4), int)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for row, of_row in enumerate(value):
        for (first, second), v in zip(pairs, of_row, strict=True):
            expected[row, second if v >= 0 else first] += 1
    np.testing.assert_array_equal(_one_vs_one.votes(jnp.asarray(value)), expected)
    np.testing.assert_array_equal(_one_vs_one.winner(jnp.asarray(value)), expected.argmax(1))
