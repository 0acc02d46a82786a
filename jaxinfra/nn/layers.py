"""The parts of the networks: dense layers, norms, dropout, embeddings, activations, heads, and their starts.

Every layer is a function of a NamedTuple of arrays and its input.  Nothing here keeps state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxinfra._core import show
from jaxinfra._core.types import short_repr

Array = jax.Array
T = TypeVar("T")

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "elu": jax.nn.elu,
    "swish": jax.nn.swish,
    "identity": lambda x: x,
}
MONOTONE = ("relu", "tanh", "sigmoid", "elu", "identity")  # activations that commute with a maximum


@short_repr
class Affine(NamedTuple):
    """Parameters of `x @ kernel + bias`.

    kernel: (inputs, outputs) or, of a convolution, (height, width, inputs, outputs).
    bias: (outputs,).
    """

    kernel: Array
    bias: Array


@short_repr
class Norm(NamedTuple):
    """Parameters of a layer norm: scale (features,) and bias (features,)."""

    scale: Array
    bias: Array


def network(kind: type[T]) -> type[T]:
    """Make a class of parameters print their number and what each field holds, not pages of numbers."""

    def __repr__(self: Any) -> str:
        return f"{kind.__name__}({show.joined([show.count(self), *show.fields(self)])})"

    kind.__repr__ = __repr__  # type: ignore[method-assign, assignment]
    return kind


def dense(params: Affine, x: Array) -> Array:
    """A dense layer: `x @ kernel + bias` over the last axis of x.

    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import layers
    >>> print(layers.dense(layers.Affine(jnp.ones((2, 1)), jnp.array([0.5])), jnp.array([[1.0, 2.0]])))
    [[3.5]]
    """
    return x @ params.kernel + params.bias.reshape((1,) * (x.ndim - 1) + (-1,))


def layer_norm(params: Norm, x: Array, epsilon: float = 1e-6) -> Array:
    """Layer norm: `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last axis.

    Args:
      params: Norm, traced.
      x: (..., features), traced.
      epsilon: in units of x^2; keeps the derivative finite where x is constant.

    Source: Ba, Kiros and Hinton 2016.
    """
    shape = (1,) * (x.ndim - 1) + (-1,)
    centred = x - x.mean(-1, keepdims=True)
    deviation = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)
    return centred * deviation * params.scale.reshape(shape) + params.bias.reshape(shape)


def dropout(key: Array | None, x: Array, rate: float) -> Array:
    """Dropout: each entry of x set to 0 with probability `rate`, the others divided by 1 - rate.

    Args:
      key: a `jax.random.key`, traced; None drops nothing.
      x: an array of any shape, traced.
      rate: from 0 to below 1, static.
    """
    if key is None or rate == 0:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), jnp.zeros_like(x))


def split(key: Array | None, count: int) -> list[Any]:
    """Split a key into `count` keys; None gives as many None, with which layers drop nothing."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def head(params: Affine, x: Array) -> Array:
    """The logits: (..., K), or (...) for a head of one output, whose logit is that of class 1."""
    logits = dense(params, x)
    return logits[..., 0] if params.bias.shape[0] == 1 else logits


def probabilities(logits: Array, outputs: int) -> Array:
    """The probabilities of logits: softmax over the K classes, or the sigmoid of the single logit (outputs = 1)."""
    return jax.nn.sigmoid(logits) if outputs == 1 else jax.nn.softmax(logits, -1)


def labels(logits: Array, outputs: int) -> Array:
    """The likeliest class of logits, int32: the first of the largest, or whether the single logit is above 0."""
    if outputs == 1:
        return (logits > 0).astype(jnp.int32)
    return jnp.argmax(logits, -1).astype(jnp.int32)


def start_affine(key: Array, shape: tuple[int, ...], dtype: DTypeLike, activation: str = "identity") -> Affine:
    """Random `Affine`: He's normal start before a relu-like activation, Glorot's uniform one elsewhere; biases 0.

    Args:
      key: a `jax.random.key`, traced.
      shape: of the kernel, outputs last, static.
      dtype: of both arrays, static.
      activation: a name in `ACTIVATIONS`, static; relu-like are "relu", "gelu", "elu" and "swish".

    Source: He, Zhang, Ren and Sun 2015; Glorot and Bengio 2010.
    """
    relu_like = activation in ("relu", "gelu", "elu", "swish")
    start = nnx.initializers.he_normal() if relu_like else nnx.initializers.glorot_uniform()
    return Affine(start(key, shape, dtype), jnp.zeros(shape[-1:], dtype))


def start_norm(features: int, dtype: DTypeLike) -> Norm:
    """A `Norm` with scale 1 and bias 0."""
    return Norm(jnp.ones((features,), dtype), jnp.zeros((features,), dtype))


def start_embedding(key: Array, vocabulary: int, features: int, dtype: DTypeLike, deviation: float = 0.02) -> Array:
    """A random table (vocabulary, features), normal; the standard deviation 0.02 is that of Devlin et al. 2019."""
    return nnx.initializers.normal(deviation)(key, (vocabulary, features), dtype)


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def positive(verb: str, **sizes: int) -> None:
    """Raise a ValueError unless every size is a positive integer."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{verb}: {name} must be a positive integer, got {size!r}")


def choice(verb: str, name: str, value: str, allowed: Collection[str]) -> None:
    """Raise a ValueError unless the value is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{verb}: {name} must be one of {', '.join(allowed)}, got {value!r}")


def share(verb: str, name: str, value: float) -> None:
    """Raise a ValueError unless the value is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{verb}: {name} must lie in [0, 1), got {value}")


def start_dtype(verb: str, dtype: DTypeLike) -> np.dtype:
    """The dtype of parameters, or a TypeError unless it is floating and one that JAX's current mode has."""
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{verb}: dtype must be a floating type, got {dtype}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise TypeError(f'{verb}: {dtype} needs jax.config.update("jax_enable_x64", True) before the first use of JAX')
    return dtype


def inputs(verb: str, x: ArrayLike, shape: tuple[int | None, ...], dtype: DTypeLike) -> Array:
    """The input x as an array of the parameters' dtype, checked.

    Raises:
      ValueError unless it has the shape given (None: any size).  TypeError for complex numbers.
    """
    x = jnp.asarray(x)
    names = ", ".join(str(size) if size is not None else letter for size, letter in zip(shape, "ntuv", strict=False))
    wrong = x.ndim != len(shape) or any(size not in (None, got) for size, got in zip(shape, x.shape, strict=True))
    require(not wrong, f"{verb}: x must have shape ({names}), got {x.shape}")
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{verb}: x must hold real numbers, got {x.dtype}")
    return x.astype(dtype)


def tokens(verb: str, x: ArrayLike, vocabulary: int, mask: ArrayLike | None) -> Array:
    """The tokens x (n, t), integers 0..vocabulary-1, as an array, checked.

    Raises:
      ValueError unless the shape is (n, t), and, where x and mask are on the host, for a token outside the vocabulary
      in a real step.  TypeError for a dtype that is not integer.
    """
    if not (isinstance(x, jax.Array) or isinstance(mask, jax.Array)):
        x = np.asarray(x)
        seen = x if mask is None or np.shape(mask) != x.shape else x[np.asarray(mask, bool)]
        if seen.size and np.issubdtype(x.dtype, np.integer) and (seen.min() < 0 or seen.max() >= vocabulary):
            raise ValueError(f"{verb}: tokens must lie in 0..{vocabulary - 1}, got {seen.min()}..{seen.max()}")
    x = jnp.asarray(x)
    require(x.ndim == 2, f"{verb}: x must have shape (n, t) with a vocabulary, got {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{verb}: x must hold integers with a vocabulary, got {x.dtype}")
    return x


def embed(table: Array, x: Array) -> Array:
    """The embeddings of tokens: the rows x (n, t) of the table (vocabulary, features), NaN for a token outside it."""
    x = x.astype(jnp.int32) if x.dtype.itemsize < 4 else x  # a narrow type may not hold the vocabulary's size
    inside = jnp.where(x < 0, jnp.asarray(table.shape[0], x.dtype), x)
    return table.at[inside].get(mode="fill", fill_value=jnp.nan)


def blank(x: Array, mask: Array | None) -> Array:
    """The input x (n, t, ...) with 0 in the masked steps: a NaN there times a weight of 0 would be NaN."""
    if mask is None:
        return x
    return jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, jnp.zeros((), x.dtype))


def steps(verb: str, mask: ArrayLike | None, x: Array) -> Array | None:
    """The mask (n, t) bool of x (n, t, ...) as an array, checked; None stays None.

    Raises:
      ValueError for another shape than that of the steps of x.  TypeError for a mask that is not boolean.
    """
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    require(mask.shape == x.shape[:2], f"{verb}: mask must have shape {x.shape[:2]} as x {x.shape}, got {mask.shape}")
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{verb}: mask must be boolean (True: a real step), got {mask.dtype}")
    return mask


POOLS = ("last", "mean", "max", "none", "first")


def pool_steps(h: Array, mask: Array | None, pool: str) -> Array:
    """Pool the real steps of h (n, t, d) into (n, d).

    Args:
      h: (n, t, d), traced.
      mask: (n, t) bool, True for real steps, traced; None: all are.
      pool: "mean", "max", "first", "last" or "none" (h as it is), static.

    Returns:
      (n, d), or h with "none".  Without any real step the mean and the maximum are 0, the first and the last are those
      of position 0.
    """
    if pool == "none":
        return h
    if mask is None:
        mask = jnp.ones(h.shape[:2], bool)
    real, zero = mask[:, :, None], jnp.zeros((), h.dtype)
    if pool == "mean":
        count = jnp.maximum(mask.sum(1, dtype=jnp.int32), jnp.int32(1)).astype(h.dtype)
        return jnp.where(real, h, zero).sum(1) / count[:, None]
    # By its place: the gradient of a maximum compares values, which XLA may have computed twice, rounded differently.
    if pool == "max":
        place = jnp.argmax(jnp.where(real, h, jnp.asarray(-jnp.inf, h.dtype)), 1)[:, None]
    elif pool == "first":
        place = jnp.argmax(mask, 1)[:, None, None]
    else:
        place = jnp.where(mask, jnp.arange(h.shape[1], dtype=jnp.int32)[None], jnp.int32(0)).max(1)[:, None, None]
    found = jnp.take_along_axis(h, place, 1)[:, 0]
    return jnp.where(mask.any(1)[:, None], found, zero) if pool == "max" else found
