"""Helpers that the tests share."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxinfra as ji


def deviation(actual: Any, expected: Any, floor: float = 1e-8) -> float:
    """Largest deviation of two trees: of each leaf relative to its largest expected entry, which counts as the floor at
    least; inf where it is not finite."""
    worst = 0.0
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert a.shape == e.shape, f"{a.shape} against {e.shape}"
        off = np.abs(a - e).max() / max(np.abs(e).max(), floor)
        worst = max(worst, float(off if np.isfinite(off) else np.inf))
    return worst


def close(actual: Any, expected: Any, rel: float, what: str = "", floor: float = 1e-8) -> None:
    """Two trees deviate by at most `rel`, see `deviation`."""
    worst = deviation(actual, expected, floor)
    assert worst <= rel, f"{what}: off by {worst:.1e} relative, allowed {rel:.0e}"


def of(model: Any, params: Any, fixed: dict[str, Any] | None = None) -> ji.Fit:
    """Parameters, or those of a fit, as the fit of a model with these arguments, which they need not be."""
    fit = params if isinstance(params, ji.Fit) else ji.Fit(params, None)
    return fit._replace(problem=ji.Problem.of(model, **(fixed or {})))
