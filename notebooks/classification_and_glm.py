# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Classification and counts
#
# Logistic and multinomial regression, Poisson rates, data without a finite fit, and many fits in one call.

# %%
from collections import Counter

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split

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
# ## Two classes
#
# 569 breast tumours, thirty measurements of their cell nuclei; class 1 is malignant.

# %%
tumours = load_breast_cancer()
names = [str(name) for name in tumours.feature_names]
X = (tumours.data - tumours.data.mean(0)) / tumours.data.std(0)  # in standard deviations
y = 1 - tumours.target
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

fit = ji.check(ji.logistic.fit(X_train, y_train, l2=0.01))
proba = ji.logistic.predict_proba(fit.params, X_test)[:, 1]
print(f"{fit.info.n_iter} steps, optimality {fit.info.optimality:.0e}")
accuracy = (ji.logistic.predict(fit.params, X_test) == y_test).mean()
area = roc_auc_score(y_test, proba)
print(f"{len(y_test)} tumours held out: accuracy {accuracy:.3f}, area under the ROC curve {area:.3f}")

# %% [markdown]
# ### Every row held out once
#
# A fold is a weight of 0. So ten folds and three penalties are thirty fits in one call, and every tumour gets a
# probability from a fit that has not seen it.

# %%
folds = ji.select.kfold(len(y), 10, key=jax.random.key(0), stratify=y)
l2 = jnp.array([0.001, 0.1, 3.0])


@jax.jit
def out_of_fold(l2):
    def fold(weight):
        fit = ji.logistic.fit(X, y, l2=l2, sample_weight=weight)
        return (1 - weight) * ji.logistic.predict_proba(fit.params, X)[:, 1], fit.info.status

    proba, status = jax.vmap(fold)(folds)
    return proba.sum(0), status


held_out, status = jax.vmap(out_of_fold)(l2)
print("fits:", {ji.Status(int(code)).name: count for code, count in Counter(status.ravel().tolist()).items()})

fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.2))
right.plot([0, 1], [0, 1], color=GREY, lw=0.8)
looks = zip((BLUE, ORANGE, GREEN), ("-", "--", "-."), "os^", strict=True)
for proba, penalty, (color, style, marker) in zip(np.asarray(held_out), l2, looks, strict=True):
    label = f"l2 = {penalty:g}"
    area = f"{label}: area {roc_auc_score(y, proba):.3f}"
    left.plot(*roc_curve(y, proba)[:2], color=color, ls=style, label=area)
    group = np.digitize(proba, [0.1, 0.3, 0.5, 0.7, 0.9])
    kept = np.flatnonzero(np.bincount(group) >= 5)
    share = np.array([y[group == g].mean() for g in kept])
    error = np.sqrt(share * (1 - share) / np.bincount(group)[kept])
    mean = [proba[group == g].mean() for g in kept]
    right.errorbar(mean, share, error, color=color, ls=style, marker=marker, capsize=3, label=label)
left.set(xlabel="benign tumours called malignant (share)", ylabel="malignant tumours found (share)")
left.set(xlim=(-0.005, 0.3), ylim=(0.7, 1.005))
left.legend(loc="lower right")
right.set(xlabel="probability of malignant (mean of group)", ylabel="malignant tumours in group (share)")
right.legend(loc="upper left")
plt.show()

# %% [markdown]
# The penalty hardly changes the order of the tumours but changes their probabilities a lot: on the grey line these are
# calibrated. Too large a penalty draws them to the middle. Bars are one standard error; groups of fewer than five
# tumours are left out.
#
# ### Which measurements? A path of L1 penalties
#
# `l1_max` is the smallest penalty at which every coefficient is 0. Each fit starts at the one before; the whole path
# is one compiled call.

# %%
l1 = ji.select.penalties(ji.logistic.l1_max(X_train, y_train), 60)
path = ji.check(ji.logistic.path(X_train, y_train, l1=l1))
coef = np.asarray(path.params.coef)
loss = jax.vmap(lambda params: ji.logistic.objective(params, X_test, y_test))(path.params)
accuracy = jax.vmap(lambda params: (ji.logistic.predict(params, X_test) == y_test).mean())(path.params)
least = int(loss.argmin())
entered = (coef[least] != 0).sum()
print(f"smallest held-out loss at l1 = {l1[least]:.4f}: {entered} of {len(names)} measurements, ", end="")
print(f"accuracy {accuracy[least]:.3f}")

