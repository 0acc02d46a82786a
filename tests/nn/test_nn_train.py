"""Training: what a step does, what a run returns, and that nothing is lost, whatever happens to it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.datasets import load_digits

from jaxinfra import Status
from jaxinfra.nn import cnn, rnn, train
from tests.networks import CONFIG, first_logit, linear, run, same, two_classes

QUIET = {"progress": False, "batch_size": 64}


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return (found.images[..., None] / 16).astype(np.float32), found.target.astype(np.int32)


@pytest.fixture(scope="module")
def start():
    return cnn.init(jax.random.key(0), CONFIG)


@pytest.fixture
def small(rng):
    return two_classes(rng)


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
    """A row among others, with NaN and a label that does not exist."""
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


def test_an_optimizer_may_keep_the_parameters_it_began_with(small):
    """As prodigy of optax.contrib does: steps overwrite the state, which must be no array of the caller's."""
    params, X, y = small
    params = jax.tree.map(jnp.asarray, params)
    keeps = optax.GradientTransformation(
        lambda params: params, lambda g, state, params=None: (jax.tree.map(lambda v: -0.1 * v, g), state)
    )
    run((params, X, y), optimizer=keeps, epochs=1)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


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
    for verb, data in ((train.evaluate, (X, y)), (train.predict, (X,))):
        with pytest.raises(ValueError, match=rf"{verb.__name__}: batch_size must be a positive integer, got 0"):
            verb(cnn.apply, params, *data, batch_size=0)
