"""Generalised linear models beside the peers, with the gradients of their answers."""

from bench.peers import compare
from bench.runner import harness


def work():
    return compare.work("glm")


class _Family:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class Poisson(_Family, compare._Gradient):
    key = ("poisson",)
    params = compare.axes("poisson")


class Gamma(_Family, compare._Gradient):
    key = ("gamma",)
    params = compare.axes("gamma")


class Tweedie(_Family, compare._Gradient):
    key = ("tweedie",)
    params = compare.axes("tweedie")


class Ours(_Family, compare._Ours):
    params = compare.family_axes("glm")


class Warm(compare._Warm):
    params = compare.family_axes("glm")
