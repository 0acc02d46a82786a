"""NIST's Statistical Reference Datasets for linear least squares: the files, and those that a formula gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    certified: np.ndarray  # intercept first where there is one
    fit_intercept: bool
    deviations: np.ndarray | None = None  # of the estimates, certified too


def powers(x: np.ndarray, degree: int) -> np.ndarray:
    return np.stack([x**i for i in range(1, degree + 1)], axis=1)


def load(folder: Path, name: str) -> Dataset:
    """Read NIST's text format: the header has the line numbers of the certified values and the data."""
    text = (folder / f"{name}.dat").read_text()
    lines = text.splitlines()

    def span(what: str) -> list[str]:
        match = re.search(rf"{what}\s+\(lines\s+(\d+)\s+to\s+(\d+)\)", text)
        assert match, f"{name}: no line numbers for {what}"
        return lines[int(match[1]) - 1 : int(match[2])]

    rows = [m for line in span("Certified Values") if (m := re.match(r"\s+B\d\s+(\S+)\s+(\S+)", line))]
    certified, deviations = (np.array([float(m[k]) for m in rows]) for k in (1, 2))
    data = np.array([[float(v) for v in line.split()] for line in span("Data")])
    y, X = data[:, 0], data[:, 1:]
    intercept = not name.startswith("NoInt")
    terms = len(certified) - intercept
    return Dataset(powers(X[:, 0], terms) if X.shape[1] < terms else X, y, certified, intercept, deviations)


def by_formula(name: str) -> Dataset:
    """Wampler1-2 and NoInt1-2, whose data and solutions are exact."""
    if name in ("NoInt1", "NoInt2"):
        x, y = (
            (np.arange(60.0, 71), np.arange(130.0, 141))
            if name == "NoInt1"
            else (np.array([4.0, 5, 6]), np.array([3.0, 4, 4]))
        )
        return Dataset(x[:, None], y, np.array([x @ y / (x @ x)]), False)
    x = np.arange(21.0)
    step = {"Wampler1": 1.0, "Wampler2": 0.1}[name]
    y = sum((step * x) ** i for i in range(6))
    return Dataset(powers(x, 5), np.asarray(y), step ** np.arange(6), True)


def correct_digits(estimate: np.ndarray, certified: np.ndarray) -> float:
    """The smallest log relative error over the coefficients, at most 15, NIST's measure."""
    error = np.abs(np.asarray(estimate, float) - certified) / np.where(certified == 0, 1, np.abs(certified))
    return float(np.min(np.where(error > 1e-15, -np.log10(np.maximum(error, 1e-15)), 15)))
