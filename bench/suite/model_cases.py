"""The models that are measured: one row a model, read by every benchmark of the suite.

Fresh processes import this file, `fits.py` and `settings.py` beside the installed jaxinfra (see `runner/aot.py`): these
must import nothing else of the benchmarks.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.suite import fits, settings

LABELS = {"labels": 2, "classes": 3, "clusters": 2, "ordered": settings.LEVELS}  # kinds of y, their numbers of classes
REAL = ("diabetes", "linnerud", "breast_cancer", "digits")


@dataclass(frozen=True, kw_only=True)
class Case:
    module: str  # of jaxinfra
    family: str  # the benchmark module that races it
    name: str  # the class there
    title: str
    text: str
    target: str  # the kind of y, see `data.load`
    fit: Callable  # fit(ji, X, y, hyper, **options)
    hyper: Callable  # hyper(X, y): the hyper-parameters, a number or an array: penalties, C and gamma, quantiles
    problems: tuple
    standard: tuple  # those of the standard profile; `QUICK` has the quick one's
    compiled: tuple = ("1000x20", "20000x500")  # the shapes that are compiled, the first in every profile
    patience: float | None = None  # seconds for one call of a peer, None for the profile's


_WIDE = ("1000x20", "20000x500", "20000x100x10")
_LEAST_SQUARES = (*REAL, "1000x20", "20000x500", "200000x50", "20000x100x10", "200x2000")
_LEAST_SQUARES_QUICK = (*REAL, "1000x20", "20000x500", "200000x50")
_ONE = ("1000x20", "20000x500")
_TARGETS = ("1000x20x5", "20000x100x10")
_SMALL = ("1000x20",)

CASES = {
    "ols": Case(
        module="ols", family="regression", name="OLS", title="Least squares", target="real",
        text="One fit with intercept.",
        fit=lambda ji, X, y, _, **options: ji.ols.fit(X, y, **options), hyper=settings.none,
        # A column of ones makes the wide problem's minimum-norm solution another one for each library.
        problems=tuple(p for p in _LEAST_SQUARES if p != "200x2000"), standard=_LEAST_SQUARES_QUICK, compiled=_WIDE,
    ),
    "ridge": Case(
        module="ridge", family="regression", name="Ridge", title="Ridge", target="real",
        text=f"One fit with intercept, l2 = {settings.RIDGE}.",
        fit=fits.l2("ridge"), hyper=lambda X, y: settings.RIDGE,
        problems=_LEAST_SQUARES, standard=_LEAST_SQUARES_QUICK, compiled=_WIDE,
    ),
    "ridge_path": Case(
        module="ridge", family="regression", name="RidgePath", title="Ridge path", target="real",
        text="25 penalties with leave-one-out errors; jaxinfra returns every coefficient vector, RidgeCV the best one.",
        fit=lambda ji, X, y, l2, **options: ji.ridge.path(X, y, l2=l2, **options), hyper=settings.ridge_grid,
        # RidgeCV takes a singular value decomposition of all rows: tens of seconds for the large problems.
        problems=_LEAST_SQUARES, standard=(*REAL, "1000x20"), compiled=_WIDE,
    ),
    "lasso_path": Case(
        module="lasso", family="penalised", name="LassoPath", title="Lasso path", target="sparse",
        text="50 penalties from l1_max to l1_max / 100, warm-started. "
        "Peers without an intercept are given centred data.",
        fit=lambda ji, X, y, l1, **options: ji.lasso.path(X, y, l1=l1, **options), hyper=settings.l1_path,
        problems=("diabetes", "1000x20", "100000x100", "2000x1000", "500x5000"),
        standard=("100000x100", "2000x1000", "500x5000"), compiled=("1000x20", "2000x1000"),
    ),
    "lasso_cv": Case(
        module="lasso", family="penalised", name="LassoCV", title="Lasso, cross-validated", target="sparse",
        text="100 penalties from l1_max to l1_max / 1000, 5 folds, and the fit of all rows at the best penalty.",
        fit=lambda ji, X, y, l1, tol=None: fits.lasso_cv(ji)(X, y, l1, tol), hyper=settings.l1_cv,
        problems=("1000x20", "20000x50"), standard=("20000x50",), compiled=("1000x20", "20000x50"),
    ),
    "lasso": Case(
        module="lasso", family="penalised", name="Lasso", title="Lasso", target="sparse",
        text="One fit with intercept at l1_max / 20.",
        fit=fits.l1("lasso"), hyper=settings.l1,
        problems=_ONE, standard=_SMALL,
    ),
    "elastic_net": Case(
        module="elastic_net", family="penalised", name="ElasticNet", title="Elastic net", target="sparse",
        text="One fit with intercept, l1 = l2 = l1_max / 20.",
        fit=lambda ji, X, y, l1, **options: ji.elastic_net.fit(X, y, l1=l1, l2=l1, **options), hyper=settings.l1,
        problems=_ONE, standard=_SMALL,
    ),
    "nnls": Case(
        module="nnls", family="penalised", name="NonNegative", title="Non-negative least squares", target="sparse",
        text="One fit with free intercept; SciPy is given centred data.",
        fit=lambda ji, X, y, _, **options: ji.nnls.fit(X, y, **options), hyper=settings.none,
        problems=_ONE, standard=_SMALL,
    ),
    "group_lasso": Case(
        module="group_lasso", family="penalised", name="GroupLasso", title="Group lasso", target="sparse",
        text=f"One fit with intercept at l1_max / 20, groups of {settings.GROUP} columns.",
        fit=lambda ji, X, y, l1, **options: ji.group_lasso.fit(X, y, l1=l1, groups=fits.groups(X.shape[1]), **options),
        hyper=settings.group_l1,
        problems=_ONE, standard=_SMALL,
    ),
    "multitask_lasso": Case(
        module="multitask_lasso", family="penalised", name="MultiTaskLasso", title="Multi-task lasso", target="sparse",
        text="One fit with intercept at l1_max / 20.",
        fit=fits.l1("multitask_lasso"), hyper=settings.l1,
        problems=_TARGETS, standard=_TARGETS[:1], compiled=_TARGETS,
    ),
    "logistic": Case(
        module="logistic", family="classification", name="Logistic", title="Logistic regression", target="labels",
        text="One fit with intercept, L2, C = 1.",
        fit=fits.l2("logistic"), hyper=settings.c(1.0),
        problems=("breast_cancer", "1000x20", "20000x500", "200000x50"),
        standard=("breast_cancer", "1000x20", "20000x500", "200000x50"),
    ),
    "logistic_cv": Case(
        module="logistic", family="classification", name="LogisticCV", title="Logistic regression, cross-validated",
        target="labels", text="10 penalties (C = 1e-4 to 1e4), 5 folds, and the fit of all rows at the best penalty.",
        fit=lambda ji, X, y, c, tol=None: fits.logistic_cv(ji)(X, y, c, tol), hyper=settings.inverse_c,
        problems=("1000x20", "20000x50"), standard=("20000x50",), compiled=("1000x20", "20000x50"),
    ),
    "multinomial": Case(
        module="multinomial", family="classification", name="Multinomial", title="Multinomial regression",
        target="classes",
        text="One fit with intercept, L2, C = 0.1.",
        fit=fits.multinomial, hyper=settings.c(0.1),
        problems=("digits", "mnist5k", "1000x20"), standard=("mnist5k", "1000x20"),
    ),
    "ordinal": Case(
        module="ordinal", family="classification", name="Ordinal", title="Ordinal regression", target="ordered",
        text=f"Proportional odds of {settings.LEVELS} classes. statsmodels differentiates numerically.",
        fit=fits.ordinal, hyper=settings.none,
        problems=("1000x20", "100000x50"), standard=("1000x20", "100000x50"), compiled=_SMALL,
    ),
    "poisson": Case(
        module="glm", family="glm", name="Poisson", title="Poisson regression", target="counts",
        text="One fit with intercept, log link, l2 = 1e-3.",
        fit=fits.glm(lambda ji: ji.families.Poisson()), hyper=lambda X, y: 1e-3,
        problems=("1000x20", "100000x50"), standard=("1000x20", "100000x50"), compiled=("1000x20", "100000x50"),
    ),
    "gamma": Case(
        module="glm", family="glm", name="Gamma", title="Gamma regression", target="positive",
        text="One fit with intercept, log link, l2 = 1e-3.",
        fit=fits.glm(lambda ji: ji.families.Gamma()), hyper=lambda X, y: 1e-3,
        problems=("1000x20", "100000x50"), standard=_SMALL, compiled=_SMALL,
    ),
    "tweedie": Case(
        module="glm", family="glm", name="Tweedie", title="Tweedie regression", target="positive",
        text=f"One fit with intercept, power {settings.POWER}, log link, l2 = 1e-3.",
        fit=fits.glm(lambda ji: ji.families.Tweedie(settings.POWER)), hyper=lambda X, y: 1e-3,
        problems=("1000x20", "100000x50"), standard=_SMALL, compiled=_SMALL,
    ),
    "svc": Case(
        module="svc", family="svm", name="SVC", title="SVC", target="clusters",
        text="RBF kernel, C = 1, gamma = 1 / 50; MNIST (even or odd): 10 and 1 / 50; a9a: 1 and 1 / 20.",
        fit=fits.machine("svc", "C", n_classes=2), hyper=settings.rbf(),
        problems=("1000x20", "mnist5k", "20000x50", "a9a"), standard=("1000x20", "mnist5k", "20000x50"),
        compiled=("1000x20", "20000x50"),
    ),
    "svc_hard": Case(
        module="svc", family="svm", name="SVCHard", title="SVC, C = 1000", target="clusters",
        text="RBF kernel, gamma = 1 / 50, asked for a violation of 1e-6, which libsvm and scikit-learn reach by their "
        "own count: their kernel values are float32. float64 alone.",
        fit=fits.machine("svc", "C", n_classes=2), hyper=settings.rbf(1000.0),
        problems=("1000x20", "5000x20"), standard=("1000x20",), compiled=(),
    ),
    "svc_pairs": Case(
        module="svc", family="svm", name="SVCPairs", title="SVC, one against one", target="classes",
        text="A machine for each pair of classes; RBF kernel as for SVC.",
        fit=fits.one_vs_one, hyper=settings.rbf(),
        problems=("1000x20", "digits", "mnist5k"), standard=("mnist5k",), compiled=_SMALL,
    ),
    "svc_grid": Case(
        module="svc", family="svm", name="SVCGrid", title="SVC, grid search", target="clusters",
        text="6 C (0.1 to 100) by 6 gamma (0.001 to 1), 5 folds, and the fit of all rows at the best of them.",
        fit=lambda ji, X, y, grid, tol=None: fits.svc_grid(ji)(X, y, grid, tol), hyper=settings.svc_cells,
        problems=("2000x20",), standard=(), compiled=(),
    ),
    "svc_predict": Case(
        module="svc", family="svm", name="SVCPredict", title="SVC, prediction", target="clusters",
        text="Decisions of all rows; every row is a support vector.",
        fit=lambda ji, X, y, hyper: fits.svc_decision(ji)(X, y, hyper), hyper=settings.rbf(1e-3, 0.0),
        problems=("10000x50",), standard=("10000x50",), compiled=(),
    ),
    "nu_svc": Case(
        module="nu_svc", family="svm", name="NuSVC", title="nu-SVC", target="clusters",
        text="RBF kernel, nu = 0.3, gamma = 1 / 50.",
        fit=fits.machine("nu_svc", "nu", n_classes=2), hyper=settings.rbf(0.3),
        problems=("1000x20", "10000x50"), standard=_SMALL, compiled=_SMALL,
    ),
    "svr": Case(
        module="svr", family="svm", name="SVR", title="SVR", target="curved",
        text="RBF kernel, C = 1, epsilon = 0.1, gamma = 1 / 50; y in standard deviations.",
        fit=fits.machine("svr", "C", "epsilon"), hyper=settings.rbf(1.0, 0.1),
        problems=("1000x20", "10000x50"), standard=("1000x20", "10000x50"), compiled=_SMALL,
    ),
    "nu_svr": Case(
        module="nu_svr", family="svm", name="NuSVR", title="nu-SVR", target="curved",
        text="RBF kernel, C = 1, nu = 0.5, gamma = 1 / 50; y in standard deviations.",
        fit=fits.machine("nu_svr", "C", "nu"), hyper=settings.rbf(1.0, 0.5),
        problems=("1000x20", "10000x50"), standard=_SMALL, compiled=_SMALL,
    ),
    "one_class": Case(
        module="one_class", family="svm", name="OneClass", title="One-class SVM", target="clusters",
        text="RBF kernel, nu = 0.1, gamma = 1 / 50.",
        fit=fits.machine("one_class", "nu"), hyper=settings.rbf(0.1),
        problems=("1000x20", "10000x50"), standard=("1000x20", "10000x50"), compiled=_SMALL,
    ),
    "linear_svm": Case(
        module="linear_svm", family="svm", name="LinearSVM", title="Linear SVM", target="clusters",
        text="Hinge loss, C = 1. liblinear's intercept is penalised; its answers are held against the free one.",
        fit=fits.linear_svm("hinge"), hyper=lambda X, y: 1.0,
        problems=("1000x20", "20000x50"), standard=("1000x20", "20000x50"), compiled=_SMALL,
    ),
    "linear_svm_squared": Case(
        module="linear_svm", family="svm", name="LinearSVMSquared", title="Linear SVM, squared hinge",
        target="clusters",
        text="C = 1. liblinear's intercept is penalised by 1e-4 of the coefficients' penalty.",
        fit=fits.linear_svm("squared_hinge"), hyper=lambda X, y: 1.0,
        problems=("1000x20", "20000x50"), standard=("20000x50",), compiled=_SMALL,
    ),
    "kernel_ridge": Case(
        module="kernel_ridge", family="svm", name="KernelRidge", title="Kernel ridge", target="curved",
        text="RBF kernel, alpha = 0.1, gamma = 1 / 50, without intercept as in scikit-learn.",
        fit=fits.kernel_ridge, hyper=settings.ridge_and_gamma,
        problems=("1000x20", "5000x20"), standard=("1000x20", "5000x20"), compiled=_SMALL,
    ),
    "huber": Case(
        module="huber", family="robust", name="Huber", title="Huber regression", target="heavy",
        text="One fit with intercept and scale, delta = 1.35.",
        fit=fits.robust("huber"), hyper=settings.none,
        problems=("1000x20", "100000x50"), standard=("1000x20", "100000x50"), compiled=("1000x20", "100000x50"),
    ),
    "m_estimator": Case(
        module="m_estimator", family="robust", name="MEstimator", title="M-estimator", target="heavy",
        text="Tukey's bisquare with c = 4.685, scale by the MAD.",
        fit=fits.robust("m_estimator", norm=lambda ji: ji.norms.Tukey()), hyper=settings.none,
        problems=("1000x20", "100000x50"), standard=("1000x20", "100000x50"), compiled=_SMALL,
    ),
    "quantile": Case(
        module="quantile", family="robust", name="Quantile", title="Quantile regression", target="heavy",
        text="One fit with intercept, tau = 0.9.",
        fit=fits.robust("quantile", "tau"), hyper=lambda X, y: 0.9,
        problems=("1000x20", "10000x50", "100000x50"), standard=("1000x20", "10000x50", "100000x50"),
        compiled=("1000x20", "10000x50"), patience=60.0,
    ),
    "quantiles": Case(
        module="quantile", family="robust", name="Quantiles", title="Nine quantiles", target="heavy",
        text="tau = 0.1 to 0.9 in one call; peers one by one.",
        fit=fits.robust("quantile", "tau"), hyper=settings.nine_quantiles,
        problems=("1000x20", "10000x50", "100000x50"), standard=("1000x20", "100000x50"), compiled=_SMALL,
        patience=60.0,
    ),
    "theil_sen": Case(
        module="theil_sen", family="robust", name="TheilSen", title="Theil-Sen", target="heavy",
        text="All pairs of 1000 rows of one column, the classical median of slopes; all triples of 60 rows of two "
        "columns, the spatial median of their fits.",
        fit=fits.theil_sen, hyper=settings.none,
        problems=("1000x1", "60x2"), standard=("1000x1", "60x2"), compiled=("1000x1", "60x2"),
    ),
    "ransac": Case(
        module="ransac", family="robust", name="RANSAC", title="RANSAC", target="outliers",
        text=f"At most 1000 trials, threshold {settings.THRESHOLD}; a fifth of the rows is far off.",
        fit=fits.robust("ransac", "threshold", key=fits.key), hyper=lambda X, y: settings.THRESHOLD,
        problems=("1000x20", "100000x10"), standard=("1000x20", "100000x10"), compiled=_SMALL,
    ),
    "bootstrap": Case(
        module="select", family="inference", name="Bootstrap", title="Bootstrap", target="labels",
        text=f"{settings.RESAMPLES} logistic regressions with L2, C = 1, on resamples of the rows.",
        fit=fits.bootstrap, hyper=settings.c(1.0),
        problems=("1000x20",), standard=("1000x20",), compiled=_SMALL, patience=30.0,
    ),
    "sandwich": Case(
        module="infer", family="inference", name="Sandwich", title="HC3 errors", target="labels",
        text="Standard errors of a logistic regression at given coefficients; statsmodels' HC3 is put together from "
        "its scores, leverages and Hessian: what it calls HC3 of a GLM is HC0.",
        fit=fits.sandwich, hyper=settings.logistic_optimum,
        problems=("1000x20", "100000x50"), standard=("1000x20", "100000x50"), compiled=("1000x20", "100000x50"),
    ),
}  # fmt: skip
# One problem for the models of the quick profile: those that represent their family, at a size that a user meets, where
# every peer takes milliseconds to a second: compiled code cannot be interrupted.
QUICK = {
    "ols": "200000x50", "ridge_path": "1000x20",
    "lasso_path": "2000x1000", "elastic_net": "1000x20", "nnls": "1000x20",
    "logistic": "20000x500", "multinomial": "digits", "ordinal": "1000x20",
    "poisson": "100000x50",
    "svc": "1000x20", "svr": "1000x20", "linear_svm": "1000x20", "kernel_ridge": "1000x20",
    "huber": "100000x50", "m_estimator": "1000x20", "quantile": "1000x20", "theil_sen": "1000x1",
    "sandwich": "100000x50",
}  # fmt: skip
FAMILIES = {
    "regression": "least squares",
    "penalised": "lasso and relatives",
    "classification": "classification",
    "glm": "generalised linear",
    "svm": "support vector machines",
    "robust": "robust and quantile",
    "inference": "errors and resampling",
}


def available(model):
    """Whether the jaxinfra at hand has it: the suite also measures older commits."""
    import jaxinfra

    return hasattr(jaxinfra, CASES[model].module)


def function(model):
    """The public verb as a function of arrays alone, so that one program holds all of it."""
    import jaxinfra as ji

    return functools.partial(CASES[model].fit, ji)


def sample(model, shape_X, shape_y, dtype, rng):
    """X, y and the hyper-parameters with random values that the model allows."""
    case = CASES[model]
    X, y = rng.standard_normal(shape_X), rng.standard_normal(shape_y)
    if case.target in LABELS:
        y = rng.permutation(np.arange(len(y)) % LABELS[case.target]).astype(np.int32)
    else:
        y = {"counts": np.floor, "positive": np.asarray}.get(case.target, lambda e: y)(np.exp(y)).astype(dtype)
    return X.astype(dtype), y, np.asarray(case.hyper(X, y), dtype)
