"""Certificates of support vector machines, in float64 from the returned dual variables or coefficients alone.

The violation is libsvm's stopping rule, max over down of the slope minus min over up of it, with the slopes of the dual
computed anew: kernel values, products and sums in float64. libsvm's own default asks for 1e-3.
"""

import numpy as np

from bench.suite import fits

HOPELESS = 1e99  # of answers that are not finite; JSON has no infinity
SLACK = 1e-6  # of the bound: within it a variable counts as being at the bound
BALANCE = 1e-4  # of the sum of absolute values: the error allowed in a sum with a prescribed value
_ROWS = 2048  # in a block of kernel values


def rounded(task):
    """The hyper-parameters as every implementation is given them: in the precision of the data."""
    return np.asarray(task.hyper, task.X.dtype).astype(np.float64)


def times_kernel(X, beta, gamma):
    """The product K beta, beta (rows,) or (several, rows), by blocks of rows and the support vectors alone."""
    X, beta = np.asarray(X, np.float64), np.asarray(beta, np.float64)
    used = np.flatnonzero(np.atleast_2d(beta).any(axis=0))
    Z, weight = X[used], beta[..., used].T
    norms, z_norms = np.square(X).sum(axis=1), np.square(Z).sum(axis=1)
    blocks = []
    for i in range(0, len(X), _ROWS):
        distance = X[i : i + _ROWS] @ (-2 * Z.T)
        distance += norms[i : i + _ROWS, None]
        distance += z_norms
        np.maximum(distance, 0, out=distance)
        distance *= -gamma
        blocks.append(np.exp(distance, out=distance) @ weight)
    return np.concatenate(blocks).T


def ends(slope, beta, lower, upper):
    """The largest slope of what can go down and the smallest of what can go up, for variables whose sum is fixed.

    At the optimum the first is at most the second, and rho is between. None outside the bounds.
    """
    slack = SLACK * (upper - lower)
    if not (np.isfinite(slope).all() and (beta >= lower - slack).all() and (beta <= upper + slack).all()):
        return None
    down, up = slope[beta > lower + slack], slope[beta < upper - slack]
    return np.array([down.max(initial=-HOPELESS), up.min(initial=HOPELESS)])


def violation(found, rho):
    """The violation by libsvm's rule, and how far rho is outside."""
    if found is None or not np.isfinite(rho):
        return HOPELESS
    down, up = found
    return float(min(max(down - up, down - rho, rho - up, 0), HOPELESS))


def _balanced(beta, total=0.0):
    return abs(beta.sum() - total) <= BALANCE * max(np.abs(beta).sum(), abs(total))


def classifier(slope, beta, intercept, sign, C):
    """C-SVC: slope = K beta, beta between 0 and sign C, sum 0."""
    if not _balanced(beta):
        return HOPELESS
    return violation(ends(slope - sign, beta, np.minimum(sign * C, 0), np.maximum(sign * C, 0)), -intercept)


def _svc(task, answer):
    C, gamma = rounded(task)
    beta = np.asarray(answer.coef, np.float64)
    return classifier(times_kernel(task.X, beta, gamma), beta, float(answer.intercept), 2.0 * task.y - 1, C)


def _svc_pairs(task, answer):
    C, gamma = rounded(task)
    K, worst = int(task.y.max()) + 1, 0.0
    pairs = [(i, j) for i in range(K) for j in range(i + 1, K)]
    coefs, intercepts = np.asarray(answer.coef, np.float64), np.asarray(answer.intercept, np.float64)
    for beta, intercept, (i, j) in zip(coefs, intercepts, pairs, strict=True):
        rows = np.flatnonzero((task.y == i) | (task.y == j))
        if np.delete(beta, rows).any():
            return HOPELESS
        slope = times_kernel(task.X[rows], beta[rows], gamma)
        sign = np.where(task.y[rows] == j, 1.0, -1.0)
        worst = max(worst, classifier(slope, beta[rows], intercept, sign, C))
    return worst


