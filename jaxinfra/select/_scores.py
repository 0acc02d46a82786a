"""Scores by name: the quality of the predictions of a fit on weighted rows, for every kind of model.

Classes are counted by shares: a label is a share of 1 in its class, a soft label a share in each class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra import families
from jaxinfra._core import absent, auc
from jaxinfra._core.precision import dot, positive

PENALTIES = ("l1", "l2")


class Rows(NamedTuple):
    """A fit and the rows to score: the model and its params, X, y, weights w (n,), and other arguments of the fit."""

    model: ModuleType
    params: Any
    X: Any
    y: Any
    w: jax.Array
    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.__name__.rpartition(".")[2]

    def call(self, verb: str) -> jax.Array:
        """A verb of params and X, with those arguments of the fit that it has."""
        function = getattr(self.model, verb)
        known = inspect.signature(function).parameters
        return function(self.params, self.X, **{k: v for k, v in self.given.items() if k in known})

    def mean(self, losses: jax.Array) -> jax.Array:
        """The weighted mean of losses (n,) or (n, k)."""
        return dot(self.w, losses.reshape(len(self.w), -1).mean(1)) / self.w.sum()


class Score(NamedTuple):
    """A score: a function of rows, whether larger is better, and whether its derivative is not 0 everywhere."""

    of: Callable[[Rows], jax.Array]
    rises: bool = False
    smooth: bool = True


def supervised(model: ModuleType) -> bool:
    """Whether `fit` takes y; otherwise y > 0 marks the rows inside the region."""
    return "y" in inspect.signature(model.fit).parameters


def classifies(model: ModuleType) -> bool:
    """Whether y are labels, of classes or of rows inside and outside a region."""
    classes = hasattr(model, "predict_proba") or "n_classes" in inspect.signature(model.fit).parameters
    return classes or not supervised(model)


def _residual(rows: Rows) -> jax.Array:
    if classifies(rows.model):
        raise TypeError(f"select: {rows.name} predicts classes: take accuracy, balanced_accuracy, f1 or auc")
    predicted = rows.call("predict")
    y = jnp.asarray(rows.y)
    return (y[:, None] if y.ndim < predicted.ndim else y).astype(predicted.dtype) - predicted


def _squared_error(rows: Rows) -> jax.Array:
    return rows.mean(_residual(rows) ** 2)


def _absolute_error(rows: Rows) -> jax.Array:
    return rows.mean(jnp.abs(_residual(rows)))


def _r2(rows: Rows) -> jax.Array:
    r = _residual(rows)
    r = r.reshape(len(r), -1)
    y = jnp.asarray(rows.y, r.dtype).reshape(len(r), -1)
    about = y - (dot(rows.w, y) / rows.w.sum())[None]
    return (1 - dot(rows.w, r * r) / dot(rows.w, about * about)).mean()


def _pinball(rows: Rows) -> jax.Array:
    r = _residual(rows)
    tau = jnp.asarray(rows.given.get("tau", 0.5), r.dtype)
    return rows.mean(jnp.maximum(tau * r, (tau - 1) * r))


@cache
def own(model: ModuleType) -> Score:
    """The objective of the model with penalties of 0."""
    accepted = inspect.signature(model.objective).parameters

    def of(rows: Rows) -> jax.Array:
        given = {name: value for name, value in rows.given.items() if name in accepted and name not in PENALTIES}
        zero = {name: 0.0 for name in PENALTIES if name in accepted}
        loss = model.objective(rows.params, rows.X, rows.y, sample_weight=rows.w, **zero, **given)
        return loss.mean()  # of several quantiles

    return Score(of)


@cache
def _custom(score: Callable[..., jax.Array]) -> Score:
    return Score(lambda rows: score(rows.params, rows.X, rows.y, rows.w))


def _log_loss(rows: Rows) -> jax.Array:
    binomial = isinstance(rows.given.get("family"), families.Binomial)
    if not (hasattr(rows.model, "predict_proba") or binomial):
        raise TypeError(f"select: {rows.name} has no probabilities of classes: take accuracy or auc, or calibrate it")
    plain = {name: value for name, value in rows.given.items() if name != "class_weight"}
    loss = own(rows.model).of(rows._replace(given=plain))
    return loss if "family" not in plain else loss - rows.mean(_itself(jnp.asarray(rows.y, rows.w.dtype)))


def _itself(y: jax.Array) -> jax.Array:
    """The log likelihood of shares y (n,) or (n, K) at the probabilities y: 0 for labels."""
    return jax.scipy.special.xlogy(y, y).sum(1) if y.ndim == 2 else _itself(jnp.stack([y, 1 - y], 1))


def _deviance(rows: Rows) -> jax.Array:
    if "family" in rows.given:
        return 2 * own(rows.model).of(rows)
    if not hasattr(rows.model, "predict_proba"):
        raise TypeError(f"select: {rows.name} has no likelihood: take squared_error or absolute_error")
    y = jnp.asarray(rows.y)
    labels = jnp.issubdtype(y.dtype, jnp.integer) or y.dtype == jnp.bool_
    return 2 * (_log_loss(rows) + (0 if labels else rows.mean(_itself(y.astype(rows.w.dtype)))))


def _shares(rows: Rows) -> jax.Array:
    """The share of each class in each row, (n, K)."""
    y = jnp.asarray(rows.y)
    if not classifies(rows.model):
        raise TypeError(f"select: {rows.name} predicts numbers, no classes: take squared_error or absolute_error")
    if not supervised(rows.model):
        return jax.nn.one_hot((y > 0).astype(jnp.int32), 2, dtype=rows.w.dtype)
    if y.ndim == 2:
        return y.astype(rows.w.dtype)
    if jnp.issubdtype(y.dtype, jnp.floating):
        return jnp.stack([1 - y, y], 1).astype(rows.w.dtype)
    return jax.nn.one_hot(y.astype(jnp.int32), rows.given.get("n_classes") or 2, dtype=rows.w.dtype)


def _counts(rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weights of each class, (K,): correctly predicted, in the data, and predicted."""
    share = _shares(rows)
    predicted = jnp.maximum(rows.call("predict"), 0)  # -1 is outside a region
    guess = jax.nn.one_hot(predicted, share.shape[1], dtype=share.dtype)
    return dot(rows.w, share * guess), dot(rows.w, share), dot(rows.w, guess)


