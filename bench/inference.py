"""Resampling and robust standard errors beside the peers."""

from . import _compare, _harness


def work():
    return _compare.work("inference")


class _Family:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class Bootstrap(_Family, _compare._Gradient):
    """Every fit counts, with the weights that it was given."""

    key = ("bootstrap",)
    params = _compare.axes("bootstrap")


class Sandwich(_Family, _compare._Error):
    key = ("sandwich",)
    params = _compare.axes("sandwich")


class Ours(_Family, _compare._Ours):
    params = _compare.family_axes("inference")


class Warm(_compare._Warm):
    params = _compare.family_axes("inference")
