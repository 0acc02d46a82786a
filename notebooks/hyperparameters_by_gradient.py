# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Hyper-parameters by gradient
#
# All penalties on all folds in one compiled call; then the gradient of the cross-validated loss, which finds one
# penalty, two, or one for each feature.

# %%
from collections import Counter

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LassoCV, LogisticRegressionCV
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

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
# ## A path and ten folds in one call
#
# Diabetes: ten measurements of 442 patients, with their squares and products 65 columns; the score in standard
# deviations. Tumours: thirty measurements, malignant or not. A fold is a weight of 0, so `cross_validate` fits every
# penalty on every fold with one copy of the data. 560 tumours make ten folds of equal size: scikit-learn's `C` counts
# rows, our penalty does not.

# %%
patients = load_diabetes(scaled=False)
Q = jnp.asarray(StandardScaler().fit_transform(PolynomialFeatures(2, include_bias=False).fit_transform(
    StandardScaler().fit_transform(patients.data)
)))  # fmt: skip
score = jnp.asarray((patients.target - patients.target.mean()) / patients.target.std())
tumours = load_breast_cancer()
X, malignant = StandardScaler().fit_transform(tumours.data)[:560], 1 - tumours.target[:560]

folds = ji.select.kfold(len(score), 10, key=jax.random.key(0))
l1 = ji.select.penalties(ji.lasso.l1_max(Q, score), 100)
lasso = ji.select.cross_validate(ji.lasso, Q, score, grid={"l1": l1}, folds=folds)

strata = ji.select.kfold(len(malignant), 10, key=jax.random.key(0), stratify=malignant)
l2 = ji.select.penalties(1.0, 40, ratio=1e-4)
logistic = ji.select.cross_validate(ji.logistic, X, malignant, grid={"l2": l2}, folds=strata)

for name, cv in [("lasso", lasso), ("logistic", logistic)]:
    ends = Counter(ji.Status(code).name for code in cv.status.ravel().tolist())
    print(f"{name}: losses of shape {cv.score.shape}, fits {dict(ends)}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4))
for ax, cv, penalty, name in [(left, lasso, l1, "l1"), (right, logistic, l2, "l2")]:
    ax.fill_between(penalty, cv.mean - cv.se, cv.mean + cv.se, color=BLUE, alpha=0.2, lw=0, label="one standard error")
    ax.semilogx(penalty, cv.mean, color=BLUE, label="mean of ten folds")
    ax.plot(penalty[cv.best], cv.mean[cv.best], "o", color="black", label=f"best: {penalty[cv.best]:.2g}")
    ax.plot(
        penalty[cv.best_1se],
        cv.mean[cv.best_1se],
        "s",
        color=ORANGE,
        mec="black",
        label=f"within one standard error: {penalty[cv.best_1se]:.2g}",
    )
    ax.set(xlabel=f"penalty {name}")
    ax.legend(loc="upper left")
left.set(title="lasso, diabetes", ylabel="half squared error, left out (variances of score)", ylim=(0.2, 0.7))
right.set(title="logistic, tumours", ylabel="log loss, left out (nats per tumour)", ylim=(0, 0.4))
plt.show()

# %% [markdown]
# ### The same as scikit-learn
#
# On the same folds and penalties, with its tolerance small enough.

# %%
splits = [(np.flatnonzero(w), np.flatnonzero(w == 0)) for w in np.asarray(folds)]
peer = LassoCV(alphas=np.asarray(l1), cv=splits, tol=1e-9, max_iter=100_000).fit(Q, score)
print(f"lasso: largest difference of a fold's loss {np.abs(peer.mse_path_ / 2 - lasso.score).max():.0e}; ", end="")
print(f"best penalty {l1[lasso.best]:.6f} and {peer.alpha_:.6f}")

splits = [(np.flatnonzero(w), np.flatnonzero(w == 0)) for w in np.asarray(strata)]
rows = int(strata[0].sum())
peer = LogisticRegressionCV(
    Cs=np.asarray(1 / (l2 * rows)),
    cv=splits,
    scoring="neg_log_loss",
    solver="newton-cholesky",
    tol=1e-9,
    max_iter=1000,
    use_legacy_attributes=False,
    l1_ratios=(0,),
).fit(X, malignant)
print(f"logistic: largest difference {np.abs(-peer.scores_.reshape(10, -1).T - logistic.score).max():.0e}; ", end="")
print(f"best penalty {l2[logistic.best]:.6f} and {1 / (peer.C_ * rows):.6f}")

# %% [markdown]
# ## Down the gradient to the best penalty
#
# `cv_loss` is the cross-validated loss of one candidate, and `jax.value_and_grad` works on it: the derivatives come
# from the optimality conditions of the ten fits. The descent runs over the logarithm, which may take any value.


# %%
@jax.jit
@jax.value_and_grad
def lasso_loss(log_l1):
    return ji.select.cv_loss(ji.lasso, Q, score, hyper={"l1": jnp.exp(log_l1[0])}, folds=folds)


def descend(loss, start):
    """BFGS from `start`: the points after each step, the losses there, and how many gradients it took."""
    visited = [np.asarray(start)]
    end = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-4}, callback=lambda at: visited.append(at))
    return np.exp(visited), np.array([loss(at)[0] for at in visited]), end.nfev


