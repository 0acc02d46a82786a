"""The page of figures and its chart: written from a stored run, never by hand."""

from __future__ import annotations

import functools

import pytest

pytest.importorskip("asv_runner")

from bench.commands import figures
from bench.report import chart
from bench.runner import records

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A copy of the page with its run and picture, and no other runs."""
    for name in ("PAGE", "RUN", "PICTURE"):
        path = getattr(figures, name)
        monkeypatch.setattr(figures, name, tmp_path / path.name)
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(records, "newest_run", functools.partial(records.newest_run, tmp_path / ".asv"))
    return tmp_path


def test_the_page_and_the_picture_are_those_of_the_run(place):
    before = {path.name: path.read_text(encoding="utf-8") for path in place.iterdir()}
    assert figures.main() == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in place.iterdir()} == before


def test_a_later_whole_run_replaces_the_run(place, capsys):
    facts, table = records.read_run(figures.RUN)
    name = "regression.OLS.track_seconds"
    ours = next(key for key in table[name] if key[0] == "jaxinfra")
    table[name][ours] = 98765.0
    later = {**facts, "date": "2999-01-01T00:00:00+00:00"}
    for number, given in enumerate([{"done": 1}, {"only": "OLS"}, {"failed": ["x"]}, {"profile": "quick"}]):
        records.write_run(place / ".asv" / "runs" / f"x-2999010{number + 1}T000000.json", {**later, **given}, table)
    assert figures.main() == 0 and "98765 s" not in figures.PAGE.read_text(encoding="utf-8")
    records.write_run(place / ".asv" / "runs" / "x-29990101T000000.json", later, table)
    assert figures.main() == 0 and "98765 s" in figures.PAGE.read_text(encoding="utf-8")
    assert "the run of 2999-01-01" in capsys.readouterr().out
    assert records.read_run(figures.RUN) == (later, table)
    figures.RUN.unlink()
    for path in (place / ".asv" / "runs").iterdir():
        path.unlink()
    assert figures.main() == 2 and "no whole run" in capsys.readouterr().out


def test_marks_without_figures_and_figures_without_marks_are_errors():
    page = "a\n<!-- one -->\nold\n<!-- end -->\nb\n"
    assert figures.fill(page, {"one": "new"}) == "a\n<!-- one -->\n\nnew\n\n<!-- end -->\nb\n"
    with pytest.raises(ValueError, match="nothing for <!-- one -->"):
        figures.fill(page, {"two": "new"})
    with pytest.raises(ValueError, match="marks for 1 of 2 blocks"):
        figures.fill(page, {"one": "new", "two": "new"})


def test_the_chart_has_a_line_for_each_problem_and_a_mark_for_each_race():
    picture = chart.draw([("a <b>", "float32", 2.0), ("a <b>", "float64", 1 / 3), ("c", "float64", 1.0)])
    assert "3 races: 1 slower than the fastest peer, 2 as fast or faster" in picture
    assert picture.count("a &lt;b&gt;</text>") == 1 and picture.count("<circle") == 3 and picture.count("<path") == 2
