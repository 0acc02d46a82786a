"""A special case of one model equals the simpler model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import families, links
from tests.helpers import close
from tests.registry import BY_NAME, distinct

pytestmark = pytest.mark.slow

TIGHT = {"tol": 1e-12}


@pytest.fixture(scope="module", params=["ols", "ols_wide"])
def real(request):
    """X, y and weights; tall and wide."""
    model = BY_NAME[request.param]
    return *model.data(), model.weights()


def of(kind: str):
    model = next(m for m in BY_NAME.values() if m.y == kind)
    X, y = model.data()
    return X, y, model.weights()


def test_without_l1_the_elastic_net_is_ridge(real):
    X, y, w = real
    ridge = ji.ridge.fit(X, y, l2=0.3, sample_weight=w).params
    close(ji.elastic_net.fit(X, y, l1=0.0, l2=0.3, sample_weight=w, **TIGHT).params, ridge, 1e-6)


def test_without_penalty_the_lasso_is_least_squares():
    X, y, w = of("real")
    close(ji.lasso.fit(X, y, l1=0.0, sample_weight=w, **TIGHT).params, ji.ols.fit(X, y, sample_weight=w).params, 1e-6)


def test_without_l2_the_elastic_net_is_the_lasso(real):
    X, y, w = real
    l1 = 3.0 if len(y) > X.shape[1] else 0.5
    lasso = ji.lasso.fit(X, y, l1=l1, sample_weight=w, **TIGHT).params
    close(ji.elastic_net.fit(X, y, l1=l1, l2=0.0, sample_weight=w, **TIGHT).params, lasso, 1e-6)
    assert (np.asarray(lasso.coef) == 0).any()


def test_groups_of_one_feature_are_the_lasso(real):
    X, y, w = real
    l1 = 3.0 if len(y) > X.shape[1] else 0.5
    lasso = ji.lasso.fit(X, y, l1=l1, sample_weight=w, **TIGHT).params
    p = X.shape[1]
    for weight in (None, np.ones(p)):  # the square root of the group's size is 1
        group = ji.group_lasso.fit(X, y, groups=np.arange(p), group_weight=weight, l1=l1, sample_weight=w, **TIGHT)
        close(group.params, lasso, 1e-6)
    each = np.linspace(0.5, 2, p)
    group = ji.group_lasso.fit(X, y, groups=np.arange(p), group_weight=each, l1=l1, sample_weight=w, **TIGHT).params
    close(group, ji.lasso.fit(X, y, l1=l1 * each, sample_weight=w, **TIGHT).params, 1e-6)


def test_one_target_is_the_lasso(real):
    X, y, w = real
    l1 = 3.0 if len(y) > X.shape[1] else 0.5
    one = ji.multitask_lasso.fit(X, y[:, None], l1=l1, l2=0.1, sample_weight=w, **TIGHT).params
    assert one.coef.shape == (X.shape[1], 1) and one.intercept.shape == (1,)
    single = ji.elastic_net.fit(X, y, l1=l1, l2=0.1, sample_weight=w, **TIGHT).params
    close(ji.Linear(one.coef[:, 0], one.intercept[0]), single, 1e-6)


def test_nonnegative_where_the_constraint_does_not_bind():
    X, _, w = of("real")
    y = X @ np.linspace(0.5, 2, 5) + 3
    y = y + 0.1 * np.sin(np.arange(len(y)))
    ols = ji.ols.fit(X, y, sample_weight=w).params
    assert (np.asarray(ols.coef) > 0).all()
    close(ji.nnls.fit(X, y, sample_weight=w, **TIGHT).params, ols, 1e-6)
    net = ji.elastic_net.fit(X, y, l1=0.2, l2=0.1, sample_weight=w, **TIGHT).params
    assert (np.asarray(net.coef) > 0).all()
    close(ji.nnls.fit(X, y, l1=0.2, l2=0.1, sample_weight=w, **TIGHT).params, net, 1e-6)


@pytest.mark.parametrize("l1", [0.0, 0.02])
def test_two_classes_are_logistic(l1):
    """W = (-v, v) / 2 gives the logits of v: two columns of penalty l1 |v_j / 2| and l2 (v_j / 2)^2 / 2 each, so the
    multinomial penalties l1 and 2 l2 are the logistic l1 and l2."""
    X, y, w = of("binary")
    both = ji.multinomial.fit(X, y, l1=l1, l2=0.1, n_classes=2, sample_weight=w, **TIGHT).params
    one = ji.logistic.fit(X, y, l1=l1, l2=0.05, sample_weight=w, **TIGHT).params
    half = ji.Linear(one.coef[:, None] * np.array([[-0.5, 0.5]]), one.intercept * np.array([-0.5, 0.5]))
    close(both, half, 1e-6)


def test_gaussian_identity_is_least_squares():
    X, y, w = of("real")
    glm = ji.glm.fit(X, y, family=families.Gaussian(), sample_weight=w, **TIGHT).params
    close(glm, ji.ols.fit(X, y, sample_weight=w).params, 1e-6)
    glm = ji.glm.fit(X, y, family=families.Gaussian(), l2=0.3, sample_weight=w, **TIGHT).params
    close(glm, ji.ridge.fit(X, y, l2=0.3, sample_weight=w).params, 1e-6)
    glm = ji.glm.fit(X, y, family=families.Gaussian(), l1=3.0, l2=0.3, sample_weight=w, **TIGHT).params
    close(glm, ji.elastic_net.fit(X, y, l1=3.0, l2=0.3, sample_weight=w, **TIGHT).params, 1e-6)


def test_binomial_logit_is_logistic():
    X, y, w = of("binary")
    glm = ji.glm.fit(X, y, family=families.Binomial(), l2=0.05, sample_weight=w, **TIGHT).params
    close(glm, ji.logistic.fit(X, y, l2=0.05, sample_weight=w, **TIGHT).params, 1e-6)


SAME = {
    "power 0": ("positive", families.Tweedie(0.0), families.Gaussian()),
    "power 1": ("count", families.Tweedie(1.0), families.Poisson()),
    "power 2": ("positive", families.Tweedie(2.0), families.Gamma()),
    "power 3": ("positive", families.Tweedie(3.0), families.InverseGaussian()),
    "alpha to 0": ("count", families.NegativeBinomial(1e-10), families.Poisson()),
    "alpha 0": ("count", families.NegativeBinomial(0.0), families.Poisson()),
}


@pytest.mark.parametrize("name", SAME)
def test_limits_of_the_families(name):
    kind, general, special = SAME[name]
    X, y, w = of(kind)
    given = {"link": links.Log(), "l2": 0.05, "sample_weight": w}
    limit, expected = (ji.check(ji.glm.fit(X, y, family=f, **given, **TIGHT)) for f in (general, special))
    close(limit.params, expected.params, 1e-6)
    np.testing.assert_allclose(limit.info.objective, expected.info.objective, rtol=1e-8)


@pytest.mark.parametrize(
    "power, link, kind",
    [(1.0, links.Identity(), "positive"), (0.5, links.Sqrt(), "count"), (-1.0, links.Inverse(), "positive"),
     (-2.0, links.InverseSquared(), "positive")],
)  # fmt: skip
def test_powers_are_the_links(power, link, kind):
    X, y, w = of(kind)
    X = 0.1 * X  # every row keeps a mean
    given = {"family": families.Gamma() if kind == "positive" else families.Poisson(), "l2": 0.05, "sample_weight": w}
    named = ji.check(ji.glm.fit(X, y, link=link, **given, **TIGHT))
    close(ji.check(ji.glm.fit(X, y, link=links.Power(power), **given, **TIGHT)).params[:2], named.params[:2], 1e-6)


def test_exposure_is_an_offset():
    X, y, w = of("count")
    time = np.linspace(0.5, 3, len(y))
    given = {"family": families.Poisson(), "l2": 0.05, "sample_weight": w}
    offset = ji.glm.fit(X, y, offset=np.log(time), **given, **TIGHT).params
    close(ji.glm.fit(X, y, exposure=time, **given, **TIGHT).params, offset, 1e-10)


def test_balanced_classes_are_class_weights():
    X, y, w = of("binary")
    total = np.array([w[y == 0].sum(), w[y == 1].sum()])
    by_hand = ji.logistic.fit(X, y, l2=0.05, sample_weight=w, class_weight=w.sum() / (2 * total), **TIGHT).params
    close(ji.logistic.fit(X, y, l2=0.05, sample_weight=w, class_weight="balanced", **TIGHT).params, by_hand, 1e-10)
    as_weights = ji.logistic.fit(X, y, l2=0.05, sample_weight=w * (w.sum() / (2 * total))[y], **TIGHT).params
    close(as_weights, by_hand, 1e-10)


def test_hard_labels_are_soft_labels():
    X, y, w = of("classes")
    soft = ji.multinomial.fit(X, np.eye(3)[y], l2=0.05, sample_weight=w, **TIGHT).params
    close(ji.multinomial.fit(X, y, l2=0.05, sample_weight=w, **TIGHT).params, soft, 1e-10)
    X, y, w = of("binary")
    soft = ji.logistic.fit(X, jnp.asarray(y, float), l2=0.05, sample_weight=w, **TIGHT).params
    close(ji.logistic.fit(X, y, l2=0.05, sample_weight=w, **TIGHT).params, soft, 1e-10)


# The mean of 40 or of 6 of them is not the number itself.
CONSTANTS = (0.1, 1 / 3, 7.7, 1e6 + 0.1)


@pytest.mark.parametrize("weighted, dtype", [(True, np.float64), (False, np.float32)])
@pytest.mark.parametrize("model", [m for m in distinct() if m.static.get("fit_intercept", True)], ids=lambda m: m.name)
def test_a_constant_column_is_no_second_intercept(model, weighted, dtype):
    """The rounding of its mean was taken for its spread and scaled up: predictions 2 to 11 % off, CONVERGED.  Zeros,
    which have no mean to round, say as little; with the row's penalty, and without the L2 that hides the fault."""
    X, y = model.data(dtype=dtype)
    w = model.weights(dtype=dtype) if weighted else None
    if weighted:
        w[0] = 0  # where X holds something else

    def fit(constant, **more):
        Z = X.copy()
        Z[weighted:, -1] = constant
        return ji.check(model.fit(Z, y, sample_weight=w, **more)).params

    free = [{"l2": np.zeros_like(model.hyper["l2"], dtype)}] if "l2" in model.hyper else []
    for more in [{}, *free]:
        zeros = fit(0.0, **more)
        for constant in CONSTANTS:
            close(fit(constant, **more), zeros, 1e-9 if dtype == np.float64 else 2e-5)
        assert np.abs(zeros.coef[-1]).max() <= np.finfo(dtype).eps * np.abs(zeros.coef).max()


