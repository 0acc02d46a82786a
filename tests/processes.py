"""One of several processes that fit the same rows together: `python -m tests.processes RANK COUNT PORT FILE`.

Each holds its share of the rows.  The first writes the results, as NumPy arrays, to FILE.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np

from tests.registry import BY_NAME

CASES = [("ols", "jit"), ("ols", "eager"), ("ridge", "jit")]
ROWS = 4_000


def problem(name: str) -> tuple[np.ndarray, ...]:
    """X, y, w of a model: every process draws the same and keeps its share."""
    model = BY_NAME[name]
    return *model.data(n=ROWS), model.weights(n=ROWS)


def run(name: str, X: Any, y: Any, w: Any) -> Any:
    """The results that must agree between one process and several."""
    fit = BY_NAME[name].fit(X, y, sample_weight=w)
    return *fit.params, fit.info.status, fit.info.objective


def main(rank: int, count: int, port: str, file: str) -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_enable_compilation_cache", False)
    jax.distributed.initialize(f"127.0.0.1:{port}", count, rank, initialization_timeout=60)
    assert jax.process_count() == count
    axis = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((jax.device_count(),), ("rows",), axis_types=(axis,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    results = {}
    for name, how in CASES:
        share = [np.split(a, count)[rank] for a in problem(name)]
        arrays = [jax.make_array_from_process_local_data(rows, a) for a in share]
        call = jax.jit(run, static_argnums=0) if how == "jit" else run
        for i, value in enumerate(call(name, *arrays)):
            results[f"{name} {how} {i}"] = np.asarray(value)
    if rank == 0:
        np.savez(file, **results)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
