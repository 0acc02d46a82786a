"""The lasso and the elastic net from their arguments on: one engine with the penalties l1 and, for the latter, l2."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from jaxinfra._core import checks, rows
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra.linear import _input
from jaxinfra.linear._input import Given
from jaxinfra.solvers.sparse import elastic_net

_compiled = partial(jax.jit, static_argnames=("fit_intercept", "blocked"))


def _penalties(verb: str, given: Given, dtype: Any, penalties: dict[str, Any]) -> tuple[Any, Any]:
    """The checked penalties: l1, and l2 or None."""
    l1, *l2 = (checks.penalty(verb, name, value, given.X, given.y, dtype) for name, value in penalties.items())
    return l1, l2[0] if l2 else None


def fit(
    verb: str, X: Any, y: Any, penalties: dict[str, Any], sample_weight: Any, offset: Any, init: Linear | None,
    tol: Any, max_iter: Any, fit_intercept: Any,
) -> Fit:  # fmt: skip
    """One fit."""
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    return _fit(
        given, *_penalties(verb, given, dtype, penalties), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


@staged(static=("fit_intercept", "blocked"))
@rows.replicated
def _fit(
    given: Given, l1: jax.Array, l2: jax.Array | None, init: Linear | None, tol: jax.Array | None,
    max_iter: jax.Array, *, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    return elastic_net.fit(
        X, y, w, l1, l2, init, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter, rare=rare
    )


def path(
    verb: str, X: Any, y: Any, penalties: dict[str, Any], sample_weight: Any, offset: Any, init: Linear | None,
    tol: Any, max_iter: Any, fit_intercept: Any,
) -> Fit:  # fmt: skip
    """Fits for the penalties l1 and, for the elastic net, l2."""
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    checks.init(verb, init, given.X, given.y)
    l1, l2 = (*checks.penalty_path(verb, given.X, given.y, dtype, **penalties), None)[:2]
    return _path(
        given, l1, l2, init, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter),
        **_input.options(verb, given, fit_intercept),
    )  # fmt: skip


@staged(static=("fit_intercept", "blocked"))
@rows.replicated
def _path(
    given: Given, l1: jax.Array, l2: jax.Array | None, init: Linear | None, tol: jax.Array | None,
    max_iter: jax.Array, *, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    X, y, w, _ = _input.read(given)
    return elastic_net.path(
        X, y, w, l1, l2, init, fit_intercept=fit_intercept, blocked=blocked, tol=tol, max_iter=max_iter, rare=rare
    )


def l1_max(
    verb: str, X: Any, y: Any, penalty_weight: Any, sample_weight: Any, offset: Any, fit_intercept: Any
) -> jax.Array:
    """The smallest l1 at which all penalised coefficients are 0."""
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    u = penalty_weight
    u = None if u is None else checks.penalty(verb, "penalty_weight", u, given.X, given.y, dtype)
    return _l1_max(given, u, **_input.options(verb, given, fit_intercept))


@_compiled
@rows.replicated
def _l1_max(given: Given, penalty_weight: jax.Array | None, *, fit_intercept: bool, blocked: bool) -> jax.Array:
    X, y, w, _ = _input.read(given)
    return elastic_net.l1_max(X, y, w, penalty_weight, fit_intercept=fit_intercept, blocked=blocked)


def objective(
    verb: str, params: Linear, X: Any, y: Any, penalties: dict[str, Any], sample_weight: Any, offset: Any
) -> jax.Array:
    """The objective at any params."""
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    X, y, w, _ = _input.read(given)
    return elastic_net.objective(params, X, y, w, *_penalties(verb, given, dtype, penalties))


def optimality(
    verb: str, params: Linear, X: Any, y: Any, penalties: dict[str, Any], sample_weight: Any, offset: Any,
    fit_intercept: Any,
) -> Linear:  # fmt: skip
    """The subgradient of `objective` of least norm."""
    given, dtype = _input.check(verb, X, y, sample_weight, offset)
    X, y, w, _ = _input.read(given)
    l1, l2 = _penalties(verb, given, dtype, penalties)
    return elastic_net.subgradient(
        params, X, y, w, l1, l2, fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept)
    )
