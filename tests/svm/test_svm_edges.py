"""Machines at their edges: rows far away, values that overflow, odd kernels and labels, a nu without a margin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels as K
from jaxinfra._core import compensated
from jaxinfra.solvers.dual import solver
from jaxinfra.solvers.dual.problem import Dual

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
X = RNG.standard_normal((12, 4))
THREE = np.argsort(np.argsort(X[:, 0])) // 4


def test_exponentials_of_far_rows_are_0():
    a = -np.array([0, 1e-3, 40, 83, 83.2, 88, 104, 1e4, 1e9, 3e38, np.inf], np.float32)
    hi, lo = jax.jit(compensated.exp)((jnp.asarray(a), jnp.zeros(len(a), np.float32)))
    found, exact = np.asarray(hi, float) + np.asarray(lo, float), np.exp(a.astype(float))
    exact[exact < 2.0**-120] = 0
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=2.0**-119)


FAR = {
    "svc": (ji.svc, np.array([0, 0, 1, 1]), {}),
    "nu_svc": (ji.nu_svc, np.array([0, 0, 1, 1]), {"nu": 0.5}),
    "svr": (ji.svr, np.array([0.0, 0.5, 1, 1]), {"epsilon": 0.1}),
    "nu_svr": (ji.nu_svr, np.array([0.0, 0.5, 1, 1]), {"nu": 0.5}),
    "one_class": (ji.one_class, None, {"nu": 0.5}),
}


@pytest.mark.parametrize("name", FAR)
def test_a_row_far_from_all_others(name):
    """Its kernel values underflow: float32 decides as float64."""
    model, y, more = FAR[name]
    rows = np.array([[0.0], [1], [2], [500]])
    fits = [ji.check(model.fit(*([a] if y is None else [a, y if y.dtype.kind == "i" else y.astype(a.dtype)]),
                               kernel=K.RBF(1.0), **more)) for a in (rows, rows.astype(np.float32))]  # fmt: skip
    if name == "svc":
        np.testing.assert_allclose(fits[0].params.intercept, 0.1748, atol=1e-4)
    np.testing.assert_allclose(fits[1].params.intercept, fits[0].params.intercept, atol=1e-3)
    np.testing.assert_allclose(fits[1].params.coef, fits[0].params.coef, atol=1e-3)


def test_precomputed_values_of_three_classes():
    """The same machines as from the rows."""
    gram = X @ X.T
    for model in (ji.svc, ji.nu_svc):
        rows = ji.check(model.fit(X, THREE, kernel=K.Linear(), tol=1e-8))
        values = ji.check(model.fit(gram, THREE, kernel=K.Precomputed(), tol=1e-8))
        np.testing.assert_allclose(values.params.coef, rows.params.coef, atol=1e-5)
        np.testing.assert_allclose(
            model.objective(values.params, gram, THREE), model.objective(rows.params, X, THREE), rtol=1e-6
        )
        np.testing.assert_array_equal(model.predict(values.params, gram), model.predict(rows.params, X))
        assert model.optimality(values.params, gram, THREE) < 1e-6


def test_path_of_precomputed_values_of_three_classes():
    C = np.array([0.1, 1.0])
    rows = ji.svc.path(X, THREE, C=C, kernel=K.Linear(), tol=1e-8)
    values = ji.svc.path(X @ X.T, THREE, C=C, kernel=K.Precomputed(), tol=1e-8)
    np.testing.assert_allclose(values.params.coef, rows.params.coef, atol=1e-5)


def test_a_high_power_of_few_rows():
    """It compiled for two minutes: XLA copied each product into each use."""
    rows, y = X[:10, :3].astype(np.float32), np.arange(10) % 2
    kernel = K.Polynomial(8, 1.0, 1.0)
    fit = ji.svc.fit(rows, y, kernel=kernel)
    exact = ji.check(ji.svc.fit(rows.astype(float), y, kernel=kernel))
    np.testing.assert_allclose(
        ji.svc.decision(fit.params, rows), ji.svc.decision(exact.params, rows.astype(float)), rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("degree", [2, 3, 5, 7, 8])
def test_powers_in_pairs(degree):
    rows = X[:10, :3].astype(np.float32)
    hi, lo = jax.jit(lambda a: K.cast(K.Polynomial(degree, 1.0, 1.0), a.dtype).pairs(a, a))(rows)
    wide = rows.astype(float)
    error = np.abs(np.asarray(hi, float) + np.asarray(lo, float) - (wide @ wide.T + 1) ** degree)
    bound = (np.abs(wide) @ np.abs(wide).T + 1) ** degree  # the sum may cancel before the power
    assert (error / bound).max() < degree * 2.0**-34  # products in pairs carry some 36 bits


@pytest.mark.filterwarnings("ignore:.*scale the columns")
def test_values_that_overflow():
    rows, y = np.array([[1.0], [2], [3], [4]]) * 1e60, np.array([0, 0, 1, 1])
    cubic = K.Polynomial(3, 1.0, 0.0)
    for fit in (ji.nu_svc.fit(rows, y, nu=0.5, kernel=cubic), ji.svc.fit(rows, y, kernel=cubic)):
        assert fit.info.status == ji.Status.NONFINITE
        assert np.isnan(fit.params.coef).all() and np.isnan(fit.params.intercept)


def test_values_that_overflow_in_float32():
    rows = (5 + RNG.standard_normal((30, 4))).astype(np.float32)
    kernel = K.Polynomial(8, 864.16, 0.0)
    two, three = np.arange(30) % 2, np.arange(30) % 3
    for model in (ji.svc, ji.nu_svc):
        for y in (two, three):
            assert (model.fit(rows, y, kernel=kernel).info.status == ji.Status.NONFINITE).all()
    real = two.astype(np.float32)
    for fit in (ji.svr.fit(rows, real, kernel=kernel), ji.nu_svr.fit(rows, real, kernel=kernel),
                ji.one_class.fit(rows, kernel=kernel),
                ji.kernel_ridge.fit(rows, real, l2=0.1, kernel=kernel)):  # fmt: skip
        assert fit.info.status == ji.Status.NONFINITE


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_nu_without_a_margin(dtype):
    """The reduced hulls of the classes meet: there is no plane to divide by."""
    y = np.array([0, 1] * 6)
    rows = np.repeat(X[:6], 2, 0).astype(dtype)  # each row in both classes
    for kernel in (K.Linear(), K.RBF(0.5)):
        fit = ji.nu_svc.fit(rows, y, nu=0.3, kernel=kernel)
        assert fit.info.status == ji.Status.INFEASIBLE and np.isnan(fit.params.coef).all()
        with pytest.raises(Exception, match="margin"):
            ji.check(fit)
    # Both classes about the same centre.
    both = np.array([[-1.0], [1], [-2], [2]], dtype)
    assert ji.nu_svc.fit(both, np.array([0, 0, 1, 1]), nu=0.9, kernel=K.Linear()).info.status == ji.Status.INFEASIBLE


def test_a_pair_without_a_solution_is_not_hidden_by_an_absent_class():
    """The pairs of class 2, which has no rows, are ONE_CLASS, which is usable; that of 0 and 1 has no point."""
    rows, y = np.array([[-2.0], [-1], [1], [2]]), np.array([0, 1, 1, 1])
    fit = ji.nu_svc.fit(rows, y, nu=0.9, kernel=K.Linear(), n_classes=3)
    assert fit.info.status == ji.Status.INFEASIBLE and np.isnan(fit.params.coef[0]).all()


def test_a_nu_with_a_margin_does_not_depend_on_the_order():
    y = (X[:, 0] > 0).astype(int)
    order = RNG.permutation(12)
    fits = [ji.check(ji.nu_svc.fit(X[o], y[o], nu=0.4, kernel=K.RBF(0.5), tol=1e-8)) for o in (slice(None), order)]
    np.testing.assert_allclose(*(ji.nu_svc.decision(f.params, X) for f in fits), atol=1e-5)


@pytest.mark.parametrize("model", [ji.svc, ji.nu_svc, ji.linear_svm, ji.multinomial, ji.ordinal])
def test_labels_that_do_not_begin_at_0(model):
    with pytest.raises(ValueError, match=r"class 0 has no rows; labels must be 0\.\.K-1, got 1, 2"):
        model.fit(X, THREE % 2 + 1)


def test_functions_that_are_no_kernels():
    y = THREE % 2
    for function, message in (
        (lambda a, b: (a[:, None] == b[None]).sum(-1), r"svc\.fit: .*Custom.* floating-point values, got int"),
        (lambda a, b: a @ b.T @ jnp.ones(len(b)), r"svc\.fit: .*Custom.* \(12, 12\), got \(12,\)"),
        (lambda a, b: (a @ b.T)[:, :3], r"svc\.fit: .*Custom.* \(12, 12\), got \(12, 3\)"),
        (lambda a, b: None, r"svc\.fit: .*Custom.*array"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            ji.svc.fit(X, y, kernel=K.Custom(function))


@pytest.mark.parametrize("n", [6, 30])
def test_indefinite_kernels_end_at_a_stationary_point(n):
    """Of symmetric random matrices; a diagonal below 0 gave steps in the wrong direction (8 of 20 sets with n = 6)."""
    A = np.random.default_rng(0).standard_normal((40, n, n))
    A, y = (A + A.transpose(0, 2, 1)) / 2, np.arange(n) % 2

    def fit(A):
        return ji.svc.fit(A, y, kernel=K.Precomputed(), n_classes=2)

    found = jax.jit(jax.vmap(fit))(A)
    assert (np.asarray(found.info.status) == ji.Status.CONVERGED).all()
    sign = 2.0 * y - 1
    for matrix, b in zip(A, np.asarray(found.params.coef), strict=True):
        low, high = np.minimum(0, sign), np.maximum(0, sign)
        assert (low <= b).all() and (b <= high).all() and abs(b.sum()) < 1e-12
        f = matrix @ b - sign
        assert f[b > low].max() - f[b < high].min() <= 1e-3


def _clusters(p, apart):
    """60 rows of float32 in three clusters, which float32 distinguishes only as differences, and y of float32."""
    rng = np.random.default_rng(p)
    rows = rng.standard_normal((60, p))
    y = np.sin(rows[:, 0]) + 0.1 * rng.standard_normal(60)
    rows += apart * np.array([-1.0, 0.0, 1.0])[np.minimum(np.arange(60) // 5, 2)][:, None]
    return rows.astype(np.float32), y.astype(np.float32)


@jax.jit
def _gaussian(X, gamma, c):
    """The values, the same in float64 and in pairs, and the derivatives of c'Kc by X and gamma."""
    kernel = K.RBF(gamma)
    features = kernel.pair_features(X, kernel.middle(X))
    form = jax.grad(lambda X, gamma: c @ K.RBF(gamma)(X, X) @ c, (0, 1))
    wide = X.astype(float)
    return kernel(X, X), K.RBF(gamma.astype(float))(wide, wide), kernel.pairs(features, features), form(X, gamma)


