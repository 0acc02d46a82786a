"""Ordinal regression: R's polr, the plain NumPy reference, and the columns of the contract."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import links
from tests.helpers import close
from tests.references import ordinal as reference

N, P, K = 60, 3, 4
RNG = np.random.default_rng(8)
X, W = RNG.standard_normal((N, P)) + 1, RNG.uniform(0.5, 2, N)
Y = np.digitize(X @ [1.0, -0.5, 0.2] + RNG.logistic(size=N), [-0.7, 0.6, 2.0])
L2 = np.array([0.01, 0.02, 0.0])
LINKS = [links.Logit(), links.Probit(), links.CLogLog(), links.Cauchit()]
each_link = pytest.mark.parametrize(
    "link",
    [LINKS[0], *(pytest.param(link, marks=pytest.mark.slow) for link in LINKS[1:])],
    ids=lambda v: type(v).__name__,
)


def fit(X=X, y=Y, w=W, l2=L2, **more):
    return ji.ordinal.fit(X, y, **{"l2": l2, "sample_weight": w, "tol": 1e-11, "n_classes": K, **more})


@each_link
def test_reference(link):
    offset = np.linspace(-1, 1, N)
    for o in (None, offset):
        found = ji.check(fit(link=link, offset=o))
        given = {"link": link, "l2": L2, "sample_weight": W, "offset": o}
        close(tuple(found.params)[:2], reference.fit(X, Y, **given), 1e-8, type(link).__name__)
        close(found.info.objective, reference.objective(*map(np.asarray, found.params[:2]), X, Y, **given), 1e-12)
        mine = {k: v for k, v in given.items() if k != "link"}
        close(ji.ordinal.objective(found.params, X, Y, **mine), found.info.objective, 1e-12)
    for shift in (0, 0.1):
        at = found.params._replace(coef=found.params.coef + shift)
        difference = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), tuple(ji.ordinal.optimality(at, X, Y, **mine))[:2],
            reference.gradient(*map(np.asarray, at[:2]), X, Y, **given),
        )  # fmt: skip
        assert max(difference) < 1e-13
    p = np.asarray(ji.ordinal.predict_proba(found.params, X))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-14)
    t = np.r_[-np.inf, found.params.thresholds, np.inf]
    F = reference.DISTRIBUTIONS[type(link).__name__].cdf
    eta = X @ np.asarray(found.params.coef)
    np.testing.assert_allclose(p, np.diff(F(t[None] - eta[:, None]), axis=1), atol=1e-14)
    assert (np.asarray(ji.ordinal.predict(found.params, X)) == p.argmax(1)).all()


@pytest.mark.parametrize("name, link", [
    ("res_ord_logit", links.Logit()), pytest.param("res_ord_probit", links.Probit(), marks=pytest.mark.slow),
])  # fmt: skip
def test_results_of_r(name, link):
    """Applications to graduate school, by R's MASS::polr, which stops a little before the minimum."""
    results = pytest.importorskip(
        "statsmodels.miscmodels.tests.results.results_ordinal_model",
        reason="statsmodels, which ships the results, is not installed",
    )
    frame, result = results.data_store.df, getattr(results, name)
    X, y = frame[["pared", "public", "gpa"]].to_numpy(float), frame["apply"].cat.codes.to_numpy().astype(int)
    found = ji.check(ji.ordinal.fit(X, y, link=link))
    np.testing.assert_allclose(found.params.coef, result.coefficients_val, atol=2e-4)
    np.testing.assert_allclose(found.params.thresholds, result.thresholds, atol=7e-4)
    theirs = ji.Thresholds(jnp.asarray(result.coefficients_val), jnp.asarray(result.thresholds), link)
    assert found.info.objective <= ji.ordinal.objective(theirs, X, y) <= found.info.objective + 1e-6
    if isinstance(link, links.Logit):  # Stata's ologit, as UCLA's course on these data prints it
        np.testing.assert_allclose(found.params.thresholds, [2.203323, 4.298767], atol=1e-6)
    np.testing.assert_allclose(ji.ordinal.predict_proba(found.params, X)[:7], result.prob_pred, atol=5e-5)


@pytest.mark.slow
def test_two_classes_are_logistic_regression():
    binary = (Y > 1).astype(int)
    both = fit(y=binary, n_classes=2).params
    logistic = ji.logistic.fit(X, binary, l2=L2, sample_weight=W, tol=1e-11).params
    close(both.coef, logistic.coef, 1e-9)
    close(-both.thresholds[0], logistic.intercept, 1e-9)


@pytest.mark.slow
def test_classes_of_other_origin():
    """Reversed classes have the opposite coefficients; a shift of the columns moves the thresholds alone."""
    base = fit().params
    turned = fit(y=K - 1 - Y).params
    close((turned.coef, turned.thresholds), (-base.coef, -base.thresholds[::-1]), 1e-8)
    shifted = fit(X + 100).params
    close((shifted.coef, shifted.thresholds), (base.coef, base.thresholds + 100 * base.coef.sum()), 1e-7)


def test_weights_are_the_mask():
    w = np.ones(N)
    w[[3, 10]], w[[0, 20]] = 0, 2
    keep = np.repeat(np.arange(N), w.astype(int))
    close(fit(w=w).params, fit(X[keep], Y[keep], None).params, 1e-9)
    close(fit(w=7 * W).params, fit().params, 1e-10)


