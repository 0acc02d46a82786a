"""Data of the benchmarks: seeded synthetic problems and real sets that scikit-learn ships. No downloads.

Published names and seeds are never changed, only added to: results of old commits must stay comparable.
The random numbers come from NumPy, since JAX may change its generators between versions.
"""

from functools import lru_cache

import numpy as np

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
    """X and y as NumPy arrays in C order. float32 data are the float64 ones, rounded."""
    X, y = _synthetic(name) if name in SYNTHETIC else _real(name)
    return np.ascontiguousarray(X, dtype), np.ascontiguousarray(y, dtype)


def shape(name):
    """The shapes of X and y, without making synthetic data."""
    if name in SYNTHETIC:
        rows, columns, targets, _ = SYNTHETIC[name]
        return (rows, columns), (rows,) if targets == 1 else (rows, targets)
    X, y = _real(name)
    return X.shape, y.shape