def _accuracy(rows: Rows) -> jax.Array:
    return _counts(rows)[0].sum() / rows.w.sum()


def _balanced_accuracy(rows: Rows) -> jax.Array:
    right, actual, _ = _counts(rows)
    recall = right / positive(actual)
    return recall.sum() / (actual > 0).sum().astype(recall.dtype)


def _f1(rows: Rows) -> jax.Array:
    right, actual, guessed = _counts(rows)
    both = actual + guessed
    f1 = 2 * right / positive(both)
    if len(f1) == 2:
        return jnp.where(both[1] > 0, f1[1], jnp.nan)
    return f1.sum() / (both > 0).sum().astype(f1.dtype)


def _auc(rows: Rows) -> jax.Array:
    share = _shares(rows)
    if "link" in inspect.signature(rows.model.fit).parameters:  # ordered classes have one decision for all
        scores = jnp.log(rows.call("predict_proba"))
    else:
        scores = rows.call("decision")
    if scores.ndim == 1:
        return auc.auc(scores, rows.w * share[:, 1], rows.w * share[:, 0])
    if hasattr(rows.model, "votes"):
        raise TypeError(f"select: {rows.name} has a decision for each pair of classes, none for each class: no auc")
    scores = auc.log_odds(scores) if hasattr(rows.model, "predict_proba") else scores
    return auc.one_against_rest(scores, share, rows.w)


def _hinge(rows: Rows) -> jax.Array:
    share, value = _shares(rows), rows.call("decision")
    if hasattr(rows.model, "votes") and value.ndim == 2:
        raise TypeError(f"select: {rows.name} has a decision for each pair of classes, none for each class: no hinge")
    sign = 2 * (share[:, 1] if value.ndim == 1 else share) - 1
    losses = jnp.maximum(0, 1 - sign * value)
    return rows.mean(losses if losses.ndim == 1 else losses.sum(1))


SCORES = {
    "squared_error": Score(_squared_error),
    "absolute_error": Score(_absolute_error),
    "r2": Score(_r2, rises=True),
    "pinball": Score(_pinball),
    "deviance": Score(_deviance),
    "log_loss": Score(_log_loss),
    "hinge": Score(_hinge),
    "accuracy": Score(_accuracy, rises=True, smooth=False),
    "balanced_accuracy": Score(_balanced_accuracy, rises=True, smooth=False),
    "f1": Score(_f1, rises=True, smooth=False),
    "auc": Score(_auc, rises=True, smooth=False),
}


def find(verb: str, model: ModuleType, grid: Mapping[str, Any], score: Any) -> Score:
    """The score for a name, a function of params, X, y and weights to be minimised, or None.

    The same object for the same score, so that a second call compiles nothing.
    """
    if score is None:
        known = inspect.signature(model.fit).parameters
        if not {"C", "nu", "kernel", "key"} & set(known):
            accepted = inspect.signature(model.objective).parameters
            if unknown := set(grid) & set(accepted) - set(PENALTIES):
                raise TypeError(
                    f"{verb}: {model.__name__}.objective depends on {min(unknown)!r}, which varies in the grid: "
                    f"give score, such as {'deviance' if 'family' in accepted else 'squared_error'!r}"
                )
            return own(model)
        if not supervised(model):
            raise TypeError(f"{verb}: {model.__name__} has no loss of rows left out: give score, such as 'accuracy'")
        # A dual objective is not a loss of other rows, and an objective of subsets is not a sum over rows.
        score = "accuracy" if classifies(model) else "absolute_error" if "key" in known else "squared_error"
    if isinstance(score, str):
        if score not in SCORES:
            raise ValueError(f"{verb}: score must be one of {', '.join(SCORES)}, or a function, got {score!r}")
        return SCORES[score]
    if not callable(score):
        raise TypeError(f"{verb}: score must be a name, a function or None, got {score!r}")
    return _custom(score)


def masked(rows: Rows) -> Rows:
    """The rows, with the content of rows of weight 0 replaced."""
    X, w = absent.masked(rows.X, rows.w)
    return rows._replace(X=X, y=absent.present(w, rows.y)[0], w=w)
