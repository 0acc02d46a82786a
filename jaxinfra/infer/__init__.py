r"""Inference from fitted models: errors, tests, intervals, residuals, influence.

covariance             of the parameters: from the model, HC0 to HC3, cluster, H1 to H3 of robust models
inference              standard errors, z and t tests, confidence intervals
wald_test, likelihood_ratio_test
log_likelihood, aic, bic
residuals, leverage, cooks_distance, leave_one_out, influence
summary                all of it as a table
"""

from jaxinfra.infer.covariance import Covariance as Covariance
from jaxinfra.infer.covariance import covariance as covariance
from jaxinfra.infer.covariance import kinds as kinds
from jaxinfra.infer.diagnostics import cooks_distance as cooks_distance
from jaxinfra.infer.diagnostics import influence as influence
from jaxinfra.infer.diagnostics import leave_one_out as leave_one_out
from jaxinfra.infer.diagnostics import leverage as leverage
from jaxinfra.infer.diagnostics import residuals as residuals
from jaxinfra.infer.inference import Inference as Inference
from jaxinfra.infer.inference import Test as Test
from jaxinfra.infer.inference import inference as inference
from jaxinfra.infer.inference import likelihood_ratio_test as likelihood_ratio_test
from jaxinfra.infer.inference import wald_test as wald_test
from jaxinfra.infer.likelihood import aic as aic
from jaxinfra.infer.likelihood import bic as bic
from jaxinfra.infer.likelihood import log_likelihood as log_likelihood
from jaxinfra.infer.summary import Summary as Summary
from jaxinfra.infer.summary import summary as summary
