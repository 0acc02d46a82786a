r"""Kernel ridge regression by one Cholesky factorisation and residual correction, with its derivatives.

    (K + ridge W^-1) a + b = y,    sum a = 0,    ridge = l2 sum w

where W holds the weights; b and the second equation only with an intercept.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core import implicit
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, positive, tolerance
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra._core.types import Fit, Info, Status
from jaxinfra.kernels import Kernel, Precomputed
from jaxinfra.solvers.dual import kernel_rows
from jaxinfra.solvers.linalg import cholesky
from jaxinfra.solvers.linalg.products import diagonal


class System(NamedTuple):
    """Centred X, y - offset (n, k), l2 times the sum of weights, the kernel, the weights and the centre."""

    X: jax.Array
    y: jax.Array
    ridge: jax.Array
    kernel: Kernel
    w: jax.Array
    centre: jax.Array

    def times(self, a: jax.Array) -> jax.Array:
        """The product K a (n, k)."""
        live = kernel_rows.of(self.kernel, self.X, precomputed=isinstance(self.kernel, Precomputed), full=False)
        return jax.vmap(live.times, 1, 1)(a)


def _size(y: jax.Array, w: jax.Array) -> jax.Array:
    """The largest |y|, the unit of residuals."""
    size = jnp.where(w[:, None] > 0, jnp.abs(y), 0).max()
    return positive(size)


class Solution(NamedTuple):
    """Dual coefficients and intercepts."""

    a: jax.Array  # (n, k)
    b: jax.Array  # (k,)


def solve(live: System, tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool, rare: Rare = WHOLE) -> Fit:
    """Solve the system: Fit(Solution, Info)."""
    fixed = implicit.frozen(live)
    X, y, ridge, kernel, w, _ = fixed
    dtype = X.dtype
    tol = tolerance(tol, dtype)
    sound = (w >= 0).all() & (w.sum() > 0) & (ridge > 0)
    work = kernel_rows.of(kernel, X, precomputed=isinstance(kernel, Precomputed), full=True, rare=rare)
    K = work.values
    assert K is not None
    # Where kernel values overflow, the features or the diagonal are not finite.
    counted = jnp.where(w[:, None] > 0, y, 0)
    finite = kernel_rows.finite(X, counted, ridge, kernel, w, work.features, diagonal(K))
    if rare.lean:
        rare.note(~(sound & finite))
        sound = finite = jnp.array(True)
    # A row of weight w is one whose penalty is divided by w: with S = sqrt(w), (S K S + ridge) S^-1 a = S (y - b).
    S = jnp.sqrt(jnp.where(sound & finite, w, 1))[:, None]
    M = S * K * S.T + jnp.where(sound & finite, ridge, 1) * jnp.eye(len(y), dtype=dtype)
    factor = cholesky.factor(M)
    border = cholesky.substitute(factor, S)[:, 0]
    pivot = dot(S[:, 0], border)

    def bordered(u: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The solution of M z + S c = u, S'z = v, or of M z = u without intercept."""
        z = cholesky.substitute(factor, u)
        if not fit_intercept:
            return z, jnp.zeros_like(v)
        c = (dot(S[:, 0], z) - v) / pivot
        return z - border[:, None] * c[None], c

    def left(s: Solution) -> jax.Array:
        """Residual of the equations of the rows."""
        return S * (y - dot(K, s.a) - s.b[None]) - ridge * s.a / positive(S)

    size = _size(y, w)

    def correct(state: tuple[Solution, jax.Array]) -> tuple[tuple[Solution, jax.Array], Verdict]:
        """One residual correction, kept if it lowers the residual; the last one unless it halves it."""
        s, before = state
        z, c = bordered(left(s), -s.a.sum(0))
        new = Solution(s.a + S * z, s.b + c)
        worst = jnp.abs(left(new)).max()
        better = ~(worst >= before)  # NaN goes on, to be reported
        s = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, s)
        done = (worst <= 0.01 * tol * size) | ~(worst < 0.5 * before)
        return (s, jnp.where(better, worst, before)), Verdict(done, jnp.int32(Status.CONVERGED))

    start = Solution(jnp.zeros_like(y), jnp.zeros_like(y[0])), jnp.asarray(jnp.inf, dtype)
    (found, worst), _, n_iter = drive(correct, start, max_iter=max_iter)
    optimality = (jnp.maximum(worst, jnp.abs(found.a.sum(0)).max()) if fit_intercept else worst) / size

    if rare.lean:
        return _conclude(found, found, K, y, ridge, w, optimality, n_iter, tol, sound, finite)

    # The derivative of  ridge a - w (y - K a - b) = 0,  sum a = 0,  at a = S z.
    def residual(s: Solution) -> Solution:
        r = live.y - live.times(s.a) - s.b[None]
        return Solution(live.ridge * s.a - live.w[:, None] * r, s.a.sum(0) if fit_intercept else s.b)

    def inverse(u: Solution) -> Solution:
        z, c = bordered(-S * dot(K, u.a) / ridge, u.b - u.a.sum(0) / ridge)
        return Solution(u.a / ridge + S * z, c if fit_intercept else u.b)

    def transposed(u: Solution) -> Solution:
        z, c = bordered(S * u.a, u.b)
        c = c if fit_intercept else u.b
        rest = c[None] if fit_intercept else jnp.zeros_like(c)[None]
        return Solution((u.a - dot(K, S * z) - rest) / ridge, c)

    point = implicit.root(residual, found, inverse, transposed)
    return _conclude(point, found, K, y, ridge, w, optimality, n_iter, tol, sound, finite)


def _conclude(
    point: Solution, found: Solution, K: jax.Array, y: jax.Array, ridge: jax.Array, w: jax.Array, optimality: jax.Array,
    n_iter: jax.Array, tol: jax.Array, sound: jax.Array, finite: jax.Array,
) -> Fit:  # fmt: skip
    """The point, which is the solution found with its derivatives, with its figures and status."""
    Ka = dot(K, found.a)
    r = y - Ka - found.b[None]
    value = 0.5 * (dot(w, jnp.where(w[:, None] > 0, r * r, 0)).sum() + ridge * (found.a * Ka).sum())
    status = jnp.where(optimality <= tol, Status.CONVERGED, Status.STALLED)
    return finish(
        point,
        Info(status, n_iter, value / jnp.where(sound, w.sum(), 1), optimality),
        (finite, Status.NONFINITE),
        (sound & jnp.isfinite(optimality), Status.SINGULAR),
        (jnp.isfinite(value), Status.NONFINITE),
    )


def values(problem: System, coef: jax.Array, intercept: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The objective at any coefficients, the largest residual of the equations of the rows, and that of the sum."""
    _, y, ridge, _, w, _ = problem
    a = jnp.asarray(coef, y.dtype).reshape(-1, len(y)).T
    Ka = problem.times(a)
    r = y - Ka - jnp.asarray(intercept, y.dtype).reshape(1, -1)
    value = 0.5 * (dot(w, r * r).sum() + ridge * (a * Ka).sum()) / w.sum()
    S = jnp.sqrt(w)[:, None]
    equations = jnp.abs(S * r - ridge * a / positive(S)).max()
    size = _size(y, w)
    return value, equations / size, jnp.abs(a.sum(0)).max() / size
