"""Self-attention: forward and backward pass in plain NumPy, one row and one head at a time (Vaswani et al. 2017)."""

from __future__ import annotations

import numpy as np

from tests.references.activations import ACTIVATIONS, SLOPES, dense, dense_backward
from tests.references.rnn import pooled as pooled_over_time
from tests.references.rnn import pooled_backward as pooled_over_time_backward

EPSILON = 1e-6


def sinusoids(steps, width):
    """pe[t, 2i] = sin(t / 10000^(2i / width)), pe[t, 2i + 1] = cos of the same."""
    table = np.zeros((steps, width))
    for t in range(steps):
        for i in range(width // 2):
            angle = t / 10000 ** (2 * i / width)
            table[t, 2 * i], table[t, 2 * i + 1] = np.sin(angle), np.cos(angle)
    return table


def norm(params, x):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias."""
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    return scaled * params["scale"] + params["bias"]


def norm_backward(params, x, slope):
    """With u the standardised x: dx = (du - mean(du) - u mean(u du)) / deviation."""
    deviation = np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    scaled = (x - x.mean(-1, keepdims=True)) / deviation
    inner = slope * params["scale"]
    dx = (inner - inner.mean(-1, keepdims=True) - scaled * (inner * scaled).mean(-1, keepdims=True)) / deviation
    return {"scale": (slope * scaled).sum((0, 1)), "bias": slope.sum((0, 1))}, dx


def softmax_rows(logits, may):
    """Each row over its allowed entries; 0 where none is."""
    out = np.zeros_like(logits)
    for i, row in enumerate(logits):
        if may[i].any():
            e = np.exp(row[may[i]] - row[may[i]].max())
            out[i, may[i]] = e / e.sum()
    return out


def allowed(mask, causal):
    """(t, t) of one row of the batch: whether query i may look at key j."""
    may = np.tile(mask, (len(mask), 1))
    return np.tril(may) if causal else may


def heads(config, width):
    """The columns of each head."""
    size = width // config.heads
    return [slice(j * size, (j + 1) * size) for j in range(config.heads)]


def attend(block, h, config, mask):
    """(output, Q, K, V, weights (n, heads, t, t), concatenated heads)."""
    q, k, v = (dense(block[name], h) for name in ("query", "key", "value"))
    n, steps, width = h.shape
    maps, mixed = np.zeros((n, config.heads, steps, steps)), np.zeros_like(h)
    for row in range(n):
        may = allowed(mask[row], config.causal)
        for j, columns in enumerate(heads(config, width)):
            logits = q[row][:, columns] @ k[row][:, columns].T / np.sqrt(width // config.heads)
            maps[row, j] = softmax_rows(logits, may)
            mixed[row][:, columns] = maps[row, j] @ v[row][:, columns]
    return dense(block["output"], mixed), q, k, v, maps, mixed


def attend_backward(block, h, config, mask, slope):
    """(gradients of W_Q, W_K, W_V, W_O, gradient of h)."""
    _, q, k, v, maps, mixed = attend(block, h, config, mask)
    found = {}
    found["output"], dmixed = dense_backward(block["output"], mixed, slope)
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    width = h.shape[2]
    for row in range(len(h)):
        for j, columns in enumerate(heads(config, width)):
            w, dout = maps[row, j], dmixed[row][:, columns]
            dv[row][:, columns] = w.T @ dout
            dw = dout @ v[row][:, columns].T
            dlogits = np.stack([(np.diag(a) - np.outer(a, a)) @ b for a, b in zip(w, dw, strict=True)])
            dlogits /= np.sqrt(width // config.heads)
            dq[row][:, columns] = dlogits @ k[row][:, columns]
            dk[row][:, columns] = dlogits.T @ q[row][:, columns]
    dh = 0
    for name, part in (("query", dq), ("key", dk), ("value", dv)):
        found[name], back = dense_backward(block[name], h, part)
        dh = dh + back
    return found, dh


def encode(block, h, config, mask):
    """(output, what the backward pass needs): attention alone, or the pre-norm encoder block."""
    if block["up"] is None:
        return attend(block, h, config, mask)[0], None
    first = h + attend(block, norm(block["norm_attention"], h), config, mask)[0]
    before = dense(block["up"], norm(block["norm_dense"], first))
    return first + dense(block["down"], ACTIVATIONS[config.activation](before)), (first, before)


def encode_backward(block, h, config, mask, kept, slope):
    """(gradients of the block, gradient of h)."""
    none = dict.fromkeys(("norm_attention", "norm_dense", "up", "down"))
    if kept is None:
        found, dh = attend_backward(block, h, config, mask, slope)
        return found | none, dh
    first, before = kept
    found = {}
    found["down"], inner = dense_backward(block["down"], ACTIVATIONS[config.activation](before), slope)
    normed = norm(block["norm_dense"], first)
    found["up"], inner = dense_backward(block["up"], normed, inner * SLOPES[config.activation](before))
    found["norm_dense"], inner = norm_backward(block["norm_dense"], first, inner)
    slope = slope + inner
    attention, inner = attend_backward(block, norm(block["norm_attention"], h), config, mask, slope)
    found["norm_attention"], inner = norm_backward(block["norm_attention"], h, inner)
    return found | attention, slope + inner


def blank(x, mask):
    """Masked positions read as 0, or as token 0."""
    return np.where(mask if x.ndim == 2 else mask[:, :, None], x, 0)


def start(params, x, config):
    """The embedded positions."""
    h = x if params["embedding"] is None else params["embedding"][x]
    h = h if params["project"] is None else dense(params["project"], h)
    if config.position == "none":
        return h
    learned = config.position == "learned"
    return h + (params["positions"][: h.shape[1]] if learned else sinusoids(*h.shape[1:]))


def run(params, x, config, mask):
    """(inputs of each block, what each kept, output before the final norm, after it, maps)."""
    h, inputs, kept, maps = start(params, blank(x, mask), config), [], [], []
    for block in params["blocks"]:
        inputs.append(h)
        entered = h if block["norm_attention"] is None else norm(block["norm_attention"], h)
        maps.append(attend(block, entered, config, mask)[4])
        h, more = encode(block, h, config, mask)
        kept.append(more)
    return inputs, kept, h, h if params["norm"] is None else norm(params["norm"], h), maps


def places(mask, pool):
    """The real position that "first" and "last" take of each row; 0 where none is real."""
    return [np.flatnonzero(real)[0 if pool == "first" else -1] if real.any() else 0 for real in mask]


def forward(params, x, config, mask=None):
    """The logits."""
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    h = run(params, x, config, mask)[3]
    last = h[np.arange(len(h)), places(mask, config.pool)]
    seen = last if config.pool == "first" else pooled_over_time(h, last, mask, config.pool)
    logits = dense(params["head"], seen)
    return logits[..., 0] if config.outputs == 1 else logits


def weights(params, x, config, mask=None):
    """The attention maps of each block."""
    return run(params, x, config, np.ones(x.shape[:2], bool) if mask is None else mask)[4]


def backward(params, x, config, cotangent, mask=None):
    """(gradients of the parameters, gradient of x or None for tokens) of sum(cotangent * logits)."""
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    slope = cotangent[..., None] if config.outputs == 1 else cotangent
    inputs, kept, raw, h, _ = run(params, x, config, mask)
    rows, at = np.arange(len(h)), places(mask, config.pool)
    seen = h[rows, at] if config.pool == "first" else pooled_over_time(h, h[rows, at], mask, config.pool)
    found = dict.fromkeys(("embedding", "project", "positions", "norm"))
    found["head"], slope = dense_backward(params["head"], seen, slope)
    if config.pool in ("first", "last"):
        dh = np.zeros_like(h)
        dh[rows, at] = slope
    else:
        dh = slope if config.pool == "none" else pooled_over_time_backward(h, mask, config.pool, slope)
    if params["norm"] is not None:
        found["norm"], dh = norm_backward(params["norm"], raw, dh)
    blocks = []
    for block, entered, more in zip(params["blocks"][::-1], inputs[::-1], kept[::-1], strict=True):
        part, dh = encode_backward(block, entered, config, mask, more, dh)
        blocks.insert(0, part)
    if params["positions"] is not None:
        found["positions"] = np.zeros_like(params["positions"])
        found["positions"][: h.shape[1]] = dh.sum(0)
    if params["project"] is not None:
        found["project"], dh = dense_backward(params["project"], blank(x, mask), dh)
    if params["embedding"] is not None:
        found["embedding"] = np.zeros_like(params["embedding"])
        np.add.at(found["embedding"], blank(x, mask), dh)
    return found | {"blocks": blocks}, blank(dh, mask) if params["embedding"] is None else None
