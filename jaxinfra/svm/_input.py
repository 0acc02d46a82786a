"""The input of the kernel machines: the data as they were given, checked, and hyper-parameters that are numbers."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra import kernels
from jaxinfra._core import absent, checks, labels, precision, rows
from jaxinfra.kernels import Kernel, Precomputed
from jaxinfra.svm import _linear_kernel

TOL = 1e-3  # libsvm's


class Given(NamedTuple):
    """The data as they were given, X and sample_weight by `present`.  hyper: C, nu, ..."""

    X: jax.Array
    y: Any
    hyper: tuple[Any, ...]
    kernel: Kernel | None
    sample_weight: Any
    class_weight: Any = None
    offset: Any = None


def check_real(
    verb: str, X: Any, y: Any, kernel: Any, sample_weight: Any, offset: Any = None, *, several: bool = False,
    any_units: bool = False,
) -> tuple[Given, np.dtype]:  # fmt: skip
    """The checked data without the hyper-parameters, and the working dtype.

    y: (n,), or None; several: or (n, k).  any_units: the fit is as fast in any units of the columns.
    """
    target = np.zeros(np.shape(X)[:1], np.float32) if y is None else y
    X, target, dtype = checks.design(verb, X, target)
    if target.ndim != 1 and not several:
        raise ValueError(f"{verb}: y must have shape (n,), got X {X.shape} and y {target.shape}")
    if y is None:
        dtype = checks.working_dtype(X)
    weights = checks.weights(verb, sample_weight, X, target)
    offset = checks.rows_like(verb, "offset", offset, X, target, columns=True)
    kernel = check_kernel(verb, kernel, X, dtype)
    if not any_units:
        _linear_kernel.warn_of_units(verb, X, weights, kernel)
    X, weights = present(jnp.asarray(X, dtype), weights, kernel)
    return Given(X, None if y is None else target, (), kernel, weights, None, offset), dtype


def check_classes(
    verb: str, X: Any, y: Any, kernel: Any, class_weight: Any, sample_weight: Any, n_classes: int | None
) -> tuple[Given, dict[str, Any], np.dtype]:
    """The checked data without the hyper-parameters, what is static, and the working dtype."""
    X, y, weights, K, dtype = labels.design(verb, X, y, n_classes, sample_weight, soft=False)
    capacity = X.shape[0]
    if not isinstance(y, jax.core.Tracer):
        # How many rows the largest pair of classes has: a shape, so it is read from labels that are known.
        counts = np.bincount(np.clip(np.asarray(y), 0, K - 1).astype(int), minlength=K)
        if n_classes is None and (counts > 0).sum() == 1:
            raise ValueError(f"{verb}: y holds the class {int(counts.argmax())} alone; a machine needs at least two")
        capacity = int(np.sort(counts)[-2:].sum())
    balanced, class_weight = labels.class_weight(verb, class_weight, K, dtype)
    kernel = check_kernel(verb, kernel, X, dtype)
    _linear_kernel.warn_of_units(verb, X, weights, kernel)
    X, weights = present(jnp.asarray(X, dtype), weights, kernel)
    static = {"classes": K, "balanced": balanced, "capacity": capacity}
    return Given(X, y, (), kernel, weights, class_weight), static, dtype


class Labels(NamedTuple):
    """Classified rows in the working dtype.

    limit (n,): the bound of the row's dual variable, which is its weight times that of its class, and times C where the
    machine has one; valid (): whether every label that counts is one of the classes; kernel: the given one or the
    default.
    """

    y: jax.Array
    limit: jax.Array
    valid: jax.Array
    kernel: Kernel


def read_classes(given: Given, classes: int, balanced: bool) -> Labels:
    """The labels, with the weights as limits."""
    dtype = given.X.dtype
    y = jnp.asarray(given.y).astype(jnp.int32)
    w = jnp.ones(y.shape, dtype) if given.sample_weight is None else given.sample_weight
    inside = (y >= 0) & (y < classes)
    y = jnp.clip(y, 0, classes - 1)  # as where the rows of pairs were counted
    member = (y[None] == jnp.arange(classes, dtype=jnp.int32)[:, None]).astype(dtype)
    factor = given.class_weight
    if balanced:
        each = (member * w[None]).sum(1)
        factor = each.sum() / classes / precision.positive(each)
    if factor is not None:
        w = w * factor[y]
    return Labels(y, w, (inside | (w == 0)).all(), kernel_of(given))


def _parts(kernel: Kernel, kind: type[Kernel]) -> list[Any]:
    """The kernels of a kind in a kernel, itself or in its sums and products."""
    leaves = jax.tree.leaves(kernel, is_leaf=lambda v: isinstance(v, kind))
    return [v for v in leaves if isinstance(v, kind)]


def contains(kernel: Kernel, kind: type[Kernel]) -> bool:
    """Whether a kernel is of a kind, or one of its sums and products is."""
    return bool(_parts(kernel, kind))


def _check_function(verb: str, custom: kernels.Custom, X: Any, dtype: Any) -> None:
    """Check that the function of a custom kernel returns real values, one for each pair of rows."""
    n = X.shape[0]
    rows, cast = jax.ShapeDtypeStruct(X.shape, dtype), kernels.cast(custom, dtype)
    found = jax.eval_shape(cast.between, rows, rows)
    name = f"{verb}: the function {getattr(custom.function, '__name__', custom.function)} of kernels.Custom"
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise TypeError(f"{name} must return an array, got {type(found).__name__}")
    if found.shape != (n, n):
        raise ValueError(f"{name} must return the values between two sets of rows, ({n}, {n}), got {found.shape}")
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise TypeError(f"{name} must return floating-point values, got {found.dtype}: divide or use astype({dtype})")


def check_kernel(verb: str, value: Any, X: Any, dtype: Any) -> Kernel | None:
    """The kernel with its numbers as arrays; None stays None, the default."""
    if value is None:
        return None
    if not isinstance(value, Kernel):
        hint = (
            f"; write kernels.Custom({getattr(value, '__name__', 'function')})"
            if callable(value) and not isinstance(value, type)
            else " such as kernels.RBF(0.5), kernels.Linear() or kernels.RBF(kernels.scale(X))"
        )
        raise TypeError(f"{verb}: kernel must be one of jaxinfra.kernels{hint}, got {value!r}")
    if not isinstance(value, Precomputed) and contains(value, Precomputed):
        raise ValueError(f"{verb}: add or multiply precomputed kernel values as arrays, got {value!r}")
    if isinstance(value, Precomputed) and X.shape[0] != X.shape[1]:
        raise ValueError(f"{verb}: a precomputed kernel must be square, got X {X.shape}")
    if isinstance(value, kernels.RBF) and np.ndim(value.gamma) and np.shape(value.gamma) != (X.shape[1],):
        raise ValueError(f"{verb}: gamma must be a number or ({X.shape[1]},), got {np.shape(value.gamma)}, X {X.shape}")
    for leaf in jax.tree.leaves(value):
        if isinstance(leaf, int | float | np.ndarray | np.generic) and not np.isfinite(leaf).all():
            raise ValueError(f"{verb}: the numbers of the kernel must be finite, got {value!r}")
    for custom in _parts(value, kernels.Custom):
        _check_function(verb, custom, X, dtype)
    return kernels.cast(value, dtype)


def present(X: jax.Array, w: Any, kernel: Kernel | None) -> tuple[jax.Array, jax.Array | None]:
    """The rows, and the weights in their dtype; far rows of weight 0 are replaced (`absent.filled`)."""
    return (X, None) if w is None else _present(X, w, precomputed=isinstance(kernel, Precomputed))


@partial(jax.jit, static_argnames="precomputed")
@rows.replicated
def _present(X: jax.Array, w: jax.Array, *, precomputed: bool) -> tuple[jax.Array, jax.Array]:
    X, w = absent.filled(X, absent.weights(w, X.dtype))
    if precomputed:
        X, w = absent.filled(X.T, w)
        X = X.T
    return X, w


def kernel_of(given: Given) -> Kernel:
    """The kernel that was given, or the default."""
    X, w = given.X, given.sample_weight
    return kernels.cast(kernels.RBF(kernels.scale(X, w)), X.dtype) if given.kernel is None else given.kernel


def positive(verb: str, name: str, value: Any, dtype: Any, shape: tuple[int, ...] = ()) -> Any:
    """A hyper-parameter that must be above 0 where it is known; a scalar, or of the given shape."""
    value = checks.hyper(verb, name, value, dtype, minimum=None)
    if value.shape not in ((), shape):
        expected = "a number" if shape == () else f"a number or of shape {shape}"
        raise ValueError(f"{verb}: {name} must be {expected}, got shape {value.shape}")
    if isinstance(value, np.ndarray | np.generic) and (np.asarray(value) <= 0).any():
        raise ValueError(f"{verb}: {name} must be above 0, got {name} = {value}")
    return value


def not_negative(verb: str, name: str, value: Any, dtype: Any) -> Any:
    """A hyper-parameter that is a number, at least 0 where it is known."""
    value = checks.hyper(verb, name, value, dtype)
    if value.shape != ():
        raise ValueError(f"{verb}: {name} must be a number, got shape {value.shape}")
    return value


def share(verb: str, name: str, value: Any, dtype: Any) -> Any:
    """A hyper-parameter above 0 and at most 1 where it is known."""
    value = positive(verb, name, value, dtype)
    if isinstance(value, np.ndarray | np.generic) and (np.asarray(value) > 1).any():
        raise ValueError(f"{verb}: {name} must be at most 1, got {name} = {value}")
    return value


def tolerance(verb: str, tol: Any, dtype: Any) -> Any:
    """The largest violation that counts as converged."""
    return checks.tolerance(verb, TOL if tol is None else tol, dtype)


def start(verb: str, init: Any, n: int, dtype: Any, pairs: int = 0) -> Any:
    """The coefficients of a machine to start from, (n,) or (pairs, n)."""
    if init is None:
        return None
    shape = (pairs, n) if pairs else (n,)
    if tuple(np.shape(init.coef)) != shape:
        raise ValueError(f"{verb}: init.coef must have shape {shape}, got {tuple(np.shape(init.coef))}")
    return checks.array(verb, "init.coef", init.coef).astype(dtype)
