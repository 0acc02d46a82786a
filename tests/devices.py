"""Fits with rows sharded over eight virtual CPU devices: `python -m tests.devices` prints JSON.

One line a comparison: what was compared and the largest relative deviation, or the error that was raised.  Fits are
compared with NumPy's references and the conditions of the optimum, which compile nothing; with one device where there
are none.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import product
from typing import Any

if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jaxinfra as ji
from tests.helpers import deviation
from tests.machines import DISTINCT, Machine
from tests.registry import BY_NAME, OTHERS, Model, Sampled, distinct

DEVICES = 8
MESHES = ["auto", "explicit"]


def mesh_of(kind: str) -> Mesh:
    axis = AxisType.Auto if kind == "auto" else AxisType.Explicit
    return jax.make_mesh((DEVICES,), ("rows",), axis_types=(axis,))


def problem(model: Model, dtype: str, n: int = 400) -> tuple[np.ndarray, ...]:
    """X, y, w with a number of rows that the devices divide; wide models stay wide."""
    n, p = (DEVICES, 20) if model.n < model.p else (n, model.p)
    X, y = model.data(n=n, p=p, dtype=np.dtype(dtype))
    return X, y, model.weights(n=n, dtype=np.dtype(dtype))


def answers(fit: ji.Fit) -> tuple[Any, ...]:
    """The parts of a fit that must agree: not the iterations or residuals, which are rounding."""
    return fit.params, fit.info.status, fit.info.objective


def fit_and_predict(model: Model, kind: str, how: str, dtype: str) -> float:
    """A weighted fit and its prediction with sharded rows: called eagerly, from the user's jit, or under set_mesh."""
    mesh = mesh_of(kind)
    host = problem(model, dtype)
    sharded = [jax.device_put(a, NamedSharding(mesh, PartitionSpec("rows"))) for a in host]

    def run(X: Any, y: Any, w: Any) -> Any:
        fit = model.fit(X, y, sample_weight=w)
        return fit.params, fit.info.status, model.module.predict(fit.params, X)

    with jax.set_mesh(mesh) if how == "set_mesh" else nullcontext():
        params, status, predicted = run(*sharded) if how == "eager" else jax.jit(run)(*sharded)
    assert status == ji.Status.CONVERGED, status
    X, y, w = (a if a.dtype.kind == "i" else a.astype(float) for a in host)
    expected = model.expected(X, y, sample_weight=w)
    again = model.module.predict(jax.tree.unflatten(jax.tree.structure(params), expected), X)
    return max(deviation(tuple(jax.tree.leaves(params)), expected), deviation(predicted, again))


def machine(machine: Machine, kind: str, how: str) -> float:
    """A support vector machine, whose dual has one solution: by how much its conditions do not hold."""
    host = problem(BY_NAME[machine.like], "float64", n=80)
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))
    sharded = [jax.device_put(a, rows) for a in host]

    def run(X: Any, y: Any, w: Any) -> Any:
        fit = machine.fit(X, y, w, tol=1e-9)
        return fit.params, fit.info.status, machine.module.decision(fit.params, X)

    params, status, decided = run(*sharded) if how == "eager" else jax.jit(run)(*sharded)
    assert status == ji.Status.CONVERGED, status
    params, (X, y, w) = jax.tree.map(np.asarray, params), host
    short = machine.verb("optimality", params, X, y, w)
    return max(float(short), deviation(decided, machine.module.decision(params, X)))


def other(one: Sampled, kind: str) -> float:
    """The same subsets of the rows, and ordered classes, from the user's jit."""
    host = problem(BY_NAME[one.like], "float64", n=80)
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))

    def run(X: Any, y: Any, w: Any) -> Any:
        fit = one.fit(X, y, w)
        numbers = [getattr(fit.params, name) for name in fit.params._fields if name != "link"]
        return numbers, fit.info.status, fit.info.objective, one.module.predict(fit.params, X)

    return deviation(jax.jit(run)(*(jax.device_put(a, rows) for a in host)), run(*host))


def tall(kind: str) -> float:
    """Enough rows for a pass in blocks, in the user's jit; a number that leaves a last block."""
    X, y, w = problem(BY_NAME["ols"], "float64", n=200_200)
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))
    fit = jax.jit(lambda X, y, w: answers(ji.ols.fit(X, y, sample_weight=w)))
    return deviation(fit(*(jax.device_put(a, rows) for a in (X, y, w))), answers(ji.ols.fit(X, y, sample_weight=w)))


