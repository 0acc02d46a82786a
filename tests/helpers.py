"""What tests share."""

from __future__ import annotations

from typing import Any

import jaxinfra as ji


def of(model: Any, params: Any, fixed: dict[str, Any] | None = None) -> ji.Fit:
    """Parameters, or those of a fit, as the fit of a model with these arguments, which they need not be."""
    fit = params if isinstance(params, ji.Fit) else ji.Fit(params, None)
    return fit._replace(problem=ji.Problem.of(model, **(fixed or {})))
