"""What a fresh process waits for: the first fit and later ones, of jaxinfra and of scikit-learn, and ways to wait less.

`python -m bench waiting` starts it through `bench/runner/process.py`. Everything is as a user calls it who gives NumPy
arrays and no options: a library's own defaults, no certificates.
"""

import json
from time import perf_counter

import numpy as np

ENOUGH, MOST = 1.0, 50  # seconds and calls of a warm time
NEW_ROWS = (77, 333, 1500)
AHEAD = ((500, 10), (1000, 20), (2000, 50), (3000, 20))


def data(model, n, p):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)).astype(np.float32)
    y = X[:, 0] - X[:, 1] + 0.5 * rng.standard_normal(n).astype(np.float32)
    if model in ("logistic", "svc"):
        y = (y > 0).astype(np.int32)
    elif model == "multinomial":
        y = np.digitize(y, [-0.7, 0.7]).astype(np.int32)
    return X, y


def ours(model, n, p, folder=""):
    """The first fit and the best later one; with a folder of compiled programs, if it has a name."""
    import jax

    import jaxinfra as ji

    X, y = data(model, n, p)
    if folder:
        ji.cache_programs(folder)
    jax.block_until_ready(jax.device_put(X))  # the start of the device is not a fit's
    given = {"ridge": {"l2": 0.1}, "lasso": {"l1": 0.1}, "logistic": {"l2": 1 / n}, "multinomial": {"l2": 1 / n}}
    fit = getattr(ji, model).fit
    return _timed(lambda: jax.block_until_ready(fit(X, y, **given.get(model, {}))))


def theirs(model, n, p):
    from sklearn import linear_model as linear
    from sklearn import svm

    X, y = data(model, n, p)
    make = {
        "ols": linear.LinearRegression, "ridge": lambda: linear.Ridge(0.1 * n), "lasso": lambda: linear.Lasso(0.1),
        "logistic": linear.LogisticRegression, "multinomial": linear.LogisticRegression, "svc": svm.SVC, "svr": svm.SVR,
    }[model]  # fmt: skip
    return _timed(lambda: make().fit(X, y))


def _timed(call):
    times = []
    while len(times) < 3 or (len(times) < MOST and sum(times[1:]) < ENOUGH):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return {"first": times[0], "warm": min(times[1:])}


def predictions(model, n, p):
    """The prediction of numbers of rows that the process has not had: the best of them; and again."""
    import jax

    import jaxinfra as ji

    X, y = data(model, n, p)
    fit = jax.block_until_ready(getattr(ji, model).fit(X, y, **({} if model in ("ols", "svc") else {"l2": 0.1})))
    jax.block_until_ready(ji.predict(fit, X))
    new, again = [], []
    for rows in NEW_ROWS:
        Z, _ = data(model, rows, p)
        for times in (new, again):
            start = perf_counter()
            jax.block_until_ready(ji.predict(fit, Z))
            times.append(perf_counter() - start)
    return {"new": min(new), "again": min(again)}


def ahead(model, workers):
    """The seconds of `ji.warm` for four shapes, and of the first real call after it."""
    import jax

    import jaxinfra as ji

    jax.block_until_ready(jax.numpy.zeros(1))
    start = perf_counter()
    ji.warm(getattr(ji, model), AHEAD, workers=workers, **({"l1": 0.1} if model == "lasso" else {}))
    seconds = perf_counter() - start
    return {"seconds": seconds, "then": ours(model, *AHEAD[0])["first"]}


def main(what, *arguments):
    measure = {each.__name__: each for each in (ours, theirs, predictions, ahead)}[what]
    print(json.dumps(measure(*(int(a) if a.isdigit() else a for a in arguments))), flush=True)
