"""How far a fit is from solving its problem, in extended precision and plain NumPy: `excess`, at most 1 if it does.

Every certificate is a residual of the optimality conditions over what the tolerance allows, plus what rounding the
parameters to their dtype alone can cost: eps (|X| |coef| + |intercept|) in the linear predictor.  Columns are centred
by their weighted means, so a slope is judged in the units of its column's spread, wherever its mean is.

Nothing of the library is called.  The conditions are those of the references; here they are written for np.longdouble,
which holds data up to 1e4932, together with the effect of rounding.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from tests.references import ordinal, svm

LONG = np.longdouble
TINY = np.finfo(LONG).tiny
SLACK = 30  # times eps: sums of 40 rows, a few roundings each


class Problem:
    """Rows of positive weight in extended precision, and weights that sum to one."""

    def __init__(self, X, y, w, eps, tol):
        keep = w > 0
        self.X, self.w = X[keep].astype(LONG), w[keep].astype(LONG)
        self.y = y[keep] if y.dtype.kind == "i" else y[keep].astype(LONG)
        self.keep, self.total, self.tol = keep, self.w.sum(), LONG(tol)
        self.eps, self.tiny = LONG(eps), LONG(np.finfo(np.float64 if eps < 1e-10 else np.float32).tiny)
        self.raw, self.w = self.w, self.w / self.total
        mean = self.w @ self.X
        self.centred = self.X - mean
        # A column whose spread is rounding of its mean holds nothing that a fit could use.
        self.lost = self.size(self.centred) <= 16 * self.eps * np.abs(mean)

    def size(self, v):
        """Weighted root mean square, over columns."""
        v = np.abs(np.asarray(v, LONG))
        top = max(v.max(initial=0), TINY)
        return np.sqrt(self.w @ (v / top) ** 2) * top

    def rounding(self, coef, intercept):
        """The change of the linear predictor, of the shape of y, where parameters are rounded and where differences of
        a column's values below the smallest normal number are 0."""
        size = np.abs(coef)
        moved = np.abs(self.X) @ np.maximum(size, self.tiny / self.eps) + np.abs(intercept)
        return SLACK * (self.eps * moved + self.tiny * size.sum(0))


def longs(*arrays):
    return [np.asarray(a).astype(LONG) for a in arrays]


def stationary(problem, slope, noise, null, coef, l2=0.0):
    """The excess of a gradient: slope is dloss/deta (n,) or (n, k), noise its error, null its size without columns."""
    spread = problem.size(problem.centred)
    spread = spread.reshape((-1,) + (1,) * (np.ndim(slope) - 1))
    weights = problem.w.reshape((-1,) + (1,) * (np.ndim(slope) - 1))
    allowed = 10 * problem.tol * np.max(null) + np.max(problem.size(noise))
    penalty = np.asarray(l2, LONG) * coef
    gradient = problem.centred.T @ (weights * slope) + penalty
    allowed_gradient = spread * allowed + SLACK * problem.eps * np.abs(penalty) + np.asarray(l2, LONG) * problem.tiny
    lost = problem.lost.reshape(spread.shape)
    part = np.where(
        lost | (gradient == 0), 0, np.abs(gradient) / np.where(allowed_gradient > 0, allowed_gradient, TINY)
    )
    level = np.abs((weights * slope).sum(0))
    return float(max(part.max(initial=0), np.max(np.where(level == 0, 0, level / max(allowed, TINY)))))


# dloss/deta, its derivative by eta, and the constant eta of a mean: (y, eta) -> arrays.
def _logit(y, eta):
    p = 1 / (1 + np.exp(-eta))
    return p - y, p * (1 - p)


def _log_mean(power):
    def both(y, eta):
        """(mu - y) / mu^power dmu/deta, dmu/deta = mu."""
        mu = np.exp(eta)
        return (mu - y) * mu ** (1 - power), mu ** (2 - power) + np.abs(power - 1) * y * mu ** (1 - power)

    return both


LOSSES = {
    "squared": (lambda y, eta: (eta - y, np.ones_like(eta)), lambda m: m),
    "logit": (_logit, lambda m: np.log(m / (1 - m))),
    "poisson": (_log_mean(1), np.log),
    "gamma": (_log_mean(2), np.log),
    "tweedie": (_log_mean(1.5), np.log),
}


def smooth(problem, params, loss="squared", l2=0.0):
    coef, intercept = longs(params.coef, params.intercept)
    both, link = LOSSES[loss]
    y = problem.y.astype(LONG)
    slope, curvature = both(y, problem.X @ coef + intercept)
    mean = problem.w @ y
    null = problem.size(both(y, link(mean) + 0 * y)[0])
    noise = curvature * (problem.rounding(coef, intercept) + SLACK * problem.eps * (loss == "squared") * np.abs(y))
    return stationary(problem, slope, noise, null, coef, l2)


