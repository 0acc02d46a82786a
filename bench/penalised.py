"""Lasso and its relatives: paths, single fits and cross-validation beside the peers, with duality gaps."""

from bench.peers import compare
from bench.runner import harness


def work():
    return compare.work("penalised")


class _Family:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class LassoPath(_Family, compare._Gap):
    """50 penalties, warm-started, in one call; the worst gap of the path counts."""

    key = ("lasso_path",)
    params = compare.axes("lasso_path")


class LassoCV(_Family, compare._Gap):
    """100 penalties on 5 folds, and the fit of all rows at the best one, whose gap counts."""

    key = ("lasso_cv",)
    params = compare.axes("lasso_cv")


class Lasso(_Family, compare._Gap):
    key = ("lasso",)
    params = compare.axes("lasso")


class ElasticNet(_Family, compare._Gap):
    key = ("elastic_net",)
    params = compare.axes("elastic_net")


class NonNegative(_Family, compare._Gradient):
    """The certificate is the largest violation of the optimality conditions."""

    key = ("nnls",)
    params = compare.axes("nnls")


class GroupLasso(_Family, compare._Gap):
    key = ("group_lasso",)
    params = compare.axes("group_lasso")


class MultiTaskLasso(_Family, compare._Gap):
    key = ("multitask_lasso",)
    params = compare.axes("multitask_lasso")


class Ours(_Family, compare._Ours):
    params = compare.family_axes("penalised")


class Warm(compare._Warm):
    params = compare.family_axes("penalised")
