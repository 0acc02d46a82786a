"""Random hostile fits of every model, each checked by its own certificate in extended precision.

    make hostile                                                 20000 fits
    python -m tests.hostile --fits 500 --seed 7 --models svc,ols

A fit may end in any Status that the data justify.  It may not raise, pass its `max_iter`, converge on data that hold
NaN, call a point CONVERGED that does not solve the problem, or give numbers where its Status promises NaN.  Everything
is traced, so that no check on the host catches anything first.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import jax
import numpy as np

import jaxinfra as ji
from jaxinfra import Status, families, kernels, links, norms
from tests import certificates as certified
from tests import certificates_robust as robust

SHAPES = [(1, 1), (2, 1), (3, 8), (8, 3), (40, 3), (40, 8)]
BATCHED, LANES = (8, 3), 8
WITHOUT_PARAMETERS = {
    Status.NONFINITE, Status.SINGULAR, Status.SEPARABLE, Status.DOMAIN, Status.INFEASIBLE, Status.ZERO_SCALE,
}  # fmt: skip
KEY = 0


@dataclass(frozen=True)
class Model:
    """A model, its kind of y, and its certificate (problem, fit) -> excess, NaN where it has none."""

    module: Any
    y: str
    certificate: Callable[..., float]
    given: dict[str, Any] = field(default_factory=dict)

    def fit(self, X: Any, y: Any, w: Any) -> ji.Fit:
        key = {"key": jax.random.key(KEY)} if self.module in (ji.theil_sen, ji.ransac) else {}
        groups = {"groups": np.arange(X.shape[1]) // 2} if self.module is ji.group_lasso else {}
        data = () if self.module is ji.one_class else (y,)
        return self.module.fit(X, *data, sample_weight=w, **key, **groups, **self.given)

    @property
    def most(self) -> int:
        return inspect.signature(self.module.fit).parameters["max_iter"].default


def _smooth(loss, **penalty):
    return lambda problem, fit: certified.smooth(problem, fit.params, loss, **penalty)


def _gap(l1, l2=0.0, grouped=False):
    def certificate(problem, fit):
        groups = np.arange(problem.X.shape[1]) // 2 if grouped else None
        return certified.norm_gap(problem, fit.params, l1, l2, groups)

    return certificate


def _machine(kernel, dual, single=True):
    return lambda problem, fit: certified.machine(problem, fit.params, kernel, dual, 1e-3, single)


def _huber_psi(z):
    return np.clip(z, -1.345, 1.345)


def _tukey_psi(z):
    return np.where(np.abs(z) <= 4.685, z * (1 - (z / certified.LONG(4.685)) ** 2) ** 2, 0)


RBF, LINEAR = kernels.RBF(0.5), kernels.Linear()
MODELS = {
    "ols": Model(ji.ols, "real", certified.least_squares),
    "ridge": Model(ji.ridge, "real", _smooth("squared", l2=0.3), {"l2": 0.3}),
    "lasso": Model(ji.lasso, "real", _gap(0.3), {"l1": 0.3}),
    "elastic_net": Model(ji.elastic_net, "real", _gap(0.2, 0.1), {"l1": 0.2, "l2": 0.1}),
    "group_lasso": Model(ji.group_lasso, "real", _gap(0.2, grouped=True), {"l1": 0.2}),
    "multitask_lasso": Model(ji.multitask_lasso, "targets", _gap(0.3), {"l1": 0.3}),
    "nnls": Model(ji.nnls, "real", lambda q, f: certified.nonnegative(q, f.params, 0.0, 0.0)),
    "logistic": Model(ji.logistic, "binary", _smooth("logit")),
    "logistic_l2": Model(ji.logistic, "binary", _smooth("logit", l2=0.05), {"l2": 0.05}),
    "multinomial": Model(
        ji.multinomial, "classes", lambda q, f: certified.multinomial(q, f.params, 0.05), {"l2": 0.05, "n_classes": 3}
    ),
    "ordinal": Model(
        ji.ordinal, "classes", lambda q, f: certified.cumulative(q, f.params, 0.05), {"l2": 0.05, "n_classes": 3}
    ),
    "poisson": Model(ji.glm, "count", _smooth("poisson"), {"family": families.Poisson()}),
    "gamma": Model(
        ji.glm, "positive", _smooth("gamma", l2=0.05),
        {"family": families.Gamma(), "link": links.Log(), "l2": 0.05},
    ),
    "tweedie": Model(ji.glm, "amount", _smooth("tweedie", l2=0.05), {"family": families.Tweedie(1.5), "l2": 0.05}),
    "huber": Model(ji.huber, "real", lambda q, f: robust.huber(q, f.params)),
    "m_estimator": Model(ji.m_estimator, "real", lambda q, f: robust.m_estimator(q, f.params, _huber_psi)),
    "tukey": Model(
        ji.m_estimator, "real", lambda q, f: robust.m_estimator(q, f.params, _tukey_psi), {"norm": norms.Tukey()}
    ),
    "quantile": Model(ji.quantile, "real", lambda q, f: certified.pinball(q, f.params, 0.3), {"tau": 0.3}),
    "theil_sen": Model(
        ji.theil_sen, "real", lambda q, f: robust.spatial_median(q, f.params, 100), {"n_subsets": 100}
    ),
    "ransac": Model(ji.ransac, "real", robust.consensus, {"n_trials": 128}),
    "kernel_ridge": Model(
        ji.kernel_ridge, "real", lambda q, f: certified.kernel_ridge(q, f.params, certified.rbf(0.5), 0.1),
        {"l2": 0.1, "kernel": RBF},
    ),
    "svc": Model(
        ji.svc, "binary", _machine(certified.rbf(0.5), certified.svc(1)), {"kernel": RBF, "n_classes": 2}
    ),
    "svc_linear": Model(
        ji.svc, "binary", _machine(certified.linear, certified.svc(1)), {"kernel": LINEAR, "n_classes": 2}
    ),
    "nu_svc": Model(
        ji.nu_svc, "binary", _machine(certified.rbf(0.5), certified.nu_svc(0.3), False),
        {"nu": 0.3, "kernel": RBF, "n_classes": 2},
    ),
    "svr": Model(ji.svr, "real", _machine(certified.rbf(0.5), certified.svr(1, 0.1), False), {"kernel": RBF}),
    "svr_linear": Model(ji.svr, "real", _machine(certified.linear, certified.svr(1, 0.1), False), {"kernel": LINEAR}),
    "nu_svr": Model(ji.nu_svr, "real", _machine(certified.rbf(0.5), certified.nu_svr(1, 0.5), False), {"kernel": RBF}),
    "one_class": Model(ji.one_class, "none", _machine(certified.rbf(0.5), certified.one_class(0.5)), {"kernel": RBF}),
    "linear_svm": Model(
        ji.linear_svm, "binary", lambda q, f: certified.hinge(q, f.params, 1, 1e-3), {"n_classes": 2}
    ),
}  # fmt: skip


def draw(rng: np.random.Generator, kind: str, n: int, p: int, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordinary data, to which then up to three hostile things happen."""
    X = rng.standard_normal((n, p))
    eta = X @ rng.standard_normal((p, 3)) * rng.choice([0.2, 1.0]) + rng.logistic(size=(n, 3))
    size = np.exp(np.clip(0.5 * eta[:, 0], -3, 3))
    y: Any = {
        "real": lambda: eta[:, 0], "none": lambda: eta[:, 0], "targets": lambda: eta[:, :2],
        "binary": lambda: (eta[:, 0] > 0).astype(np.int32), "classes": lambda: eta.argmax(1).astype(np.int32),
        "count": lambda: rng.poisson(size).astype(float), "positive": lambda: rng.gamma(2, size),
        "amount": lambda: rng.gamma(2, size) * (rng.random(n) < 0.7),
    }[kind]()  # fmt: skip
    w = rng.choice([np.ones(n), rng.uniform(0.5, 2, n), rng.integers(0, 3, n)])
    top = np.log10(float(np.finfo(dtype).max)) - 1
    with np.errstate(all="ignore"):
        for _ in range(rng.integers(0, 4)):
            X, y, w = [np.array(v) for v in HOSTILE[rng.integers(len(HOSTILE))](rng, X, y, w, top)]
        return X.astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype), w.astype(dtype)


