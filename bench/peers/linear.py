"""The implementations of each model: `ADAPTERS[model][name]` is an `Adapter`."""

import numpy as np

from bench.certificates.least_squares import Answer
from bench.peers.adapter import TOLERANCES, Adapter, centred, estimator, jaxinfra, optional
from bench.suite import settings

SKLEARN, INTELEX = "sklearn.linear_model", "sklearnex.linear_model"


def _least_squares(solve):
    """A LAPACK-style solver without an intercept: it is given the column of ones, which is made outside the clock."""

    def prepare(task, tol=None):
        A = np.column_stack([task.X, np.ones_like(task.X[:, :1])]) if task.fit_intercept else task.X
        A = np.asarray(A, task.X.dtype)

        def read(result):
            coef = result[0]
            if not task.fit_intercept:
                return Answer(coef, np.zeros(task.y.shape[1:]))
            return Answer(coef[:-1], coef[-1])

        return lambda: solve(A, task.y), read

    return Adapter(prepare)


def _scipy_lstsq(driver):
    def solve(A, y):
        return optional("scipy.linalg").lstsq(A, y, lapack_driver=driver)

    return _least_squares(solve)


def _numpy_lstsq(A, y):
    return np.linalg.lstsq(A, y, rcond=None)


def _penalty(task):
    return task.hyper


def _times_rows(task):
    return task.hyper * len(task.X)


def _tight(task):
    # The default 1e-4 stops after three digits; work that has not converged is not worth timing.
    return 10 * float(np.finfo(task.X.dtype).eps)


def _ridge(solver, **options):
    return estimator(SKLEARN, "Ridge", solver=solver, alpha=_times_rows, **options)


LEAST_SQUARES = {
    "ols": {
        "jaxinfra": jaxinfra("ols", (None,)),
        "sklearn": estimator(SKLEARN, "LinearRegression"),
        "sklearnex": estimator(INTELEX, "LinearRegression"),
        "scipy gelsd": _scipy_lstsq("gelsd"),
        "scipy gelsy": _scipy_lstsq("gelsy"),
        "numpy lstsq": _least_squares(_numpy_lstsq),
    },
    "ridge": {
        "jaxinfra": jaxinfra("ridge", (None,)),
        "sklearn cholesky": _ridge("cholesky"),
        "sklearn svd": _ridge("svd"),
        "sklearn lsqr": _ridge("lsqr", tol=_tight),
        "sklearnex": estimator(INTELEX, "Ridge", alpha=_times_rows),
    },
    "ridge_path": {
        "jaxinfra": jaxinfra("ridge_path", (None,)),
        "sklearn RidgeCV": estimator(
            SKLEARN, "RidgeCV", alphas=_times_rows, chosen=lambda task, fitted: fitted.alpha_ / len(task.X)
        ),
    },
}

# Enough for every tolerance that can be reached; scikit-learn's default stops before some of them.
ITERATIONS = 10000


def _sklearn(name, **options):
    return estimator(SKLEARN, name, TOLERANCES, max_iter=ITERATIONS, **options)


def _coordinates(library, name, **options):
    """Coordinate descent, which needs contiguous columns."""
    if library != SKLEARN:
        return estimator(library, name, TOLERANCES, order="F", **options)
    return _sklearn(name, order="F", **options)


def _folds(task):
    return optional("sklearn.model_selection").KFold(settings.FOLDS)


def _sklearn_path(precompute):
    def solve(X, y, task, tol):
        path = optional(SKLEARN).lasso_path
        return path(X, y, alphas=task.hyper, tol=tol, precompute=precompute, max_iter=ITERATIONS)[1]

    # The Gram matrix of more columns than rows is no help.
    return centred(solve, TOLERANCES)._replace(suits=lambda task: not precompute or task.X.shape[1] < len(task.X))


def _few_rows(task):
    return len(task.X) <= 20000


def _celer_path(X, y, task, tol):
    return optional("celer").celer_path(X, y, "lasso", alphas=task.hyper.astype(X.dtype), tol=tol, max_iter=100)[1]


def _skglm_path(X, y, task, tol):
    return optional("skglm").Lasso(fit_intercept=False, tol=tol).path(X, y, task.hyper)[1]


def _scipy_nnls(X, y, task, tol):
    return optional("scipy.optimize").nnls(X, y)[0]


def _glum_normal(l1_ratio, alpha):
    return estimator(
        "glum", "GeneralizedLinearRegressor", TOLERANCES, "gradient_tol", "F",
        family="normal", alpha=alpha, l1_ratio=l1_ratio, max_iter=ITERATIONS,
    )  # fmt: skip


def _of_groups(task):
    # Their groups have weight one, ours the root of the size.
    return task.hyper * np.sqrt(settings.GROUP)


def _twice(task):
    return 2 * task.hyper


