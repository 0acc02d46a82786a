"""The implementations of robust, quantile and ordinal regression, of kernel ridge, resampling and standard errors."""

import numpy as np

from bench.certificates.least_squares import Answer
from bench.certificates.machines import rounded
from bench.peers.adapter import TOLERANCES, Adapter, estimator, jaxinfra, optional
from bench.suite import fits, settings

LINEAR = "sklearn.linear_model"
# Of the gradient of a sum over the rows, in scikit-learn's Huber regression.
SUMS = (10.0, 1.0, 0.1, 0.01, 1e-3, *TOLERANCES)
ITERATIONS = 10000


def _with_ones(task):
    return np.column_stack([task.X, np.ones_like(task.X[:, :1])])


def _last_is_intercept(params):
    params = np.asarray(params)
    return Answer(params[:-1], params[-1])


def _rlm(task, tol=None):
    statsmodels = optional("statsmodels.api")
    model = statsmodels.RLM(task.y, _with_ones(task), M=statsmodels.robust.norms.TukeyBiweight())
    return lambda: model.fit(tol=tol, maxiter=ITERATIONS), lambda fit: _last_is_intercept(fit.params)


def _quantreg(task, tol=None):
    """statsmodels' reweighted least squares, one quantile after the other."""
    model = optional("statsmodels.api").QuantReg(task.y, _with_ones(task))
    taus = np.atleast_1d(rounded(task))

    def call():
        return [model.fit(q=tau, p_tol=tol, max_iter=ITERATIONS).params for tau in taus]

    def read(params):
        params = np.stack(params, axis=1)
        params = params[:, 0] if np.ndim(task.hyper) == 0 else params
        return _last_is_intercept(params)

    return call, read


def _highs(solver):
    return estimator(LINEAR, "QuantileRegressor", quantile=lambda task: float(rounded(task)), alpha=0.0, solver=solver)


def _few_rows(task):
    return len(task.X) <= 10000


def _theil_sen(task, tol=None):
    every = fits.subsets(task.X)
    model = optional(LINEAR).TheilSenRegressor(max_subpopulation=every, tol=tol, max_iter=ITERATIONS, random_state=0)
    return lambda: model.fit(task.X, task.y), lambda fit: Answer(fit.coef_, fit.intercept_)


def _theilslopes(task, tol=None):
    slopes = optional("scipy.stats").theilslopes
    x = np.ascontiguousarray(task.X[:, 0])
    return (
        lambda: slopes(task.y, x, method="joint"),
        lambda found: Answer(np.array([found.slope]), np.asarray(found.intercept)),
    )


def _ransac(task, tol=None):
    linear = optional(LINEAR)
    model = linear.RANSACRegressor(
        linear.LinearRegression(), min_samples=task.X.shape[1] + 1, residual_threshold=float(rounded(task)),
        max_trials=1000, random_state=0,
    )  # fmt: skip

    def read(fit):
        return Answer(fit.estimator_.coef_, fit.estimator_.intercept_)

    return lambda: model.fit(task.X, task.y), read


def _ordered(task, tol=None):
    OrderedModel = optional("statsmodels.miscmodels.ordinal_model").OrderedModel
    model = OrderedModel(task.y, task.X, distr="logit")

    def read(fit):
        return Answer(fit.params[: task.X.shape[1]], model.transform_threshold_params(fit.params)[1:-1])

    return lambda: model.fit(method="bfgs", gtol=tol, maxiter=ITERATIONS, disp=0, skip_hessian=True), read


def _kernel_ridge(task, tol=None):
    l2, gamma = rounded(task)
    model = optional("sklearn.kernel_ridge").KernelRidge(alpha=l2 * len(task.X), kernel="rbf", gamma=gamma)
    return lambda: model.fit(task.X, task.y), lambda fit: Answer(fit.dual_coef_, np.float64(0))


def _resampled(found):
    coef, intercept, weight = (np.array(part) for part in zip(*found, strict=True))
    return Answer(coef, intercept, values=weight)


def _bootstrap(solver):
    """A loop over resamples as weights, each fit started at the last one's."""

    def prepare(task, tol=None):
        model = optional(LINEAR).LogisticRegression(
            C=1 / (task.hyper * len(task.X)), solver=solver, tol=tol, max_iter=ITERATIONS, warm_start=True
        )
        rng = np.random.default_rng(0)
        rows = len(task.X)

        def call():
            found = []
            for _ in range(settings.RESAMPLES):
                weight = np.bincount(rng.integers(0, rows, rows), minlength=rows)
                model.fit(task.X, task.y, sample_weight=weight)
                found.append((model.coef_[0].copy(), model.intercept_[0], weight))
            return found

        return call, _resampled

    return Adapter(prepare, TOLERANCES)


def _hc3(task, tol=None):
    statsmodels = optional("statsmodels.api")
    model = statsmodels.GLM(task.y.astype(task.X.dtype), _with_ones(task), family=statsmodels.families.Binomial())
    theta = rounded(task)
    Results = optional("statsmodels.genmod.generalized_linear_model").GLMResults

    def call():
        inverse = np.linalg.inv(-model.hessian(theta))
        leverage = Results(model, theta, inverse, 1.0).get_hat_matrix_diag(observed=True)
        scores = model.score_obs(theta) / (1 - leverage)[:, None]
        return np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))

    return call, _last_is_intercept


ADAPTERS = {
    "ordinal": {
        "jaxinfra": jaxinfra("ordinal"),
        "statsmodels": Adapter(_ordered, TOLERANCES, lambda task: len(task.X) <= 1000),
    },
    "kernel_ridge": {"jaxinfra": jaxinfra("kernel_ridge", (None,)), "sklearn": Adapter(_kernel_ridge)},
    "huber": {
        "jaxinfra": jaxinfra("huber"),
        "sklearn": estimator(LINEAR, "HuberRegressor", SUMS, alpha=0.0, max_iter=ITERATIONS),
    },
    "m_estimator": {"jaxinfra": jaxinfra("m_estimator"), "statsmodels": Adapter(_rlm, TOLERANCES)},
    "quantile": {
        "jaxinfra": jaxinfra("quantile"),
        "sklearn HiGHS": _highs("highs")._replace(suits=_few_rows),
        "sklearn HiGHS interior": _highs("highs-ipm")._replace(suits=_few_rows),
        "statsmodels": Adapter(_quantreg, TOLERANCES),
    },
    "quantiles": {"jaxinfra": jaxinfra("quantiles"), "statsmodels": Adapter(_quantreg, TOLERANCES, _few_rows)},
    "theil_sen": {
        "jaxinfra": jaxinfra("theil_sen"),
        "scipy": Adapter(_theilslopes, (None,), lambda task: task.X.shape[1] == 1),
        "sklearn": Adapter(_theil_sen, (1e-2, 1e-3, *TOLERANCES), lambda task: task.X.shape[1] > 1),
    },
    "ransac": {"jaxinfra": jaxinfra("ransac", (None,)), "sklearn": Adapter(_ransac)},
    "bootstrap": {
        "jaxinfra": jaxinfra("bootstrap"),
        "sklearn lbfgs": _bootstrap("lbfgs"),
        "sklearn newton-cholesky": _bootstrap("newton-cholesky"),
    },
    "sandwich": {"jaxinfra": jaxinfra("sandwich", (None,)), "statsmodels": Adapter(_hc3)},
}