first = (coef != 0).argmax(0) + len(l1) * (coef == 0).all(0)
leaders = np.argsort(first, kind="stable")[:4]

fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4), width_ratios=(1.25, 1))
left.semilogx(l1, coef, color="#bbbbbb", lw=0.8)
for j, color, style in zip(leaders, (BLUE, ORANGE, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=True):
    left.semilogx(l1, coef[:, j], color=color, ls=style, lw=1.8, label=names[j])
left.axvline(l1[least], color="black", lw=0.8)
left.set(xlabel="penalty l1", ylabel="coefficient (log odds per standard deviation)")
left.legend(title="first to enter")
right.semilogx(l1, loss, color=BLUE)
right.plot(l1[least], loss[least], "o", color="black")
right.set(xlabel="penalty l1", ylabel="log loss, held out (nats per tumour)", ylim=(0, None))
plt.show()

# %% [markdown]
# ## A worked example, by hand
#
# Three rows. At $w = 0$, $b = 0$ every probability is 1/2, so the loss is $\log 2$ and the gradient
# $\frac13 \sum_i (\frac12 - y_i) x_i$. One step of 0.01 against it lowers the loss.

# %%
A, label = np.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]), np.array([1, 0, 1])
start = ji.Linear(jnp.zeros(2), jnp.zeros(()))
gradient = ji.logistic.optimality(start, A, label)
step = jax.tree.map(lambda v, g: v - 0.01 * g, start, gradient)

print(f"loss {ji.logistic.objective(start, A, label):.6f}, log 2 = {np.log(2):.6f}")
print(f"gradient {np.round(gradient.coef, 6)} = (-2/3, -5/6) and {gradient.intercept:.6f} = -1/6")
print(f"by jax.grad {np.round(jax.grad(ji.logistic.objective)(start, A, label).coef, 6)}")
print(f"after one step: w = {np.round(step.coef, 6)}, b = {step.intercept:.6f}, ", end="")
print(f"loss {ji.logistic.objective(step, A, label):.6f}")

solution = ji.check(ji.logistic.fit(A, label))
print(f"minimum: w = {np.round(solution.params.coef, 6) + 0}, b = {solution.params.intercept:.6f} ", end="")
print(f"(log 2 again), loss {solution.info.objective:.6f}")

# %% [markdown]
# ## Ten classes
#
# 1797 handwritten digits, 8 by 8 pixels. A third is held out.

# %%
digits = load_digits()
pixels = digits.data / 16
P_train, P_test, d_train, d_test = train_test_split(
    pixels, digits.target, test_size=1 / 3, stratify=digits.target, random_state=0
)
ten = ji.check(ji.multinomial.fit(P_train, d_train, l2=0.003))
called = ji.multinomial.predict(ten.params, P_test)
print(f"{ten.info.n_iter} steps; accuracy {np.mean(called == d_test):.3f} on {len(d_test)} digits")

table = confusion_matrix(d_test, called)
mistakes = table - np.diag(np.diag(table))
fig, ax = plt.subplots(figsize=(5.4, 4.6))
image = ax.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(mistakes.max(), 4))
for i, j in np.argwhere(table):
    color = GREY if i == j else "white" if table[i, j] > 3 else "black"
    ax.text(j, i, table[i, j], ha="center", va="center", color=color, fontsize=9)
ax.set(xticks=range(10), yticks=range(10), xlabel="digit called", ylabel="digit written")
fig.colorbar(image, label="mistakes (count)", shrink=0.85)
plt.show()

# %% [markdown]
# The coefficients of a class are an image: ink on blue is evidence for the digit, ink on red against it. The classes'
# sum is 0 in every pixel: a penalised softmax has no reference class.

# %%
print(f"largest sum over the classes {np.abs(ten.params.coef.sum(1)).max():.0e}")
limit = float(np.abs(ten.params.coef).max())
fig, axes = plt.subplots(2, 5, figsize=(9.2, 4))
for digit, ax in enumerate(axes.flat):
    image = ax.imshow(ten.params.coef[:, digit].reshape(8, 8), cmap="RdBu", vmin=-limit, vmax=limit)
    ax.set(title=digit, xticks=[], yticks=[])
