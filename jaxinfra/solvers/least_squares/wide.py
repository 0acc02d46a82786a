r"""Least squares with fewer rows than columns, on the n x n kernel.

With A = (sqrt(W) Z)' (p, n), target = sqrt(W)(y - y_mean) and mu = sum w * l2, the solution is

    coef = A a,    (A'A + mu) a = target

and, where A'A + mu is singular (always, with an intercept and no penalty), the a of minimum norm gives the coef of
minimum norm.  Derivatives: `_core.implicit` on M (target - M a) = 0 with M = A'A + mu, a in the range of M.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import all_finite, dot, positive
from jaxinfra._core.stages import Rare
from jaxinfra._core.types import Fit
from jaxinfra.solvers.least_squares import moments, refinement
from jaxinfra.solvers.least_squares.refinement import State
from jaxinfra.solvers.linalg import design, products, rank_revealing
from jaxinfra.solvers.linalg.rank_revealing import apply, project_out


def solve(
    X: jax.Array, y: jax.Array, w: jax.Array | None, l2: jax.Array | None, centre: bool, blocked: bool,
    tol: jax.Array | None, max_iter: jax.Array, rare: Rare,
) -> Fit:  # fmt: skip
    """As `ridge.solve`, for y (n, k) and l2 (t, 1) or None."""
    n, p = X.shape
    dtype = X.dtype
    w = design.in_units(w)
    weight, x_mean, y_mean, A, target = moments.centred(X, y, w, centre)
    A = A.T
    ridge = jnp.zeros((1, 1), dtype) if l2 is None else weight * l2
    valid = refinement.solvable(w, l2, weight)
    finite = all_finite(A, target, w, l2)
    usable = implicit.frozen(valid & finite)
    A0, target0, ridge0 = (jnp.where(usable, a, 0) for a in implicit.frozen((A, target, ridge)))
    eye = jnp.eye(n, dtype=dtype)
    K = jnp.where(usable, dot(A0.T, A0), eye)
    H = K[None] + ridge0[:, :, None] * eye[None]
    one = jnp.ones((), dtype)
    # Centring makes K singular along u, the root of the weights; K + c uu' is not, and its inverse is K^+ + uu' / c.
    u = None if l2 is not None or not centre else _unit(w, n, dtype)
    C = H if u is None else H + (jnp.trace(K) / n) * jnp.outer(u, u)[None]
    f = rank_revealing.cholesky(C, one, equilibrate=False, rare=rare)
    if u is not None:
        null = jnp.pad(u[:, None], ((0, 0), (0, n - 1)))[None]
        f = f._replace(T=f.T - jnp.outer(u, dot(u, f.T[0]))[None], null=null, rank=jnp.maximum(f.rank - 1, 0))

    def gram(T: jax.Array) -> jax.Array:
        Q = jnp.matmul(A0[None], T, precision="highest")
        return jnp.matmul(Q.swapaxes(-1, -2), Q, precision="highest")

    robust = lambda _: rank_revealing.eigen(  # noqa: E731
        H, gram, jnp.broadcast_to(ridge0, (ridge0.shape[0], n)), rank_revealing.rank_tol(dtype, n, p), equilibrate=False
    )
    f = rare.when(~(f.error.max() < rank_revealing.FACTOR_ERROR) & usable, robust, f)

    norm_y = products.norms(target0)
    column = products.norms(A0.T)[None]
    column = positive(column)

    # The corrections are added to coef as well as to a: beside a large column their effect is below the rounding of a.
    def step(carry: tuple[State, jax.Array]) -> tuple[tuple[State, jax.Array], Verdict]:
        state, a = carry
        coef = state.coef
        r = target0 - dot(A0.T, coef)
        d = apply(f.T, project_out(f.null, r - ridge0.T * a))
        move = dot(A0, d)
        size = refinement.relative(move, coef + move, column, norm_y)
        gradient = dot(A0, r) - ridge0.T * coef
        objective = 0.5 * ((r * r).sum() + (ridge0.T * coef * coef).sum()) / positive(weight)
        optimality = refinement.scaled_gradient(gradient, column, norm_y)
        new = State(coef + move, state.shift, size, objective, optimality, state.paired)
        state, verdict = refinement.judge(state, new)
        return (state, a + d), verdict

    # The kernel has no double-word residual: the corrections start as if paired, and end where rounding stops them.
    a = apply(f.T, target0)
    begin = refinement.start(dot(A0, a), jnp.zeros_like(y_mean), paired=True)
    (state, a), status, n_iter = drive(step, (begin, a), max_iter=max_iter)

    def kernel(a: jax.Array) -> jax.Array:
        return dot(A.T, dot(A, a)) + ridge.T * a

    def condition(a: jax.Array) -> jax.Array:
        return project_out(f.null, kernel(target - kernel(a))) - apply(f.null, a)

    a = project_out(f.null, a)
    a = implicit.root(condition, a, lambda b: -(apply(f.T, apply(f.T, b)) + apply(f.null, b)))
    coef = dot(A, a)
    coef += implicit.frozen(state.coef - coef)
    intercept = y_mean - dot(x_mean, coef) if centre else jnp.zeros_like(y_mean)
    return refinement.conclude(coef, intercept, state, status, n_iter, f, tol, valid, finite, rare)


def _unit(w: jax.Array | None, n: int, dtype: jnp.dtype) -> jax.Array:
    """The unit vector along the roots of the weights."""
    if w is None:
        return jnp.full(n, n**-0.5, dtype)
    return jnp.sqrt(jnp.maximum(w, 0) / positive(w.sum()))
