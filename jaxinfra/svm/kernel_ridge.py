r"""Kernel ridge regression: least squares with an L2 penalty in the space of a kernel."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core import absent, affine, checks, implicit, rows
from jaxinfra._core.absent import or_ones
from jaxinfra._core.finish import finish
from jaxinfra._core.loop import Verdict, drive
from jaxinfra._core.precision import dot, positive, tolerance
from jaxinfra._core.types import Fit, Info, Status
from jaxinfra._core.verbs import public
from jaxinfra.kernels import Kernel, Precomputed
from jaxinfra.solvers.dual import kernel_rows
from jaxinfra.solvers.linalg import cholesky
from jaxinfra.solvers.linalg.products import diagonal
from jaxinfra.svm import _linear_kernel, _machine
from jaxinfra.svm._machine import Machine


@public
def fit(
    X: Any, y: Any, *, l2: Any, kernel: Kernel | None = None, sample_weight: Any = None, offset: Any = None,
    init: Machine | None = None, tol: Any = None, max_iter: Any = 5, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of squared residuals plus an L2 penalty in the space of a kernel.

    .. math:: \min_{f, b} \frac{1}{2 \sum_i s_i} \sum_i s_i\, (y_i - o_i - f(x_i) - b)^2 + \frac{\lambda}{2} |f|_K^2
              \quad\Longleftrightarrow\quad
              \Big(K + \lambda \sum_i s_i\, \mathrm{diag}(s)^{-1}\Big) \alpha + b = y - o, \quad \sum_i \alpha_i = 0

    Args:
      X: (n, p) real, traced; with `kernels.Precomputed()` the kernel's values (n, n).
      y: (n,) or (n, k) for k targets at once, traced.
      l2: the penalty, above 0, a scalar, traced: scikit-learn's alpha is l2 * sum(sample_weight).
      kernel: one of `jaxinfra.kernels`, its numbers traced; None means `RBF(scale(X))`.
      sample_weight: (n,) not negative, traced; None means 1.  Weight 0 means that the row is absent, 2 that it
        stands there twice.
      offset: (n,) or y's shape, in units of y, traced; subtracted from y.
      init: accepted as in every `fit`; a direct method needs no start and ignores its values.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: the solution and most corrections of it together, at least 1, traced.
      fit_intercept: static; scikit-learn's KernelRidge has no intercept.

    Returns:
      Fit(params, info).  params: a Machine with coef (n,), 0 for rows of weight 0, and intercept (); (k, n) and (k,)
      for k targets.  info.optimality is the largest residual of the equations, relative to the largest |y - o|.

    Status: CONVERGED.  STALLED if rounding leaves a larger residual: a larger l2, or float64.  SINGULAR with NaN if l2
      or a weight is not above 0 where it has to be, or if the kernel's matrix is not positive definite with the
      penalty (a sigmoid kernel, say).  NONFINITE with NaN if the input holds NaN or inf.

    Precision: corrections with residuals in the working precision follow the factorisation; digits are lost to the
      condition number, about (largest eigenvalue of K) / (l2 * sum of weights).

    Derivatives: coef and intercept with respect to X, y, l2, kernel, sample_weight and offset, forward and reverse, all
      orders, exact.

    Cost: n^2 p flops for the kernel's matrix, n^3 / 3 for its factor.  Memory: two matrices n x n.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 2.0, 3.0])
    >>> fit = ji.check(ji.kernel_ridge.fit(X, y, l2=2 / 3, kernel=ji.kernels.Linear()))
    >>> print([f"{v:.2f}" for v in ji.kernel_ridge.predict(fit.params, X)])  # the line of slope (2/3) / (2/3 + 2/3)
    ['1.50', '2.00', '2.50']

    Source: Saunders, Gammerman and Vovk 1998; Rasmussen and Williams, Gaussian Processes (2006), algorithm 2.1.
    Elsewhere: sklearn.kernel_ridge.KernelRidge (without intercept).
    """
    verb = "kernel_ridge.fit"
    raw, dtype = _input(verb, X, y, l2, kernel, sample_weight, offset)
    if init is not None:
        _machine.initial(verb, init, raw.X.shape[0], dtype, 0 if raw.y.ndim == 1 else raw.y.shape[1])
    coef, intercept, kernel, info = _fit(
        raw, checks.tolerance(verb, tol, dtype), checks.count(verb, "max_iter", max_iter, 1),
        fit_intercept=checks.flag(verb, "fit_intercept", fit_intercept),
    )  # fmt: skip
    return Fit(Machine(coef, intercept, raw.X, kernel), info)


class _Input(NamedTuple):
    """The data as they were given."""

    X: Any
    y: Any
    l2: Any
    kernel: Any
    sample_weight: Any
    offset: Any


