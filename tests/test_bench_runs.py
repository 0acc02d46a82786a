"""Runs of the benchmarks: what is stored, shown and decided, and what an interrupt leaves."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("asv_runner")

import bench
from bench import _aot, _cases, _gate, _harness, _history, _measure, _report, _results, _run, _selection, _tables

pytestmark = pytest.mark.slow

# The suite's environment defaults are for its own processes; those of other tests must not inherit them.
for _name in bench.CHANGED:
    os.environ.pop(_name, None)

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "0123456789abcdef"


@pytest.fixture
def head():
    """The commit of this checkout; an unpacked archive has none."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"not a git clone: {found.stderr.strip()}")
    return found.stdout.strip()


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
    _results.write_run(path, facts, table)
    return path


def test_report_is_self_contained(run, tmp_path):
    page = _report.build(run, root=tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|@import|(src|href)\s*=|https?://", page)
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert "5× faster" in page and "2× slower" in page and "1000 fits" in page
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| 1000x20 | float32 | 100 µs (6.8 digits) |" in text and "3 of 12 steps" in text
    assert "CPU | Least squares | 1000x20 | float32 | 61 |" in text
    assert "| ols 1000x20 float32: skglm skipped | skglm is not installed |" in text


def test_report_marks_what_was_measured_above_the_noise(run, tmp_path):
    _report.build(run, root=tmp_path)
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if "| float32 |" in line}
    assert "≈ noisy" in rows["<b>"] and "≈" not in rows["1000x20"]
    # A product took 0.1 s at the start and 0.13 s at the end.
    assert "differ by 30% from those at the start: other work ran beside it" in text


def test_rows_nearer_than_the_noise_are_as_fast():
    cells = {"jaxinfra": _tables.Cell(1.02), "peer": _tables.Cell(1.0)}
    row = _tables.Row("p", "float32", cells, None, noise=0.03)
    assert row.comparison == "as fast" and row._replace(noise=0.01).comparison == "1.02× slower"
    assert row._replace(cells={**cells, "peer": _tables.Cell(2.04)}).comparison == "2× faster"
    assert row._replace(cells={"jaxinfra": cells["jaxinfra"]}).comparison == "–"


def test_terminal_shows_the_same(run):
    console = pytest.importorskip("rich.console").Console(width=100, record=True, file=io.StringIO())
    from bench import _terminal

    _terminal.show(console, *_results.read_run(run))
    shown = console.export_text()
    assert all(text in shown for text in ("jaxinfra", "100 µs", "Norris", "61 k", "changed by 30% during the run"))


def test_tables():
    assert [_tables.duration(s) for s in (1.234, 0.1234, 1.2e-5)] == ["1.23 s", "123 ms", "12 µs"]


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.html"
    _results.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        _results.write(path, "new \udcff")  # cannot be encoded: fails half-way
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_report_is_of_the_run_that_started_last(run, tmp_path):
    facts, table = _results.read_run(run)
    later = run.with_name("fedcba98-20260102T000000.json")
    _results.write_run(later, {**facts, "profile": "standard", "commit": "fedcba98"}, table)
    assert _results.newest_run(tmp_path) == later and _results.newest_run(tmp_path, "quick") == run
    assert "fedcba98" in _report.build(_results.newest_run(tmp_path), root=tmp_path).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="is not a run"):
        _results.read_run(tmp_path / "runs" / "none.json")


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
    plan = _measure.steps("quick")
    assert [step.title for step in _measure.select(plan, "NIST")] == ["certified digits (NIST)"]
    first, part, last = _measure.select(plan, "Lasso path")
    assert (first.module, part.module, last.module) == ("selfcheck", "penalised", "selfcheck")
    assert part.works == ("Lasso path on 2000x1000, float64",) and part.only == "Lasso path"
    assert _measure.select(plan, "") == plan and not _measure.select(plan, "nonsense")


