"""Least squares: jaxinfra beside its peers on every problem, and its own warm times between commits."""

import numpy as np

from . import _cases, _compare, _harness, _peers


def work():
    return _compare.work("regression")


class _Regression:
    def setup_cache(self):
        return _harness.gather(work())

    setup_cache.timeout = 3600


class _Race(_Regression, _compare._Race):
    track_lost_digits = _harness.figure("lost_digits", "decimal digits")
    track_excess_objective = _harness.figure("excess_objective", "of the null model")


class OLS(_Race):
    key = ("ols",)
    params = _compare.axes("ols")


class Ridge(_Race):
    key = ("ridge",)
    params = _compare.axes("ridge")


class RidgePath(_Race):
    """A whole path of penalties with the leave-one-out error of each."""

    key = ("ridge_path",)
    params = _compare.axes("ridge_path")


class Ours(_Regression, _compare._Ours):
    params = _compare.family_axes("regression")


class Warm(_compare._Warm):
    params = _compare.family_axes("regression")


class Overhead(_harness.Steady):
    """The public verb beside its bare compiled program, on a problem so small that the difference is the wrapper."""

    number = 200
    params = (["public", "compiled"], ["ols", "ridge"])
    param_names = ("call", "model")

    def _build(self, call, model):
        jax = _harness.start_jax()
        task = _compare.task(model, "linnerud", "float32")
        if call == "public":
            return _peers.ADAPTERS[model][_compare.OURS].prepare(task)[0]
        arguments = jax.device_put((task.X, task.y, np.asarray(task.penalty, task.X.dtype)))
        program = jax.jit(_cases.function(model)).lower(*arguments).compile()
        return lambda: _harness.block(program(*arguments))

    def time_call(self, *params):
        self._call(*params)()
