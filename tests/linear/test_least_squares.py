"""Least squares beyond the contract: peers, rank policy, penalties, path, scale, and the mixed-precision route."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.linear_model import LinearRegression, Ridge

import jaxinfra as ji
from jaxinfra._core import rows
from jaxinfra.solvers.linalg import products
from tests import helpers
from tests.references import least_squares as reference
from tests.registry import BY_NAME

close = functools.partial(helpers.close, floor=1e-12)


@pytest.mark.slow
def test_scikit_learn_on_real_data():
    X, y = load_diabetes(return_X_y=True)
    w = np.linspace(0.5, 2, len(y))
    peer = LinearRegression().fit(X, y, w)
    fit = ji.ols.fit(X, y, sample_weight=w)
    close(fit.params.coef, peer.coef_, 1e-10)
    close(fit.params.intercept, peer.intercept_, 1e-10)
    peer = Ridge(alpha=0.1 * w.sum(), solver="svd").fit(X, y, w)
    close(ji.ridge.fit(X, y, l2=0.1, sample_weight=w).params.coef, peer.coef_, 1e-10)
    X, Y = load_linnerud(return_X_y=True)
    alpha = np.array([0.1, 1.0, 10.0])
    peer = Ridge(alpha=alpha * len(X)).fit(X, Y)
    close(ji.ridge.fit(X, Y, l2=alpha).params.coef.T, peer.coef_, 1e-10)


@pytest.fixture(scope="module")
def deficient():
    """Rank 3 of 5 with columns of very different size; one column constant, one a combination of two others."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 3)) * [1e-3, 1, 1e3] + [1, 5, 0]
    X = np.column_stack([A, np.full(40, 7.0), A[:, 0] * 1e3 + A[:, 2]])
    return X, A @ [1e3, 1, 1e-3] + rng.standard_normal(40)


def test_rank_and_minimum_norm(deficient):
    X, y = deficient
    fit = ji.check(ji.ols.fit(X, y))
    assert fit.info.rank == 3
    Xc, yc = X - X.mean(0), y - y.mean()
    # Minimum norm in the original units, from the null space in exact form: e_4, and (1e3, 0, 1, 0, -1).
    null = np.zeros((5, 2))
    null[3, 0] = 1
    null[[0, 2, 4], 1] = [1e3, 1, -1]
    np.testing.assert_allclose(null.T @ fit.params.coef, 0, atol=1e-8)
    some = np.linalg.lstsq(Xc[:, :3], yc, rcond=None)[0]
    close(Xc @ fit.params.coef, Xc[:, :3] @ some, 1e-9)
    assert np.linalg.norm(fit.params.coef) <= np.linalg.norm(some)
    assert float(fit.params.coef[3]) == pytest.approx(0, abs=1e-12)


def test_collinear_and_constant_columns_with_weights():
    """The rounding of a mean does not count as another column."""
    x, y, w = np.arange(3.0), np.array([2.0, 7, 3]), np.array([1.9, 1.6, 0.3])
    both = np.c_[x, x, np.ones(3)]
    fit = ji.check(ji.ols.fit(both, y, sample_weight=w))
    V = np.c_[x, np.ones(3)]
    expected = V @ np.linalg.solve(V.T @ (w[:, None] * V), V.T @ (w * y))
    np.testing.assert_allclose(ji.ols.predict(fit.params, both), expected, rtol=1e-12)