at, h = jnp.log(jnp.array([0.05])), 1e-5
slope, differences = lasso_loss(at)[1][0], (lasso_loss(at + h)[0] - lasso_loss(at - h)[0]) / (2 * h)
print(f"slope {slope:.8f}, by differences {differences:.8f}")

visited, values, gradients = descend(lasso_loss, np.log([0.4]))
print(f"grid of {len(l1)}: loss {lasso.mean[lasso.best]:.6f} at l1 = {l1[lasso.best]:.5f}")
print(f"descent:     loss {values[-1]:.6f} at l1 = {visited[-1, 0]:.5f} after {gradients} gradients")

fig, ax = plt.subplots(figsize=(6.8, 4))
ax.semilogx(l1, lasso.mean, color=BLUE, label=f"grid of {len(l1)}")
ax.plot(visited[:, 0], values, "o--", color=ORANGE, mec="black", mew=0.5, lw=1, label="descent")
ax.plot(visited[-1, 0], values[-1], "*", color=ORANGE, mec="black", ms=14, label="its end")
ax.set(xlabel="penalty l1", ylabel="half squared error, left out (variances of score)")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Two penalties at once
#
# The elastic net has l1 and l2. The grid of their combinations shows where the valley is; the descent needs no grid.


# %%
@jax.jit
@jax.value_and_grad
def net_loss(log_penalties):
    l1, l2 = jnp.exp(log_penalties)
    return ji.select.cv_loss(ji.elastic_net, Q, score, hyper={"l1": l1, "l2": l2}, folds=folds)


axes = {"l1": ji.select.penalties(0.5, 20, ratio=1e-3), "l2": ji.select.penalties(10.0, 20, ratio=1e-4)}
net = ji.select.cross_validate(ji.elastic_net, Q, score, grid=ji.select.product(axes), folds=folds)
visited, values, gradients = descend(net_loss, np.log([0.3, 5.0]))
print(f"grid of {net.mean.size}: loss {net.mean[net.best]:.6f}")
print(f"descent:     loss {values[-1]:.6f} at l1 = {visited[-1, 0]:.4f}, l2 = {visited[-1, 1]:.2g} ", end="")
print(f"after {gradients} gradients")

fig, ax = plt.subplots(figsize=(6.8, 4.4))
surface = ax.contourf(axes["l1"], axes["l2"], net.mean.reshape(20, 20).T, levels=16, cmap="cividis")
ax.plot(*visited.T, "o-", color="white", mec="black", mew=0.5, ms=5, lw=1, label="descent")
ax.plot(*visited[-1], "*", color=ORANGE, mec="black", ms=14, ls="none", label="its end")
ax.set(xscale="log", yscale="log", xlabel="penalty l1", ylabel="penalty l2")
ax.set(xlim=(5e-4, 0.5), ylim=(1e-3, 10))
ax.legend(loc="lower left", labelcolor="white")
fig.colorbar(surface, label="half squared error, left out")
plt.show()

