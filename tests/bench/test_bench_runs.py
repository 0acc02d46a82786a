"""Runs of the benchmarks: what is stored and shown, and what an interrupt leaves."""

import io
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("asv_runner")

from bench.commands import measure
from bench.report import static_page, tables
from bench.runner import harness, records, steps

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef"


@pytest.fixture
def run(tmp_path):
    """The file of a run with two races, digits and compile times."""
    impls, problems, dtype = ["jaxinfra", "sklearn"], ["1000x20", "<b>"], "float32"
    seconds = dict(zip([(i, p, dtype) for i in impls for p in problems], [1e-4, 2e-3, 5e-4, 1e-3], strict=True))
    table = {
        "regression.OLS.track_seconds": seconds,
        "regression.OLS.track_spread": {("jaxinfra", "1000x20", dtype): 0.02, ("sklearn", "<b>", dtype): 0.4},
        "regression.OLS.track_lost_digits": dict(zip(seconds, [0.1, 0.2, 5.0, 0.3], strict=True)),
        "regression.Ours.track_first_call_seconds": {("ols", "1000x20", dtype): 0.4},
        "regression.Ours.track_kernels": {("ols", "1000x20", dtype): 61.0},
        "selfcheck.Machine.track_noise_ratio": {(dtype,): 0.03},
        "selfcheck.Machine.track_product_seconds": {(dtype,): 0.1},
        "nist.Nist.track_lost_digits": {("jaxinfra", "Norris", dtype): 2.0, ("sklearn", "Norris", dtype): 3.0},
        "program.CPU.track_kernels": {("ols 1000x20 float32",): 61.0},
        "imports.track_import_added_seconds": {(): 0.03},
    }
    again = {"selfcheck.Machine.track_product_seconds": [[[dtype], 0.13]]}
    facts = {"profile": "quick", "commit": COMMIT, "done": 3, "planned": 12, "seconds": 9, "date": "2026-01-01"}
    facts |= {"machine": {"cpu": "some processor", "ram": "1000000", "os": "Linux"}, "again": again}
    facts["notes"] = ["ols 1000x20 float32: skglm skipped: skglm is not installed"]
    path = tmp_path / "runs" / "01234567-20260101T000000.json"
    records.write_run(path, facts, table)
    return path


def test_report_is_self_contained(run, tmp_path):
    page = static_page.build(run, root=tmp_path).read_text(encoding="utf-8")
    names = page.replace('xmlns="http://www.w3.org/2000/svg"', "")  # of the picture, which nothing fetches
    assert not re.search(r"<script|<link|@import|(src|href)\s*=|https?://", names)
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert "5× faster" in page and "2× slower" in page and "1000 fits" in page
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| 1000x20 | float32 | 100 µs (6.8 digits) |" in text and "3 of 12 steps" in text
    assert "CPU | Least squares | 1000x20 | float32 | 61 |" in text
    assert "| ols 1000x20 float32: skglm skipped | skglm is not installed |" in text


def test_report_marks_what_was_measured_above_the_noise(run, tmp_path):
    static_page.build(run, root=tmp_path)
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if "| float32 |" in line}
    assert "≈ noisy" in rows["<b>"] and "≈" not in rows["1000x20"]
    # A product took 0.1 s at the start and 0.13 s at the end.
    assert "differ by 30% from those at the start: other work ran beside it" in text


def test_rows_nearer_than_the_noise_are_as_fast():
    cells = {"jaxinfra": tables.Cell(1.02), "peer": tables.Cell(1.0)}
    row = tables.Row("p", "float32", cells, None, noise=0.03)
    assert row.comparison == "as fast" and row._replace(noise=0.01).comparison == "1.02× slower"
    assert row._replace(cells={**cells, "peer": tables.Cell(2.04)}).comparison == "2× faster"
    assert row._replace(cells={"jaxinfra": cells["jaxinfra"]}).comparison == "–"


