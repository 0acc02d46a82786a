"""Rows of weight 0 that round the number of rows up; that every model ignores them is in `test_absent.py`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxinfra as ji
from jaxinfra._core import padding

X = np.arange(24, dtype=np.float32).reshape(12, 2) ** 2
Y = np.arange(12)


def test_sizes_are_few_and_near():
    sizes = [padding._size("x", n, None) for n in range(1, 5000)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert max((size - n) / n for n, size in enumerate(sizes, 1) if n >= 16) < 0.25
    assert len(set(sizes[:1000])) == 25 and len(set(sizes)) == 34
    assert all(padding._size("x", size, None) == size for size in set(sizes))


def test_what_comes_back():
    """Copies of the last row, weights of 0, and the dtypes that were given."""
    weights = np.linspace(1, 2, 12)
    names = np.array(["a", "b"])[Y % 2]
    found = ji.pad_rows(X, names, weights, None, Y.astype(np.int32), np.ones((12, 3), np.float16))
    for value, given in zip(found, (X, names, weights, None, Y.astype(np.int32), np.ones((12, 3), np.float16)),
                            strict=True):  # fmt: skip
        if given is None:
            assert value is None
            continue
        assert isinstance(value, np.ndarray) and value.dtype == given.dtype and len(value) == 16
        np.testing.assert_array_equal(value[:12], given)
        if given is not weights:
            np.testing.assert_array_equal(value[12:], np.repeat(given[-1:], 4, 0))
    assert (found[2][12:] == 0).all()


def test_weights_are_there_without_any_and_without_need():
    for n, size in ((12, 16), (16, 16)):
        Z, none, w = ji.pad_rows(np.ones((n, 2), np.float32))
        assert Z.shape == (size, 2) and none is None and w.dtype == np.float32
        np.testing.assert_array_equal(w, np.arange(size) < n)


def test_data_frames_lists_and_series():
    frame = pd.DataFrame({"a": X[:, 0], "b": Y, "c": Y > 3})
    Z, y, w = ji.pad_rows(frame, pd.Series(Y, index=Y + 7), sizes=[100, 13])
    assert Z.shape == (13, 3) and y.tolist() == [*Y, 11] and w.sum() == 12
    Z, y, w = ji.pad_rows([[1.5, 2.0], [3.0, 4.0]], [1, 0], [1.0, 3.0], sizes=(3,))
    assert Z.tolist() == [[1.5, 2], [3, 4], [3, 4]] and y.tolist() == [1, 0, 0] and w.tolist() == [1, 3, 0]
    with jax.enable_x64(False):
        assert ji.pad_rows([[1.5]], [2.0])[0].dtype == np.float32 == ji.pad_rows([[1.5]], [2.0])[1].dtype


def test_jax_arrays_stay_so_and_compile_nothing(compilations):
    given = jnp.asarray(X), jnp.asarray(Y), jax.device_put(jnp.ones(12), jax.devices()[0])
    with compilations() as count:
        found = ji.pad_rows(*given)
        more = ji.pad_rows(given[0])
    assert count[0] == 0
    for value, before in zip(found, given, strict=True):
        assert isinstance(value, jax.Array) and value.dtype == before.dtype and len(value) == 16
        assert value.committed == before.committed
    np.testing.assert_array_equal(found[0], ji.pad_rows(X)[0])
    assert isinstance(more[2], jax.Array) and float(more[2].sum()) == 12


def test_while_traced():
    """The shapes are static, and what is added moves no derivative."""

    @jax.jit
    def total(X, y):
        X, y, w = ji.pad_rows(X, y)
        assert X.shape == (16, 2) and w.shape == (16,)
        return (w * y * X.sum(1)).sum(), (X, w)

    y = X[:, 0] + 1
    value, (Z, w) = total(X, y)
    np.testing.assert_array_equal(Z, ji.pad_rows(X)[0])
    np.testing.assert_array_equal(w, ji.pad_rows(X)[2])
    slope = jax.grad(total, has_aux=True)(X, y)[0]
    np.testing.assert_allclose(slope, np.repeat(y[:, None], 2, 1))


def test_a_loop_over_lengths_compiles_one_program(compilations):
    rng = np.random.default_rng(0)
    with compilations() as count:
        for n in range(33, 41):
            X = rng.standard_normal((n, 3))
            ji.ols.fit(*(rows := ji.pad_rows(X, X @ np.ones(3)))[:2], sample_weight=rows[2])
    assert count[0] == 1


@pytest.mark.parametrize("given, options, error, message", [
    ((X[:0], Y[:0]), {}, ValueError, r"at least one row, got X \(0, 2\)"),
    ((X, Y[:5]), {}, ValueError, r"y must have the 12 rows of X \(12, 2\), got y \(5,\)"),
    ((X, Y, None, None, Y[:3]), {}, ValueError, r"more\[1\] must have the 12 rows"),
    ((X, Y, np.ones(3)), {}, ValueError, "sample_weight must have the 12 rows"),
    ((X, Y), {"sizes": [4, 8]}, ValueError, "there are 12 rows, and sizes end at 8"),
    ((X, Y), {"sizes": [20.5]}, ValueError, "sizes is static and must be a whole number"),
    ((np.array([["a"]]),), {}, TypeError, "X has dtype"),
])  # fmt: skip
def test_errors(given, options, error, message):
    with pytest.raises(error, match=f"pad_rows: .*{message}"):
        ji.pad_rows(*given, **options)
