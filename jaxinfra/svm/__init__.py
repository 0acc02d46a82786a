"""Level 2: machines with a kernel, one a module, all with the verbs fit, decision, predict, objective, optimality."""

from jaxinfra.svm import kernel_ridge as kernel_ridge
from jaxinfra.svm import linear_svm as linear_svm
from jaxinfra.svm import nu_svc as nu_svc
from jaxinfra.svm import nu_svr as nu_svr
from jaxinfra.svm import one_class as one_class
from jaxinfra.svm import svc as svc
from jaxinfra.svm import svr as svr