def _input(verb: str, X: Any, y: Any, l2: Any, kernel: Any, sample_weight: Any, offset: Any) -> tuple[_Input, np.dtype]:
    X, y, dtype = checks.design(verb, X, y)
    weights = checks.weights(verb, sample_weight, X, y)
    offset = checks.rows_like(verb, "offset", offset, X, y, columns=True)
    l2, kernel = _machine.positive(verb, "l2", l2, dtype), _machine.kernel(verb, kernel, X, dtype)
    X, weights = _machine.present(jnp.asarray(X, dtype), weights, kernel)
    return _Input(X, y, l2, kernel, weights, offset), dtype


class _Problem(NamedTuple):
    """Centred X, y - offset (n, k), l2 times the sum of weights, the kernel, the weights and the centre."""

    X: jax.Array
    y: jax.Array
    ridge: jax.Array
    kernel: Kernel
    w: jax.Array
    centre: jax.Array

    def times(self, a: jax.Array) -> jax.Array:
        """K a (n, k)."""
        live = kernel_rows.of(self.kernel, self.X, precomputed=isinstance(self.kernel, Precomputed), full=False)
        return jax.vmap(live.times, 1, 1)(a)


def _read(raw: _Input, fit_intercept: bool) -> _Problem:
    X, dtype = raw.X, raw.X.dtype
    y = jnp.asarray(raw.y, dtype)
    if raw.offset is not None:
        y = y - affine.as_rows(jnp.asarray(raw.offset, dtype), y)
    w = raw.sample_weight
    (y,) = absent.present(w, y)
    kernel = _machine.default(X, w) if raw.kernel is None else raw.kernel
    w = or_ones(w, X[:, 0])
    centre = jnp.zeros_like(X[0])
    if fit_intercept:
        X, centre = _linear_kernel.centred(X, kernel)
    return _Problem(X, y.reshape(len(y), -1), jnp.asarray(raw.l2, dtype) * w.sum(), kernel, w, centre)


def _size(y: jax.Array, w: jax.Array) -> jax.Array:
    """The largest |y|, the unit of residuals."""
    size = jnp.where(w[:, None] > 0, jnp.abs(y), 0).max()
    return positive(size)


class _Solution(NamedTuple):
    a: jax.Array  # (n, k)
    b: jax.Array  # (k,)


@partial(jax.jit, static_argnames="fit_intercept")
@rows.replicated
def _fit(
    raw: _Input, tol: jax.Array | None, max_iter: jax.Array, *, fit_intercept: bool
) -> tuple[jax.Array, jax.Array, Kernel, Info]:
    live = _read(raw, fit_intercept)
    fixed = implicit.frozen(live)
    X, y, ridge, kernel, w, _ = fixed
    dtype = X.dtype
    tol = tolerance(tol, dtype)
    sound = (w >= 0).all() & (w.sum() > 0) & (ridge > 0)
    work = kernel_rows.of(kernel, X, precomputed=isinstance(kernel, Precomputed), full=True)
    K = work.values
    assert K is not None
    finite = jnp.array(True)
    # The diagonal and the features are not where values overflow.
    for leaf in jax.tree.leaves((X, jnp.where(w[:, None] > 0, y, 0), ridge, kernel, w, work.features, diagonal(K))):
        finite &= jnp.isfinite(leaf).all()
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

    def left(s: _Solution) -> jax.Array:
        """What the equations of the rows lack, relative to y."""
        return S * (y - dot(K, s.a) - s.b[None]) - ridge * s.a / positive(S)

    size = _size(y, w)

    def correct(state: tuple[_Solution, jax.Array]) -> tuple[tuple[_Solution, jax.Array], Verdict]:
        """The next solution if it is nearer, and no other after it unless by half: the rest is rounding."""
        s, before = state
        z, c = bordered(left(s), -s.a.sum(0))
        new = _Solution(s.a + S * z, s.b + c)
        worst = jnp.abs(left(new)).max()
        better = ~(worst >= before)  # NaN goes on, to be reported
        s = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, s)
        done = (worst <= 0.01 * tol * size) | ~(worst < 0.5 * before)
        return (s, jnp.where(better, worst, before)), Verdict(done, jnp.int32(Status.CONVERGED))

    start = _Solution(jnp.zeros_like(y), jnp.zeros_like(y[0])), jnp.asarray(jnp.inf, dtype)
    (found, worst), _, n_iter = drive(correct, start, max_iter=max_iter)
    optimality = (jnp.maximum(worst, jnp.abs(found.a.sum(0)).max()) if fit_intercept else worst) / size

    # The derivative of  ridge a - w (y - K a - b) = 0,  sum a = 0,  at a = S z.
    def residual(s: _Solution) -> _Solution:
        r = live.y - live.times(s.a) - s.b[None]
        return _Solution(live.ridge * s.a - live.w[:, None] * r, s.a.sum(0) if fit_intercept else s.b)

    def inverse(u: _Solution) -> _Solution:
        z, c = bordered(-S * dot(K, u.a) / ridge, u.b - u.a.sum(0) / ridge)
        return _Solution(u.a / ridge + S * z, c if fit_intercept else u.b)

    def transposed(u: _Solution) -> _Solution:
        z, c = bordered(S * u.a, u.b)
        c = c if fit_intercept else u.b
        rest = c[None] if fit_intercept else jnp.zeros_like(c)[None]
        return _Solution((u.a - dot(K, S * z) - rest) / ridge, c)

    a, b = implicit.root(residual, found, inverse, transposed)
    r = y - dot(K, found.a) - found.b[None]
    value = 0.5 * (dot(w, jnp.where(w[:, None] > 0, r * r, 0)).sum() + ridge * (found.a * dot(K, found.a)).sum())
    status = jnp.where(optimality <= tol, Status.CONVERGED, Status.STALLED)
    if fit_intercept:
        b = _linear_kernel.outer(b, a.T, live.X, live.centre, kernel)
    coef, intercept = (a.T, b) if raw.y.ndim > 1 else (a[:, 0], b[0])
    fitted = finish(
        (coef, intercept),
        Info(status, n_iter, value / jnp.where(sound, w.sum(), 1), optimality),
        (finite, Status.NONFINITE),
        (sound & jnp.isfinite(optimality), Status.SINGULAR),
        (jnp.isfinite(value), Status.NONFINITE),
    )
    return *fitted.params, live.kernel, fitted.info


