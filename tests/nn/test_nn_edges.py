"""Training at its edges: labels as columns, classes in order, weights that are not one, logits and parameters at the
ends of their types, and errors, which speak of the user's arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import roc_auc_score

from jaxinfra import Status
from jaxinfra.nn import _metrics, cnn, rnn, train
from tests.networks import drawn, first_logit, linear, run, same, two_classes

QUIET = {"key": jax.random.key(1), "progress": False}


def scaled(scale, x):
    """Logits that are x."""
    return x * scale


def narrow(params, x):
    return linear(params, x.astype(params["w"].dtype))


ONE = np.ones((), np.float32)


@pytest.fixture
def small(rng):
    return two_classes(rng)


def test_one_hot_labels_are_those_of_integers(small):
    params, X, y = small
    expected, columns = run(small), np.eye(2)[y]
    for dtype in (np.float64, np.float32, np.int32, bool):
        found = run((params, X, columns.astype(dtype)))
        same(found.params, expected.params)
        np.testing.assert_array_equal(found.history["accuracy"], expected.history["accuracy"])
    balanced = run((params, X, jnp.asarray(columns)), class_weight="balanced")
    same(balanced.params, run(small, class_weight="balanced").params)
    # A row that is absent may contain anything.
    weight = np.ones(50, np.float32)
    weight[[3, 4]] = 0
    strange = columns.copy()
    strange[3] = np.nan
    strange[4] = 7
    same(run((params, X, strange), sample_weight=weight).params, run(small, sample_weight=weight).params)


@pytest.mark.parametrize("columns", [1, 2])
def test_logits_that_are_nan_are_of_no_class(small, columns):
    """Else a network that broke off would have the accuracy of one that calls all the first class."""
    _, X, y = small

    def apply(params, x):
        return x[:, :2] if columns == 2 else x[:, 0]

    lost = X.copy()
    lost[3, 0] = np.nan
    given = {"loss": "softmax" if columns == 2 else "sigmoid", "metrics": ("accuracy", "auc", "confusion")}
    found = train.evaluate(apply, {}, lost, y, **given)
    assert np.isnan(found["accuracy"]) and np.isnan(found["auc"]) and np.isnan(found["confusion"]).any()
    # A row that is absent may contain anything.
    absent = train.evaluate(apply, {}, lost, y, sample_weight=(np.arange(len(y)) != 3).astype(np.float32), **given)
    rest = train.evaluate(apply, {}, np.delete(X, 3, 0), np.delete(y, 3), **given)
    for name in ("accuracy", "auc"):
        np.testing.assert_allclose(absent[name], rest[name], rtol=1e-6)
    np.testing.assert_array_equal(absent["confusion"], rest["confusion"])


def test_soft_labels_have_the_cross_entropy(small):
    params, X, y = small
    soft = np.where(np.eye(2)[y] > 0, 0.8, 0.2).astype(np.float32)
    found = run((params, X, soft), optimizer="sgd", learning_rate=0.3, batch_size=50, epochs=1)
    np.testing.assert_allclose(found.history["loss"], [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(found.params["w"], 0.3 * X.T @ (soft - 0.5) / 50, rtol=1e-5, atol=1e-7)
    # In bfloat16 0.35 and 0.65 are 2 in 1000 short of 1: classes all the same, which have an accuracy.
    with pytest.raises(ValueError, match="monitor must be one of loss, accuracy, got"):
        run((params, X, np.where(soft > 0.5, 0.65, 0.35).astype(jnp.bfloat16)), monitor="f1")
    # A class without a share may have a logit of -inf, as under integers.
    logits = np.float32([[-np.inf, 1, 0], [2, -np.inf, 1], [0, 1, 2], [1, 1, 1]])
    shares = np.float32([[0, 0.5, 0.5], [1, 0, 0], [0.2, 0.3, 0.5], [0, 0, 1]])
    part = logits.astype(float) - np.log(np.exp(logits.astype(float)).sum(1, keepdims=True))
    expected = -(shares * np.where(shares > 0, part, 0)).sum(1)
    loss = jax.jit(jax.value_and_grad(lambda z, y: _metrics.row_losses("softmax", z, y, None).sum()))
    value, slope = loss(logits, shares)
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(slope, np.exp(part) - shares, rtol=0, atol=1e-6)


def test_labels_that_say_too_little_are_errors(small):
    """Labels that would silently be a regression, or a class a step."""
    params, X, y = small
    with pytest.raises(ValueError, match=r"2 columns of y must be probabilities of the classes"):
        run((params, X, np.ones((50, 2), np.float32)), loss="softmax")
    with pytest.raises(ValueError, match='y holds only 0 and 1, as float32: give loss="sigmoid" for classes'):
        train.fit(first_logit, params, X, y.astype(np.float32), **QUIET)
    with pytest.raises(ValueError, match=r"validation: the 2 columns of y must be probabilities"):
        run(small, validation=(X, np.ones((50, 2), np.float32)))


def test_a_step_is_no_class():
    """One event in each sequence: columns of y that sum to 1, and are steps."""
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    y = np.eye(4, dtype=np.int32)[[0, 1, 2, 3, 0, 1]]
    expected = np.log1p(np.exp(-np.where(y > 0, x, -x).astype(float))).mean()
    found = train.evaluate(scaled, ONE, x, y, metrics=())
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_a_split_of_sorted_classes_warns(small):
    params, X, _ = small
    y = np.repeat([0, 1], 25).astype(np.int32)
    with pytest.warns(UserWarning, match="y is sorted by class: shuffle X and y first") as found:
        train.fit(linear, params, X, y, validation_split=0.2, epochs=1, batch_size=10, **QUIET)
    assert [record.filename for record in found] == [__file__]
    # Here warnings are errors.
    for other in (y[::-1], np.eye(2)[y]):
        with pytest.raises(UserWarning, match="sorted by class"):
            run((params, X, other), validation_split=0.2)
    blocks = {"w": np.zeros((3, 3), np.float32), "b": np.zeros((1, 3), np.float32)}
    with pytest.raises(UserWarning, match="sorted by class"):
        run((blocks, X, np.repeat([1, 0, 2], [20, 20, 10])), validation_split=0.2)
    # Of a regression there are no classes; with a set of one's own nothing is split: only the wrong name is said.
    with pytest.raises(ValueError, match="monitor must be one of"):
        train.fit(first_logit, params, X, np.arange(50.0), validation_split=0.2, monitor="val_f1", **QUIET)
    with pytest.raises(ValueError, match="monitor must be one of"):
        run((params, X, y), validation=(X, y), monitor="val_f1")


PICTURES = cnn.Config((4, 4, 1), (cnn.Block(2, pool=1),), (), 3)


def test_errors_speak_of_the_users_arrays():
    """The network is tried on shapes, runs in batches and chunks: what is wrong is said of what was given."""
    params = drawn(cnn, PICTURES, jnp.float32)
    X, y = np.zeros((300, 4, 4, 1), np.float32), np.arange(300) % 3
    wrong, few = X[:, 1:], X[:40, 1:]
    cases = [
        (r"got \(300, 3, 4, 1\)", lambda: train.fit(cnn.apply, params, wrong, y, **QUIET)),
        (r"got \(300, 3, 4, 1\)", lambda: train.evaluate(cnn.apply, params, wrong, y)),
        (r"got \(300, 3, 4, 1\)", lambda: train.predict(cnn.apply, params, wrong)),
        (r"got \(40, 3, 4, 1\)", lambda: train.fit(cnn.apply, params, X, y, validation=(few, y[:40]), **QUIET)),
        (
            r"softmax needs y of shape \(300,\) or \(300, 3\) beside logits \(300, 3\), got \(300, 2\)",
            lambda: train.fit(cnn.apply, params, X, np.zeros((300, 2), int), loss="softmax", **QUIET),
        ),
        (
            r"validation: softmax needs y of shape \(40,\) or .*, got \(40, 2\)",
            lambda: train.fit(cnn.apply, params, X, y, validation=(X[:40], np.zeros((40, 2), int)), **QUIET),
        ),
        (
            r"augment must keep shape and dtype, \(300, 4, 4, 1\) float32, got \(300, 3, 4, 1\) float32",
            lambda: train.fit(cnn.apply, params, X, y, augment=lambda key, x: x[:, 1:], **QUIET),
        ),
        (
            r"loss must give a value for each of the 300 rows, got shape \(\)",
            lambda: train.fit(cnn.apply, params, X, y, loss=lambda logits, y: logits.mean(), **QUIET),
        ),
        (r"apply must give logits of the 300 rows of X, got shape \(\)", lambda: train.predict(sum_of, params, X)),
        (
            "validation: a mask is given, but apply takes none",
            lambda: train.fit(cnn.apply, params, X, y, validation=(X, y, None, y > 0), **QUIET),
        ),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()


def sum_of(params, x):
    return x.sum()


def test_a_metric_may_be_a_name(small):
    params, X, y = small
    found = train.evaluate(linear, params, X, y, metrics="accuracy")
    assert set(found) == {"loss", "accuracy"}
    history = run(small, metrics="auc", validation=(X, y), epochs=1).history
    assert [name for name in history if name.startswith("val_")] == ["val_loss", "val_auc"]


def test_auc_ranks_where_probabilities_are_one():
    """Next to 1, exp(-20) vanishes in float32: the odds tell such rows apart."""
    logits = np.float32([[0, 20], [0, 25], [0, 30], [0, 35]])
    found = train.evaluate(scaled, ONE, logits, np.int32([0, 1, 0, 1]), loss="softmax", metrics=("auc",))
    np.testing.assert_allclose(found["auc"], 0.75, rtol=1e-6)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    scale = np.repeat([40, 1], 100)[:, None]  # the likeliest class of one row is less so than another's second
    logits = (scale * (np.eye(3)[y] + rng.standard_normal((200, 3)))).astype(np.float32)
    weight = rng.uniform(0, 2, 200).astype(np.float32)
    each = []
    for k in range(3):
        others = np.delete(logits.astype(float), k, axis=1)
        odds = logits[:, k].astype(float) - np.logaddexp(*others.T)
        each.append(roc_auc_score(y == k, odds, sample_weight=weight))
    found = train.evaluate(scaled, ONE, logits, y, loss="softmax", metrics=("auc",), sample_weight=weight)
    np.testing.assert_allclose(found["auc"], np.mean(each), rtol=1e-5)


@pytest.mark.slow
def test_a_confusion_counts_beyond_the_digits_of_its_type():
    """One by one float32 stops at 2^24, as many steps as 84000 sequences of 200 have."""
    n = 2**24 + 2**12
    ones = np.ones(n, np.float32)
    found = _metrics.measure("sigmoid", ("confusion",), ones, np.ones(n, np.int8), ones, None)["confusion"]
    np.testing.assert_array_equal(found, [[0, 0], [0, n]])


def test_balanced_classes_have_the_same_weight(small):
    """Of a row of weight 2 there are two."""
    _, _, y = small
    weight = np.where(y == 1, 4, 0.5) * np.linspace(0.5, 1.5, 50)
    shares = np.bincount(y, weight)
    expected = run(small, sample_weight=weight * (weight.sum() / (2 * shares))[y])
    found = run(small, sample_weight=weight, class_weight="balanced")
    np.testing.assert_allclose(found.params["w"], expected.params["w"], rtol=1e-5)
    np.testing.assert_allclose(found.history["loss"], expected.history["loss"], rtol=1e-6)


RULES = {
    "adam": {"learning_rate": 0.05},
    "adabelief": {"optimizer": "adabelief", "learning_rate": 0.05},
    "clipped": {"optimizer": "sgd", "clip_norm": 1.0, "learning_rate": 0.05},
    "own": {"optimizer": optax.adam(0.05)},
}
CASES = [("bfloat16", "adam"), ("bfloat16", "adabelief"), ("float16", "adam"), ("float16", "clipped")]
MORE = [pytest.param("float16", rule, marks=pytest.mark.slow) for rule in ("adabelief", "own")]


@pytest.mark.parametrize(("dtype", "rule"), CASES + MORE)
def test_narrow_parameters_train(small, dtype, rule):
    """As those of float32, to their rounding: also where a gradient is 0, its square is, or their sum is infinite."""
    _, X, y = small
    X = X * np.float32({"adam": [1, 1, 0], "clipped": [300, 300, 0]}.get(rule, [1, 1, 1e-4]))
    found = {}
    for kind in (dtype, "float32"):
        start = {"w": np.zeros((3, 2), jnp.dtype(kind)), "b": np.zeros((1, 2), jnp.dtype(kind))}
        result = train.fit(narrow, start, X, y, epochs=4, batch_size=10, **RULES[rule], **QUIET)
        assert result.status is Status.CONVERGED
        assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {jnp.dtype(kind)}
        found[kind] = np.concatenate([np.asarray(result.params[name], np.float32) for name in "wb"])
    apart = np.abs(found[dtype] - found["float32"]).max() / np.abs(found["float32"]).max()
    assert apart <= 4 * jnp.finfo(dtype).eps, found


def test_a_moving_average_of_narrow_parameters_moves(small):
    """A thousandth of a difference is less than the last bit of bfloat16."""
    _, X, y = small
    kwargs = {"optimizer": "sgd", "learning_rate": 0.5, "average": 0.999, "batch_size": 5, "epochs": 60}
    found = {}
    for dtype in (jnp.bfloat16, jnp.float32):
        start = {"w": np.zeros((3, 2), dtype), "b": np.zeros((1, 2), dtype)}
        result = train.fit(narrow, start, X, y, **kwargs, **QUIET)
        assert result.average["w"].dtype == result.best["w"].dtype == dtype
        found[dtype] = np.asarray(result.average["w"], np.float32)
    apart = np.abs(found[jnp.bfloat16] - found[jnp.float32]).max()
    # Rounding of the parameters makes 4 in 100 of it, an average that does not move 39.
    assert apart < 0.1 * np.abs(found[jnp.float32]).max(), found


def test_a_recurrent_network_starts_narrow():
    """LAPACK has no QR of bfloat16."""
    params = rnn.init(jax.random.key(0), rnn.Config(2, 3, 2, "gru"), dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(jnp.bfloat16)}
    for square in np.split(np.asarray(params.layers[0][0].recurrent, float), 3, axis=1):
        np.testing.assert_allclose(square.T @ square, np.eye(3), atol=2.0**-6)
