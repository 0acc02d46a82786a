"""Certificates of penalised and generalised linear models, in float64 from the returned coefficients alone.

The same code for every implementation: a duality gap, an upper bound of the decrease of the objective that is still
possible, or the gradient of the averaged objective. A time counts if the certificate is at most `target(model)`.
"""

import numpy as np

from bench.certificates.machines import HOPELESS
from bench.suite import fits, settings


def gap(X, y, coef, intercept, l1, l2=0.0, size=1):
    """The duality gap over the objective of the intercept-only model; the worst one of a path.

    P(w, b) = |y - X w - b|^2 / (2 n) + l1 sum_g u_g |w_g| + l2 / 2 |w|^2  with groups g of `size` neighbouring columns
    of weight u_g = sqrt(size), each with all targets, is at least, for every theta of zero sum over the rows,
    D(theta) = theta'y - n / 2 |theta|^2 - sum_g max(|X_g' theta| - l1 u_g, 0)^2 / (2 l2).
    """
    rows, columns = X.shape
    x_mean, y_mean = np.mean(X, axis=0, dtype=np.float64), np.mean(y, axis=0, dtype=np.float64)
    X, y = X - x_mean, y - y_mean
    targets = y.shape[1:]
    coef = np.asarray(coef, np.float64).reshape(-1, columns, *targets)
    intercept = np.asarray(intercept, np.float64).reshape(-1, *targets)
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        return HOPELESS
    # One product over all penalties and targets.
    flat = np.moveaxis(coef, 1, 0).reshape(columns, -1)
    residuals = y[:, None] - (X @ flat).reshape(rows, len(coef), *targets)
    correlations = np.moveaxis((X.T @ residuals.reshape(rows, -1) / rows).reshape(columns, len(coef), *targets), 1, 0)
    shifts = y_mean - np.tensordot(coef, x_mean, (1, 0)) - intercept
    null = np.sum(y**2) / (2 * rows)
    worst = 0.0
    for i, bound in enumerate(np.broadcast_to(l1, len(coef)) * np.sqrt(size)):
        r, w = residuals[:, i], coef[i]
        square = np.sum(r**2) / rows
        penalty = bound * settings.block_norms(w, size).sum() + l2 / 2 * np.sum(w**2)
        primal = square / 2 + np.sum(shifts[i] ** 2) / 2 + penalty
        norms = settings.block_norms(correlations[i], size)

        def dual(scale, r=r, norms=norms, bound=bound, square=square):
            value = scale * np.sum(r * y) / rows - scale**2 / 2 * square
            return value - np.sum(np.maximum(scale * norms - bound, 0) ** 2) / (2 * l2) if l2 else value

        # theta = scale r / n with the scale that maximises D within the constraint; with l2 there is no constraint.
        inside = min(np.sum(r * y) / (rows * square), bound / max(norms.max(), 1e-300)) if square else 0.0
        worst = max(worst, primal - max(dual(scale) for scale in ((inside, 1.0) if l2 else (inside,))))
    return float(worst / null)


def non_negative(X, y, coef, intercept):
    """The largest violation of the conditions of least squares with coef >= 0, each over |x_j| |y| / n."""
    coef = np.asarray(coef, np.float64)
    if not np.isfinite(coef).all() or coef.min() < 0:
        return HOPELESS
    Xc, yc = X - np.mean(X, axis=0, dtype=np.float64), y - np.mean(y, dtype=np.float64)
    size = np.linalg.norm(yc)
    slope = Xc.T @ (yc - Xc @ coef) / (np.linalg.norm(Xc, axis=0) * size)
    shift = np.mean(y - X.astype(np.float64) @ coef, dtype=np.float64) - intercept
    worst = np.where(coef > 0, np.abs(slope), np.maximum(slope, 0)).max()
    return float(max(worst, abs(shift) * np.sqrt(len(y)) / size))


def gradient(X, y, coef, intercept, l2, slope):
    """The largest |gradient| of  mean of loss + l2 / 2 |coef|^2;  slope(eta, y) is the derivative of the loss."""
    X, coef = np.asarray(X, np.float64), np.asarray(coef, np.float64)
    by_row = slope(X @ coef + np.asarray(intercept, np.float64), y) / len(X)
    found = max(np.abs(X.T @ by_row + l2 * coef).max(), np.abs(by_row.sum(axis=0)).max())
    return float(found) if np.isfinite(found) else HOPELESS


def logistic(eta, y):
    return 1 / (1 + np.exp(-np.clip(eta, -700, 700))) - y


def softmax(eta, y):
    weights = np.exp(eta - eta.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) - (y[:, None] == np.arange(eta.shape[1]))


def deviance(power):
    """Half the unit deviance of a variance mean^power, log link: Poisson 1, gamma 2, Tweedie between."""
    return lambda eta, y: np.exp((2 - power) * eta) - y * np.exp((1 - power) * eta)


def _fold_rows(task):
    for keep in fits.fold_weights(len(task.X), bool):
        yield task.X[keep], np.asarray(task.y[keep], np.float64 if task.y.dtype.kind == "f" else task.y.dtype)


def _gap(l2=False, size=1):
    """The gap of a single fit, of a path, or of a choice among penalties with its folds if they are shown."""

    def certify(task, answer):
        l1 = task.hyper if answer.chosen is None else answer.chosen
        l2_value = l1 if l2 else 0.0
        worst = gap(task.X, task.y, answer.coef, answer.intercept, l1, l2_value, size)
        if answer.folds is not None:
            for (X, y), coef, intercept in zip(_fold_rows(task), *answer.folds[:2], strict=False):
                worst = max(worst, gap(X, y, coef, intercept, task.hyper))
        return worst

    return certify


def _gradient(slope):
    def certify(task, answer):
        return gradient(task.X, task.y, answer.coef, answer.intercept, task.hyper, slope)

    return certify


def _folds_gradient(task, answer):
    worst = gradient(task.X, task.y, answer.coef, answer.intercept, answer.chosen / len(task.X), logistic)
    for (X, y), coefs, intercepts in zip(_fold_rows(task), *answer.folds[:2], strict=False):
        for coef, intercept, c in zip(coefs, intercepts, task.hyper, strict=True):
            worst = max(worst, gradient(X, y, coef, intercept, c / len(X), logistic))
    return worst


def _squared_hinge(task, answer):
    """The gradient of  |w|^2 / (2 C n) + mean of max(0, 1 - t eta)^2."""

    def slope(eta, y):
        t = 2.0 * y - 1
        return -2 * t * np.maximum(1 - t * eta, 0)

    return gradient(task.X, task.y, answer.coef, answer.intercept, 1 / (task.hyper * len(task.X)), slope)


# {model: (figure, certify(task, answer))}; see `targets`.
CERTIFICATES = {
    "lasso_path": ("gap", _gap()),
    "lasso_cv": ("gap", _gap()),
    "lasso": ("gap", _gap()),
    "elastic_net": ("gap", _gap(l2=True)),
    "nnls": ("gradient", lambda task, answer: non_negative(task.X, task.y, answer.coef, answer.intercept)),
    "group_lasso": ("gap", _gap(size=settings.GROUP)),
    "multitask_lasso": ("gap", _gap()),
    "logistic": ("gradient", _gradient(logistic)),
    "logistic_cv": ("gradient", _folds_gradient),
    "multinomial": ("gradient", _gradient(softmax)),
    "poisson": ("gradient", _gradient(deviance(1.0))),
    "gamma": ("gradient", _gradient(deviance(2.0))),
    "tweedie": ("gradient", _gradient(deviance(settings.POWER))),
    "linear_svm_squared": ("gradient", _squared_hinge),
}
