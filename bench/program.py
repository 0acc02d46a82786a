"""Figures without noise: what the compilers make of a fit for this CPU, a TPU v5e and an H100."""

import functools
import importlib.util
import json
import os
import subprocess
import sys

from . import _aot, _harness, compile

TARGETS = {"cpu": "this CPU", "tpu_v5e": "TPU v5e", "h100": "H100"}


def missing(target):
    """Why a target cannot be compiled for here; None if it can."""
    lacking = [name for name in _aot.WHEELS.get(target, ()) if importlib.util.find_spec(name) is None]
    return f"{target}: the wheels {', '.join(lacking)} are not installed" if lacking else None


def every(target):
    """[(model, problem, dtype)] of all profiles. Accelerators have no float64 worth tracking."""
    found = [(model, problem) for model in compile.MODELS for problem in compile.compiled(model)]
    return [
        (model, problem, dtype)
        for model, problem in found
        for dtype in (compile.dtypes_of(model) if target == "cpu" else _harness.DTYPES[:1])
    ]


def cases(target):
    """Those of this profile: quick has each model once, and no accelerator; standard has two shapes for the CPU."""
    accelerator, name = target != "cpu", _harness.profile()
    if accelerator and name == "quick":
        return []
    first = {model: compile.compiled(model)[: 1 if accelerator or name == "quick" else 2] for model in compile.MODELS}
    here = set(compile.available())
    return [
        (model, problem, dtype)
        for model, problem, dtype in every(target)
        if model in here
        and (name == "full" or problem in first[model])
        and (name != "quick" or dtype == compile.dtypes_of(model)[0])
    ]


def requests(found):
    """What `_aot.py` reads: the models and the shapes of their arguments."""
    return [(model, [(a.shape, str(a.dtype)) for a in compile.arguments(model, *rest)]) for model, *rest in found]


def elsewhere(target, requests):
    """The figures of `requests` from processes of their own, one a core: a compilation is mostly on one."""
    from .workers.serving import cores

    parts = [requests[i :: cores()] for i in range(cores())]
    runs = [
        subprocess.Popen(
            [sys.executable, _aot.__file__, target],
            # Cross-compiling needs the accelerator's plugin registered, not started.
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in parts
    ]
    for run, part in zip(runs, parts, strict=True):
        run.stdin.write(json.dumps(part))
        run.stdin.close()
    # A compiler that stops half-way leaves the remaining ones of its part out.
    texts = []
    for run in runs:
        with run:
            texts.append(run.stdout.read().splitlines())
        if run.returncode:
            print(f"{target}: a compiler ended with {run.returncode}")
    found = [[json.loads(line) for line in text if line.startswith("{")] for text in texts]
    return [found[i % len(parts)][i // len(parts)] if i // len(parts) < len(found[i % len(parts)]) else None
            for i in range(len(requests))]  # fmt: skip


def _measure(target):
    if reason := missing(target):
        print(f"skipped {reason}")
        return {}
    found = cases(target)
    results = elsewhere(target, requests(found)) if found else []
    return {(target, " ".join(case)): result for case, result in zip(found, results, strict=True) if result}


def work():
    return [_harness.Work(TARGETS[target], functools.partial(_measure, target)) for target in TARGETS]


class _Program(_harness.Figures):
    """A class for each target: asv visits every combination of parameters, also those that are skipped."""

    version = "3"  # kernels are counted since then
    param_names = ("fit",)
    track_kernels = _harness.figure("kernels", "kernels")
    track_hlo_instructions = _harness.figure("hlo_instructions", "instructions")
    track_temp_bytes = _harness.figure("temp_bytes", "bytes")
    track_flops = _harness.figure("flops", "flop")
    track_bytes_accessed = _harness.figure("bytes_accessed", "bytes")


def _axes(target):
    return ([" ".join(case) for case in every(target)],)


class CPU(_Program):
    key = ("cpu",)
    params = _axes("cpu")

    def setup_cache(self):
        return _measure("cpu")

    setup_cache.timeout = 2400


class TPU(_Program):
    key = ("tpu_v5e",)
    params = _axes("tpu_v5e")

    def setup_cache(self):
        return _measure("tpu_v5e")

    setup_cache.timeout = 2400


class H100(_Program):
    key = ("h100",)
    params = _axes("h100")

    def setup_cache(self):
        return _measure("h100")

    setup_cache.timeout = 2400