fig.colorbar(image, ax=axes, label="log odds per full ink", shrink=0.8)
plt.show()

# %% [markdown]
# ## Counts with an exposure
#
# Damage by waves to cargo ships of five types, in four cohorts of construction and two periods of operation: incidents
# and months of service. The table is that of McCullagh and Nelder, Generalized Linear Models, 2nd ed. 1989, section
# 6.3.2.

# %%
# fmt: off
months = np.array([
    127, 63, 1095, 1095, 1512, 3353, 0, 2244,            # type A: 1960-64, 65-69, 70-74, 75-79,
    44882, 17176, 28609, 20370, 7064, 13099, 0, 7117,    # each in service 1960-74 and 1975-79
    1179, 552, 781, 676, 783, 1948, 0, 274,
    251, 105, 288, 192, 349, 1208, 0, 2051,
    45, 0, 789, 437, 1157, 2161, 0, 542,
], float)
incidents = np.array([
    0, 0, 3, 4, 6, 18, 0, 11,
    39, 29, 58, 53, 12, 44, 0, 18,
    1, 1, 0, 1, 6, 2, 0, 1,
    0, 0, 0, 0, 2, 11, 0, 4,
    0, 0, 7, 7, 5, 12, 0, 1,
])
# fmt: on
kind, cohort, period = np.unravel_index(np.arange(40), (5, 4, 2))
ships = np.c_[kind[:, None] == np.arange(1, 5), cohort[:, None] == np.arange(1, 4), period == 1].astype(float)
effects = ["type B", "type C", "type D", "type E", "built 1965-69", "built 1970-74", "built 1975-79", "from 1975"]
kept = months > 0
ships, months, incidents, kind = ships[kept], months[kept], incidents[kept], kind[kept]

poisson = ji.families.Poisson()
rate = ji.check(ji.glm.fit(ships, incidents, family=poisson, exposure=months))
deviance = ji.glm.deviance(rate.params, ships, incidents, family=poisson, exposure=months)
dispersion = float(ji.glm.dispersion(rate.params, ships, incidents, family=poisson, exposure=months))
published = [-0.54, -0.69, -0.08, 0.33, 0.70, 0.82, 0.45, 0.38]
for effect, value, book in zip(effects, rate.params.coef, published, strict=True):
    print(f"{effect:14} {value:6.2f}, published {book:5.2f}")
print(f"deviance {deviance:.1f}, published 38.7; dispersion {dispersion:.2f}, published 1.69")

# %% [markdown]
# The exposure is an offset: it adds $\log$ months to the linear predictor with coefficient 1, so twice the service is
# twice the incidents. The fit predicts a rate.

# %%
fitted = 1000 * np.asarray(ji.glm.predict(rate.params, ships))
half = 2 * np.sqrt(dispersion * fitted / months * 1000)
order = np.argsort(fitted)
fig, ax = plt.subplots(figsize=(9.2, 4))
ax.fill_between(
    range(len(order)),
    np.maximum(fitted - half, 0)[order],
    (fitted + half)[order],
    step="mid",
    color=GREY,
    alpha=0.2,
    lw=0,
    label="two standard deviations of a count",
)
ax.step(range(len(order)), fitted[order], where="mid", color="black", lw=1, label="fitted rate")
rank = np.argsort(order)
for k, color, marker in zip(range(5), (BLUE, ORANGE, GREEN, PURPLE, "#D55E00"), "os^Dv", strict=True):
    at, observed = rank[kind == k], 1000 * (incidents / months)[kind == k]
    ax.plot(at, observed, marker, color=color, mec="black", mew=0.4, label=f"type {'ABCDE'[k]}")
ax.set(xlabel="group of ships, by fitted rate", ylabel="incidents per 1000 months of service", xticks=[])
fig.legend(loc="outside upper center", ncols=4)
plt.show()

# %% [markdown]
# ### Why an offset is not a feature
#
# As a feature, $\log$ months gets its own coefficient. Then the answer depends on how the records were divided: write
# each record as two of half the months, and the predicted number of incidents changes.