def test_minimum_norm_of_collinear_and_constant_columns_with_weights(rng):
    """And its derivative: the rounding of a constant column's mean is no scale of that column."""
    steps = rng.permuted(np.tile([[0.0, 1, 2, 3, 4], [0, 0, 1, 2, 4]], (60, 1, 1)), axis=2).swapaxes(1, 2)
    A = steps * [1, 1000] + rng.choice([0, 5, 1000], size=(60, 1, 1))
    X = np.concatenate([A, A.sum(2, keepdims=True), np.full((60, 5, 1), 100.0)], 2)
    y, w = rng.standard_normal((60, 5)), rng.uniform(0.5, 2, size=(60, 5))

    def coef(X, y, w):
        return ji.ols.fit(X, y, sample_weight=w).params.coef

    found, slope = jax.jit(lambda *data: (jax.vmap(coef)(*data), jax.vmap(jax.jacobian(coef, 2))(*data)))(X, y, w)

    null = np.linalg.qr(np.array([[1.0, 1, -1, 0], [0, 0, 0, 1]]).T)[0]

    def expected(A, y, w):
        Z, v = A - np.average(A, axis=0, weights=w), y - np.average(y, weights=w)
        some = np.append(np.linalg.lstsq(np.sqrt(w)[:, None] * Z, np.sqrt(w) * v, rcond=1e-12)[0], [0, 0])
        return some - null @ (null.T @ some)

    for A_, y_, w_, coef_, slope_ in zip(A, y, w, np.asarray(found), np.asarray(slope), strict=True):
        right = expected(A_, y_, w_)
        close(coef_, right, 1e-9)
        h = 1e-5 * np.eye(5)
        numerical = np.stack([expected(A_, y_, w_ + e) - expected(A_, y_, w_ - e) for e in h], 1) / 2e-5
        np.testing.assert_allclose(slope_, numerical, atol=1e-6 * np.abs(right).max())


@pytest.mark.slow
def test_many_rows_in_single_precision_have_a_rank_of_their_own(rng):
    """LAPACK's eps * n would take columns that differ by 0.01 for the same."""
    a, b = rng.standard_normal((2, 200_000))
    X = np.c_[a, a + 0.01 * b].astype(np.float32)
    y = X[:, 0] - 2 * X[:, 1]
    for fit in (ji.ols.fit(X, y), ji.ridge.fit(X, y, l2=0.0)):
        assert ji.check(fit).info.rank == 2
        np.testing.assert_allclose(fit.params.coef, [1, -2], rtol=1e-3)
    # A sum of columns and a constant still add nothing to the rank.
    same = np.c_[X[:, 0], b, X[:, 0] + b.astype(np.float32), np.full(len(a), 0.1)].astype(np.float32)
    assert ji.check(ji.ols.fit(same, y)).info.rank == 2


@pytest.mark.parametrize("dtype, ratio", [(np.float64, 1e6), (np.float32, 1e3)])
def test_wide_data_with_one_large_column(dtype, ratio, rng):
    """The effect of a correction is below the rounding of the kernel's coefficients, not of the columns'.

    And its size has no unit: squares of y that underflow are not small beside y.
    """
    X, y = rng.standard_normal((5, 8)), rng.standard_normal(5)
    X[:, 5] *= ratio
    X, y = X.astype(dtype), y.astype(dtype)
    tiny = dtype(np.finfo(dtype).tiny ** 0.55)
    expected = np.linalg.lstsq(X - X.mean(0, dtype=float), y - y.mean(dtype=float), rcond=1e-12)[0]
    for unit in (dtype(1), tiny):
        fit = ji.check(ji.ols.fit(X, y * unit))
        assert float(fit.info.optimality) < 20 * np.finfo(dtype).eps
        close(fit.params.coef / unit, expected, 1e-9 if dtype is np.float64 else 1e-4)
        close(ji.ols.predict(fit.params, X) / unit, y, 100 * np.finfo(dtype).eps)


