"""Training: what a step does, what a run returns, and that nothing is lost, whatever happens to it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.datasets import load_digits

from jaxinfra import Status
from jaxinfra.nn import _checkpoint, cnn, rnn, train

CONFIG = cnn.Config((8, 8, 1), (cnn.Block(8, padding="same"), cnn.Block(16, padding="same")), (32,), 10)
QUIET = {"progress": False, "batch_size": 64}


def linear(params, x):
    return x @ params["w"] + params["b"]


def first_logit(params, x):
    return linear(params, x)[:, 0]


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return (found.images[..., None] / 16).astype(np.float32), found.target.astype(np.int32)


@pytest.fixture(scope="module")
def start():
    return cnn.init(jax.random.key(0), CONFIG)


@pytest.fixture
def small(rng):
    X = rng.standard_normal((50, 3)).astype(np.float32)
    y = (X @ np.float32([1, -2, 0.5]) > 0).astype(np.int32)
    return {"w": jnp.zeros((3, 2), jnp.float32), "b": jnp.zeros((1, 2), jnp.float32)}, X, y


def same(a, b):
    assert all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def run(small, **kwargs):
    params, X, y = small
    kwargs = {"key": jax.random.key(1), "epochs": 3, "batch_size": 10, "progress": False, **kwargs}
    return train.fit(linear, params, X, y, **kwargs)


def test_steps_are_those_of_the_textbook(small):
    """Gradient descent on the cross-entropy, without shuffling, written in NumPy in float64."""
    params, X, y = small
    weight = np.linspace(0, 2, 50).astype(np.float32)
    found = run(small, optimizer="sgd", learning_rate=0.3, shuffle=False, batch_size=16, sample_weight=weight, epochs=2)
    W, b, target, losses = np.zeros((3, 2)), np.zeros(2), np.eye(2)[y], []
    for _ in range(2):
        sums = np.zeros(2)
        for rows in np.split(np.arange(50), [16, 32, 48]):
            logits = X[rows] @ W + b
            chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            share = weight[rows] / weight[rows].sum()
            sums += [weight[rows] @ -np.log(chance[target[rows] > 0]), weight[rows].sum()]
            slope = (chance - target[rows]) * share[:, None]
            W, b = W - 0.3 * X[rows].T @ slope, b - 0.3 * slope.sum(0)
        losses.append(sums[0] / sums[1])
    np.testing.assert_allclose(found.params["w"], W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.params["b"][0], b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.history["loss"], losses, rtol=1e-5)


def test_adam_is_the_papers(small):
    """Kingma and Ba 2015, algorithm 1."""
    params, X, y = small
    found = run(small, learning_rate=0.1, shuffle=False, batch_size=25, epochs=2)
    W, m, v, target = np.zeros((4, 2)), 0, 0, np.eye(2)[y]
    A = np.column_stack([X, np.ones(50)])
    for t, half in enumerate([slice(25), slice(25, 50)] * 2, 1):
        chance = np.exp(A[half] @ W)
        chance /= chance.sum(1, keepdims=True)
        g = A[half].T @ (chance - target[half]) / 25
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        W = W - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(found.params["w"], W[:3], rtol=1e-3, atol=1e-5)


def test_weight_zero_is_a_row_that_is_absent(small):
    """In the midst of others, with NaN and a label that does not exist."""
    params, X, y = small
    kept = np.arange(60) % 6 != 2
    more, labels, weight = np.full((60, 3), np.nan, np.float32), np.full(60, 7, np.int32), kept.astype(np.float32)
    more[kept], labels[kept] = X, y
    whole = run((params, more, labels), sample_weight=weight, shuffle=False, batch_size=12)
    few = run(small, shuffle=False, batch_size=10)
    np.testing.assert_allclose(whole.params["w"], few.params["w"], rtol=1e-5)
    found = train.evaluate(linear, few.params, more, labels, sample_weight=weight)
    expected = train.evaluate(linear, few.params, X, y)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_class_weights_are_sample_weights(small):
    params, X, y = small
    expected = run(small, sample_weight=np.where(y == 1, 3, 1).astype(np.float32))
    for given in ({1: 3.0}, [1.0, 3.0]):
        same(run(small, class_weight=given).params, expected.params)
    counts = np.bincount(y)
    same(run(small, class_weight="balanced").params, run(small, class_weight=50 / (2 * counts)).params)
    with pytest.raises(ValueError, match="whole numbers"):  # a probability is no class
        train.fit(first_logit, params, X, y * 0.5, key=jax.random.key(1), loss="sigmoid", class_weight="balanced")
    # Rows of weight 0 do not count, whatever their class.
    more = np.concatenate([X, np.full((5, 3), np.nan, np.float32)])
    labels, weight = np.append(y, np.full(5, 9, np.int32)), np.append(np.ones(50), np.zeros(5))
    padded = run((params, more, labels), sample_weight=weight, class_weight="balanced", shuffle=False)
    whole = run(small, class_weight="balanced", shuffle=False)
    np.testing.assert_allclose(padded.params["w"], whole.params["w"], rtol=1e-6)


def test_a_run_follows_from_its_key(small):
    same(run(small).params, run(small).params)
    assert np.abs(run(small).params["w"] - run(small, key=jax.random.key(2)).params["w"]).max() > 1e-6


def test_arrays_of_jax_and_numpy_give_the_same(small):
    params, X, y = small
    same(run(small).params, run((params, jnp.asarray(X), jnp.asarray(y))).params)


def test_the_number_of_steps_in_a_call_does_not_matter(small, monkeypatch):
    whole = run(small)
    monkeypatch.setattr("jaxinfra.nn._batches.CHUNK_STEPS", 3)
    cut = run(small)  # 5 steps as 3 and 2, the last call with one that counts nothing
    np.testing.assert_allclose(cut.params["w"], whole.params["w"], rtol=1e-6)
    np.testing.assert_allclose(cut.history["loss"], whole.history["loss"], rtol=1e-6)


def test_steps_per_epoch_goes_through_several_passes(small):
    two_passes = run(small, steps_per_epoch=10, epochs=1)
    assert len(two_passes.history["loss"]) == 1
    assert np.abs(two_passes.params["w"] - run(small, epochs=1).params["w"]).max() > 1e-4


def test_a_second_run_compiles_nothing(small, compilations):
    params, X, y = small
    run(small)
    with compilations() as count:
        run((params, X + 1, 1 - y), learning_rate=0.5, key=jax.random.key(7), epochs=2)
    assert count[0] == 0


def test_schedule_clipping_and_average(small):
    halving = optax.exponential_decay(0.4, 1, 0.5)
    found = run(small, optimizer="sgd", learning_rate=halving, clip_norm=1e-3, shuffle=False, epochs=1)
    # Every gradient is longer than that, so the steps have the lengths 0.4e-3, 0.2e-3, ...
    assert np.linalg.norm(np.concatenate([found.params["w"].ravel(), found.params["b"].ravel()])) < 0.8e-3
    first = run(small, optimizer="sgd", learning_rate=halving, clip_norm=1e-3, shuffle=False, batch_size=50, epochs=1)
    length = np.linalg.norm(np.concatenate([first.params["w"].ravel(), first.params["b"].ravel()]))
    np.testing.assert_allclose(length, 0.4e-3, rtol=1e-4)
    moving = run(small, average=0.9, batch_size=50, epochs=2, optimizer="sgd", learning_rate=1.0)
    one, two = (run(small, batch_size=50, epochs=n, optimizer="sgd", learning_rate=1.0).params["w"] for n in (1, 2))
    np.testing.assert_allclose(moving.average["w"], 0.9 * 0.1 * one + 0.1 * two, rtol=1e-5)


def test_users_optimizer_and_loss(small):
    rule = optax.sgd(0.3)
    params, X, y = small
    given = train.fit(
        linear, params, X, y, optimizer=rule, key=jax.random.key(1), epochs=3, batch_size=10, progress=False
    )
    same(given.params, run(small, optimizer="sgd", learning_rate=0.3).params)

    def cross_entropy(logits, y):
        return optax.softmax_cross_entropy_with_integer_labels(logits, y)

    own = run(small, loss=cross_entropy)
    same(own.params, run(small).params)
    assert "accuracy" not in own.history


def test_networks_of_flax_train(digits):
    """A module of nnx, split into a pure function and its parameters."""
    from flax import nnx

    X, y = digits
    graph, params = nnx.split(nnx.Linear(64, 10, rngs=nnx.Rngs(0)))

    def apply(params, x):
        return nnx.merge(graph, params)(x)

    result = train.fit(
        apply, params, X.reshape(-1, 64), y, key=jax.random.key(0), epochs=5, learning_rate=1e-2, **QUIET
    )
    assert result.history["accuracy"][-1] > 0.9


def test_metrics_are_those_of_scikit_learn(digits, start, rng):
    X, y = digits
    weight = rng.uniform(0, 2, len(y)).astype(np.float32)
    trained = train.fit(cnn.apply, start, X, y, key=jax.random.key(1), epochs=2, **QUIET).params
    found = train.evaluate(cnn.apply, trained, X, y, sample_weight=weight, batch_size=100)
    logits = train.predict(cnn.apply, trained, X, batch_size=100)
    np.testing.assert_allclose(logits, cnn.apply(trained, X), rtol=1e-4, atol=1e-5)
    chance, guess = np.asarray(jax.nn.softmax(logits, -1), np.float64), logits.argmax(1)
    chance /= chance.sum(1, keepdims=True)
    expected = sklearn_metrics.log_loss(y, chance, sample_weight=weight)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(
        found["accuracy"], sklearn_metrics.accuracy_score(y, guess, sample_weight=weight), rtol=1e-5
    )
    table = sklearn_metrics.confusion_matrix(y, guess, sample_weight=weight)
    np.testing.assert_allclose(found["confusion"], table, rtol=1e-4)
    auc = np.mean([sklearn_metrics.roc_auc_score(y == k, chance[:, k], sample_weight=weight) for k in range(10)])
    np.testing.assert_allclose(found["auc"], auc, rtol=1e-5)

    def margin(params, x):
        return jnp.round(x.mean((1, 2, 3)) * 8) / 8 * params  # many ties

    binary = train.evaluate(margin, jnp.float32(1), X, (y > 4).astype(np.int32), sample_weight=weight)
    expected = sklearn_metrics.roc_auc_score(y > 4, margin(1, jnp.asarray(X)), sample_weight=weight)
    np.testing.assert_allclose(binary["auc"], expected, rtol=1e-5)


def test_validation_best_and_early_stopping(digits, start):
    X, y = digits
    kwargs = {"key": jax.random.key(1), "validation_split": 0.3, "metrics": ("accuracy", "auc", "confusion"), **QUIET}
    found = train.fit(cnn.apply, start, X, y, epochs=30, learning_rate=0.02, patience=2, **kwargs)
    loss = found.history["val_loss"]
    assert found.best_epoch == 1 + loss.argmin()
    assert len(loss) == min(30, found.best_epoch + 2)
    assert found.status is Status.CONVERGED and "no better val_loss" in found.message
    assert found.history["val_confusion"].shape == (len(loss), 10, 10)
    cut = len(y) - round(0.3 * len(y))
    held = train.evaluate(cnn.apply, found.best, X[cut:], y[cut:], metrics=())
    np.testing.assert_allclose(held["loss"], loss.min(), rtol=1e-5)
    given = train.fit(
        cnn.apply, start, X[:cut], y[:cut], epochs=2, learning_rate=0.02, validation=(X[cut:], y[cut:]),
        **{**kwargs, "validation_split": 0.0},
    )  # fmt: skip
    np.testing.assert_array_equal(given.history["val_loss"], loss[:2])
    assert "best epoch" in repr(found)


def test_masks_reach_the_network(rng):
    config = rnn.Config(2, 8, 2, "gru")
    params = rnn.init(jax.random.key(0), config)
    X, length = rng.standard_normal((80, 6, 2)).astype(np.float32), rng.integers(1, 7, 80)
    mask = np.arange(6) < length[:, None]
    y = (np.where(mask[..., None], X, 0).sum((1, 2)) > 0).astype(np.int32)
    kwargs = {"key": jax.random.key(1), "epochs": 2, "batch_size": 20, "progress": False}
    seen = train.fit(rnn.apply, params, X, y, mask=mask, **kwargs)
    strange = train.fit(rnn.apply, params, np.where(mask[..., None], X, 9).astype(np.float32), y, mask=mask, **kwargs)
    np.testing.assert_allclose(seen.history["loss"], strange.history["loss"], rtol=1e-6)
    assert seen.history["loss"][0] != train.fit(rnn.apply, params, X, y, **kwargs).history["loss"][0]


def test_bfloat16_trains_and_keeps_float32(digits, start):
    X, y = digits
    kwargs = {"key": jax.random.key(1), "epochs": 3, "learning_rate": 3e-3, **QUIET}
    narrow = train.fit(cnn.apply, start, X, y, precision="bfloat16", **kwargs)
    wide = train.fit(cnn.apply, start, X, y, **kwargs)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(narrow.params))
    # A value is off by up to 2^-8 of itself, and so is a gradient; what its steps move adds up, epoch by epoch.  Of
    # what is allowed here the epochs of three keys have a tenth, half and six tenths.
    apart = np.abs(narrow.history["loss"] / wide.history["loss"] - 1)
    assert (apart <= 2 * 2.0**-8 * np.arange(1, 4)).all(), apart
    assert not np.array_equal(narrow.history["loss"], wide.history["loss"])


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
from tests.test_nn_train import run
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
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the checkpoint of epoch 2 could not be written" in done.stdout
    assert f"the one before is whole: {tmp_path / '1'}" in done.stdout
    assert "3 CONVERGED" in done.stdout


KILLED = """
import sys
import jax, numpy as np
from sklearn.datasets import load_digits
from jaxinfra.nn import cnn, train
from tests.test_nn_train import CONFIG
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
        return subprocess.Popen(command, cwd=Path(__file__).parents[1], env={**os.environ, "JAX_PLATFORMS": "cpu"})

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


