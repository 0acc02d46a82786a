r"""Choosing hyper-parameters: folds, grids and paths in one compiled call, and gradients of a cross-validated loss.

Folds are weights: a row of weight 0 is absent.  So all folds share one X, and a whole cross-validation is `vmap` over
weights and hyper-parameters of the model's own `fit` or `path`, for every model of the library.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxinfra._core import checks, labels
from jaxinfra._core.finish import worst
from jaxinfra._core.problem import unpacked
from jaxinfra._core.stages import Rare, noted, staged
from jaxinfra._core.types import Fit, Status, short_repr
from jaxinfra.select import _scores
from jaxinfra.select._scores import Rows, Score
from jaxinfra.select.grids import Candidates, product


@short_repr
class CrossValidation(NamedTuple):
    """Scores of m candidates on F folds, and the best candidates.

    score: (m, F), on the rows left out; NaN where the fit did not converge.
    mean, se: (m,), over the folds, with the standard error of the mean.
    best: (), the candidate of the best mean, the largest of accuracies and the smallest of losses.
    best_1se: (), the first candidate in the order of the grid whose mean is within one standard error of the best.
    grid: the m candidates; `grid.at(best)` holds the arguments for `fit`.
    status: (m, F), of the fits.
    """

    score: jax.Array
    mean: jax.Array
    se: jax.Array
    best: jax.Array
    best_1se: jax.Array
    grid: Candidates
    status: jax.Array


def kfold(
    n: int, n_folds: int = 5, *, key: jax.Array | None = None, stratify: ArrayLike | None = None
) -> jax.Array:  # fmt: skip
    """Training weights of each fold: (n_folds, n), 1 where the row is fitted, 0 where it is left out.

    Args:
      n, n_folds: the numbers of rows and folds, static; the sizes of folds differ by 1 at most.
      key: a `jax.random.key` to shuffle the rows, traced; None takes them in order, consecutive rows in one fold (for
        data without order only).
      stratify: (n,) labels, traced; each fold then has its share of every class, within a row.  None: no classes.

    Raises:
      ValueError for n_folds outside 2..n, labels that are not (n,), and a class with one row where labels are on the
      host.  TypeError for labels that are no numbers.

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
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, *, grid: Mapping[str, Any], folds: ArrayLike,
    fixed: Mapping[str, Any] | None = None, sample_weight: ArrayLike | None = None,
    score: str | Callable[..., jax.Array] | None = None,
) -> CrossValidation:  # fmt: skip
    r"""Scores on the rows left out, for every candidate of a grid and every fold, in one compiled call.

    .. math:: L_{cf} = \frac{\sum_i s_i (1 - t_{fi})\, \mathrm{loss}(y_i, x_i; \hat\theta_{cf})}
                            {\sum_i s_i (1 - t_{fi})},
              \qquad \hat\theta_{cf} = \mathrm{fit}(\text{candidate } c,\ \text{weights } s\, t_f)

    Args:
      model: a module with the verbs, such as `ji.lasso`, static: every model of the library.  Or a Fit, which carries
        its module and its arguments.
      X, y: the data of `model.fit`, traced; for `one_class` y is above 0 for rows that belong inside.
      grid: {hyper-parameter: (m_i, ...)}, traced: all combinations are candidates, as of `product`, the last name
        varying fastest; or what `product` and `paired` return.  A kernel, a family or another pytree varies in any of
        its arrays: `{"C": C, "kernel": ji.kernels.RBF(gammas)}`.  Where the model has a `path` over these names it is
        used, each candidate started at the one before: give penalties in decreasing order (`penalties`).
      folds: (F, n) training weights, traced: `kfold`, or any others, such as repeats or time splits.
      fixed: {argument of fit: value} for all candidates.  Booleans, whole numbers and strings are static, all else
        traced.  Exposure and offset apply to the rows left out as well.
      sample_weight: (n,), traced; of the fits and of the scores.
      score: static; the name of a score, or score(params, X, y, sample_weight) -> scalar to be minimised (pass one
        function, not a new lambda each time, which would compile again).  None is the model's own objective without
        penalties (half the squared error, the log loss, half the deviance); the accuracy of support vector classifiers,
        the squared error of machines for regression, the absolute error of `theil_sen` and `ransac`.

        ================================================  ============================================================
        squared_error, absolute_error, r2, pinball        of predicted numbers, the mean over targets; pinball at `tau`
        deviance                                          of glm and of classifiers with probabilities
        log_loss                                          of classifiers with probabilities, of glm with `Binomial`
        accuracy, balanced_accuracy, f1, auc              of classes; f1 of class 1 or the mean of several, auc the mean
                                                          of each class against the rest
        hinge                                             of support vector classifiers
        ================================================  ============================================================

        `r2`, `accuracy`, `balanced_accuracy`, `f1` and `auc` are the better the larger.

    Returns:
      CrossValidation with score (m, F), mean, se, best, best_1se, grid, status.  NaN where a fold has no such score:
      `auc` of one class, `f1` of a class that is neither present nor predicted.

    Raises:
      ValueError for shapes that do not match, a negative weight, a name that is no score, an argument in both grid and
      fixed, and a fold that is fitted without a class, as far as values are on the host.  TypeError for an argument
      that `fit` does not have, or a score that the model has no predictions for.

    Status: one for each fit; a fit that did not converge has a score of NaN, and so has the mean of its candidate.

    Derivatives: score and mean with respect to every traced argument, forward and reverse, as those of the model's fit
      (`cv_loss` is the scalar for descent to the best penalty).

    Cost: m F fits with shared X; the memory of F fits along a path, of m F fits otherwise.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.array([1.0, 2.0, 3.0, 4.5])
    >>> cv = ji.select.cross_validate(ji.ridge, X, y, grid={"l2": jnp.array([10.0, 0.1])}, folds=ji.select.kfold(4, 2))
    >>> print(cv.score.shape, cv.best, cv.grid.at(cv.best)["l2"])
    (2, 2) 1 0.1

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10.  Elsewhere: sklearn's
    LassoCV, LogisticRegressionCV and GridSearchCV; cv.glmnet (lambda.min is best, lambda.1se is best_1se).
    """
    verb = "select.cross_validate"
    candidates = grid if isinstance(grid, Candidates) else product(grid)
    model, given = unpacked(verb, model, fixed, sample_weight)
    if twice := [name for name in fixed or {} if name in candidates]:
        raise ValueError(f"{verb}: {twice[0]} is in grid and in fixed")
    given = {name: value for name, value in given.items() if name not in candidates}
    checks.arguments(verb, model, (*candidates, *given))
    X, y, folds, sample_weight = _check_folds(verb, model, X, y, folds, sample_weight)
    traced, static = checks.split(labels.counted(verb, model, y, given, sample_weight))
    how = _scores.find(verb, model, candidates, score)
    return _cross_validate(X, y, candidates, folds, traced, sample_weight, model=model, static=static, score=how)


