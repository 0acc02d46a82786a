# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Self-attention: which language is this word?
#
# A small encoder reads single words, letter by letter, and says which of eight languages they are from: beside n-grams,
# the classical tool; with attention maps; and with the use of positions and masks.

# %%
from dataclasses import replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from wordfreq import top_n_list

from jaxinfra.nn import attention, train

# Okabe-Ito: told apart by every kind of colour vision; line styles differ too.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#555555"
plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "figure.dpi": 110,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)

# %% [markdown]
# ## Words
#
# The 6000 most frequent words of each language, those of 4 to 14 letters; words that several of them share are left
# out, since nobody could tell. A tenth is held out.

# %%
LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "it": "Italian",
    "nl": "Dutch",
    "pl": "Polish",
}
LONGEST = 14
lists = {code: [w for w in top_n_list(code, 6000) if w.isalpha() and 4 <= len(w) <= LONGEST] for code in LANGUAGES}
every, counts = np.unique([word for words in lists.values() for word in words], return_counts=True)
shared = set(every[counts > 1])
pairs = [(word, k) for k, code in enumerate(LANGUAGES) for word in lists[code] if word not in shared]
pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
words, labels = [word for word, _ in pairs], np.array([k for _, k in pairs], np.int32)
alphabet = {letter: k for k, letter in enumerate(sorted(set("".join(words))))}


def encode(words):
    """(tokens, mask) of words, padded to one length."""
    tokens, mask = np.zeros((len(words), LONGEST), np.int32), np.zeros((len(words), LONGEST), bool)
    for row, word in enumerate(words):
        tokens[row, : len(word)] = [alphabet[letter] for letter in word]
        mask[row, : len(word)] = True
    return tokens, mask


tokens, mask = encode(words)
cut = len(words) * 9 // 10
names = list(LANGUAGES.values())
print(f"{cut} words to learn from, {len(words) - cut} held out, {len(shared)} left out, {len(alphabet)} letters")
for k, name in enumerate(names):
    mine = [word for word, label in pairs if label == k]
    print(f"{name:8} {len(mine):5}  {', '.join(mine[:6])}")

# %% [markdown]
# ## An encoder
#
# Two pre-norm blocks of four heads over 64-dimensional letters, with positions; the mean over the letters goes to the
# head. `mask` says which positions are letters.

# %%
config = attention.Config(vocabulary=len(alphabet), width=64, heads=4, blocks=2, outputs=len(names))
EPOCHS, BATCH = 7, 64
rate = optax.warmup_cosine_decay_schedule(0.0, 2e-3, 200, EPOCHS * -(-cut // BATCH))
fit = train.fit(
    attention.apply, attention.init(jax.random.key(0), config), tokens[:cut], labels[:cut], mask=mask[:cut],
    key=jax.random.key(1), epochs=EPOCHS, batch_size=BATCH, learning_rate=rate, clip_norm=1.0,
    validation=(tokens[cut:], labels[cut:], None, mask[cut:]), keep_best=False, progress=False,
)  # fmt: skip
history = fit.history
size = sum(leaf.size for leaf in jax.tree.leaves(fit.params))
print(f"encoder, {size:,} parameters: {history['val_accuracy'][-1]:.1%} of the held-out words right")
print(f"{history['seconds'][1:].mean():.1f} s an epoch")

scores = {}
for longest in (1, 2, 3):
    grams = CountVectorizer(analyzer="char_wb", ngram_range=(1, longest), binary=True)
    peer = make_pipeline(grams, LogisticRegression(max_iter=300)).fit(words[:cut], labels[:cut])
    scores[longest] = peer.score(words[cut:], labels[cut:])
    print(f"logistic regression on up to {longest} letters in a row: {scores[longest]:.1%}")

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3))
epochs = np.arange(1, EPOCHS + 1)
left.plot(epochs, history["loss"], ":", color=ORANGE, label="training")
left.plot(epochs, history["val_loss"], "-", color=BLUE, label="held out")
left.set(xlabel="epoch", ylabel="mean cross-entropy [nat]", ylim=(0, None))
left.legend()
right.plot(epochs, 100 * history["val_accuracy"], "-o", ms=3.5, color=BLUE, label="encoder")
for (longest, score), line in zip(scores.items(), (":", "--", "-."), strict=True):
    right.axhline(100 * score, ls=line, lw=1.2, color=GREY, label=f"n-grams up to {longest}")
right.set(xlabel="epoch", ylabel="held-out words right [%]")
right.legend()
plt.show()

# %% [markdown]
# The encoder has to learn what counting n-grams assumes, that neighbours matter. From so few words it does not reach
# them, but it is far better than counting single letters.

# %% [markdown]
# ## Who is taken for whom
#
# Shares of each language's held-out words; off the diagonal, relatives.

# %%
confusion = train.evaluate(attention.apply, fit.params, tokens[cut:], labels[cut:], mask=mask[cut:])["confusion"]
share = 100 * confusion / confusion.sum(1, keepdims=True)
fig, ax = plt.subplots(figsize=(5.6, 4.6))
image = ax.imshow(share * (1 - np.eye(len(share))), cmap="Blues", vmin=0, vmax=12)
for (i, j), value in np.ndenumerate(share):
    color = "white" if i != j and value > 8 else "black"
    ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)
ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
ax.set_yticks(range(len(names)), names)
ax.set(xlabel="said", ylabel="true language", title="Held-out words [%]")
fig.colorbar(image, label="taken for another [%]", shrink=0.8)
plt.show()

# %% [markdown]
# Words that no list has: made up, or too rare.

# %%
strange = ["blorfig", "schnurzeln", "quelloni", "trouvette", "wyszczak", "kuulomaton", "verbroedering", "desplazable"]
x, real = encode(strange)
for word, chances in zip(strange, np.asarray(attention.predict_proba(fit.params, x, mask=real)), strict=True):
    first, second = np.argsort(-chances)[:2]
    print(f"{word:14} {names[first]} {chances[first]:.0%}, {names[second]} {chances[second]:.0%}")

# %% [markdown]
# ## Attention maps
#
# `attention.weights` gives each block's $\mathrm{softmax}(QK^\top / \sqrt{d_k})$, one map a head: in each row where
# that letter looks. Rows sum to 1.

# %%
shown = ["erscheinung", "yksityisen"]
x, real = encode(shown)
maps = np.asarray(attention.weights(fit.params, x, mask=real)[0])
fig, axes = plt.subplots(2, 4, figsize=(10, 5.4))
for row, (word, line) in enumerate(zip(shown, axes, strict=True)):
    for head, ax in enumerate(line):
        n = len(word)
        image = ax.imshow(maps[row, head, :n, :n], cmap="Blues", vmin=0, vmax=0.6)
        ax.set_xticks(range(n), word, fontsize=7)
        ax.set_yticks(range(n), word, fontsize=7)
        ax.set_title(f"first block, head {head + 1}", fontsize=8)
fig.colorbar(image, ax=axes, label="weight", shrink=0.6, extend="max")
plt.show()

# %% [markdown]
# ## What positions are for
#
# Attention alone does not know the order of the letters. Positions are added to them at the start; the same parameters
# without positions give an anagram the very same answer.

# %%
bare = replace(fit.params, config=replace(config, position="none"))
(word, real), (anagram, _) = encode(["stimme"]), encode(["mitmes"])
for name, params in (("with positions", fit.params), ("without", bare)):
    before, after = (attention.apply(params, x, mask=real) for x in (word, anagram))
    print(f"{name}: the logits of stimme and mitmes differ by up to {jnp.abs(before - after).max():.1e}")
