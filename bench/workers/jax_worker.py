"""A network in JAX, started by `bench/runner/process.py`.

The implementation `reference` is no implementation: it writes the parameters, and the gradient (the logits) in float64.
"""

from functools import partial
from pathlib import Path

import jax
import network_cases
import numpy as np
import optax
import plain_networks
from serving import cores, serve


def write(path, tree):
    """Leaves by the names of their paths, which every library can map."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    np.savez(path, **{jax.tree_util.keystr(at): np.asarray(leaf) for at, leaf in pairs})


def reference(name, folder):
    params = network_cases.network(name)[1]
    write(folder / "params.npz", params)
    if name in network_cases.LESSONS:
        return np.savez(folder / "lesson.npz", **network_cases.lesson(name))
    x, y = network_cases.data(name)
    np.savez(folder / "data.npz", x=x, y=y)
    wide = jax.tree.map(lambda leaf: leaf.astype("float64"), params)
    if network_cases.CASES[name].train:
        found = jax.jit(jax.grad(plain_networks.loss(name)))(wide, x[0].astype("float64"), y[0])
    else:
        found = {"logits": jax.jit(plain_networks.APPLY[name])(wide, x[0].astype("float64"))}
    write(folder / "reference.npz", found)


def ours(name, path, devices):
    case = network_cases.CASES[name]
    if case.train:
        # Of the second step: the first batch is put there, so that the gradient is that of a step within the scan.
        probe = network_cases.Ours(name, devices, network_cases.keep_gradient())
        probe.rows = jax.tree.map(lambda rows: rows[::-1], probe.rows)
        write(path, probe()[0].optimizer)
    else:
        write(path, {"logits": network_cases.Ours(name, devices)()[0]})
    jax.clear_caches()
    return network_cases.Ours(name, devices)


def plain(name, path):
    (x, y), (_, params, _) = jax.device_put(network_cases.data(name)), network_cases.network(name)
    apply, loss, rule = (
        jax.jit(plain_networks.APPLY[name]),
        plain_networks.loss(name),
        optax.adam(network_cases.RATE),
    )

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, x, y):
        update, state = rule.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, update), state

    if not network_cases.CASES[name].train:
        write(path, {"logits": apply(params, x[0])})
        return lambda: jax.block_until_ready([apply(params, batch) for batch in x])
    write(path, jax.jit(jax.grad(loss))(params, x[0], y[0]))
    state = [params, rule.init(params)]

    def call():
        for batch in zip(x, y, strict=True):
            state[:] = step(*state, *batch)
        jax.block_until_ready(state)

    return call


def learned(name, folder):
    """The share of held-out rows that are wrong after all batches."""
    task = np.load(folder / "lesson.npz")
    batches = (task["x"][task["batches"]], task["y"][task["batches"]])
    ours = network_cases.Ours(name, optimizer=optax.adam(float(task["rate"])), batches=batches)
    ours()
    module = network_cases.network(name)[0]
    return float((module.predict(ours.state.params, task["held_x"]) != task["held_y"]).mean())


def main(implementation, name, folder):
    folder = Path(folder)
    if implementation == "reference":
        jax.config.update("jax_enable_x64", True)
        return reference(name, folder)
    if name in network_cases.LESSONS:
        return print(learned(name, folder))
    path = folder / f"{implementation}.npz"
    if implementation == "plain JAX":
        return serve(plain(name, path))
    devices = 1 if implementation.endswith("1 device") else cores()
    jax.config.update("jax_num_cpu_devices", devices)
    return serve(ours(name, path, jax.devices() if devices > 1 else None))
