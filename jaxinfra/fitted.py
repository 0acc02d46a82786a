"""The verbs of any fit, which carries its model and arguments, so that neither has to be given again."""

from __future__ import annotations

from typing import Any

import jax
from numpy.typing import ArrayLike

from jaxinfra._core import problem
from jaxinfra._core.types import Fit


def _verb(name: str, fit: Any) -> Any:
    """The verb of the fit's model."""
    module, _ = problem.asked(name, fit, {})
    verb = getattr(module, name, None)
    if verb is None:
        also = "; calibrate makes probabilities of decisions" if name == "predict_proba" else ""
        raise TypeError(f"{name}: {fit.problem.model} has no {name}{also}")
    return verb


def decision(fit: Fit, X: ArrayLike, **rows: ArrayLike | None) -> jax.Array:
    """The `decision` of the fit's model: the linear predictor, or the margin of a machine.

    Args:
      fit: what the `fit` of a model returned.
      X: (m, p), traced.
      rows: the offset of these rows, needed where the fit was given one.

    Raises:
      TypeError for a fit without its problem, and an argument that the model's verb does not have.  ValueError where an
      argument of the rows is missing that the fit was given, or X does not match the parameters.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> print(ji.decision(ji.ols.fit(X, y), jnp.array([[4.0]])).round(4))
    [8.]
    """
    return _verb("decision", fit)(fit, X, **rows)


def predict(fit: Fit, X: ArrayLike, **rows: ArrayLike | None) -> jax.Array:
    """The `predict` of the fit's model: the mean response, or the class.

    Args:
      fit, X: as in `decision`.
      rows: the offset and exposure of these rows, needed where the fit was given them; sort for quantiles.

    Raises:
      TypeError and ValueError as `decision`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y, days = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1, 3, 12, 20]), jnp.array([1.0, 1.0, 2.0, 2.0])
    >>> fit = ji.glm.fit(X, y, family=ji.families.Poisson(), exposure=days)
    >>> print(ji.predict(fit, jnp.array([[1.0]]), exposure=jnp.array([3.0])).round(2))
    [24.]
    """
    return _verb("predict", fit)(fit, X, **rows)


def predict_proba(fit: Fit, X: ArrayLike, **rows: ArrayLike | None) -> jax.Array:
    """The `predict_proba` of the fit's model: the probability of each class, (m, K).

    Args:
      fit, X, rows: as in `decision`.

    Raises:
      TypeError for a model without probabilities (`calibrate` learns them); the others as `decision`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> fit = ji.logistic.fit(jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([0, 1, 1, 0]), l2=0.1)
    >>> print(ji.predict_proba(fit, jnp.array([[5.0]])).round(2))
    [[0.5 0.5]]
    """
    return _verb("predict_proba", fit)(fit, X, **rows)


def objective(fit: Fit, X: ArrayLike, *y: ArrayLike, **rows: ArrayLike | None) -> jax.Array:
    """The `objective` of the fit's model at its parameters, on any rows: on its own rows what the fit minimised.

    Args:
      fit, X: as in `decision`.
      y: the responses; `one_class` has none.
      rows: the sample_weight, offset and exposure of these rows, needed where the fit was given them; the key of
        `theil_sen`.

    Raises:
      TypeError and ValueError as `decision`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> fit = ji.lasso.fit(X, y, l1=1 / 3)
    >>> print(ji.objective(fit, X, y).round(4), fit.info.objective.round(4))
    0.5833 0.5833
    """
    return _verb("objective", fit)(fit, X, *y, **rows)


def optimality(fit: Fit, X: ArrayLike, *y: ArrayLike, **rows: ArrayLike | None) -> Any:
    """The `optimality` of the fit's model at its parameters: a residual that is zero at a solution.

    Args:
      fit, X, y, rows: as in `objective`.

    Raises:
      TypeError and ValueError as `decision`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2.0, 4.0, 6.0])
    >>> abs(ji.optimality(ji.lasso.fit(X, y, l1=1 / 3), X, y).coef).round(5).tolist()
    [0.0]
    """
    return _verb("optimality", fit)(fit, X, *y, **rows)
