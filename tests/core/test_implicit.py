"""The implicit-derivative helper alone: jvp, grad, hessian, vmap in both orders, float32 and float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinfra._core import implicit

pytestmark = pytest.mark.core


def cube_root(a):
    """The root x of x^3 + x = a, by Newton steps through which no derivative goes."""

    def body(_, x):
        return x - (x**3 + x - a_) / (3 * x**2 + 1)

    a_ = jax.lax.stop_gradient(a)
    x = jax.lax.fori_loop(0, 50, body, jnp.ones_like(a))
    slope = 3 * x**2 + 1
    return implicit.root(lambda x: x**3 + x - a, x, lambda b: b / slope)


def closed_form(a):
    """First and second derivative of cube_root."""
    x = np.roots([1, 0, 1, -float(a)])
    x = float(x[np.abs(x.imag) < 1e-12].real[0])
    first = 1 / (3 * x**2 + 1)
    return x, first, -6 * x * first**3


@pytest.mark.parametrize("dtype, tol", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_scalar_root(dtype, tol):
    a = dtype(3.0)
    x, first, second = closed_form(a)
    assert abs(cube_root(a) - x) < tol
    assert abs(jax.jvp(cube_root, (a,), (dtype(1),))[1] - first) < tol
    assert abs(jax.grad(cube_root)(a) - first) < tol
    assert jax.grad(cube_root)(a).dtype == dtype
    assert abs(jax.grad(jax.grad(cube_root))(a) - second) < 10 * tol
    assert abs(jax.hessian(cube_root)(a) - second) < 10 * tol
    assert abs(jax.jacfwd(jax.jacfwd(cube_root))(a) - second) < 10 * tol


@pytest.mark.parametrize("dtype, tol", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_vmap_in_both_orders(dtype, tol):
    a = np.array([0.5, 2.0, 10.0], dtype)
    each = np.array([closed_form(v)[1] for v in a])
    np.testing.assert_allclose(jax.vmap(jax.grad(cube_root))(a), each, rtol=tol)
    np.testing.assert_allclose(jax.grad(lambda a: jax.vmap(cube_root)(a).sum())(a), each, rtol=tol)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(cube_root)))(a), each, rtol=tol)


def solve(A, b, **kwargs):
    """A x + x^3 = b by Newton, A not symmetric; the pair (x, sum x) as a structured unknown."""
    A_, b_ = implicit.frozen((A, b))
    x = jnp.zeros_like(b)
    x = jax.lax.fori_loop(0, 30, lambda _, x: x - jnp.linalg.solve(A_ + jnp.diag(3 * x**2), A_ @ x + x**3 - b_), x)
    J = A_ + jnp.diag(3 * x**2)
    n = len(b)

    def residual(u):
        x, s = u
        return A @ x + x**3 - b, s - x.sum()

    def inverse(u):
        dx = jnp.linalg.solve(J, u[0])
        return dx, u[1] + dx.sum()

    def transposed(u):
        return jnp.linalg.solve(J.T, u[0] + u[1] * jnp.ones(n, b.dtype)), u[1]

    return implicit.root(residual, (x, x.sum()), inverse, transposed)


def test_structured_and_unsymmetric(rng):
    A = 3 * np.eye(4) + 0.5 * rng.standard_normal((4, 4))
    b = rng.standard_normal(4)
    loss = jax.jit(lambda A, b: (solve(A, b)[0] ** 2).sum() + solve(A, b)[1] ** 3)
    for argnum in (0, 1):  # only b live: a part of the residual does not depend on it
        grad = jax.jit(jax.grad(loss, argnum))
        value = grad(A, b)
        d = rng.standard_normal(value.shape)
        step = 1e-5

        def along(s, d=d, argnum=argnum):
            return (A + s * d, b) if argnum == 0 else (A, b + s * d)

        slope = (loss(*along(step)) - loss(*along(-step))) / (2 * step)
        assert abs(np.vdot(value, d) - slope) < 1e-8
        forward = jax.jvp(lambda s, along=along: loss(*along(s)), (0.0,), (1.0,))[1]
        assert abs(forward - slope) < 1e-8
        hessian = jax.jit(jax.hessian(loss, argnum))(A, b)
        change = (grad(*along(step)) - grad(*along(-step))) / (2 * step)
        np.testing.assert_allclose(np.tensordot(hessian, d, d.ndim), change, atol=1e-7)


def test_solution_passes_unchanged():
    """The value is the given solution, even where it does not solve the residual."""
    assert implicit.root(lambda x: x - 1.0, jnp.float64(5.0), lambda b: b) == 5.0
