"""One row a machine: support vector machines and kernel ridge, whose parameters are coefficients of rows.

The data that the tests of machines share are here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from tests.references import svm
from tests.registry import accepted

N, P = 40, 3
GAMMA = 0.3
X = np.random.default_rng(0).standard_normal((N, P))
Z = np.random.default_rng(1).standard_normal((9, P))
LABELS = (X[:, 0] + 0.5 * np.random.default_rng(2).standard_normal(N) > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
REAL = X[:, 0] ** 2 + 0.1 * np.random.default_rng(3).standard_normal(N)
W = np.random.default_rng(4).uniform(0.5, 2, N)


@dataclass(frozen=True, eq=False)
class Machine:
    """One row of the registry.

    name, module: the module has the verbs.
    like: the model of `tests/registry.py` that takes y of its kind: "logistic", "multinomial" or "ols".
    hyper: traced hyper-parameters but for the kernel's.
    static: the other arguments of `fit`.
    dual: (K, signs or y, ..., hyper-parameters but C) -> the dual of the reference; None where it is another test's.
    distinct: whether `DISTINCT` has it; not where the other rows there have its dual and its groups of rows, or its
        solver.
    """

    name: str
    module: Any
    like: str
    hyper: dict[str, float] = field(default_factory=dict)
    static: dict[str, Any] = field(default_factory=dict)
    dual: Callable[..., svm.Dual] | None = None
    distinct: bool = True

    @property
    def given(self) -> dict[str, Any]:
        """All that `fit` is given beside the data."""
        return {**self.hyper, **self.static}

    @property
    def y(self) -> np.ndarray:
        """The y of the rows of this file; `one_class` ignores it."""
        return {"logistic": LABELS, "multinomial": THREE, "ols": REAL}[self.like]

    @property
    def takes_y(self) -> bool:
        return self.module is not ji.one_class

    @property
    def has_kernel(self) -> bool:
        return self.module is not ji.linear_svm

    def fit(self, X: Any, y: Any, w: Any, **kwargs: Any) -> ji.Fit:
        """The module's fit of any rows; kernel and tolerance are the defaults unless `kwargs` has others."""
        given = accepted(self.module.fit, {"sample_weight": w, **self.given})
        return self.module.fit(X, *(y,) * self.takes_y, **{**given, **kwargs})

    def solve(self, X: Any = X, y: Any = None, w: Any = W, gamma: Any = GAMMA, **kwargs: Any) -> ji.Fit:
        """The fit of the rows of this file, unless there are others, with an RBF kernel and a tight tolerance."""
        kernel = {"kernel": kernels.RBF(gamma)} if self.has_kernel else {}
        tight = {**kernel, "tol": 1e-11 if X.dtype == np.float64 else 1e-4}
        return self.fit(X, self.y if y is None else y, w, **{**tight, **kwargs})

    def verb(self, name: str, params: Any, X: Any = X, y: Any = None, w: Any = W) -> jax.Array:
        """Another verb of the module on fitted params: `objective` or `optimality`."""
        verb, y = getattr(self.module, name), self.y if y is None else y
        return verb(params, X, *(y,) * self.takes_y, **accepted(verb, {"sample_weight": w, **self.given}))

    @cached_property
    def base(self) -> ji.Fit:
        """The fit of the rows of this file as they are."""
        return ji.check(self.solve())

    def expected(self) -> tuple[np.ndarray, ...]:
        """coef, intercept and objective of the reference for the rows of this file."""
        K, sign, bound = svm.rbf(X, X, GAMMA), 2.0 * LABELS - 1, self.hyper.get("C", 1) * W
        first = {"svc": (sign, bound), "nu_svc": (sign, W), "one_class": (W,)}.get(self.name, (self.y, bound))
        dual = self.dual(K, *first, *(v for k, v in self.hyper.items() if k != "C"))
        b = svm.solve(dual)
        assert dual.violation(b) < 1e-10
        rho, value = dual.rho(b), dual.objective(b)
        r = (rho[0] - rho[1]) / 2 if self.name == "nu_svc" else 1.0
        return b.reshape(-1, N).sum(0) / r, -rho.mean() / r, value / r**2


TWO = {"n_classes": 2}
SVC = Machine("svc", ji.svc, "logistic", {"C": 1.5}, TWO, svm.svc)
PAIRS = Machine("svc_pairs", ji.svc, "multinomial", {"C": 1.5}, {"n_classes": 3})
NU_SVC = Machine("nu_svc", ji.nu_svc, "logistic", {"nu": 0.43}, TWO, svm.nu_svc)
SVR = Machine("svr", ji.svr, "ols", {"C": 0.7, "epsilon": 0.1}, dual=svm.svr)
NU_SVR = Machine("nu_svr", ji.nu_svr, "ols", {"C": 0.7, "nu": 0.37}, dual=svm.nu_svr, distinct=False)
ONE_CLASS = Machine("one_class", ji.one_class, "ols", {"nu": 0.37}, dual=svm.one_class)
KERNEL_RIDGE = Machine("kernel_ridge", ji.kernel_ridge, "ols", {"l2": 0.1})
HINGE = Machine("linear_svm", ji.linear_svm, "logistic", {"C": 0.7}, TWO)
SQUARED = Machine(
    "linear_svm_squared", ji.linear_svm, "logistic", {"C": 0.7}, {**TWO, "loss": "squared_hinge"}, distinct=False
)
MACHINES = [SVC, PAIRS, NU_SVC, SVR, NU_SVR, ONE_CLASS, KERNEL_RIDGE, HINGE, SQUARED]
DISTINCT = [machine for machine in MACHINES if machine.distinct]  # over devices, and wherever all models go
SUPPORT_VECTOR = [machine for machine in MACHINES if machine is not KERNEL_RIDGE]  # `test_svm_contract.py`


def over(machines: list[Machine]) -> pytest.MarkDecorator:
    """Several classes and the other loss are options of machines that `make test` has: slow."""
    slow = (PAIRS, SQUARED)
    return pytest.mark.parametrize(
        "row", [pytest.param(m, id=m.name, marks=[pytest.mark.slow] * (m in slow)) for m in machines]
    )