def _svc_grid(task, answer):
    """The machine of all rows, and those of all cells and folds where they are shown."""
    sign = 2.0 * task.y - 1
    worst = _svc(task._replace(hyper=answer.chosen), answer)
    if answer.folds is None:
        return worst
    keeps = fits.fold_weights(len(task.X), bool)[:-1]
    for gamma, *by_fold in zip(rounded(task)[1], *answer.folds[:2], strict=True):
        for keep, coefs, intercepts in zip(keeps, *by_fold, strict=True):
            if coefs[:, ~keep].any():
                return HOPELESS
            coefs = np.asarray(coefs[:, keep], np.float64)
            slopes = times_kernel(task.X[keep], coefs, gamma)
            for slope, beta, intercept, C in zip(slopes, coefs, intercepts, rounded(task)[0], strict=True):
                worst = max(worst, classifier(slope, beta, float(intercept), sign[keep], C))
    return worst


def _nu_svc(task, answer):
    """Before the division by the margin r, which the sum of the variables shows; each class has its own rho."""
    nu, gamma = rounded(task)
    beta, sign = np.asarray(answer.coef, np.float64), 2.0 * task.y - 1
    r = nu * len(beta) / np.abs(beta).sum()
    beta, found = beta * r, []
    slope = times_kernel(task.X, beta, gamma)
    for s in (1.0, -1.0):
        rows = sign == s
        if not _balanced(s * beta[rows], nu * len(beta) / 2):
            return HOPELESS
        found.append(ends(slope[rows], beta[rows], min(s, 0.0), max(s, 0.0)))
    rho = -float(answer.intercept) * r + r, -float(answer.intercept) * r - r
    return max(map(violation, found, rho))


def _svr(task, answer):
    C, epsilon, gamma = rounded(task)
    beta, slack = np.asarray(answer.coef, np.float64), SLACK * C
    slope = times_kernel(task.X, beta, gamma) - task.y
    if not (np.isfinite(slope).all() and np.abs(beta).max() <= C + slack and _balanced(beta)):
        return HOPELESS
    # The tube's slope on the way up and on the way down; at zero they differ.
    up = (slope + np.where(beta >= -slack, epsilon, -epsilon))[beta < C - slack]
    down = (slope + np.where(beta > slack, epsilon, -epsilon))[beta > -C + slack]
    return violation((down.max(), up.min()), -float(answer.intercept))


def _nu_svr(task, answer):
    """The rhos of the two sides are half the tube's width away from their mean."""
    C, nu, gamma = rounded(task)
    beta = np.asarray(answer.coef, np.float64)
    slope, found = times_kernel(task.X, beta, gamma) - task.y, []
    for s in (1.0, -1.0):
        part = np.maximum(s * beta, 0)
        if not _balanced(part, C * nu * len(task.y) / 2):
            return HOPELESS
        found.append(ends(s * slope, part, 0.0, C))
    if any(side is None for side in found):
        return HOPELESS
    plus, minus = found
    within = max(plus[0] - plus[1], minus[0] - minus[1])
    # rho = (rho of plus - rho of minus) / 2, each between its ends.
    mean = np.array([plus[0] - minus[1], plus[1] - minus[0]]) / 2
    return max(float(within), violation(mean, -float(answer.intercept)))


def _one_class(task, answer):
    nu, gamma = rounded(task)
    beta = np.asarray(answer.coef, np.float64)
    if not _balanced(beta, nu * len(beta)):
        return HOPELESS
    return violation(ends(times_kernel(task.X, beta, gamma), beta, 0.0, 1.0), -float(answer.intercept))


def hinge(X, y, coef, intercept, C):
    margin = (2.0 * y - 1) * (X @ np.asarray(coef, np.float64) + float(intercept))
    return 0.5 * np.sum(np.square(coef, dtype=np.float64)) + C * np.maximum(1 - margin, 0).sum()