# %%
with_log = np.c_[ships, np.log(months)]
feature = ji.check(ji.glm.fit(with_log, incidents, family=poisson))
halves = np.c_[ships, np.log(months / 2)]
as_feature = 2 * ji.glm.predict(feature.params, halves).sum() / ji.glm.predict(feature.params, with_log).sum()
as_offset = (
    2 * ji.glm.predict(rate.params, ships, exposure=months / 2).sum()
    / ji.glm.predict(rate.params, ships, exposure=months).sum()
)  # fmt: skip
print(f"coefficient of log months: {feature.params.coef[-1]:.3f} as a feature, 1 as an offset")
print(f"predicted incidents when each record is cut in two: {as_feature - 1:+.1%} as a feature, ", end="")
print(f"{as_offset - 1:+.1%} as an offset")

# %% [markdown]
# ### A thousand bootstrap fits in one call
#
# Weights are counts of rows drawn. Some draws contain no incident of a type at all; its rate is then 0, its coefficient
# minus infinity, and the status of that lane says so without affecting the others.


# %%
@jax.jit
def refit(weight):
    return ji.glm.fit(ships, incidents, family=poisson, exposure=months, sample_weight=weight)


rows = len(incidents)
counts = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=1000).astype(float)
boot = jax.vmap(refit)(jnp.asarray(counts))
lanes = Counter(ji.Status(code).name for code in boot.info.status.tolist())
print(dict(lanes))

low, high = np.nanpercentile(np.exp(boot.params.coef), [2.5, 97.5], axis=0)
fig, ax = plt.subplots(figsize=(6.4, 3.6))
line = np.arange(len(effects))
ax.axvline(1, color=GREY, lw=0.8)
ax.hlines(line, low, high, color=BLUE, lw=2.5, label=f"95 % of {lanes['CONVERGED']} bootstrap fits")
ax.plot(np.exp(rate.params.coef), line, "o", color=ORANGE, mec="black", mew=0.5, label="fit")
ax.set(yticks=line, yticklabels=effects, xscale="log", xlabel="ratio of rates to type A, built 1960-64, until 1974")
ticks = [0.25, 0.5, 1, 2, 4]
ax.set_xticks(ticks, ticks)
ax.minorticks_off()
ax.invert_yaxis()
fig.legend(loc="outside upper center", ncols=2)
plt.show()

# %% [markdown]
# ## Data without a finite fit
#
# A line separates Iris setosa from Iris versicolor. Then every larger coefficient fits better, and the likelihood has
# no maximum. `fit` does not return a large coefficient as if it were one.

# %%
flowers = load_iris()
two = flowers.target < 2
F, species = flowers.data[two] - flowers.data[two].mean(0), flowers.target[two]

separable = ji.logistic.fit(F, species)
status = ji.Status(int(separable.info.status))
print(f"{status.name}: coef {np.asarray(separable.params.coef)}")
print(status.advice)
try:
    ji.check(separable)
except ji.FitError as error:
    print("ji.check raises FitError:", str(error)[:40], "...")

# %% [markdown]
# A penalty makes the minimum finite and unique. As it goes to 0 the coefficients grow like $\log(1/l_2)$: the size of
# the coefficient is that of the penalty, not of the data. In a batch, only the lane without penalty is NaN.

# %%
l2 = jnp.append(jnp.geomspace(10, 1e-7, 49), 0.0)
lanes = jax.vmap(lambda l2: ji.logistic.fit(F, species, l2=l2))(l2)
print(dict(Counter(ji.Status(code).name for code in lanes.info.status.tolist())))
print("not converged: l2 =", l2[lanes.info.status != ji.Status.CONVERGED])

fig, ax = plt.subplots(figsize=(6.8, 4))
shapes = [str(name).removesuffix(" (cm)") for name in flowers.feature_names]
for j, (color, style) in enumerate(zip((BLUE, ORANGE, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=True)):
    ax.semilogx(l2, lanes.params.coef[:, j], color=color, ls=style, lw=1.8, label=shapes[j])
ax.axhline(0, color=GREY, lw=0.8)
ax.invert_xaxis()
ax.set(xlabel="penalty l2 (smaller to the right)", ylabel="coefficient (log odds per cm)")
ax.legend()
plt.show()
