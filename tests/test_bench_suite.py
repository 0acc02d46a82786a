"""The benchmark suite is code too: it must import cleanly, stay fair, and write reports that open anywhere."""

import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("asv_runner")

import bench
from bench import _certificate, _data, _gate, _harness, _offline, _peers, _race, _report, _results, _tables

# The suite's environment defaults are for its own processes; those of other tests must not inherit them.
for _name in bench.CHANGED:
    del os.environ[_name]

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p.stem for p in (ROOT / "bench").glob("*.py") if not p.stem.startswith("_"))
METHOD = re.compile(r"(time|track|timeraw|mem|peakmem)_")


def benchmarks():
    """(class, method name, function) of every benchmark; the class is None for plain functions."""
    for name in MODULES:
        module = importlib.import_module(f"bench.{name}")
        for attribute, value in vars(module).items():
            if attribute.startswith("_"):
                continue
            if inspect.isclass(value):
                for method, function in inspect.getmembers(value, inspect.isfunction):
                    if METHOD.match(method):
                        yield value, method, function
            elif inspect.isfunction(value) and METHOD.match(attribute):
                yield None, attribute, value


def classes():
    return sorted({kind for kind, *_ in benchmarks() if kind}, key=lambda kind: kind.__qualname__)


def test_importing_starts_no_backend_and_needs_no_jax():
    code = (
        "import importlib, pkgutil, sys, bench\n"
        "for m in pkgutil.iter_modules(bench.__path__): importlib.import_module('bench.' + m.name)\n"
        "assert not {'jax', 'sklearn', 'rich', 'asv'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_classes_keep_the_rules(kind):
    assert len(getattr(kind, "params", ())) == len(getattr(kind, "param_names", ()))
    # asv_runner forces number=1 on a class with setup, and runs it before every sample.
    assert not hasattr(kind, "setup")
    regimes = {method.split("_")[0] for other, method, _ in benchmarks() if other is kind}
    assert len(regimes) == 1, "one class measures in one regime"


def test_every_tracked_figure_has_a_unit_and_a_version():
    for kind, method, function in benchmarks():
        if method.startswith("track_"):
            assert function.unit, method
            # Without one, asv starts a new history at every cosmetic change.
            assert getattr(kind or function, "version", None), method


def test_setup_caches_of_modules_are_apart():
    # asv keys a cache by the file and line of setup_cache: an inherited one would be shared between families.
    for kind in classes():
        if hasattr(kind, "setup_cache"):
            assert inspect.getmodule(kind.setup_cache).__name__ == kind.__module__


def test_profile_changes_no_parameters(monkeypatch):
    code = "from bench import regression as r, compile as c; print(r.OLS.params, r.Warm.params, c.Compile.params)"
    seen = set()
    for profile in ("quick", "full"):
        monkeypatch.setenv("JAXINFRA_BENCH", profile)
        seen.add(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT))
    assert len(seen) == 1
    monkeypatch.setenv("JAXINFRA_BENCH", "quick")
    with pytest.raises(_harness.SkipNotImplemented):
        _harness.require("big", ["small", "big"], ["small"])
    monkeypatch.setenv("JAXINFRA_BENCH", "fast")
    with pytest.raises(ValueError, match="quick or full"):
        _harness.profile()


def test_configuration_keys_are_known():
    # asv ignores a misspelt key without a word.
    config, util = pytest.importorskip("asv.config"), pytest.importorskip("asv.util")
    conf = util.load_json(str(ROOT / "asv.conf.json"), js_comments=True)
    known = set(vars(config.Config())) | {"version", "wheel_cache_size", "build_cache_size"}
    assert set(conf) <= known, set(conf) - known
    patterns = [re.compile(p) for p in conf["regressions_thresholds"]]
    for kind, method, _ in benchmarks():
        name = f"{kind.__module__}.{kind.__name__}.{method}" if kind else f"module.{method}"
        # asv takes the largest threshold that matches.
        assert sum(bool(p.match(name)) for p in patterns) <= 1, name


def test_every_model_is_timed_certified_and_compiled():
    import jaxinfra

    modules = {name for name, value in vars(jaxinfra).items() if inspect.ismodule(value) and hasattr(value, "fit")}
    from bench import compile as compiling
    from bench import regression

    assert modules <= set(_peers.ADAPTERS) & set(compiling.MODELS) & set(_tables.MODELS)
    assert modules <= set(regression.Warm.params[0])
    for model in _peers.ADAPTERS:
        assert _peers.ADAPTERS[model].keys() == set(getattr(regression, _tables.MODELS[model][0]).params[0])


def small_task(model, targets):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, 4)) + 1
    y = X @ rng.standard_normal((4, targets)) + 2 + rng.standard_normal((40, targets))
    return _certificate.Task(X, y if targets > 1 else y[:, 0], 0.1 if model == "ridge" else 0.0)


