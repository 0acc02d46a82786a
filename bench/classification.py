"""Logistic, multinomial and ordinal regression beside the peers, with the gradients of their answers."""

from bench.peers import compare
from bench.runner import harness


def work():
    return compare.work("classification")


class _Family:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class Logistic(_Family, compare._Gradient):
    key = ("logistic",)
    params = compare.axes("logistic")


class LogisticCV(_Family, compare._Gradient):
    """10 penalties on 5 folds, and the fit of all rows at the best one; every gradient counts."""

    key = ("logistic_cv",)
    params = compare.axes("logistic_cv")


class Multinomial(_Family, compare._Gradient):
    key = ("multinomial",)
    params = compare.axes("multinomial")


class Ordinal(_Family, compare._Gradient):
    key = ("ordinal",)
    params = compare.axes("ordinal")


class Ours(_Family, compare._Ours):
    params = compare.family_axes("classification")


class Warm(compare._Warm):
    params = compare.family_axes("classification")
