"""Helpers of the tests of networks: parameters as plain NumPy, small configurations of every kind."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra.nn import attention, cnn, rnn, train
from tests.references import attention as attention_reference
from tests.references import cnn as cnn_reference
from tests.references import rnn as rnn_reference


def plain(tree: Any) -> Any:
    """NamedTuples and dataclasses as dictionaries, tuples as lists, arrays as float64 of NumPy."""
    if tree is None:
        return None
    if dataclasses.is_dataclass(tree):
        names = [field.name for field in dataclasses.fields(tree) if field.name != "config"]
        return {name: plain(getattr(tree, name)) for name in names}
    if hasattr(tree, "_asdict"):
        return {name: plain(value) for name, value in tree._asdict().items()}
    if isinstance(tree, tuple | list):
        return [plain(value) for value in tree]
    return np.asarray(tree, np.float64)


def drawn(module: Any, config: Any, dtype: Any = jnp.float64, seed: int = 0) -> Any:
    """Parameters of the shapes that `init` gives them, drawn by NumPy: `init` would be a program for each config.

    Columns of kernels have a length of about 1, as in `init`; vectors are about 0, the scale of a norm is about 1.
    """
    shapes = jax.eval_shape(lambda key: module.init(key, config, dtype=dtype), jax.random.key(0))
    rng = np.random.default_rng(seed)

    def leaf(path: Any, like: Any) -> Any:
        size = 0.3 if like.ndim == 1 else np.prod(like.shape[:-1]) ** -0.5
        about = 1 if str(path[-1]).endswith("scale") else 0
        return jnp.asarray(about + size * rng.standard_normal(like.shape), like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def close(found: Any, expected: Any, rtol: float) -> None:
    """Two plain trees agree, relative to the largest entry of each leaf."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(initial=0), 1e-3))


CNN = {
    "max": cnn.Config((9, 8, 2), (cnn.Block(3), cnn.Block(4, kernel=2, pool=1)), (5,), 3),
    "same": cnn.Config((7, 6, 3), (cnn.Block(4, padding="same", pool=3),), (), 1, activation="tanh"),
    "stride": cnn.Config((11, 9, 1), (cnn.Block(3, stride=2, padding="same", pool=1), cnn.Block(2, pool=2)), (4,), 3),
    "mean": cnn.Config((8, 8, 2), (cnn.Block(3, kernel=5, pooling="mean"),), (6, 4), 2, activation="elu"),
    "gelu": cnn.Config((8, 7, 2), (cnn.Block(3, kernel=4),), (3,), 2, activation="gelu"),
    # Several images a step of the kernel's gradient, and windows that one product does not take.
    "wide": cnn.Config((6, 6, 9), (cnn.Block(4, kernel=3, padding="same", pool=1),), (), 2, activation="swish"),
}
RNN = {
    f"{cell}_{pool}{'_both' if both else ''}": rnn.Config(4, 5, 3, cell, act, layers, both, pool, vocabulary)
    for cell, act, pool, layers, both, vocabulary in [
        ("plain", "tanh", "last", 1, False, None),
        ("plain", "relu", "mean", 2, True, None),
        ("plain", "sigmoid", "none", 1, False, None),
        ("lstm", "tanh", "last", 1, False, None),
        ("lstm", "sigmoid", "last", 2, True, None),
        ("lstm", "tanh", "max", 1, True, 6),
        ("gru", "tanh", "last", 1, False, None),
        ("gru", "relu", "mean", 2, True, None),
        ("gru", "tanh", "none", 1, True, 6),
    ]
}
ATTENTION = {
    "plain": attention.Config(8, 2, 3, features=8, block="attention", position="none"),
    "causal": attention.Config(6, 3, 1, features=4, block="attention", blocks=2, causal=True, pool="last"),
    "encoder": attention.Config(8, 2, 3, vocabulary=6, blocks=2, hidden=5),
    "learned": attention.Config(8, 1, 2, vocabulary=6, position="learned", length=9, causal=True, pool="max", hidden=7),
    "tags": attention.Config(6, 2, 3, features=4, pool="none", activation="relu", hidden=4),
    "first": attention.Config(6, 2, 2, features=4, pool="first", activation="swish", hidden=4),
}


