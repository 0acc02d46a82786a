"""Arguments that users of other libraries pass: their keywords, fits for params, frames, sparse matrices, lists."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

import jaxinfra as ji
from jaxinfra._core.verbs import _FOREIGN

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 1.0], [4.0, 0.0], [5.0, 2.0]])
Y = np.array([0.1, 1.0, 2.2, 2.9, 4.1, 5.3])
LABELS = np.array([0, 0, 1, 0, 1, 1])
MODELS = [name for name in ji.__all__ if inspect.ismodule(m := getattr(ji, name)) and hasattr(m, "objective")]


@pytest.mark.parametrize("call, message", [
    (lambda: ji.ridge.fit(X, Y, alpha=1.0), r"ridge\.fit has no argument 'alpha': that is l2 = alpha / W, where W ="),
    (lambda: ji.lasso.fit(X, Y, alpha=1.0), r"lasso\.fit has no argument 'alpha': that is l1 = alpha; it has X, y, l1"),
    (lambda: ji.logistic.fit(X, LABELS, C=1.0), r"logistic\.fit has no argument 'C': that is l2 = 1 / \(C \* W\)"),
    (lambda: ji.logistic.path(X, LABELS, C=[1.0]), r"logistic\.path has no argument 'C': that is l2 = 1 / \(C \* W\)"),
    (lambda: ji.svc.fit(X, LABELS, gamma=1.0), r"svc\.fit has no argument 'gamma': that is kernel=ji\.kernels\.RBF\("),
    (lambda: ji.ols.fit(X, Y, weights=Y), r"ols\.fit has no argument 'weights': that is sample_weight"),
    (lambda: ji.logistic.fit(X, LABELS, penalty="l1"), r"'penalty': that is l1 and l2, both 0 unless given"),
    (lambda: ji.ols.fit(X, Y, n_jobs=2), r"'n_jobs': nothing here needs it"),
    (lambda: ji.ransac.fit(X, Y, random_state=0), r"'random_state': that is key = jax\.random\.key\(seed\)"),
    (lambda: ji.ols.fit(X, Y, sample_weigth=Y), r"ols\.fit has no argument 'sample_weigth': 'sample_weight'\?; it has"),
    (lambda: ji.ols.fit(X, Y, zzz=Y), r"ols\.fit has no argument 'zzz'; it has X, y, sample_weight"),
    (lambda: ji.ols.fit(X, Y, Y), r"ols\.fit takes X, y by position, and sample_weight, .* by name, got 3 by position"),
    (lambda: ji.ridge.fit(X, Y), r"ridge\.fit needs l2; it has X, y, l2"),
    (lambda: ji.ols.fit(X, Y, X=X), r"ols\.fit got X twice, by position and by name"),
    (lambda: ji.ols.predict(X, X), r"ols\.predict: params must be the params of a fit \(fit\.params\)"),
    (lambda: ji.svc.predict(X, X), r"svc\.predict: params must be the params of a fit"),
    (lambda: ji.glm.predict(X, X), r"glm\.predict: params must be the params of a fit"),
    (lambda: ji.glm.predict(ji.ols.fit(X, Y), X), r"params of a fit of glm, got Linear, which has no link"),
    (lambda: ji.huber.objective(ji.Linear(Y[:2], 0.0), X, Y), r"of a fit of huber, got Linear, which has no scale"),
    (lambda: ji.linear_svm.decision(X, X), r"linear_svm\.decision: params must be the params of a fit"),
    (lambda: ji.ordinal.fit(X, LABELS, init=ji.Linear(Y[:2], 0.0)), r"of ordinal, got Linear, which has no thresholds"),
    (lambda: ji.elastic_net.fit(X, Y, l1=1.0, l2=None), r"elastic_net\.fit: l2 must be a number or an array"),
    (lambda: ji.elastic_net.path(X, Y, l1=np.ones(2), l2=None), r"elastic_net\.path: l2 must be a number or an array"),
    (lambda: ji.logistic.path(X, LABELS, l1=np.ones(2), l2=None), r"logistic\.path: l2 must be a number or an array"),
    (lambda: ji.multinomial.path(X, LABELS, l1=None, l2=np.ones(2)), r"multinomial\.path: l1 must be a number or"),
    (lambda: ji.svr.fit(X, Y, epsilon=Y), r"svr\.fit: epsilon must be a number, got shape \(6,\)"),
    (lambda: ji.svc.fit(X, np.eye(2)[LABELS]), r"svc\.fit: y must have shape \(n,\), got X \(6, 2\) and y \(6, 2\)"),
    (lambda: ji.ordinal.fit(X, X), r"ordinal\.fit: y must have shape \(n,\), got"),
    (lambda: ji.logistic.fit(X, LABELS, max_iter=np.int32(-1)), r"max_iter must be at least 0, got -1"),
    (lambda: ji.ols.fit(X, Y, init=Y), r"ols\.fit: init must be the params of an earlier fit, got ndarray"),
    (lambda: ji.check(ji.Linear(Y, Y)), r"check: it takes what a fit returned, params and info, got Linear"),
    (lambda: ji.ols.fit(scipy.sparse.csr_matrix(X), Y), r"ols\.fit: X is sparse \(csr_matrix\).*pass X\.toarray\(\)"),
    (lambda: ji.ols.fit(BCOO.fromdense(jnp.asarray(X)), Y), r"X is sparse \(BCOO\), .*: pass X\.todense\(\)"),
    (lambda: ji.ols.fit(pd.DataFrame({"a": Y, "sex": list("fmfmfm")}), Y), r"X has a column 'sex' of dtype (obj|str)"),
    (lambda: ji.ols.fit(X, Y.astype(str)), r"ols\.fit: y has dtype <U.*it must hold real numbers"),
])  # fmt: skip
def test_messages_name_the_verb_and_the_way_out(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def attribute_of_none(x, z):
    return None.size


def attribute_in_words(x, z):
    raise AttributeError("of the user's own")


@pytest.mark.parametrize(
    "function, words", [(attribute_of_none, "has no attribute 'size'"), (attribute_in_words, "of the user's own")]
)
def test_errors_of_a_users_function_are_left_as_they_are(function, words):
    with pytest.raises(AttributeError, match=words):
        ji.svc.fit(X, LABELS, kernel=ji.kernels.Custom(function))


def test_errors_from_within_are_left_as_they_are():
    with pytest.raises(TypeError, match="fit_intercept is static and must be True or False, got 1"):
        ji.ols.fit(X, Y, fit_intercept=1)


def test_every_conversion_is_of_a_model_that_lacks_the_argument():
    for keyword, meanings in _FOREIGN.items():
        for name in " ".join(meanings).split():
            known = inspect.signature(getattr(ji, name).fit).parameters
            assert keyword not in known, (keyword, name)


@pytest.mark.parametrize("name", MODELS)
def test_every_verb_explains_itself(name):
    """With an argument that no verb has, and without any."""
    for verb, fn in inspect.getmembers(getattr(ji, name), inspect.isfunction):
        if fn.__module__ != getattr(ji, name).__name__ or verb.startswith("_"):
            continue
        with pytest.raises(TypeError, match=rf"^{name}\.{verb} has no argument 'nonsense'"):
            fn(nonsense=1)
        with pytest.raises(TypeError, match=rf"^{name}\.{verb} needs "):
            fn()


def test_a_fit_does_for_its_params():
    fit = ji.ols.fit(X, Y)
    for verb in (ji.ols.predict, ji.ols.decision):
        np.testing.assert_array_equal(verb(fit, X), verb(fit.params, X))
        np.testing.assert_array_equal(verb(params=fit, X=X), verb(fit.params, X))
    assert ji.ols.objective(fit, X, Y) == ji.ols.objective(fit.params, X, Y)
    again = ji.logistic.fit(X, LABELS, l2=0.1, init=ji.logistic.fit(X, LABELS, l2=0.1))
    assert again.info.n_iter <= 1
    machine = ji.svc.fit(X, LABELS, kernel=ji.kernels.Linear())
    np.testing.assert_array_equal(ji.svc.predict(machine, X), ji.svc.predict(machine.params, X))
    np.testing.assert_array_equal(ji.svc.linear_coef(machine), ji.svc.linear_coef(machine.params))
    assert ji.svc.compact(machine).coef.shape == ji.svc.compact(machine.params).coef.shape
    both = jax.tree.map(lambda v: jnp.stack([v, v]), machine.params)  # as of a vmapped fit
    with pytest.raises(ValueError, match="svc.compact: one machine at a time"):
        ji.svc.compact(both)
    np.testing.assert_array_equal(jax.jit(ji.ols.predict)(fit, X), ji.ols.predict(fit, X))


def test_frames_of_dummies_are_numbers():
    frame = pd.get_dummies(pd.DataFrame({"count": [1, 2, 3, 4, 5, 6], "size": Y, "kind": list("abcabc")}))
    assert {c.kind for c in frame.dtypes} == {"b", "i", "f"}
    plain = ji.ols.fit(frame.to_numpy(dtype=float), Y)
    np.testing.assert_allclose(ji.ols.fit(frame, pd.Series(Y)).params.coef, plain.params.coef, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ji.ols.predict(plain, frame), ji.ols.predict(plain, frame.to_numpy(dtype=float)))
    twice = pd.concat([frame, frame[["count"]]], axis=1)
    with pytest.raises(ValueError, match="X has columns of the same name: count, size, .*, count"):
        ji.ols.fit(twice, Y)


@pytest.mark.parametrize("place, words", [((3, 1), "X holds nan in row 3, column 1"), (None, "y holds inf in row 2")])
def test_the_first_value_that_is_not_finite_is_named(place, words):
    bad_X, bad_y = X.copy(), Y.copy()
    if place is None:
        bad_y[2] = np.inf
    else:
        bad_X[place] = bad_X[5, 0] = np.nan
    with pytest.raises(ji.FitError, match=f"fit NONFINITE: {words}"):
        ji.check(ji.ols.fit(bad_X, bad_y), X=bad_X, y=bad_y)


@pytest.mark.slow
def test_the_warning_of_precision_points_at_the_caller_and_is_not_for_lists():
    code = "\n".join([
        "import warnings, numpy as np, jaxinfra as ji",
        "X, y = np.arange(4.0)[:, None], np.arange(4.0)",
        "with warnings.catch_warnings(record=True) as caught:",
        "    warnings.simplefilter('always')",
        "    ji.ols.fit(X.tolist(), y.tolist())",
        "    ji.svr.fit(X.tolist(), y.tolist())",
        "    print(len(caught))",
        "    ji.ols.fit(X, y)",
        "    print(*[(w.filename, w.lineno) for w in caught])",
    ])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["0", "('<string>', 8)"]


def test_lists_are_taken():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(ji.ols.fit(X.tolist(), Y.tolist()).params.coef, ji.ols.fit(X, Y).params.coef)
        rates = ji.glm.GLM(jnp.array([1.0, 0.0]), jnp.array(0.0), ji.links.Log())
        exposure = np.arange(6.0)
        found = ji.glm.predict(rates, X.tolist(), exposure=exposure.tolist())
        np.testing.assert_allclose(found, exposure * np.exp(X[:, 0]), rtol=1e-6)


@pytest.mark.parametrize("name", ["offset", "sample_weight"])
def test_fixed_is_what_does_not_vary_by_row(name):
    with pytest.raises(ValueError, match=f"{name} is no part of the problem; that there was one says given="):
        ji.Problem.of(ji.ols, **{name: np.ones(6)})


def test_penalties_on_a_device_are_checked_without_a_program(compilations):
    X, l1 = np.random.default_rng(0).standard_normal((20, 3)), jax.device_put(np.array([1.0, 0.1]))
    with compilations() as count:
        ji.lasso.path(X, X[:, 0], l1=l1)
    assert count[0] == 1
    with pytest.raises(ValueError, match=r"lasso.path: l1 must broadcast against coef \(3,\), got l1 \(2,\)"):
        ji.lasso.path(X, X[:, 0], l1=jnp.ones((5, 2)))