def test_time_left_follows_what_this_machine_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "ASV", tmp_path)
    plan = [_run.Step("digits", "nist", works=("a", "b")), _run.Step("call overhead", "regression", "^x")]
    progress = _measure.Progress("quick", plan)
    before = progress.expected("nist", "a")[0]
    progress.finish("nist", "a", 10 * before)
    progress.keep()
    # This machine has taken ten times as long so far, so that the rest is expected to.
    left = 10 * (before + progress.expected("regression", "call overhead")[0])
    assert str(progress) == f"{left // 60:.0f}:{left % 60:02.0f} left"
    assert _measure.Progress("quick", plan).expected("nist", "a") == (10 * before, True)
    # A family that has ended early leaves nothing to wait for.
    progress.drop(plan[0], 1)
    assert progress.left == [("regression", "call overhead")]


def test_published_figures_are_those_of_the_module_s_own_parameters():
    from bench import nist

    figures = {("jaxinfra", "Norris", "float64"): {"lost_digits": 1.5}, ("jaxinfra", "no set", "float64"): {}}
    figures["jaxinfra", "Pontius", "float64"] = {"another": 1.0}
    found = _harness.published(nist, figures)
    assert found == {"nist.Nist.track_lost_digits": {("jaxinfra", "Norris", "float64"): 1.5}}


def test_family_process_hands_over_one_work_after_the_other(tmp_path):
    seen = []
    with open(tmp_path / "log", "w") as log:
        step = _run.Step("digits", "nist", only="NoInt")
        assert _run.family(step, "quick", lambda *work: seen.append(work), log) == 0
    assert [title for title, *_ in seen] == ["NoInt1", "NoInt2"]
    assert seen[0][2]["jaxinfra", "NoInt1", "float64"]["lost_digits"] < 3


def test_interrupted_family_leaves_no_process(tmp_path):
    def stop(title, seconds, figures):
        raise _run.Interrupted("SIGINT")

    with open(tmp_path / "log", "w") as log, pytest.raises(_run.Interrupted):
        _run.family(_run.Step("digits", "nist", only="NoInt"), "quick", stop, log)
    assert not re.search(r"bench\._family nist NoInt", "\n".join(_commands()))


def _commands():
    psutil = pytest.importorskip("psutil")
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


STORE = """
import pathlib, sys
from bench import _results, _run, _store
_results.ASV = pathlib.Path(sys.argv[1])
name, here = "nist.Nist.track_lost_digits", ("jaxinfra", "Norris", "float64")
_store.Store(sys.argv[2]).add({name: {here: 1.0, ("numpy lstsq", "Norris", "float64"): 2.0}})
_store.Store(sys.argv[2]).add({name: {here: 0.5}})
"""


def test_results_are_asv_s_and_are_merged(tmp_path, head):
    pytest.importorskip("asv")
    from asv.results import Results

    # In a process of its own: asv forks, which one that runs JAX must not.
    subprocess.run([sys.executable, "-c", STORE, str(tmp_path), head], check=True, cwd=ROOT)
    (path,) = [p for p in _results.result_files(tmp_path) if p.name != "machine.json"]
    name = "nist.Nist.track_lost_digits"
    assert name in Results.load(str(path)).get_all_result_keys()
    found = _results.index(_results.figures(_results.stored(tmp_path, head), tmp_path))
    expected = {("jaxinfra", "Norris", "float64"): 0.5, ("numpy lstsq", "Norris", "float64"): 2.0}
    assert found[name] == expected
    assert not list(tmp_path.glob("staging-*"))


def test_interrupted_asv_step_keeps_the_finished_ones(tmp_path, monkeypatch):
    pytest.importorskip("asv")
    monkeypatch.setattr(_results, "ASV", tmp_path)
    kept = tmp_path / "results" / "here" / "abcdef01-existing.json"
    _results.write(kept, "finished")

    def interrupted(arguments, env, echo=None):
        (stage,) = tmp_path.glob("staging-*")
        staged = stage / "results" / "here" / kept.name
        assert staged.read_text() == "finished"
        staged.write_text("half wri")
        raise _run.Interrupted("SIGINT")

    monkeypatch.setattr(_run, "asv", interrupted)
    with pytest.raises(_run.Interrupted):
        _run.asv_step(_run.Step("a step", "x", "^x"), "abcdef0123", "here", "quick")
    assert kept.read_text() == "finished"
    assert not list(tmp_path.glob("staging-*"))


