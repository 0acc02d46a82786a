"""The shape of every result: `Fit`, `Info`, `Status`, and the host-side `check`.

Compiled code never raises.  It returns how it ended as data, one `Status` for each lane of a batch, and `check` turns
that into an exception on the host.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxinfra._core import show

T = TypeVar("T")


class Status(IntEnum):
    """How a fit ended; `Status.X.advice` is one sentence on what to do."""

    CONVERGED = 0
    MAX_ITER = 1
    STALLED = 2
    NONFINITE = 3
    SINGULAR = 4
    SEPARABLE = 5
    DOMAIN = 6
    INFEASIBLE = 7
    ONE_CLASS = 8
    ZERO_SCALE = 9

    @property
    def advice(self) -> str:
        """One sentence of advice."""
        return _ADVICE[self]

    @property
    def ok(self) -> bool:
        """True for CONVERGED only."""
        return self is Status.CONVERGED

    @property
    def usable(self) -> bool:
        """True where the parameters are numbers: a solution, the best point so far, or the only class."""
        return self in (Status.CONVERGED, Status.MAX_ITER, Status.STALLED, Status.ONE_CLASS)


_ADVICE = {
    Status.CONVERGED: "Nothing to do: the optimality conditions hold to the tolerance.",
    Status.MAX_ITER: "Raise max_iter, loosen tol, or scale the columns of X; the parameters are the best so far.",
    Status.STALLED: "Rounding stopped the progress: loosen tol, scale the columns of X, or compute in float64 "
    '(jax.config.update("jax_enable_x64", True)).',
    Status.NONFINITE: "The data, weights or hyper-parameters hold NaN or inf (look at them with jnp.isfinite), or the "
    "squares of a column, y or weights leave the range of the dtype: scale them; the parameters are NaN.",
    Status.SINGULAR: "The problem has no solution that the data determine (no rows of positive weight, a negative "
    "penalty, tau outside 0..1): check sample_weight and the hyper-parameters; the parameters are NaN.",
    Status.SEPARABLE: "The likelihood has no finite maximum (the classes can be separated, or one of them is absent): "
    "add a penalty such as l2, drop the columns that separate, or merge classes; the parameters are NaN.",
    Status.DOMAIN: "y is outside what the model allows (a label outside 0..K-1, a negative count, y <= 0 for gamma): "
    "look at its smallest and largest value; the parameters are NaN.",
    Status.INFEASIBLE: "No point meets the constraints (C not positive, nu outside 0..1, above twice the share of "
    "the smaller class, or so small that no margin exists, a negative weight): check the hyper-parameters and weights; "
    "the parameters are NaN.",
    Status.ONE_CLASS: "The rows of positive weight are all of one class, so the machine decides for it everywhere: "
    "check y and sample_weight.",
    Status.ZERO_SCALE: "The scale of the residuals is 0 (half of the rows or more are fitted exactly, or the loss is "
    "cut off too early to leave one): give a scale, a larger constant, or use quantile; the parameters are NaN.",
}
_NAMES = {int(status): status.name for status in Status}


def short_repr(kind: type[T]) -> type[T]:
    """Make a NamedTuple print in a few lines, whatever it holds: the status of its fits, then its fields."""

    def __repr__(self: Any) -> str:
        return f"{kind.__name__}({show.joined(_fields(self))})"

    kind.__repr__ = __repr__  # type: ignore[method-assign, assignment]
    return kind


def _fields(result: Any) -> list[str]:
    parts = show.fields(result)
    if "status" not in result._fields:
        return parts
    place = result._fields.index("status")
    return [_ended(result.status), *parts[:place], *parts[place + 1 :]]


def _ended(status: Any) -> str:
    """The name of a status, or the number of lanes with each; dtype and shape where it is traced."""
    if not show.readable(status) or not np.size(status):
        return f"status {show.value(status)}"
    codes, counts = np.unique(np.asarray(status), return_counts=True)
    names = [_NAMES.get(code, str(code)) for code in codes.tolist()]
    if np.ndim(status) == 0:
        return names[0]
    lanes = ", ".join(f"{n} {name}" for n, name in zip(counts, names, strict=True))
    return f"lanes of shape {np.shape(status)}: {lanes}"


@short_repr
class Info(NamedTuple):
    """How a fit ended and how good it is; every field is an array, so it passes through `jit` and `vmap`.

    status: the int32 code of a `Status`.
    n_iter: the number of iterations.
    objective: the value of the model's objective.
    optimality: the scale-free residual of its optimality conditions (each model's docstring defines it).
    """

    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    optimality: jax.Array


@short_repr
class RankInfo(NamedTuple):
    """`Info` of the least-squares models: adds the numerical `rank` and the `condition` number of the solved system."""

    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    optimality: jax.Array
    rank: jax.Array
    condition: jax.Array


@short_repr
class GapInfo(NamedTuple):
    """`Info` of the models with an L1 penalty: adds the duality `gap`, an upper bound of objective minus minimum."""

    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    optimality: jax.Array
    gap: jax.Array


@short_repr
class SupportInfo(NamedTuple):
    """`Info` of the support vector machines: adds `n_support`, the number of rows with a coefficient that is not 0."""

    status: jax.Array
    n_iter: jax.Array
    objective: jax.Array
    optimality: jax.Array
    n_support: jax.Array


class Fit(NamedTuple):
    """The result of every `fit`: `params`, the model's own NamedTuple, `info`, and the `problem` that was solved.

    The problem holds the model's name, settings and hyper-parameters, so that `ji.predict(fit, X)`,
    `ji.objective(fit, X, y)` and `ji.infer` need none of them again.
    """

    params: Any
    info: Any
    problem: Any = None

    def __repr__(self) -> str:
        info = _fields(self.info) if hasattr(self.info, "_fields") else [show.value(self.info)]
        known = show.value(self.problem) if hasattr(self.problem, "dtype") else repr(self.problem)
        problem = "" if self.problem is None else f",\n    problem={known}"
        return f"Fit(params={show.value(self.params)},\n    info={show.joined(info, '         ')}{problem})"


@short_repr
class Linear(NamedTuple):
    """Parameters of a linear model: `coef` (p,) or (p, k), `intercept` () or (k,)."""

    coef: jax.Array
    intercept: jax.Array


@short_repr
class Scaled(NamedTuple):
    """Parameters of a robust linear model: `coef` (p,), `intercept` (), `scale` () of the residuals in units of y."""

    coef: jax.Array
    intercept: jax.Array
    scale: jax.Array


@short_repr
class Thresholds(NamedTuple):
    """Parameters of a model of K ordered classes.

    coef: (p,).
    thresholds: (K - 1,), ascending.
    link: between a threshold less the linear predictor and a cumulative probability.
    """

    coef: jax.Array
    thresholds: jax.Array
    link: Any


class FitError(ArithmeticError):
    """Raised by `check` for a fit that did not converge."""


def check(fit: Fit, **data: Any) -> Fit:
    """Raise `FitError` on the host unless every lane of `fit` converged; return `fit` unchanged.

    Args:
      fit: the result of any `fit`, batched or not, with concrete values (inside `jit` read `fit.info.status` instead).
      data: the data of the fit by name, such as X=X, y=y: the error then gives row and column of the first value that
        is not finite.

    Raises:
      FitError, which names the first bad lane, its Status with advice, and the number of bad lanes.  TypeError for
      anything but a Fit, and for one that is traced.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> fit = ji.check(ji.ols.fit(jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])))
    >>> bad = ji.ols.fit(jnp.array([[1.0], [jnp.nan], [3.0]]), jnp.array([2.0, 4.0, 6.0]))
    >>> try:
    ...     ji.check(bad)
    ... except ji.FitError as error:
    ...     print(str(error)[:13])
    fit NONFINITE
    """
    if not isinstance(fit, Fit):
        raise TypeError(f"check: it takes what a fit returned, params and info, got {type(fit).__name__}")
    status = fit.info.status
    if isinstance(status, jax.core.Tracer):
        raise TypeError("check: the fit is being traced; inside jit or vmap read fit.info.status instead")
    codes = np.asarray(status)
    bad = np.argwhere(codes != Status.CONVERGED)
    if bad.size == 0 and codes.ndim:
        return fit
    if codes.ndim == 0:
        if codes == Status.CONVERGED:
            return fit
        where, code = "fit", Status(int(codes))
    else:
        lane = tuple(int(i) for i in bad[0])
        where = f"lane {lane[0] if len(lane) == 1 else lane} ({len(bad)} of {codes.size} lanes are bad)"
        code = Status(int(codes[lane]))
    numbers = ", ".join(
        f"{k}={np.asarray(v)[tuple(bad[0])] if codes.ndim else np.asarray(v)}"
        for k, v in zip(fit.info._fields[1:], fit.info[1:], strict=True)
    )
    place = _not_finite(data) if code is Status.NONFINITE else ""
    raise FitError(f"{where} {code.name}: {place or code.advice} ({numbers})")


def _not_finite(data: dict[str, Any]) -> str:
    """The place of the first value that is not finite, or an empty string."""
    for name, value in data.items():
        values = np.asarray(value)
        if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            row = f"row {at[0]}" + (f", column {at[1]}" if len(at) > 1 else "")
            return f"{name} holds {values[at]} in {row}"
    return ""