def cv_loss(
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, *, hyper: Mapping[str, Any], folds: ArrayLike,
    fixed: Mapping[str, Any] | None = None, sample_weight: ArrayLike | None = None,
    score: str | Callable[..., jax.Array] | None = None,
) -> jax.Array:  # fmt: skip
    """The mean cross-validated loss of one candidate, a scalar: minimise it over hyper-parameters with `jax.grad`.

    Args:
      hyper: {hyper-parameter: value}, traced, of any shape that `fit` takes (such as one penalty a feature).
      score: as in `cross_validate`, except those without a slope: accuracy, balanced_accuracy, f1, auc.
      The others as in `cross_validate`.

    Returns:
      The mean score over the folds, of r2 one minus it; NaN where a fit did not converge.

    Raises:
      TypeError for a score without a slope; the others as `cross_validate`.

    Derivatives: with respect to every traced argument, forward and reverse, as those of the model's fit.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y, folds = jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.array([1.0, 2.0, 3.0, 4.5]), ji.select.kfold(4, 2)
    >>> slope = jax.grad(lambda l2: ji.select.cv_loss(ji.ridge, X, y, hyper={"l2": l2}, folds=folds))(1.0)
    >>> bool(slope > 0)  # a smaller penalty is better
    True
    """
    one = Candidates({name: jax.tree.map(lambda v: jnp.asarray(v)[None], value) for name, value in hyper.items()})
    module, _ = unpacked("select.cv_loss", model, fixed, sample_weight)
    how = _scores.find("select.cv_loss", module, one, score)
    if not how.smooth:
        raise TypeError(
            f"select.cv_loss: accuracies and ranks have no slope, got score {score!r} of {module.__name__}: "
            "give score, such as 'log_loss', 'hinge' or a function"
        )
    mean = cross_validate(
        model, X, y, grid=one, folds=folds, fixed=fixed, sample_weight=sample_weight, score=score
    ).mean
    return 1 - mean[0] if how.rises else mean[0]


