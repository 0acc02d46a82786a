"""The lasso and the elastic net: against plain coordinate descent, scikit-learn and their own duality gap."""

from __future__ import annotations

import functools
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra.solvers.methods import active_newton, active_set
from tests import helpers
from tests.conftest import SHARED
from tests.references import lasso as reference

close = functools.partial(helpers.close, floor=1e-12)

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["x64", "x32"])


def sparse(n, p, seed=0, dtype=np.float64, correlation=0.5):
    """Correlated columns of unit variance with a mean, a tenth of them with a coefficient, signal three times noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1 - correlation**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.permutation(p)[: max(2, min(n, p) // 10)]] = rng.uniform(0.5, 2, max(2, min(n, p) // 10))
    signal = X @ coef
    y = 2 + signal + rng.standard_normal(n) * signal.std() / 3
    return (X + rng.uniform(-1, 1, p)).astype(dtype), y.astype(dtype)


# Tests that share a shape share its programs.  Working sets grow from 100 over 256 to all columns: 300 have all three.
PENALTIES = 12  # of every path
SHAPES = [(60, 8), (40, 40), (30, 50), (120, 150), (40, 300)]


@DTYPES
@pytest.mark.parametrize(
    "shape", [pytest.param(s, id=str(s), marks=() if s in SHAPES[:1] else pytest.mark.slow) for s in SHAPES]
)
def test_agrees_with_coordinate_descent_and_the_gap_is_true(shape, dtype):
    X, y = sparse(*shape, dtype=dtype)
    w = np.random.default_rng(1).uniform(0.5, 2, shape[0]).astype(dtype)
    top = float(ji.lasso.l1_max(X, y, sample_weight=w))
    tol = 1e-10 if dtype == np.float64 else 1e-6
    for share in (0.5, 0.1, 0.03):
        for l2 in (0.0, 0.1):
            fit = ji.check(ji.elastic_net.fit(X, y, l1=share * top, l2=l2, sample_weight=w, tol=tol))
            hyper = {"l1": dtype(share * top), "l2": dtype(l2), "sample_weight": w}
            assert reference.gap(fit.params.coef, X, y, **hyper) <= 1.5 * tol
            if dtype == np.float64:
                coef, intercept = reference.fit(X, y, **hyper)
                close(fit.params.coef, coef, 2e-5)
                close(fit.params.intercept, intercept, 2e-5)
                value = reference.objective(coef, intercept, X, y, **hyper)
                assert abs(float(fit.info.objective) - value) <= 1e-9 * value
                subgradient = reference.gradient(*fit.params, X, y, **hyper)[0]
                verb = ji.elastic_net.optimality(fit.params, X, y, **hyper).coef
                close(verb, subgradient, 1e-6, floor=1e-6)
                assert np.abs(subgradient).max() <= 1e-5 * top
            value = ji.elastic_net.objective(fit.params, X, y, **hyper)
            close(fit.info.objective, value, 1e-9 if dtype == np.float64 else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lasso", "elastic_net", "nnls", "multitask_lasso", "logistic", "multinomial"])
def test_l1_max_of_negative_weights_and_of_no_rows_is_nan(name):
    """Where only the device knows them."""
    model, X = getattr(ji, name), np.random.default_rng(0).standard_normal((20, 3))
    y = {"multitask_lasso": X[:, :2], "logistic": (X[:, 0] > 0) * 1, "multinomial": (X[:, 0] > 0) * 1}.get(
        name, X[:, 0]
    )
    top = [
        model.l1_max(X, y, penalty_weight=jnp.asarray(u), sample_weight=jnp.asarray(w * np.ones(20)))
        for u, w in ((1.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, -1.0))
    ]
    assert np.isfinite(top[0]) and np.isnan(top[1:]).all(), top


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(60, 8), (40, 300)], ids=str)
def test_scikit_learn(shape):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = sparse(*shape)
    l1 = float(ji.lasso.l1_max(X, y)) * np.geomspace(1, 0.05, PENALTIES)
    path = ji.lasso.path(X, y, l1=l1, tol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        centred = X - X.mean(0), y - y.mean()
        theirs = linear_model.lasso_path(*centred, alphas=l1, tol=1e-12, max_iter=100_000)[1].T
        close(path.params.coef, theirs, 1e-5)
        one = linear_model.Lasso(alpha=l1[7], tol=1e-10, max_iter=100_000).fit(X, y)
        close(ji.lasso.fit(X, y, l1=l1[7], tol=1e-12).params.coef, one.coef_, 1e-5)
        net = linear_model.ElasticNet(alpha=0.2, l1_ratio=0.3, tol=1e-10, max_iter=100_000).fit(X, y)
        ours = ji.elastic_net.fit(X, y, l1=0.2 * 0.3, l2=0.2 * 0.7, tol=1e-12).params
        close(ours.coef, net.coef_, 1e-5)
        close(ours.intercept, net.intercept_, 1e-5)


def test_glmnet_quick_start():
    folder = SHARED / "glmnet"
    if not folder.is_dir():
        pytest.skip(f"glmnet's examples are not at {folder.relative_to(SHARED.parents[1])} beside the project")
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = (np.loadtxt(folder / f"QuickStartExample{part}.dat") for part in "XY")
    y = y.reshape(-1)
    l1 = float(ji.lasso.l1_max(X, y)) * np.geomspace(1, 1e-3, 30)
    path = ji.check(ji.lasso.path(X, y, l1=l1, tol=1e-13))
    for k in (3, 10, 20, 29):
        theirs = linear_model.Lasso(alpha=l1[k], tol=1e-13, max_iter=100_000).fit(X, y)
        close(path.params.coef[k], theirs.coef_, 1e-6)
        close(path.params.intercept[k], theirs.intercept_, 1e-6)


@pytest.mark.slow
@DTYPES
@pytest.mark.parametrize("shape", [(60, 8), (40, 300)], ids=str)
def test_zero_duplicated_and_constant_columns(shape, dtype):
    X, y = sparse(*shape, dtype=dtype)
    X[:, 1], X[:, 2], X[:, 5] = 0, 3.7, X[:, 4]
    top = float(ji.lasso.l1_max(X, y))
    tol = 1e-9 if dtype == np.float64 else 1e-5
    fit = ji.check(ji.lasso.fit(X, y, l1=0.01 * top, tol=tol))
    coef = np.asarray(fit.params.coef)
    assert coef[1] == 0 and coef[2] == 0
    assert reference.gap(coef, X, y, l1=0.01 * top) <= 2 * tol
    net = ji.check(ji.elastic_net.fit(X, y, l1=0.01 * top, l2=0.1, tol=tol))
    assert abs(float(net.params.coef[4] - net.params.coef[5])) <= 1e-3 * float(np.abs(net.params.coef).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape, weighted, dtype",
    [
        ((60, 8), False, np.float32),
        ((60, 8), True, np.float64),
        ((40, 300), True, np.float32),
        ((40, 300), False, np.float64),
    ],
    ids=str,
)
def test_l1_max(shape, weighted, dtype):
    X, y = sparse(*shape, dtype=dtype)
    w = np.random.default_rng(1).uniform(0.5, 2, shape[0]).astype(dtype) if weighted else None
    fit = partial(ji.lasso.fit, X, y, sample_weight=w)
    top = ji.lasso.l1_max(X, y, sample_weight=w)
    ones = np.ones(shape[1], dtype)  # a penalty a column, as below: one program
    assert (fit(l1=top * ones).params.coef == 0).all()
    assert (fit(l1=0.999 * top * ones).params.coef != 0).any()
    factor = np.random.default_rng(2).uniform(0.5, 2, shape[1]).astype(dtype)
    factor[:2] = 0
    top = ji.lasso.l1_max(X, y, sample_weight=w, penalty_weight=factor)
    used = [np.asarray(fit(l1=share * top * factor).params.coef != 0) for share in (1.001, 0.99)]
    assert used[0].sum() == 2 and used[0][:2].all()
    assert used[1].sum() > 2


@pytest.mark.slow
def test_units_far_from_one():
    """Columns and targets in units that float32, in which gradient steps take their products, cannot hold squared."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((320, 256))
    y = X @ rng.standard_normal(256) + 3 * rng.standard_normal(320)
    l1 = float(ji.lasso.l1_max(X, y)) * np.geomspace(1, 0.02, PENALTIES)
    plain = ji.check(ji.lasso.path(X, y, l1=l1, tol=1e-9)).params.coef
    assert (plain[-1] != 0).sum() > 100
    mixed = np.where(np.arange(256) % 2, 1e-22, 1e25)
    for column, target in ((1e25, 1.0), (1e-25, 1e40), (mixed, 1e-30)):
        scaled = X * column, y * target
        path = ji.check(ji.lasso.path(*scaled, l1=l1[:, None] * np.ones(256) * column * target, tol=1e-9))
        close(np.asarray(path.params.coef) * column / target, plain, 1e-6)


