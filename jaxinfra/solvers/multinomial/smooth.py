r"""The multinomial likelihood with a smooth penalty: exact Newton for few parameters, preconditioned L-BFGS for many.

Few parameters (`softmax.DENSE`): Newton's method with the full Hessian and a backtracking search, 5 to 8 steps.  Many:
L-BFGS, whose initial matrix is the diagonal of the Hessian for a few iterations and then the inverse of one q x q
approximation of it (`softmax.Curvature`); an iteration costs one pass, two products with Z.  Newton steps by conjugate
gradients finish what L-BFGS leaves.

The search accepts a step that lowers f enough (Armijo) or, where the change is within rounding of f, one that does not
raise the gradient; float32 stalls without the second rule.

Without a finite maximiser, every Newton step moves some eta by about 1 while the gradient vanishes; so a small gradient
counts only when the last step was small too.
Sources: Hastie, Tibshirani and Friedman, 4.4; Nocedal and Wright, 3.1, 7.1, 7.2; Albert and Anderson 1984.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from jaxinfra._core import implicit
from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.precision import dot, eps
from jaxinfra._core.types import Status
from jaxinfra.solvers.likelihood.linear_loss import recedes
from jaxinfra.solvers.linalg.products import diagonal
from jaxinfra.solvers.multinomial import softmax
from jaxinfra.solvers.multinomial.softmax import Curvature, ScaledData, Units

# Pairs that L-BFGS remembers, and iterations before its initial matrix is renewed.
_MEMORY, _FIRST = 20, 8
# Iterations of L-BFGS where the maximiser may be at infinity.
_UNBOUNDED = 30
# Accepted steps without progress after which only rounding is left.
_PATIENCE = 20
# A step that moves an eta by more than this does not count as the last.
_MOVES = 0.1


class Point(NamedTuple):
    """A point W (K, q) with the objective, the gradient of its smooth part, and the scaled residual."""

    W: jax.Array
    f: jax.Array
    g: jax.Array
    optimality: jax.Array


class Stagnation(NamedTuple):
    """The least f and residual so far, and the accepted steps since one that clearly improved on either."""

    least: jax.Array
    best: jax.Array
    steps: jax.Array

    @classmethod
    def at(cls, start: Point) -> Stagnation:
        """The record before the first step."""
        return cls(start.f, start.optimality, jnp.int32(0))

    def after(self, new: Point) -> Stagnation:
        """The record after a step to new.  Where f changes by rounding alone, the residual
        decreases in the long run only."""
        decreased = new.f < self.least - 16 * eps(new.f.dtype) * jnp.abs(self.least)
        better = decreased | (new.optimality < 0.9 * self.best)
        least, best = jnp.minimum(new.f, self.least), jnp.minimum(new.optimality, self.best)
        return Stagnation(least, best, jnp.where(better, 0, self.steps + 1))

    @property
    def over(self) -> jax.Array:
        """Whether no progress is expected."""
        return self.steps >= _PATIENCE


class Solution(NamedTuple):
    """How a solver ended, its last point included."""

    point: Point
    status: jax.Array
    n_iter: jax.Array


_Parts = tuple[Point, jax.Array, jax.Array, Curvature]
Evaluate = Callable[[jax.Array], Point]
Direction = Callable[[Point], jax.Array]


def evaluator(data: ScaledData, units: Units, blocked: bool) -> Evaluate:
    """The map W -> Point, which first moves W to the symmetric gauge: steps leave it only by rounding."""

    def evaluate(W: jax.Array) -> Point:
        W = softmax.symmetric(data, W)
        f, g = softmax.value_and_gradient(data, W, blocked=blocked)
        return Point(W, f, g, units.largest(g))

    return evaluate


def search(evaluate: Evaluate, here: Point, d: jax.Array) -> tuple[Point, jax.Array, jax.Array]:
    """The first of t = 1, 1/2, 1/4, ... that is accepted: the new point, t, and whether there was one."""
    slope = (here.g * d).sum()
    tiny = 16 * eps(here.f.dtype) * jnp.abs(here.f)

    def cond(carry: tuple[Point, jax.Array, jax.Array]) -> jax.Array:
        return ~carry[2] & (carry[1] > 2.0**-20)

    def body(carry: tuple[Point, jax.Array, jax.Array]) -> tuple[Point, jax.Array, jax.Array]:
        t = carry[1] / 2
        new = evaluate(here.W + t * d)
        enough = new.f <= here.f + 1e-4 * t * slope
        level = (jnp.abs(new.f - here.f) <= tiny) & (new.optimality <= here.optimality)
        return new, t, enough | level

    # Along a direction that does not descend, or is NaN, no step is tried or accepted.
    new, t, accepted = lax.while_loop(cond, body, (here, jnp.full_like(here.f, 2), ~(slope < 0)))
    accepted &= slope < 0
    return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, here), t, accepted


class Trend(NamedTuple):
    """How far the last step moved eta, where the gradient is small but the loss still decreases along it; else 0."""

    moved: jax.Array

    def judge(
        self, data: ScaledData, new: Point, step: jax.Array, tol: jax.Array, accepted: jax.Array, bounded: jax.Array
    ) -> tuple[Trend, Verdict]:
        """The verdict on a step (K, q) to a new point.

        As in `newton.minimise`, a fit that seems to diverge goes on down to sqrt(eps * tol).
        """
        W, small, deep = new.W, new.optimality <= tol, new.optimality <= jnp.sqrt(eps(tol.dtype) * tol)

        def movement(_: jax.Array) -> jax.Array:
            a, change = data.T.sum(1), softmax.across(step, data.Z)
            slopes = jnp.exp(softmax.log_softmax(W, data.Z, data.offset)) * a[None] - data.T.T
            slopes, change = (slopes * change).sum(0), jnp.where((a > 0)[None], jnp.abs(change), 0).max(0)
            penalty = (data.l2 * W * step).sum()
            if data.l1 is not None:
                penalty += (data.l1 * jnp.where(W == 0, jnp.abs(step), jnp.sign(W) * step)).sum()
            return jnp.where(recedes(slopes, change, penalty), change.max(), 0)

        moved = when(small & accepted & ~bounded, movement, jnp.zeros_like(self.moved))
        # The second such step, neither small nor much smaller than the one before, though the gradient vanishes.
        separable = deep & (moved > _MOVES) & (moved > self.moved / 2) & (self.moved > 0)
        separable |= ~accepted & (self.moved > _MOVES)  # rounding came first
        done = (small & (moved <= _MOVES)) | separable | ~accepted
        status = jnp.where(separable, Status.SEPARABLE, jnp.where(small, Status.CONVERGED, Status.STALLED))
        return Trend(moved), Verdict(done, status)


def newton(
    data: ScaledData, evaluate: Evaluate, direction: Direction, start: Point, bounded: jax.Array, tol: jax.Array,
    max_iter: jax.Array,
) -> Solution:  # fmt: skip
    """Newton's method from `start`."""

    def step(state: tuple[Point, Trend, Stagnation]) -> tuple[tuple[Point, Trend, Stagnation], Verdict]:
        here, trend, stagnation = state
        new, _, accepted = search(evaluate, here, direction(here))
        stagnation = stagnation.after(new)
        trend, verdict = trend.judge(data, new, new.W - here.W, tol, accepted & ~stagnation.over, bounded)
        return (new, trend, stagnation), verdict

    begin = (start, Trend(jnp.zeros_like(start.f)), Stagnation.at(start))
    (here, *_), status, n_iter = drive(step, begin, max_iter=max_iter)
    return Solution(here, status, n_iter)


