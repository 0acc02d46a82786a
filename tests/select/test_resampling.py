"""Bootstrap, jackknife, permutation and bagging: loops over fits, closed forms, and what does not converge."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import infer, norms, select
from jaxinfra.select import _resample
from tests.helpers import close, of

N = 60
RNG = np.random.default_rng(4)
X = RNG.standard_normal((N, 2)) + 1
Y = X @ [1.0, -2.0] + 3 + RNG.standard_normal(N) * (0.5 + np.abs(X[:, 0]))
BINARY = (Y > 2).astype(int)
GROUPS = RNG.integers(0, 10, N)
KEY = jax.random.key(3)


def drawn(w=None, n=5, **options):
    """The weights of each resample."""
    sample = _resample.Sample(X, Y, w, options.get("groups"), {})
    draw = _resample.drawn(sample, options.get("bayesian", False), options.get("count", 0))
    return np.asarray(jax.vmap(draw)(jax.random.split(KEY, n)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, y, fixed",
    [(ji.ols, Y, {}), (ji.logistic, BINARY, {"l2": 0.05}), (ji.quantile, Y, {"tau": 0.3}),
     (ji.multinomial, BINARY, {"l2": 0.1}), (ji.m_estimator, Y, {"norm": norms.Tukey()}), (ji.svr, Y, {"C": 0.1})],
    ids=["ols", "logistic", "quantile", "multinomial", "m_estimator", "svr"],
)  # fmt: skip
def test_the_fits_of_a_loop(model, y, fixed):
    """Each resample is a fit with its weights, wherever it started."""
    found = select.bootstrap(model, X, y, key=KEY, n=5, fixed=fixed)
    assert (found.status == ji.Status.CONVERGED).all()
    values = found.values if isinstance(found.values, dict) else found.values._asdict()
    for i, w in enumerate(drawn()):
        alone = model.fit(X, y, sample_weight=w, **fixed).params
        for name, value in values.items():
            if name != "coef" or model is not ji.svr:  # a kernel's coefficients are one a row
                close(value[i], getattr(alone, name), 1e-5, name)


@pytest.mark.slow
def test_several_quantiles():
    """All quantiles of a resample at once, started at those of all rows."""
    tau = np.array([0.3, 0.6])
    found = select.bootstrap(ji.quantile, X, Y, key=KEY, n=5, fixed={"tau": tau})
    assert found.values.coef.shape == (5, 2, 2) and found.status.shape == (5,)
    for i, w in enumerate(drawn()):
        close(tuple(r[i] for r in found.values), tuple(ji.quantile.fit(X, Y, tau=tau, sample_weight=w).params), 1e-9)
    left = select.jackknife(ji.quantile, X[:7], Y[:7], fixed={"tau": tau}).values.coef
    close(left[3], ji.quantile.fit(np.delete(X[:7], 3, 0), np.delete(Y[:7], 3), tau=tau).params.coef, 1e-9)
    with pytest.raises(ValueError, match="one tau at a time"):
        infer.inference(ji.quantile.fit(X, Y, tau=tau), X, Y)


def test_batches_are_equal():
    """Whatever the number of items and of rows, each item once and in order."""
    items = np.arange(7.0)
    for rows in (10, 100_000, 120_000, 10**9):  # 7, 2, 2 and 1 in a batch
        found = jax.jit(lambda items, rows=rows: _resample.batched(lambda v: (v, v + 1), items, rows))(items)
        np.testing.assert_array_equal(found, np.stack([items, items + 1]))


def test_draws():
    """Counts of n draws; weights are counts; groups come as a whole; the Bayesian ones are never 0.

    Counts are nearly Poisson of mean c: over n draws their means have errors of (c / n)^(1/2), their variances of
    c ((2 + 1 / c) / n)^(1/2). Three of them for one figure, 4.5 for the worst of 60.
    """
    w = drawn(n=400)
    assert (w.sum(1) == N).all() and (w == w.round()).all()
    np.testing.assert_allclose(w.mean(), 1)
    np.testing.assert_allclose(w.var(), 1 - 1 / N, rtol=3 * np.sqrt(3 / w.size))
    counts, n = np.arange(N) % 3, 10_000
    weighted = drawn(counts.astype(float), n=n)
    assert not weighted[:, counts == 0].any()
    np.testing.assert_allclose(weighted.mean(0), counts, atol=4.5 * np.sqrt(2 / n))
    np.testing.assert_allclose(weighted.var(0)[counts > 0], counts[counts > 0], rtol=4.5 * np.sqrt(3 / n))
    together = drawn(n=50, groups=GROUPS, count=10)
    for g in range(10):
        assert (together[:, g == GROUPS] == together[:, g == GROUPS][:, :1]).all()
    assert (sum(together[:, np.argmax(g == GROUPS)] for g in range(10)) == 10).all()
    # Two groups without any weight: eight are drawn from eight.
    absent = drawn((GROUPS < 8) * 1.0, n=50, groups=GROUPS, count=10)
    assert not absent[:, GROUPS >= 8].any()
    assert (sum(absent[:, np.argmax(g == GROUPS)] for g in range(8)) == 8).all()
    assert (drawn(n=50, bayesian=True) > 0).all()


def test_groups_may_have_any_numbers():
    """Numbers between them that do not occur are not groups."""
    expected = select.bootstrap(ji.ols, X, Y, key=KEY, n=20, groups=GROUPS).se
    for groups in (100 * GROUPS, GROUPS - 7, (GROUPS + 1).astype(np.uint8)):
        found = select.bootstrap(ji.ols, X, Y, key=KEY, n=20, groups=groups).se
        np.testing.assert_array_equal(found.coef, expected.coef)


@pytest.mark.slow
def test_errors_are_those_of_the_sandwich():
    """The matrix of either bootstrap is HC0's, or n / (n + 1) of it, and a term of 1 / n that HC3 has too and more of.

    A standard error by B resamples has one of (2 B)^(-1/2) itself, 1.6 % here, of which three are allowed.
    """
    sampling = 3 / np.sqrt(2 * 2000)
    params = ji.ols.fit(X, Y).params
    found = select.bootstrap(ji.ols, X, Y, key=KEY, n=2000)
    hc0, hc3 = (infer.inference(of(ji.ols, params), X, Y, kind=k).se for k in ("HC0", "HC3"))
    se = np.append(found.se.coef, found.se.intercept)
    assert (se > (1 - sampling) * hc0).all() and (se < (1 + sampling) * hc3).all()
    bayesian = select.bootstrap(ji.ols, X, Y, key=KEY, n=2000, bayesian=True).se
    bayesian = np.append(bayesian.coef, bayesian.intercept)
    least = (1 - sampling) * np.sqrt(N / (N + 1)) * hc0
    assert (least < bayesian).all() and (bayesian < np.minimum(1.15 * hc0, (1 + sampling) * hc3)).all()
    # Of normal draws the width between the quantiles q and 1 - q has an error of (2 q (1 - 2 q) / B)^(1/2) over the
    # density there: 2.0 % for q = 0.05, and three are 6 %.
    for kind in ("percentile", "basic", "normal"):
        low, high = found.interval(0.9, kind=kind)
        assert (low.coef < params.coef).all() and (params.coef < high.coef).all()
        np.testing.assert_allclose(high.coef - low.coef, 2 * 1.645 * se[:2], rtol=0.06)
    low, high = found.interval(0.8)
    np.testing.assert_allclose(low.coef, np.quantile(found.values.coef, 0.1, axis=0), rtol=1e-12)
    low, high = found.interval(0.8, kind="basic")
    np.testing.assert_allclose(
        high.coef, 2 * np.asarray(params.coef) - np.quantile(found.values.coef, 0.1, axis=0), rtol=1e-12
    )


@pytest.mark.slow
def test_errors_of_clusters_are_those_of_the_sandwich():
    """With the same rows of X in each group the fit is linear in the draws, so their matrix is the sandwich's without
    its factor for small samples, 1.15 here; three errors of (2 B)^(-1/2) by B resamples."""
    groups = np.repeat(np.arange(10), 6)
    A = np.tile(X[:6], (10, 1))
    y = A @ [1.0, -2.0] + RNG.standard_normal(10)[groups] + RNG.standard_normal(N)
    params = ji.ols.fit(A, y).params
    expected = infer.inference(of(ji.ols, params), A, y, kind="cluster", groups=groups).se
    found = select.bootstrap(ji.ols, A, y, key=KEY, n=2000, groups=groups).se
    factor = 10 / 9 * (N - 1) / (N - 3)
    se = np.append(found.coef, found.intercept)
    np.testing.assert_allclose(se * np.sqrt(factor), expected, rtol=3 / np.sqrt(2 * 2000))


@pytest.mark.slow
@pytest.mark.parametrize("bayesian", [False, True])
def test_counts_are_rows(bayesian):
    """Errors of counted rows are those of the rows written out: each by B resamples of its own, so that their ratio has
    an error of B^(-1/2), of which three are allowed."""
    counts = 1 + np.arange(N) % 4
    keep = np.repeat(np.arange(N), counts)
    counted = select.bootstrap(ji.ols, X, Y, key=KEY, n=1500, sample_weight=counts * 1.0, bayesian=bayesian).se
    written = select.bootstrap(ji.ols, X[keep], Y[keep], key=KEY, n=1500, bayesian=bayesian).se
    np.testing.assert_allclose(counted.coef, written.coef, rtol=3 / np.sqrt(1500))
    np.testing.assert_allclose(counted.intercept, written.intercept, rtol=3 / np.sqrt(1500))
    # Rows of weight 0 are absent from the jackknife too.
    w = (np.arange(N) % 5 > 0) * 1.0
    close(select.jackknife(ji.ols, X, Y, sample_weight=w).se, select.jackknife(ji.ols, X[w > 0], Y[w > 0]).se, 1e-9)


def difference(params):
    return {"gap": params.coef[0] - params.coef[1], "all": params.coef}


@pytest.mark.slow
def test_functions_and_failures(compilations):
    """A function of the parameters; resamples without a class are NaN, counted, and left out of the errors."""
    found = select.bootstrap(ji.ols, X, Y, key=KEY, n=50, of=difference)
    close(found.values["gap"], found.values["all"][:, 0] - found.values["all"][:, 1], 1e-12)
    close(found.estimate["all"], ji.ols.fit(X, Y).params.coef, 1e-12)
    another = jax.random.key(9)  # another program
    with compilations() as count:
        select.bootstrap(ji.ols, X + 1, Y, key=another, n=50, of=difference)
    assert count[0] == 0
    rare = np.zeros(N, int)
    rare[:2] = 1
    found = select.bootstrap(ji.logistic, X, rare, key=KEY, n=200, fixed={"l2": 0.1})
    failed = np.asarray(found.status) == ji.Status.SEPARABLE
    assert failed.any() and (failed == (drawn(n=200)[:, :2].sum(1) == 0)).all()
    values = np.asarray(found.values.coef)
    assert np.isnan(values[failed]).all() and np.isfinite(values[~failed]).all()
    np.testing.assert_allclose(found.se.coef, values[~failed].std(0, ddof=1), rtol=1e-10)
    low, _ = found.interval()
    assert np.isfinite(low.coef).all()
    lines = repr(found).splitlines()
    assert lines[0] == f"Resamples(lanes of shape (200,): {200 - failed.sum()} CONVERGED, {failed.sum()} SEPARABLE,"
    assert lines[1].startswith("    values=Linear(coef=float64[200,2] from -")
    assert f"({2 * failed.sum()} not finite)" in lines[1] and lines[3].startswith("    se=Linear(coef=[")
    both = jax.tree.map(lambda v: np.stack([v, v]), found)
    assert f"lanes of shape (2, 200): {400 - 2 * failed.sum()} CONVERGED" in repr(both)
    lanes = jax.vmap(lambda y: select.bootstrap(ji.ols, X, y, key=KEY, n=5).se.coef)(np.stack([Y, 2 * Y]))
    close(lanes[1], 2 * lanes[0], 1e-10)


def test_jackknife():
    """The fits without each row: exact, and approximated from one fit."""
    params = ji.ols.fit(X, Y).params
    found = select.jackknife(ji.ols, X, Y)
    exact = infer.leave_one_out(of(ji.ols, params), X, Y)
    close(np.c_[found.values.coef, found.values.intercept], exact, 1e-10)
    centred = np.asarray(exact) - np.asarray(exact).mean(0)
    close(np.append(found.se.coef, found.se.intercept), np.sqrt((N - 1) / N * (centred**2).sum(0)), 1e-9)


@pytest.mark.slow
def test_jackknife_of_groups():
    groups = select.jackknife(ji.huber, X, Y, groups=GROUPS, fixed={"tol": 1e-11})
    for g in (0, 9):
        w = (g != GROUPS).astype(float)
        close(groups.values.coef[g], ji.huber.fit(X, Y, sample_weight=w, tol=1e-11).params.coef, 1e-9)


def slope(params):
    return params.coef[0]


def second(params):
    return params.coef[1]


@pytest.mark.slow
def test_permutations():
    """Of five rows there are 120: drawn ones are among them, and their share p is the p-value, but for three errors of
    (p (1 - p) / n)^(1/2), and 1 / n for the data, which count as drawn once."""
    x, y = np.array([0.0, 1.0, 2.0, 3.0, 4.0])[:, None], np.array([0.1, 0.0, 0.5, 0.3, 0.9])
    every = np.array([np.polyfit(x[:, 0], y[list(p)], 1)[0] for p in itertools.permutations(range(5))])
    found = select.permutation_test(ji.ols, x, y, key=KEY, of=slope, n=20_000)
    assert np.abs(np.asarray(found.null)[:, None] - every[None]).min(1).max() < 1e-12
    for side, extreme in (
        ("two-sided", np.abs(every) >= np.abs(every[0]) - 1e-12), ("greater", every >= every[0] - 1e-12),
        ("less", every <= every[0] + 1e-12),
    ):  # fmt: skip
        p = select.permutation_test(ji.ols, x, y, key=KEY, of=slope, n=20_000, alternative=side).p_value
        share = extreme.mean()
        np.testing.assert_allclose(p, share, rtol=0, atol=3 * np.sqrt(share * (1 - share) / 20_000) + 1 / 20_000)
    classes = select.permutation_test(ji.logistic, X, BINARY, key=KEY, of=second, n=99, fixed={"l2": 0.1})
    assert classes.p_value == 1 / 100  # the smallest p-value of 99 permutations


@pytest.mark.slow
def test_bagging():
    """The mean of the fits' predictions; out of bag by the fits that did not see the row."""
    new = RNG.standard_normal((4, 2))
    found = select.bagging(ji.quantile, X, Y, new, key=KEY, n=5, fixed={"tau": 0.6})
    fits = [ji.quantile.fit(X, Y, tau=0.6, sample_weight=w).params for w in drawn()]
    every = np.stack([ji.quantile.predict(p, new) for p in fits])
    close(found.prediction, every.mean(0), 1e-9)
    close(found.sd, every.std(0, ddof=1), 1e-8)
    old, unseen = np.stack([ji.quantile.predict(p, X) for p in fits]), drawn() == 0
    for i in range(N):
        if unseen[:, i].any():
            close(found.out_of_bag[i], old[unseen[:, i], i].mean(), 1e-8)
        else:
            assert np.isnan(found.out_of_bag[i])
    shares = select.bagging(ji.logistic, X, BINARY, new, key=KEY, n=20, fixed={"l2": 0.1})
    assert shares.prediction.shape == (4, 2) and shares.out_of_bag.shape == (N, 2)
    np.testing.assert_allclose(shares.prediction.sum(1), 1, rtol=1e-12)


