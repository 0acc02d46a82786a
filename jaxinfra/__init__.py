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
    Fit, Info, Status   what every fit returns, and how it ended
    check               raise on the host if a fit did not converge
    compile_small_loops an XLA flag for the loops of older versions of JAX

Importing creates no array, starts no backend and changes no configuration.
"""

from typing import Any

from jaxinfra import calibrate as calibrate
from jaxinfra import families as families
from jaxinfra import infer as infer
from jaxinfra import kernels as kernels
from jaxinfra import links as links
from jaxinfra import norms as norms
from jaxinfra import select as select
from jaxinfra._core.precision import PrecisionWarning as PrecisionWarning
from jaxinfra._core.types import Fit as Fit
from jaxinfra._core.types import FitError as FitError
from jaxinfra._core.types import GapInfo as GapInfo
from jaxinfra._core.types import Info as Info
from jaxinfra._core.types import Linear as Linear
from jaxinfra._core.types import RankInfo as RankInfo
from jaxinfra._core.types import Scaled as Scaled
from jaxinfra._core.types import Status as Status
from jaxinfra._core.types import SupportInfo as SupportInfo
from jaxinfra._core.types import Thresholds as Thresholds
from jaxinfra._core.types import check as check
from jaxinfra._core.xla_flags import compile_small_loops as compile_small_loops
from jaxinfra.linear import elastic_net as elastic_net
from jaxinfra.linear import glm as glm
from jaxinfra.linear import group_lasso as group_lasso
from jaxinfra.linear import huber as huber
from jaxinfra.linear import lasso as lasso
from jaxinfra.linear import logistic as logistic
from jaxinfra.linear import m_estimator as m_estimator
from jaxinfra.linear import multinomial as multinomial
from jaxinfra.linear import multitask_lasso as multitask_lasso
from jaxinfra.linear import nnls as nnls
from jaxinfra.linear import ols as ols
from jaxinfra.linear import ordinal as ordinal
from jaxinfra.linear import quantile as quantile
from jaxinfra.linear import ransac as ransac
from jaxinfra.linear import ridge as ridge
from jaxinfra.linear import theil_sen as theil_sen
from jaxinfra.svm import kernel_ridge as kernel_ridge
from jaxinfra.svm import linear_svm as linear_svm
from jaxinfra.svm import nu_svc as nu_svc
from jaxinfra.svm import nu_svr as nu_svr
from jaxinfra.svm import one_class as one_class
from jaxinfra.svm import svc as svc
from jaxinfra.svm import svr as svr
from jaxinfra.svm._machine import Machine as Machine

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`nn` when it is first asked for: only networks need flax and optax."""
    if name == "nn":
        import importlib

        return importlib.import_module("jaxinfra.nn")
    raise AttributeError(f"module 'jaxinfra' has no attribute {name!r}")
