"""Encodings of the positions in a sequence, whose order attention alone does not depend on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def sinusoids(steps: int, width: int, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Sinusoidal positions (steps, width), width even: sin and cos of t / 10000^(2i / width) in alternating columns.

    >>> from jaxinfra.nn import attention
    >>> print(attention.sinusoids(2, 2).round(3))
    [[0.    1.   ]
     [0.841 0.54 ]]

    Source: Vaswani et al. 2017, section 3.5.
    """
    angle = np.arange(steps)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return jnp.asarray(np.stack([np.sin(angle), np.cos(angle)], -1).reshape(steps, width), dtype)
