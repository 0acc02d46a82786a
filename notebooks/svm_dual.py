# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Support vector machines and their dual
#
# Margins and support vectors, the conditions of the optimum, primal and dual objectives as they meet, a whole grid in
# one call, and gradients through the fit: length scales that are learned, and a machine on top of a network.

# %%
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1

import jaxinfra as ji

jax.config.update("jax_enable_x64", True)

# Okabe-Ito: told apart by every kind of colour vision; shapes differ too.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#555555"
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
# ## Margin and support vectors
#
# 178 wines, two measurements, in standard deviations; class 1 is the first of three cultivars. `coef` is 0 for a row
# beyond the margin, between 0 and C for one on it (a free support vector), and C for one within or on the wrong side
# (a bound one). The decision $f$ is 0 on the line, -1 and 1 on the dashes.

# %%
wine = load_wine()
X = (wine.data - wine.data.mean(0)) / wine.data.std(0)
columns = [wine.feature_names.index(name) for name in ("total_phenols", "color_intensity")]
W, first = X[:, columns], (wine.target == 0).astype(int)
C = 3.0
machines = {
    "linear kernel": ji.check(ji.svc.fit(W, first, C=C, kernel=ji.kernels.Linear(), tol=1e-8)),
    "RBF kernel, gamma = 1": ji.check(ji.svc.fit(W, first, C=C, kernel=ji.kernels.RBF(1.0), tol=1e-8)),
}
LINES = {"colors": "black", "linestyles": ["--", "-", "--"], "linewidths": [0.8, 1.6, 0.8]}  # at -1, 0, 1


def surface(ax, decide, levels, size=160, **style):
    """Contours of a decision over what the axes show."""
    u, v = np.meshgrid(np.linspace(*ax.get_xlim(), size), np.linspace(*ax.get_ylim(), size))
    return ax.contour(u, v, np.reshape(decide(np.c_[u.ravel(), v.ravel()]), u.shape), levels, **style)


def scatter(ax, Z, label, names):
    for k, (color, marker) in enumerate([(BLUE, "o"), (ORANGE, "s")]):
        ax.plot(*Z[label == k].T, marker, color=color, ms=4.5, mew=0, alpha=0.75, ls="none", label=names[k])


fig, axes = plt.subplots(1, 2, figsize=(9.2, 4.4), sharey=True)
for ax, (name, fit) in zip(axes, machines.items(), strict=True):
    alpha = np.abs(fit.params.coef)
    scatter(ax, W, first, ["other cultivars", "first cultivar"])
    free, bound = (alpha > 0) & (alpha < C), alpha == C
    ax.plot(*W[free].T, "o", mfc="none", mec="black", ms=10, label="free support vector")
    ax.plot(*W[bound].T, "x", color="black", ms=5, mew=0.9, label="bound support vector")
    ax.set(title=name, xlabel="phenols (standard deviations)", xlim=(-2.4, 3.2), ylim=(-2, 3.8))
    surface(ax, partial(ji.svc.decision, fit.params), [-1, 0, 1], **LINES)
    accuracy = (ji.svc.predict(fit.params, W) == first).mean()
    print(f"{name}: {free.sum()} free and {bound.sum()} bound of {len(W)} rows, {accuracy:.3f} of the rows right")
axes[0].set(ylabel="colour intensity (standard deviations)")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
plt.show()

# %% [markdown]
# ## The conditions of the optimum, one dot a row
#
# With $t_i = \pm 1$ the label and $\alpha_i = |\beta_i|$: either $\alpha_i = 0$ and $t_i f(x_i) \ge 1$, or
# $0 < \alpha_i < C$ and $t_i f(x_i) = 1$, or $\alpha_i = C$ and $t_i f(x_i) \le 1$. Every row is on the grey line.

