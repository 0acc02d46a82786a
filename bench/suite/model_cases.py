"""The models that are measured: one row a model, read by every benchmark of the suite.

Fresh processes import this file alone, beside the installed jaxinfra: it must import nothing else of the suite.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FOLDS = 5  # of equal numbers of rows
GROUP = 5  # columns in a group
LEVELS = 5  # classes in an order
RESAMPLES = 1000
SUBSETS = 1_000_000  # all of the rows' subsets are taken where there are no more
THRESHOLD = 0.5  # of RANSAC: five standard deviations of the good rows
POWER = 1.5  # of Tweedie's variance
RIDGE = 0.01
LABELS = {"labels": 2, "classes": 3, "clusters": 2, "ordered": LEVELS}  # kinds of y and their numbers of classes
REAL = ("diabetes", "linnerud", "breast_cancer", "digits")


class Case(NamedTuple):
    module: str  # of jaxinfra
    family: str  # the benchmark module that races it
    name: str  # the class there
    title: str
    text: str
    target: str  # the kind of y, see `_data.load`
    fit: Callable  # fit(ji, X, y, penalty, **options)
    penalty: Callable  # penalty(X, y): what the regularised models are given, a number or a grid
    problems: tuple
    standard: tuple  # those of the standard profile; `QUICK` has the quick one's
    compiled: tuple = ("1000x20", "20000x500")  # the shapes that are compiled, the first in every profile
    patience: float | None = None  # seconds for one call of a peer, None for the profile's


def _centred(values):
    return np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)


def block_norms(values, size=1):
    """Euclidean norms of the blocks of `size` neighbours along the first axis, each with all its columns."""
    return np.sqrt(np.square(values).reshape(-1, size * int(np.prod(values.shape[1:]))).sum(axis=1))


def l1_max(X, y, size=1):
    """The smallest l1 at which every coefficient is zero, for blocks of `size` columns of weight sqrt(size)."""
    return float(block_norms(_centred(X).T @ _centred(y), size).max() / len(X) / np.sqrt(size))


def _none(X, y):
    return 0.0


def _ridge_grid(X, y):
    return np.logspace(-4, 2, 25)


def _l1(X, y):
    return l1_max(X, y) / 20


def _group_l1(X, y):
    return l1_max(X, y, GROUP) / 20


def _l1_path(X, y):
    return np.geomspace(1, 0.01, 50) * l1_max(X, y)


def _l1_cv(X, y):
    return np.geomspace(1, 1e-3, 100) * l1_max(X, y)


def _c(C):
    """scikit-learn's C as a penalty of the mean."""
    return lambda X, y: 1 / (C * len(X))


# C and gamma of RBF machines by the number of columns: MNIST, a9a; others have 1 and 1 / 50.
_SVC = {784: (10.0, 0.02), 123: (1.0, 0.05)}


def _rbf(*before):
    """The numbers before gamma, and gamma; without any, C and gamma."""
    return lambda X, y: np.array([*before, 0.02] if before else _SVC.get(X.shape[1], (1.0, 0.02)))


def _svc_cells(X, y):
    return np.stack([np.logspace(-1, 2, 6), np.logspace(-3, 0, 6)])


def _inverse_c(X, y):
    return 1 / np.logspace(-4, 4, 10)  # 1 / C, of the sum over the rows of a fold


def _nine(X, y):
    return np.linspace(0.1, 0.9, 9)


def _ridge_and_gamma(X, y):
    return np.array([0.1 / len(X), 0.02])  # scikit-learn's alpha is 0.1


def subsets(X):
    """How many subsets of as many rows as parameters Theil and Sen's estimator takes: all, or 10000."""
    every = math.comb(len(X), X.shape[1] + 1)
    return every if every <= SUBSETS else 10_000


