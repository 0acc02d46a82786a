# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Least squares
#
# OLS and ridge on real data: digits, rank, a penalty tuned by its gradient, a thousand bootstrap fits in one call.

# %%
import re
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from scipy.optimize import minimize
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
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
# ## A first fit
#
# 442 patients, ten measurements, and a score of how far diabetes had progressed a year later. `ji.check` raises if the
# fit did not converge and returns it otherwise.

# %%
data = load_diabetes(scaled=False)
names = data.feature_names
X = (data.data - data.data.mean(0)) / data.data.std(0)  # in standard deviations
y = data.target

fit = ji.check(ji.ols.fit(X, y))
fit

# %%
residual = y - ji.ols.predict(fit.params, X)
print(f"rank {fit.info.rank} of {X.shape[1]}, condition number {fit.info.condition:.1f}")
print(f"R squared {1 - residual.var() / y.var():.3f}")

# %% [markdown]
# ## A worked example, by hand
#
# Three rows, two columns, no intercept. Texts that reprint this example often give $X^\top X$ as
# [[1, 6], [6, 29]] and $w$ as (4.33, 8.67). Neither is right.

# %%
A = np.array([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]])
b = np.array([3.0, 6.0, 9.0])
print("X'X =", (A.T @ A).tolist(), "  X'y =", (A.T @ b).tolist())

no_intercept = ji.check(ji.ols.fit(A, b, fit_intercept=False)).params.coef
for name, w in [("right", no_intercept), ("reprinted", np.array([4.33, 8.67]))]:
    print(f"{name:10} w = {np.round(w, 6)}   residual y - Xw = {np.round(b - A @ w, 6)}")

# %% [markdown]
# With an intercept the columns are 1, $x$ and $x+1$: rank 2 of 3, so many solutions fit exactly. `ols` takes the one
# with the smallest coefficients and says what the rank is.

# %%
deficient = ji.check(ji.ols.fit(A, b))
print(f"coef {np.round(deficient.params.coef, 6)}, intercept {deficient.params.intercept:.6f}, ", end="")
print(f"rank {deficient.info.rank} of {A.shape[1]} centred columns")

# %% [markdown]
# ## How many digits are right?
#
# As the columns of X grow alike, its condition number rises and digits go. The truth here comes from rational
# arithmetic on the same numbers, without rounding. Medians of nine designs, 40 rows by 4 columns.


# %%
def exact(X, y):
    """Least squares with intercept in rational arithmetic: Gauss-Jordan on the normal equations."""
    A = [[Fraction(1), *map(Fraction, row)] for row in X.tolist()]
    t = [Fraction(v) for v in y.tolist()]
    size = len(A[0])
    M = [[sum(r[i] * r[j] for r in A) for j in range(size)] for i in range(size)]
    M = [row + [sum(r[i] * v for r, v in zip(A, t, strict=True))] for i, row in enumerate(M)]
    for i in range(size):
        M[i] = [v / M[i][i] for v in M[i]]
        for k in range(size):
            if k != i:
                M[k] = [v - M[k][i] * u for v, u in zip(M[k], M[i], strict=True)]
    return np.array([float(row[-1]) for row in M])


def digits(found, truth):
    """Correct significant digits of the worst coefficient; an absolute count where the truth is 0."""
    found, truth = np.asarray(found, float), np.asarray(truth, float)
    error = np.abs(found - truth) / np.where(truth == 0, 1, np.abs(truth))
    return float(np.clip(-np.log10(np.maximum(error.max(), 1e-16)), 0, 15))


def by_jaxinfra(X, y):
    params = ji.ols.fit(X, y).params
    return np.r_[params.intercept, params.coef]


def by_lapack(X, y):
    return scipy.linalg.lstsq(np.c_[np.ones_like(y), X], y)[0]


def by_sklearn(X, y):
    model = LinearRegression().fit(X, y)
    return np.r_[model.intercept_, model.coef_]


def by_normal_equations(X, y):
    D = np.c_[np.ones_like(y), X]
    try:
        return np.linalg.solve(D.T @ D, D.T @ y)
    except np.linalg.LinAlgError:
        return np.zeros(D.shape[1])


METHODS = {
    "jaxinfra": (by_jaxinfra, BLUE, "o"),
    "LAPACK": (by_lapack, ORANGE, "s"),
    "scikit-learn": (by_sklearn, GREEN, "^"),
    "normal equations": (by_normal_equations, PURPLE, "x"),
}

