"""Kernel ridge regression: its equations in plain NumPy, scikit-learn, ridge, and the columns of the contract."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

import jaxinfra as ji
from jaxinfra import kernels
from tests.helpers import close

N, P, GAMMA, L2 = 30, 3, 0.3, 0.02
RNG = np.random.default_rng(3)
X, W = RNG.standard_normal((N, P)), RNG.uniform(0.5, 2, N)
Y = np.sin(X[:, 0]) + X[:, 1] ** 2 + 0.1 * RNG.standard_normal(N) + 3
Z = RNG.standard_normal((7, P))


def rbf(A, B, gamma=GAMMA):
    return np.exp(-gamma * ((A[:, None] - B[None]) ** 2).sum(-1))


def reference(K, y, l2, w, intercept=True):
    """coef and intercept by the bordered system of the rows that count: (K + l2 sum w / w) a + b = y, 1'a = 0."""
    keep = w > 0
    n = keep.sum()
    M = np.zeros((n + 1, n + 1))
    M[:n, :n] = K[np.ix_(keep, keep)] + np.diag(l2 * w.sum() / w[keep])
    if intercept:
        M[:n, n] = M[n, :n] = 1
    else:
        M[n, n] = 1
    found = np.linalg.solve(M, np.r_[y[keep], 0])
    coef = np.zeros(len(y))
    coef[keep] = found[:n]
    return coef, found[n]


def fit(X=X, y=Y, w=W, gamma=GAMMA, l2=L2, **more):
    return ji.kernel_ridge.fit(X, y, l2=l2, kernel=kernels.RBF(gamma), sample_weight=w, **more)


@pytest.mark.parametrize("dtype, rel", [(np.float64, 1e-11), (np.float32, 1e-4)])
@pytest.mark.parametrize("intercept", [True, False])
def test_reference(dtype, rel, intercept):
    data = (a.astype(dtype) for a in (X, Y, W))
    found = ji.check(fit(*data, fit_intercept=intercept))
    expected = reference(rbf(X, X), Y, L2, W, intercept)
    close(found.params[:2], expected, rel)
    assert found.params.coef.dtype == dtype
    assert found.info.optimality <= (1e-13 if dtype == np.float64 else 1e-5)
    close(ji.kernel_ridge.predict(found.params, Z.astype(dtype)), rbf(Z, X) @ expected[0] + expected[1], rel)
    a, b = expected
    r = Y - rbf(X, X) @ a - b
    value = W @ r**2 / W.sum() / 2 + L2 / 2 * a @ rbf(X, X) @ a
    close(found.info.objective, value, rel)
    close(ji.kernel_ridge.objective(found.params, X, Y, l2=L2, sample_weight=W), value, rel)
    at = found.params._replace(coef=found.params.coef + 0.1)
    wrong = ji.kernel_ridge.optimality(at, X, Y, l2=L2, sample_weight=W, fit_intercept=intercept)
    right = ji.kernel_ridge.optimality(found.params, X, Y, l2=L2, sample_weight=W, fit_intercept=intercept)
    assert right <= rel < wrong


def test_scikit_learn():
    """It has no intercept; its alpha is l2 times the sum of weights."""
    two = np.c_[Y, Y[::-1] ** 2]
    theirs = KernelRidge(alpha=L2 * W.sum(), kernel="rbf", gamma=GAMMA).fit(X, two, sample_weight=W)
    mine = ji.check(fit(y=two, fit_intercept=False))
    close(mine.params.coef, theirs.dual_coef_.T, 1e-10)
    close(ji.kernel_ridge.predict(mine.params, Z), theirs.predict(Z), 1e-10)
    for k in range(2):
        close(ji.check(fit(y=two)).params.coef[k], fit(y=two[:, k]).params.coef, 1e-12)


@pytest.mark.slow
def test_a_linear_kernel_is_ridge():
    machine = ji.check(ji.kernel_ridge.fit(X, Y, l2=L2, kernel=kernels.Linear(), sample_weight=W)).params
    ridge = ji.ridge.fit(X, Y, l2=L2, sample_weight=W).params
    close(ji.kernel_ridge.linear_coef(machine), ridge.coef, 1e-10)
    close(machine.intercept, ridge.intercept, 1e-10)
    precomputed = ji.kernel_ridge.fit(X @ X.T, Y, l2=L2, kernel=kernels.Precomputed(), sample_weight=W).params
    close(precomputed[:2], machine[:2], 1e-9)
    default = ji.kernel_ridge.fit(X, Y, l2=L2).params
    named = ji.kernel_ridge.fit(X, Y, l2=L2, kernel=kernels.RBF(kernels.scale(X))).params
    close(default[:2], named[:2], 1e-12)


