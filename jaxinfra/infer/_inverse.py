r"""The inverse of a second derivative H = V' diag(h) V + D, and which parameters H does not determine.

A Cholesky factor where H is well conditioned, else a basis from products of the rows themselves, which resolves
singular values of V down to rounding and not only to its square root (`solvers.linalg.rank_revealing`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxinfra._core.implicit import frozen
from jaxinfra._core.loop import when
from jaxinfra._core.precision import dot, eps
from jaxinfra.solvers.linalg import rank_revealing
from jaxinfra.solvers.linalg.cholesky import solve_root


class Inverse(NamedTuple):
    """The inverse H^-1 = root root' in the coordinates of V, a generalised one where H is singular; `back` (q, q) maps
    those coordinates to the parameters, and `undetermined` (q,) marks those that H does not determine.

    Where H is badly conditioned the product of H^-1 with the rows has lost its digits, that of the root has not:
    results from rows are formed in the white coordinates V root, in which H is the identity.
    """

    root: jax.Array
    undetermined: jax.Array
    back: jax.Array

    @property
    def outer(self) -> jax.Array:
        """The parameters' rows in white coordinates: (q, q)."""
        return dot(self.back, self.root)

    def white(self, V: jax.Array) -> jax.Array:
        """Rows (m, q) in white coordinates."""
        return dot(V, self.root)

    def inner(self, V: jax.Array, h: jax.Array) -> jax.Array:
        """The matrix V' diag(h) V in white coordinates: (q, q)."""
        A = self.white(V)
        return dot(A.T, h[:, None] * A)

    def apply(self, g: jax.Array) -> jax.Array:
        """The solution H^-1 g, (q,)."""
        return solve_root(self.root, g)

    @property
    def variance(self) -> jax.Array:
        """The diagonal of H^-1 in the coordinates of V: (q,)."""
        return (self.root**2).sum(1)

    def sandwich(self, meat: jax.Array) -> jax.Array:
        """The sandwich H^-1 M H^-1 of the parameters, M in white coordinates: NaN for undetermined parameters."""
        return self._marked(dot(self.outer, dot(meat, self.outer.T)))

    @property
    def plain(self) -> jax.Array:
        """The inverse H^-1 of the parameters: NaN for undetermined ones."""
        return self._marked(dot(self.outer, self.outer.T))

    def _marked(self, matrix: jax.Array) -> jax.Array:
        return jnp.where(self.undetermined[:, None] | self.undetermined[None], jnp.nan, matrix)


@jax.custom_jvp
def _follows(root: jax.Array, H: jax.Array) -> jax.Array:
    """Return `root` with a derivative for which root root' has that of the inverse of H at constant rank."""
    return root


@_follows.defjvp
def _follows_jvp(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]):  # type: ignore[no-untyped-def]
    root = _follows(*primals)
    return root, -0.5 * solve_root(root, dot(tangents[1], root))


def inverse(V: jax.Array, h: jax.Array, D: jax.Array, back: jax.Array, gauge: jax.Array | None = None) -> Inverse:
    """The inverse for V (n, q), whose columns are about 1, h (n,) and D (q, q).  gauge (q, g): orthonormal directions
    along which H is 0 and the parameters are 0 by convention; columns of zeros where a penalty decides.

    With no rows in V, H is D, of which everything below rounding is lost.
    """
    live = dot(V.T, h[:, None] * V)
    if gauge is not None:  # any curvature along it will do: the result has no part along it
        D = D + jnp.diagonal(live + D).mean() * dot(gauge, gauge.T)
    live = live + D
    V, h, D, H = frozen((V, h, D, live))
    n, q = V.shape
    unit = eps(H.dtype)

    def gram(T: jax.Array) -> jax.Array:
        A = dot(V, T[0])
        return (dot(A.T, h[:, None] * A) + dot(T[0].T, dot(D, T[0])))[None]

    f = rank_revealing.cholesky(H[None], jnp.ones((), H.dtype))
    # Singular values of the columns below this are rounding: V resolves them to eps, their squares in D to its root.
    least = 8 * q * unit if n else (64 * q * unit) ** 0.5
    robust = lambda _: rank_revealing.eigen(H[None], gram, jnp.zeros((1, q), H.dtype), least)  # noqa: E731
    f = when(~(f.error.max() < unit**0.6), robust, f)
    null, finite = f.null[0], jnp.isfinite(H).all()
    root = _follows(jnp.where(finite, f.T[0], jnp.nan), live)
    if gauge is not None:
        root = root - dot(gauge, dot(gauge.T, root))
    # A parameter is undetermined where a direction without curvature moves it by more than rounding.
    small = unit**0.3
    null = jnp.where(jnp.abs(null) > small, null, 0)
    moves = jnp.abs(dot(back, null)) > small * dot(jnp.abs(back), jnp.abs(null))
    return Inverse(root, moves.any(1) | ~finite, frozen(back))
