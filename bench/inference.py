"""Resampling and robust standard errors beside the peers."""

from bench.peers import compare
from bench.runner import harness


def work():
    return compare.work("inference")


class _Family:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class Bootstrap(_Family, compare._Gradient):
    """Every fit counts, with the weights that it was given."""

    key = ("bootstrap",)
    params = compare.axes("bootstrap")


class Sandwich(_Family, compare._Error):
    key = ("sandwich",)
    params = compare.axes("sandwich")


class Ours(_Family, compare._Ours):
    params = compare.family_axes("inference")


class Warm(compare._Warm):
    params = compare.family_axes("inference")