def test_weights_are_the_mask():
    w = np.ones(N)
    w[[1, 4]], w[[0, 7]] = 0, 2
    keep = np.repeat(np.arange(N), w.astype(int))
    weighted, repeated = fit(w=w).params, fit(X[keep], Y[keep], None).params
    close(ji.kernel_ridge.predict(weighted, Z), ji.kernel_ridge.predict(repeated, Z), 1e-10)
    assert not weighted.coef[w == 0].any()
    close(fit(w=7 * W).params[:2], fit().params[:2], 1e-11)
    offset = np.linspace(-1, 1, N)
    close(fit(offset=offset).params[:2], fit(y=Y - offset).params[:2], 1e-12)


def test_second_call_compiles_nothing(compilations):
    fit()
    with compilations() as count:
        fit(X + 1, 2 * Y, 2 * W, 0.2, 0.1, tol=1e-7, max_iter=3)
    assert count[0] == 1  # the tolerance: None is another program
    with compilations() as count:
        fit(X + 1, 2 * Y, 2 * W, 0.2, 0.1, tol=1e-6, max_iter=4)
    assert count[0] == 0


def test_lanes_and_derivatives():
    """A batch is the loop; jvp, vjp and the second order against central differences, along everything at once."""
    at = {"X": X, "y": Y, "w": np.where(np.arange(N) == 5, 0, W), "gamma": np.asarray(GAMMA), "l2": np.asarray(L2)}
    rng = np.random.default_rng(1)
    along = {k: rng.standard_normal(np.shape(v)) * 0.01 for k, v in at.items()}
    along["w"] = np.abs(along["w"])  # a row of weight 0 comes in
    both = {k: np.stack([v, v + 0.1]) for k, v in at.items()}
    batch = jax.vmap(lambda a: fit(**a).params[:2])(both)
    for i in range(2):
        close([v[i] for v in batch], fit(**{k: v[i] for k, v in both.items()}).params[:2], 1e-9)

    def function(a):
        params = fit(**a).params
        return jnp.sin(ji.kernel_ridge.decision(params, Z)).sum() + jnp.cos(params.coef).sum()

    slopes = jax.jit(lambda a, d: (jax.jvp(function, (a,), (d,))[1], *jax.jvp(jax.grad(function), (a,), (d,))))
    tangent, slope, second = slopes(at, along)

    def moved(s):
        return {k: v + s * along[k] for k, v in at.items()}

    np.testing.assert_allclose(tangent, sum(np.vdot(slope[k], along[k]) for k in at), rtol=1e-9)
    values = [function(moved(s)) for s in (0.0, 1e-4, 2e-4)]  # one-sided: weights cannot be negative
    np.testing.assert_allclose(tangent, (-3 * values[0] + 4 * values[1] - values[2]) / 2e-4, rtol=1e-6)
    slopes_at = [slopes(moved(s), along)[1] for s in (0.0, 1e-4, 2e-4)]
    numeric = jax.tree.map(lambda a, b, c: (-3 * a + 4 * b - c) / 2e-4, *slopes_at)
    size = max(np.abs(v).max() for v in second.values())
    for k in at:
        np.testing.assert_allclose(second[k], numeric[k], atol=1e-5 * size)


def test_bad_input():
    with pytest.raises(ValueError, match=r"kernel_ridge.fit: l2 must be above 0, got l2 = 0.0"):
        fit(l2=0.0)
    with pytest.raises(TypeError, match="kernel must be one of jaxinfra.kernels"):
        ji.kernel_ridge.fit(X, Y, l2=1.0, kernel="rbf")
    with pytest.raises(ValueError, match="must have the same number of rows"):
        fit(y=Y[1:])
    with pytest.raises(ValueError, match=r"kernel_ridge\.predict: X must have shape \(m, 3\)"):
        ji.kernel_ridge.predict(fit().params, Z[:, 1:])
    bad = {"y": np.where(np.arange(N) == 3, np.nan, Y), "X": np.where(np.arange(P) == 1, np.inf, X)}
    for more in ({k: v} for k, v in bad.items()):
        assert fit(**more).info.status == ji.Status.NONFINITE
        assert np.isnan(fit(**more).params.coef).all()
    for more in ({"w": jnp.asarray(-W)}, {"w": 0 * W}, {"l2": jnp.asarray(-1.0)}):
        assert fit(**more).info.status == ji.Status.SINGULAR
        assert np.isnan(fit(**more).params.coef).all()
    indefinite = ji.kernel_ridge.fit(-rbf(X, X), Y, l2=1e-3, kernel=kernels.Precomputed())
    assert indefinite.info.status == ji.Status.SINGULAR
    batch = jax.vmap(lambda y: fit(y=y))(np.stack([Y, bad["y"], Y]))
    assert list(batch.info.status) == [0, ji.Status.NONFINITE, 0]
    close(batch.params.coef[2], fit().params.coef, 1e-10)
