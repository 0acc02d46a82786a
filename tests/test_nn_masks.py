"""Masks: of padded sequences the networks are the short ones', values and gradients."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.networks import MASK, REFERENCES, SEQUENCES, agree_with_numpy, close, cotangent, gradient, network, plain


@pytest.mark.parametrize(("kind", "name"), SEQUENCES)
def test_values_and_gradients_under_a_mask_match_numpy(kind, name):
    """A mask of ones is none: the same program shows the whole sequences."""
    for mask in (np.ones_like(MASK), MASK):
        agree_with_numpy(kind, name, mask=mask)


@pytest.mark.parametrize(("kind", "name"), SEQUENCES)
def test_masked_steps_change_nothing(kind, name):
    """What stands in masked steps is not seen; a padded sequence is the short one."""
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
    """NaN, or a token that does not exist: neither values nor gradients see it."""
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