@pytest.mark.slow
def test_more_active_columns_than_rows():
    """With an L2 penalty all columns may be active, however few the rows."""
    X, y = sparse(20, 1300)
    fit = ji.check(ji.elastic_net.fit(X, y, l1=1e-5, l2=0.1, tol=1e-8))
    assert (np.asarray(fit.params.coef) != 0).sum() > 1024
    assert reference.gap(fit.params.coef, X, y, l1=1e-5, l2=0.1) <= 1.5e-8


@pytest.mark.slow
def test_no_penalty_is_ols_and_per_feature_penalties():
    X, y = sparse(60, 8)
    close(ji.lasso.fit(X, y, l1=0.0, tol=1e-13).params.coef, ji.ols.fit(X, y).params.coef, 1e-9)
    close(ji.elastic_net.fit(X, y, l1=0.0, l2=0.3, tol=1e-13).params.coef, ji.ridge.fit(X, y, l2=0.3).params.coef, 1e-9)
    l1 = np.array([0.0, 0.1, 5.0, 0.0, 0.3, 0.2, 1e6, 0.1])
    l2 = np.array([0.1, 0.0, 0.0, 0.0, 0.3, 0.2, 0.1, 0.1])
    fit = ji.check(ji.elastic_net.fit(X, y, l1=l1, l2=l2, tol=1e-12))
    close(fit.params.coef, reference.fit(X, y, l1=l1, l2=l2)[0], 1e-6)
    assert fit.params.coef[6] == 0
    plain = ji.check(ji.lasso.fit(X, y, l1=0.1, fit_intercept=False, tol=1e-12)).params
    close(plain.coef, reference.fit(X, y, l1=0.1, fit_intercept=False)[0], 1e-6)
    assert plain.intercept == 0


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(60, 8), (320, 256), (40, 300)], ids=str)
def test_path_is_separate_fits_and_warm_is_cold(shape):
    X, y = sparse(*shape)
    l1 = float(ji.lasso.l1_max(X, y)) * np.geomspace(1, 0.05, PENALTIES)
    path = ji.check(ji.lasso.path(X, y, l1=l1, tol=1e-11))
    assert (path.params.coef[0] == 0).all()  # at l1_max
    assert path.params.coef.shape == (PENALTIES, shape[1]) and path.info.gap.shape == (PENALTIES,)
    for k in (0, 5, -1):
        cold = ji.check(ji.lasso.fit(X, y, l1=l1[k], tol=1e-11))
        close(path.params.coef[k], cold.params.coef, 2e-5)
        close(path.params.intercept[k], cold.params.intercept, 2e-5)
    warm = ji.check(
        ji.lasso.fit(X, y, l1=l1[-1], tol=1e-11, init=ji.Linear(path.params.coef[5], path.params.intercept[5]))
    )
    close(warm.params.coef, cold.params.coef, 2e-5)
    net = ji.elastic_net.path(X, y, l1=l1, l2=0.5 * l1, tol=1e-11)
    close(net.params.coef[5], ji.elastic_net.fit(X, y, l1=l1[5], l2=0.5 * l1[5], tol=1e-11).params.coef, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(60, 8), (40, 300)], ids=str)
