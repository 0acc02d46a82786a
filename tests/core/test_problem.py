"""A fit with its problem: the verbs of any fit, and the functions that take one."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra._core.problem import ROWS
from tests.conftest import ROOT
from tests.machines import DISTINCT
from tests.registry import BY_NAME, OTHERS, accepted, distinct

VERBS = ("decision", "predict", "predict_proba", "objective", "optimality")


def agree(one, other):
    """Bit for bit, NaN and all."""
    jax.tree.map(np.testing.assert_array_equal, one, other)


def rows_of(model, X):
    """Values of the rows that the model's fit takes."""
    n = len(X)
    each = {"sample_weight": np.linspace(0.5, 2, n), "offset": np.linspace(-0.1, 0.1, n)}
    if model.name.startswith("glm_poisson"):
        each["exposure"] = np.linspace(0.5, 2, n)
    return accepted(model.module.fit, each)


# One model an engine, and `logistic`; `make test-all` has the others.
QUICK = {"ols", "ridge", "lasso", "group_lasso", "logistic", "glm_poisson", "multinomial", "huber", "quantile"}
assert {m.name for m in distinct()} >= QUICK
MODELS = [pytest.param(m, marks=[pytest.mark.slow] * (m.name not in QUICK), id=m.name) for m in distinct()]


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_said_twice(model):
    X, y = model.data()
    given = rows_of(model, X)
    fit = model.fit(X, y, **given)
    assert fit.problem.model == model.module.__name__.rpartition(".")[2] and fit.problem.module is model.module
    assert set(fit.problem.given) == set(given)
    arguments = {**model.hyper, **model.static}
    for name in VERBS:
        verb = getattr(model.module, name, None)
        if verb is None:
            with pytest.raises(TypeError, match=f"{name}: {fit.problem.model} has no {name}"):
                getattr(ji, name)(fit, X)
            continue
        data = (X, y) if "y" in inspect.signature(verb).parameters else (X,)
        expected = verb(fit.params, *data, **accepted(verb, {**arguments, **given}))
        agree(getattr(ji, name)(fit, *data, **accepted(verb, given)), expected)
        agree(verb(fit, *data, **accepted(verb, given)), expected)
        for row in accepted(verb, given):
            with pytest.raises(ValueError, match=f"was given {row}, so {row} of these rows"):
                verb(fit, *data, **{k: v for k, v in accepted(verb, given).items() if k != row})


@pytest.mark.parametrize("row", [*DISTINCT, *OTHERS], ids=lambda row: row.name)
def test_machines_and_sampled_fits_know_it_too(row):
    X, y = BY_NAME[row.like].data()
    w = np.ones(len(X))
    fit = row.fit(X, y, w)
    extra = {"key": jax.random.key(0)} if row.name == "theil_sen" else {}
    known = {**row.given, **extra}
    for name in VERBS:
        verb = getattr(row.module, name, None)
        if verb is None:
            continue
        data = (X, y) if "y" in inspect.signature(verb).parameters else (X,)
        rest = accepted(verb, {"sample_weight": w, **extra})
        agree(getattr(ji, name)(fit, *data, **rest), verb(fit.params, *data, **{**accepted(verb, known), **rest}))
    if "kernel" in inspect.signature(row.module.fit).parameters:  # of a refit it depends on the rows again
        assert fit.problem.arguments["kernel"] is None


def test_what_the_model_settles_is_in_the_problem():
    X, y = BY_NAME["multinomial"].data()
    assert dict(ji.multinomial.fit(X, y, l2=0.1).problem.settings)["n_classes"] == 3
    assert dict(ji.svc.fit(X, y).problem.settings)["n_classes"] == 3
    fit = ji.ransac.fit(X, X[:, 0], key=jax.random.key(0))
    assert fit.problem.hyper["threshold"] == fit.info.threshold
    assert ji.glm.fit(X, y, family=ji.families.Poisson()).problem.arguments["link"] == ji.links.Log()
    assert ji.m_estimator.fit(X, X[:, 0]).problem.hyper["norm"].k == 1.345


def test_hyper_parameters_are_leaves_and_settings_are_not(compilations):
    X, y = BY_NAME["lasso"].data()
    fit = ji.lasso.fit(X, y, l1=0.25, fit_intercept=False)
    assert fit.problem.hyper == {"l1": 0.25} and fit.problem.hyper["l1"].dtype == X.dtype
    assert fit.problem.settings == (("fit_intercept", False),) and fit.problem.given == ()
    # Another value is the same program of whoever takes a fit.
    read = jax.jit(lambda fit: ji.objective(fit, jnp.asarray(X), jnp.asarray(y)))
    read(fit)
    other = ji.lasso.fit(X, y, l1=0.5, fit_intercept=False)
    with compilations() as count:
        read(other)
    assert count[0] == 0


