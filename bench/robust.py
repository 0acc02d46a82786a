"""Robust and quantile regression beside the peers, with the certificates of their answers."""

from bench.peers import compare
from bench.runner import harness


def work():
    return compare.work("robust")


class _Family:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class Huber(_Family, compare._Gradient):
    key = ("huber",)
    params = compare.axes("huber")


class MEstimator(_Family, compare._Gradient):
    key = ("m_estimator",)
    params = compare.axes("m_estimator")


class Quantile(_Family, compare._Gap):
    key = ("quantile",)
    params = compare.axes("quantile")


class Quantiles(_Family, compare._Gap):
    """Nine quantiles in one call; the worst gap counts."""

    key = ("quantiles",)
    params = compare.axes("quantiles")


class TheilSen(_Family, compare._Error):
    key = ("theil_sen",)
    params = compare.axes("theil_sen")


class RANSAC(_Family, compare._Gap):
    """The gap is the share of good rows that the consensus misses."""

    key = ("ransac",)
    params = compare.axes("ransac")


class Ours(_Family, compare._Ours):
    params = compare.family_axes("robust")


class Warm(compare._Warm):
    params = compare.family_axes("robust")
