r"""The table of a fitted model: coefficients, errors, tests and intervals, as statistics packages print it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxinfra import families
from jaxinfra._core.types import Fit, Status
from jaxinfra.infer.covariance import kinds
from jaxinfra.infer.inference import Inference, inference
from jaxinfra.infer.likelihood import aic, bic, has_likelihood, log_likelihood

_WIDTH, _NAME, _NUMBER = 78, 12, 11  # of a line, the names and a column of numbers, at least


class Summary(str):
    """Text whose representation is the text itself, in a terminal and in a notebook."""

    def __repr__(self) -> str:
        return str(self)


def summary(
    fit: Fit, X: ArrayLike, y: ArrayLike, *, kind: str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, exposure: ArrayLike | None = None, groups: ArrayLike | None = None,
    n_groups: int | None = None, correction: bool = True, level: float = 0.95, use_t: bool | None = None,
    names: Sequence[str] | None = None,
) -> Summary:  # fmt: skip
    """Coefficients, errors, statistics and intervals of a fit as a table; on the host.

    Args:
      fit, X, y, kind, sample_weight, offset, exposure, groups, n_groups, correction, level, use_t: as in `inference`;
        the table shows the fit's status, and parameters that are NaN as NaN.
      names: those of the p columns; None means x0, x1, ...

    Returns:
      Summary, a string.

    Raises:
      ValueError for another number of names.  The others as `inference`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([1.0, 3.0, 4.0, 6.0])
    >>> print(ji.infer.summary(ji.ols.fit(X, y), X, y, names=["dose"]))
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
        fit, X, y, kind=kind, sample_weight=sample_weight, offset=offset, exposure=exposure, groups=groups,
        n_groups=n_groups, correction=correction, level=level, use_t=use_t,
    )  # fmt: skip
    model, family = fit.problem.module, fit.problem.arguments.get("family")
    rows = np.shape(X)[0] if sample_weight is None else float(np.sum(np.asarray(sample_weight)))
    head = [
        (
            fit.problem.model,
            f"rows  {rows:<5.12g}  residual df  {float(i.covariance.df_residual):.12g}",
        ),
        ("covariance   " + (kind or kinds(model)[0]), _spread(model, fit.params, i)),
        ("status       " + Status(int(fit.info.status)).name, ""),
        (f"iterations   {int(fit.info.n_iter)}", ""),
    ]
    if has_likelihood(model.FACTS) and not isinstance(family, families.Tweedie):
        given = {"sample_weight": sample_weight, "offset": offset, "exposure": exposure}
        ll, *criteria = (float(of(fit, X, y, **given)) for of in (log_likelihood, aic, bic))
        head[2] = (head[2][0], f"log likelihood  {ll:.5g}")
        head[3] = (head[3][0], "AIC  {:.5g}  BIC  {:.5g}".format(*criteria))
    table = _table(i, _names(fit.params, i, names), level)
    width = max(_WIDTH, len(table[0]))
    lines = ["=" * width, *(f"{a:<48}{b}".rstrip() for a, b in head), "-" * width]
    return Summary("\n".join([*lines, table[0], "-" * width, *table[1:], "=" * width]))


def _spread(model: ModuleType, params: Any, i: Inference) -> str:
    """The scale of a robust model, or what the variance of a row is multiplied by."""
    if hasattr(params, "scale"):
        return f"scale        {float(params.scale):.5g}"
    return f"{'dispersion' if model.FACTS.smooth else 'sparsity':<13}{float(i.covariance.dispersion):.5g}"


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
    """The titles, and a line a parameter."""
    letter = "t" if np.isfinite(i.df) else "z"
    estimate = [_number(v, 4) for v in np.asarray(i.estimate, float)]
    p_value = [f"{v:.3f}" for v in np.asarray(i.p_value, float)]
    se, statistic, lower, upper = (
        [_number(v, 3) for v in np.asarray(values, float)] for values in (i.se, i.statistic, i.lower, i.upper)
    )
    columns = (
        _column("", names, f"<{_NAME}"), _column("coef", estimate), _column("std err", se), _column(letter, statistic),
        _column(f"P>|{letter}|", p_value), _column(f"[{0.5 - 0.5 * level:.4g}", lower),
        _column(f"{0.5 + 0.5 * level:.4g}]", upper),
    )  # fmt: skip
    return ["".join(row).rstrip() for row in zip(*columns, strict=True)]


def _column(title: str, cells: list[str], form: str = f">{_NUMBER}") -> list[str]:
    """Cells of one width, at least that of the form, with two spaces between them and the next column's."""
    longest = max(len(cell) for cell in (title, *cells)) + 2
    return [f"{cell:{form[0]}{max(int(form[1:]), longest)}}" for cell in (title, *cells)]


def _number(value: float, decimals: int) -> str:
    """Fixed decimals, or two digits more than those where they would be too few or too many."""
    extreme = 0 < abs(value) < 1e-4 or abs(value) >= 1e4
    return f"{value:.{decimals + 2}g}" if extreme else f"{value:.{decimals}f}"
