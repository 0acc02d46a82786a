"""The benchmark suite is code too: it must import cleanly, stay fair, and write reports that open anywhere."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import plain_machines, plain_robust

pytest.importorskip("asv_runner")

import bench
from bench import (
    _adapters,
    _cases,
    _certificate,
    _compare,
    _data,
    _harness,
    _machine_optimality,
    _networks,
    _optimality,
    _peers,
    _race,
    _robust_optimality,
    _selection,
    _tables,
)
from bench._selection import benchmarks

pytestmark = pytest.mark.slow

# The suite's environment defaults are for its own processes; those of other tests must not inherit them.
for _name in bench.CHANGED:
    os.environ.pop(_name, None)

ROOT = Path(__file__).resolve().parents[1]


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


def small_task(model, targets=1):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, 4)) + 1
    y = X @ rng.standard_normal((4, targets)) + 2 + rng.standard_normal((40, targets))
    y = y if targets > 1 else y[:, 0]
    return _certificate.Task(X, y, _cases.CASES[model].penalty(X, y))


def normal_equations(task):
    """The plain textbook solution, as far from the certificate's code as can be."""
    Xc, yc = task.X - task.X.mean(0), task.y - task.y.mean(0)
    coef = np.linalg.solve(Xc.T @ Xc + len(Xc) * task.penalty * np.eye(Xc.shape[1]), Xc.T @ yc)
    return coef, task.y.mean(0) - task.X.mean(0) @ coef


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(
    ("model", "name"), [(m, n) for m, impls in _peers.LEAST_SQUARES.items() for n in impls if n != "jaxinfra"]
)
def test_peers_agree_with_numpy(model, name, targets):
    task = small_task(model, targets)
    try:
        call, read = _peers.ADAPTERS[model][name].prepare(task)
        answer = read(call())
    except _harness.SkipNotImplemented as reason:
        pytest.skip(str(reason))
    if answer.penalty is not None:
        task = task._replace(penalty=answer.penalty)
    coef, intercept = normal_equations(task)
    np.testing.assert_allclose(answer.coef, coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(answer.intercept, intercept, rtol=1e-6)


def plain_lasso(X, y, l1, l2=0.0, size=1, positive=False):
    """Proximal gradient descent on blocks of neighbouring columns, each with all its targets, until nothing moves."""
    Xc, yc = X - X.mean(0), (y - y.mean(0)).reshape(len(X), -1)
    step = len(X) / np.linalg.norm(Xc, 2) ** 2
    coef = np.zeros((X.shape[1], yc.shape[1]))
    for _ in range(20000):
        before, coef = coef, coef + step * (Xc.T @ (yc - Xc @ coef) / len(X) - l2 * coef)
        if positive:
            coef = np.maximum(coef, 0)
        else:
            blocks = coef.reshape(-1, size * coef.shape[1])
            norms = np.linalg.norm(blocks, axis=1, keepdims=True)
            keep = np.maximum(1 - step * l1 * np.sqrt(size) / np.maximum(norms, 1e-300), 0)
            coef = (blocks * keep).reshape(coef.shape)
        if np.abs(coef - before).max() < 1e-15:
            break
    coef = coef.reshape(X.shape[1], *y.shape[1:])
    return coef, y.mean(0) - X.mean(0) @ coef


def plain_newton(X, y, l2, slope, classes=1):
    """Newton's method with a Hessian by differences of the gradient, so that nothing is derived twice."""
    A = np.column_stack([X, np.ones(len(X))])
    ridge = np.append(np.full(X.shape[1], l2), 0)[:, None]

    def gradient(w):
        w = w.reshape(A.shape[1], classes)
        eta = A @ w
        by_row = slope(eta if classes > 1 else eta[:, 0], y).reshape(len(X), classes)
        return (A.T @ by_row / len(X) + ridge * w).ravel()

    w = np.zeros(A.shape[1] * classes)
    for _ in range(50):
        H = np.stack([(gradient(w + d) - gradient(w - d)) / 2e-6 for d in 1e-6 * np.eye(w.size)], axis=1)
        w = w - np.linalg.lstsq(H, gradient(w), rcond=1e-8)[0]
    w = w.reshape(A.shape[1], classes)
    return (w[:-1], w[-1]) if classes > 1 else (w[:-1, 0], w[-1, 0])


def folds(task):
    """(training rows, held-out rows) of five equal neighbours."""
    parts = np.array_split(np.arange(len(task.X)), 5)
    return [(np.setdiff1d(np.arange(len(task.X)), part), part) for part in parts]


def tiny_task(model):
    """Sixty rows of the kind that the model is raced on, with a penalty that leaves all it needs to be one answer."""
    case = _cases.CASES[model]
    shape = {"multitask_lasso": "60x10x3", "theil_sen": "40x2", "bootstrap": "60x3"}.get(model, "60x10")
    X, y = _data.load(case.target, shape, "float64")
    task = _certificate.Task(X, y, case.penalty(X, y))
    if model == "svc_grid":
        return task._replace(penalty=np.array([[0.1, 1.0, 10.0], [0.02, 0.1, 0.5]]))
    if model in ("lasso_cv", "lasso_path"):
        return task._replace(penalty=task.penalty[:40:8])
    return task._replace(penalty=np.array([30.0, 3.0, 0.3])) if model == "logistic_cv" else task


def plain_answer(model, task):
    """(coef, intercept, chosen penalty) of the models beyond least squares."""
    X, y, penalty = task.X, task.y, task.penalty
    if model == "linear_svm_squared":

        def squared_hinge(eta, y):
            return -2 * (2 * y - 1) * np.maximum(1 - (2 * y - 1) * eta, 0)

        return *plain_newton(X, y, 1 / (penalty * len(X)), squared_hinge), None
    slopes = {"logistic": lambda e, y: 1 / (1 + np.exp(-e)) - y, "poisson": lambda e, y: np.exp(e) - y}
    slopes |= {"gamma": lambda e, y: 1 - y * np.exp(-e)}
    slopes |= {"tweedie": lambda e, y: (np.exp(e) - y) * np.exp(-e / 2)}
    if model in slopes:
        return *plain_newton(X, y, penalty, slopes[model]), None
    if model == "multinomial":

        def slope(eta, y):
            p = np.exp(eta) / np.exp(eta).sum(1, keepdims=True)
            return p - np.eye(3)[y]

        return *plain_newton(X, y, penalty, slope, 3), None
    if model == "lasso_path":
        answers = [plain_lasso(X, y, l1) for l1 in penalty]
        return np.stack([c for c, _ in answers]), np.stack([b for _, b in answers]), None
    if model == "lasso_cv":
        losses = np.zeros(len(penalty))
        for train, out in folds(task):
            for i, l1 in enumerate(penalty):
                coef, intercept = plain_lasso(X[train], y[train], l1)
                losses[i] += np.mean((y[out] - X[out] @ coef - intercept) ** 2)
        best = penalty[np.argmin(losses)]
        return *plain_lasso(X, y, best), best
    if model == "logistic_cv":
        losses = np.zeros(len(penalty))
        for train, out in folds(task):
            for i, c in enumerate(penalty):
                coef, intercept = plain_newton(X[train], y[train], c / len(train), slopes["logistic"])
                losses[i] += np.mean(np.log1p(np.exp((1 - 2 * y[out]) * (X[out] @ coef + intercept))))
        best = penalty[np.argmin(losses)]
        return *plain_newton(X, y, best / len(X), slopes["logistic"]), best
    options = {"elastic_net": {"l2": penalty}, "nnls": {"positive": True}, "group_lasso": {"size": _cases.GROUP}}
    return *plain_lasso(X, y, penalty, **options.get(model, {})), None


def plain(model, task):
    if model in _machine_optimality.CERTIFICATES:
        return plain_machines.answer(model, task)
    if model in _robust_optimality.CERTIFICATES:
        return plain_robust.answer(model, task)
    return _certificate.Answer(*plain_answer(model, task))


def compare_with_plain(model, names):
    """Answers at the tightest tolerance beside the plain ones, which have to pass their own certificate too."""
    task = tiny_task(model)
    certify, figure = _compare.certifier(model, task)
    exact = plain(model, task)
    coef, intercept, best = exact[:3]
    if not model.endswith("_cv"):
        assert certify(exact)[figure] < 1e-9
    for name in names:
        adapter = _peers.ADAPTERS[model][name]
        if not adapter.suits(task):
            continue
        tightest = 1e-9 if figure == "violation" else adapter.tolerances[-1]
        try:
            call, read = adapter.prepare(task, tightest)
        except _harness.SkipNotImplemented:
            continue
        answer = read(call())
        assert answer.penalty is None if best is None else answer.penalty == pytest.approx(best)
        if model == "multinomial":  # its intercepts are free to move together
            answer = answer._replace(intercept=answer.intercept - answer.intercept.mean())
            intercept = intercept - intercept.mean()
        # Resamples are drawn by each; liblinear's intercept, other machines and another consensus are certified alone.
        own = model in ("linear_svm", "svc_predict", "ransac") and name != "jaxinfra"
        if model != "bootstrap" and not own:
            np.testing.assert_allclose(answer.coef, coef, atol=2e-4 * np.abs(coef).max(), err_msg=name)
            np.testing.assert_allclose(answer.intercept, intercept, atol=2e-4, err_msg=name)
        assert certify(answer)[figure] < _optimality.target(model), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", list(_optimality.CERTIFICATES))
def test_penalised_and_generalised_peers_agree_with_numpy(model):
    compare_with_plain(model, [n for n in _peers.ADAPTERS[model] if n not in ("jaxinfra", "skglm", "liblinear")])


def test_liblinear_comes_near():
    # It stops after 300 rounds, whatever its tolerance.
    X, y = _data.load("clusters", "1000x20", "float64")
    task = _certificate.Task(X, y, 1.0)
    try:
        call, read = _peers.ADAPTERS["linear_svm"]["liblinear"].prepare(task, 0.1)
    except _harness.SkipNotImplemented as reason:
        pytest.skip(str(reason))
    answer = read(call())
    assert _compare.certifier("linear_svm", task)[0](answer)["gap"] < 0.01


def test_skglm_agrees_with_numpy():
    # It compiles for seconds, so that one model stands for all.
    pytest.importorskip("skglm")
    code = "import warnings; warnings.simplefilter('ignore'); from tests.test_bench_suite import compare_with_plain; "
    subprocess.run([sys.executable, "-c", code + "compare_with_plain('group_lasso', ['skglm'])"], check=True, cwd=ROOT)


@pytest.mark.parametrize("model", list(_cases.CASES))
def test_jaxinfra_agrees_with_numpy(model):
    if model not in _peers.LEAST_SQUARES:
        compare_with_plain(model, ["jaxinfra"])
        return
    for targets in (1, 3):
        task = small_task(model, targets)
        call, read = _peers.ADAPTERS[model]["jaxinfra"].prepare(task)
        answer = read(call())
        asked = task if answer.penalty is None else task._replace(penalty=answer.penalty)
        coef, intercept = normal_equations(asked)
        assert answer.coef.dtype == np.float64
        np.testing.assert_allclose(answer.coef, coef, rtol=1e-6)
        np.testing.assert_allclose(answer.intercept, intercept, rtol=1e-6)


def test_gap_of_an_answer_by_hand():
    # One column: X'X / n = 1, X'y / n = 2, so that the solution at l1 = 1/2 is 3/2; |y|^2 / 2 n = 5/2.
    X, y = np.array([[1.0], [-1.0]]), np.array([3.0, -1.0])
    assert _optimality.gap(X, y, np.array([1.5]), 1.0, 0.5) == pytest.approx(0, abs=1e-15)
    # All of y is X * 2 + 1: at 0 the objective is 2, at its best 2 - 1.5^2 / 2, and the scaled residual is optimal.
    assert _optimality.gap(X, y, np.array([0.0]), 1.0, 0.5) * 2 == pytest.approx(1.5**2 / 2)
    # An intercept that is off by 0.1 costs 0.1^2 / 2.
    assert _optimality.gap(X, y, np.array([1.5]), 1.1, 0.5) * 2 == pytest.approx(0.005)
    assert _optimality.gap(X, y, np.array([np.nan]), 1.0, 0.5) == _optimality.HOPELESS
    # With l2 = 1 the solution is 3/4, and away from it the gap bounds what the objective can fall.
    assert _optimality.gap(X, y, np.array([0.75]), 1.0, 0.5, 1.0) == pytest.approx(0, abs=1e-15)
    fall = 0.1**2 / 2 * 2
    assert fall <= _optimality.gap(X, y, np.array([0.85]), 1.0, 0.5, 1.0) * 2 < 3 * fall


@pytest.mark.parametrize("model", list(_optimality.CERTIFICATES))
def test_certificates_tell_a_spoiled_answer(model):
    task = tiny_task(model)
    certify, figure = _compare.certifier(model, task)
    answer = plain(model, task)
    if model == "logistic_cv":
        slope = _optimality.logistic
        paths = [[plain_newton(task.X[t], task.y[t], c / len(t), slope) for c in task.penalty] for t, _ in folds(task)]
        answer = answer._replace(
            folds=_certificate.Answer(*(np.array([[a[i] for a in p] for p in paths]) for i in (0, 1)))
        )
    assert certify(answer)[figure] < 1e-9
    # nu-SVC's rule is that of its problem before the division by the margin; RANSAC's allows what its threshold does.
    least = {"nu_svc": 1.0, "ransac": 2 * _cases.THRESHOLD}.get(model, 0.02)
    shift = np.append(least, np.zeros(np.size(answer.intercept) - 1))
    for spoiled in (
        answer._replace(coef=answer.coef + (0.5 if model == "ransac" else 0.01)),
        answer._replace(intercept=answer.intercept + shift.reshape(np.shape(answer.intercept))),
        answer._replace(coef=answer.coef * np.nan),
    ):  # fmt: skip
        assert not certify(spoiled)[figure] <= _optimality.target(model)
    if answer.folds:
        answer.folds.coef[2, 1, 0] += 0.01
        assert certify(answer)[figure] > _optimality.target(model)


def test_loosest_tolerance_that_is_certified():
    tolerances = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    for edge in (1e-2, 1e-3, 1e-5, 1e-6):
        tried = []
        assert (
            _compare.loosest(tolerances, lambda tol, edge=edge, tried=tried: tried.append(tol) or tol <= edge) == edge
        )
        assert len(tried) <= 3

    def adapter(reached):
        """An implementation whose error is its tolerance, but never below what it reaches."""
        return _adapters.Adapter(lambda task, tol: (lambda: max(tol, reached), lambda answer: answer), tolerances)

    def settled(reached):
        call, figures = _compare.settle(adapter(reached), None, lambda error: {"gap": error}, "gap", 1.0)
        return call(), figures["gap"], _compare.passes(figures, "gap")

    assert settled(0.0) == (1e-6, 1e-6, True)
    assert settled(2e-5) == (2e-5, 2e-5, False)


def test_peers_that_take_too_long_are_given_up():
    import time

    def prepare(task, tol):
        return lambda: time.sleep(5 if tol < 1e-4 else 0), lambda _: tol

    adapter = _adapters.Adapter(prepare, (1e-3, 1e-4, 1e-8))
    _, figures = _compare.settle(adapter, None, lambda tol: {"gap": tol}, "gap", 0.1)
    assert figures["gap"] == 1e-4
    with pytest.raises(_compare._TooSlow):
        _compare.settle(adapter._replace(tolerances=(1e-8,)), None, lambda tol: {"gap": tol}, "gap", 0.1)
    # The first call of a library imports it: it is asked once more.
    naps = [0.3]

    def importing(task, tol):
        return lambda: time.sleep(naps.pop() if naps else 0), lambda _: tol

    call, figures = _compare.settle(
        _adapters.Adapter(importing, (1e-3, 1e-8)), None, lambda tol: {"gap": tol}, "gap", 0.1
    )
    assert figures["gap"] == 1e-8


def test_uncertified_answers_are_no_peers():
    cells = {"jaxinfra": _tables.Cell(2.0, certificate=1e-7), "fast": _tables.Cell(0.1, certificate=1e-4)}
    row = _tables.Row("p", "float32", {**cells, "slow": _tables.Cell(4.0, certificate=9e-7)}, None)
    assert row.fastest_peer == "slow" and row.ratio == 0.5 and row.best == 2.0
    assert _tables.Row("p", "float32", cells, None).ratio is None
    bad = {"jaxinfra": cells["fast"], "slow": cells["jaxinfra"]}
    assert _tables.Row("p", "float32", bad, None).ratio is None


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_reference_and_certificate(targets, l2):
    task = small_task("ridge", targets)._replace(penalty=l2)
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