MESH = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from sklearn.datasets import load_digits
from jaxinfra.nn import cnn, rnn, train
from tests.test_nn_train import CONFIG
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
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.stdout.endswith("agree\n"), done.stderr[-3000:]


def test_a_finished_run_returns_what_it_had(small, tmp_path):
    first = run(small, checkpoint=tmp_path, average=0.9)
    again = run(small, checkpoint=tmp_path, average=0.9)
    same((first.params, first.best, first.average), (again.params, again.best, again.average))
    assert first.best_epoch == again.best_epoch
    for name, values in first.history.items():
        np.testing.assert_array_equal(again.history[name], values)


def test_progress_and_tensorboard(small, tmp_path, capsys):
    run(small, progress=True, epochs=2, tensorboard=tmp_path, validation_split=0.2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line[:9] for line in lines if "loss" in line] == ["epoch 1/2", "epoch 2/2"]
    events = next(tmp_path.glob("events*")).read_bytes()
    assert b"train/loss" in events and b"validation/accuracy" in events


def test_bad_input(small):
    params, X, y = small
    cases = [
        ({"batch_size": 51}, "batch_size 51 is larger than the 50 rows"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"optimizer": "adamm"}, "optax has no optimizer 'adamm'"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"metrics": ("f1",)}, "metrics must be one of"),
        ({"monitor": "val_loss"}, "monitor must be one of"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"validation_split": 1.0}, "validation_split must lie in"),
        ({"validation_split": 0.001}, "leaves one part empty"),
        ({"sample_weight": np.zeros(50)}, "every sample_weight is 0"),
        ({"sample_weight": np.ones(49)}, "sample_weight must have shape"),
        ({"class_weight": {2: 1.0}}, "class_weight names classes outside"),
        ({"mask": np.ones((50, 2), bool)}, "a mask is given, but apply takes none"),
        ({"average": 1.0}, "average must lie in"),
        ({"patience": 0}, "patience must be a positive integer"),
        ({"min_delta": -1.0}, "min_delta must not be negative"),
        ({"class_weight": {0: 0.0, 1: 0.0}}, "no row is left with a weight above 0"),
        ({"sample_weight": np.zeros(50)}, "weight"),
        (
            {"validation_split": 0.2, "sample_weight": np.append(np.ones(40), np.zeros(10))},
            "validation: no row is left",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            run(small, **arguments)
    with pytest.raises(ValueError, match=r"y must lie in 0..1, got 0..2"):
        run((params, X, np.where(y, 2, 0).astype(np.int32)))
    with pytest.raises(ValueError, match="y must lie in 0..1"):
        run(small, validation=(X, y + 1))
    with pytest.raises(ValueError, match="same number of rows"):
        run((params, X[:-1], y))
    with pytest.raises(TypeError, match="key must be a jax.random.key"):
        run(small, key=0)
    with pytest.raises(TypeError, match="apply must be a function"):
        train.fit(params, params, X, y, key=jax.random.key(0))
