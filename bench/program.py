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

from . import _aot, _harness, _results, compile
from .workers.serving import cores

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


def elsewhere(target, requests, tree=None):
    """The figures of `requests` from processes of their own, one a core: a compilation is mostly on one.

    They find jaxinfra in the folder `tree` first, or else as installed.
    """
    parts = [requests[i :: cores()] for i in range(cores())]
    runs = [
        subprocess.Popen(
            [sys.executable, _aot.__file__, target],
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
    for name in ("_cases.py", "_networks.py", "_data.py", "compile.py", "_aot.py"):
        known.update((here / name).read_bytes())
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")]
    machine = sys.version_info[:2], platform.processor(), cores(), os.environ.get("XLA_FLAGS")
    known.update(repr([target, *versions, *machine]).encode())
    return known.hexdigest()[:24]


def figures(target, cases, tree=None):
    """{case: figures} of the programs; {"error": ...} of one that does not compile, {} of a model that is not there.

    They have no noise: of a package that was compiled before they are known. What failed is tried again.
    """
    path = _results.ASV / "programs" / f"{_digest(target, tree)}.json"
    known = _results.read_json(path) or {}
    wanted = [case for case in cases if " ".join(case) not in known]
    new = dict(zip(wanted, elsewhere(target, requests(wanted), tree), strict=True)) if wanted else {}
    new = {case: {"error": "its compiler stopped"} if result is None else result for case, result in new.items()}
    known |= {" ".join(case): result for case, result in new.items() if "error" not in result}
    if wanted:
        _results.write(path, json.dumps(known, indent=1))
    return {case: new[case] if case in new else known[" ".join(case)] for case in cases}


def _measure(target):
    if reason := missing(target):
        print(f"skipped {reason}")
        return {}
    found = figures(target, cases(target))
    for case, result in found.items():
        if "error" in result:
            print(f"{' '.join(case)} for {target} failed: {result['error']}")
    return {(target, " ".join(case)): result for case, result in found.items() if result and "error" not in result}


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