def _column(change: Callable[..., Any]) -> Callable[..., Any]:
    def hostile(rng, X, y, w, top):
        X = X.copy()
        X[:, rng.integers(X.shape[1])] = change(rng, X, top)
        return X, y, w

    return hostile


def _one(rng: np.random.Generator, X: np.ndarray) -> np.ndarray:
    return X[:, rng.integers(X.shape[1])]


def _bad(rng: np.random.Generator, top: float) -> float:
    return rng.choice([np.nan, np.inf, -np.inf, 10.0**top, -(10.0**top), 10.0 ** -(top + 5), 0.0])


def _entry(of: str) -> Callable[..., Any]:
    def hostile(rng, X, y, w, top):
        data = {"X": X.copy(), "y": y.copy(), "w": np.array(w, float)}
        a = data[of].reshape(-1)
        if a.dtype.kind == "i":
            a[rng.integers(len(a))] = rng.choice([0, 1, 2, 7, -1])
        else:
            a[rng.integers(len(a))] = _bad(rng, top)
        return data["X"], data["y"], data["w"]

    return hostile


def _far(rng, X, y, w, top):
    """One row of X is an outlier."""
    X = X.copy()
    X[rng.integers(len(X))] *= 10.0 ** rng.uniform(1, 8)
    return X, y, w