def test_vmap_over_folds_and_penalties(shape):
    X, y = sparse(*shape)
    n = shape[0]
    folds = np.stack([np.arange(n) % 5 != k for k in range(5)]).astype(float)
    l1 = np.geomspace(1, 0.1, PENALTIES)
    paths = jax.vmap(lambda w: ji.lasso.path(X, y, l1=l1, sample_weight=w, tol=1e-12))(folds)
    for k in range(5):
        one = ji.lasso.path(X, y, l1=l1, sample_weight=folds[k], tol=1e-12)
        close(paths.params.coef[k], one.params.coef, 1e-6)
        close(paths.params.intercept[k], one.params.intercept, 1e-6)
    fits = jax.vmap(lambda l1: ji.lasso.fit(X, y, l1=l1, tol=1e-12))(l1)
    close(fits.params.coef, ji.lasso.path(X, y, l1=l1, tol=1e-12).params.coef, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(60, 8), (15, 140)], ids=str)
def test_derivatives(shape):
    X, y = sparse(*shape, seed=4)
    rng = np.random.default_rng(5)
    n, p = shape
    args = (X, y, np.full(p, 0.1), np.full(p, 0.2), rng.uniform(0.5, 2, n), rng.standard_normal(n) * 0.1)
    direction = [rng.standard_normal(a.shape) * (0.1 if a.ndim == 2 else 1) for a in args]
    direction[2], direction[3] = 0.1 * direction[2], 0.1 * direction[3]

    def fit(X, y, l1, l2, w, o):
        out = ji.elastic_net.fit(X, y, l1=l1, l2=l2, sample_weight=w, offset=o, tol=1e-13)
        return jnp.append(out.params.coef, out.params.intercept)

    def path(X, y, l1, l2, w, o):
        out = ji.elastic_net.path(X, y, l1=jnp.stack([2 * l1, l1]), l2=l2[0], sample_weight=w, offset=o, tol=1e-13)
        return jnp.append(out.params.coef, out.params.intercept)

    for run in (fit, path):
        cotangent = rng.standard_normal(jax.eval_shape(run, *args).shape)

        @jax.jit
        def derivatives(*args, run=run, cotangent=cotangent):
            value, push = jax.linearize(run, *args)
            return value, push(*direction), jax.linear_transpose(push, *args)(cotangent)

        _, tangent, pulled = derivatives(*args)
        h = 1e-6
        steps = ([a + s * h * d for a, d in zip(args, direction, strict=True)] for s in (1, -1))
        ahead, back = (derivatives(*moved)[0] for moved in steps)
        close(tangent, (ahead - back) / (2 * h), 1e-5)
        inner = sum(float((a * b).sum()) for a, b in zip(pulled, direction, strict=True))
        assert abs(inner - float(cotangent @ tangent)) <= 1e-9 * float(np.abs(cotangent) @ np.abs(tangent))


