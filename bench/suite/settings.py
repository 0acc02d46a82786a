"""Numbers and hyper-parameters of the models of the suite: `hyper(X, y)`, a number or an array."""

import numpy as np

FOLDS = 5  # of equal numbers of rows
GROUP = 5  # columns in a group
LEVELS = 5  # classes in an order
RESAMPLES = 1000
SUBSETS = 1_000_000  # all of the rows' subsets are taken where there are no more
THRESHOLD = 0.5  # of RANSAC: five standard deviations of the good rows
POWER = 1.5  # of Tweedie's variance
RIDGE = 0.01


def _centred(values):
    return np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)


def block_norms(values, size=1):
    """Euclidean norms of the blocks of `size` neighbours along the first axis, each with all its columns."""
    return np.sqrt(np.square(values).reshape(-1, size * int(np.prod(values.shape[1:]))).sum(axis=1))


def l1_max(X, y, size=1):
    """The smallest l1 at which every coefficient is zero, for blocks of `size` columns of weight sqrt(size)."""
    return float(block_norms(_centred(X).T @ _centred(y), size).max() / len(X) / np.sqrt(size))


def none(X, y):
    return 0.0


def ridge_grid(X, y):
    return np.logspace(-4, 2, 25)


def l1(X, y):
    return l1_max(X, y) / 20


def group_l1(X, y):
    return l1_max(X, y, GROUP) / 20


def l1_path(X, y):
    return np.geomspace(1, 0.01, 50) * l1_max(X, y)


def l1_cv(X, y):
    return np.geomspace(1, 1e-3, 100) * l1_max(X, y)


def c(C):
    """scikit-learn's C as a penalty of the mean."""
    return lambda X, y: 1 / (C * len(X))


# C and gamma of RBF machines by the number of columns: MNIST, a9a; others have 1 and 1 / 50.
_SVC = {784: (10.0, 0.02), 123: (1.0, 0.05)}


def rbf(*before):
    """The numbers before gamma, and gamma; without any, C and gamma."""
    return lambda X, y: np.array([*before, 0.02] if before else _SVC.get(X.shape[1], (1.0, 0.02)))


def svc_cells(X, y):
    return np.stack([np.logspace(-1, 2, 6), np.logspace(-3, 0, 6)])


def inverse_c(X, y):
    return 1 / np.logspace(-4, 4, 10)  # 1 / C, of the sum over the rows of a fold


def nine_quantiles(X, y):
    return np.linspace(0.1, 0.9, 9)


def ridge_and_gamma(X, y):
    return np.array([0.1 / len(X), 0.02])  # scikit-learn's alpha is 0.1


def logistic_optimum(X, y):
    """Coefficients and intercept of logistic regression, by Newton's method in NumPy."""
    V, y = np.column_stack([X, np.ones(len(X))]).astype(np.float64), np.asarray(y, np.float64)
    theta = np.zeros(V.shape[1])
    for _ in range(12):
        p = 1 / (1 + np.exp(-V @ theta))
        theta -= np.linalg.solve((V.T * (p * (1 - p))) @ V, V.T @ (p - y))
    return theta
