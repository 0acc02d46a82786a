"""One row a model, with all that the contract tests need to run it through every column of the test matrix.

`tests/machines.py` is the same for machines, `tests/networks.py` for networks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

import jaxinfra as ji
from tests.references import (
    glm,
    group_lasso,
    huber,
    lasso,
    least_squares,
    logistic,
    m_estimator,
    multinomial,
    nnls,
    quantile,
)

CLASSES = 3


def accepted(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments for which the function has a parameter."""
    names = inspect.signature(function).parameters
    return {k: v for k, v in arguments.items() if k in names}


@dataclass(frozen=True, eq=False)
class Model:
    """One row of the registry.

    name, module: the module has the verbs.
    reference: (X, y, sample_weight=, offset=, **hyper, **static) -> the params as a tuple of float64 arrays.
    gradient: (*params, X, y, sample_weight=, **hyper, **static) -> the derivative of the objective by them; with an L1
        penalty the subgradient of the smallest norm.
    certificate: (model, params, X, y, w, hyper) -> what `info.optimality` measures, again, in float64.
    hyper: traced hyper-parameters, none of which may be negative.
    static: the other arguments of `fit`: static ones, families, links, groups.
    y: what y is: "real", "binary" and "classes" (integer labels), "share" (in [0, 1]), "count", "positive" or "amount"
        (positive with exact zeros).
    direct: solved to rounding whatever tol; the others get a small one in float64.
    single: whether float32 goes through the columns on batches and weights too; one row an engine.
    tol32: the tolerance of float32 where results are compared.
    second: whether second derivatives are tested; not where another row has the same engine.
    """

    name: str
    module: Any
    reference: Callable[..., tuple[np.ndarray, ...]]
    gradient: Callable[..., tuple[np.ndarray, ...]]
    certificate: Callable[..., float]
    hyper: dict[str, Any] = field(default_factory=dict)
    static: dict[str, Any] = field(default_factory=dict)
    y: str = "real"
    targets: int | None = None
    direct: bool = False
    single: bool = False
    tol32: float = 1e-4
    second: bool = True
    n: int = 40
    p: int = 5

    @property
    def subtracts_offset(self) -> bool:
        """Least squares subtract the offset from y; the others add it to the linear predictor."""
        return self.y == "real" and self.module is not ji.glm

    def data(self, seed: int = 0, n: int | None = None, p: int | None = None, dtype: Any = np.float64):
        """Well-conditioned seeded data: X with a condition number below 10 and means about 1, y with noise 0.3.

        Where y is not real, it is drawn about a linear predictor of standard deviation 1.
        """
        n, p = n or self.n, p or self.p
        rng = np.random.default_rng(seed)
        q = np.linalg.qr(rng.standard_normal((max(n, p), min(n, p))))[0]
        mixing = np.linalg.qr(rng.standard_normal((p, p)))[0]
        base = q if n >= p else q.T
        scales = np.geomspace(1, 4, base.shape[1])
        X = (base * scales) @ mixing * np.sqrt(n) + rng.uniform(0.5, 1.5, p)
        columns = CLASSES if self.y == "classes" else self.targets
        signal = X @ rng.standard_normal((p,) if columns is None else (p, columns)) + 2
        if self.y == "real":
            y = signal + 0.3 * rng.standard_normal(signal.shape)
        else:
            y = _draw(rng, self.y, (signal - signal.mean(0)) / signal.std(0))
        return X.astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype)

    def others(self, y: np.ndarray) -> np.ndarray:
        """Three possible y."""
        another = {"binary": 1 - y, "share": 1 - y, "classes": (y + 1) % CLASSES}.get(self.y, 2 * y)
        return np.stack([y, another, y[::-1]])

    def weights(self, seed: int = 1, n: int | None = None, dtype: Any = np.float64) -> np.ndarray:
        """Weights between 0.5 and 2."""
        return np.random.default_rng(seed).uniform(0.5, 2, n or self.n).astype(dtype)

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:
        """The model's fit with its own hyper-parameters unless `kwargs` has others."""
        dtype = np.float64 if X.dtype == np.float64 else np.float32
        tight = 1e-11 if dtype is np.float64 else self.tol32
        tol = float(np.finfo(dtype).eps ** 0.5) if self.direct else tight  # given, so that all share a program
        return self.module.fit(X, y, **{"tol": tol, **self.hyper, **self.static, **kwargs})

    def expected(self, X: Any, y: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The reference's params."""
        return self.reference(X, y, **accepted(self.reference, {**self.hyper, **self.static, **kwargs}))

    def slope(self, params: Any, X: Any, y: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The reference's derivative at the params."""
        at = (np.asarray(leaf, float) for leaf in jax.tree.leaves(params))  # a link has none
        return self.gradient(*at, X, y, **accepted(self.gradient, {**self.hyper, **self.static, **kwargs}))

    def verb(self, name: str, params: Any, X: Any, y: Any, **kwargs: Any) -> Any:
        """Another verb of the module on the fitted params: `objective` or `optimality`."""
        verb = getattr(self.module, name)
        return verb(params, X, y, **accepted(verb, {**self.hyper, **self.static, **kwargs}))


def _draw(rng: np.random.Generator, kind: str, eta: np.ndarray) -> np.ndarray:
    chance, size = 1 / (1 + np.exp(-eta)), np.exp(0.5 * eta + 1)
    draws: dict[str, Callable[[], np.ndarray]] = {
        "binary": lambda: (rng.uniform(size=eta.shape) < chance).astype(int),
        "classes": lambda: (eta + rng.gumbel(size=eta.shape)).argmax(1),
        "share": lambda: rng.beta(4 * chance, 4 * (1 - chance)),
        "count": lambda: rng.poisson(size),
        "positive": lambda: rng.gamma(5, size / 5),
        "amount": lambda: rng.gamma(3 * np.maximum(1, counts := rng.poisson(size)), 0.3) * (counts > 0),
    }
    y = draws[kind]()
    return y.astype(float) if kind == "count" else y


def _least_squares_residual(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    """|dF/dcoef_j| relative to |x_j| |y| / sum w."""
    gradient = model.slope(params, X, y, sample_weight=w, **hyper)[0]
    root = np.sqrt(np.asarray(w, float))[:, None]
    scale = np.linalg.norm(root * X, axis=0).min() * np.linalg.norm(root * y.reshape(len(y), -1)) / w.sum()
    return np.abs(gradient).max() / scale


def _gap(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    """The duality gap relative to the objective of the intercept alone."""
    return lasso.gap(params.coef, X, y, sample_weight=w, **hyper)


def _group_gap(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    """The same for penalised norms of groups."""
    at = (np.asarray(params.coef, float), np.asarray(params.intercept, float))
    return group_lasso.gap(*at, X, y, sample_weight=w, **model.static, **hyper)


def _score(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    """The largest |dF/dcoef_j| relative to rms(x_j) times the rms of the loss's slope in the intercept-only model."""
    w = np.asarray(w, float) / w.sum()
    if model.y == "classes":
        labels = np.eye(CLASSES)[y]
        slope = w @ labels - labels
    else:
        mean = np.full(len(y), w @ y)
        family, link = model.static.get("family", ji.families.Binomial()), model.static.get("link")
        slope = glm.score(family, link, y, glm.to_eta(family, link, mean))[:, None]
    X = np.asarray(X, float)
    scale = np.sqrt(w @ (X - w @ X) ** 2) * np.sqrt(w @ (slope**2).sum(1))
    gradient = np.asarray(model.slope(params, X, y, sample_weight=w, **hyper)[0])
    return (np.abs(gradient).reshape(len(scale), -1).max(1) / scale).max()


def _pinball_gap(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    return quantile.gap(params.coef, params.intercept, X, y, sample_weight=w, **model.static, **hyper)


def _huber_gradient(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    return huber.certificate(*params, X, y, sample_weight=w, **model.static, **hyper)


def _equations(model: Model, params: Any, X: Any, y: Any, w: Any, hyper: dict[str, Any]) -> float:
    return m_estimator.certificate(*params, X, y, sample_weight=w, norm=model.static["norm"])


def _least_squares(name: str, module: Any, **kwargs: Any) -> Model:
    solvers = (least_squares.fit, least_squares.gradient, _least_squares_residual)
    return Model(name, module, *solvers, direct=True, single=True, **kwargs)


def _lasso(name: str, module: Any, **kwargs: Any) -> Model:
    return Model(name, module, lasso.fit, lasso.gradient, _gap, **kwargs)


def _norms(name: str, module: Any, **kwargs: Any) -> Model:
    return Model(name, module, group_lasso.fit, group_lasso.gradient, _group_gap, **kwargs)


def _logistic(name: str, y: str, **kwargs: Any) -> Model:
    return Model(name, ji.logistic, logistic.fit, logistic.gradient, _score, y=y, **kwargs)


def _multinomial(name: str, **kwargs: Any) -> Model:
    static = {"n_classes": CLASSES}
    solvers = (multinomial.fit, multinomial.gradient, _score)
    return Model(name, ji.multinomial, *solvers, y="classes", static=static, **kwargs)


def _quantile(name: str, tau: float, **kwargs: Any) -> Model:
    solvers = (quantile.fit, quantile.gradient, _pinball_gap)
    return Model(name, ji.quantile, *solvers, static={"tau": tau}, direct=True, **kwargs)


def _robust(name: str, norm: Any, scale: Any = "mad", **kwargs: Any) -> Model:
    solvers = (m_estimator.fit, m_estimator.gradient, _equations)
    return Model(name, ji.m_estimator, *solvers, static={"norm": norm, "scale": scale}, **kwargs)


def _glm(name: str, y: str, family: Any, link: Any = None, **kwargs: Any) -> Model:
    static = {"family": family, "link": link}
    return Model(name, ji.glm, glm.fit, glm.gradient, _score, y=y, static=static, **kwargs)


MODELS = [
    _least_squares("ols", ji.ols),
    _least_squares("ols_no_intercept", ji.ols, static={"fit_intercept": False}),
    _least_squares("ols_targets", ji.ols, targets=3),
    _least_squares("ols_wide", ji.ols, n=6, p=9),
    _least_squares("ridge", ji.ridge, hyper={"l2": 0.3}),
    _least_squares("ridge_by_feature", ji.ridge, hyper={"l2": np.array([0.0, 0.1, 0.2, 0.4, 0.8])}),
    _least_squares("ridge_by_target", ji.ridge, hyper={"l2": np.array([0.0, 0.3, 2.0])}, targets=3),
    _least_squares("ridge_wide", ji.ridge, hyper={"l2": 0.3}, n=6, p=9),
    _lasso("lasso", ji.lasso, hyper={"l1": 3.0}, single=True),
    _lasso("elastic_net", ji.elastic_net, hyper={"l1": np.array([0.1, 0.4, 0.8, 1.6, 3.2]), "l2": 0.3}, second=False),
    _lasso("elastic_net_wide", ji.elastic_net, hyper={"l1": 0.4, "l2": 0.3}, n=6, p=9),
    Model("nnls", ji.nnls, nnls.fit, nnls.gradient, _least_squares_residual, hyper={"l1": 0.1, "l2": 0.1}),
    _norms("group_lasso", ji.group_lasso, hyper={"l1": 5.0, "l2": 0.1}, static={"groups": np.array([0, 0, 1, 2, 1])}),
    _norms("multitask_lasso", ji.multitask_lasso, hyper={"l1": 6.0, "l2": 0.1}, targets=3, single=True),
    _logistic("logistic", "binary", hyper={"l2": 0.05}, single=True),
    _logistic("logistic_l1", "share", hyper={"l1": 0.05, "l2": 0.02}),
    _multinomial("multinomial", hyper={"l2": 0.05}, single=True),
    _multinomial("multinomial_l1", hyper={"l1": 0.03, "l2": 0.02}),
    _glm("glm_poisson", "count", ji.families.Poisson(), hyper={"l2": 0.05}, single=True),
    _glm("glm_poisson_l1", "count", ji.families.Poisson(), hyper={"l1": 0.1, "l2": 0.02}, second=False),
    _glm("glm_gamma_log", "positive", ji.families.Gamma(), ji.links.Log()),
    _glm(
        "glm_probit", "share", ji.families.Binomial(), ji.links.Probit(), hyper={"l2": np.full(5, 0.05)}, second=False
    ),
    _glm("glm_tweedie", "amount", ji.families.Tweedie(1.5), hyper={"l2": 0.05}),
    Model(
        "huber",
        ji.huber,
        huber.fit,
        huber.gradient,
        _huber_gradient,
        hyper={"l2": 0.1},
        static={"delta": 1.2},
        single=True,
        tol32=1e-5,
    ),
    _robust("m_estimator", ji.norms.Huber(), single=True, tol32=1e-5),
    _robust("m_estimator_tukey", ji.norms.Tukey()),
    _robust("m_estimator_hampel", ji.norms.Hampel(), scale=0.3, second=False),
    _quantile("quantile", 0.3, single=True),
    _quantile("quantile_l1", 0.7, hyper={"l1": 0.3}, second=False),
]


@dataclass(frozen=True)
class Sampled:
    """A model from random subsets of the rows, or whose parameters are not Linear: name, module, the model whose data
    it takes, and what else its fit needs."""

    name: str
    module: Any
    like: str
    given: dict[str, Any]

    def fit(self, X: Any, y: Any, w: Any) -> ji.Fit:
        key = {} if self.module is ji.ordinal else {"key": jax.random.key(0)}
        return self.module.fit(X, y, sample_weight=w, **key, **self.given)


OTHERS = [
    Sampled("theil_sen", ji.theil_sen, "ols", {"n_subsets": 200}),
    Sampled("ransac", ji.ransac, "ols", {"n_trials": 200, "threshold": 2.0}),
    Sampled("ordinal", ji.ordinal, "multinomial", {"n_classes": CLASSES}),
]


def distinct() -> list[Model]:
    """Every row that is solved directly, and of the others one for each program of a module."""
    kinds = {(m.module, m.targets, m.n < m.p, "l1" in m.hyper, m.direct and m.name): m for m in reversed(MODELS)}
    return list(kinds.values())[::-1]


BY_NAME = {model.name: model for model in MODELS}
