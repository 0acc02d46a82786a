r"""Choosing hyper-parameters: folds, grids and paths in one compiled call, and gradients of a cross-validated loss.

Folds are weights: a row of weight 0 is absent.  So all folds share one X, and a whole cross-validation is `vmap` over
weights and hyper-parameters of the model's own `fit` or `path`, for every model of the library.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import checks
from jaxinfra._core.types import Status, short_repr

_PENALTIES = ("l1", "l2")


@short_repr
class CrossValidation(NamedTuple):
    """Losses of m candidates on F folds, and what to take from them.

    loss (m, F): weighted mean loss on the rows left out, NaN where the fit did not converge; mean and se (m,): over the
    folds, with the standard error of the mean; best (): the candidate of smallest mean; best_1se (): the first
    candidate in the order of the grid whose mean is within one standard error of the smallest; status (m, F): of the
    fits.
    """

    loss: jax.Array
    mean: jax.Array
    se: jax.Array
    best: jax.Array
    best_1se: jax.Array
    status: jax.Array


def penalties(top: Any, m: int = 100, *, ratio: float = 1e-3) -> jax.Array:
    """m penalties in decreasing geometric steps from `top`, such as a model's `l1_max`, to top * ratio.

    top: (), traced.  m and ratio: static.

    >>> import jaxinfra as ji
    >>> print(ji.select.penalties(4.0, 3, ratio=1 / 4))
    [4. 2. 1.]
    """
    if m < 1 or not 0 < ratio <= 1:
        raise ValueError(f"select.penalties: m must be at least 1 and 0 < ratio <= 1, got m = {m}, ratio = {ratio}")
    top = jnp.asarray(top, checks.working_dtype(jnp.asarray(top)))
    return top * jnp.asarray(np.geomspace(1, ratio, m), top.dtype)


def product(axes: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The grid of all combinations: {name: (m_i,)} to {name: (m_1 m_2 ...,)}, the last name varying fastest.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> grid = ji.select.product({"l1": jnp.array([2.0, 1.0]), "l2": jnp.array([0.5, 0.0])})
    >>> print(grid["l1"], grid["l2"])
    [2. 2. 1. 1.] [0.5 0.  0.5 0. ]
    """
    values = [jnp.asarray(checks.array("select.product", name, v)) for name, v in axes.items()]
    if any(v.ndim != 1 for v in values):
        shapes = ", ".join(f"{name} {v.shape}" for name, v in zip(axes, values, strict=True))
        raise ValueError(f"select.product: every axis must have shape (m,), got {shapes}")
    return dict(zip(axes, (v.ravel() for v in jnp.meshgrid(*values, indexing="ij")), strict=True))


def kfold(n: int, n_folds: int = 5, *, key: Any = None, stratify: Any = None) -> jax.Array:
    """Training weights of each fold: (n_folds, n), 1 where the row is fitted, 0 where it is left out.

    Args:
      n, n_folds: rows and folds, static; sizes differ by 1 at most.
      key: a key of `jax.random` to shuffle the rows; None takes them in order, a run of rows a fold (use it for data
        without order only).
      stratify: (n,) labels, traced; each fold then has its share of every class, within a row.  None: no classes.

    >>> import jaxinfra as ji
    >>> print(ji.select.kfold(5, 2))
    [[0. 0. 0. 1. 1.]
     [1. 1. 1. 0. 0.]]
    """
    if not 2 <= n_folds <= n:
        raise ValueError(f"select.kfold: n_folds must be from 2 to n = {n}, got {n_folds}")
    order = jnp.arange(n) if key is None else jax.random.permutation(key, n)
    if stratify is None:
        fold = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32) * n_folds // n)
    else:
        stratify = checks.array("select.kfold", "stratify", stratify)
        if stratify.shape != (n,):
            raise ValueError(f"select.kfold: stratify must have shape ({n},), got {stratify.shape}")
        if isinstance(stratify, np.ndarray):
            classes, counts = np.unique(stratify, return_counts=True)
            if counts.min() < 2:
                rare = classes[counts.argmin()]
                raise ValueError(
                    f"select.kfold: class {rare} has one row only, so some fold would be fitted without it"
                )
        # Deal the rows out one by one, class after class.
        sorted_rows = order[jnp.argsort(jnp.asarray(stratify)[order], stable=True)]
        fold = jnp.zeros(n, jnp.int32).at[sorted_rows].set(jnp.arange(n, dtype=jnp.int32) % n_folds)
    return (fold[None] != jnp.arange(n_folds, dtype=jnp.int32)[:, None]).astype(jnp.result_type(float))


