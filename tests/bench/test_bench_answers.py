"""Answers of jaxinfra and of its peers in the benchmarks beside plain NumPy, and the certificates that judge them."""

import functools
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.references import bench_linear, bench_machines, bench_robust

pytest.importorskip("asv_runner")

from bench.certificates import least_squares, linear, machines, robust, targets
from bench.peers import adapters, compare
from bench.peers.adapter import Adapter
from bench.peers.linear import LEAST_SQUARES
from bench.report import tables
from bench.runner import harness
from bench.suite import data, model_cases, settings

pytestmark = pytest.mark.slow


def small_task(model, columns=1):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, 4)) + 1
    y = X @ rng.standard_normal((4, columns)) + 2 + rng.standard_normal((40, columns))
    y = y if columns > 1 else y[:, 0]
    return least_squares.Task(X, y, model_cases.CASES[model].hyper(X, y))


def normal_equations(task):
    """The plain textbook solution, as far from the certificate's code as can be."""
    Xc, yc = task.X - task.X.mean(0), task.y - task.y.mean(0)
    coef = np.linalg.solve(Xc.T @ Xc + len(Xc) * task.hyper * np.eye(Xc.shape[1]), Xc.T @ yc)
    return coef, task.y.mean(0) - task.X.mean(0) @ coef


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize(
    ("model", "name"), [(m, n) for m, impls in LEAST_SQUARES.items() for n in impls if n != "jaxinfra"]
)
def test_peers_agree_with_numpy(model, name, columns):
    task = small_task(model, columns)
    try:
        call, read = adapters.ADAPTERS[model][name].prepare(task)
        answer = read(call())
    except harness.SkipNotImplemented as reason:
        pytest.skip(str(reason))
    if answer.chosen is not None:
        task = task._replace(hyper=answer.chosen)
    coef, intercept = normal_equations(task)
    np.testing.assert_allclose(answer.coef, coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(answer.intercept, intercept, rtol=1e-6)


@functools.cache
def tiny_task(model):
    """Sixty rows of the kind that the model is raced on, with a penalty that leaves all it needs to be one answer."""
    case = model_cases.CASES[model]
    shape = {"multitask_lasso": "60x10x3", "theil_sen": "40x2", "bootstrap": "60x3"}.get(model, "60x10")
    X, y = data.load(case.target, shape, "float64")
    task = least_squares.Task(X, y, case.hyper(X, y))
    if model == "svc_grid":
        return task._replace(hyper=np.array([[0.1, 1.0, 10.0], [0.02, 0.1, 0.5]]))
    if model in ("lasso_cv", "lasso_path"):
        return task._replace(hyper=task.hyper[:40:8])
    return task._replace(hyper=np.array([30.0, 3.0, 0.3])) if model == "logistic_cv" else task


@functools.cache
def plain(model):
    """The textbook answer to the tiny task."""
    task = tiny_task(model)
    if model in machines.CERTIFICATES:
        return bench_machines.answer(model, task)
    if model in robust.CERTIFICATES:
        return bench_robust.answer(model, task)
    return bench_linear.answer(model, task)


def compare_with_plain(model, name):
    """The answer at the tightest tolerance beside the plain one, which has to pass its own certificate too."""
    task = tiny_task(model)
    certify, figure = compare.certifier(model, task)
    exact = plain(model)
    coef, intercept, best = exact[:3]
    if not model.endswith("_cv"):
        assert certify(exact)[figure] < 1e-9
    adapter = adapters.ADAPTERS[model][name]
    if not adapter.suits(task):
        pytest.skip(f"{name} does not take this problem of {model}")
    tightest = 1e-9 if figure == "violation" else adapter.tolerances[-1]
    try:
        call, read = adapter.prepare(task, tightest)
    except harness.SkipNotImplemented as reason:
        pytest.skip(str(reason))
    answer = read(call())
    assert answer.chosen is None if best is None else answer.chosen == pytest.approx(best)
    if model == "multinomial":  # its intercepts are free to move together
        answer = answer._replace(intercept=answer.intercept - answer.intercept.mean())
        intercept = intercept - intercept.mean()
    # Resamples are drawn by each; liblinear's intercept, other machines and another consensus are certified alone.
    own = model in ("linear_svm", "svc_predict", "ransac") and name != "jaxinfra"
    if model != "bootstrap" and not own:
        np.testing.assert_allclose(answer.coef, coef, atol=2e-4 * np.abs(coef).max())
        np.testing.assert_allclose(answer.intercept, intercept, atol=2e-4)
    assert certify(answer)[figure] < targets.target(model)


# liblinear comes near alone, and skglm compiles for seconds: they have their own tests.
PEERS = [(m, n) for m in targets.CERTIFICATES for n in adapters.ADAPTERS[m]
         if n not in ("jaxinfra", "skglm", "liblinear")]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "name"), PEERS)
