"""Masks: of padded sequences the networks are the short ones', values and gradients; in training, too."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxinfra.nn import train
from tests.networks import (
    MASK,
    REFERENCES,
    SEQUENCES,
    agree_with_numpy,
    close,
    cotangent,
    gradient,
    network,
    plain,
    same,
)


@pytest.mark.parametrize(("kind", "name"), SEQUENCES)
def test_values_and_gradients_under_a_mask_match_numpy(kind, name):
    """A mask of ones is none: the same program shows the whole sequences."""
    for mask in (np.ones_like(MASK), MASK):
        agree_with_numpy(kind, name, mask=mask)


@pytest.mark.parametrize(("kind", "name"), SEQUENCES)
def test_masked_steps_change_nothing(kind, name):
    """The content of masked steps has no effect; a padded sequence is the short one."""
    _, params, x = network(kind, name)
    run, along, x = gradient(kind, name), cotangent(kind, name, MASK), np.asarray(x)
    (_, out), _ = run(params, x, along, mask=MASK)
    other = np.where(MASK if x.ndim == 2 else MASK[:, :, None], x, x[::-1, ::-1])
    (_, changed), _ = run(params, other, along, mask=MASK)
    short = REFERENCES[kind].forward(plain(params), x[1:2, :3], params.config)
    if params.config.pool == "none":
        out, changed = out[MASK], changed[MASK]
        np.testing.assert_allclose(out[7:10], short[0], rtol=1e-9)
    else:
        np.testing.assert_allclose(out[1:2], short, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(out, changed, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("kind", "name"), SEQUENCES)
def test_masked_steps_may_hold_anything(kind, name):
    """NaN, or a token that does not exist, affects neither values nor gradients."""
    _, params, x = network(kind, name)
    tokens = x.ndim == 2
    strange = np.where(MASK if tokens else MASK[:, :, None], x, np.asarray(-1 if tokens else np.nan, x.dtype))
    run, along = gradient(kind, name), cotangent(kind, name, MASK)
    (value, _), slopes = run(params, strange, along, mask=MASK)
    (expected, _), expected_slopes = run(params, x, along, mask=MASK)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    close(plain(slopes[0]), plain(expected_slopes[0]), 1e-10)
    if not tokens:
        close(np.asarray(slopes[1])[MASK], np.asarray(expected_slopes[1])[MASK], 1e-10)


@pytest.mark.parametrize(("kind", "name"), SEQUENCES)
def test_rows_without_a_real_step_are_finite(kind, name):
    _, params, x = network(kind, name)
    (value, _), slopes = gradient(kind, name)(params, x, cotangent(kind, name), mask=np.zeros((3, 7), bool))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def tags(params, x, mask=None):
    """A prediction a step, (n, t, K)."""
    return x @ params


def sums(params, x, mask=None):
    """A prediction a sequence, (n, K)."""
    return x.sum(1) @ params


START = np.eye(2, dtype=np.float32)
TWO = {"key": jax.random.key(1), "batch_size": 2, "epochs": 2, "shuffle": False, "progress": False}


@pytest.fixture
def tagged(rng):
    """(x, y, mask) of four sequences, of which the last has no real step; x are the logits of a perfect tagger."""
    y = rng.integers(0, 2, (4, 5)).astype(np.int32)
    x = (6 * np.eye(2)[y] + rng.standard_normal((4, 5, 2))).astype(np.float32)
    return x, y, np.arange(5) < np.array([5, 2, 3, 0])[:, None]


def test_a_row_without_a_real_step_is_absent(tagged):
    """As one of weight 0: a perfect tagger is perfect."""
    x, y, mask = tagged
    y[3] = 1 - y[3]
    weight, absent = np.float32([1, 2, 3, 4]), np.float32([1, 2, 3, 0])
    found = train.evaluate(tags, START, x, y, mask=mask, sample_weight=weight)
    assert found["accuracy"] == found["auc"] == 1
    losses = np.log1p(np.exp(np.where(y == 1, -1, 1) * (x[..., 1] - x[..., 0]).astype(float)))
    losses = [losses[row, mask[row]].mean() for row in range(3)]
    np.testing.assert_allclose(found["loss"], np.average(losses, weights=weight[:3]), rtol=1e-4)
    same(found, train.evaluate(tags, START, x, y, mask=mask, sample_weight=absent))
    found = train.fit(tags, START, x, y, mask=mask, sample_weight=weight, **TWO)
    expected = train.fit(tags, START, x, y, mask=mask, sample_weight=absent, **TWO)
    same(found.params, expected.params)
    np.testing.assert_array_equal(found.history["loss"], expected.history["loss"])
    assert found.history["accuracy"][-1] == 1
    with pytest.raises(ValueError, match="validation: no row is left with a weight above 0"):
        train.fit(tags, START, x, y, mask=mask, validation=(x, y, None, mask & False), **TWO)
    with pytest.raises(ValueError, match=r"train.evaluate: no row is left with a weight above 0"):
        train.evaluate(tags, START, x, y, mask=mask & False)


def test_labels_of_masked_steps_may_be_anything(tagged):
    x, y, mask = tagged
    expected = train.fit(tags, START, x, y, mask=mask, **TWO)
    same(train.fit(tags, START, x, np.where(mask, y, -100), mask=mask, **TWO).params, expected.params)
    columns = np.where(mask[..., None], np.eye(2)[y], np.nan)
    same(train.fit(tags, START, x, columns, mask=mask, **TWO).params, expected.params)
    # And the targets of a regression.
    found, expected = (
        train.fit(tags, START, x, np.where(mask[..., None], x**2, what), mask=mask, **TWO) for what in (np.nan, 0)
    )
    same(found.params, expected.params)


def test_the_mask_of_steps_is_none_of_outputs(rng):
    """As many outputs as steps, or not: all of them count."""
    for outputs in (3, 5):
        x = rng.standard_normal((4, 5, outputs)).astype(np.float32)
        y, mask = rng.integers(0, 2, (4, outputs)), np.arange(5) < np.array([[2], [5], [3], [1]])
        y[:, 0] = 1 - y[:, 1]  # each class is there, and no row is one of zeros
        start = np.eye(outputs, dtype=np.float32)
        found = train.evaluate(sums, start, x, y, mask=mask, loss="sigmoid")
        margin = np.where(y > 0, x.sum(1), -x.sum(1)).astype(float)
        loss = np.log1p(np.exp(-margin)).mean()
        np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(found["accuracy"], (margin > 0).mean(), rtol=1e-6)
        assert found["confusion"].sum() == y.size
    found = train.fit(sums, start, x, y, mask=mask, loss="sigmoid", **{**TWO, "batch_size": 4, "epochs": 1})
    np.testing.assert_allclose(found.history["loss"], loss, rtol=1e-5)
