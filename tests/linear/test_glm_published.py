"""Generalised linear models against numbers that others published: R, Stata and SAS by way of statsmodels, and glmnet.

statsmodels ships the results and the data that its own tests use.  The plain NumPy reference has to reach them as well.
(Its `Wfs` results are left out: the wheel does not hold their data.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor

import jaxinfra as ji
from jaxinfra import families, links
from tests.conftest import SHARED
from tests.references import glm as reference

pytest.importorskip("statsmodels", reason="statsmodels, which ships the published results, is not installed")

import statsmodels.datasets as datasets
from statsmodels.genmod.tests.results import (
    glmnet_r_results,
    res_R_var_weight,
    results_glm,
    results_glm_poisson_weights,
)

pytestmark = pytest.mark.slow

FREQUENCIES = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 1, 1, 1, 2, 2, 2, 3, 3], float)


@dataclass(frozen=True)
class Case:
    """A published fit: the data, and coefficients (the intercept last where there is one), deviance and dispersion."""

    X: np.ndarray
    y: np.ndarray
    family: Any
    params: Any
    link: Any = None
    intercept: bool = True
    weights: np.ndarray | None = None
    exposure: np.ndarray | None = None
    offset: np.ndarray | None = None
    deviance: float | None = None
    dispersion: float | None = None

    @property
    def model(self) -> dict[str, Any]:
        rows = {"sample_weight": self.weights, "exposure": self.exposure, "offset": self.offset}
        return {"family": self.family, "link": self.link, **rows}


def of(results: Any, X: Any, y: Any, family: Any, **more: Any) -> Case:
    """The case with the results of a class of statsmodels."""
    dispersion = getattr(results, "scale", None)
    fixed = isinstance(family, families.Poisson | families.Binomial)  # published as 1
    return Case(
        np.asarray(X, float),
        np.asarray(y, float),
        family,
        np.asarray(results.params, float),
        **{"deviance": results.deviance, "dispersion": None if fixed else dispersion, **more},
    )


def constant_last(results: Any, family: Any, **more: Any) -> Case:
    """A class of results that holds its own data, with a column of ones at the end."""
    return of(results, np.asarray(results.exog, float)[:, :-1], results.endog, family, **more)


def longley() -> Case:
    data = datasets.longley.load()
    return of(results_glm.Longley(), data.exog, data.endog, families.Gaussian())


def parabola(noise: float, mean: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Data of the two tests of Gaussian families, as statsmodels draws them."""
    x = np.arange(100.0)
    return np.column_stack([x, x**2]), mean(x) + noise * np.random.RandomState(54321).randn(100)


def gaussian_log() -> Case:
    X, y = parabola(0.001, lambda x: np.exp(-(-1 + 0.02 * x + 0.0001 * x**2)))
    results = results_glm.GaussianLog()
    results.params = np.roll(results.params, -1)
    return of(results, X, y, families.Gaussian(), link=links.Log())


def gaussian_inverse() -> Case:
    rs = np.random.RandomState(54321)
    rs.randn(100)
    X, _ = parabola(0, np.ones_like)
    y = 1 / (1 + 0.02 * X[:, 0] + 0.001 * X[:, 1]) + 0.001 * rs.randn(100)
    results = results_glm.GaussianInverse()
    results.params = np.roll(results.params, -1)
    return of(results, X, y, families.Gaussian(), link=links.Inverse())


def star98() -> Case:
    """Proportions: successes and failures of each school district."""
    data = datasets.star98.load()
    counts = np.asarray(data.endog, float)
    trials = counts.sum(1)
    return of(results_glm.Star98(), data.exog, counts[:, 0] / trials, families.Binomial(), weights=trials)


def scotland() -> Case:
    data = datasets.scotland.load()
    return of(results_glm.Scotvote(), data.exog, data.endog, families.Gamma())


def executions(log: bool = True) -> tuple[np.ndarray, np.ndarray]:
    data = datasets.cpunish.load()
    X = np.array(data.exog, float)
    if log:
        X[:, 3] = np.log(X[:, 3])
    return X, np.asarray(data.endog, float)


def cpunish() -> Case:
    return of(results_glm.Cpunish(), *executions(), families.Poisson())


def cpunish_exposure() -> Case:
    results = results_glm.Cpunish_offset()
    results.params = np.roll(results.params, -1)
    return of(results, *executions(), families.Poisson(), exposure=np.full(17, 100.0))


def medpar(results: Any, link: Any) -> Case:
    return constant_last(results, families.InverseGaussian(), link=link)


def committee() -> Case:
    data = datasets.committee.load()
    X = np.array(data.exog, float)
    X[:, 2] = np.log(X[:, 2])
    X = np.column_stack([X, X[:, 2] * X[:, 1]])
    return of(results_glm.Committee(), X, data.endog, families.NegativeBinomial(1.0))


