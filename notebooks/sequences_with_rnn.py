# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sequences: plain, LSTM and GRU cells
#
# Handwritten digits read row by row, what becomes of a gradient on its way back through a hundred steps, and how long
# each cell can remember.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from jaxinfra.nn import rnn, train

# Okabe-Ito: told apart by every kind of colour vision; line styles differ too.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#555555"
CELLS = {  # name: (cell, activation, colour, line)
    "plain, sigmoid": ("plain", "sigmoid", GREY, ":"),
    "plain, tanh": ("plain", "tanh", ORANGE, "--"),
    "GRU": ("gru", "tanh", GREEN, "-."),
    "LSTM": ("lstm", "tanh", BLUE, "-"),
}
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
# ## One step by hand
#
# A plain cell with all weights 0 and a sigmoid gives $h = \sigma(0) = 0.5$ at every step, not 0; an LSTM gives
# $h = \sigma(0) \tanh(c) = 0$, since its candidate is $\tanh(0)$.

# %%
for name in ("plain, sigmoid", "LSTM"):
    cell, activation, *_ = CELLS[name]
    config = rnn.Config(features=2, hidden=3, outputs=2, cell=cell, activation=activation)
    nothing = jax.tree.map(jnp.zeros_like, rnn.init(jax.random.key(0), config))
    print(name, rnn.hidden(nothing, jnp.ones((1, 4, 2)))[0, -1])

# %% [markdown]
# ## Digits, row by row
#
# 1797 digits of 8 x 8: a sequence of 8 rows with 8 grey values each. A fifth is held out. The peer sees all 64 values
# at once, without knowing their order.

