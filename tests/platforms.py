"""Checks of the programs that are compiled for TPU v5e and H100, with rows sharded over many, on a machine without one.

The compilers come with wheels (`make aot`) and run in a process of their own, one a platform: see `accelerators.py`.
`test_accelerators_tpu.py` and `test_accelerators_gpu.py` run these checks.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.machines import DISTINCT
from tests.registry import OTHERS, distinct

WHEELS = {"v5e": ["libtpu"], "h100": ["jax-cuda13-plugin", "jax-cuda13-pjrt"]}
# Beside copies of the rows: workspaces of p x p factorisations, loop states, layouts padded to tiles.
FIXED_BYTES = {"v5e": (2 << 20) + (16 << 10), "h100": 256 << 10}


def missing(platform: str) -> str | None:
    """Why the compiler of a platform cannot be used here, or None if it can."""
    for wheel in WHEELS[platform]:
        try:
            version = importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            return f"the wheel {wheel} is not installed (make aot installs it)"
        ours = importlib.metadata.version("jaxlib")
        if wheel != "libtpu" and version != ours:
            return f"{wheel} {version} does not belong to jaxlib {ours}"
    return None


def compile_all(platform: str) -> list[dict]:
    command = [sys.executable, "-W", "error", "-m", "tests.accelerators", platform]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def complaints(figures: dict, platform: str) -> list[str]:
    """The faults of a compiled program."""
    found = []
    name, rows, p = figures["name"], figures["local_rows"], figures["columns"]
    if not figures["gathers"]:
        # Sums over rows need all-reduces of what has no row axis; sums of pairs gather one partial sum a device.
        allowed = {"all-reduce": max(rows - 1, p * (p + 8)), "all-gather": rows - 1}
        for kind, sizes in figures["collectives"].items():
            found += [f"{name}: {kind} of {size} elements" for size in sizes if size > allowed.get(kind, 64)]
    bound = figures["copies"] * figures["local_bytes"] + FIXED_BYTES[platform]
    if figures["temp_bytes"] > bound:
        found.append(f"{name}: {figures['temp_bytes']} temporary bytes, allowed {bound}")
    return found


def check(platform: str) -> None:
    """Compiles all for a platform, or skips: a test in its own file for each, so that they run at once."""
    if reason := missing(platform):
        pytest.skip(f"{platform}: {reason}")
    programs = compile_all(platform)
    fits = [p for p in programs if p["name"].endswith(" fit")]
    assert len(fits) >= len(distinct()) + len(DISTINCT) + len(OTHERS) and all(
        p["collectives"]["all-reduce"] for p in fits
    )
    trains = [p["collectives"] for p in programs if p["name"].endswith(" train")]
    assert len(trains) == 5 and all(t.pop("all-reduce") and not any(t.values()) for t in trains)
    wrong = [line for program in programs for line in complaints(program, platform)]
    assert not wrong, "\n".join(wrong)