def test_kernels_are_counted_as_xla_compiles_them():
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    before = _aot.live()

    def f(a):
        return jnp.sort(a @ a.T, axis=0)  # neither fuses with the other

    text = jax.jit(f).lower(jnp.ones((40, 8))).compile().as_text()
    assert _aot.kernels(text) >= 2
    assert _aot.kernels("ENTRY %main (p: f32[]) -> f32[] {\n  ROOT %p = f32[] parameter(0)\n}") == 0
    jax.block_until_ready(jax.jit(lambda a: f(a) + 1)(jnp.ones((40, 8))))
    assert _aot.kernels_since(before) >= 2 and _aot.kernels_since(_aot.live()) == 0


def test_programs_compile_in_processes_of_their_own():
    from bench import program

    found = [("ols", "1000x20", "float32"), ("ridge", "1000x20", "float32"), ("nnls", "1000x20", "float32")]
    results = program.elsewhere("cpu", program.requests(found))
    assert len(results) == 3 and all(result["kernels"] > 3 for result in results)
    # Order is kept although the processes share the work.
    assert program.elsewhere("cpu", program.requests(found[1:2]))[0] == results[1]


def test_programs_of_a_package_that_was_compiled_before_are_known(tmp_path, monkeypatch):
    from bench import program

    monkeypatch.setattr(_results, "ASV", tmp_path)
    case, calls = ("ols", "1000x20", "float32"), []
    monkeypatch.setattr(program, "elsewhere", lambda *given: calls.append(given) or [{"kernels": 7}])
    assert program.figures("cpu", [case]) == {case: {"kernels": 7}} == program.figures("cpu", [case])
    assert len(calls) == 1
    # What does not compile is tried again.
    other = ("ridge", "1000x20", "float32")
    monkeypatch.setattr(program, "elsewhere", lambda *given: calls.append(given) or [{"error": "out of memory"}])
    assert program.figures("cpu", [other])[other]["error"] == program.figures("cpu", [other])[other]["error"]
    assert len(calls) == 3
    monkeypatch.setattr(program, "elsewhere", lambda *given: calls.append(given) or [{"kernels": 7}])
    # Another package is compiled.
    (tmp_path / "jaxinfra").mkdir()
    (tmp_path / "jaxinfra" / "__init__.py").write_text("changed = True")
    program.figures("cpu", [case], tmp_path)
    assert len(calls) == 4


def test_gate_verdicts():
    def verdict(base, head, twin):
        return _gate.verdict({"base": base, "head": head, "twin": twin})

    assert verdict(1.0, 1.05, 1.02) == "as fast"
    assert verdict(1.0, 1.3, 1.02) == "slower" and verdict(1.0, 0.7, 1.02) == "faster"
    assert verdict(1.0, 1.3, 1.2) == "too noisy"
    assert _gate.larger({"kernels": 100, "temp_bytes": 8}, {"kernels": 101, "temp_bytes": 9}) == ["temp_bytes"]


def test_gate_finds_a_planted_slow_down(tmp_path, monkeypatch):
    # The package of this checkout, and one whose least squares are fitted three times over.
    trees = [tmp_path / name for name in ("base", "head")]
    for tree in trees:
        shutil.copytree(ROOT / "jaxinfra", tree / "jaxinfra")
    slow = trees[1] / "jaxinfra" / "linear" / "ols.py"
    slow.write_text(
        slow.read_text()
        + "\n_fit_once = fit\n\n\ndef fit(*a, **k):\n    return [_fit_once(*a, **k) for _ in range(3)][0]\n"
    )
    with _gate._Fits(trees[0]) as base, _gate._Fits(trees[1]) as head, _gate._Fits(trees[0]) as twin:
        processes = {"base": base, "head": head, "twin": twin}
        found, reason = _gate.race(processes, "ols", "1000x20")
        assert not reason and _gate.verdict(found) == "slower"
        assert set(_gate.race(processes, "no_model", "1000x20")[1]) == {"base", "head", "twin"}