def _y(change: Callable[..., Any]) -> Callable[..., Any]:
    """A change of real y; classes all become one."""

    def hostile(rng, X, y, w, top):
        return X, (np.full_like(y, y[0]) if y.dtype.kind == "i" else change(rng, y, top)), w

    return hostile


def _outlier(rng, y, top):
    y = y.copy()
    y[rng.integers(len(y))] *= 10.0 ** rng.uniform(1, 14)
    return y


def _rows(rng, X, y, w, top):
    """Some rows occur again."""
    at = rng.integers(len(X), size=len(X))
    return X[at], y[at], w


HOSTILE: list[Callable[..., Any]] = [
    _column(lambda rng, X, top: 3.0),
    _column(lambda rng, X, top: rng.choice([0.1, 1 / 3, 7.7, 1e6 + 0.1])),
    _column(lambda rng, X, top: 0.0),
    _column(lambda rng, X, top: _one(rng, X)),
    _column(lambda rng, X, top: _one(rng, X) + 10.0 ** rng.uniform(-12, -2) * rng.standard_normal(len(X))),
    _column(lambda rng, X, top: X.sum(1)),
    _column(lambda rng, X, top: _one(rng, X) + 10.0 ** rng.uniform(0, 8)),
    _column(lambda rng, X, top: _one(rng, X) * 10.0 ** rng.uniform(-8, 8)),
    _column(lambda rng, X, top: _one(rng, X) * 10.0 ** rng.uniform(-top, top)),
    _column(lambda rng, X, top: (_one(rng, X) > 0) * 1.0),
    lambda rng, X, y, w, top: (X * 10.0 ** rng.uniform(-6, 6), y, w),
    _entry("X"),
    _entry("X"),
    _far,
    _rows,
    _entry("y"),
    _y(lambda rng, y, top: np.full_like(y, y.flat[0])),
    _y(lambda rng, y, top: 0 * y),
    _y(lambda rng, y, top: y * 10.0 ** rng.uniform(-8, 8)),
    _y(lambda rng, y, top: y * 10.0 ** rng.uniform(-top, top)),
    _y(lambda rng, y, top: np.abs(y) + 10.0 ** rng.uniform(0, 8)),
    _y(_outlier),
    _entry("w"),
    lambda rng, X, y, w, top: (X, y, w * 10.0 ** rng.uniform(-top / 2, top / 2)),
    lambda rng, X, y, w, top: (X, y, w * 10.0 ** rng.uniform(-8, 8, len(w))),
    lambda rng, X, y, w, top: (X, y, 0.0 * w),
    lambda rng, X, y, w, top: (X, y, w * (np.arange(len(w)) == rng.integers(len(w)))),
    lambda rng, X, y, w, top: (X, y, -1.0 * w),
]


