r"""Newton's method on the forward-backward envelope: a quadratic plus a penalty whose prox is known.

    minimise over W (p, k)   f(W) + h(W),    f(W) = <W, HW> / 2 - <C, W>,   H positive semidefinite

With steps t such that diag(1/t) > H, and V = prox_t(W - t (HW - C)), the envelope

    e(W) = f(W) + <grad f(W), V - W> + |V - W|^2 / (2t) + h(V)  <=  f(W) + h(W)

is convex, continuously differentiable and has the minimisers of f + h (Patrinos and Bemporad 2013, sections 2 and 3;
Patrinos, Stella and Bemporad 2014, theorem 2.6).  Where the prox is smooth its Newton step goes to the point N that
solves the optimality conditions linearised at V, with everything that V has at zero held there.  The next iterate is
the best of points between V and N (Themelis, Stella and Patrinos 2018, algorithm 1): V alone lowers the envelope, so
the method converges from any start, whatever H, and as Newton's in the end.  The points cost two products with H.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.types import Status
from jaxinfra.solvers.moments import diagonal


class Penalty(Protocol):
    """h, a sum over features or groups of features.  Every member is a pytree of traced arrays."""

    def per_group(self, d: jax.Array) -> jax.Array:
        """The largest d (p,) of each feature's group, (p,): features of a group must share their step."""

    def prox(self, U: jax.Array, t: jax.Array) -> jax.Array:
        """argmin_V h(V) + sum_j |V_j - U_j|^2 / (2 t_j)."""

    def value(self, W: jax.Array) -> jax.Array:
        """h(W), a scalar, for W that a prox returned."""

    def active(self, W: jax.Array) -> jax.Array:
        """(p,) bool: the features that are not at zero."""

    def slope(self, W: jax.Array) -> jax.Array:
        """The gradient of h at the active features of W; finite elsewhere."""

    def newton(self, H: jax.Array, shift: jax.Array, V: jax.Array) -> Inverse:
        """The inverse of the Hessian of f + h at V, restricted to its active features, plus diag(shift)."""


class Inverse(Protocol):
    """A factored system."""

    def __call__(self, b: jax.Array) -> jax.Array:
        """Solve it for b (p, k); features that are not active come out as b."""


class Quadratic(NamedTuple):
    """H (p, p), C (p, k); d (p,) the scale of H within a group (1 for columns of zeros); t (p,) the steps."""

    H: jax.Array
    C: jax.Array
    d: jax.Array
    t: jax.Array


class _State(NamedTuple):
    W: jax.Array
    HW: jax.Array
    envelope: jax.Array
    quiet: jax.Array  # steps in a row that lowered the envelope by no more than its rounding


# Shares of the way from V to the Newton point that are tried at once.
_SHARES = (1.0, 0.6, 0.3, 0.1, 0.01, 0.0)


def quadratic(H: jax.Array, C: jax.Array, penalty: Penalty) -> Quadratic:
    """Scales and steps.  diag(1/t) > H by the bound of Collatz and Wielandt, max_i (|A|x)_i / x_i for any x > 0, on
    A = S^2, where S = D^-1/2 H D^-1/2: |A| is closer to its spectrum than |S|."""
    d = penalty.per_group(diagonal(H))
    d = jnp.where(d > 0, d, 1)
    root = 1 / jnp.sqrt(d)
    S = H * root[:, None] * root[None]
    A = jnp.abs(dot(S, S))
    x = jnp.ones_like(d)
    for _ in range(3):
        y = dot(A, x)
        x = y + 1e-3 * y.max()
    bound = jnp.sqrt(jnp.where(x > 0, dot(A, x) / x, 0).max())
    return Quadratic(H, C, d, 0.95 / (d * jnp.where(bound > 0, bound, 1)))


def regulariser(d: jax.Array) -> jax.Array:
    """What Newton systems get on their diagonal: as much as rounding takes, so that duplicated columns do no harm."""
    return (16 * d.shape[0] * eps(d.dtype)) * d


def minimise(
    q: Quadratic, penalty: Penalty, start: jax.Array, *, max_iter: jax.Array | int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """W (p, k) with exact zeros, Status, iterations, from `start` (p, k)."""
    unit = eps(q.H.dtype)
    shift = regulariser(q.d)
    shares = jnp.asarray(_SHARES, q.H.dtype)

    def forward_backward(W: jax.Array, HW: jax.Array) -> tuple[jax.Array, jax.Array]:
        """V and e(W)."""
        gradient = HW - q.C
        V = penalty.prox(W - q.t[:, None] * gradient, q.t)
        D = V - W
        smooth = (W * (0.5 * HW - q.C)).sum() + (D * gradient).sum() + 0.5 * (D * D / q.t[:, None]).sum()
        return V, smooth + penalty.value(V)

    def step(s: _State) -> tuple[_State, Verdict]:
        V, _ = forward_backward(s.W, s.HW)
        a = penalty.active(V)[:, None]
        # Linearised at V, with a term that pulls N to V where the system is singular.
        HV = dot(q.H, V)
        rhs = q.C - HV - penalty.slope(V)
        N = V + jnp.where(a, penalty.newton(q.H, shift, V)(jnp.where(a, rhs, 0)), 0)
        N = jnp.where(jnp.isfinite(N.sum()), N, V)
        D, HD = N - V, dot(q.H, N) - HV
        values = jax.vmap(lambda share: forward_backward(V + share * D, HV + share * HD)[1])(shares)
        rounding = 8 * unit * (jnp.abs(values[-1]) + jnp.abs((V * q.C).sum()))
        best = values.min()
        # Below rounding the values cannot tell, and Newton's step is right.
        share = jnp.where(values[0] <= best + rounding, shares[0], jnp.where(values <= best, shares, 0).max())
        quiet = jnp.where(s.envelope - best > rounding, 0, s.quiet + 1)
        root = jnp.sqrt(q.d)[:, None]
        moved = (root * jnp.abs(V - s.W)).max()
        converged = moved <= unit**0.75 * (root * jnp.abs(V)).max()
        done = converged | (quiet >= 4)
        new = _State(V + share * D, HV + share * HD, best, quiet)
        return new, Verdict(done, jnp.where(converged, Status.CONVERGED, Status.STALLED))

    HW = dot(q.H, start)
    begin = _State(start, HW, jnp.asarray(jnp.inf, q.H.dtype), jnp.int32(0))
    s, status, n_iter = drive(step, begin, max_iter=max_iter)
    return forward_backward(s.W, s.HW)[0], status, n_iter
