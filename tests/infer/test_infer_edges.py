"""Errors and residuals at the edges: rows of leverage 1 and of weight 0, no degrees of freedom, decreasing links,
groups of any numbers, arguments that were forgotten."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import families, infer, links, norms
from tests.helpers import of
from tests.inference_models import BINARY, CLASSES, COUNTS, ETA, GROUPS, MODELS, N, X, Y
from tests.references import sandwich

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(6)


def test_a_row_that_decides_a_parameter_alone():
    """NaN for that parameter and row; the others as without them."""
    x, y = X[:20, :1], Y[:20]
    both = np.c_[x, np.arange(20) == 3]
    fit, keep = ji.ols.fit(both, y), np.arange(20) != 3
    less = ji.ols.fit(x[keep], y[keep])
    for kind in ("HC2", "HC3"):
        se = np.asarray(infer.inference(fit, both, y, kind=kind).se)
        expected = infer.inference(of(ji.ols, less), x[keep], y[keep], kind=kind).se
        assert np.isnan(se[1])
        np.testing.assert_allclose(se[[0, 2]], expected, rtol=1e-9)
    for found, expected in (
        (infer.cooks_distance(fit, both, y) * 3, infer.cooks_distance(of(ji.ols, less), x[keep], y[keep]) * 2),
        *((infer.residuals(fit, both, y, kind=kind), infer.residuals(of(ji.ols, less), x[keep], y[keep], kind=kind))
          for kind in ("standardized", "studentized")),
    ):  # fmt: skip
        assert np.isnan(found[3])
        np.testing.assert_allclose(found[keep], expected, rtol=1e-9)
    without = np.asarray(infer.leave_one_out(fit, both, y))
    assert np.isnan(without[3, 1]) and np.isfinite(without).sum() == without.size - 1
    np.testing.assert_allclose(without[3, [0, 2]], [less.params.coef[0], less.params.intercept], rtol=1e-9)


def test_no_degrees_of_freedom():
    for n in (4, 3):
        full = infer.inference(ji.ols.fit(X[:n], Y[:n]), X[:n], Y[:n])
        assert np.isnan(full.se).all() and np.isnan(full.p_value).all() and full.covariance.df_residual == 0


def test_clusters_may_have_any_numbers():
    fit = ji.ols.fit(X, Y)
    expected = infer.inference(fit, X, Y, kind="cluster", groups=GROUPS)
    for groups in (GROUPS + 1001, 100 * GROUPS, jnp.asarray(-7 * GROUPS), GROUPS.astype(np.uint8)):
        found = infer.inference(fit, X, Y, kind="cluster", groups=groups)
        np.testing.assert_allclose(found.se, expected.se, rtol=1e-12)
        assert found.df == expected.df == 8
    bound = infer.inference(fit, X, Y, kind="cluster", groups=GROUPS, n_groups=20)
    np.testing.assert_allclose(bound.se, expected.se, rtol=1e-12)
    assert bound.df == 8
    # A group whose rows all have weight 0 is absent.
    w = (GROUPS != 4) * 1.0
    fit = ji.ols.fit(X, Y, sample_weight=w)
    found = infer.inference(fit, X, Y, kind="cluster", groups=GROUPS, sample_weight=w)
    keep = w > 0
    expected = np.sqrt(np.diag(sandwich.least_squares(X[keep], Y[keep], "cluster", groups=GROUPS[keep])))
    np.testing.assert_allclose(found.se, expected, rtol=1e-9)
    assert found.df == 7


PAIRS = [
    (family, link) for family, allowed in {
        families.Gaussian(): (links.Identity(), links.Log(), links.Inverse()),
        families.Poisson(): (links.Log(), links.Identity(), links.Sqrt()),
        families.Binomial(): (links.Logit(), links.Probit(), links.CLogLog(), links.Cauchit(), links.Log()),
        families.Gamma(): (links.Inverse(), links.Log(), links.Identity(), links.Power(-0.5)),
        families.InverseGaussian(): (links.InverseSquared(), links.Inverse(), links.Log(), links.Power(-1.5)),
        families.NegativeBinomial(0.7): (links.Log(), links.Sqrt()),
        families.Tweedie(1.5): (links.Log(), links.Power(0.5)),
    }.items() for link in allowed
]  # fmt: skip


FALLING = (links.Inverse, links.InverseSquared, links.Power)  # of the pairs with a power above 0 too


@pytest.mark.parametrize("family, link", [
    pytest.param(*pair, id=f"{type(pair[0]).__name__}-{type(pair[1]).__name__}") for pair in PAIRS
])  # fmt: skip
def test_residuals_have_the_sign_of_y_less_its_mean(family, link):
    """Residuals (y - mu) / sqrt(V), whether the link increases or decreases."""
    mu = 0.2 + 0.5 * (X[:, 0] - X[:, 0].min()) / np.ptp(X[:, 0])
    y = np.clip(mu * np.random.default_rng(3).uniform(0.7, 1.3, N), 0.01, 0.99)
    x = np.asarray(link(jnp.asarray(mu)))[:, None]
    fixed = {"family": family, "link": link}
    fit = ji.check(ji.glm.fit(x, y, **fixed, init=ji.Linear(jnp.ones(1), jnp.zeros(())), tol=1e-9))
    mean = np.asarray(ji.glm.predict(fit.params, x))
    expected = (y - mean) / np.sqrt(np.asarray(family.variance(jnp.asarray(mean))))
    np.testing.assert_allclose(infer.residuals(fit, x, y, kind="pearson"), expected, rtol=1e-9, atol=1e-12)
    for kind in ("deviance", "standardized", "studentized", "working") if isinstance(link, FALLING) else ():
        found = np.asarray(infer.residuals(fit, x, y, kind=kind))
        sign = np.sign(expected)
        if kind == "working":
            sign = sign * np.sign(np.asarray(link.slope(link(jnp.asarray(mean)))))
        assert (np.sign(found) == sign).all(), kind


def test_studentized_residuals_of_a_known_dispersion():
    """They are the standardised ones, as R's rstudent."""
    x, y = np.arange(8.0)[:, None], np.array([2.0, 3, 2, 4, 40, 5, 6, 7])
    fixed = {"family": families.Poisson()}
    fit = ji.glm.fit(x, y, **fixed, tol=1e-10)
    found = [infer.residuals(fit, x, y, kind=k) for k in ("studentized", "standardized")]
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).all()


