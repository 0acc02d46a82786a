"""The page of first calls: its counts, and what is written between its marks."""

from __future__ import annotations

import pytest

pytest.importorskip("asv_runner")

from bench.commands import waiting

pytestmark = pytest.mark.slow


def test_from_which_fit_the_sum_of_times_is_smaller():
    theirs = {"first": 0.5, "warm": 0.25}
    for warm, first in ((0.0, 1.0), (0.125, 3.0), (0.1, 2.2), (0.2, 0.5)):
        number = waiting.ahead_after({"warm": warm}, first, theirs)

        def total(fits, first=first, warm=warm):
            return first + (fits - 1) * warm, theirs["first"] + (fits - 1) * theirs["warm"]

        assert number == 1 or total(number)[0] < total(number)[1]
        assert number == 1 or total(number - 1)[0] >= total(number - 1)[1]
    assert waiting.ahead_after({"warm": 0.25}, 1.0, theirs) is None
    assert waiting.ahead_after({"warm": 9.0}, 0.5, theirs) == 1


def test_the_tables_are_written(tmp_path, monkeypatch, capsys):
    """Between the marks of the page, and nothing else changes."""
    before = waiting.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(before, encoding="utf-8")
    found = {"ours": {"first": 2.0, "warm": 1e-3}, "theirs": {"first": 0.5, "warm": 3e-3},
             "predictions": {"new": 0.02, "again": 1e-4}, "ahead": {"seconds": 8.0, "then": 2e-3}}  # fmt: skip
    monkeypatch.setattr(waiting, "_run", lambda what, *_: found[what])
    monkeypatch.setattr(waiting, "PAGE", page)
    monkeypatch.setattr(waiting, "_load", lambda: 3.0)
    assert waiting.main() == 0 and str(page) in capsys.readouterr().out
    after = page.read_text(encoding="utf-8")
    assert "| `ols`, 1000x20 | 2 s | 2 s | 1 ms | 500 ms | 3 ms | 752 | 752 |" in after
    assert "| `svc` | 20 ms | 100 µs |" in after and "| `lasso` | 8 s | 8 s | 2 ms |" in after
    assert "- Versions: jax " in after and "Load before the first process: 3.0: **other programs" in after
    assert after.splitlines()[:9] == before.splitlines()[:9] and after.splitlines()[-3:] == before.splitlines()[-3:]


def test_a_fresh_process_measures():
    assert waiting._run("theirs", "ols", 30, 3).keys() == {"first", "warm"}