def least_squares(problem, fit):
    """The normal equations, and the smallest norm where no singular value is close to the limit of the rank."""
    gradient = smooth(problem, fit.params)
    coef = np.asarray(fit.params.coef, float)
    spread = np.where(problem.lost, 1, problem.size(problem.centred)).astype(float)
    Z = (np.where(problem.lost, 0, problem.centred) * np.sqrt(problem.w)[:, None] / spread).astype(float)
    s, V = np.linalg.svd(Z)[1:]
    s = np.concatenate([s, np.zeros(len(coef) - len(s))])
    rank = int(fit.info.rank)
    all_but_constant = problem.lost & (np.ptp(problem.X, axis=0) > 0)
    if all_but_constant.any() or rank == 0 or (s[rank:] > 1e-13 * s[0]).any() or s[rank - 1] < 1e-6 * s[0]:
        return gradient
    null = np.linalg.qr(V[rank:].T / spread[:, None])[0]
    noise = SLACK * problem.eps * spread.max() / spread.min() * s[0] / s[rank - 1]
    # Beside a y that is all but constant coefficients are rounding of it.
    unit = max(np.abs(coef).max(), SLACK * float(problem.eps * np.abs(problem.y).max()) / spread.min(), 1e-300)
    return max(gradient, float(np.linalg.norm(null.T @ (coef / unit)) / (problem.tol + noise)))


def multinomial(problem, params, l2):
    coef, intercept = longs(params.coef, params.intercept)
    K = len(intercept)
    eta = problem.X @ coef + intercept
    P = np.exp(eta - eta.max(1, keepdims=True))
    P /= P.sum(1, keepdims=True)
    hot = np.eye(K)[problem.y].astype(LONG)
    noise = P * (1 - P) * problem.rounding(coef, intercept).max(1, keepdims=True) + SLACK * problem.eps
    return stationary(problem, P - hot, noise, problem.size(problem.w @ hot - hot), coef, l2)


def cumulative(problem, params, l2):
    """Logit: the slope by eta from the reference, row by row; thresholds are judged with it."""
    coef, thresholds = np.asarray(params.coef, float), np.asarray(params.thresholds, float)
    X, w = problem.X.astype(float), problem.w.astype(float)
    g, level = ordinal.gradient(coef, thresholds, X, problem.y, l2=l2, sample_weight=w)
    mean = w @ X
    # With x_j - m_j in place of x_j the thresholds move by m_j coef_j.
    g = g + mean * level.sum()
    spread = problem.size(problem.centred).astype(float)
    top = np.abs(thresholds).max()
    noise = float(problem.size(problem.rounding(coef.astype(LONG), LONG(top)) + SLACK * problem.eps))
    allowed = 10 * float(problem.tol) + noise + SLACK * float(problem.eps)
    return max(
        np.where(problem.lost, 0, np.abs(g) / (spread * allowed + 1e-300)).max(initial=0), np.abs(level).max() / allowed
    )


def nonnegative(problem, params, l1, l2):
    coef, intercept = longs(params.coef, params.intercept)
    if (coef < 0).any():
        return np.inf
    r = problem.y - problem.X @ coef - intercept
    noise = problem.size(problem.rounding(coef, intercept) + SLACK * problem.eps * np.abs(problem.y))
    spread, null = problem.size(problem.centred), problem.size(problem.y - problem.w @ problem.y)
    g = l1 + l2 * coef - problem.centred.T @ (problem.w * r)
    g = np.where(coef > 0, np.abs(g), np.maximum(-g, 0))
    allowed = spread * (10 * problem.tol * null + noise) + SLACK * problem.eps * (l1 + l2 * coef)
    return float(np.where(problem.lost | (g == 0), 0, g / np.where(allowed > 0, allowed, TINY)).max(initial=0))