def cross_validate(
    model: ModuleType,
    X: Any,
    y: Any,
    *,
    grid: Mapping[str, Any],
    folds: Any,
    fixed: Mapping[str, Any] | None = None,
    sample_weight: Any = None,
    score: Callable[..., jax.Array] | None = None,
) -> CrossValidation:
    r"""Loss on the rows left out, for every candidate of a grid and every fold, in one compiled call.

    .. math:: L_{cf} = \frac{\sum_i s_i (1 - t_{fi})\, \mathrm{loss}(y_i, x_i; \hat\theta_{cf})}
                            {\sum_i s_i (1 - t_{fi})},
              \qquad \hat\theta_{cf} = \mathrm{fit}(\text{candidate } c,\ \text{weights } s\, t_f)

    Args:
      model: a module with the verbs, such as `ji.lasso`; static.
      X, y: the data of `model.fit`, traced.
      grid: {hyper-parameter: (m, ...)}, traced: m candidates.  Where the model has a `path` over these names it is
      used,
        each candidate started at the one before: give penalties in decreasing order (`penalties`, `product`).
      folds: (F, n) training weights, traced: `kfold`, or any others, such as repeats or time splits.
      fixed: {argument of fit: value} for all candidates.  Booleans, whole numbers and strings are static, all else
      traced.
        Exposure and offset apply to the rows left out as well.
      sample_weight: (n,), traced.
      score: score(params, X, y, sample_weight) -> scalar to be minimised, static (pass one function, not a new lambda
      each
        time, which would compile again); None means the model's own objective without penalties: half the squared
        error, the log loss, half the deviance.

    Returns:
      CrossValidation with loss (m, F), mean, se, best, best_1se, status.

    Derivatives: loss and mean with respect to every traced argument, forward and reverse, as those of the model's fit:
      `jax.grad` of `mean` descends to the best penalty (`cv_loss` is the scalar for that).

    Cost: m F fits with shared X; the memory of F fits along a path, of m F fits otherwise.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.array([1.0, 2.0, 3.0, 4.5])
    >>> cv = ji.select.cross_validate(ji.ridge, X, y, grid={"l2": jnp.array([10.0, 0.1])}, folds=ji.select.kfold(4, 2))
    >>> print(cv.loss.shape, cv.best)
    (2, 2) 1

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10.  Elsewhere: sklearn's
    LassoCV, LogisticRegressionCV and GridSearchCV; cv.glmnet (lambda.min is best, lambda.1se is best_1se).
    """
    verb = "select.cross_validate"
    folds, sample_weight = _check_folds(verb, model, X, y, folds, sample_weight)
    grid = {name: checks.array(verb, name, value) for name, value in grid.items()}
    lengths = {v.shape[0] if v.ndim else 0 for v in grid.values()}
    if len(lengths) != 1 or 0 in lengths:
        shapes = ", ".join(f"{name} {v.shape}" for name, v in grid.items())
        raise ValueError(f"{verb}: every entry of grid must have the same leading axis m >= 1, got {shapes or 'none'}")
    traced, static = checks.split(fixed or {})
    checks.arguments(verb, model, (*grid, *(fixed or {})))
    return _cross_validate(X, y, grid, folds, traced, sample_weight, model=model, static=static, score=score)


def cv_loss(
    model: ModuleType,
    X: Any,
    y: Any,
    *,
    hyper: Mapping[str, Any],
    folds: Any,
    fixed: Mapping[str, Any] | None = None,
    sample_weight: Any = None,
    score: Callable[..., jax.Array] | None = None,
) -> jax.Array:
    """The mean cross-validated loss of one candidate, a scalar: minimise it over hyper-parameters with `jax.grad`.

    hyper: {hyper-parameter: value}, traced, of any shape that `fit` takes (one penalty a feature, say).  The others as
    in `cross_validate`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y, folds = jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.array([1.0, 2.0, 3.0, 4.5]), ji.select.kfold(4, 2)
    >>> slope = jax.grad(lambda l2: ji.select.cv_loss(ji.ridge, X, y, hyper={"l2": l2}, folds=folds))(1.0)
    >>> bool(slope > 0)  # a smaller penalty is better
    True
    """
    grid = {name: jnp.asarray(value)[None] for name, value in hyper.items()}
    return cross_validate(
        model, X, y, grid=grid, folds=folds, fixed=fixed, sample_weight=sample_weight, score=score
    ).mean[0]


