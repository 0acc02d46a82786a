"""The problem of a fit: its model, settings and hyper-parameters, so that no verb needs them again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxinfra._core import checks, show
from jaxinfra._core.pytree import pytree, static
from jaxinfra._core.types import Fit

ROWS = ("sample_weight", "offset", "exposure")  # one value a row: other rows need other values
_OF_THE_RUN = {"X", "y", "params", "init", "tol", "max_iter", "key"}
_NUMBERS = (float, int, jax.Array, np.ndarray, np.generic, list, tuple)
_COUNTS = {"n_classes", "n_trials", "n_subsets", "subset_size"}  # whole numbers that are static


@pytree
class Problem:
    """The problem that a fit solved.

    model: the name of its module, such as "lasso"; static.
    hyper: the hyper-parameters by name (l1, tau, family, kernel, ...), leaves in the dtype of the fit, with a leading
      axis in a path or a batch.
    settings: (name, value) of the static arguments (fit_intercept, n_classes, ...), None for the model's choice.
    given: those of sample_weight, offset and exposure that the fit was given; static.
    """

    model: str = static()
    hyper: dict[str, Any]
    settings: tuple[tuple[str, Any], ...] = static()
    given: tuple[str, ...] = static()

    @classmethod
    def of(cls, model: ModuleType, *, given: Iterable[str] = (), **arguments: Any) -> Problem:
        """The problem of parameters from elsewhere, by the arguments of `model.fit`.

        Args:
          model: a module with the verbs.
          given: those of "sample_weight", "offset" and "exposure" that the parameters depend on.
          arguments: hyper-parameters and settings by name.

        Raises:
          TypeError for an argument that `fit` does not have.  ValueError for one of the rows or of the run (tol, ...).

        >>> import jax.numpy as jnp
        >>> import jaxinfra as ji
        >>> at = ji.Fit(ji.Linear(jnp.array([2.0]), jnp.array(0.0)), None, ji.Problem.of(ji.lasso, l1=0.5))
        >>> print(ji.objective(at, jnp.array([[1.0]]), jnp.array([2.0])))
        1.0
        """
        checks.arguments("Problem.of", model, arguments)
        if wrong := [name for name in arguments if name in ROWS or name in _OF_THE_RUN]:
            hint = f"; that there was one says given=[{wrong[0]!r}]" if wrong[0] in ROWS else ""
            raise ValueError(f"Problem.of: {wrong[0]} is no part of the problem{hint}")
        hyper, settings = _sorted(arguments, np.dtype(np.float64))
        return cls(model.__name__.rpartition(".")[2], hyper, settings, tuple(name for name in ROWS if name in given))

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name, as `fit` takes them, except those of the rows."""
        return {**dict(self.settings), **self.hyper}

    @property
    def module(self) -> ModuleType:
        """The module of the model."""
        return getattr(sys.modules["jaxinfra"], self.model)  # by name, so that pickles survive moves

    def __repr__(self) -> str:
        parts = [f"{name}={show.value(v)}" for name, v in self.arguments.items() if v is not None]
        rows = f" given {', '.join(self.given)}" if self.given else ""
        return f"{self.model}({', '.join(parts)}){rows}"


def _sorted(arguments: Mapping[str, Any], dtype: Any) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """Arguments as hyper-parameters and settings."""
    hyper: dict[str, Any] = {}
    settings: list[tuple[str, Any]] = []
    for name, value in arguments.items():
        if value is None or isinstance(value, bool | str):
            settings.append((name, value))
        elif isinstance(value, np.bool_) or name in _COUNTS:
            settings.append((name, value.item() if isinstance(value, np.generic) else value))
        elif name == "l1" and checks.is_zero(value):
            settings.append((name, 0.0))  # the number 0 leaves the L1 penalty out of the program
        elif isinstance(value, _NUMBERS):  # most are: `tree.map` takes longer than all the rest
            hyper[name] = _leaf(value, dtype)
        else:
            hyper[name] = jax.tree.map(lambda leaf: _leaf(leaf, dtype), value)
    return hyper, tuple(settings)