@pytest.mark.slow
def test_second_derivative_and_l1_max_derivative():
    X, y = sparse(60, 8)

    @jax.jit
    def loss(l1):
        return (ji.lasso.fit(X, y, l1=l1, tol=1e-13).params.coef ** 2).sum()

    h, slope = 1e-5, jax.jit(jax.grad(loss))
    close(jax.hessian(loss)(0.1), (slope(0.1 + h) - slope(0.1 - h)) / (2 * h), 1e-6)
    slope = jax.grad(lambda t: ji.lasso.l1_max(X, y + t * X[:, 0]))(0.0)
    step = ji.lasso.l1_max(X, y + h * X[:, 0]) - ji.lasso.l1_max(X, y - h * X[:, 0])
    close(slope, step / (2 * h), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape, options", [((60, 8), {"tol": 1e-14}), ((40, 300), {"l1": 1e-3})], ids=["data", "newton"]
)
def test_what_the_lean_program_leaves_out(shape, options):
    """Residuals from the data where moments do not resolve tol, Newton steps in large working sets."""
    X, y = sparse(*shape)
    fit = functools.partial(ji.lasso.fit, **{"l1": 0.1, "tol": 1e-12, **options})
    found, whole = fit(X, y), jax.jit(fit)(X, y)
    assert found.info.status == whole.info.status and found.info.n_iter == whole.info.n_iter
    close(found.params.coef, whole.params.coef, 1e-9)