@cache
def network(kind: str, name: str, dtype: Any = jnp.float64) -> tuple[Any, Any, Any]:
    """(module, parameters, x of 3 rows) of one of the configurations."""
    module, config = {"cnn": (cnn, CNN), "rnn": (rnn, RNN), "attention": (attention, ATTENTION)}[kind]
    config, rng = config[name], np.random.default_rng(1)
    params = drawn(module, config, dtype)
    if kind == "cnn":
        return module, params, jnp.asarray(rng.standard_normal((3, *config.shape)), dtype)
    if config.vocabulary:
        return module, params, jnp.asarray(rng.integers(0, config.vocabulary, (3, 7)), jnp.int32)
    return module, params, jnp.asarray(rng.standard_normal((3, 7, config.features)), dtype)


ALL = [("cnn", n) for n in CNN] + [("rnn", n) for n in RNN] + [("attention", n) for n in ATTENTION]
# Row 0 is whole, row 1 ends early, row 2 starts late and has a hole.
MASK = np.asarray([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 1, 1, 0]], bool)
SEQUENCES = [pair for pair in ALL if pair[0] != "cnn"]
REFERENCES = {"cnn": cnn_reference, "rnn": rnn_reference, "attention": attention_reference}


@cache
def gradient(kind: str, name: str) -> Any:
    """One program: (params, x, cotangent, mask) -> (<logits, cotangent>, logits), its gradient by params and real x."""
    module, _, x = network(kind, name)

    def weighted(params, x, cotangent, **mask):
        logits = module.apply(params, x, **mask)
        # A masked step may contain NaN.
        return jnp.where(cotangent == 0, 0, logits * cotangent).sum(), logits

    real = jnp.issubdtype(x.dtype, jnp.floating)
    return jax.jit(jax.value_and_grad(weighted, argnums=(0, 1) if real else (0,), has_aux=True))


def cotangent(kind: str, name: str, mask: Any = None) -> Any:
    """A cotangent of the logits; 0 for those of masked steps."""
    module, params, x = network(kind, name)
    shape = jax.eval_shape(module.apply, params, x).shape
    drawn = np.random.default_rng(2).standard_normal(shape)
    return np.where(mask[..., None], drawn, 0) if mask is not None and params.config.pool == "none" else drawn


def agree_with_numpy(kind: str, name: str, **mask: Any) -> None:
    """Values and gradients by parameters and x are the reference's."""
    _, params, x = network(kind, name)
    along, real = cotangent(kind, name), {k: v for k, v in mask.items() if not v.all()}
    expected = REFERENCES[kind].forward(plain(params), np.asarray(x), params.config, **real)
    by_params, by_x = REFERENCES[kind].backward(plain(params), np.asarray(x), params.config, along, **real)
    (_, logits), slopes = gradient(kind, name)(params, x, along, **mask)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-8)
    close(plain(slopes[0]), by_params, 1e-5)
    if len(slopes) == 2:
        close(np.asarray(slopes[1]), by_x, 1e-5)


# For training: a small network for digits, and a linear model of two classes.
CONFIG = cnn.Config((8, 8, 1), (cnn.Block(8, padding="same"), cnn.Block(16, padding="same")), (32,), 10)


def linear(params, x):
    return x @ params["w"] + params["b"]


def first_logit(params, x):
    return linear(params, x)[:, 0]


def two_classes(rng):
    """(start, X, y) of a linear softmax model."""
    X = rng.standard_normal((50, 3)).astype(np.float32)
    y = (X @ np.float32([1, -2, 0.5]) > 0).astype(np.int32)
    return {"w": jnp.zeros((3, 2), jnp.float32), "b": jnp.zeros((1, 2), jnp.float32)}, X, y


def same(a, b):
    assert all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def run(small, **kwargs):
    params, X, y = small
    kwargs = {"key": jax.random.key(1), "epochs": 3, "batch_size": 10, "progress": False, **kwargs}
    return train.fit(linear, params, X, y, **kwargs)
