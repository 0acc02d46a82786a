"""Each kernel of a fit costs a first call some 6 ms: none may have a tenth more than it had."""

from __future__ import annotations

import json

import pytest

from tests import kernels

pytestmark = pytest.mark.slow

BUDGET = json.loads(kernels.BUDGET.read_text())
SPARE = 1.1  # other versions of XLA fuse a little differently


@pytest.mark.parametrize("kind", kernels.PROGRAMS)
@pytest.mark.parametrize("name", kernels.FITS)
def test_a_fit_has_no_more_kernels_than_it_had(name, kind):
    allowed = BUDGET[name][kind]
    found = kernels.PROGRAMS[kind](name)
    assert found.compiled > 0
    assert found.compiled <= SPARE * sum(allowed.values()), (
        f"{name}, {kind} program: {sum(allowed.values())} kernels before, {found.compiled} now\n"
        f"{kernels.listing(found, allowed)}\n"
        "Fewer kernels, or the reason in the commit and `python -m tests.kernels` for the new numbers."
    )


def test_the_listing_names_what_grew():
    found = kernels.kernels.Kernels(5, 5, 0, {"a.py:f": 3, "a.py:g": 1, "b.py:h": 1})
    assert kernels.listing(found, {"a.py": 2, "b.py": 1}) == "  a.py: 2 -> 4\n       3 f\n       1 g"
