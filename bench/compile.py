"""The time before the first answer: tracing, lowering and compiling apart, the first call, and retraces."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from bench.runner import harness
from bench.suite import data, model_cases, network_cases

MODELS = [*model_cases.CASES, *network_cases.CASES]
PROBLEMS = [problem for case in model_cases.CASES.values() for problem in case.compiled]
PROBLEMS = list(dict.fromkeys([*PROBLEMS, *(case.problem for case in network_cases.CASES.values())]))
REPEATS = 2

# A fresh process that has imported everything and started its device; what follows is the user's first fit.
FIRST_FIT = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
folder, module, model, dtype, shape_X, shape_y = eval(sys.argv[1])
sys.path.append(folder)
cases = __import__(module)
fit = cases.function(model)
data = jax.device_put(cases.sample(model, shape_X, shape_y, dtype, np.random.default_rng(0)))
jax.block_until_ready(data)
start = time.perf_counter()
jax.block_until_ready(fit(*data))
print(time.perf_counter() - start)
"""


def source(model):
    """The table that has it: its functions `available`, `function` and `sample` are the same."""
    return network_cases if model in network_cases.CASES else model_cases


def available():
    return [model for model in MODELS if source(model).available(model)]


def compiled(model):
    """The problems of a model, the first in every profile."""
    return (
        (network_cases.CASES[model].problem,) if source(model) is network_cases else model_cases.CASES[model].compiled
    )


def shape(model, problem):
    """The shapes of X and y; networks have their own."""
    return ((), ()) if source(model) is network_cases else data.shape(problem)


def cases():
    """[(model, problem)] of this profile."""
    found = []
    for model in available():
        problems = compiled(model)
        found += [(model, problem) for problem in harness.selected(problems, problems[:1], problems[:1])]
    return found


def dtypes_of(model):
    """The dtypes that a model has, the first in every profile."""
    return (network_cases.DTYPE,) if source(model) is network_cases else harness.DTYPES


def dtypes(model):
    """The dtypes of this profile. All but full have float64 for least squares alone: races show every first call."""
    both = harness.profile() == "full" or (
        model in model_cases.CASES and model_cases.CASES[model].family == "regression"
    )
    return dtypes_of(model) if both else dtypes_of(model)[:1]


def arguments(model, problem, dtype):
    """Shapes and dtypes of (X, y, hyper), or of the state and the batches."""
    import jax
    import numpy as np

    if source(model) is network_cases:
        return tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in network_cases.sample(model))
    shape_X, shape_y = data.shape(problem)
    small = (60, *shape_X[1:]), (60, *shape_y[1:])  # the shape of hyper may depend on the columns, not on the rows
    *_, y, hyper = model_cases.sample(model, *small, dtype, np.random.default_rng(0))
    shapes = ((shape_X, dtype), (shape_y, y.dtype), (hyper.shape, dtype))
    return tuple(jax.ShapeDtypeStruct(*each) for each in shapes)


def _stages(model, problem, dtype):
    jax = harness.start_jax()
    jax.block_until_ready(jax.numpy.zeros(1))  # the start of the device is not ours
    fit, shapes = source(model).function(model), arguments(model, problem, dtype)
    best = {}
    for _ in range(REPEATS if harness.profile() == "full" else 1):
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
    folder, module = Path(model_cases.__file__).parent, source(model).__name__.rpartition(".")[2]
    argument = repr((str(folder), module, model, dtype, *shape(model, problem)))
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


def _retraces(model, problem, dtype):
    """Compilations that a second call with new values of the same shapes causes. Must be 0."""
    jax = harness.start_jax()
    import numpy as np

    rng = np.random.default_rng(0)
    fit, events = source(model).function(model), []
    small = (60, 20), (60, *shape(model, problem)[1][1:])

    def call():
        jax.block_until_ready(fit(*source(model).sample(model, *small, dtype, rng)))

    call()
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event) if "backend_compile" in event else None
    )
    call()
    return len(events)


def _measure(model, problem, dtype):
    found = {**_stages(model, problem, dtype), **_processes(model, problem, dtype)}
    return {(model, problem, dtype): {**found, "retraces": _retraces(model, problem, dtype)}}


def work():
    return [
        harness.Work(f"{model} on {problem}, {dtype}", functools.partial(_measure, model, problem, dtype))
        for model, problem in cases()
        for dtype in dtypes(model)
    ]


class Compile(harness.Figures):
    version = "2"  # a ridge path has 25 penalties since then
    params = (MODELS, PROBLEMS, list(harness.DTYPES))
    param_names = ("model", "problem", "dtype")
    track_trace_seconds = harness.figure("trace", "s")
    track_lower_seconds = harness.figure("lower", "s")
    track_compile_seconds = harness.figure("compile", "s")
    track_first_call_seconds = harness.figure("first_call", "s")
    track_second_process_seconds = harness.figure("second_process", "s")
    track_retraces = harness.figure("retraces", "compilations")

    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 2400