@pytest.mark.parametrize("weighted", [True, False])
def test_a_column_constant_in_the_rows_that_are_sampled(weighted):
    """Of many rows some 32 give the centre and the scale: the rounding of their mean was the scale of the column."""
    rng = np.random.default_rng(4)
    n = 60_000
    X = rng.standard_normal((n, 20)).astype(np.float32)
    sampled = np.zeros(n, bool)
    sampled[:: -(-n // 32) | 1] = True
    X[:, -1] = ~sampled & (np.arange(n) % 3 == 0)
    y = rng.random(n) < 1 / (1 + np.exp(-X @ np.linspace(-1, 1, 20)))
    w = rng.uniform(0.5, 2, n).astype(np.float32) if weighted else None
    expected = ji.check(ji.logistic.fit(X, y, sample_weight=w, tol=1e-6)).params
    for low in (0.1, 7.7):
        Z = X.copy()
        Z[:, -1] += np.float32(low)
        moved = ji.check(ji.logistic.fit(Z, y, sample_weight=w, tol=1e-6)).params
        close(moved, expected._replace(intercept=expected.intercept - low * expected.coef[-1]), 2e-5)


@pytest.mark.parametrize(
    "name, more",
    [("ols", {}), ("logistic", {"l2": 0.0}), ("glm_poisson", {"l2": 0.0}), ("huber", {"l2": 0.0}),
     ("m_estimator", {}), ("m_estimator", {"scale": "proposal2"}), ("m_estimator_tukey", {})],
)  # fmt: skip
def test_derivatives_beside_columns_that_say_nothing(name, more):
    """Of predictions with respect to X and the weights: the same beside zeros, a constant, a column again and a sum of
    two.  The M-estimators' were NaN, or wrong where rounding made the singular matrix regular."""
    model = BY_NAME[name]
    X, y = model.data()
    X, w = X[:, :4], model.weights()

    def seen(X, w, A, b):
        Z = X @ A + b[None]
        fit = model.fit(Z, y, sample_weight=w, **more)
        return model.module.decision(fit.params, Z) @ jnp.cos(jnp.arange(40.0)), fit.info.status

    slopes = jax.jit(jax.value_and_grad(seen, (0, 1), has_aux=True))
    eye, nothing = np.eye(4), np.zeros(4)

    def of(X, w, column=nothing, constant=0.0):
        (value, status), found = slopes(X, w, np.c_[eye, column], constant * np.eye(5)[4])
        assert status == ji.Status.CONVERGED
        return value, found

    expected = of(X, w)[1]
    rng = np.random.default_rng(0)
    for along, at in ((rng.standard_normal(X.shape), 0), (rng.standard_normal(40), 1)):
        plus, minus = (of(X + s * along, w)[0] if at == 0 else of(X, w + s * along)[0] for s in (1e-5, -1e-5))
        np.testing.assert_allclose((expected[at] * along).sum(), (plus - minus) / 2e-5, rtol=1e-4, atol=1e-6)
    for column, constant in ((nothing, 0.1), (eye[0], 0.0), (eye[0] + eye[1], 0.0)):
        for a, e in zip(of(X, w, column, constant)[1], expected, strict=True):
            assert np.abs(a - e).max() <= 1e-9 * np.abs(e).max()
