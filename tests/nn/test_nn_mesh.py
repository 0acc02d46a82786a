"""Training over several devices: the result is that of one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

MESH = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from sklearn.datasets import load_digits
from jaxinfra.nn import cnn, rnn, train
from tests.networks import CONFIG
found = load_digits()
X, y = (found.images / 16).astype("float32"), found.target.astype("int32")
length = np.random.default_rng(0).integers(1, 9, len(y))
mask = np.arange(8) < length[:, None]
cases = [
    (cnn, CONFIG, X[..., None], None),
    (rnn, rnn.Config(8, 16, cell="lstm", bidirectional=True), X, mask),
    (rnn, rnn.Config(8, 16, cell="gru", pool="mean"), X, mask),
]
axes = (jax.sharding.AxisType.Auto,)
meshes = [None, jax.make_mesh((4,), ("data",), axis_types=axes), jax.make_mesh((2, 2), ("a", "b"), axis_types=axes * 2)]
for module, config, X, mask in cases:
    params = module.init(jax.random.key(0), config)
    weight = np.random.default_rng(1).uniform(0, 2, len(y)).astype("float32")
    results = [
        train.fit(module.apply, params, X, y, key=jax.random.key(1), epochs=2, batch_size=64, mesh=mesh, mask=mask,
                  sample_weight=weight, validation_split=0.2, clip_norm=1.0, progress=False) for mesh in meshes
    ]
    one = results[0]
    for spread in results[1:]:
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(spread.params), strict=True):
            assert len(b.sharding.device_set) == 4
            np.testing.assert_allclose(b, a, rtol=0, atol=2e-4 * np.abs(a).max())
        for name in ("loss", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(spread.history[name], one.history[name], rtol=1e-3)
print("agree")
"""


@pytest.mark.slow
def test_a_mesh_gives_the_result_of_one_device():
    command = [sys.executable, "-W", "error", "-c", MESH]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("agree\n"), done.stderr[-3000:]
