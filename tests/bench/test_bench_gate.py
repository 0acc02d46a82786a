"""From commit to commit: compiled programs, the gate, the history, what asv selects."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("asv_runner")

from bench.commands import gate, history
from bench.runner import aot, kernels, records, selection
from bench.suite import model_cases

pytestmark = pytest.mark.slow


def test_kernels_are_counted_as_xla_compiles_them():
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    before = aot.live()

    def f(a):
        return jnp.sort(a @ a.T, axis=0)  # neither fuses with the other

    text = jax.jit(f).lower(jnp.ones((40, 8))).compile().as_text()
    assert kernels.count(text).executed >= 2
    assert kernels.count("ENTRY %main (p: f32[]) -> f32[] {\n  ROOT %p = f32[] parameter(0)\n}") == kernels.NONE
    jax.block_until_ready(jax.jit(lambda a: f(a) + 1)(jnp.ones((40, 8))))
    assert aot.kernels_since(before).executed >= 2 and aot.kernels_since(aot.live()) == kernels.NONE

    def repeated(a, step):  # the same loop eight times, or eight that differ in a constant
        for i in range(8):
            a = jax.lax.fori_loop(0, 9, lambda _, a, i=i: jnp.cumsum(a, 1) / (1 + step * i + a.max(0)[None]), a)
        return a

    same, other = (
        kernels.count(jax.jit(lambda a, step=step: repeated(a, step)).lower(jnp.ones((40, 8))).compile().as_text())
        for step in (0, 1)
    )
    assert same.executed == other.executed and 2 * same.compiled < other.compiled


def test_programs_compile_in_processes_of_their_own():
    from bench import program

    found = [("ols", "1000x20", "float32"), ("ridge", "1000x20", "float32"), ("nnls", "1000x20", "float32")]
    results = program.elsewhere("cpu", program.requests(found))
    assert len(results) == 3 and all(result["kernels"] > 3 for result in results)
    # Order is kept although the processes share the work.
    assert program.elsewhere("cpu", program.requests(found[1:2]))[0] == results[1]


def test_arguments_have_the_shapes_of_the_problem():
    from bench import compile

    for model, hyper in {"sandwich": (51,), "ols": (), "svc": (2,)}.items():
        X, y, given = compile.arguments(model, "100000x50", "float64")
        assert (X.shape, y.shape, given.shape) == ((100000, 50), (100000,), hyper)


def test_programs_of_a_package_that_was_compiled_before_are_known(tmp_path, monkeypatch):
    from bench import program

    monkeypatch.setattr(records, "ASV", tmp_path)
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
        return gate.verdict({"base": base, "head": head, "twin": twin})

    assert verdict(1.0, 1.05, 1.02) == "as fast"
    assert verdict(1.0, 1.3, 1.02) == "slower" and verdict(1.0, 0.7, 1.02) == "faster"
    assert verdict(1.0, 1.3, 1.2) == "too noisy"
    assert gate.larger({"kernels": 100, "temp_bytes": 8}, {"kernels": 101, "temp_bytes": 9}) == ["temp_bytes"]


def test_gate_finds_a_planted_slow_down(tmp_path):
    # The package of this checkout, and one whose least squares wait: a hundred times what a fit of this size takes, so
    # that no noise of the machine, which the twins show, comes near.
    trees = [tmp_path / name for name in ("base", "head")]
    for tree in trees:
        shutil.copytree(ROOT / "jaxinfra", tree / "jaxinfra")
    slow = trees[1] / "jaxinfra" / "linear" / "ols.py"
    slow.write_text(
        slow.read_text()
        + "\nimport time\n\n_fit_now = fit\n\n\ndef fit(*a, **k):\n    time.sleep(0.05)\n    return _fit_now(*a, **k)\n"
    )
    with gate._Fits(trees[0]) as base, gate._Fits(trees[1]) as head, gate._Fits(trees[0]) as twin:
        processes = {"base": base, "head": head, "twin": twin}
        found, reason = gate.race(processes, "ols", "1000x20")
        assert not reason and gate.verdict(found) == "slower"
        assert set(gate.race(processes, "no_model", "1000x20")[1]) == {"base", "head", "twin"}


def test_gate_stops_where_the_package_is_the_same(capsys, head):
    assert gate.main("HEAD", head) == 0
    assert f"jaxinfra is the same in HEAD and {head}" in capsys.readouterr().out


@pytest.mark.parametrize("result, code", [({"error": "no lowering"}, 2), ({"kernels": 9}, 1), ({"kernels": 7}, 0)])
def test_gate_fails_where_a_model_breaks_or_grows(result, code, capsys, monkeypatch):
    from bench import program

    case = ("ols", "1000x20", "float32")
    monkeypatch.setattr(gate.steps, "git", lambda *words: words[-1])  # two commits, of different packages
    monkeypatch.setattr(gate, "_tree", lambda commit, folder: folder)
    monkeypatch.setattr(gate, "plan", lambda only: ([case], []))
    monkeypatch.setattr(gate, "_Fits", lambda tree: contextlib.nullcontext())
    answers = iter([{"kernels": 7}, result])
    monkeypatch.setattr(program, "figures", lambda *_: {case: next(answers)})
    assert gate.main("base", "head") == code
    assert {0: "no regression", 1: "kernels 7 -> 9  LARGER", 2: "BROKEN: no lowering"}[code] in capsys.readouterr().out


def test_interrupted_gate_decides_nothing(monkeypatch, capsys):
    from bench import __main__ as command

    monkeypatch.setattr(gate, "main", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert command.main(["gate", "a", "b"]) == 130
    assert "nothing was decided" in capsys.readouterr().out


def test_asv_stops_where_a_selection_matches_nothing():
    pytest.importorskip("asv")
    for pattern in (r"^program\.CPU", r"time_fit\('ols', '1000x20'", "Nist.*Norris", "timeraw_import_jax$"):
        assert selection.matches([pattern]), pattern
    assert selection.patterns(["run", "-b", "x", "--bench=y", "-bz", "HEAD"]) == ["x", "y", "z"]
    run = subprocess.run(
        [sys.executable, "-m", "asv", "run", "-b", "nonsense"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode and "no benchmark matches nonsense" in run.stdout + run.stderr
    assert not re.search("Creating|Installing", run.stdout)


def test_history_says_what_is_wrong_with_its_commits(capsys, head):
    assert history.main("HEAD..HEAD") == 2
    assert "there are no commits in HEAD..HEAD" in capsys.readouterr().out


def test_pages_of_history_leave_out_what_was_never_measured(tmp_path):
    known = {"a.A.track_x": {"param_names": []}, "b.B.track_y": {"param_names": []}, "version": 2}
    folder = tmp_path / "results" / "here"
    folder.mkdir(parents=True)
    (tmp_path / "results" / "benchmarks.json").write_text(json.dumps(known))
    (folder / "01234567-env.json").write_text(json.dumps({"results": {"a.A.track_x": [[1.0]], "b.B.track_y": [None]}}))
    assert set(history._measured(tmp_path / "results")) == {"a.A.track_x", "version"}


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
    names = set(selection.names())
    for model, problem in model_cases.QUICK.items():
        family = model_cases.CASES[model].family
        for figure in ("first_call_seconds", "kernels", "ratio"):
            assert f"{family}.Ours.track_{figure}({model!r}, {problem!r}, 'float64')" in names
