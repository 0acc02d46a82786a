"""Compile every model for accelerators that need not be there: `python -m tests.accelerators v5e|h100` prints JSON.

A separate process, because the environment of the TPU compiler must not reach other processes.  Rows are sharded
over all devices of the topology.  One line a program: what was compiled, how its memory compares with the rows that
one device holds, and the collectives.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.runner import records
from bench.runner.aot import H100, TPU_ENVIRONMENT

if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    if sys.argv[1] == "v5e":
        os.environ.update(TPU_ENVIRONMENT)
    else:
        # Half and a seventh of the compile time.
        os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0 --xla_backend_optimization_level=0"

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxinfra as ji
from jaxinfra.nn import _step, attention, cnn, rnn
from jaxinfra.solvers.dual import kernel_rows
from tests.machines import DISTINCT
from tests.programs import cache_folder
from tests.registry import BY_NAME, CLASSES, OTHERS, Model, distinct

# No block size divides the rows of one device, as with real data.  Compile times grow with all of these.
LOCAL_ROWS, P, WIDE_P = 8_250, 16, 512
# One model an engine.
IN_DOUBLE = (
    "ols", "ridge_wide", "lasso", "multitask_lasso", "logistic", "multinomial", "huber", "m_estimator", "quantile",
)  # fmt: skip
KINDS = ["all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"]
COMPILER = re.compile("jax|libtpu")  # names of the packages on which a compiled program depends
COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(?:-start)?\(")


@dataclass(frozen=True)
class Program:
    """A program to compile: `run(*arguments)`, where the first argument is X (n, p)."""

    name: str
    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    copies: float  # of the local X that its temporary memory may hold
    gathers: bool = False  # whether it may gather rows


def devices(platform: str, size: str) -> np.ndarray:
    if platform == "v5e":
        topology = topologies.get_topology_desc(platform="tpu", topology_name=f"v5e:{size}")
    else:
        topology = topologies.get_topology_desc(platform="cuda", topology_name="", topology=size, target_config=H100)
    return np.array(topology.devices)


def abstract(mesh: Mesh, dtype: str, *shape: int, rows: bool = True) -> jax.ShapeDtypeStruct:
    spec = PartitionSpec("rows") if rows else PartitionSpec()
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


def on_tpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "tpu"


def programs(model: Model, mesh: Mesh, dtype: str, p: int = P, copies: int = 3) -> Iterator[Program]:
    """The weighted fit and predict of a model, with abstract arguments.

    Centred rows and weighted centred rows are two copies of X, vectors over the rows together less than a third, and
    several targets without what rows of weight 0 hold a copy of y, on a TPU in tiles of four.
    """
    wide = model.n < model.p  # few rows: the fit works on the n x n kernel
    p = WIDE_P if wide else p
    n = mesh.size * (2 if wide else LOCAL_ROWS)
    given = {**model.hyper, **model.static}
    given = {k: np.resize(v, p) if np.shape(v) == (model.p,) else v for k, v in given.items()}
    targets = () if model.targets is None else (model.targets,)

    array = partial(abstract, mesh, dtype)

    def fit(X: Any, y: Any, w: Any) -> Any:
        return model.fit(X, y, sample_weight=w, **given)

    X, y, w = array(n, p), array(n, *targets), array(n)
    if model.y in ("binary", "classes"):
        y = jax.ShapeDtypeStruct(y.shape, "int32", sharding=y.sharding)
    params = jax.tree.map(lambda leaf: array(*leaf.shape, rows=False), jax.eval_shape(fit, X, y, w).params)
    name = f"{model.name} {dtype} {n}x{p}"
    # Two rows a device are less than the tiles that hold them: like the path, the wide fit is bounded by all rows, and
    # one that works on sets of columns by four Gram matrices.
    bound = (64 * mesh.size if model.direct else 2 * p) if wide else copies
    tile = 4 if on_tpu(mesh) else 1
    bound += -(-(model.targets or 0) // tile) * tile / p
    # The search for a vertex ranks all rows: it gathers vectors of them.
    vertex = model.module is ji.quantile
    bound = 6 if vertex else bound
    classes = CLASSES if model.y == "classes" else 0
    if classes:  # the rows of each class, and their probabilities
        bound += classes + 1
    yield Program(f"{name} fit", fit, (X, y, w), bound, wide or vertex)
    yield Program(f"{name} predict", lambda X, params: model.module.predict(params, X), (X, params), 2 * classes / p)


def machines(mesh: Mesh, dtype: str) -> Iterator[Program]:
    """The weighted fits of support vector machines and the predictions of svc.

    They work on rows of the kernel's matrix from everywhere, so they gather.  Rows are more than a working set.
    """
    n = 160 * mesh.size
    X, w = abstract(mesh, dtype, n, P), abstract(mesh, dtype, n)
    for machine in DISTINCT:
        y = abstract(mesh, dtype if machine.like == "ols" else "int32", n)
        params = jax.tree.map(
            lambda leaf: abstract(mesh, dtype, *leaf.shape, rows=False), jax.eval_shape(machine.fit, X, y, w).params
        )
        # Matrices of a working set of all variables, of which regression has two a row: five in float64.
        variables = 2 * n if machine.like == "ols" and machine.takes_y else n
        name, bound = f"{machine.name} {dtype} {n}x{P}", 10 * variables**2 * mesh.size / (n * P)
        yield Program(f"{name} fit", machine.fit, (X, y, w), bound, True)
        if machine.module is ji.svc:
            yield Program(f"{name} predict", lambda X, params: ji.svc.predict(params, X), (X, params), 2 * n / P, True)


def others(mesh: Mesh, dtype: str) -> Iterator[Program]:
    """Fits of subsets, which gather the rows that they draw, and of ordered classes, by classes and thresholds."""
    for one in OTHERS:
        ordered = one.module is ji.ordinal
        # On a TPU the ordered classes' fit holds 3 MB of small buffers, whether of 1000 or 130,000 local rows.
        n = (LOCAL_ROWS if ordered else 1000) * mesh.size
        X, w = abstract(mesh, dtype, n, P), abstract(mesh, dtype, n)
        y = abstract(mesh, "int32" if ordered else dtype, n)
        # 200 subsets of 17 rows are as many numbers as 4 times X, a TPU's tiles of them 16 times that.
        yield Program(f"{one.name} {dtype} {n}x{P} fit", one.fit, (X, y, w), 3 if ordered else 64, not ordered)


def path(mesh: Mesh, dtype: str) -> Program:
    """The ridge path."""
    n, p = 64 * mesh.size, 8
    place = NamedSharding(mesh, PartitionSpec("rows"))
    X, y = (jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape in [(n, p), (n,)])
    run = lambda X, y: ji.ridge.path(X, y, l2=np.geomspace(0.01, 1, 8))  # noqa: E731
    return Program(f"ridge.path {dtype} {n}x{p}", run, (X, y), 32 * mesh.size)


def networks(mesh: Mesh) -> Iterator[Program]:
    """Two steps of training each kind of network, batches spread over the devices: only sums of gradients travel.

    So small that their memory is the padding of a TPU's tiles.
    """
    cases = [(cnn, "digits", cnn.DIGITS)]
    cases += [(rnn, cell, rnn.Config(8, 16, cell=cell, bidirectional=True)) for cell in ("plain", "lstm", "gru")]
    cases += [(attention, "encoder", attention.Config(16, 2, features=8, dropout=0.1))]
    rule = _step.named_optimizer("adam", 1.0, None, "float32")

    def array(dtype: Any, *shape: int, rows: bool = True) -> jax.ShapeDtypeStruct:
        spec = PartitionSpec(None, "rows") if rows else PartitionSpec()
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    for module, name, config in cases:
        step = _step.Plan(module.apply, "softmax", rule, ("key",), None, mesh)

        def state(module: Any = module, config: Any = config) -> Any:
            params = module.init(jax.random.key(0), config)
            with _step.optax_promotion():
                return _step.State(params, rule.init(params), params, np.int32(0), np.int32(-1))

        def run(x: Any, y: Any, w: Any, state: Any, key: Any, decay: Any, step: Any = step) -> Any:
            return _step.train_chunk(step, state, key, decay, x, y, w, None)

        begun = jax.tree.map(lambda leaf: array(leaf.dtype, *leaf.shape, rows=False), jax.eval_shape(state))
        key = array(jax.eval_shape(lambda: jax.random.key(0)).dtype, rows=False)
        n, shape = 8 * mesh.size, config.shape if module is cnn else (6, 8)
        x, y, w = array("float32", 2, n, *shape), array("int32", 2, n), array("float32", 2, n)
        yield Program(f"{name} float32 train", run, (x, y, w, begun, key, array("float32", rows=False)), 4000, True)


def plan(platform: str) -> Iterator[Program]:
    """The programs to compile for a platform: float32 for all, float64 (H100) for one model an engine."""
    if platform == "v5e":
        mesh = Mesh(devices(platform, "2x2"), "rows")
        yield from programs(BY_NAME["ols"], Mesh(devices(platform, "16x16"), "rows"), "float32")
    else:
        mesh = Mesh(devices(platform, "1x1x4"), "rows")
        for name in IN_DOUBLE:
            yield from programs(BY_NAME[name], mesh, "float64")
        # So many columns have their moments formed in float32 first, by strips of columns, each a copy.
        yield from programs(BY_NAME["ols"], mesh, "float64", p=256, copies=4)
    for model in distinct():
        yield from programs(model, mesh, "float32")
    yield from machines(mesh, "float32")
    yield from networks(mesh)
    yield from others(mesh, "float32")
    yield path(mesh, "float32")


def elements(shapes: str) -> int:
    """Elements of the largest array in the text of a (tuple of) shapes."""
    return max(math.prod(int(d) for d in dims.split(",") if d) for dims in re.findall(r"\w\[([\d,]*)\]", shapes))


def figures(platform: str, program: Program) -> dict[str, Any]:
    """The figures of a compiled program.

    They are kept beside the suite's compiled programs, by all that they depend on: these compilers have no cache.
    """
    traced = jax.jit(program.run).trace(*program.arguments)
    lowered = traced.lower(lowering_platforms=("tpu" if platform == "v5e" else "cuda",))
    parts = sorted(f"{d.name} {d.version}" for d in importlib.metadata.distributions() if COMPILER.match(d.name))
    about = "\0".join([lowered.as_text(), platform, os.environ.get("XLA_FLAGS", ""), *parts])
    folder = cache_folder()
    place = folder and folder / f"{platform}-{hashlib.sha256(about.encode()).hexdigest()}-cache"
    if place and place.is_file():
        return json.loads(place.read_text())
    compiled = lowered.compile()
    collectives: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for shapes, kind in COLLECTIVE.findall(compiled.as_text()):
        collectives[kind].append(elements(shapes))
    cost = compiled.cost_analysis() or {}
    found = {
        "collectives": collectives,
        "temp_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "flops": cost.get("flops"),
        "bytes_accessed": cost.get("bytes accessed"),
    }
    if place:
        records.write(place, json.dumps(found))
    return found


def describe(platform: str, program: Program) -> dict[str, Any]:
    """A program, how its memory and its collectives should be, and how they are."""
    X = program.arguments[0]
    rows = X.sharding.shard_shape(X.shape)
    return {
        "name": program.name,
        "local_bytes": math.prod(rows) * X.dtype.itemsize,
        "local_rows": rows[0],
        "columns": rows[1],
        "copies": program.copies,
        "gathers": program.gathers,
        **figures(platform, program),
    }


def main(platform: str) -> None:
    jax.config.update("jax_enable_x64", platform != "v5e")
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_enable_compilation_cache", False)
    kernel_rows.FULL = 0  # few rows, but the program of many: a ring of the kernel's rows
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda program: describe(platform, program), plan(platform)):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
