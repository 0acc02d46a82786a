r"""Semismooth Newton on the dual of proximal point steps: a quadratic plus a penalty whose prox is known.

    minimise over W (p, k)   f(W) + h(W),    f(W) = <W, HW> / 2 - <C, W>,   H positive semidefinite

A proximal point step from W minimises f(V) + h(V) + |V - W|^2_D / (2 s), D the diagonal of H.  Its dual, with HU for
the dual variable and V(U) = argmin_V h(V) + <HU - C, V> + |V - W|^2_D / (2 s), one prox, is to minimise

    e(U) = <U, HU> / 2 - <HU - C, V> - h(V) - |V - W|^2_D / (2 s),

convex and continuously differentiable for every s, and solved where U = V(U).  Newton's step goes to the point N that
solves the optimality conditions of the step linearised at V, with the features fixed that V has at zero; e decides how
far to go, which takes no product with H but HN.  Then W moves to V and s grows.  No step size depends on the norm of H,
so collinear columns cost few additional iterations: 5 to 20 systems from a cold start.

Source: Li, Sun and Toh 2018 (SsNAL, for the lasso), Zhang, Zhang, Sun and Toh 2020 (for groups), here on the Gram
matrix; Rockafellar 1976, theorem 2.  For s = infinity and h = |.|_1 the step is that of the primal-dual active set
method.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps, positive
from jaxinfra._core.types import Status
from jaxinfra.solvers.linalg.products import diagonal


class Penalty(Protocol):
    """h, a sum over features or groups of features.  Every member is a pytree of traced arrays."""

    def per_group(self, d: jax.Array) -> jax.Array:
        """The largest d (p,) of each feature's group, (p,): features of a group must share their step."""

    def prox(self, U: jax.Array, t: jax.Array) -> jax.Array:
        """argmin_V h(V) + sum_j |V_j - U_j|^2 / (2 t_j)."""

    def value(self, W: jax.Array) -> jax.Array:
        """h(W), a scalar, for W that a prox returned."""

    def active(self, W: jax.Array) -> jax.Array:
        """The features that are not at zero: (p,) bool."""

    def slope(self, W: jax.Array) -> jax.Array:
        """The gradient of h at the active features of W; finite elsewhere."""

    def newton(self, H: jax.Array, shift: jax.Array, V: jax.Array) -> Inverse:
        """The inverse of the Hessian of f + h at V, restricted to its active features, plus diag(shift)."""

    def clip(self, W: jax.Array) -> jax.Array:
        """The nearest W at which h is finite."""

    def feasible(self, W: jax.Array) -> jax.Array | bool:
        """Whether h(W) is finite."""

    def subgradient(self, W: jax.Array, gradient: jax.Array) -> jax.Array:
        """The element of least norm of gradient + the subdifferential of h at W."""


class Inverse(Protocol):
    """A factored system."""

    def __call__(self, b: jax.Array) -> jax.Array:
        """Solve it for b (p, k); features that are not active come out as b."""


class Quadratic(NamedTuple):
    """The matrices H (p, p) and C (p, k); d (p,), the diagonal of H, the largest of each group, 1 for zero columns."""

    H: jax.Array
    C: jax.Array
    d: jax.Array


class _State(NamedTuple):
    # (4, p, k): the centre W of the proximal step, U, HU, and of the feasible points N the one with the smallest
    # residual; in one array, since each array that a loop changes is a kernel of its own.
    points: jax.Array
    s: jax.Array
    residual: jax.Array
    stagnant: jax.Array  # steps since that was halved


# Shares of the way to the Newton point that are tried at once.  Four of them (1, 0.4, 0.1, 0.01) and sixteen: the same
# iterations, within 0.3 %, over the 180 fits below.
_SHARES = (1.0, 0.7, 0.4, 0.2, 0.1, 0.03, 0.01, 0.003)
# First proximal step in units of 1 / D, its growth, and the residual of a step, relative to its length, that ends it.
# Iterations of 180 fits (groups, tasks, nnls; 5 kinds of data, both precisions), of which none fails: with a first step
# of 10, 50, 200 and 1000 6 % and 2 % more, 1 % fewer, 4 % more; with a growth of 5 and 20 0 and 2 % more; with half and
# twice the residual 2 % more, 1 % fewer.
_FIRST, _GROWTH, _LOOSE = 100.0, 10.0, 0.1
# Steps until the residual is halved, after which rounding is what is left: 8 takes 2 % fewer iterations and 60 1 %
# more, all of them in one problem of 40.
_PATIENCE = 30