def tweedie(results: Any, power: float, link: Any) -> Case:
    X, y = executions(log=False)
    columns = list(datasets.cpunish.load_pandas().exog.columns)
    X = X[:, [columns.index("INCOME"), columns.index("SOUTH")]]
    return of(results, X, y, families.Tweedie(power), link=link, intercept=False)


def fair(*columns: str) -> tuple[np.ndarray, np.ndarray]:
    data = datasets.fair.load_pandas()
    return np.asarray(data.exog[list(columns)], float), np.asarray(data.endog, float)


def fair_tweedie() -> Case:
    data = fair("rate_marriage", "age", "yrs_married")
    return of(results_glm.FairTweedieLog15(), *data, families.Tweedie(1.5), intercept=False)


def weighted_poisson(results: Any, weights: np.ndarray | None) -> Case:
    """Stata's frequency weights, and its analytic weights, which it scales to the number of rows."""
    if results.cmdline.count("aweight"):
        weights = weights / weights.sum() * 17
    # For probability weights its degrees of freedom are not those of the weights.
    dispersion = None if results.cmdline.count("pweight") else results.dispers_p
    about = {"weights": weights, "deviance": results.deviance, "dispersion": dispersion}
    return Case(*executions(), families.Poisson(), results.params, **about)


def every(n: int) -> np.ndarray:
    weights = np.ones(n)
    weights[::5] = 5
    weights[::13] = 3
    return weights


def r_weights(name: str) -> Case:
    """R's prior weights.  Its dispersion counts rows, not weights, and is not compared."""
    results = getattr(res_R_var_weight, f"results_{name}_aweights_nonrobust")
    params, more = np.roll(results.params, -1), {"deviance": results.deviance}
    if name == "tweedie":
        X, y = fair("age", "yrs_married")
        return Case(X, y, families.Tweedie(1.55), params, weights=every(len(y)), **more)
    if name == "gamma":
        data = results_glm.CancerLog()
        X, y = np.asarray(data.exog)[:, :-1], np.asarray(data.endog, float)
        return Case(X, y, families.Gamma(), params, link=links.Log(), weights=every(len(y)), **more)
    case = tweedie(results, 1.0, links.Log())
    weights = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1, 2, 3, 4, 5, 4, 3, 2, 1], float)
    more |= {"intercept": False, "weights": weights}
    return Case(case.X / [1000, 1], case.y, families.Gaussian(), results.params, link=links.Log(), **more)


STATA = results_glm_poisson_weights
CASES: dict[str, Callable[[], Case]] = {
    "longley gaussian": longley,
    "gaussian log": gaussian_log,
    "gaussian inverse": gaussian_inverse,
    "star98 binomial": star98,
    "lbw bernoulli": lambda: constant_last(results_glm.Lbw(), families.Binomial()),
    "scotland gamma": scotland,
    "cancer gamma log": lambda: constant_last(results_glm.CancerLog(), families.Gamma(), link=links.Log()),
    "cancer gamma identity": lambda: constant_last(
        results_glm.CancerIdentity(), families.Gamma(), link=links.Identity()
    ),
    "cpunish poisson": cpunish,
    "cpunish exposure": cpunish_exposure,
    "inverse gaussian": lambda: constant_last(results_glm.InvGauss(), families.InverseGaussian()),
    "medpar inverse gaussian log": lambda: medpar(results_glm.InvGaussLog(), links.Log()),
    "medpar inverse gaussian identity": lambda: medpar(results_glm.InvGaussIdentity(), links.Identity()),
    "committee negative binomial": committee,
    "tweedie 1.5 identity": lambda: tweedie(results_glm.CpunishTweediePower15(), 1.5, links.Identity()),
    "tweedie 2 identity": lambda: tweedie(results_glm.CpunishTweediePower2(), 2.0, links.Identity()),
    "tweedie 1 log": lambda: tweedie(results_glm.CpunishTweedieLog1(), 1.0, links.Log()),
    "fair tweedie 1.5 log": fair_tweedie,
    "stata poisson": lambda: weighted_poisson(STATA.results_poisson_none_nonrobust, None),
    "stata frequency weights": lambda: weighted_poisson(STATA.results_poisson_fweight_nonrobust, FREQUENCIES),
    "stata analytic weights": lambda: weighted_poisson(STATA.results_poisson_aweight_nonrobust, FREQUENCIES),
    "stata probability weights": lambda: weighted_poisson(STATA.results_poisson_pweight_nonrobust, FREQUENCIES),
    "r weights tweedie": lambda: r_weights("tweedie"),
    "r weights gamma": lambda: r_weights("gamma"),
    "r weights gaussian log": lambda: r_weights("gaussian"),
}


