"""Robust and quantile regression beside the peers, with what their answers are worth computed anew."""

from . import _compare, _harness


def work():
    return _compare.work("robust")


class _Family:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class Huber(_Family, _compare._Gradient):
    key = ("huber",)
    params = _compare.axes("huber")


class MEstimator(_Family, _compare._Gradient):
    key = ("m_estimator",)
    params = _compare.axes("m_estimator")


class Quantile(_Family, _compare._Gap):
    key = ("quantile",)
    params = _compare.axes("quantile")


class Quantiles(_Family, _compare._Gap):
    """Nine quantiles in one call; the worst gap counts."""

    key = ("quantiles",)
    params = _compare.axes("quantiles")


class TheilSen(_Family, _compare._Error):
    key = ("theil_sen",)
    params = _compare.axes("theil_sen")


class RANSAC(_Family, _compare._Gap):
    """The gap is the share of good rows that the consensus lacks."""

    key = ("ransac",)
    params = _compare.axes("ransac")


class Ours(_Family, _compare._Ours):
    params = _compare.family_axes("robust")


class Warm(_compare._Warm):
    params = _compare.family_axes("robust")
