"""Figures without noise: what the compilers make of a fit for this CPU, a TPU v5e and an H100."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench import compile
from bench.runner import aot, harness, records
from bench.workers.serving import cores


def every(target):
    """[(model, problem, dtype)] of all profiles. Accelerators have no float64 worth tracking."""
    found = [(model, problem) for model in compile.MODELS for problem in compile.compiled(model)]
    return [
        (model, problem, dtype)
        for model, problem in found
        for dtype in (compile.dtypes_of(model) if target == "cpu" else harness.DTYPES[:1])
    ]


def cases(target):
    """The cases of this profile: quick has each model once, no accelerator; standard has two shapes for the CPU."""
    accelerator, name = target != "cpu", harness.profile()
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
    """The input of `runner/aot.py`: the models and the shapes of their arguments."""
    return [(model, [(a.shape, str(a.dtype)) for a in compile.arguments(model, *rest)]) for model, *rest in found]


def elsewhere(target, requests, tree=None):
    """The figures of `requests` from separate processes, one a core: a compilation is mostly on one.

    They find jaxinfra in the folder `tree` first, or else as installed.
    """
    parts = [requests[i :: cores()] for i in range(cores())]
    runs = [
        subprocess.Popen(
            [sys.executable, aot.__file__, target],
            # Cross-compiling needs the accelerator's plugin registered, not started.
            env={**os.environ, "JAX_PLATFORMS": "cpu", **({"PYTHONPATH": str(tree)} if tree else {})},
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
            print(f"{target} failed: a compiler ended with {run.returncode}")
    found = [[json.loads(line) for line in text if line.startswith("{")] for text in texts]
    return [found[i % len(parts)][i // len(parts)] if i // len(parts) < len(found[i % len(parts)]) else None
            for i in range(len(requests))]  # fmt: skip


def _digest(target, tree):
    """A name for what decides the figures: the package, what is compiled and how, JAX, and this machine."""
    root = Path(tree) / "jaxinfra" if tree else Path(importlib.util.find_spec("jaxinfra").origin).parent
    here = Path(__file__).parent
    known = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        known.update(str(path.relative_to(root)).encode() + path.read_bytes())
    suite = [here / "suite" / f"{name}.py" for name in ("model_cases", "fits", "settings", "network_cases", "data")]
    for path in (*suite, here / "compile.py", here / "runner" / "aot.py"):
        known.update(path.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")]
    machine = sys.version_info[:2], platform.processor(), cores(), os.environ.get("XLA_FLAGS")
    known.update(repr([target, *versions, *machine]).encode())
    return known.hexdigest()[:24]


def figures(target, cases, tree=None):
    """{case: figures} of the programs; {"error": ...} of one that does not compile, {} of a model that is not there.

    They have no noise, so those of a package that was compiled before are reused. What failed is tried again.
    """
    path = records.ASV / "programs" / f"{_digest(target, tree)}.json"
    known = records.read_json(path) or {}
    unknown = [case for case in cases if " ".join(case) not in known]
    new = dict(zip(unknown, elsewhere(target, requests(unknown), tree), strict=True)) if unknown else {}
    new = {case: {"error": "its compiler stopped"} if result is None else result for case, result in new.items()}
    known |= {" ".join(case): result for case, result in new.items() if "error" not in result}
    if unknown:
        records.write(path, json.dumps(known, indent=1))
    return {case: new[case] if case in new else known[" ".join(case)] for case in cases}


def _measure(target):
    if reason := aot.missing(target):
        print(f"skipped {reason}")
        return {}
    found = figures(target, cases(target))
    for case, result in found.items():
        if "error" in result:
            print(f"{' '.join(case)} for {target} failed: {result['error']}")
    return {(target, " ".join(case)): result for case, result in found.items() if result and "error" not in result}


def work():
    return [harness.Work(aot.TARGETS[target], functools.partial(_measure, target)) for target in aot.TARGETS]


class _Program(harness.Figures):
    """A class for each target: asv visits every combination of parameters, also those that are skipped."""

    version = "4"  # kernels of the same text count once since then
    param_names = ("fit",)
    track_kernels = harness.figure("kernels", "kernels")
    track_copies = harness.figure("copies", "copies")
    track_hlo_instructions = harness.figure("hlo_instructions", "instructions")
    track_temp_bytes = harness.figure("temp_bytes", "bytes")
    track_flops = harness.figure("flops", "flop")
    track_bytes_accessed = harness.figure("bytes_accessed", "bytes")


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
