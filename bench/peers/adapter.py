"""The parts of adapters. An adapter is the code that a user of an implementation would write, for data in its form."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from asv_runner.benchmarks.mark import SkipNotImplemented

from bench.certificates.least_squares import Answer
from bench.runner import harness
from bench.suite import model_cases, settings

# Loosest first. Each library defines its tolerance differently; the certificate is the same for all.
TOLERANCES = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 1e-8, 1e-9)


class Adapter(NamedTuple):
    """`prepare(task, tol)` works outside the clock and returns `(call, read)`.

    `call()` is timed and returns when the work is done, `read(call())` is the `Answer`. A library that is missing
    raises SkipNotImplemented. `tolerances` are tried until the certificate passes; (None,) if there is no such setting.
    `suits(task)` is false where it would take many seconds, or nobody would use it.
    """

    prepare: Callable
    tolerances: tuple = (None,)
    suits: Callable = lambda task: True


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SkipNotImplemented(f"{name} is not installed") from error


def _read_fit(task, fit):
    return Answer(np.asarray(fit.params.coef), np.asarray(fit.params.intercept))


def _read_path(task, path):
    return Answer(np.asarray(path.params.coef), np.asarray(path.params.intercept))


def _read_ridge_path(task, path):
    # Like RidgeCV: one penalty for all targets, by the mean leave-one-out error.
    loo = np.asarray(path.loo, float).reshape(len(task.hyper), -1).mean(axis=1)
    best = int(np.argmin(loo))
    return Answer(np.asarray(path.coef[best]), np.asarray(path.intercept[best]), task.hyper[best])


def _read_cv(task, result):
    paths, loss = Answer(*(np.asarray(part) for part in result[0])), np.asarray(result[1])
    best = int(np.argmin(loss))
    folds = Answer(paths.coef[:-1], paths.intercept[:-1])
    return Answer(paths.coef[-1, best], paths.intercept[-1, best], task.hyper[best], folds)


def _read_grid(task, result):
    coef, intercept, chosen, folds = result
    return Answer(
        np.asarray(coef), np.asarray(intercept), np.asarray(chosen), Answer(*(np.asarray(part) for part in folds))
    )


def _read_decisions(task, values):
    scale, intercept, _ = np.asarray(task.hyper, task.X.dtype)
    return Answer(scale * (2 * task.y - 1), intercept, values=np.asarray(values))


def _read_thresholds(task, fit):
    return Answer(np.asarray(fit.params.coef), np.asarray(fit.params.thresholds))


def _read_resamples(task, params):
    """The fits, and the weights that the key of the benchmark draws."""
    import jax

    import jaxinfra as ji
    from jaxinfra.select import _resample

    problem, _ = _resample.check("bench", ji.logistic, task.X, task.y, {}, None, None, None)
    keys = jax.random.split(jax.random.key(0), settings.RESAMPLES)
    weights = jax.vmap(_resample.drawn(problem, False, 0))(keys)
    return Answer(np.asarray(params.coef), np.asarray(params.intercept), values=np.asarray(weights))


def _read_errors(task, se):
    return Answer(np.asarray(se[:-1]), np.asarray(se[-1]))


_READ = {
    "ordinal": _read_thresholds,
    "bootstrap": _read_resamples,
    "sandwich": _read_errors,
    "ridge_path": _read_ridge_path,
    "lasso_path": _read_path,
    "lasso_cv": _read_cv,
    "logistic_cv": _read_cv,
    "svc_grid": _read_grid,
    "svc_predict": _read_decisions,
}


def jaxinfra(model, tolerances=TOLERANCES):
    case, read = model_cases.CASES[model], _READ.get(model, _read_fit)

    def prepare(task, tol=None):
        jax = harness.start_jax()
        if not model_cases.available(model):
            raise SkipNotImplemented(f"this jaxinfra has no {case.module}")
        import jaxinfra as ji

        X, y = jax.device_put(task.X), jax.device_put(task.y)
        hyper = jax.device_put(np.asarray(task.hyper, task.X.dtype))
        options = {} if tol is None else {"tol": tol}
        if not task.fit_intercept:
            options["fit_intercept"] = False
        if case.target in ("classes", "ordered"):
            options["n_classes"] = int(task.y.max()) + 1
        return lambda: harness.block(case.fit(ji, X, y, hyper, **options)), lambda result: read(task, result)

    return Adapter(prepare, tolerances)


def estimator(library, name, tolerances=(None,), tolerance="tol", order="C", chosen=None, folds=None, **options):
    """An estimator in the scikit-learn style, or anything with `fit` and then `coef_` and `intercept_`.

    Options that are functions are called with the task. `chosen(task, fitted)` is what it chose,
    `folds(fitted)` the paths of its folds. The data are brought into its `order` outside the clock.
    """

    def prepare(task, tol=None):
        kind = getattr(optional(library), name)
        given = {key: value(task) if callable(value) else value for key, value in options.items()}
        if tol is not None:
            given[tolerance] = tol
        model = kind(fit_intercept=task.fit_intercept, **given)
        X, y = np.asarray(task.X, order=order), np.asarray(task.y, order=order)

        def read(fitted):
            # intelex returns float64 attributes and odd shapes now and then; the answer has the shape of the task.
            coef = np.asarray(fitted.coef_).reshape(-1, X.shape[1]).T
            coef = coef[:, 0] if coef.shape[1] == 1 and y.ndim == 1 else coef
            intercept = np.broadcast_to(np.asarray(fitted.intercept_).squeeze(), coef.shape[1:])
            return Answer(coef, intercept, chosen and chosen(task, fitted), folds and folds(fitted))

        return lambda: model.fit(X, y), read

    return Adapter(prepare, tolerances)


def centred(solve, tolerances=(None,)):
    """An adapter of `solve(X, y, task, tol)` without intercept, from centred data in Fortran order, made untimed.

    It returns coefficients (columns,) or, for a path, (columns, penalties).
    """

    def prepare(task, tol=None):
        x_mean, y_mean = task.X.mean(axis=0, dtype=np.float64), task.y.mean(axis=0, dtype=np.float64)
        X = np.asarray(task.X - x_mean, task.X.dtype, order="F")
        y = np.asarray(task.y - y_mean, task.X.dtype)

        def read(coef):
            coef = np.asarray(coef, np.float64).T
            return Answer(coef, y_mean - coef @ x_mean)

        return lambda: solve(X, y, task, tol), read

    return Adapter(prepare, tolerances)