def _logistic_optimum(X, y):
    """Coefficients and intercept of logistic regression, by Newton's method in NumPy."""
    V, y = np.column_stack([X, np.ones(len(X))]).astype(np.float64), np.asarray(y, np.float64)
    theta = np.zeros(V.shape[1])
    for _ in range(12):
        p = 1 / (1 + np.exp(-V @ theta))
        theta -= np.linalg.solve((V.T * (p * (1 - p))) @ V, V.T @ (p - y))
    return theta


def groups(columns):
    return (np.arange(columns) // GROUP).astype(np.int32)


def fold_weights(rows, dtype):
    """(FOLDS + 1, rows): a fold gives weight 0 to the neighbouring rows that it holds out; the last has all rows."""
    fold = np.arange(rows) // (rows // FOLDS)
    return np.concatenate([fold != np.arange(FOLDS)[:, None], np.ones((1, rows), bool)]).astype(dtype)


def _held_out(params, X, y, loss):
    """The mean of loss(linear predictor, y) over the folds' held-out rows, for each penalty."""
    X, y = X.reshape(FOLDS, -1, X.shape[1]), y.reshape(FOLDS, 1, -1)
    eta = params.coef[:-1] @ X.swapaxes(1, 2) + params.intercept[:-1, :, None]
    return loss(eta, y).mean(axis=(0, 2))


@functools.cache
def _lasso_cv(ji):
    import jax

    def run(X, y, l1, tol):
        def path(weight):
            return ji.lasso.path(X, y, l1=l1, sample_weight=weight, tol=tol).params

        paths = jax.vmap(path)(jax.numpy.asarray(fold_weights(len(X), X.dtype)))
        loss = _held_out(paths, X, y, lambda eta, y: (y - eta) ** 2)
        return paths, loss

    return jax.jit(run)


@functools.cache
def _logistic_cv(ji):
    import jax

    def run(X, y, inverse_c, tol):
        def path(weight):
            # The strongest penalty comes first.
            return ji.logistic.path(X, y, l2=inverse_c / weight.sum(), sample_weight=weight, tol=tol).params

        paths = jax.vmap(path)(jax.numpy.asarray(fold_weights(len(X), X.dtype)))
        loss = _held_out(paths, X, y.astype(X.dtype), lambda eta, y: jax.nn.softplus(eta) - y * eta)
        return paths, loss

    return jax.jit(run)


@functools.cache
def _svc_grid(ji):
    """All cells on all folds, the cell of most rows right, and the fit of all rows there."""
    import jax
    import jax.numpy as jnp

    def run(X, y, grid, tol):
        def lane(gamma, weight, rows, labels):
            path = ji.svc.path(
                X, y, C=grid[0], kernel=ji.kernels.RBF(gamma), sample_weight=weight, n_classes=2, tol=tol
            ).params
            right = (ji.svc.decision(path, rows) >= 0) == (labels == 1)[:, None]
            return path.coef, path.intercept, right.sum(0)

        held_out = X.reshape(FOLDS, -1, X.shape[1]), y.reshape(FOLDS, -1)
        folds = jnp.asarray(fold_weights(len(X), X.dtype)[:-1])
        lanes = jax.vmap(jax.vmap(lane, (None, 0, 0, 0)), (0, None, None, None))
        coef, intercept, right = lanes(grid[1], folds, *held_out)  # (gammas, folds, Cs, ...)
        best = right.sum(1).T.argmax()  # the first, C before gamma
        chosen = grid[0, best // grid.shape[1]], grid[1, best % grid.shape[1]]
        fit = ji.svc.fit(X, y, C=chosen[0], kernel=ji.kernels.RBF(chosen[1]), n_classes=2, tol=tol)
        return fit.params.coef, fit.params.intercept, jnp.stack(chosen), (coef, intercept)

    return jax.jit(run)


@functools.cache
def _svc_decision(ji):
    import jax

    def run(X, y, penalty):
        # Every row is a support vector.
        machine = ji.svc.Machine((2 * y - 1).astype(X.dtype) * penalty[0], penalty[1], X, ji.kernels.RBF(penalty[2]))
        return ji.svc.decision(machine, X)

    return jax.jit(run)


def _machine(module, *names, **fixed):
    """An RBF machine: penalty holds the hyper-parameters `names` and then gamma."""

    def fit(ji, X, y, penalty, **options):
        hyper = {name: penalty[i] for i, name in enumerate(names)}
        data = (X,) if module == "one_class" else (X, y)
        kernel = ji.kernels.RBF(penalty[len(names)])
        return getattr(ji, module).fit(*data, **hyper, kernel=kernel, **fixed, **options)

    return fit


def _linear_svm(loss):
    def fit(ji, X, y, C, **options):
        return ji.linear_svm.fit(X, y, C=C, loss=loss, n_classes=2, **options)

    return fit


def _one_vs_one(ji, X, y, penalty, n_classes=3, **options):
    return ji.svc.fit(X, y, C=penalty[0], kernel=ji.kernels.RBF(penalty[1]), n_classes=n_classes, **options)


def _l1_fit(module, **fixed):
    return lambda ji, X, y, l1, **options: getattr(ji, module).fit(X, y, l1=l1, **fixed, **options)


def _l2_fit(module, **fixed):
    return lambda ji, X, y, l2, **options: getattr(ji, module).fit(X, y, l2=l2, **fixed, **options)


def _glm_fit(family):
    def fit(ji, X, y, l2, **options):
        return ji.glm.fit(X, y, family=family(ji), link=ji.links.Log(), l2=l2, **options)

    return fit


def _multinomial(ji, X, y, l2, n_classes=3, **options):
    return ji.multinomial.fit(X, y, l2=l2, n_classes=n_classes, **options)


def _robust(module, tuning=None, **fixed):
    """A robust model; `tuning` names the argument that the penalty is passed as."""

    def fit(ji, X, y, value, **options):
        given = {tuning: value} if tuning else {}
        return getattr(ji, module).fit(X, y, **given, **{k: make(ji) for k, make in fixed.items()}, **options)

    return fit


def _key(ji):
    import jax

    return jax.random.key(0)


def _theil_sen(ji, X, y, _, **options):
    return ji.theil_sen.fit(X, y, key=_key(ji), n_subsets=subsets(X), **options)


def _ordinal(ji, X, y, l2, n_classes=LEVELS, **options):
    return ji.ordinal.fit(X, y, l2=l2, n_classes=n_classes, **options)


def _kernel_ridge(ji, X, y, penalty, **options):
    kernel = ji.kernels.RBF(penalty[1])
    return ji.kernel_ridge.fit(X, y, l2=penalty[0], kernel=kernel, fit_intercept=False, **options)


def _bootstrap(ji, X, y, l2, **options):
    fixed = {"l2": l2, **options}
    return ji.select.bootstrap(ji.logistic, X, y, key=_key(ji), n=RESAMPLES, fixed=fixed).values


def _sandwich(ji, X, y, theta):
    fit = ji.Fit(ji.Linear(theta[:-1], theta[-1]), None, ji.Problem.of(ji.logistic))
    return ji.infer.inference(fit, X, y, kind="HC3").se


_WIDE = ("1000x20", "20000x500", "20000x100x10")
_LEAST_SQUARES = (*REAL, "1000x20", "20000x500", "200000x50", "20000x100x10", "200x2000")
_LEAST_SQUARES_QUICK = (*REAL, "1000x20", "20000x500", "200000x50")
_ONE = ("1000x20", "20000x500")
_TARGETS = ("1000x20x5", "20000x100x10")
_SMALL = ("1000x20",)

CASES = {
    "ols": Case(
        "ols", "regression", "OLS", "Least squares", "One fit with intercept.", "real",
        lambda ji, X, y, _, **options: ji.ols.fit(X, y, **options), _none,
        # A column of ones makes the wide problem's minimum-norm solution another one for each library.
        tuple(p for p in _LEAST_SQUARES if p != "200x2000"), _LEAST_SQUARES_QUICK, _WIDE,
    ),
    "ridge": Case(
        "ridge", "regression", "Ridge", "Ridge", f"One fit with intercept, l2 = {RIDGE}.", "real",
        _l2_fit("ridge"), lambda X, y: RIDGE, _LEAST_SQUARES, _LEAST_SQUARES_QUICK, _WIDE,
    ),
    "ridge_path": Case(
        "ridge", "regression", "RidgePath", "Ridge path",
        "25 penalties with leave-one-out errors; jaxinfra returns every coefficient vector, RidgeCV the best one.",
        "real", lambda ji, X, y, l2, **options: ji.ridge.path(X, y, l2=l2, **options), _ridge_grid,
        # RidgeCV takes a singular value decomposition of all rows: tens of seconds for the large problems.
        _LEAST_SQUARES, (*REAL, "1000x20"), _WIDE,
    ),
    "lasso_path": Case(
        "lasso", "penalised", "LassoPath", "Lasso path",
        "50 penalties from l1_max to l1_max / 100, warm-started. Peers without an intercept are given centred data.",
        "sparse", lambda ji, X, y, l1, **options: ji.lasso.path(X, y, l1=l1, **options), _l1_path,
        ("diabetes", "1000x20", "100000x100", "2000x1000", "500x5000"),
        ("100000x100", "2000x1000", "500x5000"), ("1000x20", "2000x1000"),
    ),
    "lasso_cv": Case(
        "lasso", "penalised", "LassoCV", "Lasso, cross-validated",
        "100 penalties from l1_max to l1_max / 1000, 5 folds, and the fit of all rows at the best penalty.",
        "sparse", lambda ji, X, y, l1, tol=None: _lasso_cv(ji)(X, y, l1, tol), _l1_cv,
        ("1000x20", "20000x50"), ("20000x50",), ("1000x20", "20000x50"),
    ),
    "lasso": Case(
        "lasso", "penalised", "Lasso", "Lasso", "One fit with intercept at l1_max / 20.", "sparse",
        _l1_fit("lasso"), _l1, _ONE, _SMALL,
    ),
    "elastic_net": Case(
        "elastic_net", "penalised", "ElasticNet", "Elastic net", "One fit with intercept, l1 = l2 = l1_max / 20.",
        "sparse", lambda ji, X, y, l1, **options: ji.elastic_net.fit(X, y, l1=l1, l2=l1, **options), _l1, _ONE, _SMALL,
    ),
    "nnls": Case(
        "nnls", "penalised", "NonNegative", "Non-negative least squares",
        "One fit with free intercept; SciPy is given centred data.", "sparse",
        lambda ji, X, y, _, **options: ji.nnls.fit(X, y, **options), _none, _ONE, _SMALL,
    ),
    "group_lasso": Case(
        "group_lasso", "penalised", "GroupLasso", "Group lasso",
        f"One fit with intercept at l1_max / 20, groups of {GROUP} columns.", "sparse",
        lambda ji, X, y, l1, **options: ji.group_lasso.fit(X, y, l1=l1, groups=groups(X.shape[1]), **options),
        _group_l1, _ONE, _SMALL,
    ),
    "multitask_lasso": Case(
        "multitask_lasso", "penalised", "MultiTaskLasso", "Multi-task lasso", "One fit with intercept at l1_max / 20.",
        "sparse", _l1_fit("multitask_lasso"), _l1, _TARGETS, _TARGETS[:1], _TARGETS,
    ),
    "logistic": Case(
        "logistic", "classification", "Logistic", "Logistic regression", "One fit with intercept, L2, C = 1.",
        "labels", _l2_fit("logistic"), _c(1.0), ("breast_cancer", "1000x20", "20000x500", "200000x50"),
        ("breast_cancer", "1000x20", "20000x500", "200000x50"),
    ),
    "logistic_cv": Case(
        "logistic", "classification", "LogisticCV", "Logistic regression, cross-validated",
        "10 penalties (C = 1e-4 to 1e4), 5 folds, and the fit of all rows at the best penalty.", "labels",
        lambda ji, X, y, c, tol=None: _logistic_cv(ji)(X, y, c, tol), _inverse_c,
        ("1000x20", "20000x50"), ("20000x50",), ("1000x20", "20000x50"),
    ),
    "multinomial": Case(
        "multinomial", "classification", "Multinomial", "Multinomial regression",
        "One fit with intercept, L2, C = 0.1.", "classes", _multinomial, _c(0.1),
        ("digits", "mnist5k", "1000x20"), ("mnist5k", "1000x20"),
    ),
    "ordinal": Case(
        "ordinal", "classification", "Ordinal", "Ordinal regression",
        f"Proportional odds of {LEVELS} classes. statsmodels differentiates numerically.", "ordered", _ordinal, _none,
        ("1000x20", "100000x50"), ("1000x20", "100000x50"), _SMALL,
    ),
    "poisson": Case(
        "glm", "glm", "Poisson", "Poisson regression", "One fit with intercept, log link, l2 = 1e-3.", "counts",
        _glm_fit(lambda ji: ji.families.Poisson()), lambda X, y: 1e-3, ("1000x20", "100000x50"),
        ("1000x20", "100000x50"), ("1000x20", "100000x50"),
    ),
    "gamma": Case(
        "glm", "glm", "Gamma", "Gamma regression", "One fit with intercept, log link, l2 = 1e-3.", "positive",
        _glm_fit(lambda ji: ji.families.Gamma()), lambda X, y: 1e-3, ("1000x20", "100000x50"), _SMALL, _SMALL,
    ),
    "tweedie": Case(
        "glm", "glm", "Tweedie", "Tweedie regression", f"One fit with intercept, power {POWER}, log link, l2 = 1e-3.",
        "positive", _glm_fit(lambda ji: ji.families.Tweedie(POWER)), lambda X, y: 1e-3, ("1000x20", "100000x50"),
        _SMALL, _SMALL,
    ),
    "svc": Case(
        "svc", "svm", "SVC", "SVC",
        "RBF kernel, C = 1, gamma = 1 / 50; MNIST (even or odd): 10 and 1 / 50; a9a: 1 and 1 / 20.",
        "clusters", _machine("svc", "C", n_classes=2), _rbf(), ("1000x20", "mnist5k", "20000x50", "a9a"),
        ("1000x20", "mnist5k", "20000x50"), ("1000x20", "20000x50"),
    ),
    "svc_hard": Case(
        "svc", "svm", "SVCHard", "SVC, C = 1000",
        "RBF kernel, gamma = 1 / 50, asked for a violation of 1e-6, which libsvm and scikit-learn reach by their own "
        "count: their kernel values are float32. float64 alone.",
        "clusters", _machine("svc", "C", n_classes=2), _rbf(1000.0), ("1000x20", "5000x20"), ("1000x20",), (),
    ),
    "svc_pairs": Case(
        "svc", "svm", "SVCPairs", "SVC, one against one", "A machine for each pair of classes; RBF kernel as for SVC.",
        "classes", _one_vs_one, _rbf(), ("1000x20", "digits", "mnist5k"), ("mnist5k",), _SMALL,
    ),
    "svc_grid": Case(
        "svc", "svm", "SVCGrid", "SVC, grid search",
        "6 C (0.1 to 100) by 6 gamma (0.001 to 1), 5 folds, and the fit of all rows at the best of them.", "clusters",
        lambda ji, X, y, grid, tol=None: _svc_grid(ji)(X, y, grid, tol), _svc_cells, ("2000x20",), (), (),
    ),
    "svc_predict": Case(
        "svc", "svm", "SVCPredict", "SVC, prediction", "Decisions of all rows; every row is a support vector.",
        "clusters", lambda ji, X, y, penalty: _svc_decision(ji)(X, y, penalty), _rbf(1e-3, 0.0), ("10000x50",),
        ("10000x50",), (),
    ),
    "nu_svc": Case(
        "nu_svc", "svm", "NuSVC", "nu-SVC", "RBF kernel, nu = 0.3, gamma = 1 / 50.", "clusters",
        _machine("nu_svc", "nu", n_classes=2), _rbf(0.3), ("1000x20", "10000x50"), _SMALL, _SMALL,
    ),
    "svr": Case(
        "svr", "svm", "SVR", "SVR", "RBF kernel, C = 1, epsilon = 0.1, gamma = 1 / 50; y in standard deviations.",
        "curved", _machine("svr", "C", "epsilon"), _rbf(1.0, 0.1), ("1000x20", "10000x50"), ("1000x20", "10000x50"),
        _SMALL,
    ),
    "nu_svr": Case(
        "nu_svr", "svm", "NuSVR", "nu-SVR", "RBF kernel, C = 1, nu = 0.5, gamma = 1 / 50; y in standard deviations.",
        "curved", _machine("nu_svr", "C", "nu"), _rbf(1.0, 0.5), ("1000x20", "10000x50"), _SMALL, _SMALL,
    ),
    "one_class": Case(
        "one_class", "svm", "OneClass", "One-class SVM", "RBF kernel, nu = 0.1, gamma = 1 / 50.", "clusters",
        _machine("one_class", "nu"), _rbf(0.1), ("1000x20", "10000x50"), ("1000x20", "10000x50"), _SMALL,
    ),
    "linear_svm": Case(
        "linear_svm", "svm", "LinearSVM", "Linear SVM",
        "Hinge loss, C = 1. liblinear's intercept is penalised; its answers are held against the free one.", "clusters",
        _linear_svm("hinge"), lambda X, y: 1.0, ("1000x20", "20000x50"), ("1000x20", "20000x50"), _SMALL,
    ),
    "linear_svm_squared": Case(
        "linear_svm", "svm", "LinearSVMSquared", "Linear SVM, squared hinge",
        "C = 1. liblinear's intercept is penalised by 1e-4 of the coefficients' penalty.", "clusters",
        _linear_svm("squared_hinge"), lambda X, y: 1.0, ("1000x20", "20000x50"), ("20000x50",), _SMALL,
    ),
    "kernel_ridge": Case(
        "kernel_ridge", "svm", "KernelRidge", "Kernel ridge",
        "RBF kernel, alpha = 0.1, gamma = 1 / 50, without intercept as in scikit-learn.", "curved", _kernel_ridge,
        _ridge_and_gamma, ("1000x20", "5000x20"), ("1000x20", "5000x20"), _SMALL,
    ),
    "huber": Case(
        "huber", "robust", "Huber", "Huber regression", "One fit with intercept and scale, delta = 1.35.", "heavy",
        _robust("huber"), _none, ("1000x20", "100000x50"), ("1000x20", "100000x50"), ("1000x20", "100000x50"),
    ),
    "m_estimator": Case(
        "m_estimator", "robust", "MEstimator", "M-estimator", "Tukey's bisquare with c = 4.685, scale by the MAD.",
        "heavy", _robust("m_estimator", norm=lambda ji: ji.norms.Tukey()), _none, ("1000x20", "100000x50"),
        ("1000x20", "100000x50"), _SMALL,
    ),
    "quantile": Case(
        "quantile", "robust", "Quantile", "Quantile regression", "One fit with intercept, tau = 0.9.", "heavy",
        _robust("quantile", "tau"), lambda X, y: 0.9, ("1000x20", "10000x50", "100000x50"),
        ("1000x20", "10000x50", "100000x50"), ("1000x20", "10000x50"), 60.0,
    ),
    "quantiles": Case(
        "quantile", "robust", "Quantiles", "Nine quantiles", "tau = 0.1 to 0.9 in one call; peers one by one.", "heavy",
        _robust("quantile", "tau"), _nine, ("1000x20", "10000x50", "100000x50"), ("1000x20", "100000x50"), _SMALL, 60.0,
    ),
    "theil_sen": Case(
        "theil_sen", "robust", "TheilSen", "Theil-Sen",
        "All pairs of 1000 rows of one column, the classical median of slopes; all triples of 60 rows of two columns, "
        "the spatial median of their fits.",
        "heavy", _theil_sen, _none, ("1000x1", "60x2"), ("1000x1", "60x2"), ("1000x1", "60x2"),
    ),
    "ransac": Case(
        "ransac", "robust", "RANSAC", "RANSAC",
        f"At most 1000 trials, threshold {THRESHOLD}; a fifth of the rows is far off.", "outliers",
        _robust("ransac", "threshold", key=_key), lambda X, y: THRESHOLD, ("1000x20", "100000x10"),
        ("1000x20", "100000x10"), _SMALL,
    ),
    "bootstrap": Case(
        "select", "inference", "Bootstrap", "Bootstrap",
        f"{RESAMPLES} logistic regressions with L2, C = 1, on resamples of the rows.", "labels", _bootstrap, _c(1.0),
        ("1000x20",), ("1000x20",), _SMALL, 30.0,
    ),
    "sandwich": Case(
        "infer", "inference", "Sandwich", "HC3 errors",
        "Standard errors of a logistic regression at given coefficients; statsmodels' HC3 is put together from its "
        "scores, leverages and Hessian: what it calls HC3 of a GLM is HC0.",
        "labels", _sandwich, _logistic_optimum, ("1000x20", "100000x50"),
        ("1000x20", "100000x50"), ("1000x20", "100000x50"),
    ),
}  # fmt: skip
# One problem for the models of the quick profile: those that represent their family, at a size that a user meets, where
# every peer takes milliseconds to a second: compiled code cannot be interrupted.
QUICK = {
    "ols": "200000x50", "ridge_path": "1000x20",
    "lasso_path": "2000x1000", "elastic_net": "1000x20", "nnls": "1000x20",
    "logistic": "20000x500", "multinomial": "digits", "ordinal": "1000x20",
    "poisson": "100000x50",
    "svc": "1000x20", "svr": "1000x20", "linear_svm": "1000x20", "kernel_ridge": "1000x20",
    "huber": "100000x50", "m_estimator": "1000x20", "quantile": "1000x20", "theil_sen": "1000x1",
    "sandwich": "100000x50",
}  # fmt: skip
FAMILIES = {
    "regression": "least squares",
    "penalised": "lasso and relatives",
    "classification": "classification",
    "glm": "generalised linear",
    "svm": "support vector machines",
    "robust": "robust and quantile",
    "inference": "errors and resampling",
}


def available(model):
    """Whether the jaxinfra at hand has it: the suite also measures older commits."""
    import jaxinfra

    return hasattr(jaxinfra, CASES[model].module)


def function(model):
    """The public verb as a function of arrays alone, so that one program holds all of it."""
    import jaxinfra as ji

    return functools.partial(CASES[model].fit, ji)


def sample(model, shape_X, shape_y, dtype, rng):
    """X, y and the penalty with random values that the model allows."""
    case = CASES[model]
    X, y = rng.standard_normal(shape_X), rng.standard_normal(shape_y)
    if case.target in LABELS:
        y = rng.permutation(np.arange(len(y)) % LABELS[case.target]).astype(np.int32)
    else:
        y = {"counts": np.floor, "positive": np.asarray}.get(case.target, lambda e: y)(np.exp(y)).astype(dtype)
    return X.astype(dtype), y, np.asarray(case.penalty(X, y), dtype)
