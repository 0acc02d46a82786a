"""Convolution with a gradient that is fast on a CPU, also inside loops.

XLA:CPU converts a convolution to the layout of its fast kernels only at the top level of a program; inside a `scan`,
such as an epoch of training, the two gradients that differentiation derives run as plain loops, a hundred times slower.
So both are written here in forms that are fast everywhere: the gradient with respect to the input as the canonical
convolution with the flipped kernel, that with respect to the kernel as matrix products of shifted rows of the image.
GPU and TPU run XLA's own convolution and gradients.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]
LAYOUT = ("NHWC", "HWIO", "NHWC")
# Pixels in one step of the kernel's gradient: enough for a matrix product, few enough for the cache.
PIXELS = 2048
# Up to this many values a pixel (kernel height x width x channels) one product covers the whole window, beyond it there
# is one for each row of the kernel: copying windows costs more than narrower products.
WINDOW = 64


def padding(sizes: tuple[int, int], kernel: tuple[int, int], stride: int, kind: str) -> Padding:
    """XLA's padding: "valid" none; "same" enough for an output of ceil(size / stride), the smaller half first."""
    if kind == "valid":
        return ((0, 0), (0, 0))
    total = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(sizes, kernel, strict=True)]
    (top, left), (height, width) = [t // 2 for t in total], total
    return ((top, height - top), (left, width - left))


def _xla(x: jax.Array, kernel: jax.Array, stride: int, pad: Padding) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (stride, stride), pad, dimension_numbers=LAYOUT)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, stride: int, pad: Padding) -> jax.Array:
    """The cross-correlation of x (n, h, w, c) with kernel (kh, kw, c, o): (n, h', w', o)."""
    return _xla(x, kernel, stride, pad)


def _forward(x, kernel, stride, pad):
    return _xla(x, kernel, stride, pad), (x, kernel)


def _backward(stride, pad, kept, cotangent):
    x, kernel = kept

    def by_xla(x, kernel, cotangent):
        return jax.vjp(lambda x, kernel: _xla(x, kernel, stride, pad), x, kernel)[1](cotangent)

    def on_cpu(x, kernel, cotangent):
        return _by_input(x, kernel, cotangent, stride, pad), _by_kernel(x, kernel, cotangent, stride, pad)

    return lax.platform_dependent(x, kernel, cotangent, cpu=on_cpu, default=by_xla)


convolve.defvjp(_forward, _backward)


def _by_input(x, kernel, cotangent, stride, pad):
    """The gradient dx: the full convolution of the cotangent, dilated by the stride, with the flipped kernel."""
    zero = jnp.zeros((), cotangent.dtype)
    spread = [(0, 0, 0), (0, 0, stride - 1), (0, 0, stride - 1), (0, 0, 0)]
    dilated = lax.pad(cotangent, zero, spread) if stride > 1 else cotangent
    edges = []
    for axis in (1, 2):
        low = kernel.shape[axis - 1] - 1 - pad[axis - 1][0]
        edges.append((low, x.shape[axis] + kernel.shape[axis - 1] - 1 - low - dilated.shape[axis]))
    return _xla(dilated, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 1, (edges[0], edges[1]))


def _by_kernel(x, kernel, cotangent, stride, pad):
    """The gradient dkernel[i, j], the sum over images and pixels of x[s h + i, s w + j]' cotangent[h, w].

    By a scan over groups of images, whose windows stay in the cache; the windows of all images at once would be kh kw
    times the input in memory.
    """
    (kh, kw, channels, outputs), (n, height, width, _) = kernel.shape, cotangent.shape
    group = max((g for g in range(1, n + 1) if n % g == 0 and (g - 1) * height * width < PIXELS), default=1)
    whole = kh * kw * channels <= WINDOW
    products = 1 if whole else kh

    def shifted(images, i, j):
        rows = slice(i, i + (height - 1) * stride + 1, stride)
        return images[:, rows, slice(j, j + (width - 1) * stride + 1, stride)]

    def step(total, pair):
        images, seen = pair
        images = jnp.pad(images, ((0, 0), *pad, (0, 0))) if any(map(any, pad)) else images
        seen = seen.reshape(-1, outputs)
        if whole:
            windows = [jnp.concatenate([shifted(images, i, j) for i in range(kh) for j in range(kw)], -1)]
        else:
            tall = (height - 1) * stride + kh
            columns = [images[:, :tall, slice(j, j + (width - 1) * stride + 1, stride)] for j in range(kw)]
            across = jnp.concatenate(columns, -1)
            windows = [across[:, slice(i, i + (height - 1) * stride + 1, stride)] for i in range(kh)]
        parts = [lax.dot_general(w.reshape(seen.shape[0], -1), seen, (((0,), (0,)), ((), ()))) for w in windows]
        return total + jnp.stack(parts), None

    def groups(array):
        return array.reshape(n // group, group, *array.shape[1:])

    start = jnp.zeros((products, kh * kw * channels // products, outputs), kernel.dtype)
    return lax.scan(step, start, (groups(x), groups(cotangent)))[0].reshape(kernel.shape)