class _Memory(NamedTuple):
    here: Point
    near: jax.Array  # the product N g, N the initial matrix
    S: jax.Array  # (m, Kq): steps, changes of the gradient, and N times those; zeros where there is no pair
    Y: jax.Array
    NY: jax.Array
    gamma: jax.Array  # N is right up to this factor, that of the newest pair
    made: jax.Array
    stagnation: Stagnation


def lbfgs(
    evaluate: Evaluate, near: Callable[[jax.Array], jax.Array], start: Point, tol: jax.Array, max_iter: jax.Array
) -> Solution:
    """L-BFGS from `start` with `near` as its initial matrix, in the compact form (Nocedal and Wright, eq. 7.24)."""
    shape, dtype = start.W.shape, start.W.dtype
    zeros = jnp.zeros((_MEMORY, start.W.size), dtype)
    begin = _Memory(start, near(start.g), zeros, zeros, zeros, jnp.ones((), dtype), jnp.int32(0), Stagnation.at(start))

    def direction(m: _Memory) -> jax.Array:
        g = m.here.g.reshape(-1)
        order = (m.made + jnp.arange(_MEMORY, dtype=jnp.int32)) % _MEMORY  # the oldest first
        SY = dot(m.S, m.Y.T)[order][:, order]
        D = diagonal(SY)
        R = jnp.triu(SY) + jnp.diag(jnp.where(D > 0, 0, 1).astype(dtype))
        u = solve_triangular(R, dot(m.S, g)[order])
        v = D * u + m.gamma * (dot(dot(m.Y, m.NY.T)[order][:, order], u) - dot(m.NY, g)[order])
        v = solve_triangular(R, v, trans=1)
        u, v = (jnp.zeros_like(a).at[order].set(a) for a in (u, v))
        return -m.gamma * m.near + (m.gamma * dot(u, m.NY) - dot(v, m.S)).reshape(shape)

    def step(m: _Memory) -> tuple[_Memory, Verdict]:
        new, _, accepted = search(evaluate, m.here, direction(m))
        r = near(new.g)
        s, y, ny = ((a - b).reshape(-1) for a, b in ((new.W, m.here.W), (new.g, m.here.g), (r, m.near)))
        keep = dot(s, y) > eps(dtype) * jnp.sqrt(dot(s, s) * dot(y, y))
        j = m.made % _MEMORY
        S, Y, NY = (M.at[j].set(jnp.where(keep, a, 0)) for M, a in ((m.S, s), (m.Y, y), (m.NY, ny)))
        gamma = jnp.where(keep, dot(s, y) / dot(y, ny), m.gamma)
        small = new.optimality <= tol
        status = jnp.where(small, Status.CONVERGED, Status.STALLED)
        stagnation = m.stagnation.after(new)
        return _Memory(new, r, S, Y, NY, gamma, m.made + 1, stagnation), Verdict(
            small | ~accepted | stagnation.over, status
        )

    m, status, n_iter = drive(step, begin, max_iter=max_iter)
    return Solution(m.here, status, n_iter)