def quadratic(H: jax.Array, C: jax.Array, penalty: Penalty) -> Quadratic:
    """The quadratic, with the scale that the features of a group share."""
    d = penalty.per_group(diagonal(H))
    return Quadratic(H, C, positive(d))


def regulariser(d: jax.Array) -> jax.Array:
    """The diagonal added to Newton systems: of the size of rounding, so that duplicated columns are harmless."""
    return (16 * d.shape[0] * eps(d.dtype)) * d


def minimise(
    q: Quadratic, penalty: Penalty, start: jax.Array, *, max_iter: jax.Array | int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minimise from `start` (p, k) to the rounding of HW - C: (W (p, k) with exact zeros, Status, iterations)."""
    H, C, d = q
    dtype = H.dtype
    unit = eps(dtype)
    shares = jnp.asarray(_SHARES, dtype)
    root = jnp.sqrt(d)[:, None]
    most = 1e5 if dtype == jnp.float64 else 3e3  # s amplifies the rounding of HU - C

    def dual(W: jax.Array, s: jax.Array, U: jax.Array, HU: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The point V and the dual value e at U."""
        t = s / d
        V = penalty.prox(W - t[:, None] * (HU - C), t)
        inner = ((0.5 * U - V) * HU).sum() + (C * V).sum()
        return V, inner - penalty.value(V) - 0.5 * ((V - W) ** 2 / t[:, None]).sum()

    def step(z: _State) -> tuple[_State, Verdict]:
        W, U, HU, best = z.points
        s = z.s
        V, _ = dual(W, s, U, HU)
        a = penalty.active(V)[:, None]
        rhs = C - penalty.slope(V) + (d / s)[:, None] * W
        N = jnp.where(a, penalty.newton(H, d / s, V)(jnp.where(a, rhs, 0)), 0)
        HN = dot(H, N)

        D, HD = N - U, HN - HU
        values = jax.vmap(lambda share: dual(W, s, U + share * D, HU + share * HD)[1])(shares)
        # Where the values differ only by rounding, Newton's full step is taken (from 16 to 64 eps, no difference).
        full = values[0] <= values.min() + 32 * unit * jnp.abs(values[0])
        share = jnp.where(full, 1, jnp.where(values <= values.min(), shares, 0).max())
        U, HU = U + share * D, HU + share * HD
        V, _ = dual(W, s, U, HU)
        left = jnp.abs(penalty.subgradient(N, HN - C)) / root
        miss, length, left = jnp.stack([root * jnp.abs(U - V), root * jnp.abs(V - W), left]).max((1, 2))
        solved = miss <= _LOOSE * length

        left = jnp.where(penalty.feasible(N), left, jnp.inf)
        stagnant = jnp.where(left < 0.5 * z.residual, 0, z.stagnant + 1)
        better = (left < z.residual) | ~jnp.isfinite(z.residual)
        best = jnp.where(better, penalty.clip(N), best)
        # Powers of 0.8 and 0.9: 5 % fewer iterations with 1.8 times the gap at the end, 2 % more with 0.6 times;
        # factors of 2 and 8: 1 % more and fewer, 0.8 and 1.2 times.
        goal = unit**0.85 * size + 4 * unit * (root * jnp.abs(N)).sum()
        new = _State(
            jnp.stack([jnp.where(solved, V, W), U, HU, best]), jnp.where(solved, jnp.minimum(_GROWTH * s, most), s),
            jnp.where(better, left, z.residual), stagnant,
        )  # fmt: skip
        converged = left <= goal
        return new, Verdict(converged | (stagnant >= _PATIENCE), jnp.where(converged, Status.CONVERGED, Status.STALLED))

    infinite = jnp.asarray(jnp.inf, dtype)
    size = (jnp.abs(C) / root).max()
    start = penalty.clip(start)
    points = jnp.stack([start, start, dot(H, start), start])
    begin = _State(points, jnp.asarray(_FIRST, dtype), infinite, jnp.int32(0))
    end, status, n_iter = drive(step, begin, max_iter=max_iter)
    return end.points[3], status, n_iter