@pytest.mark.slow
def test_float32():
    single = ji.check(fit(X.astype(np.float32), w=W.astype(np.float32), tol=1e-5))
    assert single.params.coef.dtype == np.float32
    close(single.params, fit().params, 2e-4)


def test_second_call_compiles_nothing(compilations):
    fit(max_iter=5)
    with compilations() as count:
        fit(X + 1, K - 1 - Y, 2 * W, 2 * L2, tol=1e-7, max_iter=7)
    assert count[0] == 0


def traced(link):
    """(arguments, a direction, the parameters of all that is traced, a cotangent of these)."""
    at = {"X": X, "w": W, "l2": L2 + 0.01, "offset": np.linspace(-1, 1, N)}
    rng = np.random.default_rng(1)
    along = {k: rng.standard_normal(v.shape) * 0.1 for k, v in at.items()}

    def params(a):
        return fit(link=link, tol=1e-12, **a).params

    return at, along, params, jax.tree.map(lambda v: rng.standard_normal(v.shape), jax.eval_shape(params, at))


def slopes(derivatives, at, along):
    """The central differences along the direction of what `derivatives` gives first."""
    plus, minus = (derivatives({k: v + s * along[k] for k, v in at.items()})[0] for s in (1e-4, -1e-4))
    return jax.tree.map(lambda a, b: (a - b) / 2e-4, plus, minus)


@pytest.mark.parametrize(
    "link", [links.Logit(), pytest.param(links.CLogLog(), marks=pytest.mark.slow)], ids=["Logit", "CLogLog"]
)
def test_lanes_and_derivatives(link):
    at, along, params, cotangent = traced(link)
    both = {k: np.stack([v, v[::-1]]) for k, v in at.items()}
    batch = jax.jit(jax.vmap(params))(both)
    for i in range(2):
        close([v[i] for v in batch[:2]], params({k: v[i] for k, v in both.items()})[:2], 1e-9)

    @jax.jit
    def derivatives(a):
        value, push = jax.linearize(params, a)
        return value, push(along), jax.linear_transpose(push, a)(cotangent)[0]

    _, tangent, pulled = derivatives(at)
    close(tangent, slopes(derivatives, at, along), 1e-6)
    forward = sum(np.vdot(a, b) for a, b in zip(tangent[:2], cotangent[:2], strict=True))
    np.testing.assert_allclose(forward, sum(np.vdot(pulled[k], along[k]) for k in at), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("link", [links.Logit(), links.CLogLog()], ids=["Logit", "CLogLog"])
def test_second_derivatives(link):
    at, along, params, cotangent = traced(link)

    def pulled(a):
        return jax.vjp(params, a)[1](cotangent)[0]

    derivatives = jax.jit(lambda a: jax.jvp(pulled, (a,), (along,)))
    close(derivatives(at)[1], slopes(derivatives, at, along), 1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"labels must lie in 0..3, got y\[0\] = 4"):
        fit(y=np.where(np.arange(N) == 0, 4, Y))
    with pytest.raises(TypeError, match=r"link must be one of links.Logit\(\), .*got Log\(\)"):
        fit(link=links.Log())
    with pytest.raises(ValueError, match=r"init must have coef \(3,\) and thresholds \(3,\)"):
        fit(init=ji.Thresholds(np.ones(3), np.ones(2), links.Logit()))
    with pytest.raises(TypeError, match="must hold integers"):
        fit(y=Y.astype(float))
    with pytest.raises(ValueError, match=r"y must have shape \(n,\)"):
        fit(y=np.eye(K)[Y])
    with pytest.raises(ValueError, match="l2 must not be below 0"):
        fit(l2=-1.0)
    cases = [
        ({"y": jnp.asarray(np.where(np.arange(N) == 0, 4, Y))}, ji.Status.DOMAIN),
        ({"X": np.where(np.arange(P) == 0, np.nan, X)}, ji.Status.NONFINITE),
        ({"w": np.where(np.arange(N) == 0, np.inf, W)}, ji.Status.NONFINITE),
        ({"w": jnp.asarray(-W)}, ji.Status.SINGULAR),
        ({"w": 0 * W}, ji.Status.SINGULAR),
        ({"l2": jnp.asarray(-1.0)}, ji.Status.SINGULAR),
        # A class without rows, in the middle and at an end.
        ({"y": np.where(Y == 1, 0, Y)}, ji.Status.SEPARABLE),
        ({"y": np.where(Y == 3, 2, Y)}, ji.Status.SEPARABLE),
        ({"w": np.where(Y == 1, 0, W)}, ji.Status.SEPARABLE),
        # A column that orders them, and one that only separates the first from the others.
        ({"y": np.digitize(X[:, 0], [0.3, 0.9, 1.6]), "l2": 0.0}, ji.Status.SEPARABLE),
    ]
    for more, status in cases:
        found = fit(**more)
        assert ji.Status(int(found.info.status)) is status, more
        assert np.isnan(found.params.coef).all() and np.isnan(found.params.thresholds).all()
    ji.check(fit(y=np.digitize(X[:, 0], [0.3, 0.9, 1.6]), l2=0.01))