def solve(
    data: ScaledData, W: jax.Array, units: Units, bounded: jax.Array, *, tol: jax.Array, max_iter: jax.Array,
    blocked: bool,
) -> Solution:  # fmt: skip
    """Minimise f from W (K, q).  bounded: whether a maximiser of the likelihood is known to be finite."""
    evaluate = evaluator(data, units, blocked)
    start = evaluate(W)
    if W.size <= softmax.DENSE:

        def exact(here: Point) -> jax.Array:
            return -softmax.solver(softmax.hessian(data, here.W, blocked=blocked))(here.g)

        return newton(data, evaluate, exact, start, bounded, tol, max_iter)

    curvature = partial(Curvature.of, data, blocked=blocked)

    # L-BFGS in two parts: with a diagonal, then with the matrix at the point that those iterations found.
    def part(carry: _Parts, phase: jax.Array) -> tuple[_Parts, None]:
        here, used, status, _ = carry
        full = phase > 0
        # Towards infinity L-BFGS is slow, while each Newton step divides the gradient by e.
        most = jnp.where(full, jnp.where(bounded, max_iter, _UNBOUNDED), _FIRST)
        most = jnp.where(status == Status.CONVERGED, 0, jnp.minimum(most, max_iter - used))
        near = curvature(here.W, full & ((most > 0) | ~bounded))
        end = lbfgs(evaluate, near.solve, here, tol, most)
        return (end.point, used + end.n_iter, jnp.where(most > 0, end.status, status), near), None

    some = jax.tree.map(jnp.zeros_like, jax.eval_shape(curvature, start.W, bounded))
    begin: _Parts = (start, jnp.int32(0), jnp.int32(Status.MAX_ITER), some)
    (here, used, _, near), _ = lax.scan(part, begin, jnp.arange(2, dtype=jnp.int32))
    # Newton steps where L-BFGS could not go on; their size also shows whether the maximiser is finite.
    small = here.optimality <= tol
    left = jnp.where(small & bounded, 0, max_iter - used)

    def conjugate(here: Point) -> jax.Array:
        return -softmax.iterative(data, here.W, near.solve, None, 0.03, 50)(here.g)

    last = newton(data, evaluate, conjugate, here, bounded, tol, left)
    status = jnp.where(small & (last.status != Status.SEPARABLE), Status.CONVERGED, last.status)
    return Solution(last.point, status, used + last.n_iter)


def attach(live: ScaledData, W: jax.Array, *, blocked: bool) -> jax.Array:
    """Attach derivatives to W, the root of the optimality conditions of `live`; with L1 on its support, signs fixed.

    The Jacobian is the Hessian: factored for few parameters, else solved with by conjugate gradients.
    """
    data, W = implicit.frozen((live, W))
    free = None if data.l1 is None else (data.l1 == 0) | (W != 0)

    def residual(V: jax.Array) -> jax.Array:
        V = V if free is None else jnp.where(free, V, 0)
        g = softmax.value_and_gradient(live, V, blocked=blocked)[1]
        g = g + softmax.gauge(data, jnp.ones_like(V[0]))[None] * V.mean(0)[None]
        return g if free is None or live.l1 is None else jnp.where(free, g + live.l1 * jnp.sign(W), V)

    def inverse(b: jax.Array) -> jax.Array:
        if W.size <= softmax.DENSE:
            x = softmax.solver(softmax.hessian(data, W, blocked=blocked), free)(b)
        else:
            tol = eps(W.dtype) ** 0.75
            x = softmax.iterative(
                data, W, Curvature.of(data, W, jnp.array(True), blocked=blocked).solve, free, tol, 1000
            )(b)
        return x if free is None else jnp.where(free, x, b)

    return implicit.root(residual, W, inverse)