# %%
fit = machines["RBF kernel, gamma = 1"]
alpha, margin = np.abs(fit.params.coef) / C, (2 * first - 1) * np.asarray(ji.svc.decision(fit.params, W))
fig, ax = plt.subplots(figsize=(6.8, 3.9))
low, high = margin.min() - 0.2, margin.max() + 0.2
ax.plot([low, 1, 1, high], [1, 1, 0, 0], color=GREY, lw=6, alpha=0.3, solid_joinstyle="miter", label="conditions")
branches = [
    (alpha == 0, GREEN, "^", r"$\alpha = 0$"),
    ((alpha > 0) & (alpha < 1), BLUE, "o", r"$0 < \alpha < C$, free"),
    (alpha == 1, ORANGE, "s", r"$\alpha = C$, bound"),
]
for rows, color, marker, label in branches:
    ax.plot(margin[rows], alpha[rows], marker, color=color, mec="black", mew=0.4, ms=5, label=f"{label}: {rows.sum()}")
ax.axvline(0, color=GREY, lw=0.8, ls=":")
ax.set(title=f"{len(W)} wines, RBF kernel", ylabel=r"$\alpha_i$ / C", xlim=(low, high))
ax.set(xlabel=r"margin $t_i\,f(x_i)$ (below 0: wrong side)")
ax.legend(loc="upper right")
plt.show()

miss = np.where(alpha == 0, np.maximum(1 - margin, 0), np.where(alpha == 1, np.maximum(margin - 1, 0), abs(margin - 1)))
print(f"furthest row from the line {miss.max():.0e}; largest violation by the fit itself {fit.info.optimality:.0e}")

# %% [markdown]
# ## Primal and dual meet
#
# Odd or even? 1797 handwritten digits and each of them shifted by one pixel to either side: 5391 rows. The solver
# works on a block of variables at a time. `max_iter` is traced, so one call gives the machine after 1, 2, 3, ...
# blocks. Each dual value is a lower bound of the optimum, each primal value an upper one.

# %%
digits = load_digits()
shifts = (0, 1, -1)
pixels = np.concatenate([np.roll(digits.images, shift, 2) for shift in shifts]).reshape(-1, 64) / 16
odd = np.tile(digits.target % 2, len(shifts))
C, kernel = 10.0, ji.kernels.RBF(0.1)


@jax.jit
@jax.vmap
def after(blocks):
    fit = ji.svc.fit(pixels, odd, C=C, kernel=kernel, tol=1e-6, max_iter=blocks)
    return fit.params.coef, fit.params.intercept, fit.info


coef, intercept, info = after(jnp.arange(1, 29))
used = info.n_iter[-1]
coef, intercept, info = jax.tree.map(lambda v: v[:used], (coef, intercept, info))
many = ji.Machine(coef, intercept, pixels, kernel)
value = ji.svc.decision(many, pixels)  # (rows, machines)
length = jnp.sum(coef.T * (value - intercept), 0)  # beta' K beta
primal = 0.5 * length + C * jnp.maximum(1 - (2 * odd[:, None] - 1) * value, 0).sum(0)
dual = -info.objective  # fit minimises the dual, so minus its value is the bound

again = -ji.svc.objective(many._replace(coef=coef[-1], intercept=intercept[-1]), pixels, odd, C=C)
print(f"{ji.Status(int(info.status[-1])).name} after {used} blocks, {info.n_support[-1]} support vectors")
print(f"primal {primal[-1]:.6f}, dual {dual[-1]:.6f}, evaluated again {again:.6f}")

blocks, gap = np.arange(1, used + 1), (primal - dual) / dual[-1]
fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4))
left.semilogy(blocks, primal, "o-", color=ORANGE, ms=4, lw=1, label="primal")
left.semilogy(blocks, dual, "s-", color=BLUE, ms=4, lw=1, label="dual")
left.set(title="bounds of the optimum", xlabel="blocks solved", ylabel="objective")
left.legend()
right.semilogy(blocks, gap, "o-", color="black", ms=4, lw=1, label="gap, as a share of the optimum")
right.semilogy(blocks, info.optimality, "^--", color=GREEN, ms=4, lw=1, label="largest violation")
right.axhline(1e-6, color=GREY, lw=0.8)
right.set(title="what is left (tolerance: grey)", xlabel="blocks solved", ylabel="gap (share) and violation")
right.legend()
plt.show()

