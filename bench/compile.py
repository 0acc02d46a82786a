"""What stands before the first answer: tracing, lowering and compiling apart, the first call, and retraces."""

import os
import subprocess
import sys
import tempfile
from time import perf_counter

from . import _data, _harness

MODELS = ["ols", "ridge", "ridge_path"]
PROBLEMS = ["1000x20", "20000x500", "20000x100x10"]
_QUICK = ["1000x20"]
REPEATS = 2

# A fresh process that has imported everything and started its device; what follows is the user's first fit.
FIRST_FIT = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp, numpy as np
import jaxinfra as ji
model, dtype, shape_X, shape_y, l2 = eval(sys.argv[1])
rng = np.random.default_rng(0)
X, y = (jax.device_put(rng.standard_normal(s).astype(dtype)) for s in (shape_X, shape_y))
jax.block_until_ready((X, y))
l2 = np.asarray(l2, dtype)
fit = {"ols": lambda: ji.ols.fit(X, y), "ridge": lambda: ji.ridge.fit(X, y, l2=l2),
       "ridge_path": lambda: ji.ridge.path(X, y, l2=l2)}[model]
start = time.perf_counter()
jax.block_until_ready(fit())
print(time.perf_counter() - start)
"""


def _fit(model):
    """The public verb as a function of arrays alone, so that one program holds all of it."""
    import jaxinfra as ji

    if model == "ols":
        return lambda X, y, l2: ji.ols.fit(X, y)
    return lambda X, y, l2: (ji.ridge.fit if model == "ridge" else ji.ridge.path)(X, y, l2=l2)


def _penalty(model):
    return [0.01, 0.1, 1.0] if model == "ridge_path" else 0.01


def arguments(model, problem, dtype):
    """Shapes and dtypes of (X, y, l2)."""
    import jax
    import numpy as np

    shapes = (*_data.shape(problem), np.shape(_penalty(model)))
    return tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes)


def _stages(model, problem, dtype):
    jax = _harness.start_jax()
    jax.block_until_ready(jax.numpy.zeros(1))  # the start of the device is not ours
    fit, shapes = _fit(model), arguments(model, problem, dtype)
    best = {}
    for _ in range(REPEATS):
        jax.clear_caches()  # a second compile of the same Lowered, or trace of the same function, takes no time
        at = [perf_counter()]
        traced = jax.jit(fit).trace(*shapes)
        at.append(perf_counter())
        lowered = traced.lower()
        at.append(perf_counter())
        lowered.compile()
        at.append(perf_counter())
        for name, start, stop in zip(("trace", "lower", "compile"), at, at[1:], strict=False):
            best[name] = min(best.get(name, stop - start), stop - start)
    return best


def _processes(model, problem, dtype):
    """The first fit of a process without a compilation cache, and of the next one that finds it filled."""
    argument = repr((model, dtype, *_data.shape(problem), _penalty(model)))
    with tempfile.TemporaryDirectory() as folder:
        env = dict(
            os.environ,
            JAX_ENABLE_COMPILATION_CACHE="true",
            JAX_COMPILATION_CACHE_DIR=folder,
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
        )
        run = [sys.executable, "-c", FIRST_FIT, argument]
        times = [float(subprocess.check_output(run, env=env, text=True).split()[-1]) for _ in range(2)]
    return {"first_call": times[0], "second_process": times[1]}


def _retraces(model, dtype):
    """Compilations that a second call with new values of the same shapes causes. Must be 0."""
    jax = _harness.start_jax()
    import numpy as np

    import jaxinfra as ji

    rng = np.random.default_rng(0)
    events = []

    def call():
        X, y = rng.standard_normal((64, 4)).astype(dtype), rng.standard_normal(64).astype(dtype)
        l2 = float(rng.uniform()) if model == "ridge" else rng.uniform(size=3).astype(dtype)
        fit = {"ols": ji.ols.fit, "ridge": ji.ridge.fit, "ridge_path": ji.ridge.path}[model]
        jax.block_until_ready(fit(X, y) if model == "ols" else fit(X, y, l2=l2))

    call()
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event) if "backend_compile" in event else None
    )
    call()
    return len(events)


class Compile(_harness.Figures):
    params = (MODELS, PROBLEMS, list(_harness.DTYPES))
    param_names = ("model", "problem", "dtype")
    track_trace_seconds = _harness.figure("trace", "s")
    track_lower_seconds = _harness.figure("lower", "s")
    track_compile_seconds = _harness.figure("compile", "s")
    track_first_call_seconds = _harness.figure("first_call", "s")
    track_second_process_seconds = _harness.figure("second_process", "s")
    track_retraces = _harness.figure("retraces", "compilations")

    def setup_cache(self):
        figures = {}
        for model in MODELS:
            for dtype in _harness.DTYPES:
                retraces = _retraces(model, dtype)
                for problem in _harness.selected(PROBLEMS, _QUICK):
                    figures[model, problem, dtype] = {
                        **_stages(model, problem, dtype),
                        **_processes(model, problem, dtype),
                        "retraces": retraces,
                    }
        return figures

    setup_cache.timeout = 1200
