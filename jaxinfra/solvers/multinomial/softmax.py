r"""The multinomial likelihood on scaled columns: one pass for value and gradient, the Hessian, and solves with it.

    f(W) = sum_i a_i logsumexp(eta_i) - sum_ik T_ik eta_ik + sum l2 W^2 / 2,   eta = Z W' + offset
    dloss/deta = a p - T,    H = sum_i a_i (diag(p_i) - p_i p_i') (x) z_i z_i' + diag(l2)

T (n, K) holds sample weight times class weight times label and sums to 1, a is its row sums: one array represents
weights, class weights and soft labels.  Classes come first, W (K, q) and eta (K, n): the softmax then runs over the
major axis, where it vectorises.  Columns are centred and scaled by a power of two; the intercept is the last column.

Adding a constant to a column of W over all classes leaves p as it is.  Where no penalty fixes that constant, the
symmetric gauge does: the classes sum to zero.  Adding the projector on that constant to H makes it regular there and
changes no step, since the gradient has no part along it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg

from jaxinfra._core.loop import when
from jaxinfra._core.precision import HIGHEST, dot, eps, positive
from jaxinfra._core.rows import sum_blocks
from jaxinfra._core.stages import WHOLE, Rare
from jaxinfra.solvers.linalg.cholesky import inverse_factor
from jaxinfra.solvers.linalg.design import root_mean_squares
from jaxinfra.solvers.linalg.products import diagonal, mirror, symmetric_product
from jaxinfra.solvers.linalg.scaled_factor import Factor

# Up to so many parameters the Hessian is formed; beyond, only its products with vectors.  Newton's method with it is
# not the faster one: 1.1 ms against 0.8 by limited-memory BFGS at 60 parameters, 9 against 1.3 at 210, 63 against 3 at
# 600.  But with a row 100 times as far as the others the latter does not converge in 43 of 120 fits of 126 and 104
# parameters; Newton's method converges in all.
DENSE = 640
# Columns up to which their matrix, here 64 MB, is formed and factored for a preconditioner.
FACTORED = 4096
# Classes up to which the Hessian takes one product a class; beyond, products of fixed width: 6 classes (2000 x 80) take
# 38 ms one by one, 63 in strips; 10 (2000 x 50) 46 and 43.
_STRIPS = 8


class ScaledData(NamedTuple):
    """Rows Z (n, q), scaled but for `objective`, T (n, K), offset (n, K) or None; l2 (K, q), l1 (K, q) or None."""

    Z: jax.Array
    T: jax.Array
    offset: jax.Array | None
    l2: jax.Array
    l1: jax.Array | None = None


def across(W: jax.Array, Z: jax.Array) -> jax.Array:
    """The product WZ' (K, n)."""
    return lax.dot_general(W, Z, (((1,), (1,)), ((), ())), precision=HIGHEST)


def log_softmax(W: jax.Array, Z: jax.Array, offset: jax.Array | None) -> jax.Array:
    """The log probabilities (K, n), never positive."""
    eta = across(W, Z)
    if offset is not None:
        eta = eta + offset.T
    eta = eta - eta.max(0)[None]
    return eta - jnp.log(jnp.exp(eta).sum(0))[None]