def norm_gap(problem, params, l1, l2=0.0, groups=None):
    """The duality gap of squared loss with norms of groups of rows of coef; of every row without groups."""
    coef, intercept = longs(params.coef, params.intercept)
    W, Y = coef.reshape(len(coef), -1), problem.y.reshape(len(problem.y), -1)
    root = np.sqrt(problem.w)[:, None]
    A, B = root * np.where(problem.lost, 0, problem.centred), root * (Y - problem.w @ Y)
    noise = root[:, 0] * (problem.rounding(W, intercept.reshape(1, -1)).max(1) + SLACK * problem.eps * np.abs(Y).max(1))
    A = np.vstack([A, np.sqrt(LONG(l2)) * np.eye(len(W))])
    B = np.vstack([B, np.zeros((len(W), B.shape[1]))])
    groups = np.arange(len(W)) if groups is None else groups
    blocks = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    sizes = [l1 * np.sqrt(len(b)) for b in blocks]
    R = B - A @ W
    primal = (R**2).sum() / 2 + sum(s * np.sqrt((W[b] ** 2).sum()) for b, s in zip(blocks, sizes, strict=True))
    ratio = max(np.sqrt(((A.T @ R)[b] ** 2).sum()) / s for b, s in zip(blocks, sizes, strict=True))
    theta = R / max(LONG(1), ratio)
    dual = (B**2).sum() / 2 - ((B - theta) ** 2).sum() / 2
    null, off = (B**2).sum() / 2, np.sqrt((noise**2).sum())
    # A residual that moves by `off` moves A'R / l1, and with it theta, by up to |A| off / l1.
    moved = off * np.sqrt(2 * null) * (1 + np.sqrt((A**2).sum(0)).max() * np.sqrt(2 * null) / l1)
    allowed = 10 * problem.tol * null + moved
    level = np.abs(problem.w @ (Y - problem.X @ W - intercept.reshape(1, -1))).max()
    found = [(primal - dual) / max(allowed, TINY), level / max(off + 10 * problem.tol * np.sqrt(null), TINY)]
    return float(max(found)) if null > 0 else 0.0


