"""Self-attention: multi-head scaled dot products, masks, positions, and a small pre-norm encoder.

Q = H W_Q,  K = H W_K,  V = H W_V,  attention = softmax(Q K' / sqrt(d_k)) V           (Vaswani et al. 2017, eq. 1)
encoder block:  H + attention(norm(H)), then H + act(norm(H) U) D                     (Xiong et al. 2020)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxinfra._core.pytree import pytree, static
from jaxinfra._core.types import short_repr
from jaxinfra.nn import layers
from jaxinfra.nn._dot_product import allowed, attend, scores
from jaxinfra.nn._positions import sinusoids
from jaxinfra.nn.layers import Affine, Norm

VERB = "attention.apply"


@dataclass(frozen=True)
class Config:
    """The architecture; all static.

    Args:
      width: the size of a position's vector.
      heads: the number of attention heads, a divisor of width.
      outputs: the number of classes; 1 means one logit, of class 1 of two.
      features: the size of one step of x (projected to width unless equal); None with a vocabulary.
      vocabulary: the number of tokens, where x holds integers; None with features.
      block, blocks: "attention" alone or "encoder" (pre-norm residual, with a dense layer), and how many are stacked.
      hidden: the size of an encoder's dense layer; None means 4 width.
      position: "sinusoidal", "learned" (up to `length` steps) or "none".
      length: the largest number of steps, needed by learned positions.
      causal: whether a position attends to itself and earlier ones alone.
      pool: the input of the head: "mean" or "max" over real positions, the "first" or "last" real one, or "none", one
        prediction a position.
      activation: of the dense layer: "relu", "tanh", "sigmoid", "gelu", "elu", "swish" or "identity".
      dropout: the rate after embedding, attention and dense layers, from 0 to below 1.

    Raises:
      ValueError for a size that is not a positive integer, a name or a rate that is not allowed, both features and
      vocabulary or neither, heads that do not divide width, learned positions without length, sinusoidal ones with an
      odd width.
    """

    width: int = 128
    heads: int = 4
    outputs: int = 10
    features: int | None = None
    vocabulary: int | None = None
    block: str = "encoder"
    blocks: int = 1
    hidden: int | None = None
    position: str = "sinusoidal"
    length: int | None = None
    causal: bool = False
    pool: str = "mean"
    activation: str = "gelu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        verb = "attention.Config"
        layers.positive(verb, width=self.width, heads=self.heads, outputs=self.outputs, blocks=self.blocks)
        for name in ("features", "vocabulary", "hidden", "length"):
            if getattr(self, name) is not None:
                layers.positive(verb, **{name: getattr(self, name)})
        one = (self.features is None) != (self.vocabulary is None)
        layers.require(one, f"{verb}: give either features (real x) or vocabulary (tokens)")
        divides = self.width % self.heads == 0
        layers.require(divides, f"{verb}: heads must divide width, got {self.heads} and {self.width}")
        layers.choice(verb, "block", self.block, ("attention", "encoder"))
        layers.choice(verb, "position", self.position, ("none", "sinusoidal", "learned"))
        layers.choice(verb, "pool", self.pool, layers.POOLS)
        layers.choice(verb, "activation", self.activation, layers.ACTIVATIONS)
        layers.share(verb, "dropout", self.dropout)
        known = self.position != "learned" or self.length is not None
        layers.require(known, f"{verb}: learned positions need length, the largest number of steps")
        even = self.position != "sinusoidal" or self.width % 2 == 0
        layers.require(even, f"{verb}: sinusoidal positions need an even width, got {self.width}")


@short_repr
class Block(NamedTuple):
    """Parameters of one block: W_Q, W_K, W_V, W_O (width, width) with biases; norms and dense layers of an encoder.

    norm_attention, norm_dense: the layer norms before attention and dense layers, None outside an encoder; so are up,
    (width, hidden), and down, (hidden, width).
    """

    query: Affine
    key: Affine
    value: Affine
    output: Affine
    norm_attention: Norm | None
    norm_dense: Norm | None
    up: Affine | None
    down: Affine | None


@layers.network
@pytree
class Params:
    """Parameters of a self-attention network: a pytree of arrays, with the architecture `config` as static data.

    embedding (vocabulary, width), project (features, width), positions (length, width), and norm, the layer norm after
    the last block of an encoder: None where not needed.  blocks: a tuple of `Block`.  head: the last layer.
    """

    embedding: jax.Array | None
    project: Affine | None
    positions: jax.Array | None
    blocks: tuple[Block, ...]
    norm: Norm | None
    head: Affine
    config: Config = static()


def init(key: jax.Array, config: Config, *, dtype: DTypeLike = jnp.float32) -> Params:
    """Random `Params`: Glorot's uniform start, He's before a relu-like activation, normal embeddings.

    Embeddings have standard deviation 1; with learned positions both have 0.02.

    Args:
      key: a `jax.random.key`, traced.
      config: the architecture, static.
      dtype: that of the parameters, in which `apply` computes, static.

    Raises:
      TypeError for a dtype that is not floating, or that JAX's current mode does not have.

    >>> import jax
    >>> from jaxinfra.nn import attention
    >>> config = attention.Config(vocabulary=30, width=16, heads=2)
    >>> attention.init(jax.random.key(0), config).blocks[0].query.kernel.shape
    (16, 16)
    """
    return _init(key, config, layers.start_dtype("attention.init", dtype))


@partial(jax.jit, static_argnums=(1, 2))
def _init(key: jax.Array, config: Config, dtype: Any) -> Params:
    keys = iter(jax.random.split(key, 4 + 6 * config.blocks))
    width, encoder = config.width, config.block == "encoder"
    hidden = config.hidden or 4 * width

    def affine(inputs: int, outputs: int, activation: str = "identity") -> Affine:
        return layers.start_affine(next(keys), (inputs, outputs), dtype, activation)

    def block() -> Block:
        query, key, value, output = (affine(width, width) for _ in range(4))
        if not encoder:
            return Block(query, key, value, output, None, None, None, None)
        first, second = (layers.start_norm(width, dtype) for _ in range(2))
        up, down = affine(width, hidden, config.activation), affine(hidden, width)
        return Block(query, key, value, output, first, second, up, down)

    vocabulary, features = config.vocabulary, config.features
    # Sinusoids have entries of size 1, too large for smaller embeddings beside them (Vaswani et al. 2017, section 3.4).
    deviation = 0.02 if config.position == "learned" else 1.0
    embedding = layers.start_embedding(next(keys), vocabulary, width, dtype, deviation) if vocabulary else None
    project = affine(features, width) if features and features != width else None
    learned = config.position == "learned"
    positions = layers.start_embedding(next(keys), config.length or 0, width, dtype) if learned else None
    stack = tuple(block() for _ in range(config.blocks))
    norm = layers.start_norm(width, dtype) if encoder else None
    return Params(embedding, project, positions, stack, norm, affine(width, config.outputs), config)


def _heads(block: Block, h: jax.Array, heads: int) -> list[jax.Array]:
    """The queries, keys and values of each head: (n, heads, t, width / heads)."""
    n, steps, width = h.shape
    flat = h.reshape(-1, width)
    parts = [layers.dense(affine, flat) for affine in (block.query, block.key, block.value)]
    return [part.reshape(n, steps, heads, width // heads).swapaxes(1, 2) for part in parts]


def _attention(block: Block, h: jax.Array, may: jax.Array | None, heads: int) -> jax.Array:
    query, key, value = _heads(block, h, heads)
    mixed = attend(query, key, value, may)
    n, steps, width = h.shape
    return layers.dense(block.output, mixed.swapaxes(1, 2).reshape(n * steps, width)).reshape(h.shape)


def _normed(norm: Norm | None, h: jax.Array) -> jax.Array:
    return h if norm is None else layers.layer_norm(norm, h)


def _block(block: Block, h: jax.Array, may: jax.Array | None, config: Config, key: Any) -> jax.Array:
    first, second = layers.split(key, 2)
    mixed = _attention(block, _normed(block.norm_attention, h), may, config.heads)
    mixed = layers.dropout(first, mixed, config.dropout)
    if block.up is None or block.down is None:
        return mixed
    h = h + mixed
    inner = layers.ACTIVATIONS[config.activation](layers.dense(block.up, _normed(block.norm_dense, h)))
    return h + layers.dropout(second, layers.dense(block.down, inner), config.dropout)


def _start(params: Params, x: Any, mask: Any, key: Any) -> tuple[jax.Array, Any, jax.Array | None]:
    """The embedded positions (n, t, width), the mask, and the allowed pairs of query and key."""
    config, dtype = params.config, params.head.kernel.dtype
    if config.vocabulary is not None:
        x = layers.tokens(VERB, x, config.vocabulary, mask)
    else:
        x = layers.inputs(VERB, x, (None, None, config.features), dtype)
    steps = x.shape[1]
    layers.require(steps > 0, f"{VERB}: x must hold at least one step, got {x.shape}")
    mask = layers.steps(VERB, mask, x)
    h = layers.blank(x, mask)
    if params.embedding is not None:
        h = layers.embed(params.embedding, h)
    elif params.project is not None:
        h = layers.dense(params.project, h)
    if params.positions is not None:
        longest = params.positions.shape[0]
        layers.require(steps <= longest, f"{VERB}: x has {steps} steps, and length is {longest}")
        h = h + params.positions[None, :steps]
    elif config.position == "sinusoidal":
        h = h + sinusoids(steps, config.width, dtype)[None]
    return layers.dropout(key, h, config.dropout), mask, allowed(mask, steps, config.causal)


def apply(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None, key: jax.Array | None = None) -> jax.Array:
    """Logits of a self-attention network: for classification of sequences, or tagging with `pool="none"`.

    Args:
      params: from `init`; its arrays are traced, the architecture in it is static.
      x: (n, t, features) real, or (n, t) of integers 0..vocabulary-1 with a vocabulary; traced.
      mask: (n, t) bool, True for real positions, traced; None: all are.  No position attends to a masked one, the pool
        leaves it out, and its content is read as 0 (token 0).  A row without any real position attends to nothing.
      key: a `jax.random.key` for dropout while training, traced; None drops nothing.

    Returns:
      The logits (n, outputs), (n,) with one output, and with `pool="none"` the same for each position, (n, t, outputs).
      NaN or inf in a row of x appear in that row alone; a token outside the vocabulary is NaN in its row.

    Raises:
      ValueError for an x or a mask of another shape, no step or more than `length` learned positions, and a token
      outside the vocabulary where x and mask are on the host.  TypeError for complex numbers, tokens that are no
      integers, a mask that is not boolean.

    Precision: float32 agrees with float64 to about 1e-6.

    Derivatives: with respect to params and a real x, reverse mode of any order, also under `jvp` (Hessian-vector
      products); the backward pass of the attention is written by hand, so plain forward mode (`jax.jvp` of `apply`)
      does not exist.

    Cost: n t width (4 width + 2 t) multiplications a block, and 2 width hidden more a position in an encoder; the
      gradient keeps the attention weights, (n, heads, t, t).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import attention
    >>> params = attention.init(jax.random.key(0), attention.Config(features=8, width=16, heads=2, outputs=3))
    >>> attention.apply(params, jnp.ones((4, 5, 8))).shape
    (4, 3)

    Source: Vaswani et al. 2017, eq. 1 and section 3.2.2; Xiong et al. 2020.  Elsewhere: `torch.nn.MultiheadAttention`
    and `TransformerEncoderLayer(norm_first=True)`; Keras `MultiHeadAttention`.
    """
    config = params.config
    keys = layers.split(key, config.blocks + 1)
    h, real, may = _start(params, x, mask, keys[-1])
    for block, own in zip(params.blocks, keys, strict=False):
        h = _block(block, h, may, config, own)
    return layers.head(params.head, layers.pool_steps(_normed(params.norm, h), real, config.pool))


def weights(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None) -> list[jax.Array]:
    """The attention weights of each block: a list of (n, heads, t, t), by query (third axis) and key.

    Args:
      params, x, mask: as in `apply`.

    Returns:
      One array a block; the weights of a query sum to 1, or to 0 where no key is allowed.

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import attention
    >>> config = attention.Config(features=2, width=2, heads=1, position="none", causal=True)
    >>> print(attention.weights(attention.init(jax.random.key(0), config), jnp.ones((1, 2, 2)))[0][0, 0])
    [[1.  0. ]
     [0.5 0.5]]
    """
    h, _, may = _start(params, x, mask, None)
    found = []
    for block in params.blocks:
        query, key, _ = _heads(block, _normed(block.norm_attention, h), params.config.heads)
        found.append(scores(query, key, may))
        h = _block(block, h, may, params.config, None)
    return found


def predict_proba(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """The probability of each class: softmax of the logits, or the sigmoid of a single one.

    Args:
      params, x, mask: as in `apply`.

    Returns:
      (n, outputs), each row with sum 1, or with one output that of class 1, (n,); with `pool="none"` for each position.

    Raises: as `apply`.
    """
    return layers.probabilities(apply(params, x, mask=mask), params.config.outputs)


def predict(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """The likeliest class of each row, int32 (n,), with `pool="none"` of each position, (n, t).

    Args:
      params, x, mask: as in `apply`.

    Raises: as `apply`.
    """
    return layers.labels(apply(params, x, mask=mask), params.config.outputs)
