"""Generalised linear models beside the peers, with the gradients of their answers."""

from . import _compare, _harness


def work():
    return _compare.work("glm")


class _Family:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class Poisson(_Family, _compare._Gradient):
    key = ("poisson",)
    params = _compare.axes("poisson")


class Gamma(_Family, _compare._Gradient):
    key = ("gamma",)
    params = _compare.axes("gamma")


class Tweedie(_Family, _compare._Gradient):
    key = ("tweedie",)
    params = _compare.axes("tweedie")


class Ours(_Family, _compare._Ours):
    params = _compare.family_axes("glm")


class Warm(_compare._Warm):
    params = _compare.family_axes("glm")
