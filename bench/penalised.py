"""Lasso and its relatives: paths, single fits and cross-validation beside the peers, with duality gaps."""

from . import _compare, _harness


def work():
    return _compare.work("penalised")


class _Family:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class LassoPath(_Family, _compare._Gap):
    """50 penalties, warm-started, in one call; the worst gap of the path counts."""

    key = ("lasso_path",)
    params = _compare.axes("lasso_path")


class LassoCV(_Family, _compare._Gap):
    """100 penalties on 5 folds, and the fit of all rows at the best one, whose gap counts."""

    key = ("lasso_cv",)
    params = _compare.axes("lasso_cv")


class Lasso(_Family, _compare._Gap):
    key = ("lasso",)
    params = _compare.axes("lasso")


class ElasticNet(_Family, _compare._Gap):
    key = ("elastic_net",)
    params = _compare.axes("elastic_net")


class NonNegative(_Family, _compare._Gradient):
    """The certificate is the largest violation of the optimality conditions."""

    key = ("nnls",)
    params = _compare.axes("nnls")


class GroupLasso(_Family, _compare._Gap):
    key = ("group_lasso",)
    params = _compare.axes("group_lasso")


class MultiTaskLasso(_Family, _compare._Gap):
    key = ("multitask_lasso",)
    params = _compare.axes("multitask_lasso")


class Ours(_Family, _compare._Ours):
    params = _compare.family_axes("penalised")


class Warm(_compare._Warm):
    params = _compare.family_axes("penalised")
