"""Least squares: jaxinfra beside its peers on every problem, and its own warm times between commits."""

import numpy as np

from bench.peers import adapters, compare
from bench.runner import harness
from bench.suite import model_cases


def work():
    return compare.work("regression")


class _Regression:
    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 3600


class _Race(_Regression, compare._Race):
    track_lost_digits = harness.figure("lost_digits", "decimal digits")
    track_excess_objective = harness.figure("excess_objective", "of the null model")


class OLS(_Race):
    key = ("ols",)
    params = compare.axes("ols")


class Ridge(_Race):
    key = ("ridge",)
    params = compare.axes("ridge")


class RidgePath(_Race):
    """A whole path of penalties with the leave-one-out error of each."""

    key = ("ridge_path",)
    params = compare.axes("ridge_path")


class Ours(_Regression, compare._Ours):
    params = compare.family_axes("regression")


class Warm(compare._Warm):
    params = compare.family_axes("regression")


class Overhead(harness.Steady):
    """The public verb beside its bare compiled program, on a problem so small that the difference is the wrapper."""

    number = 200
    params = (["public", "compiled"], ["ols", "ridge"])
    param_names = ("call", "model")

    def _build(self, call, model):
        jax = harness.start_jax()
        task = compare.task(model, "linnerud", "float32")
        if call == "public":
            return adapters.ADAPTERS[model][compare.OURS].prepare(task)[0]
        arguments = jax.device_put((task.X, task.y, np.asarray(task.hyper, task.X.dtype)))
        program = jax.jit(model_cases.function(model)).lower(*arguments).compile()
        return lambda: harness.block(program(*arguments))

    def time_call(self, *params):
        self._call(*params)()