def test_gate_stops_where_the_package_is_the_same(capsys, head):
    assert _gate.main("HEAD", head) == 0
    assert f"jaxinfra is the same in HEAD and {head}" in capsys.readouterr().out


@pytest.mark.parametrize("result, code", [({"error": "no lowering"}, 2), ({"kernels": 9}, 1), ({"kernels": 7}, 0)])
def test_gate_fails_where_a_model_breaks_or_grows(result, code, capsys, monkeypatch):
    from bench import program

    case = ("ols", "1000x20", "float32")
    monkeypatch.setattr(_gate._run, "git", lambda *words: words[-1])  # two commits, of different packages
    monkeypatch.setattr(_gate, "_tree", lambda commit, folder: folder)
    monkeypatch.setattr(_gate, "plan", lambda only: ([case], []))
    monkeypatch.setattr(_gate, "_Fits", lambda tree: contextlib.nullcontext())
    answers = iter([{"kernels": 7}, result])
    monkeypatch.setattr(program, "figures", lambda *_: {case: next(answers)})
    assert _gate.main("base", "head") == code
    assert {0: "no regression", 1: "kernels 7 -> 9  LARGER", 2: "BROKEN: no lowering"}[code] in capsys.readouterr().out


def test_interrupted_gate_decides_nothing(monkeypatch, capsys):
    from bench import __main__ as command

    monkeypatch.setattr(_gate, "main", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert command.main(["gate", "a", "b"]) == 130
    assert "nothing was decided" in capsys.readouterr().out


def test_asv_stops_where_a_selection_matches_nothing():
    pytest.importorskip("asv")
    for pattern in (r"^program\.CPU", r"time_fit\('ols', '1000x20'", "Nist.*Norris", "timeraw_import_jax$"):
        assert _selection.matches([pattern]), pattern
    assert _selection.patterns(["run", "-b", "x", "--bench=y", "-bz", "HEAD"]) == ["x", "y", "z"]
    run = subprocess.run(
        [sys.executable, "-m", "asv", "run", "-b", "nonsense"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode and "no benchmark matches nonsense" in run.stdout + run.stderr
    assert not re.search("Creating|Installing", run.stdout)


def test_history_says_what_is_wrong_with_its_commits(capsys, head):
    assert _history.main("HEAD..HEAD") == 2
    assert "there are no commits in HEAD..HEAD" in capsys.readouterr().out


def test_pages_of_history_leave_out_what_was_never_measured(tmp_path):
    known = {"a.A.track_x": {"param_names": []}, "b.B.track_y": {"param_names": []}, "version": 2}
    folder = tmp_path / "results" / "here"
    folder.mkdir(parents=True)
    (tmp_path / "results" / "benchmarks.json").write_text(json.dumps(known))
    (folder / "01234567-env.json").write_text(json.dumps({"results": {"a.A.track_x": [[1.0]], "b.B.track_y": [None]}}))
    assert set(_history._measured(tmp_path / "results")) == {"a.A.track_x", "version"}


def test_pages_of_history_want_nothing_from_outside(tmp_path):
    tachyon = pytest.importorskip("asv_tachyon")
    (tmp_path / "index.json").write_text(json.dumps({}))
    (tmp_path / "index.html").write_text("asv's own")
    subprocess.run(
        [sys.executable, "-m", "asv_tachyon", "install", str(tmp_path)], check=True, stdout=subprocess.DEVNULL
    )
    assert tachyon and (tmp_path / "index.legacy.html").read_text() == "asv's own"
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"<(script|link)[^>]*https?://", page)
    for style in (tmp_path / "assets").glob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?https?://", style.read_text())


def test_every_quick_race_has_a_first_call_and_kernels(monkeypatch):
    # The figures that the table promises exist as benchmarks, so that asv keeps them.
    names = set(_selection.names())
    for model, problem in _cases.QUICK.items():
        family = _cases.CASES[model].family
        for figure in ("first_call_seconds", "kernels", "ratio"):
            assert f"{family}.Ours.track_{figure}({model!r}, {problem!r}, 'float64')" in names