def ill_conditioned(kind: str) -> float:
    """A condition number of 1e9, so that corrections with residuals in double-word arithmetic run."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((400, 4))
    X[:, 3] = X[:, 2] + 1e-9 * X[:, 3]
    y = X[:, :3].sum(1)
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))
    fit = jax.jit(lambda X, y: ji.ols.predict(ji.ols.fit(X, y).params, X))
    return deviation(fit(jax.device_put(X, rows), jax.device_put(y, rows)), fit(X, y))


def derivative(kind: str) -> float:
    """The gradient with respect to the penalty and the rows."""
    X, y, _ = problem(BY_NAME["ridge"], "float64")
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))

    def loss(l2: Any, X: Any, y: Any) -> Any:
        return (ji.ridge.fit(X, y, l2=l2).params.coef ** 2).sum()

    slope = jax.jit(jax.grad(loss, argnums=(0, 1)))
    with jax.set_mesh(rows.mesh):
        out = slope(0.3, jax.device_put(X, rows), jax.device_put(y, rows))
    return deviation(out, slope(0.3, X, y))


def constant(kind: str) -> float:
    """A constant column, whose mean is rounded, counts as little as a column of zeros; without a penalty."""
    model = BY_NAME["glm_gamma_log"]
    X, y, w = problem(model, "float64")
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))
    zeros, same = (np.c_[X[:, :-1], np.full(len(X), c)] for c in (0.0, 0.1))
    fit = jax.jit(lambda X, y, w: answers(model.fit(X, y, sample_weight=w)))
    return deviation(fit(*(jax.device_put(a, rows) for a in (same, y, w))), fit(zeros, y, w))


def path(kind: str) -> float:
    X, y, w = problem(BY_NAME["ridge"], "float64")
    rows = NamedSharding(mesh_of(kind), PartitionSpec("rows"))
    run = lambda X, y, w: ji.ridge.path(X, y, l2=np.array([0.0, 0.1, 1.0]), sample_weight=w)  # noqa: E731
    return deviation(run(*(jax.device_put(a, rows) for a in (X, y, w))), run(X, y, w))


def comparisons() -> Iterator[tuple[str, Callable[[], float]]]:
    """Named comparisons, each a function that gives the deviation."""
    chosen = [(model.name, "auto", "jit", "float64") for model in distinct()]
    chosen += [("ols", "auto", how, "float64") for how in ("eager", "set_mesh")]
    chosen += [(name, "auto", how, "float32") for name, how in [("ridge", "eager"), ("ols_targets", "jit")]]
    chosen += [("ols", "explicit", how, "float64") for how in ("eager", "jit", "set_mesh")]
    chosen += [(name, "explicit", "jit", "float64") for name in ("ridge", "ols_targets")]
    chosen += [("ridge", "explicit", "eager", "float32")]
    chosen += [(name, "explicit", "jit", "float64") for name in ("lasso", "logistic", "multinomial")]
    for name, *rest in chosen:
        yield ", ".join([name, *rest]), partial(fit_and_predict, BY_NAME[name], *rest)
    for vector in DISTINCT:
        kinds = [("auto", "eager" if vector.name == "svc" else "jit")]
        kinds += [("explicit", "jit")] if vector.name in ("svc_pairs", "linear_svm") else []
        for kind, how in kinds:
            yield f"{vector.name}, {kind}, {how}, float64", partial(machine, vector, kind, how)
    for one, kind in product(OTHERS, MESHES):
        yield f"{one.name}, {kind}, jit, float64", partial(other, one, kind)
    for kind, function in product(MESHES, [tall, ill_conditioned, constant, derivative, path]):
        yield f"{function.__name__}, {kind}, float64", partial(function, kind)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_disable_most_optimizations", True)  # LLVM's, as for the rest of the suite
    assert jax.device_count() == DEVICES
    for name, compare in comparisons():
        try:
            print(json.dumps({"name": name, "deviation": compare()}), flush=True)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = [f"{f.filename.rpartition('jaxinfra')[2]}:{f.lineno}" for f in frames if "jaxinfra" in f.filename]
            message = f"{type(error).__name__}: {error} (in {' > '.join(where)})"
            print(json.dumps({"name": name, "error": message}), flush=True)


if __name__ == "__main__":
    main()
