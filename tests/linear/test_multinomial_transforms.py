"""Multinomial logistic regression: paths, batches and derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import multinomial
from tests.multinomials import ACCURACY, DTYPES, close, problem


@pytest.mark.slow
def test_path_is_the_fits():
    X, y = problem()
    l2 = np.array([1.0, 0.1, 0.01])
    path = multinomial.path(X, y, l2=l2)
    both = multinomial.path(X, y, l1=np.array([0.05, 0.02, 0.01]), l2=0.01)
    by_class = multinomial.path(X, y, l2=l2[:, None] * np.array([1.0, 2.0, 3.0]))
    for i in range(3):
        close((path.params.coef[i], path.params.intercept[i]), multinomial.fit(X, y, l2=l2[i]).params, 1e-6)
        one = multinomial.fit(X, y, l1=[0.05, 0.02, 0.01][i], l2=0.01).params
        close((both.params.coef[i], both.params.intercept[i]), one, 1e-6)
        one = multinomial.fit(X, y, l2=l2[i] * np.array([1.0, 2.0, 3.0])).params
        close((by_class.params.coef[i], by_class.params.intercept[i]), one, 1e-6)
    with pytest.raises(ValueError, match="multinomial.path: l1 or l2 must have a leading axis"):
        multinomial.path(X, y, l1=0.1)


@pytest.mark.slow
def test_second_call_compiles_nothing(compilations):
    X, y = problem()
    multinomial.fit(X, y, l1=0.1, l2=0.1, tol=1e-7, max_iter=50)
    multinomial.fit(X, y, l2=0.1, class_weight=[1.0, 2.0, 1.0])
    X, y = problem(seed=1)
    with compilations() as count:
        multinomial.fit(X, y, l1=0.2, l2=0.0, tol=1e-6, max_iter=60)
        multinomial.fit(X, y, l2=0.3, class_weight=[3.0, 2.0, 1.0])
    assert count[0] == 0


@pytest.mark.slow
@DTYPES
@pytest.mark.parametrize("hyper", [{"l2": 0.02}, {"l1": 0.03}], ids=["l2", "l1"])
def test_vmap(dtype, hyper):
    X, y = problem()
    X = X.astype(dtype)
    tol, rel = ACCURACY[dtype]
    ((name, value),) = hyper.items()
    values = dtype(value) * np.array([1, 2, 0.5], dtype)
    weights = np.random.default_rng(0).uniform(0.5, 2, (3, len(y))).astype(dtype)
    weights[2, ::5] = 0

    def one(w, v):
        return multinomial.fit(X, y, sample_weight=w, n_classes=3, tol=dtype(tol), **{name: v})

    together = jax.jit(jax.vmap(one))
    batch = together(weights, values)
    loop = [one(w, v) for w, v in zip(weights, values, strict=True)]
    assert (np.asarray(batch.info.status) == 0).all()
    for i in range(3):
        close([leaf[i] for leaf in batch.params], loop[i].params, rel)
    weights[1, 4] = np.nan
    spoiled = together(weights, values)
    assert list(np.asarray(spoiled.info.status)) == [0, ji.Status.NONFINITE, 0]
    assert np.isnan(np.asarray(spoiled.params.coef[1])).all()
    for i in (0, 2):
        close([leaf[i] for leaf in spoiled.params], loop[i].params, rel)


DERIVATIVES = {"l2": {"l2": 0.02}, "elastic net": {"l1": 0.02, "l2": 0.02}, "many": {"l2": 0.05}}


@pytest.mark.slow
@pytest.mark.parametrize("hyper", [pytest.param(v, id=k) for k, v in DERIVATIVES.items()])
def test_derivatives(hyper):
    """jvp and vjp against central differences of a tight fit, and against each other."""
    many = hyper == {"l2": 0.05}
    X, y = problem(n=60, p=240) if many else problem(n=60, p=4)
    K, rng = 3, np.random.default_rng(3)
    # Away from the corners of the simplex, where a step would leave it.
    soft = 0.8 * np.eye(K)[y] + 0.2 / K
    arguments = {"X": X, "y": soft, "sample_weight": rng.uniform(0.5, 2, len(y))}
    arguments |= {"offset": 0.1 * rng.standard_normal((len(y), K)), **{k: np.float64(v) for k, v in hyper.items()}}

    def params(arguments):
        rest = {k: v for k, v in arguments.items() if k not in ("X", "y")}
        return multinomial.fit(arguments["X"], arguments["y"], tol=1e-12, **rest).params

    direction = {k: 0.1 * rng.standard_normal(np.shape(v)) for k, v in arguments.items()}
    direction["y"] -= direction["y"].mean(1, keepdims=True)
    direction |= {k: 0.1 * np.float64(v) for k, v in hyper.items()}
    cotangent = jax.tree.map(lambda v: rng.standard_normal(v.shape), jax.eval_shape(params, arguments))

    @jax.jit
    def derivatives(a):
        value, push = jax.linearize(params, a)
        return value, push(direction), jax.linear_transpose(push, a)(cotangent)[0]

    _, tangent, back = derivatives(arguments)
    step = 1e-4
    moved = [jax.tree.map(lambda a, d, s=s: a + s * step * d, arguments, direction) for s in (1, -1)]
    plus, minus = (derivatives(m)[0] for m in moved)
    central = jax.tree.map(lambda a, b: (a - b) / (2 * step), plus, minus)
    size = max(float(jnp.abs(leaf).max()) for leaf in central)
    close(tangent, central, 1e-5 * size)
    forward = sum(float(jnp.vdot(a, b)) for a, b in zip(tangent, cotangent, strict=True))
    reverse = sum(float(jnp.vdot(jnp.asarray(back[k]), direction[k])) for k in arguments)
    assert abs(forward - reverse) < 1e-7 * max(1, abs(forward))


@pytest.mark.slow
def test_vmap_of_grad():
    X, y = problem(n=60, p=4)

    def loss(l2):
        return (multinomial.fit(X, y, l2=l2, n_classes=3, tol=1e-12).params.coef ** 2).sum()

    grad = jax.jit(jax.grad(loss))
    each = [float(grad(v)) for v in (0.02, 0.05)]
    np.testing.assert_allclose(jax.vmap(grad)(jnp.array([0.02, 0.05])), each, rtol=1e-8)


@pytest.mark.slow
def test_derivative_of_a_path():
    X, y = problem(n=60, p=4)

    def total(scale):
        return (
            multinomial.path(X, y, l1=scale * jnp.array([0.05, 0.02]), n_classes=3, tol=1e-12).params.coef ** 2
        ).sum()

    step, both = 1e-5, jax.jit(jax.value_and_grad(total))
    assert abs(both(1.0)[1] - (both(1 + step)[0] - both(1 - step)[0]) / (2 * step)) < 1e-5
