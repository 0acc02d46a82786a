"""The fits of the models of the suite: functions `fit(ji, X, y, hyper, **options)`, makers of such functions, and
compiled functions of the arrays; with the folds, groups and subsets that they use.

hyper: the hyper-parameter or an array of them, by the name of the one that it is where there is one.
"""

import functools
import math

import numpy as np

from bench.suite.settings import FOLDS, GROUP, LEVELS, RESAMPLES, SUBSETS


def subsets(X):
    """How many subsets of as many rows as parameters Theil and Sen's estimator takes: all, or 10000."""
    every = math.comb(len(X), X.shape[1] + 1)
    return every if every <= SUBSETS else 10_000


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
def lasso_cv(ji):
    import jax

    def run(X, y, l1, tol):
        def path(weight):
            return ji.lasso.path(X, y, l1=l1, sample_weight=weight, tol=tol).params

        paths = jax.vmap(path)(jax.numpy.asarray(fold_weights(len(X), X.dtype)))
        loss = _held_out(paths, X, y, lambda eta, y: (y - eta) ** 2)
        return paths, loss

    return jax.jit(run)


@functools.cache
def logistic_cv(ji):
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
def svc_grid(ji):
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
def svc_decision(ji):
    import jax

    def run(X, y, hyper):
        # Every row is a support vector.
        machine = ji.svc.Machine((2 * y - 1).astype(X.dtype) * hyper[0], hyper[1], X, ji.kernels.RBF(hyper[2]))
        return ji.svc.decision(machine, X)

    return jax.jit(run)


def machine(module, *names, **fixed):
    """An RBF machine: hyper holds the hyper-parameters `names` and then gamma."""

    def fit(ji, X, y, hyper, **options):
        given = {name: hyper[i] for i, name in enumerate(names)}
        data = (X,) if module == "one_class" else (X, y)
        kernel = ji.kernels.RBF(hyper[len(names)])
        return getattr(ji, module).fit(*data, **given, kernel=kernel, **fixed, **options)

    return fit


def linear_svm(loss):
    def fit(ji, X, y, C, **options):
        return ji.linear_svm.fit(X, y, C=C, loss=loss, n_classes=2, **options)

    return fit


def one_vs_one(ji, X, y, hyper, n_classes=3, **options):
    return ji.svc.fit(X, y, C=hyper[0], kernel=ji.kernels.RBF(hyper[1]), n_classes=n_classes, **options)


def l1(module, **fixed):
    return lambda ji, X, y, l1, **options: getattr(ji, module).fit(X, y, l1=l1, **fixed, **options)


def l2(module, **fixed):
    return lambda ji, X, y, l2, **options: getattr(ji, module).fit(X, y, l2=l2, **fixed, **options)


def glm(family):
    def fit(ji, X, y, l2, **options):
        return ji.glm.fit(X, y, family=family(ji), link=ji.links.Log(), l2=l2, **options)

    return fit


def multinomial(ji, X, y, l2, n_classes=3, **options):
    return ji.multinomial.fit(X, y, l2=l2, n_classes=n_classes, **options)


def robust(module, tuning=None, **fixed):
    """A robust model; `tuning` names the argument that the hyper-parameter is."""

    def fit(ji, X, y, value, **options):
        given = {tuning: value} if tuning else {}
        return getattr(ji, module).fit(X, y, **given, **{k: make(ji) for k, make in fixed.items()}, **options)

    return fit


def key(ji):
    import jax

    return jax.random.key(0)


def theil_sen(ji, X, y, _, **options):
    return ji.theil_sen.fit(X, y, key=key(ji), n_subsets=subsets(X), **options)


def ordinal(ji, X, y, l2, n_classes=LEVELS, **options):
    return ji.ordinal.fit(X, y, l2=l2, n_classes=n_classes, **options)


def kernel_ridge(ji, X, y, hyper, **options):
    kernel = ji.kernels.RBF(hyper[1])
    return ji.kernel_ridge.fit(X, y, l2=hyper[0], kernel=kernel, fit_intercept=False, **options)


def bootstrap(ji, X, y, l2, **options):
    fixed = {"l2": l2, **options}
    return ji.select.bootstrap(ji.logistic, X, y, key=key(ji), n=RESAMPLES, fixed=fixed).values


def sandwich(ji, X, y, theta):
    fit = ji.Fit(ji.Linear(theta[:-1], theta[-1]), None, ji.Problem.of(ji.logistic))
    return ji.infer.inference(fit, X, y, kind="HC3").se
