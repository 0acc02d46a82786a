r"""The dual that all support vector machines share, in signed variables.

    minimise  F(b) = 1/2 b'K b + c'b     subject to  lower <= b <= upper,  sum of b over group g = total_g

There is one variable a row, or two (b+ and b- of regression, which see the same row of K).  With f = K b + c, a
variable may go up if b < upper and down if b > lower, and b is optimal if and only if in every group

    violation_g = max_{up} (-f) - min_{down} (-f) <= 0,

which is what libsvm compares with its `eps`.  The multiplier rho_g of a sum is the mean of f over the free variables,
lower < b < upper, or without any the middle of the interval that the conditions leave.

Source: Fan, Chen and Lin 2005, eqs. 6 to 9; Chang and Lin, LIBSVM, section 4.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import compensated
from jaxinfra._core.compensated import Pair
from jaxinfra._core.precision import eps


class Dual(NamedTuple):
    """The problem without its matrix: N = n or 2n variables, G groups of them."""

    c: jax.Array  # (N,)
    lower: jax.Array  # (N,)
    upper: jax.Array  # (N,)
    group: jax.Array | None  # (N,) int32 in 0..G-1; None: one group
    total: jax.Array | None  # (G,); None: one group, whose sum is 0

    @property
    def groups(self) -> int:
        """The number of groups."""
        return 1 if self.total is None else len(self.total)

    def sum_of(self, g: int) -> jax.Array:
        """The sum that the variables of group g have."""
        return jnp.zeros((), self.c.dtype) if self.total is None else self.total[g]

    def within(self, g: int, v: jax.Array, other: float) -> jax.Array:
        """Values v (N,) of the variables of group g, and `other` for those of another."""
        return v if self.group is None else jnp.where(self.group == g, v, other)

    def of_group(self, v: jax.Array) -> jax.Array:
        """Values v (G,) of the groups as values (N,) of the variables."""
        return jnp.broadcast_to(v[0], self.c.shape) if self.group is None else v[self.group]

    def members(self, at: jax.Array) -> jax.Array:
        """The groups (q,) int32 of some variables."""
        return jnp.zeros(at.shape, jnp.int32) if self.group is None else self.group[at]

    def converted(self, dtype: Any) -> Dual:
        """The problem in another precision."""
        return self._replace(
            **{k: v.astype(dtype) for k, v in self._asdict().items() if k != "group" and v is not None}
        )

    def tile(self, g: jax.Array) -> jax.Array:
        """Values g (n,) of the rows as values (N,) of the variables."""
        return g if len(self.c) == len(g) else jnp.concatenate([g, g])

    def by_row(self, b: jax.Array, n: int) -> jax.Array:
        """The coefficients of the n rows for b (N,): b, or b+ + b-."""
        return b.reshape(-1, n).sum(0)

    def gradient(self, g: Pair) -> jax.Array:
        """The gradient f (N,) from K b as a pair (n,)."""
        hi, lo = compensated.add((self.tile(g[0]), self.tile(g[1])), (self.c, jnp.zeros_like(self.c)))
        return hi + lo

    def sides(self, b: jax.Array, f: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The two sides of the conditions, (N,) each: -f where a variable may go up, f where down, else -inf."""
        return jnp.where(b < self.upper, -f, -jnp.inf), jnp.where(b > self.lower, f, -jnp.inf)

    def extremes(self, b: jax.Array, f: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The largest of both sides in each group: (G,) each; their sum is the violation."""
        return tuple(  # type: ignore[return-value]
            jnp.stack([self.within(g, side, -jnp.inf).max() for g in range(self.groups)]) for side in self.sides(b, f)
        )

    def violation(self, b: jax.Array, f: jax.Array) -> jax.Array:
        """The largest violation of a group, 0 where nothing can move."""
        up, down = self.extremes(b, f)
        return jnp.maximum((up + down).max(), 0)

    def free(self, b: jax.Array) -> jax.Array:
        """Which variables are between their bounds."""
        return (b > self.lower) & (b < self.upper)

    def middle(self, b: jax.Array, f: jax.Array) -> jax.Array:
        """The middles (G,) of the intervals that the conditions leave for the multipliers; 0 without any."""
        up, down = self.extremes(b, f)
        # A side without variables bounds nothing: then the other end is taken.
        low, high = jnp.where(jnp.isfinite(down), down, -up), jnp.where(jnp.isfinite(up), -up, down)
        return jnp.where(jnp.isfinite(low) & jnp.isfinite(high), 0.5 * (low + high), 0)

    def multiplier(self, b: jax.Array, f: jax.Array) -> jax.Array:
        """The multipliers rho (G,)."""
        middle, rho = self.middle(b, f), []
        for g in range(self.groups):
            free = self.within(g, self.free(b), False)
            count = free.sum()
            hi, lo = compensated.sum_pairs((jnp.where(free, f, 0), jnp.zeros_like(f)), 0)
            rho.append(jnp.where(count > 0, (hi + lo) / jnp.maximum(count, 1).astype(f.dtype), middle[g]))
        return jnp.stack(rho)

    def objective(self, b: jax.Array, f: jax.Array) -> jax.Array:
        """The objective F(b) = 1/2 b'(f + c)."""
        hi, lo = compensated.dot(b, f + self.c)
        return 0.5 * (hi + lo)

    def balanced(self, b: jax.Array) -> jax.Array:
        """Whether the groups have their sums up to the rounding of thousands of steps, a relative eps^(2/3)."""
        away = [jnp.abs(self.within(g, b, 0).sum() - self.sum_of(g)) for g in range(self.groups)]
        return jnp.stack(away).max() <= eps(b.dtype) ** (2 / 3) * jnp.abs(b).sum()

    def snapped(self, b: jax.Array, ulps: int = 8) -> jax.Array:
        """Snap variables within rounding of a bound to it: they are not free."""
        for bound in (self.lower, self.upper):
            b = jnp.where(jnp.abs(b - bound) <= ulps * jnp.finfo(b.dtype).eps * jnp.abs(bound), bound, b)
        return b

    def feasible(self, b: jax.Array, *, near: bool = False) -> jax.Array:
        """A point near b within the bounds and with the sums of the groups, if there is one.

        First the free variables move, in proportion to their room, if half of it is enough: variables at a bound stay
        at it.  Then all move towards zero in proportion, which keeps zeros; then away from zero in the order of the
        variables, as libsvm fills the start of its nu machines.  near: the sums are missed by rounding alone, for which
        the free variables have room.
        """
        b = self.snapped(jnp.clip(b, self.lower, self.upper))
        for g in range(self.groups):
            inside = partial(self.within, g, other=0)
            noise = 4 * jnp.finfo(b.dtype).eps * inside(jnp.abs(b)).sum()
            tiny = jnp.finfo(b.dtype).tiny

            def missing(b: jax.Array, g: int = g, inside: Any = inside, noise: jax.Array = noise) -> jax.Array:
                need = self.sum_of(g) - inside(b).sum()
                return jnp.where(jnp.abs(need) > noise, need, 0)

            need = missing(b)
            room = inside(jnp.where(self.free(b), jnp.where(need > 0, self.upper - b, self.lower - b), 0))
            enough = jnp.abs(need) <= 0.5 * jnp.abs(room.sum())
            b = b + room * jnp.where(enough, jnp.abs(need) / jnp.maximum(jnp.abs(room.sum()), tiny), 0)
            if near:
                continue
            need = missing(b)
            positive, negative = inside(jnp.maximum(b, 0)), inside(jnp.maximum(-b, 0))
            cut = jnp.clip(-need, 0, positive.sum()) / jnp.maximum(positive.sum(), tiny)
            lift = jnp.clip(need, 0, negative.sum()) / jnp.maximum(negative.sum(), tiny)
            b = b - positive * cut + negative * lift
            need = missing(b)
            above, below = inside(self.upper - b), inside(b - self.lower)
            b = b + jnp.clip(need - (jnp.cumsum(above) - above), 0, above)
            b = b - jnp.clip(-need - (jnp.cumsum(below) - below), 0, below)
        return b
