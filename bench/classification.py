"""Logistic, multinomial and ordinal regression beside the peers, with the gradients of their answers."""

from . import _compare, _harness


def work():
    return _compare.work("classification")


class _Family:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class Logistic(_Family, _compare._Gradient):
    key = ("logistic",)
    params = _compare.axes("logistic")


class LogisticCV(_Family, _compare._Gradient):
    """10 penalties on 5 folds, and the fit of all rows at the best one; every gradient counts."""

    key = ("logistic_cv",)
    params = _compare.axes("logistic_cv")


class Multinomial(_Family, _compare._Gradient):
    key = ("multinomial",)
    params = _compare.axes("multinomial")


class Ordinal(_Family, _compare._Gradient):
    key = ("ordinal",)
    params = _compare.axes("ordinal")


class Ours(_Family, _compare._Ours):
    params = _compare.family_axes("classification")


class Warm(_compare._Warm):
    params = _compare.family_axes("classification")
