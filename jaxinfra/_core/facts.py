"""Facts that a model declares of itself, so that `infer` need not know which model it is."""

from __future__ import annotations

from typing import NamedTuple


class Facts(NamedTuple):
    """Facts of a model that has standard errors; its module holds them under the name FACTS.

    one_predictor: the loss of a row depends on one linear predictor alone, and coef is (p,); otherwise on one for each
      class, or on thresholds too.
    smooth: the loss has the second derivatives that errors are made of; otherwise they need the density of residuals.
    likelihood: how the log likelihood follows from a fit: "gaussian", from the residuals; "loss", minus the sum of the
      losses; "family", the density of a family; None, where the loss is no likelihood.
    estimates_dispersion: the variance of a row has a factor that is estimated, unless its family knows it.
    scale_power: the loss is in units of a scale of the residuals to this power; 0 where there is no such scale.
    symmetric: a constant added to the coefficients of all classes changes no prediction.
    """

    one_predictor: bool = True
    smooth: bool = True
    likelihood: str | None = None
    estimates_dispersion: bool = False
    scale_power: int = 0
    symmetric: bool = False

    @property
    def robust(self) -> bool:
        """Whether a scale of the residuals is estimated beside the coefficients."""
        return self.scale_power > 0
