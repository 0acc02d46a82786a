"""Fits on a CPU by their lean program: the answer of the whole one, which follows where data need it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra.linear import glm, logistic, multinomial, ordinal

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
ETA = X @ [1.0, -0.5, 0.2] + RNG.logistic(size=60)
TWO, THREE = (ETA > 0).astype(int), np.digitize(ETA, [-1.0, 1.0])
POISSON = {"family": ji.families.Poisson()}
# fit, labels, labels that no finite parameters explain
CASES = {
    "logistic": (lambda X, y, **kw: logistic.fit(X, y, **kw), TWO, (X[:, 0] > 0).astype(int)),
    "poisson": (lambda X, y, **kw: glm.fit(X, y, **POISSON, **kw), THREE, 0 * THREE),
    "ordinal": (lambda X, y, **kw: ordinal.fit(X, y, n_classes=3, **kw), THREE, np.digitize(X[:, 0], [-0.5, 0.5])),
    "multinomial": (
        lambda X, y, **kw: multinomial.fit(X, y, n_classes=3, **kw), THREE, np.digitize(X[:, 0], [-0.5, 0.5]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_lean_then_whole(name):
    fit, y, apart = CASES[name]
    found, expected = fit(X, y), jax.jit(fit)(X, y)
    assert found.info.status == expected.info.status == ji.Status.CONVERGED
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.info.objective, expected.info.objective, rtol=1e-12)
    assert found.info.n_iter == expected.info.n_iter
    assert fit(X, apart).info.status == ji.Status.SEPARABLE
    w = jax.numpy.ones(60)
    for weight, data, status in (
        (w.at[0].set(-1), X, "SINGULAR"), (0 * w, X, "SINGULAR"), (w, np.where(X[5] == X, np.nan, X), "NONFINITE"),
    ):  # fmt: skip
        assert fit(data, y, sample_weight=weight).info.status == ji.Status[status], (name, status)
    labels = jax.numpy.asarray(y).at[3].set(-1)
    assert fit(X, labels, sample_weight=w).info.status == ji.Status.DOMAIN
    absent = fit(X, labels, sample_weight=w.at[3].set(0))
    assert absent.info.status == ji.Status.CONVERGED
