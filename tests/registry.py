"""One row a model: what the contract tests need to run it through every column of the test matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import jaxinfra as ji
from tests.references import least_squares


@dataclass(frozen=True)
class Model:
    """name; the module with the verbs; traced hyper-parameters; static ones; its plain NumPy reference.

    `reference(X, y, sample_weight=..., **hyper, **static)` returns the params as a tuple of float64 arrays and
    `gradient(*params, X, y, sample_weight=..., **hyper)` the derivative of the objective by them.
    """

    name: str
    module: Any
    reference: Callable[..., tuple[np.ndarray, ...]]
    gradient: Callable[..., tuple[np.ndarray, ...]]
    hyper: dict[str, Any] = field(default_factory=dict)
    static: dict[str, Any] = field(default_factory=dict)
    targets: int | None = None
    n: int = 40
    p: int = 5

    def data(self, seed: int = 0, n: int | None = None, p: int | None = None, dtype: Any = np.float64):
        """Well-conditioned seeded data: X with a condition number below 10 and means about 1, y with noise 0.3."""
        n, p = n or self.n, p or self.p
        rng = np.random.default_rng(seed)
        q = np.linalg.qr(rng.standard_normal((max(n, p), min(n, p))))[0]
        mixing = np.linalg.qr(rng.standard_normal((p, p)))[0]
        base = q if n >= p else q.T
        scales = np.geomspace(1, 4, base.shape[1])
        X = (base * scales) @ mixing * np.sqrt(n) + rng.uniform(0.5, 1.5, p)
        shape = (p,) if self.targets is None else (p, self.targets)
        signal = X @ rng.standard_normal(shape) + 2
        return X.astype(dtype), (signal + 0.3 * rng.standard_normal(signal.shape)).astype(dtype)

    def weights(self, seed: int = 1, n: int | None = None, dtype: Any = np.float64) -> np.ndarray:
        """Weights between 0.5 and 2."""
        return np.random.default_rng(seed).uniform(0.5, 2, n or self.n).astype(dtype)

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:
        """The model's fit with its own hyper-parameters unless `kwargs` has others."""
        return self.module.fit(X, y, **{**self.hyper, **self.static, **kwargs})


def _least_squares(name: str, module: Any, **kwargs: Any) -> Model:
    return Model(name, module, least_squares.fit, least_squares.gradient, **kwargs)


MODELS = [
    _least_squares("ols", ji.ols),
    _least_squares("ols_no_intercept", ji.ols, static={"fit_intercept": False}),
    _least_squares("ols_targets", ji.ols, targets=3),
    _least_squares("ols_wide", ji.ols, n=6, p=9),
    _least_squares("ridge", ji.ridge, hyper={"l2": 0.3}),
    _least_squares("ridge_by_feature", ji.ridge, hyper={"l2": np.array([0.0, 0.1, 0.2, 0.4, 0.8])}),
    _least_squares("ridge_by_target", ji.ridge, hyper={"l2": np.array([0.0, 0.3, 2.0])}, targets=3),
    _least_squares("ridge_wide", ji.ridge, hyper={"l2": 0.3}, n=6, p=9),
]
BY_NAME = {model.name: model for model in MODELS}
