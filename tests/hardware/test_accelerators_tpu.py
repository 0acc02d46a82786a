"""Every fit and predict compiles for TPU v5e; see `platforms.py`."""

from __future__ import annotations

import pytest

from tests.platforms import check


@pytest.mark.slow
@pytest.mark.aot
def test_compiles_with_sharded_rows():
    check("v5e")
