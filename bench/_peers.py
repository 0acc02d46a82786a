"""One adapter for each implementation: what its users would write, given data in its own form.

`ADAPTERS[model][name](task)` prepares outside the clock and returns `(call, read)`: `call()` is timed and returns when
the work is done, `read(call())` is the `Answer`. A library that is missing raises SkipNotImplemented.
"""

import importlib

import numpy as np
from asv_runner.benchmarks.mark import SkipNotImplemented

from . import _harness
from ._certificate import Answer

PENALTIES = np.logspace(-4, 2, 25)  # the l2 of a path


def _import(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SkipNotImplemented(f"{name} is not installed") from error


def jaxinfra(model):
    def prepare(task):
        jax = _harness.start_jax()
        import jaxinfra as ji

        fit = {"ols": ji.ols.fit, "ridge": ji.ridge.fit, "ridge_path": ji.ridge.path}[model]
        X, y = jax.device_put(task.X), jax.device_put(task.y)
        options = {"fit_intercept": task.fit_intercept}
        if model == "ridge":
            options["l2"] = task.l2
        if model == "ridge_path":
            options["l2"] = jax.device_put(PENALTIES.astype(task.X.dtype))

        def call():
            return _harness.block(fit(X, y, **options))

        def read(fit):
            if model == "ridge_path":
                # Like RidgeCV: one penalty for all targets, by the mean leave-one-out error.
                loo = np.asarray(fit.loo, float).reshape(len(PENALTIES), -1).mean(axis=1)
                best = int(np.argmin(loo))
                return Answer(np.asarray(fit.coef[best]), np.asarray(fit.intercept[best]), PENALTIES[best])
            return Answer(np.asarray(fit.params.coef), np.asarray(fit.params.intercept))

        return call, read

    return prepare


def _estimator(library, name, **options):
    """An estimator in the scikit-learn style; `alpha` is the penalty of the sum of squares, not of the mean."""

    def prepare(task):
        kind = getattr(_import(f"{library}.linear_model"), name)
        given = {key: value(task) if callable(value) else value for key, value in options.items()}
        model = kind(fit_intercept=task.fit_intercept, **given)

        def read(fitted):
            l2 = fitted.alpha_ / len(task.X) if hasattr(fitted, "alpha_") else None
            targets = task.y.shape[1:]
            # intelex returns float64 attributes and odd shapes now and then; the answer has the shape of the task.
            coef = np.asarray(fitted.coef_).reshape(*targets, task.X.shape[1]).T
            return Answer(coef, np.broadcast_to(np.asarray(fitted.intercept_).squeeze(), targets), l2)

        return lambda: model.fit(task.X, task.y), read

    return prepare


def _least_squares(solve):
    """A LAPACK-style solver without an intercept: it is given the column of ones, which is made outside the clock."""

    def prepare(task):
        A = np.column_stack([task.X, np.ones_like(task.X[:, :1])]) if task.fit_intercept else task.X
        A = np.asarray(A, task.X.dtype)

        def read(result):
            coef = result[0]
            if not task.fit_intercept:
                return Answer(coef, np.zeros(task.y.shape[1:]))
            return Answer(coef[:-1], coef[-1])

        return lambda: solve(A, task.y), read

    return prepare


def _scipy_lstsq(driver):
    def solve(A, y):
        return _import("scipy.linalg").lstsq(A, y, lapack_driver=driver)

    return _least_squares(solve)


def _numpy_lstsq(A, y):
    return np.linalg.lstsq(A, y, rcond=None)


def _alpha(task):
    return task.l2 * len(task.X)


def _alphas(task):
    return PENALTIES * len(task.X)


def _tight(task):
    # The default 1e-4 stops after three digits; work that has not converged is not worth timing.
    return 10 * float(np.finfo(task.X.dtype).eps)


ADAPTERS = {
    "ols": {
        "jaxinfra": jaxinfra("ols"),
        "sklearn": _estimator("sklearn", "LinearRegression"),
        "sklearnex": _estimator("sklearnex", "LinearRegression"),
        "scipy gelsd": _scipy_lstsq("gelsd"),
        "scipy gelsy": _scipy_lstsq("gelsy"),
        "numpy lstsq": _least_squares(_numpy_lstsq),
    },
    "ridge": {
        "jaxinfra": jaxinfra("ridge"),
        "sklearn cholesky": _estimator("sklearn", "Ridge", solver="cholesky", alpha=_alpha),
        "sklearn svd": _estimator("sklearn", "Ridge", solver="svd", alpha=_alpha),
        "sklearn lsqr": _estimator("sklearn", "Ridge", solver="lsqr", alpha=_alpha, tol=_tight),
        "sklearnex": _estimator("sklearnex", "Ridge", alpha=_alpha),
    },
    "ridge_path": {
        "jaxinfra": jaxinfra("ridge_path"),
        "sklearn RidgeCV": _estimator("sklearn", "RidgeCV", alphas=_alphas),
    },
}