# %% [markdown]
# ## C, gamma and five folds in one call
#
# The tumours of scikit-learn, thirty measurements. `path` runs over C and starts each fit at the one before; `vmap`
# adds gamma through the kernel and folds through weights of 0. Folds share a kernel matrix, gammas the distances.

# %%
tumours = load_breast_cancer()
T, malignant = (tumours.data - tumours.data.mean(0)) / tumours.data.std(0), 1 - tumours.target
folds = ji.select.kfold(len(T), 5, key=jax.random.key(0), stratify=malignant)
Cs, gammas = jnp.geomspace(0.01, 1000, 11), jnp.geomspace(1e-4, 1, 9)


def right_in_fold(gamma, weight):
    """How many rows left out each C gets right, and how its fit ended."""
    fit = ji.svc.path(T, malignant, C=Cs, kernel=ji.kernels.RBF(gamma), sample_weight=weight)
    called = ji.svc.decision(fit.params, T) > 0
    return (1 - weight) @ (called == malignant[:, None]), fit.info.status


grid = jax.jit(jax.vmap(jax.vmap(right_in_fold, (None, 0)), (0, None)))
right_rows, status = grid(gammas, folds)
accuracy = np.asarray(right_rows.sum(1) / len(T))  # (gammas, Cs)
print(f"{status.size} fits:", {ji.Status(code).name: k for code, k in Counter(status.ravel().tolist()).items()})
g, c = np.unravel_index(accuracy.argmax(), accuracy.shape)
print(f"best of {accuracy.size} cells: C = {Cs[c]:.3g}, gamma = {gammas[g]:.2g}, {accuracy[g, c]:.3f} held out right")

fig, ax = plt.subplots(figsize=(8.2, 4.8))
image = ax.imshow(accuracy, cmap="cividis", vmin=0.9, origin="lower", aspect="auto")
for i, j in np.ndindex(accuracy.shape):
    color = "white" if accuracy[i, j] < 0.94 else "black"
    ax.text(j, i, f"{100 * accuracy[i, j]:.1f}", ha="center", va="center", color=color, fontsize=8)
ax.add_patch(plt.Rectangle((c - 0.5, g - 0.5), 1, 1, fill=False, ec="black", lw=2.5))
ax.set(title=f"% of {len(T)} tumours held out called right; best: frame", xlabel="C (bound of a dual variable)")
ax.set(xticks=range(len(Cs)), xticklabels=[f"{v:.3g}".replace("1e+03", "1000") for v in Cs])
ax.set(yticks=range(len(gammas)), yticklabels=[f"{v:.2g}" for v in gammas], ylabel="gamma (per squared deviation)")
ax.spines[:].set_visible(False)
fig.colorbar(image, extend="min", label="held-out rows called right (share)")
plt.show()

# %% [markdown]
# ## Length scales by gradient
#
# Friedman's first test function: ten columns, of which five matter. Is it above its median? An RBF kernel with a length
# scale for each column, and C, are eleven hyper-parameters: no grid, but one gradient. It goes through five fits, to
# the log loss of the rows that each leaves out.

# %%
F, target = make_friedman1(1400, n_features=10, noise=1.0, random_state=0)
above = (target > np.median(target)).astype(int)
F_train, F_test, above_train, above_test = F[:400], F[400:], above[:400], above[400:]
parts = ji.select.kfold(len(F_train), 5, key=jax.random.key(0), stratify=above_train)
optimiser, steps = optax.adam(0.1), 60
start = {"C": jnp.zeros(()), "scale": jnp.zeros(10)}  # logarithms


def machine(log, weight=None):
    kernel = ji.kernels.RBF.length_scale(jnp.exp(log["scale"]))
    return ji.svc.fit(F_train, above_train, C=jnp.exp(log["C"]), kernel=kernel, sample_weight=weight)


def left_out(log):
    def part(weight):
        value = (2 * above_train - 1) * ji.svc.decision(machine(log, weight).params, F_train)
        return jnp.sum((1 - weight) * jax.nn.softplus(-value))

    return jax.vmap(part)(parts).sum() / len(F_train)


