"""The checks of `platforms.py` find the faults of a compiled program."""

from __future__ import annotations

import pytest

from tests.platforms import complaints

pytestmark = pytest.mark.slow


def test_complaints_are_made():
    good = {
        "name": "x",
        "local_rows": 1000,
        "columns": 8,
        "gathers": False,
        "local_bytes": 10**6,
        "copies": 2,
        "temp_bytes": 10**6,
    }
    reduces = {"collectives": {"all-reduce": [64, 1], "all-gather": [256]}}
    assert not complaints({**good, **reduces}, "h100")
    assert complaints({**good, **reduces, "temp_bytes": 10**7}, "h100")
    assert complaints({**good, "collectives": {"all-gather": [1000]}}, "h100")
    assert not complaints({**good, "collectives": {"all-gather": [1000]}, "gathers": True}, "h100")
    assert complaints({**good, "collectives": {"collective-permute": [100]}}, "h100")