def test_penalised_and_generalised_peers_agree_with_numpy(model, name):
    compare_with_plain(model, name)


def test_liblinear_comes_near():
    # It stops after 300 rounds, whatever its tolerance.
    X, y = data.load("clusters", "1000x20", "float64")
    task = least_squares.Task(X, y, 1.0)
    try:
        call, read = adapters.ADAPTERS["linear_svm"]["liblinear"].prepare(task, 0.1)
    except harness.SkipNotImplemented as reason:
        pytest.skip(str(reason))
    answer = read(call())
    assert compare.certifier("linear_svm", task)[0](answer)["gap"] < 0.01


def test_skglm_agrees_with_numpy():
    # It compiles for seconds, so that one model represents all.
    pytest.importorskip("skglm")
    code = "import warnings; warnings.simplefilter('ignore'); "
    code += "from tests.bench.test_bench_answers import compare_with_plain; "
    subprocess.run([sys.executable, "-c", code + "compare_with_plain('group_lasso', 'skglm')"], check=True, cwd=ROOT)


@pytest.mark.parametrize("model", list(model_cases.CASES))
def test_jaxinfra_agrees_with_numpy(model):
    if model not in LEAST_SQUARES:
        compare_with_plain(model, "jaxinfra")
        return
    for columns in (1, 3):
        task = small_task(model, columns)
        call, read = adapters.ADAPTERS[model]["jaxinfra"].prepare(task)
        answer = read(call())
        asked = task if answer.chosen is None else task._replace(hyper=answer.chosen)
        coef, intercept = normal_equations(asked)
        assert answer.coef.dtype == np.float64
        np.testing.assert_allclose(answer.coef, coef, rtol=1e-6)
        np.testing.assert_allclose(answer.intercept, intercept, rtol=1e-6)


def test_gap_of_an_answer_by_hand():
    # One column: X'X / n = 1, X'y / n = 2, so that the solution at l1 = 1/2 is 3/2; |y|^2 / 2 n = 5/2.
    X, y = np.array([[1.0], [-1.0]]), np.array([3.0, -1.0])
    assert linear.gap(X, y, np.array([1.5]), 1.0, 0.5) == pytest.approx(0, abs=1e-15)
    # All of y is X * 2 + 1: at 0 the objective is 2, at its best 2 - 1.5^2 / 2, and the scaled residual is optimal.
    assert linear.gap(X, y, np.array([0.0]), 1.0, 0.5) * 2 == pytest.approx(1.5**2 / 2)
    # An intercept that is off by 0.1 costs 0.1^2 / 2.
    assert linear.gap(X, y, np.array([1.5]), 1.1, 0.5) * 2 == pytest.approx(0.005)
    assert linear.gap(X, y, np.array([np.nan]), 1.0, 0.5) == linear.HOPELESS
    # With l2 = 1 the solution is 3/4, and away from it the gap bounds the decrease of the objective.
    assert linear.gap(X, y, np.array([0.75]), 1.0, 0.5, 1.0) == pytest.approx(0, abs=1e-15)
    fall = 0.1**2 / 2 * 2
    assert fall <= linear.gap(X, y, np.array([0.85]), 1.0, 0.5, 1.0) * 2 < 3 * fall


@pytest.mark.parametrize("model", list(targets.CERTIFICATES))
def test_certificates_tell_a_spoiled_answer(model):
    task = tiny_task(model)
    certify, figure = compare.certifier(model, task)
    answer = plain(model)
    if model == "logistic_cv":
        paths = [
            [bench_linear.newton(task.X[t], task.y[t], c / len(t), linear.logistic) for c in task.hyper]
            for t, _ in bench_linear.folds(task)
        ]
        folds = least_squares.Answer(*(np.array([[a[i] for a in p] for p in paths]) for i in (0, 1)))
        answer = answer._replace(folds=folds)
    assert certify(answer)[figure] < 1e-9
    # nu-SVC's rule is that of its problem before the division by the margin; RANSAC's allows what its threshold does.
    least = {"nu_svc": 1.0, "ransac": 2 * settings.THRESHOLD}.get(model, 0.02)
    shift = np.append(least, np.zeros(np.size(answer.intercept) - 1))
    for spoiled in (
        answer._replace(coef=answer.coef + (0.5 if model == "ransac" else 0.01)),
        answer._replace(intercept=answer.intercept + shift.reshape(np.shape(answer.intercept))),
        answer._replace(coef=answer.coef * np.nan),
    ):  # fmt: skip
        assert not certify(spoiled)[figure] <= targets.target(model)
    if answer.folds:
        coef = answer.folds.coef.copy()
        coef[2, 1, 0] += 0.01
        spoiled = answer._replace(folds=answer.folds._replace(coef=coef))
        assert certify(spoiled)[figure] > targets.target(model)