def by_reference(case: Case, **penalty: Any) -> tuple[Any, Any, Any, Any]:
    coef, intercept = reference.fit(case.X, case.y, fit_intercept=case.intercept, **case.model, **penalty)
    deviance = reference.deviance(coef, intercept, case.X, case.y, **case.model)
    dispersion = reference.dispersion(coef, intercept, case.X, case.y, fit_intercept=case.intercept, **case.model)
    return coef, intercept, deviance, dispersion


def by_jaxinfra(case: Case, **penalty: Any) -> tuple[Any, Any, Any, Any]:
    fit = ji.check(ji.glm.fit(case.X, case.y, fit_intercept=case.intercept, **case.model, **penalty))
    about = {k: v for k, v in case.model.items() if k != "link"}  # the parameters hold the link
    deviance = ji.glm.deviance(fit.params, case.X, case.y, **about)
    parameters = case.X.shape[1] + case.intercept
    dispersion = ji.glm.dispersion(fit.params, case.X, case.y, n_params=parameters, **about)
    return fit.params.coef, fit.params.intercept, deviance, dispersion


# Where the programs stopped at their tolerances: their deviances agree to 1e-7, their coefficients to this.
LOOSE = {
    "cancer gamma log": 5e-5,
    "cancer gamma identity": 5e-5,
    "medpar inverse gaussian log": 1e-4,
    "medpar inverse gaussian identity": 2e-4,
    "committee negative binomial": 5e-4,
    "fair tweedie 1.5 log": 5e-5,
}
SOLVERS = [pytest.param(by_reference, id="reference"), pytest.param(by_jaxinfra, id="jaxinfra")]
solvers = pytest.mark.parametrize("solve", SOLVERS)


@solvers
@pytest.mark.parametrize("name", CASES)
def test_published(name, solve):
    case = CASES[name]()
    coef, intercept, deviance, dispersion = solve(case)
    found = np.append(coef, intercept) if case.intercept else np.asarray(coef)
    loose = LOOSE.get(name, 5e-6)
    np.testing.assert_allclose(found, case.params, rtol=loose)
    np.testing.assert_allclose(deviance, case.deviance, rtol=2e-7)
    if case.dispersion is not None:
        np.testing.assert_allclose(dispersion, case.dispersion, rtol=loose)


# Elastic nets of glmnet: lambda (alpha |w| + (1 - alpha) w^2 / 2), so l1 = lambda alpha and l2 = lambda (1 - alpha).
ENET = {"binomial": families.Binomial(), "poisson": families.Poisson()}


@cache
def elastic_net_data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """As R's script read them: it took the first row for a header; columns standardised with n - 1."""
    data = np.loadtxt(Path(glmnet_r_results.__file__).parent / f"enet_{name}.csv", delimiter=",")[1:]
    X = data[:, 1:]
    return (X - X.mean(0)) / X.std(0, ddof=1), data[:, 0]


@solvers
@pytest.mark.parametrize("which", range(9))
@pytest.mark.parametrize("name", ENET)
def test_elastic_net_of_glmnet(name, which, solve):
    alpha, penalty, *published = getattr(glmnet_r_results, f"rslt_{name}_{which}")
    case = Case(*elastic_net_data(name), ENET[name], published, intercept=False)
    penalties = {"l1": penalty * alpha, "l2": penalty * (1 - alpha)}
    coef = solve(case, **penalties)[0]
    np.testing.assert_allclose(coef, published, atol=2e-5)


@cache
def glmnet_example(name: str) -> tuple[np.ndarray, np.ndarray]:
    folder = SHARED / "glmnet"
    if not folder.is_dir():
        pytest.skip(f"glmnet's example data are not at {folder.relative_to(SHARED.parents[1])} beside the project")
    X, y = (np.loadtxt(folder / f"{name}Example{part}.dat", delimiter=",") for part in "XY")
    return X, y


def logistic_peer(X: np.ndarray, y: np.ndarray, l1: float, l2: float) -> np.ndarray:
    """scikit-learn: C times the sum of losses."""
    C, ratio = 1 / (len(y) * (l1 + l2)), l1 / (l1 + l2)
    if l1:
        settings = {"l1_ratio": ratio, "solver": "saga", "tol": 1e-13, "max_iter": 100_000, "random_state": 0}
    else:
        settings = {"solver": "newton-cholesky", "tol": 1e-12}
    peer = LogisticRegression(C=C, **settings).fit(X, y)
    return np.append(peer.coef_, peer.intercept_)