def value_and_gradient(data: ScaledData, W: jax.Array, *, blocked: bool) -> tuple[jax.Array, jax.Array]:
    """The smooth part f of the objective and its gradient (K, q), in one pass."""

    def sums(Z: jax.Array, T: jax.Array, offset: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        T = T.T
        logp = log_softmax(W, Z, offset)
        # A label of weight 0 may have log p = -inf.
        loss = -jnp.where(T > 0, T * logp, 0).sum()
        return loss, dot(jnp.exp(logp) * T.sum(0)[None] - T, Z)

    loss, g = sum_blocks(sums, (data.Z, data.T, data.offset), blocked=blocked)
    return loss + 0.5 * (data.l2 * W * W).sum(), g + data.l2 * W


def gauge(data: ScaledData, size: jax.Array) -> jax.Array:
    """The array (q,) with `size` where no penalty fixes the constant over classes, else 0."""
    penalty = data.l2 if data.l1 is None else data.l2 + data.l1
    return jnp.where(penalty.sum(0) == 0, size, 0)


def symmetric(data: ScaledData, W: jax.Array) -> jax.Array:
    """Move W to the symmetric gauge, where no penalty or a smooth one decides it: least |W|^2, or the least penalty."""
    if data.l1 is not None:
        return W - W.mean(0)[None] * gauge(data, jnp.ones_like(W[0]))[None]
    total = data.l2.sum(0)[None]
    share = jnp.where(total > 0, data.l2 / positive(total), 1 / len(W))
    return W - (share * W).sum(0)[None]


def hessian(data: ScaledData, W: jax.Array, *, blocked: bool) -> jax.Array:
    """The Hessian with the gauge term (Kq, Kq), classes first, in one pass.

    Only the blocks -sum_i a_i p_ik p_il z_i z_i' between classes k < l are summed.  A row of blocks adds up to zero, so
    they give those on the diagonal too, at a third of the flops and without cancellation where p is near 0 or 1.
    """
    K, q = W.shape

    def sums(Z: jax.Array, T: jax.Array, offset: jax.Array | None) -> jax.Array:
        P = jnp.exp(log_softmax(W, Z, offset)).T
        M = P[:, :, None] * (Z * jnp.sqrt(T.sum(1))[:, None])[:, None, :]
        M = M.reshape(-1, K * q)
        if K > _STRIPS:
            return symmetric_product(M, M)
        strips = [dot(M[:, k * q : (k + 1) * q].T, M[:, (k + 1) * q :]) for k in range(K - 1)]
        return jnp.concatenate([jnp.pad(s, ((0, 0), (K * q - s.shape[1], 0))) for s in strips])

    C = sum_blocks(sums, (data.Z, data.T, data.offset), blocked=blocked)
    classes = jnp.arange(K)
    if K > _STRIPS:
        C = mirror(C).reshape(K, q, K, q)
        C = jnp.where((classes[:, None] == classes[None])[:, None, :, None], 0, C)
    else:
        C = jnp.pad(C, ((0, q), (0, 0))).reshape(K, q, K, q)
        C = C + C.transpose(2, 1, 0, 3)  # each block is symmetric
    D = C.sum(2)
    size = diagonal(D).mean(0)
    same = jnp.eye(q, dtype=W.dtype) * gauge(data, size)[None] / K
    eye = jnp.eye(K, dtype=W.dtype)
    blocks = eye[:, None, :, None] * D[:, :, None, :] - C + jnp.broadcast_to(same[None, :, None, :], C.shape)
    return blocks.reshape(K * q, K * q) + jnp.diag(data.l2.reshape(-1))


def factor(H: jax.Array, free: jax.Array | None = None, rare: Rare = WHOLE) -> Factor:
    """The factor of H (Kq, Kq), on the `free` (K, q) parameters alone.

    A ridge of the size of rounding makes it regular where columns are duplicated: less than that of `inverse_root`,
    with which ill-conditioned fits of 255 parameters took 69 steps and not 6.  The second is for sums over rows that
    have rounded more than the first compensates.
    """
    ridge = 8 * eps(H.dtype)
    mask = None if free is None else free.reshape(-1)
    return Factor.of(H, mask, ridges=(ridge, 30 * len(H) ** 0.5 * ridge), rare=rare)


def product(data: ScaledData, W: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """The map V -> HV with the gauge term, for V (K, q): two products with Z."""
    P = jnp.exp(log_softmax(W, data.Z, data.offset))
    a = data.T.sum(1)[None]
    unit = gauge(data, jnp.ones_like(W[0]))[None]

    def times(V: jax.Array) -> jax.Array:
        E = P * across(V, data.Z)
        return dot(a * (E - P * E.sum(0)[None]), data.Z) + data.l2 * V + unit * V.mean(0)[None]

    return times


class Curvature(NamedTuple):
    """An approximate H^-1: diag(scale) L'L diag(scale) for all classes, or diag(scale)^2 where L is None: more columns
    than `FACTORED`."""

    scale: jax.Array
    L: jax.Array | None

    @classmethod
    def of(cls, data: ScaledData, W: jax.Array, *, blocked: bool, rare: Rare = WHOLE) -> Curvature:
        """At W (K, q), in float32.

        H is I (x) Z' diag(a s) Z + l2 with s_i the mean eigenvalue (1 - sum_k p_ik^2) / (K - 1) of diag(p_i) - p_i p_i'
        off the constants.  Rows that are classified with certainty contribute nothing, unlike in the bound s = 1/2 of
        Boehning 1992: on handwritten digits (5000 x 784, 10 classes) the bound takes 4 times as many iterations.
        """
        K, q = W.shape
        P = jnp.exp(log_softmax(W, data.Z, data.offset))
        s = data.T.sum(1) * (1 - (P * P).sum(0)) / (K - 1)
        l2 = data.l2.mean(0)
        size = dot(s, data.Z * data.Z) + l2
        scale = lax.rsqrt(positive(size))
        if q > FACTORED:
            return cls(scale, None)

        def sums(Z: jax.Array, s: jax.Array) -> jax.Array:
            Zr = (Z * jnp.sqrt(s)[:, None] * scale[None]).astype(jnp.float32)
            return symmetric_product(Zr, Zr)

        G = mirror(sum_blocks(sums, (data.Z, s), blocked=blocked)) + jnp.diag((l2 * scale * scale).astype(jnp.float32))
        factor = lambda ridge: inverse_factor((G + ridge * jnp.eye(q, dtype=jnp.float32))[None])[0]  # noqa: E731
        # The ridge keeps every eigenvalue above rounding: the second one where there are many more columns than rows.
        # Half and twice the first one: 4 and 7 % fewer steps over 20 fits, all in one of them.
        L = factor(1e-5)
        if not rare.lean:
            L = when(~jnp.isfinite(L.sum()), lambda _: factor(1e-3), L)
        return cls(scale, L)

    def solve(self, b: jax.Array) -> jax.Array:
        """The approximate H^-1 b for b (K, q)."""
        if self.L is None:
            return b * (self.scale * self.scale)[None]
        b = (b * self.scale[None]).astype(jnp.float32)
        return dot(dot(b, self.L.T), self.L).astype(self.scale.dtype) * self.scale[None]


def iterative(
    data: ScaledData, W: jax.Array, near: Callable[[jax.Array], jax.Array], free: jax.Array | None, tol: float,
    limit: int,
) -> Callable[[jax.Array], jax.Array]:  # fmt: skip
    """The map b -> H^-1 b by conjugate gradients with `near` as preconditioner, on the `free` parameters alone."""
    times = product(data, W)
    on = (lambda v: v) if free is None else (lambda v: jnp.where(free, v, 0))

    def solve(b: jax.Array) -> jax.Array:
        return on(cg(lambda v: on(times(on(v))), on(b), tol=tol, maxiter=limit, M=lambda v: on(near(on(v))))[0])

    return solve


class Units(NamedTuple):
    """Units in which a gradient is scale-free: rms of the columns, without rows far from all others as in
    `column_norms`, times the rms of dloss/deta in the intercept-only model."""

    column: jax.Array

    @classmethod
    def of(cls, data: ScaledData, intercept: jax.Array, noise: jax.Array) -> Units:
        """The units from intercept (K,), of the intercept-only model, and noise (q,), the rounding of the columns."""
        a = data.T.sum(1)
        eta = jnp.broadcast_to(intercept[:, None], data.T.T.shape)
        if data.offset is not None:
            eta = eta + data.offset.T
        r = jax.nn.softmax(eta, 0) * a[None] - data.T.T
        square = (r * r / positive(a)[None]).sum() / eta.shape[0]
        return cls(root_mean_squares(data.Z, a, centre=False, noise=noise) * jnp.sqrt(square))

    @property
    def each(self) -> jax.Array:
        """The units (q,), infinite for columns of zeros."""
        return jnp.where(self.column > 0, self.column, jnp.inf)

    def largest(self, v: jax.Array, more: jax.Array | None = None) -> jax.Array:
        """The largest |v_kj| / unit_j, without columns of zeros.  more (K, q): added to the units."""
        return (jnp.abs(v) / (self.each[None] if more is None else self.each[None] + more)).max()
