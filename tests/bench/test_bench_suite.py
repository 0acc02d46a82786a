"""The benchmark suite is code too: it must import cleanly, stay fair, and write reports that open anywhere."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("asv_runner")

import bench
from bench.certificates import robust
from bench.peers import adapters, compare
from bench.report import tables
from bench.runner import harness, selection, timing
from bench.runner.selection import benchmarks
from bench.suite import data, model_cases, network_cases, settings

pytestmark = pytest.mark.slow

# The rooms by level: problems; certificates, and running and timing; peers; reports; commands.
LEVELS = [{"suite"}, {"certificates", "runner"}, {"peers"}, {"report"}, {"commands"}]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
ROOMS = sorted(path for room in LEVEL for path in (ROOT / "bench" / room).glob("*.py"))


def classes():
    return sorted({kind for kind, *_ in benchmarks() if kind}, key=lambda kind: kind.__qualname__)


def test_importing_starts_no_backend_and_needs_no_jax():
    code = (
        "import importlib, pkgutil, sys, bench\n"
        "for m in pkgutil.iter_modules(bench.__path__): importlib.import_module('bench.' + m.name)\n"
        f"for name in {['.'.join(['bench', *path.with_suffix('').parts[-2:]]) for path in ROOMS]}:\n"
        "    importlib.import_module(name)\n"
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


def test_asv_looks_into_no_room():
    # It imports every package below the folder of benchmarks, and takes what looks like a benchmark for one.
    found = {module.name for module in pkgutil.walk_packages(bench.__path__)}
    assert found == {*selection.MODULES, "__main__"}


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: ".".join(path.parts[-2:]))
def test_imports_go_down(path):
    """From a room to rooms of lower levels; `commands` alone run benchmark modules."""
    here = path.parent.name
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "bench":
            assert here == "commands", f"{path} imports a benchmark module"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench."):
            there = node.module.split(".")[1]
            assert there in (here, "workers") or LEVEL[there] < LEVEL[here], f"{path} imports bench.{there}"


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
    code = "from bench import regression as r, compile as c, glm as g; "
    code += "print(r.OLS.params, r.Warm.params, c.Compile.params, g.Poisson.params)"
    seen = set()
    for profile in harness.PROFILES:
        monkeypatch.setenv("JAXINFRA_BENCH", profile)
        seen.add(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT))
    assert len(seen) == 1
    monkeypatch.setenv("JAXINFRA_BENCH", "quick")
    with pytest.raises(harness.SkipNotImplemented):
        harness.require("big", ["small", "big"], ["small"])
    monkeypatch.setenv("JAXINFRA_BENCH", "fast")
    with pytest.raises(ValueError, match="one of quick, standard, full"):
        harness.profile()


def test_quick_profile_has_every_family_and_nothing_that_standard_lacks(monkeypatch):
    assert {model_cases.CASES[model].family for model in model_cases.QUICK} == set(model_cases.FAMILIES)
    for model, problem in model_cases.QUICK.items():
        assert problem in model_cases.CASES[model].problems, model
    from bench import networks

    assert set(networks.QUICK) <= set(networks.MODELS)


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
    from bench import compile as compiling

    modules = {name for name, value in vars(jaxinfra).items() if inspect.ismodule(value) and hasattr(value, "fit")}
    modules -= {"calibrate"}  # fits another model
    assert modules | {"infer", "select"} == {case.module for case in model_cases.CASES.values()}
    assert set(adapters.ADAPTERS) == set(model_cases.CASES)
    assert set(compiling.MODELS) == set(model_cases.CASES) | set(network_cases.CASES)
    for model, case in model_cases.CASES.items():
        family = importlib.import_module(f"bench.{case.family}")
        kind = getattr(family, case.name)
        assert kind.key == (model,) and kind.params == compare.axes(model)
        assert model in family.Ours.params[0] and model in family.Warm.params[0]
        assert set(case.problems) <= set(family.Ours.params[1])
        assert set(case.standard) <= set(case.problems) and set(case.compiled) <= set(compiling.PROBLEMS)
        assert hasattr(kind, f"track_{tables.figure_of(model) or 'lost_digits'}")
        assert next(iter(adapters.ADAPTERS[model])) == compare.OURS
    assert set(model_cases.FAMILIES) == {case.family for case in model_cases.CASES.values()}


def test_data_keep_their_values():
    # Results of old commits are compared with new ones: names and seeds are published.
    X, y = data.problem("1000x20", "float64")
    assert X.shape == (1000, 20) and y.shape == (1000,) and X.flags.c_contiguous
    np.testing.assert_allclose([X[0, 0], y[0]], [0.345584192064786, 4.724699450215684], rtol=1e-6)
    single, _ = data.problem("1000x20", "float32")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, X.astype(np.float32))


@pytest.mark.parametrize("kind, first", [("clusters", (1, -0.7975257984)), ("curved", (0.49046302463, 0.1567737195))])
def test_made_data_keep_their_values(kind, first):
    X, y = data.load(kind, "1000x20", "float64")
    assert X.shape == (1000, 20) and X.flags.c_contiguous
    np.testing.assert_allclose(X.std(axis=0), 1)
    np.testing.assert_allclose([y[0], X[0, 0]], first, rtol=1e-6)
    assert (np.bincount(y) > 400).all() if kind == "clusters" else y.std() == pytest.approx(1)


@pytest.mark.parametrize("kind", data.KINDS)
def test_generated_data_are_what_they_are_called(kind):
    X, y = data.load(kind, "1000x20", "float64")
    assert X.shape == (1000, 20) and len(y) == 1000 and X.flags.c_contiguous
    assert np.corrcoef(X[:, :2].T)[0, 1] == pytest.approx(data.CORRELATION, abs=0.1)
    assert y.dtype == (np.int32 if kind in ("labels", "classes", "ordered") else np.float64)
    # Published like the names: results of old commits are compared with new ones.
    first = {"sparse": 1.915964, "labels": 1, "classes": 1, "counts": 3, "positive": 4.776225}
    first |= {"heavy": 0.5873049490896444, "outliers": 0.2872327705700984, "ordered": 0}
    assert y[0] == pytest.approx(first[kind], rel=1e-6)
    if kind == "counts":
        assert 1 < y.mean() < 3 and (y == np.floor(y)).all()
    if kind == "positive":
        assert y.min() > 0
    if kind == "heavy":
        np.testing.assert_allclose([X.mean(axis=0), X.std(axis=0)], np.tile([[0.0], [1.0]], 20), atol=1e-12)
    if kind == "outliers":
        assert 0.75 < robust.consensus(X, y, settings.THRESHOLD).mean() < 0.85
    if kind == "ordered":
        assert (np.bincount(y) == 200).all()


def test_race_takes_turns():
    order = []
    figures = timing.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.05)
    assert figures["a"]["samples"] >= timing.FEWEST and figures["b"]["samples"] >= timing.FEWEST
    assert figures["a"]["seconds"] <= figures["a"]["median_seconds"]
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert len(turns) > 4
