"""Fits with rows sharded over eight virtual CPU devices are right; see `devices.py` for the comparisons."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_sharded_rows_give_the_right_results():
    command = [sys.executable, "-W", "error", "-m", "tests.devices"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    wrong = [f"{r['name']}: {r['error']}" for r in results if "error" in r]
    wrong += [f"{r['name']}: off by {r['deviation']:.1e}" for r in results if r.get("deviation", 0) > 1e-6]
    assert done.returncode == 0, done.stderr[-5000:]
    assert len(results) > 20
    assert not wrong, "\n".join(wrong)