def hinge_bound(X, y, C, steps=100):
    """A lower bound of the hinge problem's minimum, to rounding: the dual's value at the end of an interior path.

    max sum a - |Z'a|^2 / 2,  0 <= a <= C, t'a = 0, Z = t X;  Mehrotra's predictor and corrector.
    """
    t = 2.0 * y - 1
    Z = t[:, None] * np.asarray(X, np.float64)
    a, b = np.full(len(t), C / 2), 0.0
    a[t > 0] *= min(1, (t < 0).sum() / (t > 0).sum())
    a[t < 0] *= min(1, (t > 0).sum() / (t < 0).sum())
    v, u = np.ones_like(a), np.ones_like(a)  # multipliers of a >= 0 and a <= C
    best = -np.inf
    for _ in range(steps):
        w = Z.T @ a
        best = max(best, a.sum() - w @ w / 2)
        residual = 1 - Z @ w - b * t + v - u
        mu = (a @ v + (C - a) @ u) / (2 * len(a))
        if mu * len(a) <= 1e-12 * best and np.abs(residual).max() < 1e-9:
            break
        D = v / a + u / (C - a)
        factor = np.linalg.cholesky(np.eye(Z.shape[1]) + (Z / D[:, None]).T @ Z)

        def solve(r, D=D, factor=factor):
            inner = np.linalg.solve(factor.T, np.linalg.solve(factor, Z.T @ (r / D)))
            return (r - Z @ inner) / D

        across = solve(t)

        def direction(low, high, residual=residual, a=a, v=v, u=u, across=across, solve=solve):
            """The step that makes a v = low and (C - a) u = high to first order."""
            plain = solve(residual + low / a - v - high / (C - a) + u)
            db = (t @ plain) / (t @ across)
            da = plain - db * across
            return da, db, low / a - v - v / a * da, high / (C - a) - u + u / (C - a) * da

        def longest(da, dv, du, a=a, v=v, u=u):
            moves = ((a, da), (C - a, -da), (v, dv), (u, du))
            return min(1.0, *(np.min(-x[d < 0] / d[d < 0], initial=np.inf) for x, d in moves))

        da, _, dv, du = direction(0.0, 0.0)
        step = longest(da, dv, du)
        ahead = ((a + step * da) @ (v + step * dv) + (C - a - step * da) @ (u + step * du)) / (2 * len(a))
        centre = mu * (ahead / mu) ** 3
        da, db, dv, du = direction(centre - da * dv, centre + da * du)
        step = 0.995 * longest(da, dv, du)
        a, b, v, u = a + step * da, b + step * db, v + step * dv, u + step * du
    return best


def _linear(task, answer):
    """A bound of the decrease of the objective that is still possible, over its minimum."""
    if not (np.isfinite(answer.coef).all() and np.isfinite(answer.intercept).all()):
        return HOPELESS
    bound = hinge_bound(task.X, task.y, float(task.hyper))
    return float((hinge(task.X, task.y, answer.coef, answer.intercept, task.hyper) - bound) / bound)


def _decisions(task, answer):
    """The largest error of a decision over the largest decision."""
    gamma = rounded(task)[-1]
    exact = times_kernel(task.X, answer.coef, gamma) + float(answer.intercept)
    error = np.abs(answer.values - exact).max() / np.abs(exact).max()
    return float(error) if np.isfinite(error) else HOPELESS


CERTIFICATES = {
    "svc": ("violation", _svc),
    "svc_hard": ("violation", _svc),
    "svc_pairs": ("violation", _svc_pairs),
    "svc_grid": ("violation", _svc_grid),
    "svc_predict": ("error", _decisions),
    "nu_svc": ("violation", _nu_svc),
    "svr": ("violation", _svr),
    "nu_svr": ("violation", _nu_svr),
    "one_class": ("violation", _one_class),
    "linear_svm": ("gap", _linear),
}
RULE = 1e-3  # libsvm's and scikit-learn's default
TARGETS = {
    **{model: RULE for model, (figure, _) in CERTIFICATES.items() if figure == "violation"},
    "svc_predict": 1e-4,
    "linear_svm": 1e-4,
}