rng = np.random.default_rng(0)
conditions = np.geomspace(3, 1e14, 28)
draws = 9
found = {name: np.zeros((28, draws)) for name in METHODS}
for i, condition in enumerate(conditions):
    for draw in range(draws):
        Z = rng.normal(size=(40, 4))
        U, V = np.linalg.qr(Z - Z.mean(0))[0], np.linalg.qr(rng.normal(size=(4, 4)))[0]
        D = U * np.geomspace(1, 1 / condition, 4) @ V.T
        target = 1 + D @ np.ones(4) + 0.1 / condition * rng.normal(size=40)
        truth = exact(D, target)
        for name, (method, _, _) in METHODS.items():
            found[name][i, draw] = digits(method(D, target), truth)

fig, ax = plt.subplots(figsize=(6.4, 4))
for name, (_, color, marker) in METHODS.items():
    ax.semilogx(conditions, np.median(found[name], axis=1), color=color, marker=marker, ms=5, lw=1, label=name)
ax.set(xlabel="condition number of X", ylabel="correct digits, float64", ylim=(-0.5, 16))
ax.legend()
plt.show()

# %% [markdown]
# LAPACK is SciPy's `lstsq`. Where fewer than 11 digits would be left, `ols` corrects its solution with residuals in
# one and a half times the precision; here that begins at a million.
#
# ## NIST's certified sets
#
# Published with certified digits to test just this. Wampler is a polynomial of degree 5, NoInt a line through the
# origin; NIST's files add three more. Without those files the sets that a formula gives remain.


# %%
def formula_sets():
    x = np.arange(21.0)
    powers = np.stack([x**d for d in range(1, 6)], 1)
    line = np.arange(60.0, 71.0)
    return {
        "NoInt1": (line[:, None], line + 70, [2.07438016528926], False),
        "NoInt2": (np.array([[4.0], [5.0], [6.0]]), np.array([3.0, 4.0, 4.0]), [0.727272727272727], False),
        "Wampler1": (powers, 1 + powers.sum(1), np.ones(6), True),
        "Wampler2": (powers, sum((x / 10) ** d for d in range(6)), 0.1 ** np.arange(6), True),
    }


def read_nist(file):
    """X, y, certified parameters, intercept? from a file in NIST's format."""
    lines = file.read_text().splitlines()
    certified = [float(line.split()[1]) for line in lines if re.match(r"\s+B\d+(\s+\S+){2}\s*$", line)]
    start = max(i for i, line in enumerate(lines) if line.startswith("Data:")) + 1
    table = np.array([[float(v) for v in line.split()] for line in lines[start:] if line.strip()])
    y, X = table[:, 0], table[:, 1:]
    intercept = not file.stem.startswith("NoInt")
    if X.shape[1] == 1:  # a polynomial in x
        X = X ** np.arange(1, len(certified) + (not intercept))
    return X, y, certified, intercept


folder = Path.cwd()
while not (folder / "pyproject.toml").exists() and folder != folder.parent:
    folder = folder.parent
files = sorted((folder.parent / "shared" / "data" / "nist_strd").glob("*.dat"))
nist = {file.stem: read_nist(file) for file in files} or formula_sets()
print(len(nist), "sets,", "from NIST's files" if files else "by formula: NIST's files are not here")


# %%
def solve(name, X, y, intercept):
    if name == "jaxinfra":
        params = ji.ols.fit(X, y, fit_intercept=intercept).params
        return np.r_[params.intercept, params.coef] if intercept else params.coef
    if name == "scikit-learn":
        model = LinearRegression(fit_intercept=intercept).fit(X, y)
        return np.r_[model.intercept_, model.coef_] if intercept else model.coef_
    return scipy.linalg.lstsq(np.c_[np.ones_like(y), X] if intercept else X, y)[0]


fig, axes = plt.subplots(1, 2, figsize=(9.2, 0.9 + 0.36 * len(nist)), sharey=True)
rows = np.arange(len(nist))
for ax, dtype in zip(axes, (np.float64, np.float32), strict=True):
    for shift, name in zip((-0.22, 0, 0.22), list(METHODS)[:3], strict=True):
        _, color, marker = METHODS[name]
        right_digits = [
            digits(solve(name, X.astype(dtype), y.astype(dtype), intercept), certified)
            for X, y, certified, intercept in nist.values()
        ]
        ax.hlines(rows + shift, 0, right_digits, color=color, lw=1.2, alpha=0.5)
        ax.plot(right_digits, rows + shift, marker, color=color, ms=5, label=name)
    ax.set(xlabel=f"correct digits, {np.dtype(dtype).name}", xlim=(-0.3, 15.5 if dtype is np.float64 else 9))
