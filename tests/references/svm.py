r"""The dual of support vector machines by the most violating pair, one at a time, in float64.

    minimise 1/2 b'K b + c'b    subject to  lower <= b <= upper,  sum of b over each group fixed

Source: Keerthi, Shevade, Bhattacharyya and Murthy 2001; Chang and Lin, LIBSVM, eqs. 1 to 13.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Dual(NamedTuple):
    K: np.ndarray
    c: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    group: np.ndarray
    total: np.ndarray

    def slope(self, b):
        return self.K @ b + self.c

    def objective(self, b):
        return 0.5 * b @ self.K @ b + self.c @ b

    def violation(self, b, slack=0.0):
        """The largest violation; within `slack` of a bound a variable counts as being at it."""
        f, worst = self.slope(b), 0.0
        for g in range(len(self.total)):
            up = (self.group == g) & (b < self.upper - slack)
            down = (self.group == g) & (b > self.lower + slack)
            if up.any() and down.any():
                worst = max(worst, f[down].max() - f[up].min())
        return worst

    def rho(self, b):
        f, found = self.slope(b), []
        for g in range(len(self.total)):
            inside = self.group == g
            free = inside & (b > self.lower) & (b < self.upper)
            ends = f[inside & (b > self.lower)], f[inside & (b < self.upper)]
            found.append(f[free].mean() if free.any() else (ends[0].max() + ends[1].min()) / 2)
        return np.array(found)


def solve(dual, tol=1e-11, most=2_000_000):
    b = np.clip(np.zeros_like(dual.c), dual.lower, dual.upper)
    for g, total in enumerate(dual.total):
        for i in np.flatnonzero(dual.group == g):
            need = total - b[dual.group == g].sum()
            b[i] = np.clip(b[i] + need, dual.lower[i], dual.upper[i])
    f = dual.slope(b)
    for _ in range(most):
        pairs = []
        for g in range(len(dual.total)):
            up = np.flatnonzero((dual.group == g) & (b < dual.upper))
            down = np.flatnonzero((dual.group == g) & (b > dual.lower))
            if len(up) and len(down):
                i, j = up[f[up].argmin()], down[f[down].argmax()]
                pairs.append((f[j] - f[i], i, j))
        if not pairs or max(pairs)[0] < tol:
            break
        gain, i, j = max(pairs)
        eta = max(dual.K[i, i] + dual.K[j, j] - 2 * dual.K[i, j], 1e-12)
        t = min(gain / eta, dual.upper[i] - b[i], b[j] - dual.lower[j])
        b[i], b[j] = (
            (dual.upper[i] if t == dual.upper[i] - b[i] else b[i] + t),
            (dual.lower[j] if t == b[j] - dual.lower[j] else b[j] - t),
        )
        f += t * (dual.K[i] - dual.K[j])
    return b


def rbf(X, Z, gamma):
    return np.exp(-(gamma * (X[:, None] - Z[None]) ** 2).sum(-1))


def svc(K, sign, bound):
    return Dual(K, -sign, np.minimum(sign * bound, 0), np.maximum(sign * bound, 0), 0 * sign.astype(int), np.zeros(1))


def nu_svc(K, sign, w, nu):
    half = nu * w.sum() / 2
    bounds = np.minimum(sign * w, 0), np.maximum(sign * w, 0)
    return Dual(K, np.zeros(len(w)), *bounds, (sign < 0).astype(int), np.array([half, -half]))


def svr(K, y, bound, epsilon):
    c, zero = np.concatenate([epsilon - y, -epsilon - y]), 0 * y
    bounds = np.concatenate([zero, -bound]), np.concatenate([bound, zero])
    return Dual(np.tile(K, (2, 2)), c, *bounds, np.zeros(len(c), int), np.zeros(1))


def nu_svr(K, y, bound, nu):
    half = nu * bound.sum() / 2
    dual = svr(K, y, bound, 0.0)
    return dual._replace(group=np.repeat([0, 1], len(y)), total=np.array([half, -half]))


def one_class(K, w, nu):
    return Dual(K, np.zeros(len(w)), np.zeros(len(w)), w, np.zeros(len(w), int), np.array([nu * w.sum()]))