def test_bad_input():
    with pytest.raises(TypeError, match="key"):
        select.bootstrap(ji.ols, X, Y)
    with pytest.raises(ValueError, match="n is static and must be a whole number of at least 1, got 0"):
        select.bootstrap(ji.ols, X, Y, key=KEY, n=0)
    with pytest.raises(TypeError, match="has no argument 'alpha'"):
        select.bootstrap(ji.ols, X, Y, key=KEY, fixed={"alpha": 1.0})
    with pytest.raises(ValueError, match=r"groups must be \(60,\) whole numbers"):
        select.jackknife(ji.ols, X, Y, groups=GROUPS[1:])
    with pytest.raises(ValueError, match="alternative must be two-sided"):
        select.permutation_test(ji.ols, X, Y, key=KEY, of=slope, alternative="both")
    with pytest.raises(ValueError, match=r"X_new must have shape \(m, 2\)"):
        select.bagging(ji.ols, X, Y, X[:, 1:], key=KEY)
    found = select.bootstrap(ji.ols, X, Y, key=KEY, n=5)
    with pytest.raises(ValueError, match="kind must be percentile"):
        found.interval(kind="bca")
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        found.interval(95)
    broken = select.bootstrap(ji.ols, X, np.where(np.arange(N) == 0, np.nan, Y), key=KEY, n=5)
    assert np.isnan(broken.se.coef).all() and np.isnan(broken.estimate.coef).all()