def normal_equations(task):
    """The plain textbook solution, as far from the certificate's code as can be."""
    Xc, yc = task.X - task.X.mean(0), task.y - task.y.mean(0)
    coef = np.linalg.solve(Xc.T @ Xc + len(Xc) * task.l2 * np.eye(Xc.shape[1]), Xc.T @ yc)
    return coef, task.y.mean(0) - task.X.mean(0) @ coef


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(
    ("model", "name"), [(m, n) for m, impls in _peers.ADAPTERS.items() for n in impls if n != "jaxinfra"]
)
def test_peers_agree_with_numpy(model, name, targets):
    task = small_task(model, targets)
    try:
        call, read = _peers.ADAPTERS[model][name](task)
        answer = read(call())
    except _harness.SkipNotImplemented as reason:
        pytest.skip(str(reason))
    if answer.l2 is not None:
        task = task._replace(l2=answer.l2)
    coef, intercept = normal_equations(task)
    np.testing.assert_allclose(answer.coef, coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(answer.intercept, intercept, rtol=1e-6)


@pytest.mark.parametrize("model", list(_peers.ADAPTERS))
def test_jaxinfra_agrees_with_numpy(model):
    # In a process of its own, since benchmarks switch 64-bit types on.
    code = (
        "import numpy as np\n"
        "from bench import _peers\n"
        "from tests.test_bench_suite import small_task, normal_equations\n"
        f"model = {model!r}\n"
        "for targets in (1, 3):\n"
        "    task = small_task(model, targets)\n"
        "    call, read = _peers.ADAPTERS[model]['jaxinfra'](task)\n"
        "    answer = read(call())\n"
        "    coef, intercept = normal_equations(task if answer.l2 is None else task._replace(l2=answer.l2))\n"
        "    assert answer.coef.dtype == np.float64\n"
        "    np.testing.assert_allclose(answer.coef, coef, rtol=1e-6)\n"
        "    np.testing.assert_allclose(answer.intercept, intercept, rtol=1e-6)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_reference_and_certificate(targets, l2):
    task = small_task("ridge", targets)._replace(l2=l2)
    exact = _certificate.reference(task)
    coef, intercept = normal_equations(task)
    np.testing.assert_allclose(exact.coef, coef, rtol=1e-10)
    np.testing.assert_allclose(exact.intercept, intercept, rtol=1e-10)
    perfect = _certificate.certify(task, exact, exact)
    assert perfect["lost_digits"] == 0 and perfect["excess_objective"] == 0 and perfect["gradient"] < 1e-12
    worse = _certificate.certify(task, exact._replace(coef=exact.coef * (1 + 1e-6)), exact)
    assert worse["lost_digits"] == pytest.approx(_certificate.capacity("float64") - 6, abs=0.01)
    assert 0 < worse["excess_objective"] < 1e-10 and worse["gradient"] > perfect["gradient"]
    nothing = _certificate.certify(task, exact._replace(coef=exact.coef * np.nan), exact)
    assert nothing["lost_digits"] == _certificate.capacity("float64")


def test_reference_ignores_constant_columns_as_minimum_norm_does():
    task = small_task("ols", 1)
    padded = task._replace(X=np.column_stack([task.X, np.zeros(40)]))
    exact = _certificate.reference(padded)
    np.testing.assert_allclose(exact.coef[:4], _certificate.reference(task).coef, rtol=1e-12)
    assert exact.coef[4] == 0


def test_reference_beats_double_precision_on_wampler():
    from bench import nist

    X, y, exact, fit_intercept = nist.load("Wampler2")
    answer = _certificate.reference(_certificate.Task(X, y, 0.0, fit_intercept))
    assert nist.correct_digits(answer, exact, fit_intercept) > 10


def test_nist_formulas_equal_the_files():
    from bench import nist

    for name in nist.FORMULA:
        x, y, exact = nist._formula(name)
        assert len(x) == len(y)
        if (nist.FOLDER / f"{name}.dat").exists():
            for ours, theirs in zip((x, y, exact), nist._file(name), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def test_data_keep_their_values():
    # Results of old commits are compared with new ones: names and seeds are published.
    X, y = _data.problem("1000x20", "float64")
    assert X.shape == (1000, 20) and y.shape == (1000,) and X.flags.c_contiguous
    np.testing.assert_allclose([X[0, 0], y[0]], [0.345584192064786, 4.724699450215684], rtol=1e-6)
    single, _ = _data.problem("1000x20", "float32")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, X.astype(np.float32))


def test_race_takes_turns():
    order = []
    figures = _race.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.05)
    assert figures["a"]["samples"] >= _race.FEWEST and figures["b"]["samples"] >= _race.FEWEST
    assert figures["a"]["seconds"] <= figures["a"]["median_seconds"]
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert len(turns) > 4


@pytest.fixture
def results(tmp_path):
    """A stored result set like asv's, with two races, digits and compile times."""
    impls, problems, dtypes = ["jaxinfra", "sklearn"], ["1000x20", "<b>"], ["float32"]
    axes = ["impl", "problem", "dtype"]
    tables = {
        "regression.OLS.track_seconds": (axes, [impls, problems, dtypes], [1e-4, 2e-3, 5e-4, 1e-3]),
        "regression.OLS.track_lost_digits": (axes, [impls, problems, dtypes], [0.1, 0.2, 5.0, 0.3]),
        "regression.Ours.track_first_call_seconds": (["model", *axes[1:]], [["ols"], ["1000x20"], dtypes], [0.4]),
        "nist.Nist.track_lost_digits": (["impl", "set", "dtype"], [impls, ["Norris"], dtypes], [2.0, 3.0]),
        "imports.track_import_added_seconds": ([], [], [0.03]),
    }  # fmt: skip
    folder = tmp_path / "results" / "here"
    folder.mkdir(parents=True)
    known = {name: {"param_names": names, "unit": "s"} for name, (names, _, _) in tables.items()}
    (tmp_path / "results" / "benchmarks.json").write_text(json.dumps({**known, "version": 2}))
    (folder / "machine.json").write_text(json.dumps({"cpu": "some processor", "ram": "1000000", "os": "Linux"}))
    rows = {n: [values, [[repr(v) for v in axis] for axis in axes]] for n, (_, axes, values) in tables.items()}
    data = {"commit_hash": "0123456789abcdef", "result_columns": ["result", "params"], "results": rows}
    (folder / "01234567-existing.json").write_text(json.dumps(data))
    return tmp_path


def test_report_is_self_contained(results):
    page = _report.build("0123456789abcdef", root=results).read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|@import|(src|href)\s*=|https?://", page)
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert "5× faster" in page and "2× slower" in page and "1000 fits" in page
    text = (results / "html" / "report.md").read_text(encoding="utf-8")
    assert "| 1000x20 | float32 | 100 µs (6.8 digits) |" in text


def test_terminal_shows_the_same(results):
    console = pytest.importorskip("rich.console").Console(width=100, record=True, file=io.StringIO())
    from bench import _terminal

    _terminal.show(console, "0123456789abcdef", root=results)
    shown = console.export_text()
    assert "jaxinfra" in shown and "100 µs" in shown and "Norris" in shown


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.html"
    _results.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        _results.write(path, "new \udcff")  # cannot be encoded: fails half-way
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_interrupted_step_keeps_the_finished_ones(tmp_path, monkeypatch):
    pytest.importorskip("asv")
    from bench import _run

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
        _run.run_step(_run.Step("a step", "^x"), "abcdef0123", "here", "quick")
    assert kept.read_text() == "finished"
    assert not list(tmp_path.glob("staging-*"))


def test_asv_site_loses_every_outside_script():
    www = Path(pytest.importorskip("asv").__file__).parent / "www" / "index.html"
    page, needed = _offline.vendor(www.read_text(encoding="utf-8"))
    assert needed and set(needed) <= set(_offline.ASSETS)
    assert not re.search(r"<(script|link)[^>]*https?://", page)


def test_gate_reads_the_rows_that_got_worse(monkeypatch):
    output = "| +      | 1.0±0ms | 2.0±0ms | 2.00 | regression.Warm.time_fit('ols', '1000x20', 'float32') |\n"
    output += "| -      | 2.0±0ms | 1.0±0ms | 0.50 | regression.Warm.time_fit('ridge', '1000x20', 'float32') |\n"
    monkeypatch.setattr(_gate._run, "asv", lambda *_, **__: (1, output))
    code, worse = _gate._continuous("a", "b", 1.1, ["x"], [], "")
    assert code == 1 and worse == ["regression.Warm.time_fit('ols', '1000x20', 'float32')"]


def test_tables():
    assert [_tables.duration(s) for s in (1.234, 0.1234, 1.2e-5)] == ["1.23 s", "123 ms", "12 µs"]
    assert _tables.comparison(0.5) == "2× faster" and _tables.comparison(3) == "3× slower"


def test_interrupted_gate_decides_nothing(monkeypatch, capsys):
    import os
    import signal

    from bench import __main__ as command

    monkeypatch.setattr(_gate, "main", lambda base, head: os.kill(os.getpid(), signal.SIGTERM))
    assert command.main(["gate", "a", "b"]) == 130
    assert "nothing was decided" in capsys.readouterr().out
