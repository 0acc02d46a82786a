"""Convolutional networks: blocks of convolution, activation and pooling, dense layers, a softmax or sigmoid head.

Images are (n, height, width, channels).  Two architectures have names: `DIGITS`, for 28 x 28 grey images and 10
classes, and `PHOTOS`, for 150 x 150 colour images and two classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxinfra._core.pytree import pytree, static
from jaxinfra.nn import layers
from jaxinfra.nn._convolution import convolve, padding
from jaxinfra.nn._pooling import max_pool, mean_pool
from jaxinfra.nn.layers import Affine


@dataclass(frozen=True)
class Block:
    """A convolution, its activation, and a pool; all static.

    Args:
      filters: the number of output channels.
      kernel: the side of the square window of the convolution, in pixels.
      stride: its step, in pixels.
      padding: "valid" (none), or "same" (zeros, so that ceil(size / stride) pixels come out).
      pool: the side of the pool's windows, in pixels, which do not overlap; 1 means no pool.
      pooling: "max" or "mean".

    Raises:
      ValueError for a size that is not a positive integer, or another padding or pooling.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: str = "valid"
    pool: int = 2
    pooling: str = "max"

    def __post_init__(self) -> None:
        verb = "cnn.Block"
        layers.positive(verb, filters=self.filters, kernel=self.kernel, stride=self.stride, pool=self.pool)
        layers.choice(verb, "padding", self.padding, ("valid", "same"))
        layers.choice(verb, "pooling", self.pooling, ("max", "mean"))

    def size(self, n: int) -> int:
        """The number of rows (or columns) that come out of n; 0 where the block does not fit."""
        covered = n if self.padding == "same" else n - self.kernel + 1
        return max(-(-covered // self.stride), 0) // self.pool


@dataclass(frozen=True)
class Config:
    """The architecture; all static.

    Args:
      shape: (height, width, channels) of an image.
      blocks: a tuple of `Block`, the first at the image.
      dense: the sizes of the dense layers after the blocks.
      outputs: the number of classes; 1 means one logit, of class 1 of two.
      activation: "relu", "tanh", "sigmoid", "gelu", "elu", "swish" or "identity".
      dropout: the rate before each dense layer and the head, from 0 to below 1.

    Raises:
      ValueError for a size that is not a positive integer, an activation or a rate that is not allowed, and blocks that
      leave nothing of the image.
    """

    shape: tuple[int, int, int]
    blocks: tuple[Block, ...]
    dense: tuple[int, ...] = (128,)
    outputs: int = 10
    activation: str = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        verb = "cnn.Config"
        layers.require(len(self.shape) == 3, f"{verb}: shape must be (height, width, channels), got {self.shape}")
        height, width, channels = self.shape
        layers.positive(verb, height=height, width=width, channels=channels, outputs=self.outputs)
        for size in self.dense:
            layers.positive(verb, dense=size)
        layers.choice(verb, "activation", self.activation, layers.ACTIVATIONS)
        layers.share(verb, "dropout", self.dropout)
        for number, (height, width, _) in enumerate(self.shapes()):
            fits = min(height, width) > 0
            layers.require(
                fits, f"{verb}: nothing of {self.shape} is left after block {number}, got {height} x {width}"
            )

    def shapes(self) -> list[tuple[int, int, int]]:
        """The (height, width, channels) after each block."""
        height, width, _ = self.shape
        found = []
        for block in self.blocks:
            height, width = block.size(height), block.size(width)
            found.append((height, width, block.filters))
        return found


DIGITS = Config(shape=(28, 28, 1), blocks=(Block(32), Block(64)), dense=(128,), outputs=10)
PHOTOS = Config(shape=(150, 150, 3), blocks=(Block(32), Block(64), Block(128), Block(128)), dense=(512,), outputs=1)


@layers.network
@pytree
class Params:
    """Parameters of a convolutional network: a pytree of arrays, with the architecture as static data.

    convolutions, dense: tuples of `Affine`, one a layer.
    head: the last layer.
    config: the architecture.
    """

    convolutions: tuple[Affine, ...]
    dense: tuple[Affine, ...]
    head: Affine
    config: Config = static()


def init(key: jax.Array, config: Config, *, dtype: DTypeLike = jnp.float32) -> Params:
    """Random `Params`: He's start before relu-like activations, Glorot's elsewhere, biases 0.

    Args:
      key: a `jax.random.key`, traced.
      config: the architecture, static.
      dtype: that of the parameters, in which `apply` computes, static.

    Raises:
      TypeError for a dtype that is not floating, or that JAX's current mode does not have.

    >>> import jax
    >>> from jaxinfra.nn import cnn
    >>> params = cnn.init(jax.random.key(0), cnn.PHOTOS)
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    3453121
    """
    return _init(key, config, layers.start_dtype("cnn.init", dtype))


@partial(jax.jit, static_argnums=(1, 2))
def _init(key: jax.Array, config: Config, dtype: Any) -> Params:
    keys = iter(jax.random.split(key, len(config.blocks) + len(config.dense) + 1))
    shapes = [config.shape, *config.shapes()]
    convolutions = tuple(
        layers.start_affine(next(keys), (block.kernel, block.kernel, shape[2], block.filters), dtype, config.activation)
        for block, shape in zip(config.blocks, shapes, strict=False)
    )
    height, width, channels = shapes[-1]
    sizes = [height * width * channels, *config.dense]
    dense = tuple(
        layers.start_affine(next(keys), pair, dtype, config.activation) for pair in zip(sizes, sizes[1:], strict=False)
    )
    return Params(convolutions, dense, layers.start_affine(next(keys), (sizes[-1], config.outputs), dtype), config)


def _block(params: Affine, x: jax.Array, block: Block, activation: str) -> jax.Array:
    act = layers.ACTIVATIONS[activation]
    bias = params.bias[None, None, None]
    window = params.kernel.shape[0], params.kernel.shape[1]
    edges = padding((x.shape[1], x.shape[2]), window, block.stride, block.padding)
    y = convolve(x, params.kernel, block.stride, edges)
    if block.pool == 1:
        return act(y + bias)
    if block.pooling == "max" and activation in layers.MONOTONE:
        # The same values: maximum and a monotone function commute. A quarter of the work after it.
        return act(max_pool(y, block.pool) + bias)
    return (max_pool if block.pooling == "max" else mean_pool)(act(y + bias), block.pool)


def features(params: Params, x: ArrayLike) -> list[jax.Array]:
    """The output of each block: a list of (n, height, width, filters).

    Args:
      params, x: as in `apply`.

    Returns:
      One array a block; the images themselves where there is none.

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import cnn
    >>> [h.shape for h in cnn.features(cnn.init(jax.random.key(0), cnn.DIGITS), jnp.zeros((1, 28, 28, 1)))]
    [(1, 13, 13, 32), (1, 5, 5, 64)]
    """
    config = params.config
    h = layers.inputs("cnn.apply", x, (None, *config.shape), params.head.kernel.dtype)
    found = []
    for layer, block in zip(params.convolutions, config.blocks, strict=True):
        h = _block(layer, h, block, config.activation)
        found.append(h)
    return found or [h]


def apply(params: Params, x: ArrayLike, *, key: jax.Array | None = None) -> jax.Array:
    """Logits of a convolutional network, for images of one size.

    Each block is `pool(act(conv(x) + bias))`; then come dense layers `act(h @ kernel + bias)` and the head
    `h @ kernel + bias`.

    Args:
      params: from `init`; its arrays are traced, the architecture in it is static.
      x: (n, height, width, channels), of any real dtype (integers 0..255 are not scaled); traced.
      key: a `jax.random.key` for dropout while training, traced; None drops nothing.

    Returns:
      The logits (n, outputs), or (n,) with one output.  NaN or inf in an image appear in its row alone.

    Raises:
      ValueError for an x of another shape.  TypeError for complex numbers.

    Precision: float32 agrees with float64 to about 1e-6.

    Derivatives: with respect to params and x, reverse mode of any order, also under `jvp` (Hessian-vector products);
      the backward pass of convolution and pool is written by hand, so plain forward mode (`jax.jvp` of `apply`) does
      not exist.  Where several entries of a window are largest, the first gets the gradient.

    Cost: the products of the convolutions, twice that backward.  On a CPU `scan` and `vmap` over it are as fast as the
      bare function.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import cnn
    >>> params = cnn.init(jax.random.key(0), cnn.DIGITS)
    >>> cnn.apply(params, jnp.zeros((2, 28, 28, 1))).shape
    (2, 10)

    Source: LeCun et al. 1998.  Elsewhere: Keras `Conv2D`, `MaxPooling2D`, `Dense`; `torch.nn.Conv2d` with channels
    last.
    """
    config = params.config
    act = layers.ACTIVATIONS[config.activation]
    keys = layers.split(key, len(params.dense) + 1)
    h = features(params, x)[-1]
    h = h.reshape(h.shape[0], math.prod(h.shape[1:]))
    for layer, own in zip(params.dense, keys, strict=False):
        h = act(layers.dense(layer, layers.dropout(own, h, config.dropout)))
    return layers.head(params.head, layers.dropout(keys[-1], h, config.dropout))


def predict_proba(params: Params, x: ArrayLike) -> jax.Array:
    """The probability of each class: softmax of the logits, or the sigmoid of a single one.

    Args:
      params, x: as in `apply`.

    Returns:
      (n, outputs), each row with sum 1, or with one output that of class 1, (n,).

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import cnn
    >>> params = cnn.init(jax.random.key(0), cnn.Config(shape=(4, 4, 1), blocks=(), dense=(), outputs=2))
    >>> print(cnn.predict_proba(params, jnp.zeros((1, 4, 4, 1))))
    [[0.5 0.5]]
    """
    return layers.probabilities(apply(params, x), params.config.outputs)


def predict(params: Params, x: ArrayLike) -> jax.Array:
    """The likeliest class of each image, int32 (n,): the first of the largest logits, or whether a single one is > 0.

    Args:
      params, x: as in `apply`.

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import cnn
    >>> params = cnn.init(jax.random.key(0), cnn.Config(shape=(4, 4, 1), blocks=(), dense=(), outputs=2))
    >>> print(cnn.predict(params, jnp.zeros((1, 4, 4, 1))))
    [0]
    """
    return layers.labels(apply(params, x), params.config.outputs)
