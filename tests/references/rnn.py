"""Recurrent networks: forward pass and backpropagation through time in plain NumPy, one step at a time."""

from __future__ import annotations

import numpy as np

from tests.references.activations import ACTIVATIONS, SLOPES, dense, dense_backward, sigmoid


def step(kind, act, cell, x, h, c):
    """One step: (h', c', what its backward step needs)."""
    z = x @ cell["kernel"] + cell["bias"]
    u = h @ cell["recurrent"]
    if kind == "plain":
        return ACTIVATIONS[act](z + u), None, (z + u,)
    if kind == "lstm":
        i, f, g, o = np.split(z + u, 4, 1)
        new = sigmoid(f) * c + sigmoid(i) * ACTIVATIONS[act](g)
        return sigmoid(o) * ACTIVATIONS[act](new), new, (i, f, g, o, new)
    zr, zz, zn = np.split(z, 3, 1)
    ur, uz, un = np.split(u, 3, 1)
    candidate = un + cell["recurrent_bias"]
    r, update = sigmoid(zr + ur), sigmoid(zz + uz)
    before = zn + r * candidate
    return (1 - update) * ACTIVATIONS[act](before) + update * h, None, (zr + ur, zz + uz, before, candidate)


def step_backward(kind, act, cell, x, h, c, kept, dh, dc):
    """(gradients of the cell, of x, of h, of c)."""
    value, slope = ACTIVATIONS[act], SLOPES[act]
    s, ds = sigmoid, SLOPES["sigmoid"]
    direct, bias = 0, None
    if kind == "plain":
        dz = du = dh * slope(kept[0])
    elif kind == "lstm":
        i, f, g, o, new = kept
        dc = dc + dh * s(o) * slope(new)
        dz = du = np.concatenate(
            [dc * value(g) * ds(i), dc * c * ds(f), dc * s(i) * slope(g), dh * value(new) * ds(o)], 1
        )
        dc = dc * s(f)
    else:
        r, update, before, candidate = kept
        dn = dh * (1 - s(update)) * slope(before)
        dr = dn * candidate * ds(r)
        dupdate = dh * (h - value(before)) * ds(update)
        dz = np.concatenate([dr, dupdate, dn], 1)
        du = np.concatenate([dr, dupdate, dn * s(r)], 1)
        direct, bias = dh * s(update), (dn * s(r)).sum(0)
    found = {"kernel": x.T @ dz, "recurrent": h.T @ du, "bias": dz.sum(0), "recurrent_bias": bias}
    return found, dz @ cell["kernel"].T, du @ cell["recurrent"].T + direct, dc


def order(steps, backwards):
    """Time as a direction goes through it."""
    return range(steps)[::-1] if backwards else range(steps)


def direction(cell, x, config, mask, backwards):
    """(outputs (n, t, H), final h, records of each step in the order of the run)."""
    n, steps, _ = x.shape
    h, c = np.zeros((n, config.hidden)), np.zeros((n, config.hidden))
    outputs, records = np.zeros((n, steps, config.hidden)), []
    for t in order(steps, backwards):
        new_h, new_c, kept = step(config.cell, config.activation, cell, x[:, t], h, c)
        records.append((t, h, c, kept))
        real = mask[:, t, None]
        h, c = np.where(real, new_h, h), c if new_c is None else np.where(real, new_c, c)
        outputs[:, t] = h
    return outputs, h, records


def direction_backward(cell, x, config, mask, records, doutputs, dlast):
    """(gradients of the cell, gradient of x)."""
    total = {name: None if value is None else np.zeros_like(value) for name, value in cell.items()}
    dx, dh, dc = np.zeros_like(x), dlast.copy(), np.zeros_like(dlast)
    for t, h, c, kept in records[::-1]:
        dh = dh + doutputs[:, t]
        real = mask[:, t, None]
        found, dx[:, t], before, dc_before = step_backward(
            config.cell, config.activation, cell, x[:, t], h, c, kept, dh * real, dc * real
        )
        for name, value in found.items():
            if total[name] is not None:
                total[name] += value
        dh, dc = before + dh * ~real, dc_before + dc * ~real
    return total, dx


def run(params, x, config, mask):
    """(inputs of each layer, records of each direction, outputs, last states of the last layer)."""
    h = x if params["embedding"] is None else params["embedding"][x]
    inputs, records, last = [], [], None
    for layer in params["layers"]:
        inputs.append(h)
        runs = [direction(cell, h, config, mask, bool(way)) for way, cell in enumerate(layer)]
        records.append([r[2] for r in runs])
        h, last = np.concatenate([r[0] for r in runs], 2), np.concatenate([r[1] for r in runs], 1)
    return inputs, records, h, last


def pooled(h, last, mask, pool):
    """The input of the head."""
    if pool in ("last", "none"):
        return last if pool == "last" else h
    out = np.zeros((len(h), h.shape[2]))
    for row, real in enumerate(mask):
        if real.any():
            out[row] = getattr(h[row, real], pool)(0)
    return out


def pooled_backward(h, mask, pool, slope):
    """The gradient of the states."""
    out = np.zeros_like(h)
    for row, real in enumerate(mask):
        if not real.any():
            continue
        if pool == "mean":
            out[row, real] = slope[row] / real.sum()
        else:
            first = np.where(real[:, None], h[row], -np.inf).argmax(0)
            out[row, first, np.arange(h.shape[2])] = slope[row]
    return out


def forward(params, x, config, mask=None):
    """The logits."""
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    _, _, h, last = run(params, x, config, mask)
    logits = dense(params["head"], pooled(h, last, mask, config.pool))
    return logits[..., 0] if config.outputs == 1 else logits


def backward(params, x, config, cotangent, mask=None):
    """(gradients of the parameters, gradient of x or None for tokens) of sum(cotangent * logits)."""
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    slope = cotangent[..., None] if config.outputs == 1 else cotangent
    inputs, records, h, last = run(params, x, config, mask)
    head, slope = dense_backward(params["head"], pooled(h, last, mask, config.pool), slope)
    dlast, dh = np.zeros_like(last), np.zeros_like(h)
    if config.pool == "last":
        dlast = slope
    else:
        dh = slope if config.pool == "none" else pooled_backward(h, mask, config.pool, slope)
    layers = []
    for layer, entered, kept in zip(params["layers"][::-1], inputs[::-1], records[::-1], strict=True):
        ways = len(layer)
        parts = zip(layer, kept, np.split(dh, ways, 2), np.split(dlast, ways, 1), strict=True)
        found = [direction_backward(cell, entered, config, mask, r, part, end) for cell, r, part, end in parts]
        layers.insert(0, [cell for cell, _ in found])
        dh = sum(dx for _, dx in found)
        dlast = np.zeros((len(x), ways * config.hidden))
    embedding = None
    if params["embedding"] is not None:
        embedding = np.zeros_like(params["embedding"])
        np.add.at(embedding, x, dh)
    return {"embedding": embedding, "layers": layers, "head": head}, dh if embedding is None else None
