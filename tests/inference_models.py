"""Every model that has errors, with rows, for `test_infer_columns.py` and `test_infer_edges.py`."""

from __future__ import annotations

import numpy as np

import jaxinfra as ji
from jaxinfra import families, norms

N, P = 80, 3
RNG = np.random.default_rng(5)
X = RNG.standard_normal((N, P))
ETA = X @ [0.5, -0.4, 0.3]
Y = ETA + 0.5 * RNG.standard_normal(N) * (1 + np.abs(X[:, 0]))
BINARY = (ETA + RNG.logistic(size=N) > 0).astype(int)
CLASSES = np.digitize(ETA + RNG.logistic(size=N), [-1.0, 1.0])
COUNTS = RNG.poisson(np.exp(0.5 + 0.5 * ETA)).astype(float)
GROUPS = RNG.integers(0, 9, N)

# model, y, fixed, kinds of errors
MODELS = {
    "ols": (ji.ols, Y, {}, ("model", "HC3", "cluster")),
    "ridge": (ji.ridge, Y, {"l2": 0.1}, ("model",)),
    "logistic": (ji.logistic, BINARY, {}, ("model", "HC0")),
    "poisson": (ji.glm, COUNTS, {"family": families.Poisson()}, ("model", "HC1")),
    "huber": (ji.huber, Y, {}, ("H1", "H3")),
    "m_estimator": (ji.m_estimator, Y, {"norm": norms.Tukey()}, ("H2",)),
    "quantile": (ji.quantile, Y, {"tau": 0.4}, ("powell", "kernel", "iid")),
    "multinomial": (ji.multinomial, CLASSES, {}, ("model", "HC0")),
    "ordinal": (ji.ordinal, CLASSES, {}, ("model", "HC1")),
}
