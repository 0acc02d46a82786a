"""Convolutional network: forward and backward pass in plain NumPy, one kernel offset and one window at a time."""

from __future__ import annotations

import numpy as np

from tests.references.activations import ACTIVATIONS, SLOPES, dense, dense_backward


def edges(size, kernel, stride, padding):
    """(before, after): zeros beside `size` pixels; "same" gives ceil(size / stride) outputs."""
    if padding == "valid":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def padded(x, block):
    """x with the zeros of its padding, and these."""
    pads = [edges(n, block.kernel, block.stride, block.padding) for n in x.shape[1:3]]
    return np.pad(x, ((0, 0), *pads, (0, 0))), pads


def offsets(full, block):
    """For each place (i, j) of the kernel the pixels that it sees."""
    rows, columns = ((n - block.kernel) // block.stride for n in full.shape[1:3])
    for i in range(block.kernel):
        for j in range(block.kernel):
            across = slice(j, j + columns * block.stride + 1, block.stride)
            yield i, j, (slice(None), slice(i, i + rows * block.stride + 1, block.stride), across)


def convolve(params, x, block):
    """y[h, w] = sum_ij x[s h + i, s w + j] K[i, j] + b."""
    full, _ = padded(x, block)
    return sum(full[seen] @ params["kernel"][i, j] for i, j, seen in offsets(full, block)) + params["bias"]


def convolve_backward(params, x, block, slope):
    """dK[i, j] = sum x[s h + i, s w + j]' dy[h, w]; dx[s h + i, s w + j] += dy[h, w] K[i, j]'."""
    full, ((top, _), (left, _)) = padded(x, block)
    kernel, by_full = np.zeros_like(params["kernel"]), np.zeros_like(full)
    for i, j, seen in offsets(full, block):
        kernel[i, j] = np.tensordot(full[seen], slope, ([0, 1, 2], [0, 1, 2]))
        by_full[seen] += slope @ params["kernel"][i, j].T
    by_x = by_full[:, top : top + x.shape[1], left : left + x.shape[2]]
    return {"kernel": kernel, "bias": slope.sum((0, 1, 2))}, by_x


def pool_pairs(shape, size):
    """((h, w) of the output, its window) one after the other."""
    for h in range(shape[1] // size):
        for w in range(shape[2] // size):
            yield h, w, (slice(None), slice(h * size, h * size + size), slice(w * size, w * size + size))


def pool(x, block):
    """The maximum or mean of windows side by side."""
    n, height, width, channels = x.shape
    out = np.zeros((n, height // block.pool, width // block.pool, channels))
    for h, w, window in pool_pairs(x.shape, block.pool):
        out[:, h, w] = getattr(x[window], block.pooling)((1, 2))
    return out


def pool_backward(x, block, slope):
    """To the first maximum of each window in the order of its rows, or an equal share to each entry."""
    out = np.zeros_like(x)
    for h, w, window in pool_pairs(x.shape, block.pool):
        if block.pooling == "mean":
            out[window] = slope[:, None, None, h, w] / block.pool**2
            continue
        n, _, _, channels = x.shape
        first = x[window].reshape(n, -1, channels).argmax(1)
        for row in range(n):
            for channel in range(channels):
                i, j = divmod(first[row, channel], block.pool)
                out[row, h * block.pool + i, w * block.pool + j, channel] = slope[row, h, w, channel]
    return out


def trace(params, x, config):
    """(inputs of each block, convolutions, inputs of each dense layer, dense values before activation, last input)."""
    act = ACTIVATIONS[config.activation]
    inputs, convolutions = [], []
    for layer, block in zip(params["convolutions"], config.blocks, strict=True):
        inputs.append(x)
        convolutions.append(convolve(layer, x, block))
        x = pool(act(convolutions[-1]), block)
    flat, before = [x.reshape(len(x), -1)], []
    for layer in params["dense"]:
        before.append(dense(layer, flat[-1]))
        flat.append(act(before[-1]))
    return inputs, convolutions, flat, before, x.shape


def forward(params, x, config):
    """The logits."""
    logits = dense(params["head"], trace(params, x, config)[2][-1])
    return logits[:, 0] if config.outputs == 1 else logits


def backward(params, x, config, cotangent):
    """(gradients of the parameters, gradient of x) of sum(cotangent * logits)."""
    slope = cotangent[:, None] if config.outputs == 1 else cotangent
    act, slope_of = ACTIVATIONS[config.activation], SLOPES[config.activation]
    inputs, convolutions, flat, before, shape = trace(params, x, config)
    head, slope = dense_backward(params["head"], flat[-1], slope)
    layers = []
    for layer, value, entered in zip(params["dense"][::-1], before[::-1], flat[-2::-1], strict=True):
        found, slope = dense_backward(layer, entered, slope * slope_of(value))
        layers.insert(0, found)
    slope, blocks = slope.reshape(shape), []
    for layer, block, entered, y in zip(
        params["convolutions"][::-1], config.blocks[::-1], inputs[::-1], convolutions[::-1], strict=True
    ):
        # An increasing activation may flatten a maximum (relu): its position is that before the activation.
        increasing = config.activation not in ("gelu", "swish")
        slope = pool_backward(y if increasing and block.pooling == "max" else act(y), block, slope) * slope_of(y)
        found, slope = convolve_backward(layer, entered, block, slope)
        blocks.insert(0, found)
    return {"convolutions": blocks, "dense": layers, "head": head}, slope