def test_batches_paths_and_derivatives_carry_the_problem():
    X, y = (jnp.asarray(a) for a in BY_NAME["lasso"].data())
    lanes = jax.vmap(lambda l1: ji.lasso.fit(X, y, l1=l1))(jnp.array([0.1, 0.2, 0.3]))
    path = ji.elastic_net.path(X, y, l1=jnp.array([0.3, 0.1]), l2=0.5)
    group = ji.group_lasso.path(X, y, l1=jnp.array([0.3, 0.1]), groups=jnp.array([0, 0, 1, 1, 1]), l2=jnp.ones(5))
    for many in (lanes, path, group):
        values = jax.vmap(lambda fit: ji.objective(fit, X, y))(many)
        np.testing.assert_allclose(values, many.info.objective, rtol=1e-6)
        one = jax.tree.map(lambda leaf: leaf[1], many)
        np.testing.assert_allclose(ji.objective(one, X, y), many.info.objective[1], rtol=1e-6)
    slope = jax.grad(lambda l1: ji.objective(ji.lasso.fit(X, y, l1=l1), X, y))(0.1)
    expected = jnp.abs(ji.lasso.fit(X, y, l1=0.1).params.coef).sum()  # the envelope theorem
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_a_program_hands_the_leaves_through():
    X, y = (jnp.asarray(a) for a in BY_NAME["glm_poisson"].data())
    family = ji.families.Tweedie(1.5)
    fit = jax.jit(lambda p: ji.glm.fit(X, y, family=ji.families.Tweedie(p), l2=0.1))(1.5)
    outside = ji.glm.fit(X, y, family=family, l2=0.1)
    assert jax.tree.structure(fit) == jax.tree.structure(outside)
    agree(fit.problem, outside.problem)


READ = "import pickle, sys; fit = pickle.load(open(sys.argv[1], 'rb')); print(fit.problem, type(fit).__module__)"


