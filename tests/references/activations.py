"""Activations of networks and their derivatives, from the textbook."""

from __future__ import annotations

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def gelu(x):
    """x Phi(x), with the normal distribution function Phi."""
    return x * (1 + _erf(x / np.sqrt(2))) / 2


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "gelu": gelu,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "swish": lambda x: x * sigmoid(x),
    "identity": lambda x: x,
}
SLOPES = {
    "relu": lambda x: (x > 0).astype(float),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "sigmoid": lambda x: sigmoid(x) * (1 - sigmoid(x)),
    "gelu": lambda x: (1 + _erf(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    "elu": lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
    "swish": lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    "identity": np.ones_like,
}


def dense(params, x):
    """x W + b over the last axis."""
    return x @ params["kernel"] + params["bias"]


def dense_backward(params, x, slope):
    """(gradients of W and b, gradient of x)."""
    flat, seen = x.reshape(-1, x.shape[-1]), slope.reshape(-1, slope.shape[-1])
    return {"kernel": flat.T @ seen, "bias": seen.sum(0)}, slope @ params["kernel"].T
