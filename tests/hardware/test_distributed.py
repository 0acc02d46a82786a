"""Two processes, each with half of the rows, find together what one process finds alone; see `processes.py`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import processes
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

COUNT = 2
LIMIT = 120  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_find_what_one_finds(tmp_path):
    file = tmp_path / "results.npz"
    logs = [tmp_path / f"process{rank}.log" for rank in range(COUNT)]
    port = str(free_port())
    children: list[subprocess.Popen] = []
    try:
        for rank, log in enumerate(logs):
            command = [
                sys.executable,
                "-W",
                "error",
                "-m",
                "tests.processes",
                str(rank),
                str(COUNT),
                port,
                str(file),
            ]
            with log.open("w") as out:
                children.append(subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT))
        deadline = time.monotonic() + LIMIT
        # One that fails leaves the other waiting for it: stop at the first failure.
        while any(c.poll() is None for c in children) and not any(c.poll() for c in children):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        codes = [child.poll() for child in children]
        for child in children:
            child.kill()
            child.wait()
    output = "\n".join(f"--- {log.name}\n{log.read_text()[-5000:]}" for log in logs)
    assert codes == [0] * COUNT, f"exit codes {codes} (None: stopped by this test)\n{output}"

    with np.load(file) as results:
        for name, how in processes.CASES:
            for i, expected in enumerate(processes.run(name, *processes.problem(name))):
                np.testing.assert_allclose(results[f"{name} {how} {i}"], np.asarray(expected), rtol=1e-10, atol=1e-12)
