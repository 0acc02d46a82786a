r"""Inference from fitted models: errors, tests, intervals, residuals, influence.

covariance             of the parameters: from the model, HC0 to HC3, cluster, H1 to H3 of robust models
inference              standard errors, z and t tests, confidence intervals
wald_test, likelihood_ratio_test
log_likelihood, aic, bic
residuals, leverage, cooks_distance, leave_one_out, influence
summary                a table of coefficients, errors, statistics and intervals
"""

from jaxinfra._core import address
from jaxinfra.infer.covariance import Covariance, covariance, kinds
from jaxinfra.infer.diagnostics import cooks_distance, influence, leave_one_out, leverage, residuals
from jaxinfra.infer.inference import Inference, Test, inference, likelihood_ratio_test, wald_test
from jaxinfra.infer.likelihood import aic, bic, log_likelihood
from jaxinfra.infer.summary import Summary, summary

__all__ = [
    "aic",
    "bic",
    "cooks_distance",
    "Covariance",
    "covariance",
    "Inference",
    "inference",
    "influence",
    "kinds",
    "leave_one_out",
    "leverage",
    "likelihood_ratio_test",
    "log_likelihood",
    "residuals",
    "Summary",
    "summary",
    "Test",
    "wald_test",
]

address.at_home(globals())