@pytest.mark.parametrize("p", [3, 20])
@pytest.mark.parametrize("gamma", ["number", "columns"])
@pytest.mark.parametrize("apart", [3.0, 3e2, 1e6])
def test_values_and_derivatives_between_rows_of_clusters_far_apart(apart, gamma, p):
    """Values and derivatives to a few eps of float32, values in pairs to less."""
    rows = _clusters(p, apart)[0]
    gamma = np.float32(1 / p) if gamma == "number" else (np.arange(1, p + 1) / p**2).astype(np.float32)
    c = np.random.default_rng(1).standard_normal(60).astype(np.float32)
    found = _gaussian(*map(jnp.asarray, (rows, gamma, c)))
    values, wide, (high, low), (of_rows, of_gamma) = jax.tree.map(lambda v: np.asarray(v, float), found)
    differences = rows[:, None].astype(float) - rows[None]
    exact = np.exp(-(gamma * differences**2).sum(-1))
    by_product = p == 20 and apart == 3
    np.testing.assert_allclose(values, exact, atol=1e-5 if by_product else 1e-6)
    np.testing.assert_allclose(wide, exact, atol=1e-13 if p == 3 else 1e-9)
    np.testing.assert_allclose(high + low, exact, atol=1e-9 if p == 3 or by_product else 1e-5)

    weights = np.outer(c, c).astype(float) * exact
    expected = -4 * (weights[..., None] * gamma * differences).sum(1)
    np.testing.assert_allclose(of_rows, expected, atol=3e-6 * np.abs(expected).max())
    expected = -(weights[..., None] * differences**2).sum((0, 1))
    expected = expected if gamma.ndim else expected.sum()
    np.testing.assert_allclose(of_gamma, expected, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("p", [3, 20])
@pytest.mark.parametrize("apart", [3e2, 1e6])
def test_machines_of_rows_in_clusters_far_apart(apart, p):
    """A fit in float32 and its predictions depend on the distances within a cluster."""
    rows, y = _clusters(p, apart)
    kernel = K.RBF(np.float32(1 / p))
    gram = np.exp(-((rows[:, None].astype(float) - rows[None]) ** 2).sum(-1) / p)
    fit = ji.check(ji.kernel_ridge.fit(rows, y, l2=0.1 / 60, kernel=kernel))
    one = np.ones((60, 1))
    exact = np.linalg.solve(np.block([[gram + 0.1 * np.eye(60), one], [one.T, np.zeros((1, 1))]]), np.r_[y, 0])
    np.testing.assert_allclose(fit.params.coef, exact[:-1], atol=1e-5)
    np.testing.assert_allclose(ji.kernel_ridge.predict(fit.params, rows), gram @ exact[:-1] + exact[-1], atol=1e-5)
    fit = ji.check(ji.svr.fit(rows, y, kernel=kernel))
    value = gram @ np.asarray(fit.params.coef, float) + float(fit.params.intercept)
    np.testing.assert_allclose(ji.svr.predict(fit.params, rows), value, atol=1e-5)


@pytest.mark.filterwarnings("ignore:svc.fit")  # of the column's size, which is the point
@pytest.mark.parametrize("seed", [1, 3, 4])
def test_the_sum_of_the_coefficients_stays_in_float32(seed):
    """After hundreds of thousands of steps too, each of which rounds two variables."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, 3))
    rows[:, 2] *= 400
    y = (rows[:, 0] + rng.logistic(size=40) > 0).astype(int)
    fit = ji.svc.fit(rows.astype(np.float32), y, kernel=K.Linear())
    coef = np.asarray(fit.params.coef, float)
    assert np.abs(coef).sum() > 10
    assert abs(coef.sum()) < 2e-5


def test_sums_that_drift_are_not_called_solved():
    """A violation of 0 says nothing about a point that violates the sums of the groups."""
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)

    @jax.jit
    def status(b):
        dual = Dual(-one, -one, one, jnp.zeros(4, jnp.int32), jnp.zeros(1, jnp.float32))
        violation, tol, method = jnp.float32(0), jnp.float32(1e-3), jnp.int32(ji.Status.CONVERGED)
        return solver._solution(dual, b, (zero, zero), violation, tol, method, jnp.int32(1)).status

    b = np.array([0.5, -0.5, 0.25, -0.25], np.float32)
    for off, expected in ((0, ji.Status.CONVERGED), (1e-6, ji.Status.CONVERGED), (1e-3, ji.Status.STALLED)):
        assert status(b + np.float32([off, 0, 0, 0])) == expected, off