def in_range(kind: str, y: np.ndarray) -> bool:
    return {
        "binary": lambda: ((y == 0) | (y == 1)).all(), "classes": lambda: ((y >= 0) & (y < 3)).all(),
        "count": lambda: (y >= 0).all(), "amount": lambda: (y >= 0).all(), "positive": lambda: (y > 0).all(),
    }.get(kind, lambda: True)()  # fmt: skip


def _ordinary(a: np.ndarray) -> bool:
    """Whether nothing is so large or small that sums of squares could suffer for it in float32."""
    size = np.abs(a[a != 0].astype(float))
    return bool(np.isfinite(a).all() and (size < 1e4).all() and (size > 1e-4).all())


def unfounded(model: Model, X: np.ndarray, y: np.ndarray, w: np.ndarray, status: Status) -> str:
    """The reason why the data do not justify a Status, or nothing."""
    sound = bool(np.isfinite(w).all() and (w >= 0).all() and (w > 0).any())
    keep = w > 0
    X, y = X[keep], y[keep]
    if not sound or not all(_ordinary(a) for a in (X, y, w)):
        return ""
    classes = len(np.unique(y))
    random_subsets = model.module in (ji.theil_sen, ji.ransac, ji.m_estimator)
    allowed = in_range(model.y, y)
    if status is Status.NONFINITE and allowed:
        return "of ordinary numbers"
    if status is Status.DOMAIN and allowed:
        return "of a y that the model allows"
    if status is Status.ONE_CLASS and classes > 1:
        return "of two classes"
    if status is Status.SINGULAR and not random_subsets:
        return "of weights that determine it"
    if status is Status.INFEASIBLE and model.module not in (ji.nu_svc, ji.nu_svr):
        return "of possible weights"
    if status is Status.SEPARABLE and model.module in (ji.logistic, ji.multinomial) and model.given.get("l2"):
        return "" if classes < model.given.get("n_classes", 2) else "of a penalised likelihood"
    if status is Status.SEPARABLE and model.module is ji.logistic and classes == 2:
        return "" if certified.separated(X, y) else "of classes that overlap"
    return ""


def _flushed(a: np.ndarray) -> np.ndarray:
    """The array with 0 for subnormal numbers, as XLA treats them."""
    return a if a.dtype.kind == "i" else np.where(np.abs(a) < np.finfo(a.dtype).tiny, 0, a)


def fault(model: Model, X: np.ndarray, y: np.ndarray, w: np.ndarray, fit: ji.Fit) -> tuple[str, float]:
    """The fault of a fit, or nothing; and the certificate's excess, NaN where there is none."""
    X, y, w = (_flushed(a) for a in (X, y, w))
    status = Status(int(fit.info.status))
    params = [np.asarray(leaf) for leaf in jax.tree.leaves(fit.params)]
    main = np.asarray(fit.params.coef)
    if np.max(fit.info.n_iter) > model.most:
        return f"{status.name} after {np.max(fit.info.n_iter)} of at most {model.most} iterations", np.nan
    if status in WITHOUT_PARAMETERS and np.isfinite(main).any():
        return f"{status.name} with numbers", np.nan
    if status is not Status.CONVERGED:
        why = unfounded(model, X, y, w, status)
        return (f"{status.name} {why}" if why else ""), np.nan
    if not np.isfinite(w).all() or (w < 0).any() or not (w > 0).any():
        return "CONVERGED with impossible weights", np.nan
    keep = w > 0
    if not np.isfinite(X[keep]).all() or (model.y != "none" and not np.isfinite(y[keep]).all()):
        return "CONVERGED on data that are not finite", np.nan
    if not in_range(model.y, y[keep]):
        return "CONVERGED with y out of range", np.nan
    if not all(np.isfinite(leaf).all() for leaf in params):
        return "CONVERGED with parameters that are not finite", np.nan
    eps = np.finfo(X.dtype).eps
    with np.errstate(all="ignore"):
        excess = model.certificate(certified.Problem(X, y, w, eps, eps**0.5), fit)
    return (f"CONVERGED, {excess:.3g} times what is allowed" if excess > 1 else ""), excess