FORGOTTEN = {
    "exposure": (ji.glm, COUNTS, {"family": families.Poisson()}, {"exposure": np.exp(RNG.uniform(0, 3, N))}),
    "offset": (ji.logistic, BINARY, {}, {"offset": ETA}),
    "fit_intercept": (ji.ols, Y + 3, {"fit_intercept": False}, {}),
    "l2": (ji.ridge, Y, {"l2": 0.3}, {}),
    "sample_weight": (ji.ols, Y, {}, {"sample_weight": RNG.uniform(0, 3, N)}),
    "norm": (ji.m_estimator, Y, {"norm": norms.Tukey(2.0)}, {}),
    "tau": (ji.quantile, Y, {"tau": 0.8}, {}),
    "penalty of classes": (ji.multinomial, CLASSES, {"l2": 0.3}, {}),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_arguments_that_were_forgotten(name):
    """Of a problem that is not the fit's: a ValueError that says what to pass on the host, NaN in compiled code."""
    model, y, fixed, given = FORGOTTEN[name]
    fit = model.fit(X, y, **fixed, **given)
    infer.inference(fit, X, y, **given)
    for row in given:
        with pytest.raises(ValueError, match=f"the fit was given {row}, so {row} of these rows is needed too"):
            infer.inference(fit, X, y)
    wrong = {"family": fixed["family"]} if "family" in fixed else {"l2": 0.0} if model is ji.ridge else {}
    verbs = {"inference": infer.inference, "covariance": infer.covariance, "summary": infer.summary}
    if model.FACTS.likelihood:
        verbs |= {"aic": infer.aic}
    if model not in (ji.quantile, ji.ordinal, ji.multinomial):
        verbs |= {"residuals": infer.residuals, "leverage": infer.leverage, "cooks_distance": infer.cooks_distance,
                  "leave_one_out": infer.leave_one_out}  # fmt: skip
    for verb in verbs.values():
        with pytest.raises(ValueError, match="these parameters do not minimise .*: pass the X, y, sample_weight"):
            verb(of(model, fit, wrong), X, y)
    traced = jax.jit(lambda params: infer.covariance(of(model, params, wrong), X, y).matrix)
    assert np.isnan(traced(fit.params)).all()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_rows_of_weight_0_may_hold_anything(name, value):
    model, y, fixed, kinds = MODELS[name]
    w = np.arange(N) % 3 + 0.0
    absent = w == 0
    fit = model.fit(X, y, sample_weight=w, **fixed)
    strange, label = X.copy(), y.copy()
    strange[absent] = value
    label[absent] = 77 if y.dtype.kind == "i" else value
    for kind in kinds:
        more = {"groups": GROUPS} if kind == "cluster" else {}
        expected, found = (
            infer.inference(of(model, fit, fixed), a, b, kind=kind, sample_weight=w, **more)
            for a, b in ((X, y), (strange, label))
        )
        np.testing.assert_allclose(found.se, expected.se, rtol=1e-12)