def test_pickles_are_read_by_another_process(tmp_path):
    X, y = BY_NAME["glm_poisson"].data()
    fits = [
        ji.glm.fit(X, y, family=ji.families.Poisson(), exposure=np.ones(len(X))),
        ji.svc.fit(X, y > 2, kernel=ji.kernels.RBF(0.5)),
        ji.ransac.fit(X, X[:, 0], key=jax.random.key(0)),
        ji.ordinal.fit(X, np.clip(y, 0, 2).astype(int)),
    ]
    for fit in fits:
        again = pickle.loads(pickle.dumps(fit))
        assert jax.tree.structure(again) == jax.tree.structure(fit)
        agree(again, fit)
    path = tmp_path / "fit.pickle"
    path.write_bytes(pickle.dumps(fits[1]))
    done = subprocess.run([sys.executable, "-c", READ, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "svc(n_classes=2, C=1, kernel=RBF(gamma=0.5)) jaxinfra\n"


def test_public_classes_have_public_addresses():
    for package in (ji, ji.infer, ji.select, ji.kernels):
        for name in package.__all__:
            kind = getattr(package, name)
            if inspect.isclass(kind):
                assert not any(part.startswith("_") for part in kind.__module__.split(".")), kind
    fit = ji.logistic.fit(*BY_NAME["logistic"].data(), l2=0.1)
    kinds = {type(node) for node in (fit, fit.params, fit.info, fit.problem)}
    assert {kind.__module__ for kind in kinds} == {"jaxinfra"}


def test_a_fit_of_parameters_from_elsewhere():
    X, y = BY_NAME["glm_poisson"].data()
    fit = ji.glm.fit(X, y, family=ji.families.Poisson(), l2=0.1)
    problem = ji.Problem.of(ji.glm, family=ji.families.Poisson(), l2=0.1, given=["offset"])
    made = ji.Fit(fit.params, None, problem)
    zero = np.zeros(len(X))
    np.testing.assert_allclose(ji.objective(made, X, y, offset=zero), ji.objective(fit, X, y), rtol=1e-12)
    with pytest.raises(ValueError, match="was given offset"):
        ji.objective(made, X, y)
    with pytest.raises(TypeError, match="has no argument 'famly'"):
        ji.Problem.of(ji.glm, famly=ji.families.Poisson())


def test_what_is_no_fit_is_named():
    X, y = BY_NAME["ols"].data()
    fit = ji.ols.fit(X, y)
    with pytest.raises(TypeError, match="^ols.predict has no argument 'nonsense'"):
        ji.predict(fit, X, nonsense=1)
    with pytest.raises(TypeError, match=r"predict: it takes what the fit of a model returned, got Linear.*ols|lasso"):
        ji.predict(fit.params, X)
    with pytest.raises(TypeError, match="a Fit without its problem"):
        ji.predict(ji.Fit(fit.params, fit.info), X)
    with pytest.raises(TypeError, match="svc has no predict_proba; calibrate makes"):
        ji.predict_proba(ji.svc.fit(X, y > 0), X)


def test_defaults_of_verbs_are_those_of_fit():
    """Arguments that are left out have the same value in a fit and in a verb."""
    modules = {model.module for model in distinct()} | {row.module for row in (*DISTINCT, *OTHERS)}
    for module in modules:
        known = inspect.signature(module.fit).parameters
        for name in VERBS:
            if (verb := getattr(module, name, None)) is None:
                continue
            for key, p in inspect.signature(verb).parameters.items():
                if key in known and key not in ROWS and p.default is not p.empty:
                    assert p.default == known[key].default, (module, name, key)


def test_a_problem_prints_in_one_line():
    X, y = BY_NAME["lasso"].data()
    fit = ji.lasso.fit(X, y, l1=0.25, sample_weight=np.ones(len(X)))
    assert repr(fit.problem) == "lasso(fit_intercept=True, l1=0.25) given sample_weight"
    assert repr(fit).endswith(",\n    problem=lasso(fit_intercept=True, l1=0.25) given sample_weight)")


@pytest.mark.slow
def test_resampling_and_validation_take_a_fit():
    """The same as with the module and all arguments."""
    X, y = BY_NAME["ridge"].data()
    key, w, folds = jax.random.key(0), np.linspace(0.5, 2, len(X)), ji.select.kfold(len(X), 4)
    fixed = {"l2": 0.3, "fit_intercept": False}
    fit = ji.ridge.fit(X, y, sample_weight=w, **fixed)
    select, given = ji.select, {"sample_weight": w}

    def of(params):
        return params.coef[0]

    for verb, rest in (
        (select.bootstrap, {"key": key, "n": 20}), (select.jackknife, {}),
        (select.permutation_test, {"key": key, "n": 20, "of": of}),
    ):  # fmt: skip
        agree(verb(fit, X, y, **rest, **given), verb(ji.ridge, X, y, fixed=fixed, **rest, **given))
        with pytest.raises(ValueError, match=f"select.{verb.__name__}: the fit was given sample_weight"):
            verb(fit, X, y, **rest)
    agree(select.bagging(fit, X, y, X[:3], key=key, n=20, **given),
          select.bagging(ji.ridge, X, y, X[:3], key=key, n=20, fixed=fixed, **given))  # fmt: skip
    grid = {"l2": np.array([1.0, 0.1])}
    rest, fixed = {"folds": folds, **given}, {"fit_intercept": False}
    agree(select.cross_validate(fit, X, y, grid=grid, **rest),
          select.cross_validate(ji.ridge, X, y, grid=grid, fixed=fixed, **rest))  # fmt: skip
    hyper = {"hyper": {"l2": 0.1}, **rest}
    agree(select.cv_loss(fit, X, y, **hyper), select.cv_loss(ji.ridge, X, y, fixed=fixed, **hyper))
    with pytest.raises(ValueError, match="l2 is in grid and in fixed"):
        select.cross_validate(ji.ridge, X, y, grid=grid, folds=folds, fixed={"l2": 1.0})


@pytest.mark.slow
def test_penalties_that_are_arrays_of_zero_are_none():
    """As compiled code hands them back: a test that is for fits without a penalty takes them."""
    X, y = (jnp.asarray(a) for a in BY_NAME["logistic"].data())
    fit = jax.jit(lambda X, l2: ji.logistic.fit(X, y, l2=l2))
    ratio = ji.infer.likelihood_ratio_test
    none, all_of_it = ji.logistic.fit(0 * X, y), ji.logistic.fit(X, y)
    expected = ratio(none, 0 * X, all_of_it, X, y)
    for found in (ratio(fit(0 * X, 0.0), 0 * X, fit(X, 0.0), X, y),
                  jax.jit(lambda a, b: ratio(a, 0 * X, b, X, y))(none, all_of_it)):  # fmt: skip
        np.testing.assert_allclose(found.statistic, expected.statistic, rtol=1e-6)
    with pytest.raises(ValueError, match="penalised fits have no such test"):
        ratio(fit(0 * X, 0.0), 0 * X, fit(X, 0.1), X, y)
    penalised = jax.jit(lambda a, b: ratio(a, 0 * X, b, X, y))(none, fit(X, 0.1))
    assert np.isnan(penalised.statistic) and np.isnan(penalised.p_value)
    last = jax.tree.map(lambda leaf: leaf[1], ji.logistic.path(X, y, l1=jnp.array([0.1, 0.0]), tol=1e-10))
    np.testing.assert_allclose(ji.infer.inference(last, X, y).se, ji.infer.inference(all_of_it, X, y).se, rtol=1e-4)


def test_numpy_s_booleans_are_settings():
    X, y = BY_NAME["ols"].data()
    fit = ji.ols.fit(X, y, fit_intercept=np.bool_(False))
    assert fit.problem.settings == (("fit_intercept", False),) and fit.problem.settings[0][1] is False
    assert np.isfinite(ji.select.jackknife(fit, X, y).se.coef).all()
