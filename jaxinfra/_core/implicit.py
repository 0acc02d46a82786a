r"""Derivatives from the optimality conditions, not from unrolling.

If x*(θ) solves F(x, θ) = 0, the implicit function theorem gives  dx* = -(∂F/∂x)^{-1} (∂F/∂θ) dθ.  `root` attaches
this rule to a solution that any algorithm found; it holds for forward and reverse mode, for every order, and under
`vmap` in either order, because it is `lax.custom_root` around `lax.custom_linear_solve`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
from jax import lax
from jax.flatten_util import ravel_pytree

X = TypeVar("X")


def root(
    residual: Callable[[X], X],
    solution: X,
    solve: Callable[[X], X],
    transpose_solve: Callable[[X], X] | None = None,
) -> X:
    """Return `solution` as it is, differentiable through `residual(solution) = 0`.

    Args:
      residual: F(x), closing over the *live* (differentiated) data; it has the structure of x, floats only: no
        integers such as n_iter.
      solution: x*, found by any algorithm; its own derivatives are stopped here.
      solve: b -> (∂F/∂x)^{-1} b at x*, closing over constants such as a factorisation from the fit.
      transpose_solve: b -> (∂F/∂x)^{-T} b; None means that ∂F/∂x is symmetric.
    """
    solution = lax.stop_gradient(solution)

    def tangent_solve(linear: Callable[[X], X], b: X) -> X:
        # As one vector: a leaf of b that does not depend on the differentiated data could not be transposed alone.
        flat, unravel = ravel_pytree(b)

        def on_vectors(fn: Callable[[X], X]) -> Callable[[jax.Array], jax.Array]:
            return lambda v: ravel_pytree(fn(unravel(v)))[0]

        # The linear map depends on live data, so that a second derivative differentiates it too.
        x = lax.custom_linear_solve(
            on_vectors(linear),
            flat,
            solve=lambda _, rhs: on_vectors(solve)(rhs),
            transpose_solve=lambda _, rhs: on_vectors(transpose_solve or solve)(rhs),
            symmetric=transpose_solve is None,
        )
        return unravel(x)

    return lax.custom_root(residual, solution, lambda _, x: x, tangent_solve)


def frozen(tree: X) -> X:
    """A pytree as constants: the solver runs on these, the residual on the live data."""
    return jax.tree.map(lax.stop_gradient, tree)
