r"""Probabilities from the decisions of a classifier, learned on rows that the fit has not seen.

A machine's decisions on its own training rows are overconfident, so each fold is decided by the machine of the others.

    platt         P(second of a pair) = 1 / (1 + exp(-(slope d + offset))) for every pair, coupled over the pairs
    temperature   softmax(slope * scores), where a class scores its decisions over all its pairs

Where a model has a decision for each class and not for each pair, d of a pair is the difference of its classes.

Source: Platt 1999; Lin, Lin and Weng 2007 (targets); Wu, Lin and Weng 2004, section 4 (coupling); Guo, Pleiss, Sun and
Weinberger 2017 (temperature).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from jaxinfra._core import checks, labels
from jaxinfra._core.finish import worst
from jaxinfra._core.problem import asked, unpacked
from jaxinfra._core.stages import Rare, noted, staged
from jaxinfra._core.types import Fit, Status, short_repr
from jaxinfra.families import Binomial
from jaxinfra.linear import logistic, multinomial
from jaxinfra.links import Logit
from jaxinfra.losses import Likelihood
from jaxinfra.solvers.likelihood import penalised
from jaxinfra.solvers.linalg.design import Data
from jaxinfra.svm import linear_svm, nu_svc, svc

_PAIR_BY_PAIR = (svc, nu_svc)
_CLASSIFIERS = (*_PAIR_BY_PAIR, linear_svm, logistic, multinomial)


@short_repr
class Calibration(NamedTuple):
    """A map from decisions to probabilities.

    slope, offset: (pairs,), for Platt's method; for temperature scaling slope is (), one over the temperature, and
      offset is None.
    status: the worst `Status` of the fits of the folds and of the calibration.
    """

    slope: jax.Array
    offset: jax.Array | None
    status: jax.Array


def fit(
    model: ModuleType | Fit, X: ArrayLike, y: ArrayLike, *, folds: ArrayLike, method: str = "platt",
    fixed: Mapping[str, Any] | None = None, sample_weight: ArrayLike | None = None, n_classes: int | None = None,
) -> Calibration:  # fmt: skip
    """Fit every fold, decide the rows that it left out, and learn probabilities from these decisions.

    Args:
      model: svc, nu_svc, linear_svm, logistic or multinomial, static; or a Fit of one, whose settings and
        hyper-parameters the fits of the folds then have, unless `fixed` has others.
      X, y: as in the model's `fit`, y (n,) integers 0..K-1; traced.
      folds: (F, n) training weights as of `select.kfold(n, F, stratify=y)`, traced.
      method: "platt" or "temperature", static.
      fixed: the other arguments of the model's `fit`, such as {"C": 10.0, "kernel": ...}.  Booleans, whole numbers and
        strings are static, all else traced.
      sample_weight: (n,) not negative, traced; of the fits and of the calibration.  None means 1.
      n_classes: the number of classes K, static; None takes that of the Fit, or else reads it from y.

    Returns:
      Calibration, for `predict_proba`.

    Raises:
      TypeError for a model that is not one of these, labels that are not integers, an argument that the model's `fit`
      does not have.  ValueError for another method, shapes that do not match, labels that are negative, too large or
      have gaps, a negative weight, a third class for `logistic`, and an offset, which is
      no part of a decision.

    Status: in the result, since the fits are compiled: the worst of all.

    Cost: the fits of the folds, which share the kernel matrix, one after the other.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.linspace(-2, 2, 20)[:, None], jnp.array([0] * 8 + [1, 0, 1, 0] + [1] * 8)
    >>> folds = ji.select.kfold(20, 5, stratify=y)
    >>> fit = ji.svc.fit(X, y, kernel=ji.kernels.RBF(1.0))
    >>> found = ji.calibrate.fit(fit, X, y, folds=folds)
    >>> p = ji.calibrate.predict_proba(fit, found, jnp.array([[-1.5], [1.5]]))
    >>> bool((p[0, 0] > 0.8) & (p[1, 1] > 0.8))
    True

    Source: Platt 1999; Lin, Lin and Weng 2007; Guo, Pleiss, Sun and Weinberger 2017.  Elsewhere:
    sklearn.calibration.CalibratedClassifierCV, SVC(probability=True), libsvm -b 1.
    """
    verb = "calibrate.fit"
    if (fixed or {}).get("offset") is not None or _has_offset(model):
        raise ValueError(f"{verb}: an offset is no part of a decision: calibrate a fit without one")
    model, fixed = unpacked(verb, model, fixed, sample_weight)
    _check(verb, model)
    own = fixed.pop("n_classes", None)
    n_classes = own if n_classes is None else n_classes
    if method not in ("platt", "temperature"):
        raise ValueError(f'{verb}: method must be "platt" or "temperature", got {method!r}')
    X, y, weights, K, _ = labels.design(verb, X, y, n_classes, sample_weight, soft=False)
    if model is logistic and K > 2:
        raise ValueError(f"{verb}: logistic is for two classes, got {K}: use multinomial")
    folds = checks.array(verb, "folds", folds)
    if folds.ndim != 2 or folds.shape[1] != np.shape(X)[0]:
        raise ValueError(f"{verb}: folds must have shape (F, n) = (F, {np.shape(X)[0]}), got folds {folds.shape}")
    traced, static = checks.split(fixed)
    return _fit(X, y, folds, weights, traced, model=model, classes=K, method=method, static=static)


@staged(static=("model", "classes", "method", "static"))
def _fit(
    X: Any, y: Any, folds: jax.Array, weights: Any, traced: dict[str, Any], *, model: ModuleType, classes: int,
    method: str, static: tuple[tuple[str, Any], ...], rare: Rare,
) -> Calibration:  # fmt: skip
    dtype = checks.working_dtype(X)
    X, folds = jnp.asarray(X, dtype), jnp.asarray(folds, dtype)
    w = jnp.ones(X.shape[0], dtype) if weights is None else jnp.asarray(weights, dtype)
    given = {**({} if model is logistic else {"n_classes": classes}), **traced, **dict(static)}

    def held_out(fold: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        found, needed = noted(model.fit, rare)(X, y, sample_weight=fold * w, **given)
        value = _by_pair(model, model.decision(found.params, X))
        return jnp.where((fold > 0)[:, None], 0, value), found.info.status, needed

    values, status, needed = jax.vmap(held_out)(folds)
    rare.note(needed)
    out = (folds <= 0).sum(0)
    values = values.sum(0) / jnp.maximum(out, 1).astype(dtype)[:, None]
    w = jnp.where(out > 0, w, 0)
    learn = _platt if method == "platt" else _temperature
    found = learn(values, jnp.asarray(y).astype(jnp.int32), w, classes)
    return found._replace(status=worst(jnp.append(found.status, status)))


def _has_offset(fit: Any) -> bool:
    return isinstance(fit, Fit) and fit.problem is not None and "offset" in fit.problem.given


def _check(verb: str, model: Any) -> None:
    if model not in _CLASSIFIERS:
        names = ", ".join(m.__name__.rsplit(".", 1)[-1] for m in _CLASSIFIERS)
        own = ", which has probabilities of its own (predict_proba)" if hasattr(model, "predict_proba") else ""
        raise TypeError(f"{verb}: model must be one of {names}, got {getattr(model, '__name__', model)!r}{own}")


def _by_pair(model: ModuleType, value: jax.Array) -> jax.Array:
    """Decisions (m,) or (m, columns) as those of pairs, positive for the second class of it: (m, pairs)."""
    if value.ndim == 1:
        return value[:, None]
    if model in _PAIR_BY_PAIR:
        return value
    first, second = labels.pairs(value.shape[1])
    return value[:, second] - value[:, first]


def _logistic(x: jax.Array, target: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    found = penalised.solve(
        Data(x[:, None], target, w, None), Likelihood(Binomial(), Logit()), None, jnp.zeros((), x.dtype), None,
        valid=jnp.ones(x.shape, bool), fit_intercept=True, blocked=False, tol=None, max_iter=jnp.int32(200),
    )  # fmt: skip
    return found.params.coef[0], found.params.intercept, found.info.status


def _platt(values: jax.Array, y: jax.Array, w: jax.Array, classes: int) -> Calibration:
    """A logistic regression for each pair, on targets inside (0, 1) by as much as the number of rows suggests."""
    first, second = labels.pairs(classes)

    def pair(value: jax.Array, i: jax.Array, j: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        negative, positive = jnp.where(y == i, w, 0), jnp.where(y == j, w, 0)
        high = (positive.sum() + 1) / (positive.sum() + 2)
        low = 1 / (negative.sum() + 2)
        return _logistic(value, jnp.where(y == j, high, low), negative + positive)

    slope, offset, status = lax.map(lambda a: pair(*a), (values.T, first, second))
    return Calibration(slope, offset, worst(status))


def _scores(values: jax.Array, classes: int) -> jax.Array:
    """The score of each class over its pairs: (m, K)."""
    first, second = labels.pairs(classes)
    scores = jnp.zeros((values.shape[0], classes), values.dtype)
    return scores.at[:, second].add(values).at[:, first].add(-values)


def _temperature(values: jax.Array, y: jax.Array, w: jax.Array, classes: int) -> Calibration:
    """The slope that minimises the log loss, by bisection on the log of it: the loss is convex in the slope."""
    scores = _scores(values, classes)
    own = jnp.take_along_axis(scores, jnp.clip(y, 0, classes - 1)[:, None], 1)[:, 0]
    largest = jnp.abs(scores).max()
    unit = jnp.where(largest == 0, 1, largest)

    def rises(log: jax.Array) -> jax.Array:
        mean = (jax.nn.softmax(jnp.exp(log) / unit * scores, 1) * scores).sum(1)
        return (w * (mean - own)).sum() > 0

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        up = rises(middle)
        return jnp.where(up, low, middle), jnp.where(up, middle, high)

    # From a slope at which all classes are equally likely to one at which the largest score decides.
    ends = jnp.asarray(-10, scores.dtype), jnp.asarray(12, scores.dtype)
    low, high = lax.fori_loop(0, 60, halve, ends)
    slope = jnp.exp(0.5 * (low + high)) / unit
    fine = jnp.isfinite(unit) & jnp.isfinite(slope)
    slope = jnp.where(fine, slope, jnp.nan)
    return Calibration(slope, None, jnp.where(fine, Status.CONVERGED, Status.NONFINITE).astype(jnp.int32))


def predict_proba(fit: Fit, calibration: Calibration, X: ArrayLike) -> jax.Array:
    """The probability of every class: (m, K), each row with sum 1.

    Args:
      fit: of all rows, by the model that was calibrated, traced.
      calibration: what `fit` returned, traced.
      X: (m, p), as in the model's `decision`, traced.

    Raises:
      TypeError for a fit of another model than those of `fit`, and for params alone; the others as the model's
      `decision`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> fit = ji.svc.fit(jnp.array([[-1.0], [1.0]]), jnp.array([0, 1]), kernel=ji.kernels.Linear())
    >>> half = ji.calibrate.Calibration(jnp.array(0.5), None, jnp.array(0))
    >>> print(ji.calibrate.predict_proba(fit, half, jnp.array([[0.0]])))
    [[0.5 0.5]]
    """
    verb = "calibrate.predict_proba"
    if _has_offset(fit):
        raise ValueError(f"{verb}: an offset is no part of a decision: calibrate a fit without one")
    model, _ = asked(verb, fit, {})
    _check(verb, model)
    return _probabilities(_by_pair(model, model.decision(fit, X)), calibration)


@jax.jit
def _probabilities(values: jax.Array, calibration: Calibration) -> jax.Array:
    K = labels.classes_of(values.shape[1])
    slope, offset = calibration.slope, calibration.offset
    if offset is None:
        return jax.nn.softmax(slope * _scores(values, K), 1)
    r = jax.nn.sigmoid(slope[None] * values + offset[None])
    if K == 2:
        return jnp.concatenate([1 - r, r], 1)
    r = jnp.clip(r, 1e-7, 1 - 1e-7)
    first, second = labels.pairs(K)
    R = jnp.zeros((values.shape[0], K, K), values.dtype).at[:, second, first].set(r).at[:, first, second].set(1 - r)
    # minimise sum_{i != j} (r_ji p_i - r_ij p_j)^2 with sum p = 1: eq. 19 of Wu, Lin and Weng.
    Q = jnp.diagflat(jnp.ones(K, R.dtype))[None] * (R**2).sum(1)[:, None] - R * R.mT
    one = jnp.ones((*Q.shape[:1], K, 1), R.dtype)
    system = jnp.concatenate(
        [jnp.concatenate([Q, one], 2), jnp.concatenate([one.mT, jnp.zeros_like(one[:, :1])], 2)], 1
    )
    right = jnp.zeros((*Q.shape[:1], K + 1, 1), R.dtype).at[:, K].set(1)
    p = jnp.clip(jnp.linalg.solve(system, right)[:, :K, 0], 0, 1)
    return p / p.sum(1, keepdims=True)
