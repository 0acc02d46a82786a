"""Recurrent networks: plain, LSTM and GRU cells, stacked, in both directions, over sequences of any lengths.

    plain  h' = act(x K + h R + b)                                                        (Elman 1990)
    LSTM   i, f, o = sigmoid(...), g = act(...);  c' = f c + i g,  h' = o act(c')          (Gers et al. 2000)
    GRU    r, z = sigmoid(...), n = act(x K + b + r (h R + b'));  h' = (1 - z) n + z h     (Cho et al. 2014)

The gates are side by side in the columns of `kernel` and `recurrent`, in the order i, f, g, o or r, z, n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxinfra._core.pytree import pytree, static
from jaxinfra._core.types import short_repr
from jaxinfra.nn import _cells, layers
from jaxinfra.nn._recurrence import recur
from jaxinfra.nn.layers import Affine

VERB = "rnn.apply"


@dataclass(frozen=True)
class Config:
    """The architecture; all static.

    Args:
      features: the size of one step of x, or of an embedded token.
      hidden: the size of the state.
      outputs: the number of classes; 1 means one logit, of class 1 of two.
      cell: "lstm", "gru" or "plain".
      activation: "tanh", "sigmoid", "relu" or "identity", of the plain cell, or of the others' candidate and cell
        state.
      layers: the number of stacked layers.
      bidirectional: whether each layer also runs from the last step to the first, with cells for that direction.
      pool: the input of the head: "last" (the state after the last real step), "mean" or "max" over real steps, or
        "none", one prediction a step.
      vocabulary: the number of tokens, where x holds integers; None: x holds real numbers.
      dropout: the rate between layers and before the head, from 0 to below 1.

    Raises:
      ValueError for a size that is not a positive integer, a name or a rate that is not allowed.
    """

    features: int
    hidden: int = 128
    outputs: int = 10
    cell: str = "lstm"
    activation: str = "tanh"
    layers: int = 1
    bidirectional: bool = False
    pool: str = "last"
    vocabulary: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        verb = "rnn.Config"
        layers.positive(verb, features=self.features, hidden=self.hidden, outputs=self.outputs, layers=self.layers)
        if self.vocabulary is not None:
            layers.positive(verb, vocabulary=self.vocabulary)
        layers.choice(verb, "cell", self.cell, _cells.CELLS)
        layers.choice(verb, "activation", self.activation, _cells.ACTIVATIONS)
        layers.choice(verb, "pool", self.pool, ("last", "mean", "max", "none"))
        layers.share(verb, "dropout", self.dropout)


@short_repr
class Cell(NamedTuple):
    """Parameters of one direction of one layer, with G gates.

    kernel: (inputs, G hidden).
    recurrent: (hidden, G hidden).
    bias: (G hidden,).
    recurrent_bias: (hidden,), added to a GRU's candidate inside the reset gate; None for the other cells.
    """

    kernel: jax.Array
    recurrent: jax.Array
    bias: jax.Array
    recurrent_bias: jax.Array | None


@layers.network
@pytree
class Params:
    """Parameters of a recurrent network: a pytree of arrays, with the architecture as static data.

    embedding: (vocabulary, features), or None without a vocabulary.
    layers: a tuple of (forward,) or (forward, backward) cells, one a layer.
    head: the last layer.
    config: the architecture.
    """

    embedding: jax.Array | None
    layers: tuple[tuple[Cell, ...], ...]
    head: Affine
    config: Config = static()


def init(key: jax.Array, config: Config, *, dtype: DTypeLike = jnp.float32) -> Params:
    """Random `Params`: Glorot's uniform kernels, orthogonal recurrent ones, biases 0, of an LSTM's forget gate 1.

    Args:
      key: a `jax.random.key`, traced.
      config: the architecture, static.
      dtype: that of the parameters, in which `apply` computes, static.

    Raises:
      TypeError for a dtype that is not floating, or that JAX's current mode does not have.

    >>> import jax
    >>> from jaxinfra.nn import rnn
    >>> params = rnn.init(jax.random.key(0), rnn.Config(features=8, hidden=16))
    >>> params.layers[0][0].kernel.shape
    (8, 64)
    """
    return _init(key, config, layers.start_dtype("rnn.init", dtype))


@partial(jax.jit, static_argnums=(1, 2))
def _init(key: jax.Array, config: Config, dtype: Any) -> Params:
    directions = 1 + config.bidirectional
    keys = iter(jax.random.split(key, 2 + 2 * directions * config.layers))
    gates, hidden = _cells.CELLS[config.cell].gates, config.hidden
    square, glorot = nnx.initializers.orthogonal(), nnx.initializers.glorot_uniform()
    wide = jnp.float32 if dtype.itemsize < 4 else dtype  # no library has a QR of narrow types

    def cell(inputs: int) -> Cell:
        kernel = glorot(next(keys), (inputs, gates * hidden), dtype)
        recurrent = jnp.concatenate(
            [square(k, (hidden, hidden), wide).astype(dtype) for k in jax.random.split(next(keys), gates)], axis=1
        )
        bias = jnp.zeros((gates * hidden,), dtype)
        if config.cell == "lstm":  # remember by default (Jozefowicz, Zaremba, Sutskever 2015)
            bias = bias.at[hidden : 2 * hidden].set(1)
        return Cell(kernel, recurrent, bias, jnp.zeros((hidden,), dtype) if config.cell == "gru" else None)

    vocabulary, embedding = config.vocabulary, None
    if vocabulary:
        embedding = layers.start_embedding(next(keys), vocabulary, config.features, dtype)
    sizes = [config.features] + [directions * hidden] * (config.layers - 1)
    stack = tuple(tuple(cell(size) for _ in range(directions)) for size in sizes)
    head = layers.start_affine(next(keys), (directions * hidden, config.outputs), dtype)
    return Params(embedding, stack, head, config)


def _run(
    cell: Cell, x: jax.Array, mask: jax.Array | None, config: Config, backwards: bool, sequence: bool
) -> jax.Array:
    """Run x (t, n, inputs) through one direction of one layer."""
    steps, n, width = x.shape
    gates = _cells.CELLS[config.cell].gates
    flat = x.reshape(-1, width)  # the products with the inputs of all steps at once
    kernels, biases = jnp.split(cell.kernel, gates, 1), jnp.split(cell.bias, gates)
    inputs = [(flat @ k + b[None]).reshape(steps, n, config.hidden) for k, b in zip(kernels, biases, strict=True)]
    return recur(config.cell, config.activation, backwards, sequence, inputs, cell.recurrent, cell.recurrent_bias, mask)


def hidden(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None, key: jax.Array | None = None) -> jax.Array:
    """The states of the last layer after each step, (n, t, hidden), of both directions (n, t, 2 hidden).

    Args:
      params, x, mask, key: as in `apply`.

    Returns:
      The states; those of a masked step are those before it in the direction of the run.

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import rnn
    >>> params = rnn.init(jax.random.key(0), rnn.Config(features=8, hidden=16, bidirectional=True))
    >>> rnn.hidden(params, jnp.ones((4, 5, 8))).shape
    (4, 5, 32)
    """
    return _states(params, x, mask, key, sequence=True)[0]


def _states(params: Params, x: Any, mask: Any, key: Any, sequence: bool) -> tuple[Any, Any]:
    """The states of the last layer after each step, or without `sequence` its final ones, and the mask."""
    config, dtype = params.config, params.head.kernel.dtype
    if config.vocabulary is not None:
        x = layers.tokens(VERB, x, config.vocabulary, mask)
    else:
        x = layers.inputs(VERB, x, (None, None, config.features), dtype)
    layers.require(x.shape[1] > 0, f"{VERB}: x must hold at least one step, got {x.shape}")
    mask = layers.steps(VERB, mask, x)
    x = layers.blank(x, mask)
    x = x if params.embedding is None else layers.embed(params.embedding, x)
    real = None if mask is None else mask.T[:, :, None]
    x = x.swapaxes(0, 1)
    keys = layers.split(key, len(params.layers))
    for number, directions in enumerate(params.layers):
        x = layers.dropout(keys[number], x, config.dropout if number else 0.0)
        whole = sequence or number + 1 < len(params.layers)
        runs = [_run(cell, x, real, config, bool(way), whole) for way, cell in enumerate(directions)]
        x = jnp.concatenate(runs, -1)
    return (x.swapaxes(0, 1) if sequence else x), mask


def apply(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None, key: jax.Array | None = None) -> jax.Array:
    """Logits of a recurrent network: for sequence classification, or tagging with `pool="none"`.

    Args:
      params: from `init`; its arrays are traced, the architecture in it is static.
      x: (n, t, features) real, or (n, t) of integers 0..vocabulary-1 with a vocabulary; traced.
      mask: (n, t) bool, True for real steps, traced; None: all are.  Masked steps change nothing, whatever they hold,
        so sequences of different lengths may be padded at either end.
      key: a `jax.random.key` for dropout while training, traced; None drops nothing.

    Returns:
      The logits (n, outputs), (n,) with one output, and with `pool="none"` the same for each step, (n, t, outputs).
      NaN or inf in a row of x appear in that row alone; a token outside the vocabulary is NaN in its row.

    Raises:
      ValueError for an x or a mask of another shape, no step, and a token outside the vocabulary where x and mask are
      on the host.  TypeError for complex numbers, tokens that are no integers, a mask that is not boolean.

    Precision: float32 agrees with float64 to about 1e-6.

    Derivatives: with respect to params and a real x, reverse mode of any order, also under `jvp` (Hessian-vector
      products); the backward pass is written by hand, so plain forward mode (`jax.jvp` of `apply`) does not exist.

    Cost: n t G hidden (features + hidden) multiplications a layer and direction, G the gates of the cell, twice that
      backward; the gradient keeps G + 2 arrays (t, n, hidden), of the plain cell G + 1.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import rnn
    >>> params = rnn.init(jax.random.key(0), rnn.Config(features=8, hidden=16, outputs=3, cell="gru"))
    >>> rnn.apply(params, jnp.ones((4, 5, 8))).shape
    (4, 3)

    Source: Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000; Cho et al. 2014, eqs. 5-8.  Elsewhere:
    `torch.nn.LSTM`, `GRU` and `RNN` with a `Linear` head; Keras `LSTM`, `GRU(reset_after=True)`, `SimpleRNN`.
    """
    config = params.config
    inner, outer = (None, None) if key is None else jax.random.split(key)
    states, real = _states(params, x, mask, inner, sequence=config.pool != "last")
    pooled = states if config.pool == "last" else layers.pool_steps(states, real, config.pool)
    return layers.head(params.head, layers.dropout(outer, pooled, config.dropout))


def predict_proba(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """The probability of each class: softmax of the logits, or the sigmoid of a single one.

    Args:
      params, x, mask: as in `apply`.

    Returns:
      (n, outputs), each row with sum 1, or with one output that of class 1, (n,); with `pool="none"` for each step.

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import rnn
    >>> params = rnn.init(jax.random.key(0), rnn.Config(features=2, hidden=3, outputs=1, cell="plain"))
    >>> print(rnn.predict_proba(params, jnp.zeros((1, 4, 2))))
    [0.5]
    """
    return layers.probabilities(apply(params, x, mask=mask), params.config.outputs)


def predict(params: Params, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """The likeliest class of each row, int32 (n,), with `pool="none"` of each step, (n, t).

    Args:
      params, x, mask: as in `apply`.

    Raises: as `apply`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxinfra.nn import rnn
    >>> params = rnn.init(jax.random.key(0), rnn.Config(features=2, hidden=3, outputs=1, cell="plain"))
    >>> print(rnn.predict(params, jnp.zeros((1, 4, 2))))
    [0]
    """
    return layers.labels(apply(params, x, mask=mask), params.config.outputs)