def step(carry, _):
    log, state = carry
    loss, slope = jax.value_and_grad(left_out)(log)
    change, state = optimiser.update(slope, state)
    return (optax.apply_updates(log, change), state), (loss, log)


descend = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps))
(end, _), (losses, logs) = descend((start, optimiser.init(start)))
for name, log in [("start", start), ("end", end)]:
    share = (ji.predict(machine(log), F_test) == above_test).mean()
    print(f"{name}: C = {jnp.exp(log['C']):.2g}, {share:.3f} of {len(F_test)} new rows right")

fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4))
left.plot(losses, color="black")
left.set(title="validation loss", xlabel="step of the descent", ylabel="log loss, left out (nats per row)")
for j in range(10):
    color, style, label = (BLUE, "-", "matter: 1 to 5") if j < 5 else (ORANGE, "--", "noise: 6 to 10")
    right.semilogy(np.exp(logs["scale"][:, j]), color=color, ls=style, lw=1.4, label=label if j in (0, 9) else None)
    if j < 5:
        right.annotate(j + 1, (steps, np.exp(logs["scale"][-1, j])), va="center")
right.set(title="length scales", xlabel="step of the descent", ylabel="length scale (columns from 0 to 1)")
right.legend(title="columns that")
plt.show()

# %% [markdown]
# A long length scale means a column that hardly affects the kernel.
#
# ### Probabilities
#
# A decision is not a probability. `calibrate` learns one, by Platt's method, from decisions on the rows that each fold
# leaves out; the folds are new ones, since the length scales have seen the others. The new rows in ten groups:

# %%
best = machine(end)
fresh = ji.select.kfold(len(F_train), 5, key=jax.random.key(1), stratify=above_train)
platt = ji.calibrate.fit(best, F_train, above_train, folds=fresh)
guesses = {
    "sigmoid of the decision": jax.nn.sigmoid(ji.decision(best, F_test)),
    "Platt": ji.calibrate.predict_proba(best, platt, F_test)[:, 1],
}
fig, ax = plt.subplots(figsize=(5.4, 4.4))
ax.plot([0, 1], [0, 1], color=GREY, lw=0.8)
for (name, proba), color, marker in zip(guesses.items(), (ORANGE, BLUE), "so", strict=True):
    order = np.argsort(proba).reshape(10, -1)
    share = above_test[order].mean(1)
    error = np.sqrt(share * (1 - share) / order.shape[1])
    ax.errorbar(proba[order].mean(1), share, error, fmt=marker, color=color, mfc="none", capsize=3, label=name)
    loss = -np.log(np.where(above_test == 1, proba, 1 - proba)).mean()
    print(f"{name}: log loss {loss:.4f} nats per new row")
ax.set(title="Friedman's function, new rows", xlabel="probability of above the median (mean of group)")
ax.set(ylabel="rows above the median in group (share)")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# On the grey line probabilities are calibrated. Bars are one standard error.
#
# ## A machine on top of a network
#
# Two spirals, which no line separates. A small network maps the plane to the plane, a linear machine with the squared
# hinge is fitted to half of each batch, and the loss is the same on the other half. The gradient reaches the network
# through the fit: it learns features on which a machine generalises.


# %%
class Network(nnx.Module):
    def __init__(self, rngs):
        sizes = [2, 32, 32, 2]
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(sizes, sizes[1:], strict=False)])

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nnx.tanh(layer(x))
        return self.layers[-1](x)


