r"""The table of a fitted model, as statisticians know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from jaxinfra import families
from jaxinfra._core.types import Fit, Status
from jaxinfra.infer.covariance import kinds
from jaxinfra.infer.inference import Inference, inference
from jaxinfra.infer.likelihood import MODELS, aic, bic, log_likelihood
from jaxinfra.linear import quantile

_WIDTH = 78


class Summary(str):
    """Text that shows itself as it is, in a terminal and in a notebook."""

    def __repr__(self) -> str:
        return str(self)


def summary(
    model: ModuleType, fit: Fit, X: Any, y: Any, *, kind: str | None = None, fixed: Mapping[str, Any] | None = None,
    sample_weight: Any = None, offset: Any = None, groups: Any = None, n_groups: int | None = None,
    correction: bool = True, level: float = 0.95, use_t: bool | None = None, names: Sequence[str] | None = None,
) -> Summary:  # fmt: skip
    """Coefficients, errors, statistics and intervals of a fit as a table; on the host.

    Args:
      model, X, y, kind, fixed, sample_weight, offset, groups, n_groups, correction, level, use_t: as in `inference`.
      fit: what `model.fit` returned; its status heads the table, and parameters that are NaN stay so.
      names: of the p columns; None means x0, x1, ...

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.summary(ji.ols, ji.ols.fit(X, y), X, y, names=["dose"]))
    ==============================================================================
    ols                                             rows  4      residual df  2
    covariance   model                              dispersion   2
    status       CONVERGED                          log likelihood  -5.6758
    iterations   1                                  AIC  15.352  BIC  14.124
    ------------------------------------------------------------------------------
                       coef    std err          t      P>|t|     [0.025     0.975]
    ------------------------------------------------------------------------------
    dose             3.0000      1.414      2.121      0.168     -3.085      9.085
    intercept        2.0000      1.000      2.000      0.184     -2.303      6.303
    ==============================================================================

    Elsewhere: statsmodels' summary(), R's summary().
    """
    i = inference(
        model, fit.params, X, y, kind=kind, fixed=fixed, sample_weight=sample_weight, offset=offset, groups=groups,
        n_groups=n_groups, correction=correction, level=level, use_t=use_t,
    )  # fmt: skip
    rows = np.shape(X)[0] if sample_weight is None else float(np.sum(np.asarray(sample_weight)))
    head = [
        (model.__name__.rsplit(".", 1)[-1], f"rows  {rows:<6g} residual df  {float(i.covariance.df_residual):.6g}"),
        ("covariance   " + (kind or kinds(model)[0]), _spread(model, fit.params, i)),
        ("status       " + Status(int(fit.info.status)).name, ""),
        (f"iterations   {int(fit.info.n_iter)}", ""),
    ]
    if model in MODELS and not isinstance((fixed or {}).get("family"), families.Tweedie):
        ll = log_likelihood(model, fit.params, X, y, fixed=fixed, sample_weight=sample_weight, offset=offset)
        q = len(np.asarray(i.estimate))
        head[2] = (head[2][0], f"log likelihood  {float(ll):.5g}")
        head[3] = (head[3][0], f"AIC  {float(aic(ll, q)):.5g}  BIC  {float(bic(ll, q, rows)):.5g}")
    lines = ["=" * _WIDTH, *(f"{a:<48}{b}".rstrip() for a, b in head), "-" * _WIDTH]
    return Summary("\n".join([*lines, *_table(i, _names(fit.params, i, names), level), "=" * _WIDTH]))


def _spread(model: ModuleType, params: Any, i: Inference) -> str:
    """The scale of a robust model, or what the variance of a row is multiplied by."""
    if hasattr(params, "scale"):
        return f"scale        {float(params.scale):.5g}"
    return f"{'sparsity' if model is quantile else 'dispersion':<13}{float(i.covariance.dispersion):.5g}"


def _names(params: Any, i: Inference, names: Sequence[str] | None) -> list[str]:
    shape = np.shape(params.coef)
    columns = [f"x{j}" for j in range(shape[0])] if names is None else list(names)
    if len(columns) != shape[0]:
        raise ValueError(f"infer.summary: names must have {shape[0]} entries, one a column, got {len(columns)}")
    labels = columns if len(shape) == 1 else [f"{c}:{k}" for c in columns for k in range(shape[1])]
    if hasattr(params, "thresholds"):
        return labels + [f"{k}/{k + 1}" for k in range(np.shape(params.thresholds)[0])]
    rest = len(np.asarray(i.estimate)) - len(labels)
    return labels + (["intercept"] if rest == 1 else [f"intercept:{k}" for k in range(rest)])


def _table(i: Inference, names: list[str], level: float) -> list[str]:
    letter = "t" if np.isfinite(i.df) else "z"
    ends = [f"[{0.5 - 0.5 * level:.4g}", f"{0.5 + 0.5 * level:.4g}]"]
    titles = ["coef", "std err", letter, f"P>|{letter}|", *ends]
    columns = (i.estimate, i.se, i.statistic, i.p_value, i.lower, i.upper)
    width = max(12, *(len(n) + 2 for n in names))
    lines = [" " * width + "".join(f"{t:>11}" for t in titles), "-" * _WIDTH]
    for name, *values in zip(names, *(np.asarray(c, float) for c in columns), strict=True):
        cells = [f"{values[0]:11.4f}", *(f"{v:11.3f}" for v in values[1:])]
        lines.append(f"{name:<{width}}" + "".join(cells))
    return lines
