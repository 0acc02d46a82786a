"""A network in PyTorch, started by `bench/runner/process.py` in a Python that has it.

Parameters go by the names of ours. Both have gates in the order i, f, g, o and r, z, n, and the same activations.
"""

from pathlib import Path

import numpy as np
import torch
from network_cases import RATE
from serving import cores, serve
from torch import nn
from torch.nn import functional as F

KERNEL, BIAS, HEAD = ".kernel", ".bias", ".head"


class CNN(nn.Module):
    def __init__(self, start):
        super().__init__()
        count = sum(name.startswith(".convolutions") and name.endswith(KERNEL) for name in start)
        kernels = [start[f".convolutions[{i}]{KERNEL}"].shape for i in range(count)]
        self.convolutions = nn.ModuleList([nn.Conv2d(c, o, (h, w)) for h, w, c, o in kernels])
        self.dense = nn.Linear(*start[f".dense[0]{KERNEL}"].shape)
        self.head = nn.Linear(*start[HEAD + KERNEL].shape)

    def forward(self, x):
        for layer in self.convolutions:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        # In the order of our flattening, so that the dense layer's parameters are the same.
        x = self.head(F.relu(self.dense(x.permute(0, 2, 3, 1).flatten(1))))
        return x[:, 0] if x.shape[1] == 1 else x

    def names(self):
        for i, layer in enumerate(self.convolutions):
            yield f".convolutions[{i}]{KERNEL}", layer.weight, (3, 2, 0, 1), None
            yield f".convolutions[{i}]{BIAS}", layer.bias, None, None
        yield from affine(".dense[0]", self.dense)
        yield from affine(HEAD, self.head)


class Recurrent(nn.Module):
    def __init__(self, start, kind):
        super().__init__()
        features, width = start[".layers[0][0]" + KERNEL].shape
        self.hidden = len(start[".layers[0][0].recurrent"])
        self.cell = kind(features, self.hidden, batch_first=True)
        nn.init.zeros_(self.cell.bias_hh_l0)  # ours has one bias, but for the GRU's candidate
        self.head = nn.Linear(*start[HEAD + KERNEL].shape)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])

    def names(self):
        cell, first = self.cell, ".layers[0][0]"
        yield first + KERNEL, cell.weight_ih_l0, (1, 0), None
        yield first + ".recurrent", cell.weight_hh_l0, (1, 0), None
        yield first + BIAS, cell.bias_ih_l0, None, None
        if isinstance(cell, nn.GRU):
            yield first + ".recurrent_bias", cell.bias_hh_l0, None, slice(2 * self.hidden, None)
        yield from affine(HEAD, self.head)


class Attention(nn.Module):
    def __init__(self, start, heads):
        super().__init__()
        width = len(start[".blocks[0].query" + KERNEL])
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.head = nn.Linear(*start[HEAD + KERNEL].shape)

    def forward(self, x):
        n, steps, width = x.shape
        q, k, v = (
            layer(x).view(n, steps, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, steps, width)
        return self.head(self.output(mixed).mean(1))

    def names(self):
        for name in ("query", "key", "value", "output"):
            yield from affine(f".blocks[0].{name}", getattr(self, name))
        yield from affine(HEAD, self.head)


def affine(name, layer):
    yield name + KERNEL, layer.weight, (1, 0), None
    yield name + BIAS, layer.bias, None, None


def build(name, start):
    """The network with the parameters of `start`."""
    if ".dense[0].kernel" in start:
        model = CNN(start)
    elif name == "attention":
        model = Attention(start, 4)
    else:
        model = Recurrent(start, nn.GRU if name == "gru" else nn.LSTM)
    with torch.no_grad():
        for ours, parameter, axes, part in model.names():
            value = torch.from_numpy(start[ours])
            target = parameter if part is None else parameter[part]
            target.copy_(value if axes is None else value.permute(axes))
    return model


def gradient(model, optimizer, x, y):
    """One forward and backward pass."""
    optimizer.zero_grad()
    out = model(x)
    loss = F.binary_cross_entropy_with_logits(out, y.float()) if out.ndim == 1 else F.cross_entropy(out, y)
    loss.backward()


def adam(model, rate=RATE):
    return torch.optim.Adam(model.parameters(), lr=rate, fused=True)


def learned(model, task):
    """The share of held-out rows that are wrong after all batches."""
    x, y, held = (torch.from_numpy(task[name]) for name in ("x", "y", "held_x"))
    if x.ndim == 4:
        x, held = x.permute(0, 3, 1, 2), held.permute(0, 3, 1, 2)
    optimizer = adam(model, float(task["rate"]))
    for index in task["batches"]:
        gradient(model, optimizer, x[index], y[index].long())
        optimizer.step()
    with torch.inference_mode():
        return float((model(held).argmax(1).numpy() != task["held_y"]).mean())


def main(implementation, name, folder):
    folder = Path(folder)
    torch.set_num_threads(cores())
    model = build(name, dict(np.load(folder / "params.npz")))
    if (folder / "lesson.npz").exists():
        return print(learned(model, np.load(folder / "lesson.npz")))
    rows = np.load(folder / "data.npz")
    x, y = torch.from_numpy(rows["x"]), torch.from_numpy(rows["y"]).long()
    batches = list(x)
    if name.startswith("cnn"):
        layout = torch.channels_last if implementation.endswith("channels last") else torch.contiguous_format
        batches = [batch.permute(0, 3, 1, 2).contiguous(memory_format=layout) for batch in batches]
        model = model.to(memory_format=layout)
    path = folder / f"{implementation}.npz"

    if name.endswith("forward"):

        @torch.inference_mode()
        def forward():
            return [model(batch) for batch in batches]

        np.savez(path, **{"['logits']": forward()[0].numpy()})
        return serve(forward)

    optimizer = adam(model)

    def call():
        for batch in zip(batches, y, strict=True):
            gradient(model, optimizer, *batch)
            optimizer.step()

    gradient(model, optimizer, batches[0], y[0])
    found = {}
    for ours, parameter, axes, part in model.names():
        value = parameter.grad if part is None else parameter.grad[part]
        # PyTorch has the kernel as (out, in, h, w) and its Linear as (out, in); `axes` says where ours go.
        found[ours] = (value if axes is None else value.permute([axes.index(i) for i in range(len(axes))])).numpy()
    np.savez(path, **found)
    return serve(call)