def _leaf(value: Any, dtype: Any) -> Any:
    if isinstance(value, float):
        return np.asarray(value, dtype)
    if isinstance(value, jax.Array):
        return value
    value = np.asarray(value)
    return value if value.ndim and value.dtype.kind == "i" else value.astype(dtype)


def _lanes(value: Any, m: int, there: bool) -> Any:
    """A hyper-parameter of all m fits of a path; there: whether its arrays, but for scalars, have the axis m."""

    def spread(leaf: Any) -> Any:
        return leaf if there and np.ndim(leaf) else jax.numpy.broadcast_to(leaf, (m, *np.shape(leaf)))

    return jax.tree.map(spread, value)


def recorder(
    model: str, names: Mapping[str, Any], path_axis: tuple[str, ...] | None
) -> Callable[[Fit, Mapping[str, Any]], Fit]:
    """The function (fit, keyword arguments) -> fit with its problem, for a verb with these names and defaults.

    The arguments that the model itself has settled (number of classes, link, threshold) come in as `fit.problem`.
    path_axis: the hyper-parameters along which a path goes, else None.
    """
    kept = {name: default for name, default in names.items() if name not in _OF_THE_RUN and name not in ROWS}
    rows = tuple(name for name in ROWS if name in names)

    def record(fit: Fit, given: Mapping[str, Any]) -> Fit:
        arguments = {name: given.get(name, default) for name, default in kept.items()}
        arguments.update(fit.problem or {})
        hyper, settings = _sorted(arguments, fit.params.coef.dtype)
        if path_axis is not None:
            m = fit.info.status.shape[0]
            hyper = {name: _lanes(value, m, name in path_axis) for name, value in hyper.items()}
        there = tuple(name for name in rows if given.get(name) is not None)
        return Fit(fit.params, fit.info, Problem(model, hyper, settings, there))

    return record


def asked(verb: str, fit: Any, rows: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    """The model of a fit and its arguments, except those of the rows; raises where one of these is missing."""
    if not isinstance(fit, Fit) or fit.problem is None:
        kind = "a Fit without its problem" if isinstance(fit, Fit) else type(fit).__name__
        raise TypeError(
            f"{verb}: it takes what the fit of a model returned, got {kind}; parameters from elsewhere become one by "
            "ji.Fit(params, None, ji.Problem.of(ji.ols, fit_intercept=False)), with their model and its arguments"
        )
    _complete(verb, fit.problem, rows)
    return fit.problem.module, {name: value for name, value in fit.problem.arguments.items() if value is not None}


def unpacked(
    verb: str, model: ModuleType | Fit, fixed: Mapping[str, Any] | None, sample_weight: Any
) -> tuple[ModuleType, dict[str, Any]]:
    """The module and the arguments for further fits: those of `fixed`, and of a Fit its own."""
    given = dict(fixed or {})
    if not isinstance(model, Fit):
        return model, given
    rows = {"sample_weight": sample_weight, "offset": given.get("offset"), "exposure": given.get("exposure")}
    module, known = asked(verb, model, rows)
    return module, {**known, **given}


def _complete(verb: str, problem: Problem, rows: Mapping[str, Any]) -> None:
    """Raise where an argument of the rows is missing that the fit was given."""
    for name in problem.given:
        if name in rows and rows[name] is None:
            raise ValueError(
                f"{verb}: the fit was given {name}, so {name} of these rows is needed too; to do without, pass "
                "fit.params and what else the verb takes"
            )


def filled(verb: str, names: Iterable[str], given: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """The keyword arguments of a verb of `names`: those given, and the others from the problem of a fit."""
    known = problem.arguments
    _complete(verb, problem, {name: given.get(name) for name in names})
    for name in names:
        if name not in given and known.get(name) is not None:
            given[name] = known[name]
    return given
