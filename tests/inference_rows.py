"""Data of `test_infer.py` and `test_infer_published.py`: rows whose errors grow with a column, labels, groups."""

from __future__ import annotations

import numpy as np

N, P = 80, 3
RNG = np.random.default_rng(12)
X = RNG.standard_normal((N, P)) + 1
Y = X @ [1.0, 2.0, -1.0] + 1 + RNG.standard_normal(N) * (1 + np.abs(X[:, 0]))
GROUPS = RNG.integers(0, 9, N)
V = np.c_[X, np.ones(N)]
BINARY = (Y > 3).astype(int)
CLASSES = np.digitize(Y, [0.0, 3.0, 5.0])
KINDS = ["model", "HC0", "HC1", "HC2", "HC3", "cluster"]


def groups_of(kind):
    return {"groups": GROUPS} if kind == "cluster" else {}
