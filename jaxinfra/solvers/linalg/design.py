r"""The rows of a regression, and the frame of their columns: a centre and a scale that keep products in range."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from jaxinfra._core.absent import masked, or_ones
from jaxinfra._core.centre import bulk
from jaxinfra._core.implicit import frozen
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.stacked import stacked
from jaxinfra._core.types import Linear
from jaxinfra.solvers.linalg.products import power_of_two, reciprocal

_FAR = 6  # rows beyond so many mean absolute values of a column are far: 4.8 standard deviations of normal ones


class Data(NamedTuple):
    """Rows: X (n, p), y (n,), weights (n,) or None, offset (n,) or None; all in one dtype."""

    X: jax.Array
    y: jax.Array
    w: jax.Array | None
    offset: jax.Array | None

    def every(self, step: int) -> Data:
        """One row in `step`."""
        return Data(*(None if a is None else a[::step] for a in self))  # type: ignore[arg-type]

    def masked(self) -> Data:
        """Zeros in X where the weight is 0."""
        X, w = masked(self.X, self.w)
        return self._replace(X=X, w=w)

    @property
    def weight(self) -> jax.Array:
        """The sum of the weights."""
        return jnp.asarray(self.X.shape[0], self.X.dtype) if self.w is None else self.w.sum()

    @property
    def weights_valid(self) -> jax.Array:
        """Whether some row has a weight and none a negative one: (), bool."""
        valid = self.weight > 0
        return valid if self.w is None else valid & (self.w >= 0).all()


def with_ones(Z: jax.Array) -> jax.Array:
    """The columns of Z and a last one of ones."""
    return jnp.concatenate([Z, jnp.ones_like(Z[:, :1])], 1)


class Frame(NamedTuple):
    """The coordinates of the passes, z = (x - centre) * scale, in which the same predictor has

        theta = (coef / scale, intercept + centre'coef).

    centre (p,), 0 without an intercept; scale (p,), powers of two from `frame`, so that nothing rounds.  For one
    predictor coef is (p,) and theta (q,), q = p or p + 1; for K predictors they are (p, K) and (K, q).
    """

    rows: jax.Array  # (2, p): centre and scale, as one array since XLA compiles each part of a result by itself

    @property
    def centre(self) -> jax.Array:
        """The numbers that are subtracted from the columns (p,)."""
        return self.rows[0]

    @property
    def scale(self) -> jax.Array:
        """The factors of the differences (p,)."""
        return self.rows[1]

    def columns(self, X: jax.Array) -> jax.Array:
        """The scaled columns Z (n, p)."""
        return self.scale[None] * (X - self.centre[None])

    def design(self, X: jax.Array, fit_intercept: bool) -> jax.Array:
        """The scaled columns Z, and a column of ones where there is an intercept: (n, q)."""
        Z = self.columns(X)
        return with_ones(Z) if fit_intercept else Z

    def theta_of(self, params: Linear, fit_intercept: bool) -> jax.Array:
        """The theta of given params."""
        coef = params.coef.T / self._scale(params.coef.T)
        if not fit_intercept:
            return coef
        return _joined(coef, params.intercept + dot(self.centre, params.coef))

    def params_of(self, theta: jax.Array, fit_intercept: bool) -> Linear:
        """The params of a given theta."""
        p = self.rows.shape[1]
        coef = theta[..., :p]
        coef = (coef * self._scale(coef)).T
        if not fit_intercept:
            return Linear(coef, jnp.zeros(theta.shape[:-1], theta.dtype))
        return Linear(coef, theta[..., p] - dot(self.centre, coef))

    def gradient_of(self, g: Linear, fit_intercept: bool) -> jax.Array:
        """The gradient by theta (q,) from that by the params of one predictor: the transpose of `params_of`."""
        if not fit_intercept:
            return self.scale * g.coef
        return _joined(self.scale * (g.coef - self.centre * g.intercept), g.intercept)

    def penalty(self, penalty: jax.Array, fit_intercept: bool, power: int) -> jax.Array:
        """The penalty of theta from one of |coef|^power, shaped like coef; 0 for the intercept."""
        scaled = penalty.T * self._scale(penalty.T) ** power
        return _joined(scaled, jnp.zeros(scaled.shape[:-1], scaled.dtype)) if fit_intercept else scaled

    def _scale(self, of: jax.Array) -> jax.Array:
        return jnp.broadcast_to(self.scale, of.shape)


def _joined(coef: jax.Array, last: jax.Array) -> jax.Array:
    return jnp.concatenate([coef, last[..., None]], -1)


def frame(X: jax.Array, w: jax.Array | None, fit_intercept: bool, blocked: bool) -> Frame:
    """Centre and scale of the rows that count."""
    return Frame(provisional((X,), w, fit_intercept, blocked))


def provisional(parts: tuple[jax.Array, ...], w: jax.Array | None, centre: bool, blocked: bool = False) -> jax.Array:
    """Centre and scale, rows of (2, q), of the columns of `parts`, (n, p) each, side by side: see `Frame`.

    Any values near the mean and the spread will do: they keep Z'WZ from cancelling, overflowing or underflowing, and
    are undone exactly afterwards.  So with `blocked` they come from some 32 rows on a CPU, which saves a read of the
    data (and XLA sums more than 32 rows in two kernels); elsewhere a strided sample of sharded rows would gather them
    all.
    """

    def of(step: int, w: jax.Array | None, *parts: jax.Array) -> jax.Array:
        if w is not None:
            return _counting(centre, step)(w, *parts)
        A = _joined_rows(parts, step)
        return _about(A, bulk(A) if centre else None, None)

    n = parts[0].shape[0]
    step = 1 if n <= 64 else -(-n // 32) | 1  # odd, so that rows in pairs are both seen

    def every_row(w: jax.Array | None, *parts: jax.Array) -> jax.Array:
        # Side by side they would be a copy of the data.
        return jnp.concatenate([of(1, w, A) for A in parts], 1)

    if not blocked or step == 1:
        return every_row(w, *parts)
    return lax.platform_dependent(w, *parts, cpu=partial(of, step), default=every_row)


def _joined_rows(parts: tuple[jax.Array, ...], step: int) -> jax.Array:
    """One row in `step` of parts, side by side."""
    return jnp.concatenate([A[::step] for A in parts], 1)


def _about(A: jax.Array, mean: jax.Array | None, counts: jax.Array | None) -> jax.Array:
    """The mean, or 0 for None, and the scale of the deviations from it, of the values that count.  For a column that is
    constant up to the rounding of the mean one of its values replaces the mean: that rounding, scaled up, would act as
    a second intercept."""
    values = stacked(A, -A, axis=1)
    values = values if counts is None else jnp.where(counts[:, None], values, -jnp.inf)
    top, below = values.max(0)  # the largest value, and minus the smallest one
    if mean is None:
        return _rows(jnp.zeros_like(top), jnp.maximum(top, below))
    spread = jnp.maximum(top - mean, mean + below)
    flat = rounded(spread, mean) & jnp.isfinite(top)
    return _rows(jnp.where(flat, top, mean), jnp.where(flat, top + below, spread))


def _rows(centre: jax.Array, spread: jax.Array) -> jax.Array:
    # The barrier: else every pass over rows would take the numbers of its columns from their bits, row by row.
    return lax.optimization_barrier(stacked(centre, reciprocal(power_of_two(spread))))


@cache
def _counting(centre: bool, step: int) -> Callable[..., jax.Array]:
    """`provisional` with weights, from one row in `step` and the first that counts.  Lanes that share the parts share
    centre and scale, from the rows that count in any lane: else each fold of a cross-validation would need a scaled X
    of its own."""

    def alone(w: jax.Array, *parts: jax.Array) -> jax.Array:
        here, A = w > 0, _joined_rows(parts, step)
        if step > 1:
            # The barrier: for constant weights of 1 the compiler would fold this itself, in 1.5 s at 200000 rows.
            first = jnp.argmax(lax.optimization_barrier(here))
            A = jnp.concatenate([jnp.concatenate([part[first] for part in parts])[None], A])
            w, here = (jnp.concatenate([a[first][None], a[::step]]) for a in (w, here))
        counts = here[:, None] & jnp.isfinite(A)
        share = jnp.where(counts, (w / jnp.where(here.any(), w.max(), 1))[:, None], 0)
        if not centre:
            return _about(A, None, counts)
        return _about(A, bulk(jnp.where(counts, A, 0), share), counts)

    @custom_vmap
    def of(w: jax.Array, *parts: jax.Array) -> jax.Array:
        return alone(w, *parts)

    @of.def_vmap
    def lanes(axis_size: int, in_batched: list[bool], w: jax.Array, *parts: jax.Array) -> tuple[jax.Array, bool]:
        if any(in_batched[1:]):
            return jax.vmap(alone, [0 if batched else None for batched in in_batched])(w, *parts), True
        return of(w.max(0), *parts), False

    return of


def in_range(square: jax.Array, scale: jax.Array, origin: jax.Array) -> jax.Array:
    """Whether a column is 0, or constant up to the rounding of its origin, or scale^2 times `square` is normal, where
    `square` is the sum of squares of what `scale` divided: one that underflows would pass for a constant column."""
    normal = jnp.abs(square) * scale**2 >= jnp.finfo(square.dtype).tiny
    return (square == 0) | rounded(scale, origin) | normal


def in_units(w: jax.Array | None) -> jax.Array | None:
    """The weights w (n,) divided by the largest power of two not above their maximum, where only their ratios matter: a
    root of them times a residual then underflows only where the residual does."""
    return None if w is None else w / power_of_two(frozen(w.max()))


def rounded(scale: jax.Array, origin: jax.Array) -> jax.Array:
    """Whether a column whose spread is `scale` is constant up to the rounding of its origin."""
    return scale <= 16 * eps(scale.dtype) * jnp.abs(origin)


def column_norms(data: Data, f: Frame, centre: bool, *, bulk: bool = False) -> jax.Array:
    """Root mean squares of the columns of Z (p,), about their means if `centre`; 1 where they are 0.

    bulk: without the rows that are far from all others.  A loss that vanishes on one side has no slope there, however
    far the row: the others alone determine the minimum, and in units of the far row their gradient would pass for 0.
    """
    Z, w = masked(f.columns(data.X), data.w)
    w = or_ones(w, Z[:, 0])
    noise = 16 * eps(Z.dtype) * jnp.abs(f.centre * f.scale) if bulk else None
    return positive(root_mean_squares(Z, w, centre=centre, noise=noise))


def root_mean_squares(Z: jax.Array, w: jax.Array, *, centre: bool, noise: jax.Array | None) -> jax.Array:
    """Root mean squares of the columns (p,), about their means if `centre`.

    noise: None for all rows, or (p,): rows beyond 6 mean absolute values are left out, repeatedly until there are none.
    Where the result is not above the noise, all rows count: a column that is constant except in such rows has no other
    scale.
    """

    def of(share: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean squares (p,) with weights (n, p) or (n, 1), and mean absolute values."""
        sized, total = share * Z, positive(share.sum(0))
        square, size, mean = ((a.sum(0) / total) for a in (sized * Z, jnp.abs(sized), sized))
        return jnp.maximum(square - mean**2, eps(square.dtype) * square) if centre else square, size

    if noise is None:
        return jnp.sqrt(of(w[:, None])[0])

    def trim(state: jax.Array) -> jax.Array:
        _, limit, _, norm = state
        share = jnp.where((limit[None] >= Z) & (-limit[None] <= Z), w[:, None], 0)
        inner, size = of(share)
        further = jnp.where(jnp.abs(jnp.where(share > 0, Z, 0)).max(0) > _FAR * size, _FAR * size, limit)
        return stacked(limit, further, inner, jnp.where(jnp.isinf(limit), inner, norm))

    # The limit before, the limit, the mean squares within the former, and those of all rows.
    start = jnp.asarray(np.repeat([[0], [np.inf], [np.inf], [np.inf]], Z.shape[1], 1), Z.dtype)
    _, _, inner, norm = lax.while_loop(lambda s: (s[0] != s[1]).any(), trim, start)
    return jnp.sqrt(jnp.where(inner > noise**2, inner, norm))
