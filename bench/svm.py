"""Support vector machines beside the peers, with libsvm's rule computed anew from their answers."""

from . import _compare, _harness


def work():
    return _compare.work("svm")


class _Family:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class SVC(_Family, _compare._Violation):
    key = ("svc",)
    params = _compare.axes("svc")


class SVCHard(_Family, _compare._Violation):
    """Large C and a tight tolerance, where pairwise steps are slow."""

    key = ("svc_hard",)
    params = _compare.axes("svc_hard")


class SVCPairs(_Family, _compare._Violation):
    key = ("svc_pairs",)
    params = _compare.axes("svc_pairs")


class SVCGrid(_Family, _compare._Violation):
    """Every cell on every fold and the fit of all rows at the best one; every violation counts where it is shown."""

    key = ("svc_grid",)
    params = _compare.axes("svc_grid")


class SVCPredict(_Family, _compare._Error):
    key = ("svc_predict",)
    params = _compare.axes("svc_predict")


class NuSVC(_Family, _compare._Violation):
    key = ("nu_svc",)
    params = _compare.axes("nu_svc")


class SVR(_Family, _compare._Violation):
    key = ("svr",)
    params = _compare.axes("svr")


class NuSVR(_Family, _compare._Violation):
    key = ("nu_svr",)
    params = _compare.axes("nu_svr")


class OneClass(_Family, _compare._Violation):
    key = ("one_class",)
    params = _compare.axes("one_class")


class LinearSVM(_Family, _compare._Gap):
    key = ("linear_svm",)
    params = _compare.axes("linear_svm")


class LinearSVMSquared(_Family, _compare._Gradient):
    key = ("linear_svm_squared",)
    params = _compare.axes("linear_svm_squared")


class KernelRidge(_Family, _compare._Error):
    key = ("kernel_ridge",)
    params = _compare.axes("kernel_ridge")


class Ours(_Family, _compare._Ours):
    params = _compare.family_axes("svm")


class Warm(_compare._Warm):
    params = _compare.family_axes("svm")