# %%
digits = load_digits()
rows = (digits.images / 16).astype(np.float32)
labels = digits.target.astype(np.int32)
order = np.random.default_rng(0).permutation(len(rows))
kept, held = np.split(order, [len(order) * 4 // 5])

runs = {}
for name, (cell, activation, *_) in CELLS.items():
    params = rnn.init(jax.random.key(0), rnn.Config(features=8, hidden=64, cell=cell, activation=activation))
    runs[name] = train.fit(
        rnn.apply, params, rows[kept], labels[kept], key=jax.random.key(1), epochs=30, learning_rate=4e-3,
        validation=(rows[held], labels[held]), keep_best=False, progress=False,
    )  # fmt: skip
peer = LogisticRegression(C=1.0, max_iter=1000).fit(rows[kept].reshape(len(kept), -1), labels[kept])
print(f"{'logistic regression':20} {peer.score(rows[held].reshape(len(held), -1), labels[held]):.1%} right")
for name, run in runs.items():
    each = 1e3 * run.history["seconds"][1:].mean()
    print(f"{name:20} {run.history['val_accuracy'][-1]:.1%} right, {each:.0f} ms an epoch of {len(kept)} digits")

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
for name, (_, _, color, line) in CELLS.items():
    history = runs[name].history
    epochs = 1 + np.arange(len(history["loss"]))
    left.semilogy(epochs, history["loss"], line, color=color, label=name)
    right.semilogy(epochs, 100 * (1 - history["val_accuracy"]), line, color=color, label=name)
left.set(xlabel="epoch", ylabel="mean cross-entropy, training [nat]")
right.set(xlabel="epoch", ylabel="held-out digits read wrong [%]")
left.legend()
plt.show()

# %% [markdown]
# When does it know? With `pool="none"` there is a prediction after every row; `rnn.hidden` has the states, which one
# head can read at each step.

# %%
params = runs["LSTM"].params
states = rnn.hidden(params, rows[held])
probability = jax.nn.softmax(states @ params.head.kernel + params.head.bias)
right_so_far = (probability.argmax(-1) == labels[held][:, None]).mean(0)
examples = [int(np.flatnonzero(labels[held] == digit)[0]) for digit in (0, 3, 4, 9)]
fig, axes = plt.subplots(2, 5, figsize=(9.4, 3.6), height_ratios=[1, 1.3])
axes[0, 0].set_axis_off()
axes[1, 0].plot(np.arange(1, 9), 100 * right_so_far, "-o", color=BLUE, ms=3.5)
axes[1, 0].set(xlabel="rows seen", ylabel="right [%]", title="all held-out", ylim=(0, 102), xticks=range(1, 9))
for (top, bottom), i in zip(axes[:, 1:].T, examples, strict=True):
    top.imshow(rows[held[i]], cmap="gray_r")
    top.set(xticks=[], yticks=[])
    top.spines[:].set_visible(False)
    bottom.imshow(probability[i].T, cmap="Blues", vmin=0, vmax=1, extent=(0.5, 8.5, 9.5, -0.5), aspect="auto")
    bottom.set(xlabel="rows seen", xticks=range(1, 9), yticks=range(10))
    bottom.tick_params(axis="y", labelsize=6)
axes[1, 1].set_ylabel("digit")
plt.show()

# %% [markdown]
# ## Gradients that vanish
#
# A loss at the end of 100 steps, differentiated by the input of each step: one call of `jax.grad` gives them all. At
# the start of training, mean over 64 sequences. In a plain cell each step back multiplies by $R^\top$ and the
# activation's slope, at most 1/4 for a sigmoid. The LSTM's memory passes the gradient on by its forget gate, which
# starts near $\sigma(1) = 0.73$: open wider (a bias of 5), it keeps nearly all of it. The GRU has no such bias, and
# starts by replacing half of its state at each step.

# %%
STEPS = 100
x = jax.random.normal(jax.random.key(2), (64, STEPS, 8))


def reach(params):
    """Largest entry of the gradient of the last step's loss by each step's input, mean over sequences."""
    slope = jax.grad(lambda x: jnp.square(rnn.apply(params, x)).sum())(x)
    return jnp.abs(slope).max(-1).mean(0)


gradients = {}
for name, (cell, activation, *_) in CELLS.items():
    params = rnn.init(jax.random.key(0), rnn.Config(features=8, hidden=64, cell=cell, activation=activation))
    gradients[name] = reach(params)
((lstm,),) = params.layers
opened = lstm._replace(bias=lstm.bias.at[64:128].set(5.0))
gradients["LSTM, forget bias 5"] = reach(type(params)(None, ((opened,),), params.head, params.config))

fig, ax = plt.subplots(figsize=(6.6, 3.8))
for name, slope in gradients.items():
    _, _, color, line = CELLS.get(name, (None, None, BLUE, (0, (1, 1))))
    back = np.asarray(slope / slope[-1])[::-1]
    ax.semilogy(back, ls=line, color=color, label=f"{name}: {(back[25] / back[10]) ** (1 / 15):.2f} a step")
ax.axhline(np.finfo(np.float32).tiny, color=GREY, lw=0.8)
ax.annotate(
    "smallest normal float32", (0, np.finfo(np.float32).tiny), xytext=(2, 4), textcoords="offset points", fontsize=8
)
ax.set(xlabel="steps before the last", ylabel="gradient by the input, relative to the last step's")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## How long can it remember?
#
# The first of T steps says which of four classes it is; all others are noise. Each cell has 600 steps of training on
# fresh sequences, made inside of the compiled step. A guess is right in 25 %.

# %%
LENGTHS = (5, 20, 40, 80)


def sequences(key, length, n=64):
    """Noise whose first step holds the class."""
    noise, draw = jax.random.split(key)
    y = jax.random.randint(draw, (n,), 0, 4)
    x = 0.5 * jax.random.normal(noise, (n, length, 4))
    return x.at[:, 0].set(2.0 * jax.nn.one_hot(y, 4)), y


remembered, started = {}, time.perf_counter()
for name, (cell, activation, *_) in CELLS.items():
    config = rnn.Config(features=4, hidden=32, outputs=4, cell=cell, activation=activation)
    params = rnn.init(jax.random.key(0), config)
    for length in LENGTHS:
        x, y = sequences(jax.random.key(4), length, 64 * 300)
        run = train.fit(
            rnn.apply, params, x, y, key=jax.random.key(5), epochs=2, batch_size=64, learning_rate=3e-3, clip_norm=1.0,
            progress=False,
        )  # fmt: skip
        x, y = sequences(jax.random.key(6), length, 1000)
        remembered[name, length] = float((rnn.predict(run.params, x) == y).mean())
print(f"{len(remembered)} networks in {time.perf_counter() - started:.0f} s")

fig, ax = plt.subplots(figsize=(7.4, 3.4))
for name, (_, _, color, line) in CELLS.items():
    ax.plot(
        LENGTHS, [100 * remembered[name, length] for length in LENGTHS], line, marker="o", ms=4, color=color, label=name
    )
ax.axhline(25, color=GREY, lw=0.8)
ax.set(
    xscale="log",
    xticks=LENGTHS,
    xlabel="length of the sequence [steps]",
    ylabel="right on new sequences [%]",
    ylim=(0, 103),
)
ax.set_xticks(LENGTHS, LENGTHS)
ax.minorticks_off()
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Sequences of different lengths
#
# A mask says which steps are real. Whatever the others hold, even NaN, affects neither the answer nor the gradient.

# %%
params = runs["LSTM"].params
lengths = np.array([3, 8, 5])
mask = np.arange(8) < lengths[:, None]
padded = np.where(mask[:, :, None], rows[held[:3]], np.nan)
together = rnn.apply(params, padded, mask=mask)
alone = jnp.concatenate([rnn.apply(params, rows[held[i]][None, :n]) for i, n in enumerate(lengths)])
slope = jax.grad(lambda x: rnn.apply(params, x, mask=mask).sum())(jnp.asarray(padded))
print(f"largest difference to each one alone: {jnp.abs(together - alone).max():.1e}")
print(f"gradient by masked steps: {jnp.abs(jnp.where(mask[:, :, None], 0, slope)).max()}")
