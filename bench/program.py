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
    _harness.start_jax()
    import jax

    for model, shapes, dtype in requests:
        arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
        yield _aot.describe(jax.jit(compile._fit(model)).lower(*arguments).compile())


def _elsewhere(target, requests):
    run = subprocess.run(
        [sys.executable, _aot.__file__, target, json.dumps(requests)],
        # Cross-compiling needs the accelerator's plugin registered, not started.
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if run.returncode:
        print(run.stderr[-2000:])
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def _measure(models, problems):
    figures = {}
    for target in TARGETS:
        if reason := missing(target):
            print(f"skipped {reason}")
            continue
        # Accelerators have no float64 worth tracking.
        dtypes = _harness.DTYPES if target == "cpu" else _harness.DTYPES[:1]
        cases = [(m, p, d) for m in models for p in problems for d in dtypes]
        requests = [(m, [a.shape for a in compile.arguments(m, p, d)], d) for m, p, d in cases]
        results = _here(requests) if target == "cpu" else _elsewhere(target, requests)
        # A compiler that stops half-way leaves the remaining cases unpublished.
        figures |= {(target, *case): result for case, result in zip(cases, results, strict=False)}
    return figures


class Program(_harness.Figures):
    params = (TARGETS, compile.MODELS, compile.PROBLEMS, list(_harness.DTYPES))
    param_names = ("target", "model", "problem", "dtype")
    track_hlo_instructions = _harness.figure("hlo_instructions", "instructions")
    track_temp_bytes = _harness.figure("temp_bytes", "bytes")
    track_flops = _harness.figure("flops", "flop")
    track_bytes_accessed = _harness.figure("bytes_accessed", "bytes")

    def setup_cache(self):
        return _measure(compile.MODELS, _harness.selected(compile.PROBLEMS, compile.PROBLEMS[:2]))

    setup_cache.timeout = 1800
