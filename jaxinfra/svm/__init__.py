"""Level 4: machines with a kernel, one a module, all with the verbs fit, decision, predict, objective, optimality."""

from jaxinfra.svm import kernel_ridge, linear_svm, nu_svc, nu_svr, one_class, svc, svr

__all__ = ["kernel_ridge", "linear_svm", "nu_svc", "nu_svr", "one_class", "svc", "svr"]