# %% [markdown]
# ## One penalty for each feature
#
# Ridge on the 65 columns with 65 penalties: no grid can do that. So many can overfit the folds themselves. Therefore a
# third of the patients is kept apart, and all is done for ten random divisions in one call, with optax. The descent
# starts at the best common penalty. Ridge is `glm` with the Gaussian family.


# %%
gaussian = ji.families.Gaussian()
n, p, divisions, steps = *Q.shape, 10, 40
part = jnp.stack([jax.random.permutation(jax.random.key(seed), n) % 15 for seed in range(divisions)])
kept = (part < 10).astype(float)  # 10 to 14 are kept apart
train = (part[:, None] // 2 != jnp.arange(5)[:, None]).astype(float)  # five folds of the others
optimiser = optax.adam(0.2)


def tune(start, kept, train, group):
    """Adam over log penalties, `group` says which of each column: its end, and the losses by folds and apart."""

    def loss(log_l2):
        hyper, fixed = {"l2": jnp.exp(log_l2)[group]}, {"family": gaussian}
        return ji.select.cv_loss(ji.glm, Q, score, hyper=hyper, folds=train, sample_weight=kept, fixed=fixed)

    def apart(log_l2):
        fit = ji.glm.fit(Q, score, family=gaussian, l2=jnp.exp(log_l2)[group], sample_weight=kept)
        return ji.glm.objective(fit.params, Q, score, family=gaussian, sample_weight=1 - kept)

    def step(carry, _):
        at, state = carry
        value, gradient = jax.value_and_grad(loss)(at)
        change, state = optimiser.update(gradient, state)
        return (optax.apply_updates(at, change), state), (value, apart(at))

    (end, _), losses = jax.lax.scan(step, (start, optimiser.init(start)), None, length=steps)
    return end, *losses


tune_all = jax.jit(jax.vmap(tune, in_axes=(0, 0, 0, None)))
groups = {
    "one penalty": jnp.zeros(p, int),
    "two penalties": (jnp.arange(p) >= 10).astype(int),
    "65 penalties": jnp.arange(p),
}
end, by_folds, by_apart = tune_all(jnp.full((divisions, p), -1.0), kept, train, groups["one penalty"])
common = end[:, :1].repeat(p, 1)
history = {"one penalty": (by_folds[:, -1:].repeat(steps, 1), by_apart[:, -1:].repeat(steps, 1))}
for name in ("two penalties", "65 penalties"):
    _, *history[name] = tune_all(common, kept, train, groups[name])

fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4), sharey=True)
looks = zip((ORANGE, GREEN, BLUE), ("--", "-.", "-"), strict=True)
for (name, (by_folds, by_apart)), (color, style) in zip(history.items(), looks, strict=True):
    left.plot(by_folds.mean(0), color=color, ls=style, lw=1.8)
    right.plot(by_apart.mean(0), color=color, ls=style, lw=1.8, label=name)
left.set(title="patients left out by folds", xlabel="step of the descent")
left.set(ylabel=f"half squared error, mean of {divisions} divisions")
right.set(title="patients kept apart", xlabel="step of the descent")
fig.legend(loc="outside lower center", ncols=3)
plt.show()

before = history["one penalty"][1][:, -1]
print(f"kept apart, one penalty: {before.mean():.4f}")
for name in list(history)[1:]:
    for step in (5, steps - 1):
        after = history[name][1][:, step]
        better = int((after < before).sum())
        print(f"{name}, step {step:2}: {after.mean():.4f}, better in {better} of {divisions} divisions")

# %% [markdown]
# One penalty for the measurements and one for their squares and products pay on both sides. With 65 the folds' loss
# keeps decreasing while the loss on the patients kept apart rises again after a few steps: that many hyper-parameters
# overfit the folds. Stop early, or let features share a penalty.
