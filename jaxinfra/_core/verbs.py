"""The call of a public verb: a `Fit` may replace its params, and errors give this package's name of an argument."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from jaxinfra._core import problem
from jaxinfra._core.types import Fit

P = ParamSpec("P")
R = TypeVar("R")

_W = "W = sum(sample_weight), or the number of rows"
_KERNEL_MODELS = "svc nu_svc svr nu_svr one_class kernel_ridge"
_UNNEEDED = "nothing here needs it"
# Arguments of scikit-learn, statsmodels, glmnet, libsvm and SciPy in the terms of this package:
# {argument: {models, "" for all: text}}.
_FOREIGN: dict[str, dict[str, str]] = {
    "alpha": {
        "ridge huber kernel_ridge": f"l2 = alpha / W, where {_W}",
        "lasso multitask_lasso group_lasso quantile": "l1 = alpha",
        "elastic_net": "l1 = alpha * l1_ratio, l2 = alpha * (1 - l1_ratio)",
        "glm": "l2 = alpha",
        "ols": "a penalty, which ridge, lasso and elastic_net have",
    },
    "l1_ratio": {
        "elastic_net": "l1 = alpha * l1_ratio, l2 = alpha * (1 - l1_ratio)",
        "logistic multinomial": f"l1 = l1_ratio / (C * W), l2 = (1 - l1_ratio) / (C * W), where {_W}",
    },
    "C": {"logistic multinomial": f"l2 = 1 / (C * W), where {_W}"},
    "penalty": {"logistic multinomial glm": "l1 and l2, both 0 unless given", "linear_svm": "always the L2 penalty"},
    "gamma": {_KERNEL_MODELS: "kernel=ji.kernels.RBF(gamma)"},
    "degree": {_KERNEL_MODELS: "kernel=ji.kernels.Polynomial(degree, gamma, coef0)"},
    "coef0": {_KERNEL_MODELS: "kernel=ji.kernels.Polynomial(degree, gamma, coef0), or Sigmoid(gamma, coef0)"},
    "probability": {"svc nu_svc linear_svm": "ji.calibrate.fit and ji.calibrate.predict_proba"},
    "weights": {"group_lasso": "group_weight, or sample_weight of the rows", "": "sample_weight"},
    "freq_weights": {"": "sample_weight"},
    "weight": {"": "sample_weight"},
    "epsilon": {"huber": "delta = epsilon"},
    "quantile": {"quantile": "tau"},
    "q": {"quantile": "tau"},
    "positive": {"": "ji.nnls.fit, least squares with coefficients of at least 0"},
    "residual_threshold": {"ransac": "threshold"},
    "max_trials": {"ransac": "n_trials"},
    "stop_probability": {"ransac": "confidence"},
    "min_samples": {"ransac": "subset_size"},
    "n_subsamples": {"theil_sen": "subset_size"},
    "max_subpopulation": {"theil_sen": "n_subsets"},
    "M": {"m_estimator": "norm, one of ji.norms"},
    "scale_est": {"m_estimator": "scale"},
    "distr": {"ordinal": "link, ji.links.Logit() or ji.links.Probit()"},
    "intercept": {"": "fit_intercept, or init.intercept"},
    "maxiter": {"": "max_iter"},
    "rtol": {"": "tol"},
    "eps": {"": "tol"},
    "warm_start": {"": "init, the params of an earlier fit"},
    "start_params": {"": "init, the params of an earlier fit"},
    "random_state": {"theil_sen ransac": "key = jax.random.key(seed)", "": _UNNEEDED},
    "seed": {"theil_sen ransac": "key = jax.random.key(seed)", "": _UNNEEDED},
    "standardize": {"": "columns of X that are scaled before: X / X.std(0)"},
    "normalize": {"": "columns of X that are scaled before: X / X.std(0)"},
    **{name: {"": _UNNEEDED} for name in ("solver", "n_jobs", "verbose", "copy_X", "cache_size", "shrinking", "dual")},
}


def public(fn: Callable[P, R], *, path_axis: tuple[str, ...] = ("l1", "l2", "C")) -> Callable[P, R]:
    """The verb `fn` of a model.

    A `Fit` in place of `params` also supplies the arguments of its problem; as `init` it supplies its params.  Results
    of `fit` and `path` carry their problem; path_axis: the hyper-parameters along which a path goes.
    """
    verb = _name(fn)
    known = inspect.signature(fn).parameters
    named = {key: p.default for key, p in known.items() if p.kind is p.KEYWORD_ONLY}
    of_params = next(iter(known), None) == "params"
    record = None
    if fn.__name__ in ("fit", "path") and "model" not in known:
        record = problem.recorder(verb.partition(".")[0], named, path_axis if fn.__name__ == "path" else None)

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> R:
        fit = (args[0] if args else kwargs.get("params")) if of_params else None
        if isinstance(fit, Fit):
            if args:
                args = (fit.params, *args[1:])
            else:
                kwargs["params"] = fit.params
            if fit.problem is not None and fit.problem.model == verb.partition(".")[0]:
                kwargs = problem.filled(verb, named, kwargs, fit.problem)
        if isinstance(kwargs.get("init"), Fit):
            kwargs["init"] = kwargs["init"].params
        if kwargs.get("init") is not None and not hasattr(kwargs["init"], "coef"):
            given = type(kwargs["init"]).__name__
            raise TypeError(f"{verb}: init must be the params of an earlier fit, got {given}")
        try:
            result = fn(*args, **kwargs)
            return record(result, kwargs) if record is not None and isinstance(result, Fit) else result  # type: ignore[return-value]
        except TypeError:
            wrong = _wrong(fn, args, kwargs)
            if wrong is None:
                raise
        except AttributeError as error:  # of params or an init of another model
            place = "params" if of_params else "init"
            passed: Any = args[0] if of_params and args else kwargs.get(place)
            theirs = error.name is not None and type(error.obj) is type(passed) and (of_params or passed is not None)
            if not theirs or hasattr(passed, str(error.name)):
                raise
            name, kind = verb.partition(".")[0], type(passed).__name__
            wrong = f"{verb}: {place} must be the params of a fit of {name}, got {kind}, which has no {error.name}"
        raise TypeError(wrong)

    return call  # type: ignore[return-value]


def _name(fn: Callable[..., Any]) -> str:
    return f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"


def _wrong(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The fault in the arguments of a call, or None."""
    known = inspect.signature(fn).parameters
    name = _name(fn)
    for key in kwargs:
        if key not in known:
            meaning = _meaning(name.partition(".")[0], key, list(known))
            return f"{name} has no argument {key!r}{meaning}; it has {', '.join(known)}"
    place = [key for key, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = [key for key in known if key not in place]
    if len(args) > len(place):
        others = f", and {', '.join(rest)} by name" if rest else ""
        return f"{name} takes {', '.join(place)} by position{others}, got {len(args)} by position"
    there = {*place[: len(args)], *kwargs}
    if missing := [key for key, p in known.items() if p.default is p.empty and key not in there]:
        return f"{name} needs {' and '.join(missing)}; it has {', '.join(known)}"
    if twice := [key for key in place[: len(args)] if key in kwargs]:
        return f"{name} got {twice[0]} twice, by position and by name"
    return None


def _meaning(model: str, key: str, known: list[str]) -> str:
    """The equivalent in this package of an argument of other libraries."""
    for models, text in _FOREIGN.get(key, {}).items():
        if model in models.split() or not models:
            return f": {text}" if text == _UNNEEDED else f": that is {text}"
    near = difflib.get_close_matches(key, known, 1)
    return f": {near[0]!r}?" if near else ""