def spirals(key, n):
    turn, noise = jax.random.split(key)
    label = jnp.arange(n) % 2
    angle = 3 * jnp.pi * jnp.sqrt(jax.random.uniform(turn, n, minval=0.02))
    arm = (angle / (3 * jnp.pi))[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    return 2 * jnp.where(label[:, None] == 1, arm, -arm) + 0.06 * jax.random.normal(noise, (n, 2)), label


def squared_hinge(network, x, label):
    half, features = len(label) // 2, network(x)
    head = ji.linear_svm.fit(features[:half], label[:half], loss="squared_hinge", n_classes=2).params
    value = (2 * label[half:] - 1) * ji.linear_svm.decision(head, features[half:])
    return (jnp.maximum(1 - value, 0) ** 2).mean()


@nnx.jit
def train(network, optimiser, key):
    loss, slope = nnx.value_and_grad(squared_hinge)(network, *spirals(key, 256))
    optimiser.update(network, slope)
    return loss


network = Network(nnx.Rngs(0))
steps = 500
rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(0.01, steps)))
optimiser = nnx.Optimizer(network, rule, wrt=nnx.Param)
loss = [float(train(network, optimiser, key)) for key in jax.random.split(jax.random.key(0), steps)]

# %%
S, arm = spirals(jax.random.key(1), 1000)
S_new, arm_new = spirals(jax.random.key(2), 1000)
raw, learned = (ji.check(ji.linear_svm.fit(Z, arm, loss="squared_hinge")).params for Z in (S, network(S)))
share = [float((ji.linear_svm.predict(*pair) == arm_new).mean()) for pair in ((raw, S_new), (learned, network(S_new)))]
print(f"{len(arm_new)} new points right: {share[0]:.3f} by a line in the plane, {share[1]:.3f} in learned features")

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 4))
left.semilogy(loss, color="black", lw=0.8)
left.set(title="training", xlabel="batch of 256 points", ylabel="squared hinge loss, half not fitted (mean)")
for ax, Z, title, decide in [
    (middle, S, "plane", lambda Z: ji.linear_svm.decision(learned, network(Z))),
    (right, network(S), "learned features", partial(ji.linear_svm.decision, learned)),
]:
    scatter(ax, np.asarray(Z), np.asarray(arm), ["arm 0", "arm 1"])
    ax.set(title=title, xlabel="first coordinate", ylabel="second coordinate")
    surface(ax, decide, [-1, 0, 1], **LINES)
right.locator_params(axis="x", nbins=5)
fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# ## A tube and a region
#
# Regression counts only errors beyond a tube of half width epsilon: rows within it are no support vectors. The
# one-class machine finds a region that holds all but a share nu of the rows.

# %%
patients = load_diabetes(scaled=False)
bmi, score = patients.data[:, [2]], patients.target
epsilon = 60.0
tube = ji.check(ji.svr.fit(bmi, score, C=100.0, epsilon=epsilon, kernel=ji.kernels.RBF.length_scale(5.0)))
support = np.asarray(tube.params.coef) != 0

fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.2))
at = np.linspace(bmi.min(), bmi.max(), 200)[:, None]
line = ji.svr.predict(tube.params, at)
left.plot(bmi[~support], score[~support], "o", color=GREY, ms=3, label=f"within the tube: {(~support).sum()}")
left.plot(bmi[support], score[support], "s", color=ORANGE, ms=3.5, label=f"support vectors: {support.sum()}")
left.fill_between(at[:, 0], line - epsilon, line + epsilon, color=BLUE, alpha=0.2, lw=0)
left.plot(at, line, color=BLUE)
left.set(title="svr, diabetes", xlabel="body mass index (kg/m²)", ylabel="score of progress after a year")
right.plot(*W.T, "o", color=GREY, ms=3)
right.set(title="one_class, wines", xlabel="phenols (standard deviations)", xlim=(-3, 4), ylim=(-2.8, 5.8))
right.set(ylabel="colour intensity (standard deviations)")
for nu, color, style in [(0.05, BLUE, "-"), (0.2, ORANGE, "--"), (0.5, GREEN, "-.")]:
    region = ji.check(ji.one_class.fit(W, nu=nu, kernel=ji.kernels.RBF(0.2))).params
    surface(right, partial(ji.one_class.decision, region), [0], colors=color, linestyles=style)
    outside = (ji.one_class.decision(region, W) < -1e-3).mean()
    right.plot([], [], color=color, ls=style, label=f"nu = {nu:g}: {outside:.3f} outside")
left.legend(loc="upper left")
right.legend(loc="upper right")
plt.show()