def _check_folds(verb: str, model: ModuleType, X: Any, y: Any, folds: Any, sample_weight: Any) -> tuple[Any, ...]:
    X, y, _ = checks.design(verb, X, y)
    folds = checks.array(verb, "folds", folds)
    if folds.ndim != 2 or folds.shape[1] != X.shape[0]:
        raise ValueError(f"{verb}: folds must have shape (F, n) = (F, {X.shape[0]}), got folds {folds.shape}")
    sample_weight = checks.weights(verb, sample_weight, X, y)
    # Fits of a fold without one of the classes end as SEPARABLE; where the values are known, raise instead.
    integers = isinstance(y, np.ndarray) and not jnp.issubdtype(y.dtype, jnp.floating) and y.ndim == 1
    labelled = _scores.classifies(model) and _scores.supervised(model) and integers
    if labelled and not isinstance(folds, jax.core.Tracer):
        for number, fold in enumerate(np.asarray(folds)):
            if missing := set(np.unique(y).tolist()) - set(np.unique(y[fold > 0]).tolist()):
                raise ValueError(
                    f"{verb}: fold {number} is fitted without class {min(missing)}: "
                    "use kfold(..., stratify=y), or fewer folds"
                )
    return X, y, folds, sample_weight


@staged(static=("model", "static", "score"))
def _cross_validate(
    X: Any, y: Any, grid: Candidates, folds: jax.Array, traced: dict[str, Any], sample_weight: Any, *,
    model: ModuleType, static: tuple[tuple[str, Any], ...], score: Score, rare: Rare,
) -> CrossValidation:  # fmt: skip
    fixed = {**traced, **dict(static)}
    dtype = checks.working_dtype(X, y)
    weights = jnp.asarray(folds, dtype)
    total = jnp.ones(X.shape[0], dtype) if sample_weight is None else jnp.asarray(sample_weight, dtype)
    data = (X, y) if _scores.supervised(model) else (X,)

    def scored(params: Any, hyper: dict[str, Any], t: jax.Array) -> jax.Array:
        return score.of(_scores.masked(Rows(model, params, X, y, total * (1 - t), {**fixed, **hyper})))

    def one(hyper: Candidates, t: jax.Array) -> tuple[jax.Array, ...]:
        fit, needed = noted(model.fit, rare)(*data, sample_weight=total * t, **hyper, **fixed)
        return scored(fit.params, hyper, t), fit.info.status, needed

    def fold(t: jax.Array) -> tuple[jax.Array, ...]:
        if not _has_path(model, set(grid), set(fixed)):
            values, status, needed = jax.vmap(lambda hyper: one(hyper, t))(grid)
            return values, status, needed.any()
        fit, needed = noted(model.path, rare)(*data, sample_weight=total * t, **grid, **fixed)
        values = jax.vmap(lambda params, hyper: scored(params, hyper, t))(fit.params, grid)
        return values, fit.info.status, needed

    values, status, needed = jax.vmap(fold, out_axes=(1, 1, 0))(weights)
    rare.note(needed)
    status = worst(status.reshape(*values.shape, -1), -1)  # of several quantiles
    values = jnp.where(status == Status.CONVERGED, values, jnp.nan)
    mean = values.mean(1)
    count = jnp.asarray(folds.shape[0], dtype)
    se = jnp.sqrt(((values - mean[:, None]) ** 2).sum(1) / jnp.maximum(count - 1, 1) / count)
    ranked = jnp.where(jnp.isnan(mean), jnp.inf, -mean if score.rises else mean)
    best = jnp.argmin(ranked).astype(jnp.int32)
    simplest = jnp.argmax(ranked <= ranked[best] + se[best]).astype(jnp.int32)
    return CrossValidation(values, mean, se, best, simplest, grid, status)


def _has_path(model: ModuleType, grid: set[str], fixed: set[str]) -> bool:
    """Whether the model has a path over this grid that returns a status for each fit."""
    known = inspect.signature(model.path).parameters if hasattr(model, "path") else {}
    needed = {name for name, p in known.items() if p.default is p.empty} - {"X", "y"}
    return "tol" in known and grid <= set(_scores.PENALTIES) and needed <= grid | fixed <= set(known)
