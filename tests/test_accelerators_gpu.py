"""Every fit and predict compiles for H100; see `test_accelerators.py`."""

from __future__ import annotations

import pytest

from tests.test_accelerators import check


@pytest.mark.slow
@pytest.mark.aot
def test_compiles_with_sharded_rows():
    check("h100")
