"""Certified digits: the NIST StRD linear sets, whose coefficients are known to 15 digits.

The files are read from ../shared/data/nist_strd beside the repository where present. Without them the sets that a
formula gives are measured alone.
"""

import functools
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.certificates import least_squares
from bench.peers import adapters
from bench.runner import harness

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "nist_strd"
POLYNOMIAL = {"Pontius": 2, **{f"Wampler{i}": 5 for i in range(1, 6)}}
NO_INTERCEPT = ("NoInt1", "NoInt2")
SETS = ["Norris", "Pontius", "NoInt1", "NoInt2", "Longley", *(f"Wampler{i}" for i in range(1, 6))]
FORMULA = ["NoInt1", "NoInt2", "Wampler1", "Wampler2"]
# Each LAPACK driver counts as a peer: QR with pivoting (gelsy) and singular values (gelsd).
IMPLS = list(adapters.ADAPTERS["ols"])


def _formula(name):
    """x, y and the exact coefficients of a set that a formula gives."""
    if name.startswith("NoInt"):
        x, y = (range(60, 71), range(130, 141)) if name == "NoInt1" else ((4, 5, 6), (3, 4, 4))
        exact = [Fraction(sum(a * b for a, b in zip(x, y, strict=True)), sum(a * a for a in x))]
    else:
        base = Fraction(1 if name == "Wampler1" else "0.1")
        exact = [base**i for i in range(6)]
        x = range(21)
        y = [sum(c * v**i for i, c in enumerate(exact)) for v in x]
    return [np.array([float(v) for v in values]) for values in (x, y, exact)]


def _file(name):
    """The same from a file of NIST, whose header has the line numbers of its parts."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    header = "\n".join(lines[:12])
    (first, last), (start, stop) = (
        map(int, re.search(rf"{part}\s+\(lines\s+(\d+)\s+to\s+(\d+)\)", header).groups())
        for part in ("Certified Values", "Data  ")
    )
    rows = [re.match(r"\s*B\d+\s+(\S+)", line) for line in lines[first - 1 : last]]
    data = np.array([[float(v) for v in line.split()] for line in lines[start - 1 : stop]])
    return data[:, 1:].squeeze(), data[:, 0], np.array([float(row[1]) for row in rows if row])


def load(name):
    """X, y, certified coefficients (intercept first if there is one), whether there is one; None if not at hand."""
    if (FOLDER / f"{name}.dat").exists():
        x, y, exact = _file(name)
    elif name in FORMULA:
        x, y, exact = _formula(name)
    else:
        return None
    X = np.column_stack([x**i for i in range(1, POLYNOMIAL.get(name, 1) + 1)]) if x.ndim == 1 else x
    return X, y, exact, name not in NO_INTERCEPT


def correct_digits(answer, exact, fit_intercept):
    """The worst coefficient's correct digits, as NIST counts them."""
    values = np.append(answer.intercept, answer.coef) if fit_intercept else np.atleast_1d(answer.coef)
    return min(least_squares.digits(np.array([v]), np.array([e])) for v, e in zip(values, exact, strict=True))


def _measure(name):
    figures, loaded = {}, load(name)
    if loaded is None:
        print(f"{name} skipped: its file is not beside the repository")
        return figures
    X, y, exact, fit_intercept = loaded
    for dtype in harness.dtypes():
        task = least_squares.Task(X.astype(dtype), y.astype(dtype), 0.0, fit_intercept)
        for impl in IMPLS:
            try:
                call, read = adapters.ADAPTERS["ols"][impl].prepare(task)
                found = correct_digits(read(call()), exact, fit_intercept)
            except harness.SkipNotImplemented:
                continue
            figures[impl, name, dtype] = {"lost_digits": least_squares.lost(found, dtype)}
    return figures


def work():
    return [harness.Work(name, functools.partial(_measure, name)) for name in SETS]


class Nist(harness.Figures):
    params = (IMPLS, SETS, list(harness.DTYPES))
    param_names = ("impl", "set", "dtype")
    track_lost_digits = harness.figure("lost_digits", "decimal digits")

    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 600