def pinball(problem, params, tau):
    """The objective against a linear program's, of an orthonormal basis of the columns: its solver has tolerances.

    Directions that are rounding of the columns' means are lost as such columns are: two columns that differ by 4e5 and
    nothing else leave 1e-11, of which a program would make coefficients of 1e11.
    """
    coef, intercept = longs(params.coef, params.intercept)
    y = problem.y - np.median(problem.y)
    unit = max(np.abs(y).max(), TINY)
    spread = np.abs(problem.centred).max(0)
    there = ~problem.lost & (spread > 0)
    n, w = len(y), problem.w.astype(float)
    Z = np.c_[problem.centred[:, there] / spread[there], np.ones(n)].astype(float)
    U, s, _ = np.linalg.svd(Z, full_matrices=False)
    far = np.abs(problem.w @ problem.X)[there] / spread[there]
    Z = U[:, s > SLACK * float(problem.eps) * max(1, far.max(initial=0)) * s[0]] * np.sqrt(n)
    cost = np.r_[np.zeros(Z.shape[1]), tau * w, (1 - tau) * w]
    equal = np.hstack([Z, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * Z.shape[1] + [(0, None)] * (2 * n)
    best = linprog(cost, A_eq=equal, b_eq=(y / unit).astype(float), bounds=bounds)
    if best.status:
        return np.nan

    def loss(r):
        return problem.w @ np.maximum(tau * r, (tau - 1) * r)

    level = np.sort(y / unit)[min(np.searchsorted(np.cumsum(problem.w[np.argsort(y)]), tau), n - 1)]
    null = loss(y / unit - level)
    noise = (problem.rounding(coef, intercept) + SLACK * problem.eps * np.abs(problem.y)) / unit
    value = loss((problem.y - problem.X @ coef - intercept) / unit)
    return float((value - best.fun) / (10 * problem.tol * null + problem.w @ noise + 1e-8))


def machine(problem, params, kernel, dual, tol, single=True):
    """The largest violation of the dual, and the intercept's."""
    coef, intercept = longs(params.coef, params.intercept)
    b = coef[problem.keep]
    if (coef[~problem.keep] != 0).any():
        return np.inf
    K = kernel(problem.X)
    made = dual(K, problem, b)
    if made is None:
        return np.nan
    problem_dual, variables = made
    slack = SLACK * problem.eps * problem_dual.upper.max()
    rounding = SLACK * problem.eps * ((np.abs(problem_dual.K) @ np.abs(variables)).max() + np.abs(problem_dual.c).max())
    allowed = 2 * LONG(tol) + rounding
    outside = max((variables - problem_dual.upper).max(), (problem_dual.lower - variables).max()) / max(slack, TINY)
    sum_rounding = problem.eps ** (2 / 3) * np.abs(variables).sum() + TINY  # of thousands of steps
    sums = [abs(variables[problem_dual.group == g].sum() - t) / sum_rounding for g, t in enumerate(problem_dual.total)]
    found = [problem_dual.violation(variables, slack) / allowed, outside, *sums]
    if single:
        f, rho = problem_dual.slope(variables), -intercept
        up, down = variables < problem_dual.upper - slack, variables > problem_dual.lower + slack
        # Where the rows are far from 0, the error of the sum of b, which is 0, counts times their squares.
        over = SLACK * problem.eps * abs(rho) + (abs(b.sum()) * np.abs(K).max() if kernel is linear else 0)
        found += [((rho - f[up]).max(initial=0)) / (allowed + over), (f[down] - rho).max(initial=0) / (allowed + over)]
    return float(max(found))


def rbf(gamma):
    return lambda X: np.exp(-LONG(gamma) * ((X[:, None] - X[None]) ** 2).sum(-1))


def linear(X):
    return X @ X.T


def svc(C):
    def dual(K, problem, b):
        sign = np.where(problem.y == 1, LONG(1), LONG(-1))
        return svm.svc(K, sign, C * problem.raw), b

    return dual


def svr(C, epsilon):
    def dual(K, problem, b):
        split = np.concatenate([np.maximum(b, 0), np.minimum(b, 0)])
        return svm.svr(K, problem.y, C * problem.raw, LONG(epsilon)), split

    return dual


def nu_svr(C, nu):
    def dual(K, problem, b):
        up, down = np.maximum(b, 0), np.minimum(b, 0)
        half = nu * C * problem.total / 2
        if half - up.sum() > SLACK * len(b) * problem.eps * half:
            return None  # some rows carry both signs, of which coef has the sum: not known from it
        return svm.nu_svr(K, problem.y, C * problem.raw, LONG(nu)), np.concatenate([up, down])

    return dual


def nu_svc(nu):
    def dual(K, problem, b):
        r = nu * problem.total / np.abs(b).sum()
        sign = np.where(problem.y == 1, LONG(1), LONG(-1))
        return svm.nu_svc(K, sign, problem.raw, LONG(nu)), b * r

    return dual


def one_class(nu):
    return lambda K, problem, b: (svm.one_class(K, problem.raw, LONG(nu)), b)


def kernel_ridge(problem, params, kernel, l2):
    coef, intercept = longs(params.coef, params.intercept)
    b = coef[problem.keep]
    K = kernel(problem.X)
    shift = l2 * problem.total / problem.raw
    r = K @ b + shift * b + intercept - problem.y
    rounding = SLACK * problem.eps * (np.abs(K) @ np.abs(b) + shift * np.abs(b) + np.abs(intercept) + np.abs(problem.y))
    # The system is solved to the rounding of its largest right side, in every row.
    largest = np.abs(problem.y).max()
    lost = rounding + SLACK * problem.eps * largest
    total = abs(b.sum()) / ((lost / shift).sum() + SLACK * len(b) * problem.eps * np.abs(b).sum() + TINY)
    return float(max((np.abs(r) / (10 * problem.tol * largest + rounding + TINY)).max(), total))


def hinge(problem, params, C, tol):
    """The primal minus the dual value, over what tol, in units of the value at zero parameters, and rounding allow.

    Weak duality about the mean m of the rows: primal >= |a|_1 - |(X - m)'a|^2 / 2 - level sum(a), where level is the
    intercept at m.  About 0 the sum, which is 0 but for its rounding, would be taken times the rows' squares.
    """
    coef, intercept, a = longs(params.coef, params.intercept, params.dual)
    t = np.where(problem.y == 1, LONG(1), LONG(-1))
    a = a[problem.keep]
    margin = t * (problem.X @ coef + intercept)
    rounding = problem.rounding(coef, intercept)
    primal = coef @ coef / 2 + C * problem.raw @ np.maximum(1 - margin, 0)
    v = problem.centred.T @ a
    level = intercept + problem.w @ problem.X @ coef
    dual = np.abs(a).sum() - v @ v / 2
    null = C * problem.total
    allowed = 2 * LONG(tol) * null + C * problem.raw @ rounding + np.abs(level * a.sum())
    return float((primal - dual) / allowed)


def separated(X, y):
    """Whether some direction puts all rows of each class on its side, one of them beyond its edge: a linear program."""
    Z = X.astype(float)
    spread = np.abs(Z - Z.mean(0)).max(0)
    Z = (Z - Z.mean(0)) / np.where(spread > 0, spread, 1)
    A = np.where(y == 1, 1.0, -1.0)[:, None] * np.c_[Z, np.ones(len(y))]
    best = linprog(-A.sum(0), A_ub=-A, b_ub=np.zeros(len(A)), bounds=(-1, 1))
    return best.status != 0 or -best.fun > 1e-7