def test_loosest_tolerance_that_is_certified():
    tolerances = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    for edge in (1e-2, 1e-3, 1e-5, 1e-6):
        tried = []
        assert compare.loosest(tolerances, lambda tol, edge=edge, tried=tried: tried.append(tol) or tol <= edge) == edge
        assert len(tried) <= 3

    def adapter(reached):
        """An implementation whose error is its tolerance, but never below what it reaches."""
        return Adapter(lambda task, tol: (lambda: max(tol, reached), lambda answer: answer), tolerances)

    def settled(reached):
        call, figures = compare.settle(adapter(reached), None, lambda error: {"gap": error}, "gap", 1.0)
        return call(), figures["gap"], compare.passes(figures, "gap")

    assert settled(0.0) == (1e-6, 1e-6, True)
    assert settled(2e-5) == (2e-5, 2e-5, False)


def test_peers_that_take_too_long_are_given_up():
    import time

    def prepare(task, tol):
        return lambda: time.sleep(5 if tol < 1e-4 else 0), lambda _: tol

    adapter = Adapter(prepare, (1e-3, 1e-4, 1e-8))
    _, figures = compare.settle(adapter, None, lambda tol: {"gap": tol}, "gap", 0.1)
    assert figures["gap"] == 1e-4
    with pytest.raises(compare._TooSlow):
        compare.settle(adapter._replace(tolerances=(1e-8,)), None, lambda tol: {"gap": tol}, "gap", 0.1)
    # The first call of a library imports it: a second one is measured.
    naps = [0.3]

    def importing(task, tol):
        return lambda: time.sleep(naps.pop() if naps else 0), lambda _: tol

    call, figures = compare.settle(Adapter(importing, (1e-3, 1e-8)), None, lambda tol: {"gap": tol}, "gap", 0.1)
    assert figures["gap"] == 1e-8


def test_uncertified_answers_are_no_peers():
    cells = {"jaxinfra": tables.Cell(2.0, certificate=1e-7), "fast": tables.Cell(0.1, certificate=1e-4)}
    row = tables.Row("p", "float32", {**cells, "slow": tables.Cell(4.0, certificate=9e-7)}, None)
    assert row.fastest_peer == "slow" and row.ratio == 0.5 and row.best == 2.0
    assert tables.Row("p", "float32", cells, None).ratio is None
    bad = {"jaxinfra": cells["fast"], "slow": cells["jaxinfra"]}
    assert tables.Row("p", "float32", bad, None).ratio is None


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_reference_and_certificate(columns, l2):
    task = small_task("ridge", columns)._replace(hyper=l2)
    exact = least_squares.reference(task)
    coef, intercept = normal_equations(task)
    np.testing.assert_allclose(exact.coef, coef, rtol=1e-10)
    np.testing.assert_allclose(exact.intercept, intercept, rtol=1e-10)
    perfect = least_squares.certify(task, exact, exact)
    assert perfect["lost_digits"] == 0 and perfect["excess_objective"] == 0 and perfect["gradient"] < 1e-12
    worse = least_squares.certify(task, exact._replace(coef=exact.coef * (1 + 1e-6)), exact)
    assert worse["lost_digits"] == pytest.approx(least_squares.capacity("float64") - 6, abs=0.01)
    assert 0 < worse["excess_objective"] < 1e-10 and worse["gradient"] > perfect["gradient"]
    nothing = least_squares.certify(task, exact._replace(coef=exact.coef * np.nan), exact)
    assert nothing["lost_digits"] == least_squares.capacity("float64")


def test_reference_ignores_constant_columns_as_minimum_norm_does():
    task = small_task("ols", 1)
    padded = task._replace(X=np.column_stack([task.X, np.zeros(40)]))
    exact = least_squares.reference(padded)
    np.testing.assert_allclose(exact.coef[:4], least_squares.reference(task).coef, rtol=1e-12)
    assert exact.coef[4] == 0


def test_reference_beats_double_precision_on_wampler():
    from bench import nist

    X, y, exact, fit_intercept = nist.load("Wampler2")
    answer = least_squares.reference(least_squares.Task(X, y, 0.0, fit_intercept))
    assert nist.correct_digits(answer, exact, fit_intercept) > 10


def test_nist_formulas_equal_the_files():
    from bench import nist

    for name in nist.FORMULA:
        x, y, exact = nist._formula(name)
        assert len(x) == len(y)
        if (nist.FOLDER / f"{name}.dat").exists():
            for ours, theirs in zip((x, y, exact), nist._file(name), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-13)