def _ones(task):
    return np.ones(task.X.shape[1] // settings.GROUP)


def _lasso_cv(**options):
    options = {"alphas": _penalty, "cv": _folds, "chosen": lambda task, fitted: fitted.alpha_, **options}
    return _sklearn("LassoCV", **options)


PENALISED = {
    "lasso_path": {
        "jaxinfra": jaxinfra("lasso_path"),
        "sklearn Gram": _sklearn_path(True),
        "sklearn": _sklearn_path(False),
        "celer": centred(_celer_path, TOLERANCES)._replace(suits=_few_rows),
        "skglm": centred(_skglm_path, TOLERANCES)._replace(suits=_few_rows),
    },
    "lasso_cv": {
        "jaxinfra": jaxinfra("lasso_cv"),
        "sklearn": _lasso_cv(),
        "sklearn threads": _lasso_cv(n_jobs=-1),
    },
    "lasso": {
        "jaxinfra": jaxinfra("lasso"),
        "sklearn": _coordinates(SKLEARN, "Lasso", alpha=_penalty),
        "sklearn Gram": _coordinates(SKLEARN, "Lasso", alpha=_penalty, precompute=True),
        "celer": _coordinates("celer", "Lasso", alpha=_penalty),
        "glum": _glum_normal(1, _penalty),
    },
    "elastic_net": {
        "jaxinfra": jaxinfra("elastic_net"),
        "sklearn": _coordinates(SKLEARN, "ElasticNet", alpha=_twice, l1_ratio=0.5),
        "sklearn Gram": _coordinates(SKLEARN, "ElasticNet", alpha=_twice, l1_ratio=0.5, precompute=True),
        "celer": _coordinates("celer", "ElasticNet", alpha=_twice, l1_ratio=0.5),
        "glum": _glum_normal(0.5, _twice),
    },
    "nnls": {
        "jaxinfra": jaxinfra("nnls"),
        "scipy": centred(_scipy_nnls),
        "sklearn": estimator(SKLEARN, "LinearRegression", positive=True),
    },
    "group_lasso": {
        "jaxinfra": jaxinfra("group_lasso"),
        "celer": _coordinates("celer", "GroupLasso", groups=settings.GROUP, alpha=_of_groups),
        "skglm": _coordinates("skglm", "GroupLasso", groups=settings.GROUP, alpha=_of_groups, weights=_ones),
    },
    "multitask_lasso": {
        "jaxinfra": jaxinfra("multitask_lasso"),
        "sklearn": _coordinates(SKLEARN, "MultiTaskLasso", alpha=_penalty),
        "skglm": _coordinates("skglm", "MultiTaskLasso", alpha=_penalty),
    },
}


def _c(task):
    return 1 / _times_rows(task)


def _logistic(solver, library=SKLEARN):
    return estimator(library, "LogisticRegression", TOLERANCES, solver=solver, C=_c, max_iter=ITERATIONS)


def _cv_folds(fitted):
    # (folds, mixtures, penalties, classes, columns and intercept)
    found = np.asarray(fitted.coefs_paths_)
    found = found.reshape(found.shape[0], -1, found.shape[-1])
    return Answer(found[..., :-1], found[..., -1])


def _logistic_cv(solver, **options):
    return _sklearn(
        "LogisticRegressionCV", solver=solver, Cs=lambda task: 1 / task.hyper, cv=_folds, scoring="neg_log_loss",
        l1_ratios=(0.0,), use_legacy_attributes=False, chosen=lambda task, fitted: 1 / float(fitted.C_),
        folds=_cv_folds, **options,
    )  # fmt: skip


CLASSIFICATION = {
    "logistic": {
        "jaxinfra": jaxinfra("logistic"),
        "sklearn lbfgs": _logistic("lbfgs"),
        "sklearn newton-cholesky": _logistic("newton-cholesky"),
        "sklearnex lbfgs": _logistic("lbfgs", INTELEX),
    },
    "logistic_cv": {
        "jaxinfra": jaxinfra("logistic_cv"),
        "sklearn lbfgs": _logistic_cv("lbfgs"),
        "sklearn lbfgs threads": _logistic_cv("lbfgs", n_jobs=-1),
        "sklearn newton-cholesky": _logistic_cv("newton-cholesky"),
    },
    "multinomial": {
        "jaxinfra": jaxinfra("multinomial"),
        "sklearn lbfgs": _logistic("lbfgs"),
        "sklearn newton-cg": _logistic("newton-cg"),
        "sklearnex lbfgs": _logistic("lbfgs", INTELEX),
    },
}


def _glum(family):
    return estimator(
        "glum", "GeneralizedLinearRegressor", TOLERANCES, "gradient_tol", "F",
        family=family, link="log", alpha=_penalty, l1_ratio=0, max_iter=ITERATIONS,
    )  # fmt: skip


def _glum_tweedie(task):
    return optional("glum").TweedieDistribution(settings.POWER)


def _generalised(model, name, family, **options):
    return {
        "jaxinfra": jaxinfra(model),
        "sklearn lbfgs": _sklearn(name, alpha=_penalty, solver="lbfgs", **options),
        "sklearn newton-cholesky": _sklearn(name, alpha=_penalty, solver="newton-cholesky", **options),
        "glum": _glum(family),
    }


GENERALISED = {
    "poisson": _generalised("poisson", "PoissonRegressor", "poisson"),
    "gamma": _generalised("gamma", "GammaRegressor", "gamma"),
    "tweedie": _generalised("tweedie", "TweedieRegressor", _glum_tweedie, power=settings.POWER, link="log"),
}

ADAPTERS = {**LEAST_SQUARES, **PENALISED, **CLASSIFICATION, **GENERALISED}
