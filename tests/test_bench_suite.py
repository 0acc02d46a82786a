"""The benchmark suite is code too: it must import cleanly, stay fair, and write reports that open anywhere."""

import importlib
import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("asv_runner")

from bench import (
    _cases,
    _compare,
    _data,
    _harness,
    _networks,
    _peers,
    _race,
    _robust_optimality,
    _selection,
    _tables,
)
from bench._selection import benchmarks

pytestmark = pytest.mark.slow


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


def test_bases_are_hidden_from_asv():
    # It looks for benchmarks in modules with an underscore too.
    for path in (ROOT / "bench").glob("_[!_]*.py"):
        for name, value in vars(importlib.import_module(f"bench.{path.stem}")).items():
            if inspect.isclass(value) and not name.startswith("_"):
                assert not any(_selection.METHOD.match(method) for method in dir(value)), name


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
    for profile in _harness.PROFILES:
        monkeypatch.setenv("JAXINFRA_BENCH", profile)
        seen.add(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT))
    assert len(seen) == 1
    monkeypatch.setenv("JAXINFRA_BENCH", "quick")
    with pytest.raises(_harness.SkipNotImplemented):
        _harness.require("big", ["small", "big"], ["small"])
    monkeypatch.setenv("JAXINFRA_BENCH", "fast")
    with pytest.raises(ValueError, match="one of quick, standard, full"):
        _harness.profile()


def test_quick_profile_has_every_family_and_nothing_that_standard_lacks(monkeypatch):
    assert {_cases.CASES[model].family for model in _cases.QUICK} == set(_cases.FAMILIES)
    for model, problem in _cases.QUICK.items():
        assert problem in _cases.CASES[model].problems, model
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
    assert modules | {"infer", "select"} == {case.module for case in _cases.CASES.values()}
    assert set(_peers.ADAPTERS) == set(_cases.CASES)
    assert set(compiling.MODELS) == set(_cases.CASES) | set(_networks.CASES)
    for model, case in _cases.CASES.items():
        family = importlib.import_module(f"bench.{case.family}")
        kind = getattr(family, case.name)
        assert kind.key == (model,) and kind.params == _compare.axes(model)
        assert model in family.Ours.params[0] and model in family.Warm.params[0]
        assert set(case.problems) <= set(family.Ours.params[1])
        assert set(case.standard) <= set(case.problems) and set(case.compiled) <= set(compiling.PROBLEMS)
        assert hasattr(kind, f"track_{_tables.figure_of(model) or 'lost_digits'}")
        assert next(iter(_peers.ADAPTERS[model])) == _compare.OURS
    assert set(_cases.FAMILIES) == {case.family for case in _cases.CASES.values()}


def test_data_keep_their_values():
    # Results of old commits are compared with new ones: names and seeds are published.
    X, y = _data.problem("1000x20", "float64")
    assert X.shape == (1000, 20) and y.shape == (1000,) and X.flags.c_contiguous
    np.testing.assert_allclose([X[0, 0], y[0]], [0.345584192064786, 4.724699450215684], rtol=1e-6)
    single, _ = _data.problem("1000x20", "float32")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, X.astype(np.float32))


@pytest.mark.parametrize("kind, first", [("clusters", (1, -0.7975257984)), ("curved", (0.49046302463, 0.1567737195))])
def test_made_data_keep_their_values(kind, first):
    X, y = _data.load(kind, "1000x20", "float64")
    assert X.shape == (1000, 20) and X.flags.c_contiguous
    np.testing.assert_allclose(X.std(axis=0), 1)
    np.testing.assert_allclose([y[0], X[0, 0]], first, rtol=1e-6)
    assert (np.bincount(y) > 400).all() if kind == "clusters" else y.std() == pytest.approx(1)


@pytest.mark.parametrize("kind", _data.KINDS)
def test_generated_data_are_what_they_are_called(kind):
    X, y = _data.load(kind, "1000x20", "float64")
    assert X.shape == (1000, 20) and len(y) == 1000 and X.flags.c_contiguous
    assert np.corrcoef(X[:, :2].T)[0, 1] == pytest.approx(_data.CORRELATION, abs=0.1)
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
        assert 0.75 < _robust_optimality.consensus(X, y, _cases.THRESHOLD).mean() < 0.85
    if kind == "ordered":
        assert (np.bincount(y) == 200).all()


def test_race_takes_turns():
    order = []
    figures = _race.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.05)
    assert figures["a"]["samples"] >= _race.FEWEST and figures["b"]["samples"] >= _race.FEWEST
    assert figures["a"]["seconds"] <= figures["a"]["median_seconds"]
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert len(turns) > 4
