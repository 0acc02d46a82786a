"""Figures without noise: what the compilers make of a fit for this CPU, a TPU v5e and an H100."""

import importlib.util
import json
import os
import subprocess
import sys

from . import _aot, _harness, compile

TARGETS = ["cpu", "tpu_v5e", "h100"]


def missing(target):
    """Why a target cannot be compiled for here; None if it can."""
    lacking = [name for name in _aot.WHEELS.get(target, ()) if importlib.util.find_spec(name) is None]
    return f"{target}: the wheels {', '.join(lacking)} are not installed" if lacking else None


def _here(requests):
    jax = _harness.start_jax()

    for model, arguments in requests:
        shapes = [jax.ShapeDtypeStruct(*argument) for argument in arguments]
        yield _aot.describe(jax.jit(compile.source(model).function(model)).lower(*shapes).compile())


def _elsewhere(target, requests):
    run = subprocess.run(
        [sys.executable, _aot.__file__, target, json.dumps(requests)],
        # Cross-compiling needs the accelerator's plugin registered, not started.
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    if run.returncode:
        print(run.stderr[-2000:])
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def cases(target):
    """[(model, problem, dtype)]; quick: two shapes, on accelerators one (500 columns take a minute there)."""
    found = []
    for model in compile.available():
        compiled, cpu = compile.compiled(model), target == "cpu"
        main = compiled[: 2 if cpu else 1]
        # Accelerators have no float64 worth tracking.
        dtypes = compile.dtypes(model) if cpu else _harness.DTYPES[:1]
        found += [(model, p, dtype) for p in _harness.selected(compiled, main) for dtype in dtypes]
    return found


def _measure():
    figures = {}
    for target in TARGETS:
        if reason := missing(target):
            print(f"skipped {reason}")
            continue
        every = cases(target)
        requests = [(case[0], [(a.shape, str(a.dtype)) for a in compile.arguments(*case)]) for case in every]
        results = _here(requests) if target == "cpu" else _elsewhere(target, requests)
        # A compiler that stops half-way leaves the remaining cases unpublished.
        figures |= {(target, *case): result for case, result in zip(every, results, strict=False)}
    return figures


class Program(_harness.Figures):
    version = "2"  # a ridge path has 25 penalties since then
    params = (TARGETS, compile.MODELS, compile.PROBLEMS, list(_harness.DTYPES))
    param_names = ("target", "model", "problem", "dtype")
    track_hlo_instructions = _harness.figure("hlo_instructions", "instructions")
    track_temp_bytes = _harness.figure("temp_bytes", "bytes")
    track_flops = _harness.figure("flops", "flop")
    track_bytes_accessed = _harness.figure("bytes_accessed", "bytes")

    def setup_cache(self):
        return _measure()

    setup_cache.timeout = 2400
