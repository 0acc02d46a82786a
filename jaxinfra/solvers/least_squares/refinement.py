r"""Residual correction of a least-squares solution: its stopping rule, certificate and derivatives."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit
from jaxinfra._core.absent import masked
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict
from jaxinfra._core.precision import all_finite, dot, eps, positive, tolerance
from jaxinfra._core.stages import Rare
from jaxinfra._core.types import Fit, Linear, RankInfo, Status
from jaxinfra.solvers.least_squares import moments
from jaxinfra.solvers.linalg.rank_revealing import Factor, apply, project_out

Data = tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]  # X, y, w, l2


class State(NamedTuple):
    """The state of the corrections.  `size` is that of the last one, `objective` belongs to `coef`, `optimality` to the
    iterate before it; `paired`: whether residuals are now in double-word arithmetic."""

    coef: jax.Array  # (p, k), or the dual variables (n, k)
    shift: jax.Array  # (k,): intercept - (y_mean - x_mean'coef)
    size: jax.Array
    objective: jax.Array
    optimality: jax.Array
    paired: jax.Array


def start(coef: jax.Array, shift: jax.Array, *, paired: bool = False) -> State:
    """The state before the first correction."""
    one = jnp.ones((), coef.dtype)
    return State(coef, shift, one, one, one, jnp.array(paired))


def solvable(w: jax.Array | None, l2: jax.Array | None, weight: jax.Array) -> jax.Array:
    """Whether there is some weight, no negative weight and no negative penalty."""
    valid = weight > 0
    if w is not None:
        valid &= (w >= 0).all()
    if l2 is not None:
        valid &= (l2 >= 0).all()
    return valid


def good_size(dtype: jnp.dtype) -> float:
    """Relative size of a correction after which enough digits are right: 11 in float64, 5 in float32.

    One digit more and one less: 14 % more and 9 % fewer corrections over 80 fits, of condition 1 to 1e16 in float64 and
    to 1e8 in float32; the same ones converge.
    """
    return 1e-11 if dtype == jnp.float64 else 1e-5


def relative(d: jax.Array, coef: jax.Array, norms: jax.Array, norm_y: jax.Array) -> jax.Array:
    """Size of a correction: the larger of |d| / |coef| as vectors, and a hundredth of the worst |d_j| / |coef_j|.

    In units of the columns' norms.  Coefficients below eps^0.4 |y| count as that large: they may be true zeros.  Powers
    of 0.3 and 0.5, half and twice the 1e-3, and half and twice the hundredth change none of 80 fits; a tenth changes 3.
    """
    step, size = norms.T * jnp.abs(d), norms.T * jnp.abs(coef)
    each = (step / jnp.maximum(size, eps(d.dtype) ** 0.4 * norm_y[None] + jnp.finfo(d.dtype).tiny)).max()
    overall = (step.max(0) / jnp.maximum(size.max(0), 1e-3 * norm_y + jnp.finfo(d.dtype).tiny)).max()
    return jnp.maximum(overall, 0.01 * each)


def scaled_gradient(g: jax.Array, norms: jax.Array, norm_y: jax.Array) -> jax.Array:
    """The largest |g_j| / (|z_j| |y|): the cosine between the residual and a column if the residual were y."""
    return jnp.where(g != 0, jnp.abs(g) / (norms.T * positive(norm_y)[None]), 0).max()


def judge(before: State, after: State) -> tuple[State, Verdict]:
    """Done when the next correction would be below rounding, or when rounding already stops the corrections.

    Where it stops them with too few digits right and residuals were plain, they continue in double-word arithmetic.
    """
    unit = eps(after.coef.dtype)
    size = after.size
    good = jnp.where(before.paired, 2 * unit, good_size(after.coef.dtype))
    enough = (size <= good) & (size * size <= unit * before.size)
    # With 0.125 and 0.5 2 % fewer and 5 % more corrections in these 80 fits, and one more that converges with 0.125.
    stalled = (before.size < 1) & (size > 0.25 * before.size) & ~enough
    # Corrections that stall are as large as the error, others far larger: in float64 one digit more is asked of these.
    # (NIST's Wampler4 stalls at 3e-12 where a compiler fuses nothing, with 8 digits of the smallest coefficient.)
    right = 0.1 * good if size.dtype == jnp.float64 else good
    switch = stalled & ~before.paired & ~(size <= right)
    done = enough | (stalled & ~switch) | ~(size > 0)
    after = after._replace(paired=before.paired | switch, size=jnp.where(switch, 1, size))
    return after, Verdict(done, jnp.where(stalled, Status.STALLED, Status.CONVERGED))


def attach(coef: jax.Array, f: Factor, live: Data, centre: bool) -> jax.Array:
    """Attach derivatives to coef.  With P0 the projector on the null space of H, the minimum-norm solution satisfies

        P (c - H coef) - P0 q = 0,    coef - H q = 0        (P = I - P0, q = H^+ coef)

    The second equation keeps coef in the row space, which holds as X changes at constant rank.  The Jacobian
    [[-P0, -H], [-H, I]] is symmetric, with the inverse that `inverse` applies.
    """
    X, y, w, l2 = live
    X, w = masked(X, w)
    weight, x_mean, y_mean = moments.weighted_means(X, y, w, centre)
    Z = X - x_mean[None]
    rows = (lambda u: u) if w is None else (lambda u: u * w[:, None])

    def system(v: jax.Array) -> jax.Array:
        Hv = dot(Z.T, rows(dot(Z, v)))
        return Hv if l2 is None else Hv + weight * l2.T * v

    def residual(x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        q, v = x
        fit = dot(Z.T, rows(y - y_mean[None] - dot(Z, v)))
        if l2 is not None:
            fit -= weight * l2.T * v
        return project_out(f.null, fit) - apply(f.null, q), v - system(q)

    def inverse(b: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        b1, b2 = b
        h = apply(f.T, b1)
        return -(apply(f.T, h + b2) + apply(f.null, b1)), apply(f.null, b2) - h

    return implicit.root(residual, (apply(f.T, coef), coef), inverse)[1]


def intercept(value: jax.Array, coef: jax.Array, live: Data, centre: bool) -> jax.Array:
    """The intercept `value`, with the derivative of y_mean - x_mean'coef."""
    if not centre:
        return jnp.zeros_like(value)
    X, y, w, _ = live
    _, x_mean, y_mean = moments.weighted_means(X, y, w, centre)
    return implicit.root(lambda b: y_mean - dot(x_mean, coef) - b, value, lambda b: -b)


def conclude(
    coef: jax.Array, intercept: jax.Array, state: State, status: jax.Array, n_iter: jax.Array, f: Factor,
    tol: jax.Array | None, valid: jax.Array, data_finite: jax.Array, rare: Rare,
) -> Fit:  # fmt: skip
    """The Fit: Status from the certificate, NaN where there is no solution."""
    dtype = coef.dtype
    tol = tolerance(tol, dtype)
    state, f = implicit.frozen((state, f))
    solved = all_finite(implicit.frozen(coef), implicit.frozen(intercept), state.objective)
    met = state.optimality <= tol
    code = jnp.where(met, Status.CONVERGED, jnp.where(status == Status.MAX_ITER, Status.MAX_ITER, Status.STALLED))
    rank = f.rank.min()
    if not rare.lean:
        rank = jnp.where(data_finite & valid & solved, rank, 0)
    return finish(
        Linear(coef, intercept),
        RankInfo(code, n_iter, state.objective, state.optimality, rank, f.condition.max()),
        (data_finite, Status.NONFINITE),
        (valid, Status.SINGULAR),
        (solved, Status.NONFINITE),  # overflow
        rare=rare,
    )