@public
def decision(params: Machine, X: Any) -> jax.Array:
    """sum_i coef_i k(vectors_i, x) + intercept, the predicted y: (m,) or (m, k).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0]), jnp.array(1.0), jnp.array([[1.0]]), ji.kernels.Linear())
    >>> print(ji.kernel_ridge.decision(at, jnp.array([[3.0]])))
    [7.]
    """
    return _machine.decision(params, _machine.prepare("kernel_ridge.decision", params, X))


@public
def predict(params: Machine, X: Any) -> jax.Array:
    """The predicted y, the same as `decision`: (m,) or (m, k).

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> at = ji.Machine(jnp.array([2.0]), jnp.array(1.0), jnp.array([[1.0]]), ji.kernels.Linear())
    >>> print(ji.kernel_ridge.predict(at, jnp.array([[3.0]])))
    [7.]
    """
    return _machine.decision(params, _machine.prepare("kernel_ridge.predict", params, X))


@public
def objective(params: Machine, X: Any, y: Any, *, l2: Any, sample_weight: Any = None, offset: Any = None) -> jax.Array:
    """Half the weighted mean of squared residuals plus half of l2 coef'K coef: what `fit` minimises.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[1.0]]), jnp.array([5.0])
    >>> at = ji.Machine(jnp.array([2.0]), jnp.array(1.0), X, ji.kernels.Linear())
    >>> print(ji.kernel_ridge.objective(at, X, y, l2=0.5))  # (5 - 3)^2 / 2 + 0.5 * 4 / 2
    3.0
    """
    raw, _ = _input("kernel_ridge.objective", X, y, l2, params.kernel, sample_weight, offset)
    return _values(params.coef, params.intercept, raw)[0]


@public
def optimality(
    params: Machine, X: Any, y: Any, *, l2: Any, sample_weight: Any = None, offset: Any = None,
    fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The largest residual of the equations, relative to the largest |y - offset|: zero at the solution.  A scalar.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([1.0, 2.0, 3.0])
    >>> fit = ji.kernel_ridge.fit(X, y, l2=2 / 3, kernel=ji.kernels.Linear())
    >>> bool(ji.kernel_ridge.optimality(fit.params, X, y, l2=2 / 3) < 1e-6)
    True
    """
    verb = "kernel_ridge.optimality"
    raw, _ = _input(verb, X, y, l2, params.kernel, sample_weight, offset)
    _, equations, total = _values(params.coef, params.intercept, raw)
    return jnp.maximum(equations, total) if checks.flag(verb, "fit_intercept", fit_intercept) else equations


@jax.jit
@rows.replicated
def _values(coef: jax.Array, intercept: jax.Array, raw: _Input) -> tuple[jax.Array, jax.Array, jax.Array]:
    problem = _read(raw, False)  # at any coef, whatever its sum
    _, y, ridge, _, w, _ = problem
    a = jnp.asarray(coef, y.dtype).reshape(-1, len(y)).T
    Ka = problem.times(a)
    r = y - Ka - jnp.asarray(intercept, y.dtype).reshape(1, -1)
    value = 0.5 * (dot(w, r * r).sum() + ridge * (a * Ka).sum()) / w.sum()
    S = jnp.sqrt(w)[:, None]
    equations = jnp.abs(S * r - ridge * a / positive(S)).max()
    size = _size(y, w)
    return value, equations / size, jnp.abs(a.sum(0)).max() / size


compact = partial(_machine.compact, "kernel_ridge.compact")
linear_coef = partial(_machine.linear_coef, "kernel_ridge.linear_coef")
