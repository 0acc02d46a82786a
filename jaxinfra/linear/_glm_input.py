r"""Input and output of a generalised linear model: checked data, and parameters with their link."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import absent, checks
from jaxinfra._core.types import short_repr
from jaxinfra.families import Family
from jaxinfra.linear._input import Given
from jaxinfra.links import Link, Log
from jaxinfra.losses import Likelihood
from jaxinfra.solvers.linalg.design import Data


@short_repr
class GLM(NamedTuple):
    """Parameters of a generalised linear model: coef (p,), intercept (), and the link that turns eta into a mean."""

    coef: jax.Array
    intercept: jax.Array
    link: Link


def check(
    verb: str, X: Any, y: Any, family: Any, link: Any, exposure: Any, sample_weight: Any, offset: Any
) -> tuple[Given, Likelihood, np.dtype]:
    """The checked data, the loss, and the working dtype."""
    X, y, dtype = checks.design(verb, X, y)
    if y.ndim != 1:
        raise ValueError(f"{verb}: y must have shape (n,), got X {X.shape} and y {y.shape}; for several use jax.vmap")
    if not isinstance(family, Family):
        raise TypeError(f"{verb}: family must be one of jaxinfra.families, such as families.Poisson(), got {family!r}")
    link = family.link if link is None else link
    if not isinstance(link, Link):
        raise TypeError(f"{verb}: link must be one of jaxinfra.links, such as links.Log(), or None, got {link!r}")
    family, link = jax.tree.map(
        lambda leaf: checks.hyper(verb, "family or link", leaf, dtype, minimum=None), (family, link)
    )
    w, o = checks.weights(verb, sample_weight, X, y), checks.rows_like(verb, "offset", offset, X, y)
    counts = checks.counting(w)
    known = not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(family))
    if isinstance(y, np.ndarray) and known:
        bad = ~np.asarray(family.valid(y.astype(dtype)))
        # NaN and inf get their own Status.
        if (bad := counts & bad & np.isfinite(y)).any():
            i = int(np.argmax(bad))
            raise ValueError(f"{verb}: y is outside the range of {family!r}, got y[{i}] = {y[i]}")
    exposure = checks.rows_like(verb, "exposure", exposure, X, y)
    if exposure is not None:
        if not isinstance(link, Log):
            raise ValueError(f"{verb}: exposure means a factor of the mean, which needs the log link, got {link!r}")
        if isinstance(exposure, np.ndarray) and (bad := counts & (exposure <= 0)).any():
            i = int(np.argmax(bad))
            raise ValueError(f"{verb}: exposure must be above 0, got exposure[{i}] = {exposure[i]}")
    return Given(X, y, w, o, exposure=exposure), Likelihood(family, link), dtype


def read(given: Given) -> Data:
    """The data in the working dtype, log exposure in the offset."""
    dtype = checks.working_dtype(given.X, given.y)
    X, y, w, offset, _, exposure = (None if a is None else jnp.asarray(a, dtype) for a in given)
    w = absent.weights(w, dtype)
    y, exposure, offset = absent.present(w, y, exposure, offset)
    if exposure is not None:
        offset = jnp.log(exposure) + (jnp.zeros_like(exposure) if offset is None else offset)
    return Data(X, y, w, offset)  # type: ignore[arg-type]