def _check_folds(verb: str, model: ModuleType, X: Any, y: Any, folds: Any, sample_weight: Any) -> tuple[Any, Any]:
    X, y, _ = checks.design(verb, X, y)
    folds = checks.array(verb, "folds", folds)
    if folds.ndim != 2 or folds.shape[1] != X.shape[0]:
        raise ValueError(f"{verb}: folds must have shape (F, n) = (F, {X.shape[0]}), got folds {folds.shape}")
    sample_weight = checks.weights(verb, sample_weight, X, y)
    # Fits of a fold that lacks a class end as SEPARABLE; where the values are known, say so at once.
    labels = isinstance(y, np.ndarray) and not jnp.issubdtype(y.dtype, jnp.floating) and y.ndim == 1
    if hasattr(model, "predict_proba") and labels and not isinstance(folds, jax.core.Tracer):
        for number, fold in enumerate(np.asarray(folds)):
            if missing := set(np.unique(y).tolist()) - set(np.unique(y[fold > 0]).tolist()):
                raise ValueError(
                    f"{verb}: fold {number} is fitted without class {min(missing)}: "
                    "use kfold(..., stratify=y), or fewer folds"
                )
    return folds, sample_weight


@partial(jax.jit, static_argnames=("model", "static", "score"))
def _cross_validate(
    X: Any, y: Any, grid: dict[str, Any], folds: jax.Array, traced: dict[str, Any], sample_weight: Any, *,
    model: ModuleType, static: tuple[tuple[str, Any], ...], score: Callable[..., jax.Array] | None,
) -> CrossValidation:  # fmt: skip
    fixed = {**traced, **dict(static)}
    dtype = checks.working_dtype(X, y)
    weights = jnp.asarray(folds, dtype)
    total = jnp.ones(X.shape[0], dtype) if sample_weight is None else jnp.asarray(sample_weight, dtype)
    loss = score or _own_loss(model, grid, fixed)

    def fold(t: jax.Array) -> tuple[jax.Array, jax.Array]:
        if _has_path(model, grid):
            fit = model.path(X, y, sample_weight=total * t, **grid, **fixed)
        else:
            fit = jax.vmap(lambda hyper: model.fit(X, y, sample_weight=total * t, **hyper, **fixed))(grid)
        return jax.vmap(lambda params: loss(params, X, y, total * (1 - t)))(fit.params), fit.info.status

    losses, status = jax.vmap(fold, out_axes=1)(weights)
    losses = jnp.where(status == Status.CONVERGED, losses, jnp.nan)
    mean = losses.mean(1)
    count = jnp.asarray(folds.shape[0], dtype)
    se = jnp.sqrt(((losses - mean[:, None]) ** 2).sum(1) / jnp.maximum(count - 1, 1) / count)
    ranked = jnp.where(jnp.isnan(mean), jnp.inf, mean)
    best = jnp.argmin(ranked).astype(jnp.int32)
    simplest = jnp.argmax(ranked <= ranked[best] + se[best]).astype(jnp.int32)
    return CrossValidation(losses, mean, se, best, simplest, status)


def _has_path(model: ModuleType, grid: dict[str, Any]) -> bool:
    """Whether the model fits a path over these hyper-parameters that says how each fit ended."""
    accepted = inspect.signature(model.path).parameters if hasattr(model, "path") else {}
    return "tol" in accepted and set(grid) <= set(_PENALTIES) & set(accepted)


def _own_loss(model: ModuleType, grid: dict[str, Any], fixed: dict[str, Any]) -> Callable[..., jax.Array]:
    """The objective of the model with penalties of 0."""
    accepted = inspect.signature(model.objective).parameters
    given = {name: value for name, value in fixed.items() if name in accepted and name not in _PENALTIES}
    zero = {name: 0.0 for name in _PENALTIES if name in accepted}
    unknown = set(grid) & set(accepted) - set(_PENALTIES)
    if unknown:
        raise TypeError(
            f"select: {model.__name__}.objective depends on {min(unknown)!r}, which varies in the grid: give score"
        )

    def loss(params: Any, X: Any, y: Any, sample_weight: jax.Array) -> jax.Array:
        return model.objective(params, X, y, sample_weight=sample_weight, **zero, **given)

    return loss