def test_what_an_earlier_race_compiled_has_no_first_call(run):
    _, table = records.read_run(run)
    key = ("ols", "1000x20", "float32")
    assert tables.races(table, "ols")[0][0].first_call == 0.4
    table["regression.Ours.track_kernels"][key] = 0.0
    assert tables.races(table, "ols")[0][0].first_call is None


def test_terminal_shows_the_same(run):
    console = pytest.importorskip("rich.console").Console(width=100, record=True, file=io.StringIO())
    from bench.report import terminal

    terminal.show(console, *records.read_run(run))
    shown = console.export_text()
    assert all(text in shown for text in ("jaxinfra", "100 µs", "Norris", "61 k", "changed by 30% during the run"))


def test_tables():
    assert [tables.duration(s) for s in (1.234, 0.1234, 1.2e-5)] == ["1.23 s", "123 ms", "12 µs"]


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.html"
    records.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        records.write(path, "new \udcff")  # cannot be encoded: fails half-way
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_report_is_of_the_run_that_started_last(run, tmp_path):
    facts, table = records.read_run(run)
    later = run.with_name("fedcba98-20260102T000000.json")
    records.write_run(later, {**facts, "profile": "standard", "commit": "fedcba98"}, table)
    assert records.newest_run(tmp_path) == later and records.newest_run(tmp_path, "quick") == run
    assert "fedcba98" in static_page.build(records.newest_run(tmp_path), root=tmp_path).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="is not a run"):
        records.read_run(tmp_path / "runs" / "none.json")


def test_a_title_that_nothing_has_lists_the_titles(capsys, monkeypatch):
    from bench.__main__ import main

    monkeypatch.setenv("JAXINFRA_BENCH", "quick")  # which it sets, and is then put back
    assert main(["quick", "--only", "nonsense"]) == 2
    printed = capsys.readouterr().out
    assert "nothing has 'nonsense' in its title" in printed and "\n  certified digits (NIST)\n" in printed
    assert "\n    Lasso path on 2000x1000, float64\n" in printed
    assert main(["gate", "HEAD", "HEAD", "--only", "nonsense"]) == 2
    assert "no model has 'nonsense' in its title" in capsys.readouterr().out
    assert main(["history", "HEAD~1..HEAD", "--only", "nonsense"]) == 2
    assert "no benchmark matches 'nonsense'; the modules are" in capsys.readouterr().out


def test_only_selects_steps_or_parts_of_them(monkeypatch):
    monkeypatch.setenv("JAXINFRA_BENCH", "quick")
    plan = measure.planned("quick")
    assert [step.title for step in measure.select(plan, "NIST")] == ["certified digits (NIST)"]
    first, part, last = measure.select(plan, "Lasso path")
    assert (first.module, part.module, last.module) == ("selfcheck", "penalised", "selfcheck")
    assert part.works == ("Lasso path on 2000x1000, float64",) and part.only == "Lasso path"
    assert measure.select(plan, "") == plan and not measure.select(plan, "nonsense")


def test_time_left_follows_what_this_machine_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ASV", tmp_path)
    plan = [steps.Step("digits", "nist", works=("a", "b")), steps.Step("call overhead", "regression", "^x")]
    progress = measure.Progress("quick", plan)
    before = progress.expected("nist", "a")[0]
    progress.finish("nist", "a", 10 * before)
    progress.keep()
    # This machine has taken ten times as long so far, so that the rest is expected to.
    left = 10 * (before + progress.expected("regression", "call overhead")[0])
    assert str(progress) == f"{left // 60:.0f}:{left % 60:02.0f} left"
    assert measure.Progress("quick", plan).expected("nist", "a") == (10 * before, True)
    # A family that has ended early leaves nothing to wait for.
    progress.drop(plan[0], 1)
    assert progress.left == [("regression", "call overhead")]