def poisson_peer(X: np.ndarray, y: np.ndarray, l1: float, l2: float) -> np.ndarray:
    """scikit-learn for l2; for l1 glum, whose objective is the same, where it is installed."""
    if not l1:
        peer = PoissonRegressor(alpha=l2, solver="newton-cholesky", tol=1e-12).fit(X, y)
    else:
        glum = pytest.importorskip("glum", reason="glum, the peer for Poisson with l1, is not installed")
        peer = glum.GeneralizedLinearRegressor(
            family="poisson", alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), gradient_tol=1e-10, max_iter=1000
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that rounding stopped its line search
            peer.fit(X, y)
    return np.append(peer.coef_, peer.intercept_)


EXAMPLES = {"Binomial": (families.Binomial(), logistic_peer), "Poisson": (families.Poisson(), poisson_peer)}


@solvers
@pytest.mark.parametrize("l1, l2", [(0.0, 0.05), (0.02, 0.0), (0.01, 0.02)])
@pytest.mark.parametrize("name", EXAMPLES)
def test_glmnet_examples(name, l1, l2, solve):
    X, y = glmnet_example(name)
    family, peer = EXAMPLES[name]
    coef, intercept, *_ = solve(Case(X, y, family, None), l1=l1, l2=l2)
    expected = peer(X, y, l1, l2)
    found = np.append(coef, intercept)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(found == 0, expected == 0)


# No program published numbers for these links: statsmodels itself is the peer.
PEERS = {
    "probit": (families.Binomial(), links.Probit(), lambda f, g: f.Binomial(g.Probit())),
    "cloglog": (families.Binomial(), links.CLogLog(), lambda f, g: f.Binomial(g.CLogLog())),
    "cauchit": (families.Binomial(), links.Cauchit(), lambda f, g: f.Binomial(g.Cauchy())),
    "binomial log": (families.Binomial(), links.Log(), lambda f, g: f.Binomial(g.Log())),
    "poisson sqrt": (families.Poisson(), links.Sqrt(), lambda f, g: f.Poisson(g.Sqrt())),
    "poisson identity": (families.Poisson(), links.Identity(), lambda f, g: f.Poisson(g.Identity())),
    "tweedie power": (families.Tweedie(1.5), links.Power(0.4), lambda f, g: f.Tweedie(g.Power(0.4), var_power=1.5)),
    "gamma inverse squared": (families.Gamma(), links.InverseSquared(), lambda f, g: f.Tweedie(g.Power(-2), 2.0)),
    "negative binomial": (
        families.NegativeBinomial(0.7),
        links.Log(),
        lambda f, g: f.NegativeBinomial(g.Log(), alpha=0.7),
    ),
    "tweedie 1.3": (families.Tweedie(1.3), links.Log(), lambda f, g: f.Tweedie(g.Log(), var_power=1.3)),
    "inverse gaussian log": (families.InverseGaussian(), links.Log(), lambda f, g: f.InverseGaussian(g.Log())),
}


@solvers
@pytest.mark.parametrize("name", PEERS)
def test_other_links(name, solve):
    from statsmodels.genmod import families as theirs
    from statsmodels.genmod.generalized_linear_model import GLM

    family, link, peer = PEERS[name]
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 3))
    center = -1.2 if name == "binomial log" else 0.2 if isinstance(family, families.Binomial) else 2.0
    mu = reference.mean(family, link, center + X @ [0.3, -0.2, 0.4])
    w, o = rng.integers(1, 4, 300).astype(float), rng.uniform(-0.1, 0.1, 300)
    draw = {
        "Binomial": lambda: (rng.uniform(size=300) < mu).astype(float),
        "Poisson": lambda: rng.poisson(mu).astype(float),
        "Gamma": lambda: rng.gamma(5, mu / 5),
        "InverseGaussian": lambda: rng.wald(mu, 5 * mu),
        "Tweedie": lambda: rng.poisson(mu).astype(float),
        "NegativeBinomial": lambda: rng.poisson(rng.gamma(1 / 0.7, 0.7 * mu)).astype(float),
    }
    y = draw[type(family).__name__]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about links that are not the family's own, and steps outside the domain
        model = GLM(y, np.column_stack([X, np.ones(300)]), family=peer(theirs, theirs.links), freq_weights=w, offset=o)
        expected = model.fit(tol=1e-14, maxiter=1000)
    case = Case(X, y, family, expected.params, link=link, weights=w, offset=o)
    coef, intercept, deviance, dispersion = solve(case)
    np.testing.assert_allclose(np.append(coef, intercept), expected.params, atol=2e-7 * np.abs(expected.params).max())
    np.testing.assert_allclose(deviance, expected.deviance, rtol=1e-9)
    if expected.scale != 1:
        np.testing.assert_allclose(dispersion, expected.pearson_chi2 / expected.df_resid, rtol=1e-6)
