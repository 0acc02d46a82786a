"""jaxinfra: classical and small neural models as pure JAX functions.

Each model is a module with the same verbs: `fit`, `decision`, `predict`, `objective`, `optimality`.

    ols, ridge          least squares
    lasso, elastic_net  least squares with an L1 penalty, or with both
    group_lasso         groups of features taken in or left out as a whole
    multitask_lasso     several targets that share the features they use
    nnls                nonnegative least squares
    logistic            logistic regression of two classes
    glm                 generalised linear models: a family from `families` with a link from `links`
    multinomial         logistic regression of several classes
    huber               least squares that outliers do not move
    m_estimator         the same with any norm from `norms` and a robust scale
    theil_sen, ransac   from fits of small subsets: their median, or the largest set of rows that agree
    quantile            quantile regression, the median and others
    ordinal             ordered classes: proportional odds, ordered probit
    svc, nu_svc         support vector classification with a kernel
    linear_svm          the same without a kernel, for many rows
    svr, nu_svr         support vector regression with a kernel
    kernel_ridge        least squares with a kernel
    one_class           which rows are unlike the others
    kernels             what those machines are made of
    norms               what M-estimators are made of
    families, links     what a generalised linear model is made of
    nn                  convolutional, recurrent and attention networks, and their training (imported when first used)
    infer               standard errors, tests, intervals, residuals, influence
    select              folds, paths, grids and gradients of a cross-validated loss
    calibrate           probabilities from the decisions of a classifier
    predict, decision   of any fit, which knows its model and its arguments; so do predict_proba, objective, optimality
    Fit, Info, Status   what every fit returns, and how it ended
    Problem             what a fit was asked: model, settings, hyper-parameters
    check               raise on the host if a fit did not converge
    cache_programs      keep compiled programs on disk for the next process
    pad_rows            rows of weight 0, so that data of many lengths share a few programs
    warm                compile ahead of the first call
    compile_small_loops an XLA flag for the loops of older versions of JAX

Importing creates no array, starts no backend and changes no configuration.
"""

from typing import TYPE_CHECKING, Any

from jaxinfra import calibrate, families, infer, kernels, links, norms, select
from jaxinfra._core import address
from jaxinfra._core.padding import pad_rows
from jaxinfra._core.precision import PrecisionWarning
from jaxinfra._core.problem import Problem
from jaxinfra._core.program_cache import cache_programs
from jaxinfra._core.types import (
    Fit,
    FitError,
    GapInfo,
    Info,
    Linear,
    RankInfo,
    Scaled,
    Status,
    SupportInfo,
    Thresholds,
    check,
)
from jaxinfra._core.xla_flags import compile_small_loops
from jaxinfra.ahead import warm
from jaxinfra.fitted import decision, objective, optimality, predict, predict_proba
from jaxinfra.linear import (
    elastic_net,
    glm,
    group_lasso,
    huber,
    lasso,
    logistic,
    m_estimator,
    multinomial,
    multitask_lasso,
    nnls,
    ols,
    ordinal,
    quantile,
    ransac,
    ridge,
    theil_sen,
)
from jaxinfra.linear._glm_input import GLM
from jaxinfra.solvers.robust.ransac import ConsensusInfo
from jaxinfra.svm import kernel_ridge, linear_svm, nu_svc, nu_svr, one_class, svc, svr
from jaxinfra.svm._machine import Machine
from jaxinfra.svm.linear_svm import LinearMachine

if TYPE_CHECKING:  # so that editors know what `__getattr__` finds
    from jaxinfra import nn

__all__ = [
    "cache_programs",
    "calibrate",
    "check",
    "compile_small_loops",
    "ConsensusInfo",
    "decision",
    "elastic_net",
    "families",
    "Fit",
    "FitError",
    "GapInfo",
    "GLM",
    "glm",
    "group_lasso",
    "huber",
    "infer",
    "Info",
    "kernel_ridge",
    "kernels",
    "lasso",
    "Linear",
    "LinearMachine",
    "linear_svm",
    "links",
    "logistic",
    "m_estimator",
    "Machine",
    "multinomial",
    "multitask_lasso",
    "nn",
    "nnls",
    "norms",
    "nu_svc",
    "nu_svr",
    "ols",
    "objective",
    "one_class",
    "optimality",
    "ordinal",
    "pad_rows",
    "PrecisionWarning",
    "predict",
    "predict_proba",
    "Problem",
    "quantile",
    "RankInfo",
    "ransac",
    "ridge",
    "Scaled",
    "select",
    "Status",
    "SupportInfo",
    "svc",
    "svr",
    "theil_sen",
    "Thresholds",
    "warm",
]

__version__ = "0.1.0"

address.at_home(globals())


def __getattr__(name: str) -> Any:
    """`nn` when it is first asked for: only networks need flax and optax."""
    if name == "nn":
        import importlib

        return importlib.import_module("jaxinfra.nn")
    raise AttributeError(f"module 'jaxinfra' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also `nn`, before it is asked for."""
    return sorted({*globals(), *__all__})
