"""A fit in two programs: which of them run, on what is at hand and while tracing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra._core.stages import WHOLE, Rare, noted, staged
from tests.helpers import close


@pytest.fixture
def root():
    """The square root of numbers from 0 on, the rare work that of the others; `traced`: the programs that were made."""

    @staged(static=("unit",))
    def fit(x, *, unit, rare):
        fit_traced.append("lean" if rare.lean else "whole")
        return rare.when(jnp.any(x < 0), lambda r: jnp.where(x < 0, -jnp.sqrt(-x), r), jnp.sqrt(x)) * unit

    fit_traced = fit.traced = []
    return fit


def test_the_whole_program_runs_only_where_it_is_needed(root):
    assert root(np.float32([1, 4]), unit=3).tolist() == [3, 6] and root.traced == ["lean"]
    assert root(np.float32([9, 4]), unit=3).tolist() == [9, 6] and root.traced == ["lean"]
    assert root(np.float32([9, -4]), unit=3).tolist() == [9, -6] and root.traced == ["lean", "whole"]
    assert root(np.float32([1, 4]), unit=3).tolist() == [3, 6] and root.traced == ["lean", "whole"]


def tangent(f):
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


@pytest.mark.parametrize("transform, expected", [(jax.jit, 2), (jax.vmap, 2), (tangent, 0.25)])
def test_traced_arrays_go_to_the_whole_program(root, transform, expected):
    assert transform(lambda x: root(x, unit=1))(jnp.full(3, 4.0)).tolist() == [expected] * 3
    assert root.traced == ["whole"]


def test_constants_of_a_traced_function_have_the_right_answer(root):
    x = np.float32([4, -4])
    assert jax.jit(lambda z: root(x, unit=1) * z)(2.0).tolist() == [4, -4]
    assert "whole" in root.traced


def test_rare_work_inside_of_a_whole_program_is_noted_nowhere():
    WHOLE.note(jnp.array(True))
    assert WHOLE.needed is False


def test_lean_and_whole_programs_agree(rng):
    """And what the lean program leaves out, a collinear design and values that are not finite, is found."""
    X = rng.standard_normal((60, 4))
    y = X @ np.array([1.0, -2.0, 0.5, 0.0]) + rng.standard_normal(60)
    bad = X.copy()
    bad[3, 1] = np.nan
    for data in (X, np.column_stack([X[:, :3], X[:, 0] - X[:, 2]]), bad):
        called, compiled = ji.ols.fit(data, y), jax.jit(ji.ols.fit)(data, y)
        assert called.info.status == compiled.info.status and called.info.rank == compiled.info.rank
        if np.isfinite(data).all():
            close(called.params.coef, compiled.params.coef, 1e-12)
        else:
            assert np.isnan(called.params.coef).all()


@pytest.fixture
def many(root):
    """The roots of rows of numbers, each row by itself; `traced`: the programs of one root."""
    root.__module__ = "jaxinfra.root"

    @staged(static=())
    def fits(rows, *, rare):
        found, needed = jax.vmap(lambda row: noted(root, rare)(row, unit=1))(rows)
        rare.note(needed)
        return found

    fits.root, fits.traced = root, root.traced
    return fits


def test_a_program_of_many_fits_is_lean_where_all_of_them_are(many):
    rows = np.float32([[1, 4], [9, 16]])
    assert many(rows).tolist() == [[1, 2], [3, 4]] and many.traced == ["lean"]
    assert many(-rows).tolist() == [[-1, -2], [-3, -4]] and many.traced == ["lean", "whole"]
    assert jax.jit(lambda x: many(x))(rows).tolist() == [[1, 2], [3, 4]] and many.traced == ["lean", "whole"]


def test_a_fit_of_another_module_may_make_several_and_is_whole(many):
    many.root.__module__ = "elsewhere"
    assert many(np.float32([[1, 4]])).tolist() == [[1, 2]] and many.traced == ["whole"]


def test_notes_end_with_a_fit_that_raises(root):
    root.__module__ = "jaxinfra.root"
    with pytest.raises(TypeError):
        noted(root, Rare(lean=True))("no numbers", unit=1)
    assert jax.jit(lambda x: root(x, unit=1))(np.float32([4])).tolist() == [2] and root.traced == ["whole"]