def test_bad_input():
    X, y = sparse(60, 8)
    with pytest.raises(ValueError, match="l1"):
        ji.lasso.fit(X, y, l1=-0.1)
    with pytest.raises(ValueError, match=r"\(n,\)"):
        ji.lasso.fit(X, y[:, None], l1=0.1)
    with pytest.raises(ValueError, match="l1"):
        ji.lasso.path(X, y, l1=0.1)
    bad = X.copy()
    bad[3, 1] = np.nan
    w = np.ones(60)
    found = ji.lasso.fit(bad, y, l1=0.1, sample_weight=w)
    assert found.info.status == ji.Status.NONFINITE and np.isnan(found.params.coef).all() and np.isnan(found.info.gap)
    assert ji.lasso.fit(X, y, l1=jnp.asarray(-0.1), sample_weight=w).info.status == ji.Status.SINGULAR
    assert ji.lasso.fit(X, y, l1=0.1, sample_weight=0 * w).info.status == ji.Status.SINGULAR
    constant = ji.check(ji.lasso.fit(X, np.full(60, 0.1), l1=0.1, sample_weight=w))
    assert (constant.params.coef == 0).all() and abs(float(constant.params.intercept) - 0.1) < 1e-12


@pytest.mark.slow
def test_lanes_that_are_not_finite_one_row_and_few_iterations():
    X, y = sparse(60, 8)
    bad = X.copy()
    bad[3, 1] = np.nan
    fits = jax.vmap(lambda X: ji.lasso.fit(X, y, l1=0.1))(jnp.stack([X, bad, X]))
    assert fits.info.status.tolist() == [ji.Status.CONVERGED, ji.Status.NONFINITE, ji.Status.CONVERGED]
    assert np.isnan(fits.params.coef[1]).all() and np.isnan(fits.info.gap[1])
    close(fits.params.coef[2], ji.lasso.fit(X, y, l1=0.1).params.coef, 1e-10)
    one = ji.check(ji.lasso.fit(X[:1], y[:1], l1=0.1))
    assert (one.params.coef == 0).all()
    short = ji.lasso.fit(*sparse(40, 300), l1=1e-3, max_iter=2)
    assert short.info.status == ji.Status.MAX_ITER and np.isfinite(short.params.coef).all()


@pytest.mark.slow
def test_no_recompile(compilations):
    X, y = sparse(60, 8)
    ji.lasso.fit(X, y, l1=0.1, tol=1e-8)
    l1 = np.geomspace(0.2, 0.02, PENALTIES)
    ji.elastic_net.path(X, y, l1=l1, l2=l1)
    with compilations() as count:
        ji.lasso.fit(X + 1, y * 2, l1=0.3, tol=1e-6)
        ji.elastic_net.path(X * 2, y, l1=2 * l1, l2=l1)
    assert count[0] == 0


@pytest.mark.slow
@DTYPES
@pytest.mark.parametrize("p", [20, 200])
@pytest.mark.parametrize("correlation", [0.2, 0.97])
def test_active_set_always_converges(p, correlation, dtype):
    """Cold starts, few rows, nearly collinear and duplicated columns, unpenalised and absent ones; lanes under vmap."""
    H, c, l1 = [], [], []
    for seed in range(3):
        X, y = sparse(p // 2 + 10 * seed, p, seed, correlation=correlation)
        X, y = X - X.mean(0), y - y.mean()
        X[:, 3], X[:, 4] = X[:, 2], 0
        H.append(X.T @ X / len(X))
        c.append(X.T @ y / len(X))
        l1.append(np.full(p, 0.1 * np.abs(c[-1]).max()))
        l1[-1][7] = 0
    H, c, l1 = (jnp.asarray(np.stack(a), dtype) for a in (H, c, l1))
    tol = dtype(1e-9 if dtype == np.float64 else 1e-4)
    w, status, _ = jax.vmap(lambda H, c, l1: active_set.solve(H, c, l1, 0 * c, tol=tol, max_iter=500))(H, c, l1)
    assert (status == 0).all()
    for k in range(3):
        d = jnp.diagonal(H[k])
        assert active_newton.violations(w[k], c[k] - H[k] @ w[k], d, l1[k]).max() <= 2 * tol
    assert (w[:, 4] == 0).all()
