"""Helpers of the tests of multinomial regression: data, the unit of its optimality, comparison of parameters."""

from __future__ import annotations

import jax
import numpy as np
import pytest

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])
# (tol, largest error of the parameters, absolute). The default of float32, 3e-4 of gradient, allows errors of 1e-2
# where the curvature is small, and how much of it is used differs between processors. That of float64 is its default.
ACCURACY = {np.float64: (np.finfo(np.float64).eps ** 0.5, 1e-6), np.float32: (1e-5, 2e-4)}


def close(actual, expected, atol):
    """Absolute errors: gradients of a tight fit and intercepts that are left out are 0."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(e, float), rtol=0, atol=atol, strict=True)


def problem(n=120, p=5, K=3, seed=0, noise=1.0):
    """Labels drawn from the model, columns of different mean and scale."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.geomspace(0.5, 3, p) + rng.uniform(-1, 2, p)
    eta = 0.7 * (X - X.mean(0)) @ rng.standard_normal((p, K)) + 0.3 * rng.standard_normal(K)
    return X, (eta + noise * rng.gumbel(size=(n, K))).argmax(1)


def scale(X, y, K, w=None):
    """rms of the centred columns times the rms of dloss/deta at the class shares: the unit of info.optimality."""
    w = np.ones(len(y)) / len(y) if w is None else w / w.sum()
    X = np.asarray(X, float) - np.mean(X, 0, dtype=float)
    r = np.eye(K)[y] - w @ np.eye(K)[y]
    return np.sqrt(w @ X**2)[:, None] * np.sqrt((w @ r**2).mean())
