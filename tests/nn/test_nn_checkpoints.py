"""Training: what its checkpoints keep, whatever happens to the run or to them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinfra import Status
from jaxinfra.nn import _checkpoint
from tests.conftest import ROOT
from tests.networks import run, same, two_classes


@pytest.fixture
def small(rng):
    return two_classes(rng)


def test_a_loss_that_is_not_finite_stops_the_run(small, tmp_path):
    params, X, y = small
    bad = X.copy()
    bad[37, 1] = np.inf  # without shuffling in step 3 of each epoch
    with pytest.warns(RuntimeWarning, match=r"not finite at step 3 \(epoch 1, step 4 of 5\)"):
        found = run((params, bad, y), shuffle=False, checkpoint=tmp_path / "first")
    assert found.status is Status.NONFINITE
    rows = slice(0, 30)
    before = run((params, X[rows], y[rows]), shuffle=False, epochs=1)
    np.testing.assert_allclose(found.params["w"], before.params["w"], rtol=1e-6)

    # After a good epoch its checkpoint survives, and is named.
    def explode(step):
        return jnp.where(step < 7, 0.1, jnp.inf)

    with pytest.warns(RuntimeWarning, match=r"epoch 2.*last good checkpoint is .*1"):
        found = run(small, optimizer="sgd", learning_rate=explode, checkpoint=tmp_path / "second")
    assert len(found.history["loss"]) == 1 and np.isfinite(found.params["w"]).all()


def test_damaged_checkpoints(small, tmp_path):
    whole = run(small, epochs=4, checkpoint=tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    payload = max(
        (p for p in (tmp_path / "b" / "4" / "arrays").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    payload.write_bytes(payload.read_bytes()[: payload.stat().st_size // 2])
    with pytest.warns(RuntimeWarning, match=r"damaged checkpoints: .*4 .*going on from .*3"):
        again = run(small, epochs=4, checkpoint=tmp_path / "b")
    same(again.params, whole.params)
    shutil.rmtree(tmp_path / "a" / "4")
    for file in (tmp_path / "a" / "3" / "arrays").rglob("*"):
        if file.is_file():
            file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read: .*3 \("):
        run(small, epochs=4, checkpoint=tmp_path / "a")


def test_bits_that_flip_in_a_checkpoint_are_seen(small, tmp_path, monkeypatch):
    run(small, epochs=2, checkpoint=tmp_path)
    genuine = _checkpoint.Checkpoints._arrays

    def flipped(self, epoch, shapes):
        found = genuine(self, epoch, shapes)
        if epoch == 2:
            name = next(name for name in found if "'w'" in name)
            found[name] = np.asarray(found[name]) + np.float32(1e-6)
        return found

    monkeypatch.setattr(_checkpoint.Checkpoints, "_arrays", flipped)
    with pytest.warns(RuntimeWarning, match="do not match their checksum.*going on from .*1"):
        again = run(small, epochs=2, checkpoint=tmp_path)
    monkeypatch.undo()
    same(again.params, run(small, epochs=2).params)


def test_checkpoints_of_another_run_are_refused(small, tmp_path):
    run(small, epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="is of another run \\(batch: 10 there, 25 now; steps: 5 there, 2 now\\)"):
        run(small, epochs=2, batch_size=25, checkpoint=tmp_path)
    params, X, y = small
    with pytest.raises(ValueError, match="of another run \\(data"):
        run((params, X + 1, y), epochs=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="of another run \\(start"):
        run(({**params, "b": params["b"] + 1}, X, y), epochs=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="of another run \\(learning_rate: 0.001 there, 0.01 now"):
        run(small, epochs=2, checkpoint=tmp_path, learning_rate=0.01)


FULL = """
import resource, sys, warnings
import jax, numpy as np
from jaxinfra.nn import train
from tests.networks import run
rng = np.random.default_rng(0)
X = rng.standard_normal((50, 3)).astype(np.float32)
params = {"w": jax.numpy.zeros((3, 2), "float32"), "b": jax.numpy.zeros((1, 2), "float32")}
data = params, X, (X[:, 0] > 0).astype("int32")
run(data, epochs=1, checkpoint=sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))  # from here on no file can grow beyond 64 bytes
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = run(data, epochs=3, checkpoint=sys.argv[1])
print([str(w.message) for w in caught if "could not be written" in str(w.message)])
print(len(found.history["loss"]), found.status.name)
"""


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the checkpoint of epoch 2 could not be written" in done.stdout
    assert f"the one before is whole: {tmp_path / '1'}" in done.stdout
    assert "3 CONVERGED" in done.stdout


KILLED = """
import sys
import jax, numpy as np
from sklearn.datasets import load_digits
from jaxinfra.nn import cnn, train
from tests.networks import CONFIG
found = load_digits()
X, y = (found.images[..., None] / 16).astype("float32"), found.target.astype("int32")
params = cnn.init(jax.random.key(0), CONFIG)
result = train.fit(cnn.apply, params, X, y, key=jax.random.key(1), epochs=12, batch_size=64, validation_split=0.2,
                   average=0.99, progress=False, checkpoint=sys.argv[1] or None)
leaves = jax.tree.leaves((result.params, result.best, result.average))
np.savez(sys.argv[2], *leaves, loss=result.history["loss"], val=result.history["val_loss"])
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_bits(tmp_path):
    def start(folder, out):
        command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / out)]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"})

    assert start("", "whole.npz").wait() == 0
    folder, kills = tmp_path / "run", 0
    for wanted in (2, 5, 8):  # kill -9 as soon as this epoch's folder, finished or not, appears
        process = start(folder, "killed.npz")
        while process.poll() is None:
            epochs = [re.match(r"\d+", path.name) for path in folder.iterdir()] if folder.exists() else []
            if any(epoch and int(epoch.group()) >= wanted for epoch in epochs):
                time.sleep(0.002 * wanted)
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
            time.sleep(0.0005)
    assert kills == 3
    assert start(folder, "resumed.npz").wait() == 0
    whole, resumed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "resumed.npz")
    assert set(whole) == set(resumed)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_a_finished_run_returns_what_it_had(small, tmp_path):
    first = run(small, checkpoint=tmp_path, average=0.9)
    again = run(small, checkpoint=tmp_path, average=0.9)
    same((first.params, first.best, first.average), (again.params, again.best, again.average))
    assert first.best_epoch == again.best_epoch
    for name, values in first.history.items():
        np.testing.assert_array_equal(again.history[name], values)