def of_no_rows(model: Model, dtype: Any) -> str:
    """The fault of the answer to data without a row, which must be a ValueError before anything is computed."""
    y = np.zeros((0, 2) if model.y == "targets" else 0, np.int32 if model.y in ("binary", "classes") else dtype)
    try:
        fit = model.fit(np.zeros((0, 2), dtype), y, np.ones(0, dtype))
    except ValueError as error:
        verb = model.module.__name__.rpartition(".")[2] + ".fit"
        return "" if str(error).startswith(verb) else f"no rows: {error}"
    return f"no rows: {Status(int(fit.info.status)).name}"


@dataclass
class Found:
    """The faults of a campaign, and what it has seen."""

    faults: list[tuple[str, ...]] = field(default_factory=list)
    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    certified: int = 0
    fits: int = 0

    def add(self, name: str, dtype: Any, seed: Any, data: Any, fit: ji.Fit) -> None:
        what, excess = fault(MODELS[name], *data, fit)
        self.fits += 1
        self.certified += bool(np.isfinite(excess))
        self.statuses[name][Status(int(fit.info.status)).name] += 1
        if what:
            self.faults.append((name, np.dtype(dtype).name, *map(str, seed), what))


def campaign(names: list[str], shapes: list[tuple[int, int]], dtypes: list[Any], each: int, seed: int,
             batched: bool = True, show: Callable[[str], None] = print) -> Found:  # fmt: skip
    """`each` fits of every model, shape and dtype; in batches too."""
    found = Found()
    for name in names:
        model, start, before = MODELS[name], time.perf_counter(), len(found.faults)
        slowest = (0.0, "")
        # Subsets of rows that determine the parameters: fewer rows are a ValueError.
        enough = [(n, p) for n, p in shapes if model.module not in (ji.theil_sen, ji.ransac) or n > p]
        for dtype in dtypes:
            found.fits += 1
            if why := of_no_rows(model, dtype):
                found.faults.append((name, np.dtype(dtype).name, why))
            for n, p in enough:
                lanes = batched and (n, p) == BATCHED
                one = jax.jit(model.fit)
                several = jax.jit(jax.vmap(model.fit))
                sets = []
                for k in range(each):
                    at = (seed, n, p, k)
                    data = draw(np.random.default_rng([seed, crc32(name.encode()), n, p, k]), model.y, n, p, dtype)
                    began = time.perf_counter()
                    fit = jax.device_get(one(*data))
                    seconds = time.perf_counter() - began if k else 0.0  # the first one compiles
                    slowest = max(slowest, (seconds, str((np.dtype(dtype).name, *at))))
                    found.add(name, dtype, at, data, fit)
                    sets.append((at, data))
                for first in range(0, len(sets) - LANES + 1, LANES) if lanes else ():
                    group = sets[first : first + LANES]
                    fits = jax.device_get(several(*(np.stack(a) for a in zip(*(d for _, d in group), strict=True))))
                    for lane, (at, data) in enumerate(group):
                        part = jax.tree.map(lambda leaf, lane=lane: leaf[lane], fits)
                        found.add(name, dtype, (*at, "lane"), data, part)
        jax.clear_caches()  # every kernel is some memory maps, of which a process may have 65530
        ended = ", ".join(f"{count} {status}" for status, count in found.statuses[name].most_common())
        show(f"{name}: {len(found.faults) - before} faults; {ended}; {time.perf_counter() - start:.0f} s, "
             f"slowest fit {slowest[0]:.2f} s {slowest[1]}")  # fmt: skip
        for one_fault in found.faults[before:]:
            show("    " + " ".join(one_fault))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__.split("\n")[0])
    parser.add_argument("--fits", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas")
    given = parser.parse_args()
    names = given.models.split(",")
    if unknown := sorted(set(names) - set(MODELS)):
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    jax.config.update("jax_enable_x64", True)
    dtypes = [np.float64, np.float32]
    each = -(-given.fits // (len(names) * len(dtypes) * (len(SHAPES) + 1)))
    found = campaign(names, SHAPES, dtypes, each, given.seed)
    print(f"{found.fits} fits, {found.certified} certified, {len(found.faults)} faults")
    return bool(found.faults)


if __name__ == "__main__":
    sys.exit(main())