axes[0].set(yticks=rows, yticklabels=list(nist))
axes[0].invert_yaxis()
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# scikit-learn drops every direction below a millionth of the largest, which on Pontius and Wampler loses the answer.
# float32 starts with seven digits, of which the condition number takes its share.

# %% [markdown]
# ## A thousand bootstrap fits in one call
#
# A weight of 2 is a row that occurs twice, a weight of 0 a row that is absent. So a bootstrap is `vmap` over weights.


# %%
def refit(weight):
    return ji.ols.fit(X, y, sample_weight=weight)


counts = np.random.default_rng(0).multinomial(len(y), np.full(len(y), 1 / len(y)), size=1000).astype(float)
boot = ji.check(jax.vmap(refit)(jnp.asarray(counts)))
low, high = np.percentile(boot.params.coef, [2.5, 97.5], axis=0)

fig, ax = plt.subplots(figsize=(6.4, 3.6))
rows = np.arange(len(names))
ax.axvline(0, color=GREY, lw=0.8)
ax.hlines(rows, low, high, color=BLUE, lw=2.5, label="95 % of 1000 bootstrap fits")
ax.plot(fit.params.coef, rows, "o", color=ORANGE, mec="black", mew=0.5, label="OLS")
ax.set(yticks=rows, yticklabels=names, xlabel="change of the score per standard deviation of the measurement")
ax.invert_yaxis()
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# The blood lipids s1 to s4 nearly repeat each other, hence their long bars.
#
# ## Ridge: the whole path and its leave-one-out error
#
# Squares and products of the ten measurements make 65 columns, too many for 442 patients. `ridge.path` fits all
# penalties from one factorisation, with the error on each patient left out in turn. That error is smooth in the
# penalty, so its gradient leads to the best one.

# %%
Q = StandardScaler().fit_transform(PolynomialFeatures(2, include_bias=False).fit_transform(X))
l2 = np.geomspace(1e-5, 100, 141)
path = ji.ridge.path(Q, y, l2=l2)


def left_out(log_l2):
    return ji.ridge.path(Q, y, l2=jnp.exp(log_l2)).loo[0]


best = minimize(jax.jit(jax.value_and_grad(left_out)), np.log([10.0]), jac=True)
best_l2 = float(np.exp(best.x[0]))
print(f"l2 = {best_l2:.3g} after {best.nfev} gradients")

fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.8))
left.semilogx(l2, path.coef[:, 10:], color="#bbbbbb", lw=0.8)
left.semilogx(l2, path.coef[:, :10], color=BLUE, lw=1.4)
left.set(xlabel="penalty l2", ylabel="coefficient (score per standard deviation)", ylim=(-50, 50))
left.legend(handles=[left.lines[-1], left.lines[0]], labels=["measurements", "squares and products"])
right.semilogx(l2, np.sqrt(path.loo), color=BLUE, label="leave-one-out")
right.semilogx(l2, np.sqrt(path.gcv), "--", color=ORANGE, label="generalised cross-validation")
right.plot(best_l2, np.sqrt(best.fun), "o", color="black", label="found by gradient")
right.set(xlabel="penalty l2", ylabel="error of prediction (score, root mean square)")
right.legend(loc="upper center")
plt.show()

# %% [markdown]
# ## Two penalties, five folds
#
# One penalty for the measurements, one for the squares and products. A fold is a weight of 0, so the folds are `vmap`
# over weights, and the gradient goes through all five fits at once.

# %%
fold = np.random.default_rng(0).permutation(len(y)) % 5
train = jnp.asarray(fold != np.arange(5)[:, None], float)


def validation_error(log_l2):
    l2 = jnp.exp(log_l2)[(np.arange(Q.shape[1]) >= len(names)).astype(int)]

    def squared_errors(weight):
        params = ji.ridge.fit(Q, y, l2=l2, sample_weight=weight).params
        return jnp.sum((1 - weight) * (y - ji.ridge.predict(params, Q)) ** 2)

    return jnp.sum(jax.vmap(squared_errors)(train)) / len(y)


error = jax.jit(jax.value_and_grad(validation_error))


def tied(log_l2):
    value, gradient = error(np.repeat(log_l2, 2))
    return value, gradient.sum(keepdims=True)


for name, function, size in [("one penalty", tied, 1), ("two penalties", error, 2)]:
    tuned = minimize(function, np.log(np.full(size, 0.1)), jac=True)
    l2s = ", ".join(f"{v:.2g}" for v in np.exp(tuned.x))
    print(f"{name}: l2 = {l2s}, validation error {np.sqrt(tuned.fun):.2f}")

# %% [markdown]
# The second penalty pays: the products need far more of it than the measurements.
