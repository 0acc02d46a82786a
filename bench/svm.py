"""Support vector machines beside the peers, with libsvm's rule computed anew from their answers."""

from bench.peers import compare
from bench.runner import harness


def work():
    return compare.work("svm")


class _Family:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class SVC(_Family, compare._Violation):
    key = ("svc",)
    params = compare.axes("svc")


class SVCHard(_Family, compare._Violation):
    """Large C and a tight tolerance, where pairwise steps are slow."""

    key = ("svc_hard",)
    params = compare.axes("svc_hard")


class SVCPairs(_Family, compare._Violation):
    key = ("svc_pairs",)
    params = compare.axes("svc_pairs")


class SVCGrid(_Family, compare._Violation):
    """Every cell on every fold and the fit of all rows at the best one; every violation counts where it is shown."""

    key = ("svc_grid",)
    params = compare.axes("svc_grid")


class SVCPredict(_Family, compare._Error):
    key = ("svc_predict",)
    params = compare.axes("svc_predict")


class NuSVC(_Family, compare._Violation):
    key = ("nu_svc",)
    params = compare.axes("nu_svc")


class SVR(_Family, compare._Violation):
    key = ("svr",)
    params = compare.axes("svr")


class NuSVR(_Family, compare._Violation):
    key = ("nu_svr",)
    params = compare.axes("nu_svr")


class OneClass(_Family, compare._Violation):
    key = ("one_class",)
    params = compare.axes("one_class")


class LinearSVM(_Family, compare._Gap):
    key = ("linear_svm",)
    params = compare.axes("linear_svm")


class LinearSVMSquared(_Family, compare._Gradient):
    key = ("linear_svm_squared",)
    params = compare.axes("linear_svm_squared")


class KernelRidge(_Family, compare._Error):
    key = ("kernel_ridge",)
    params = compare.axes("kernel_ridge")


class Ours(_Family, compare._Ours):
    params = compare.family_axes("svm")


class Warm(compare._Warm):
    params = compare.family_axes("svm")