@pytest.mark.slow
def test_derivative_at_constant_rank():
    """X = A B with inner size 2: rank 2 wherever A and B move."""
    rng = np.random.default_rng(1)
    A, B, y = rng.standard_normal((9, 2)), rng.standard_normal((2, 4)), rng.standard_normal(9)
    dA, dB = rng.standard_normal((9, 2)), rng.standard_normal((2, 4))

    def coef(s):
        return ji.ols.fit((A + s * dA) @ (B + s * dB), y).params.coef

    first = jax.jit(lambda s: jax.jvp(coef, (s,), (1.0,)))
    _, slope = first(0.0)
    step = 1e-6
    close(slope, (coef(step) - coef(-step)) / (2 * step), 1e-7)
    second = jax.jit(lambda s: jax.jvp(lambda s: first(s)[1], (s,), (1.0,))[1])(0.0)
    close(second, (first(step)[1] - first(-step)[1]) / (2 * step), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_degenerate_equalities(wide):
    model = BY_NAME["ols_wide" if wide else "ols"]
    X, y = model.data()
    close(ji.ridge.fit(X, y, l2=0.0).params.coef, ji.ols.fit(X, y).params.coef, 1e-9)
    assert ji.ridge.fit(X, y, l2=0.0).info.rank == ji.ols.fit(X, y).info.rank
    heavy = ji.ridge.fit(X, y, l2=1e12).params
    assert np.abs(heavy.coef).max() < 1e-9
    assert float(heavy.intercept) == pytest.approx(y.mean())
    close(ji.ridge.fit(X, y, l2=np.full(X.shape[1], 0.3)).params.coef, ji.ridge.fit(X, y, l2=0.3).params.coef, 1e-9)


def test_one_row():
    fit = ji.ols.fit(np.array([[1.0, 2.0]]), np.array([3.0]))
    assert fit.info.rank == 0 and fit.info.status == ji.Status.CONVERGED
    np.testing.assert_array_equal(fit.params.coef, 0)
    assert fit.params.intercept == 3
    close(
        ji.ols.fit(np.array([[1.0, 2.0]]), np.array([3.0]), fit_intercept=False).params.coef,
        np.array([0.6, 1.2]),
        1e-12,
    )


def test_half_precision_and_integers_are_computed_in_full():
    X, y = BY_NAME["ols"].data(dtype=np.float32)
    half = ji.ols.fit(jnp.asarray(X, jnp.bfloat16), jnp.asarray(y, jnp.bfloat16))
    assert half.params.coef.dtype == np.float32
    rounded = [np.asarray(jnp.asarray(a, jnp.bfloat16).astype(jnp.float32)) for a in (X, y)]
    close(half.params.coef, reference.fit(*rounded)[0], 1e-4)
    whole = ji.ols.fit(np.array([[1], [2], [4]]), np.array([1, 2, 4]))
    assert whole.params.coef.dtype == np.float64
    close(whole.params.coef, np.ones(1), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_units_do_not_matter_in_single_precision(scale):
    """Squares of these columns leave float32's range."""
    X, y = BY_NAME["ols"].data(dtype=np.float32)
    units = np.array([1, scale, 1, 1, 1], np.float32)
    fit = ji.ols.fit(X * units, y)
    assert fit.info.rank == 5
    close(fit.params.coef * units, ji.ols.fit(X, y).params.coef, 1e-4)


def test_large_means_cost_no_digits():
    """A column like a year or a timestamp: mean 1e6 standard deviations away."""
    X, y = BY_NAME["ols"].data()
    expected = reference.fit(X, y)[0]
    far = X + 2.0**20 * np.arange(5)
    close(ji.ols.fit(far, y).params.coef, reference.fit(far, y)[0], 1e-9)
    close(ji.ols.fit(far, y).params.coef, expected, 1e-8)


@pytest.mark.slow
def test_blocks_and_mixed_precision_give_the_same_digits(monkeypatch, rng):
    """Rows in blocks, and the float32 Gram matrix of wide float64 data, against LAPACK's QR."""
    n, p = 700, 200
    X = rng.standard_normal((n, p)) + rng.uniform(-3, 3, p)
    y = X[:, 0] + rng.standard_normal(n)
    w = rng.uniform(0.5, 2, n)
    root = np.sqrt(w)[:, None]
    design = root * np.column_stack([np.ones(n), X])
    expected = np.linalg.lstsq(design, root[:, 0] * y, rcond=None)[0]
    monkeypatch.setattr(rows, "BLOCK_ELEMENTS", 64 * p)
    assert rows.in_blocks(jnp.asarray(X))
    fit = ji.check(ji.ols.fit(X, y, sample_weight=w))
    close(fit.params.coef, expected[1:], 1e-11)
    assert fit.info.n_iter >= 2  # the factor was in float32
    for unit in (1e-20, 1e20):  # its squares are denormal in float32, or overflow there
        scaled = ji.check(ji.ols.fit(X * unit, y, sample_weight=w))
        close(scaled.params.coef * unit, expected[1:], 1e-11)
    # Too ill-conditioned for a float32 factor: the float64 one takes over.
    X[:, 1] = X[:, 0] + 1e-4 * X[:, 1]
    design = root * np.column_stack([np.ones(n), X])
    expected = np.linalg.lstsq(design, root[:, 0] * y, rcond=None)[0]
    fit = ji.check(ji.ols.fit(X, y, sample_weight=w))
    close(fit.params.coef, expected[1:], 1e-9)


@pytest.mark.slow
def test_squares_that_overflow_or_underflow(rng):
    """Both end as NONFINITE, not as a finite wrong answer; a column of zeros is one."""
    X = rng.standard_normal((700, 5)).astype(np.float32)
    y = (X[:, 0] + rng.standard_normal(700)).astype(np.float32)
    for unit in (1e18, 1e19, 1e25):
        fit = ji.ols.fit(X * np.float32(unit), y)
        assert fit.info.status == ji.Status.NONFINITE
        assert np.isnan(fit.params.coef).all()
    assert ji.ols.fit(X * np.array([1, 1, 1, 1, 1e-25], np.float32), y).info.status == ji.Status.NONFINITE
    fit = ji.check(ji.ols.fit(X * np.array([1, 1, 1, 1, 0], np.float32), y))
    assert fit.info.rank == 4
    close(fit.params.coef, np.append(ji.ols.fit(X[:, :4], y).params.coef, 0), 1e-6)


@pytest.mark.parametrize("n", [36, 1000])
def test_intercept_belongs_to_the_slope(n):
    """mean(y) - mean(x) slope to a fraction of the rounding of the means, although they are large.

    A mean that two compiled programs compute each for itself, one with a fused multiply-add, is off by a whole unit.
    """
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X = rng.uniform(0, 1000, (n, 1)).astype(np.float32)
        y = (1.003 * X[:, 0] + rng.standard_normal(n)).astype(np.float32)
        coef, intercept = ji.ols.fit(X, y).params
        expected = y.mean(dtype=float) - X.mean(dtype=float) * float(coef[0])
        assert abs(float(intercept) - expected) < 0.25 * np.spacing(y.mean())


@pytest.mark.slow
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_more_targets_than_join_the_gram_matrix(fit_intercept, monkeypatch, rng):
    """Many targets have separate cross products, in blocks and in strips of columns too."""
    n, p, k = 500, 200, 9
    X = rng.standard_normal((n, p)) + rng.uniform(-3, 3, p)
    Y = X[:, :k] + rng.standard_normal((n, k)) + 5
    w = rng.uniform(0.5, 2, n)
    root = np.sqrt(w)[:, None]
    design = root * (np.column_stack([X, np.ones(n)]) if fit_intercept else X)
    expected = np.linalg.lstsq(design, root * Y, rcond=None)[0]
    monkeypatch.setattr(rows, "BLOCK_ELEMENTS", 64 * p)
    fit = ji.check(ji.ols.fit(X, Y, sample_weight=w, fit_intercept=fit_intercept))
    close(fit.params.coef, expected[:p], 1e-11)
    close(fit.params.intercept, expected[p] if fit_intercept else np.zeros(k), 1e-11)
    single = ji.ols.fit(X.astype(np.float32), Y.astype(np.float32), sample_weight=w, fit_intercept=fit_intercept)
    close(ji.check(single).params.coef, expected[:p], 1e-4)


def exact_solution(A, y):
    """The least-squares solution of whole-number data in rational arithmetic, by Gauss elimination."""
    from fractions import Fraction

    columns = [[Fraction(int(v)) for v in column] for column in A.T]
    target = [Fraction(int(v)) for v in y]
    rows = [[sum(a * b for a, b in zip(c, d, strict=True)) for d in [*columns, target]] for c in columns]
    m = len(rows)
    for i in range(m):
        for j in range(m):
            if j != i:
                f = rows[j][i] / rows[i][i]
                rows[j] = [a - f * b for a, b in zip(rows[j], rows[i], strict=True)]
    return np.array([float(rows[i][m] / rows[i][i]) for i in range(m)])


@pytest.mark.slow
@pytest.mark.parametrize("degree, noise", [(5, 1e10), (7, 1e6)])
def test_large_residuals_on_ill_conditioned_data(degree, noise):
    """A polynomial with a residual that dwarfs it: QR loses condition^2 * eps of the coefficients, we do not."""
    x = np.arange(25.0)
    X = np.stack([x**i for i in range(1, degree + 1)], 1)
    y = X.sum(1) + np.round(noise * np.sin(3 * x))
    A = np.column_stack([np.ones(25), X])
    exact = exact_solution(A, y)[1:]
    ours, lapack = [], []
    # What rounding does in one order of the rows is chance, which differs between processors.
    for order in (np.random.default_rng(k).permutation(25) for k in range(20)):
        coef = ji.check(ji.ols.fit(X[order], y[order])).params.coef
        ours.append(np.abs(np.asarray(coef) / exact - 1).max())
        lapack.append(np.abs(np.linalg.lstsq(A[order], y[order], rcond=None)[0][1:] / exact - 1).max())
    assert max(ours) < 1e-9
    assert np.median(ours) < np.median(lapack) / 20  # 55 and 890 times when it was written


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_path(wide, intercept):
    model = BY_NAME["ridge_wide" if wide else "ridge"]
    X, y = model.data(n=None if wide else 15)
    l2 = np.array([1e-3, 0.1, 2.0])
    path = ji.ridge.path(X, y, l2=l2, fit_intercept=intercept)
    for i, v in enumerate(l2):
        fit = reference.fit(X, y, l2=v, fit_intercept=intercept)
        close(path.coef[i], fit[0], 1e-9)
        close(path.intercept[i], fit[1], 1e-8)
        close(path.loo[i], reference.leave_one_out(X, y, l2=v, fit_intercept=intercept), 1e-9)
        Xc = X - X.mean(0) if intercept else X
        H = Xc @ np.linalg.solve(Xc.T @ Xc + len(y) * v * np.eye(X.shape[1]), Xc.T)
        dof = np.trace(H) + intercept
        close(path.dof[i], dof, 1e-9)
        r = y - X @ fit[0] - fit[1]
        close(path.gcv[i], np.mean(r**2) / (1 - dof / len(y)) ** 2, 1e-8)
    assert np.isnan(np.asarray(ji.ridge.path(X, y, l2=jnp.array([-1.0])).coef)).all()


@pytest.mark.slow
def test_path_of_unscaled_columns_in_single_precision():
    """Columns from 1e-3 to 1e3, penalties far below the largest squares."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    X, y = X.astype(np.float32), y.astype(np.float32)
    l2 = np.array([0.01, 1.0], np.float32)
    path = ji.ridge.path(X, y, l2=l2)
    for i in range(2):
        close(path.coef[i], reference.fit(X, y, l2=l2[i])[0], 1e-3)
        close(path.coef[i], ji.ridge.fit(X, y, l2=l2[i]).params.coef, 1e-3)


@pytest.mark.slow
def test_path_of_several_targets_and_its_derivative():
    X, y = BY_NAME["ridge_by_target"].data()
    l2 = np.array([0.05, 0.5])
    path = ji.ridge.path(X, y, l2=l2)
    assert path.coef.shape == (2, 5, 3) and path.loo.shape == (2, 3) and path.dof.shape == (2,)
    for i in range(2):
        close(path.coef[i], ji.ridge.fit(X, y, l2=l2[i]).params.coef, 1e-10)
    loss = lambda v: ji.ridge.path(X, y, l2=v).loo.sum()  # noqa: E731
    slope = jax.grad(loss)(l2)
    for i in range(2):
        e = np.eye(2)[i] * 1e-5
        assert float(slope[i]) == pytest.approx(float(loss(l2 + e) - loss(l2 - e)) / 2e-5, rel=1e-5)
    with pytest.raises(ValueError, match=r"ridge\.path: l2 must have shape \(m,\)"):
        ji.ridge.path(X, y, l2=0.1)


def test_strips_give_the_symmetric_product(rng):
    A = rng.standard_normal((50, 300))
    np.testing.assert_allclose(products.mirror(products.symmetric_product(A, A)), A.T @ A, rtol=1e-12, atol=1e-12)