def test_notes_are_of_one_line():
    line = "lasso 1000x20 float32: peer failed: TypingError('one\\ntwo /somewhere/else')"
    assert measure.note(line) == "lasso 1000x20 float32: peer failed: TypingError('one"
    assert len(measure.note("x failed: " + "y" * 999)) == 200


def test_published_figures_are_those_of_the_module_s_own_parameters():
    from bench import nist

    figures = {("jaxinfra", "Norris", "float64"): {"lost_digits": 1.5}, ("jaxinfra", "no set", "float64"): {}}
    figures["jaxinfra", "Pontius", "float64"] = {"another": 1.0}
    found = harness.published(nist, figures)
    assert found == {"nist.Nist.track_lost_digits": {("jaxinfra", "Norris", "float64"): 1.5}}


def test_family_process_hands_over_one_work_after_the_other(tmp_path):
    seen = []
    with open(tmp_path / "log", "w") as log:
        step = steps.Step("digits", "nist", only="NoInt")
        assert steps.family(step, "quick", lambda *work: seen.append(work), log) == 0
    assert [title for title, *_ in seen] == ["NoInt1", "NoInt2"]
    assert seen[0][2]["jaxinfra", "NoInt1", "float64"]["lost_digits"] < 3


def test_interrupted_family_leaves_no_process(tmp_path):
    def stop(title, seconds, figures):
        raise steps.Interrupted("SIGINT")

    with open(tmp_path / "log", "w") as log, pytest.raises(steps.Interrupted):
        steps.family(steps.Step("digits", "nist", only="NoInt"), "quick", stop, log)
    assert not re.search(r"bench\.runner\.family nist NoInt", "\n".join(_commands()))


def _commands():
    psutil = pytest.importorskip("psutil")
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


STORE = """
import pathlib, sys
from bench.runner import records, steps, store
records.ASV = pathlib.Path(sys.argv[1])
name, here = "nist.Nist.track_lost_digits", ("jaxinfra", "Norris", "float64")
store.Store(sys.argv[2]).add({name: {here: 1.0, ("numpy lstsq", "Norris", "float64"): 2.0}})
store.Store(sys.argv[2]).add({name: {here: 0.5}})
"""


def test_results_are_asv_s_and_are_merged(tmp_path, head):
    pytest.importorskip("asv")
    from asv.results import Results

    # In its own process: asv forks, which one that runs JAX must not.
    subprocess.run([sys.executable, "-c", STORE, str(tmp_path), head], check=True, cwd=ROOT)
    (path,) = [p for p in records.result_files(tmp_path) if p.name != "machine.json"]
    name = "nist.Nist.track_lost_digits"
    assert name in Results.load(str(path)).get_all_result_keys()
    found = records.index(records.figures(records.stored(tmp_path, head), tmp_path))
    expected = {("jaxinfra", "Norris", "float64"): 0.5, ("numpy lstsq", "Norris", "float64"): 2.0}
    assert found[name] == expected
    assert not list(tmp_path.glob("staging-*"))


def test_interrupted_asv_step_keeps_the_finished_ones(tmp_path, monkeypatch):
    pytest.importorskip("asv")
    monkeypatch.setattr(records, "ASV", tmp_path)
    kept = tmp_path / "results" / "here" / "abcdef01-existing.json"
    records.write(kept, "finished")

    def interrupted(arguments, env, echo=None):
        (stage,) = tmp_path.glob("staging-*")
        staged = stage / "results" / "here" / kept.name
        assert staged.read_text() == "finished"
        staged.write_text("half wri")
        raise steps.Interrupted("SIGINT")

    monkeypatch.setattr(steps, "asv", interrupted)
    with pytest.raises(steps.Interrupted):
        steps.asv_step(steps.Step("a step", "x", "^x"), "abcdef0123", "here", "quick")
    assert kept.read_text() == "finished"
    assert not list(tmp_path.glob("staging-*"))
