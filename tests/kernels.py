"""The kernels of every fit, and how many it had: `python -m tests.kernels` writes `kernels.json` anew.

A fit has two programs: the lean one, which a call with arrays on a CPU compiles first, and the whole one, of `jit`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinfra as ji
from bench.runner import aot, kernels

BUDGET = Path(__file__).with_name("kernels.json")
ROWS, COLUMNS = 1003, 20  # a shape of no other test: what is compiled already would not be counted
Data = tuple[Any, Any, Any]

# X, a real y, labels of two classes in place of which a fit of several makes three.
FITS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "ols": lambda X, y, c: ji.ols.fit(X, y),
    "ridge": lambda X, y, c: ji.ridge.fit(X, y, l2=0.1),
    "lasso": lambda X, y, c: ji.lasso.fit(X, y, l1=0.1),
    "lasso.path": lambda X, y, c: ji.lasso.path(X, y, l1=np.geomspace(1, 0.01, 50).astype(np.float32)),
    "elastic_net": lambda X, y, c: ji.elastic_net.fit(X, y, l1=0.1, l2=0.1),
    "group_lasso": lambda X, y, c: ji.group_lasso.fit(X, y, l1=0.1, groups=np.arange(COLUMNS) // 5),
    "multitask_lasso": lambda X, y, c: ji.multitask_lasso.fit(X, jnp.stack([y, y + X[:, 0]], 1), l1=0.1),
    "nnls": lambda X, y, c: ji.nnls.fit(X, y),
    "logistic": lambda X, y, c: ji.logistic.fit(X, c % 2, l2=1e-3),
    "logistic, l1": lambda X, y, c: ji.logistic.fit(X, c % 2, l1=1e-2),
    "multinomial": lambda X, y, c: ji.multinomial.fit(X, c, l2=1e-3, n_classes=3),
    "glm, Poisson": lambda X, y, c: ji.glm.fit(X, c.astype(X.dtype), family=ji.families.Poisson()),
    "ordinal": lambda X, y, c: ji.ordinal.fit(X, c, n_classes=3),
    "huber": lambda X, y, c: ji.huber.fit(X, y),
    "m_estimator": lambda X, y, c: ji.m_estimator.fit(X, y, norm=ji.norms.Tukey()),
    "quantile": lambda X, y, c: ji.quantile.fit(X, y, tau=0.5),
    "kernel_ridge": lambda X, y, c: ji.kernel_ridge.fit(X, y, l2=0.1),
    "svc": lambda X, y, c: ji.svc.fit(X, c % 2, n_classes=2),
    "svc, three classes": lambda X, y, c: ji.svc.fit(X, c, n_classes=3),
    "svr": lambda X, y, c: ji.svr.fit(X, y),
    "one_class": lambda X, y, c: ji.one_class.fit(X),
    "linear_svm": lambda X, y, c: ji.linear_svm.fit(X, c % 2, n_classes=2),
}  # fmt: skip


def data() -> Data:
    """X (n, p) and y of normal errors, float32, with three classes of y."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    y = (X @ rng.standard_normal(COLUMNS) / COLUMNS**0.5 + rng.standard_normal(ROWS)).astype(np.float32)
    return X, y, np.digitize(y, [-0.5, 0.5]).astype(np.int32)


def lean(name: str) -> kernels.Kernels:
    """The kernels of what a call with arrays compiles."""
    before = aot.live()
    with jax.enable_x64(False):
        jax.block_until_ready(FITS[name](*data()))
    return aot.kernels_since(before)


def whole(name: str) -> kernels.Kernels:
    """The kernels of the program of `jit`."""
    with jax.enable_x64(False):
        return kernels.count(jax.jit(FITS[name]).lower(*data()).compile().as_text())


PROGRAMS = {"lean": lean, "whole": whole}


def files(found: kernels.Kernels) -> dict[str, int]:
    """The compiled kernels by file."""
    by: Counter[str] = Counter()
    for place, number in found.places.items():
        by[place.partition(":")[0]] += number
    return dict(sorted(by.items()))


def listing(found: kernels.Kernels, allowed: dict[str, int]) -> str:
    """Where a program has grown, by file, and the functions of these files."""
    now = files(found)
    grown = {file: number for file, number in now.items() if number > allowed.get(file, 0)}
    lines = []
    for file, number in sorted(grown.items(), key=lambda item: allowed.get(item[0], 0) - item[1]):
        lines.append(f"  {file}: {allowed.get(file, 0)} -> {number}")
        places = [(p.partition(":")[2], k) for p, k in found.places.items() if p.partition(":")[0] == file]
        lines += [f"    {k:4d} {function}" for function, k in sorted(places, key=lambda item: -item[1])]
    return "\n".join(lines)


def main() -> None:
    table = {name: {kind: files(program(name)) for kind, program in PROGRAMS.items()} for name in FITS}
    rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(found)}" for name, found in table.items())
    BUDGET.write_text(f"{{\n{rows}\n}}\n")
    for name, found in table.items():
        print(f"{name:20s}", *(f"{kind} {sum(by.values()):4d}" for kind, by in found.items()))


if __name__ == "__main__":
    main()
