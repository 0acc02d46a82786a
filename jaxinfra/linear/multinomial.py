r"""Multinomial logistic regression without penalty or with L2, L1 or elastic net, in the symmetric parametrisation."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from numpy.typing import ArrayLike

from jaxinfra._core import affine, checks, rows
from jaxinfra._core.facts import Facts
from jaxinfra._core.stages import Rare, staged
from jaxinfra._core.types import Fit, Linear
from jaxinfra._core.verbs import public
from jaxinfra.linear._class_input import check_several, read_several
from jaxinfra.linear._input import Given, blocked, options
from jaxinfra.solvers.multinomial import multinomial

FACTS = Facts(one_predictor=False, likelihood="loss", symmetric=True)


@public
def fit(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0, n_classes: int | None = None,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, init: Linear | None = None, tol: ArrayLike | None = None,
    max_iter: ArrayLike = 1000, fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    r"""Minimise the weighted mean of the cross-entropy of K classes plus penalties: multinomial logistic regression.

    .. math:: \min_{W, b} \frac{\sum_i s_i c_{y_i} (\log \sum_k e^{\eta_{ik}} - \eta_{i y_i})}{\sum_i s_i c_{y_i}}
              + \sum_{jk} \Big(\lambda^1_{jk} |W_{jk}| + \tfrac12 \lambda^2_{jk} W_{jk}^2\Big),\qquad
              \eta_i = W^\top x_i + b + o_i

    The symmetric parametrisation: intercepts, and coefficients of an unpenalised feature, sum to zero over the classes.

    Args:
      X: (n, p) real, traced.  n < p is allowed.
      y: (n,) integer labels 0..K-1, or (n, K) soft labels: rows of probabilities that sum to 1, traced.
      l1, l2: the penalties, traced, at least 0, broadcast against coef (p, K): a scalar, (K,) one per class, (p, 1)
        one per feature.  The intercept is not penalised.  A Python 0 for l1 selects the program without L1.
        scikit-learn's C is 1 / (l2 * sum(sample_weight)).
      n_classes: K, static, at least 2; None takes it from the values of y, which must then be known: pass it under jit.
      class_weight: None, "balanced" (static; the same total weight for every class) or (K,), traced.
      sample_weight: (n,) not negative, traced; None means 1.  A weight of 0 drops the row, 2 counts it twice.
      offset: (n, K), traced, added to eta; (n,) adds the same to all classes, which changes nothing.
      init: Linear(coef (p, K), intercept (K,)) to start from; None starts without columns.
      tol: largest `info.optimality` that counts as converged, traced; None means sqrt(eps) of the dtype.
      max_iter: maximum number of evaluations of the objective (with L1 of iterations), traced.  fit_intercept: static.

    Returns:
      Fit(Linear, Info): coef (p, K) per unit of x, intercept (K,).  info.optimality is the largest entry of the
      gradient by coef (with L1 the subgradient of least norm) over rms(x_j) times the rms of dloss/deta at the start
      without columns; x_j centred where there is an intercept.

    Raises:
      TypeError: an argument that does not hold real numbers (strings, a sparse matrix), y (n,) of floats, an n_classes
        or max_iter that is not an integer, a fit_intercept that is not a bool.
      ValueError: shapes that do not match, a class_weight string other than "balanced"; where n_classes is None, y that
        is traced or whose labels skip a class; on the host (Python or NumPy) also labels outside 0..K-1, soft labels
        that are negative or do not sum to 1, or a negative penalty, weight or tol.  Other values in a jax.Array do not
        raise: they become a Status.

    Status: SEPARABLE with NaN parameters where no finite parameters minimise: unpenalised columns separate some
      classes, or a class is absent while its intercept is free.  DOMAIN for a label outside 0..K-1 or soft labels that
      are negative or do not sum to 1 (ValueError where y is on the host); NONFINITE, SINGULAR (no positive weight, a
      negative penalty or weight), MAX_ITER and STALLED as everywhere.

    Derivatives: params with respect to X, soft y, l1, l2, sample_weight, class_weight and offset, forward and reverse,
      all orders, exact where the support does not change; by the factored Hessian for up to 640 parameters, else by
      conjugate gradients to eps^0.75.

    Cost: up to 640 parameters 5 to 8 Newton steps of n (pK)^2 flops.  Beyond, one p x p Cholesky and some 50 iterations
      of 4 n p K flops.  L1: several times as much.  One scaled copy of X.  float32 reaches an optimality of 1e-6.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 0, 1, 1])
    >>> print([f"{w:.2f}" for w in ji.multinomial.fit(X, y).params.coef[0]])  # log 4 between the classes
    ['-0.69', '0.69']

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.4; Friedman, Hastie and Tibshirani
    2010, section 4 (the symmetric model).  Elsewhere: sklearn.linear_model.LogisticRegression, statsmodels MNLogit
    (which takes class 0 as the base: subtract its column), glmnet with family = "multinomial".
    """
    verb = "multinomial.fit"
    given, static, dtype = check_several(verb, X, y, n_classes, class_weight, sample_weight, offset)
    K = static["K"]
    checks.init(verb, init, given.X, given.y, classes=K)
    fitted = _fit(
        given, None if checks.is_zero(l1) else checks.penalty(verb, "l1", l1, given.X, given.y, dtype, classes=K),
        checks.penalty(verb, "l2", l2, given.X, given.y, dtype, classes=K), init, checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter), **options(verb, given, fit_intercept), **static,
    )  # fmt: skip
    return fitted._replace(problem={"n_classes": static["K"]})


_STATIC = ("K", "balanced", "fit_intercept", "blocked")


@staged(static=_STATIC)
@rows.replicated
def _fit(
    given: Given, l1: jax.Array | None, l2: jax.Array, init: Linear | None, tol: jax.Array | None,
    max_iter: jax.Array, *, K: int, balanced: bool, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    d = read_several(given, K=K, balanced=balanced)
    if init is not None:
        init = Linear(*(jnp.asarray(v, d.X.dtype) for v in init))
    return multinomial.solve(d, l1, l2, init, tol, max_iter, fit_intercept=fit_intercept, blocked=blocked, rare=rare)


@public
def path(
    X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0, n_classes: int | None = None,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, tol: ArrayLike | None = None, max_iter: ArrayLike = 1000,
    fit_intercept: bool = True,
) -> Fit:  # fmt: skip
    """Fits for m penalties, each started from the one before, in one compiled call.

    Args:
      l1, l2: at least one with a leading axis m: (m,), or (m, ...) whose rest broadcasts against coef (p, K).  The
        other may be a scalar.  Best in decreasing order.
      The other arguments, Status and derivatives as in `fit`.

    Returns:
      Fit with leading axis m: params.coef (m, p, K), params.intercept (m, K), and every field of info (m,).

    Raises: as `fit`; ValueError where neither l1 nor l2 has the axis m, or both have it and differ in it.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 0, 1, 1])
    >>> print([f"{w:.2f}" for w in ji.multinomial.path(X, y, l1=jnp.array([1.0, 0.0])).params.coef[:, 0, 1]])
    ['0.00', '0.69']

    Source: Friedman, Hastie and Tibshirani 2010, 2.5 (glmnet).
    """
    verb = "multinomial.path"
    given, static, dtype = check_several(verb, X, y, n_classes, class_weight, sample_weight, offset)
    fitted = _path(
        given,
        *checks.penalty_path(verb, given.X, given.y, dtype, classes=static["K"], optional="l1", l1=l1, l2=l2),
        checks.tolerance(verb, tol, dtype),
        checks.count(verb, "max_iter", max_iter),
        **options(verb, given, fit_intercept),
        **static,
    )
    return fitted._replace(problem={"n_classes": static["K"]})


@staged(static=_STATIC)
@rows.replicated
def _path(
    given: Given, l1: jax.Array | None, l2: jax.Array, tol: jax.Array | None, max_iter: jax.Array, *, K: int,
    balanced: bool, fit_intercept: bool, blocked: bool, rare: Rare,
) -> Fit:  # fmt: skip
    d = read_several(given, K=K, balanced=balanced)
    return multinomial.path(d, l1, l2, tol, max_iter, fit_intercept=fit_intercept, blocked=blocked, rare=rare)


@public
def l1_max(
    X: ArrayLike, y: ArrayLike, *, penalty_weight: ArrayLike | None = None, n_classes: int | None = None,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> jax.Array:  # fmt: skip
    """The smallest l1 at which every coefficient is zero, for penalties l1 * penalty_weight.  A scalar.

    penalty_weight: positive, broadcast against coef (p, K); None means 1.  The other arguments as in `fit`.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 1])
    >>> print(ji.multinomial.l1_max(X, y).round(3))                   # mean of (1/2 - y) x
    0.25
    """
    verb = "multinomial.l1_max"
    given, static, dtype = check_several(verb, X, y, n_classes, class_weight, sample_weight, offset)
    u = 1.0 if penalty_weight is None else penalty_weight
    u = checks.penalty(verb, "penalty_weight", u, given.X, given.y, dtype, classes=static["K"])
    return _l1_max(given, u, **options(verb, given, fit_intercept), **static)


@partial(jax.jit, static_argnames=_STATIC)
@rows.replicated
def _l1_max(given: Given, u: jax.Array, *, K: int, balanced: bool, fit_intercept: bool, blocked: bool) -> jax.Array:
    d = read_several(given, K=K, balanced=balanced)
    return multinomial.l1_max(d, u, fit_intercept=fit_intercept, blocked=blocked)


@public
def decision(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The logits X @ coef + intercept (+ offset): (n, K).

    Raises: TypeError if params are not those of a fit; ValueError for an X or offset whose shape does not fit them.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.Linear(jnp.array([[-1.0, 1.0]]), jnp.array([0.0, 0.5]))
    >>> ji.multinomial.decision(params, jnp.array([[2.0]])).tolist()
    [[-2.0, 2.5]]
    """
    return affine.decision("multinomial.decision", params, X, offset)


@public
def predict(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The most probable class: (n,) int32 labels 0..K-1, the first of equals.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.Linear(jnp.array([[-1.0, 1.0]]), jnp.array([0.0, 0.5]))
    >>> ji.multinomial.predict(params, jnp.array([[2.0], [-2.0]])).tolist()
    [1, 0]
    """
    return affine.decision("multinomial.predict", params, X, offset, _class)


def _class(eta: jax.Array) -> jax.Array:
    return lax.argmax(eta, 1, jnp.int32)


@public
def predict_proba(params: Linear, X: ArrayLike, *, offset: ArrayLike | None = None) -> jax.Array:
    """The probability of every class: (n, K), rows that sum to 1.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.Linear(jnp.array([[0.0, 0.0]]), jnp.array([0.0, jnp.log(3.0)]))
    >>> ji.multinomial.predict_proba(params, jnp.array([[2.0]])).round(4).tolist()
    [[0.25, 0.75]]
    """
    return affine.decision("multinomial.predict_proba", params, X, offset, _shares)


def _shares(eta: jax.Array) -> jax.Array:
    return jax.nn.softmax(eta, 1)


@public
def objective(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """The weighted mean cross-entropy plus the penalties: what `fit` minimises.  A scalar; NaN for bad input.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.Linear(jnp.zeros((1, 3)), jnp.zeros(3))
    >>> print(ji.multinomial.objective(params, jnp.array([[1.0], [2.0]]), jnp.array([0, 2])).round(4))   # log 3
    1.0986
    """
    verb = "multinomial.objective"
    X, K = checks.linear_params(verb, params, X), params.coef.shape[1]
    given, static, dtype = check_several(verb, X, y, K, class_weight, sample_weight, offset)
    penalties = [checks.penalty(verb, k, v, given.X, given.y, dtype, classes=K) for k, v in (("l1", l1), ("l2", l2))]
    return _objective(Linear(*params), given, *penalties, blocked=blocked(given), **static)


@partial(jax.jit, static_argnames=("K", "balanced", "blocked"))
@rows.replicated
def _objective(
    params: Linear, given: Given, l1: jax.Array, l2: jax.Array, *, K: int, balanced: bool, blocked: bool
) -> jax.Array:
    return multinomial.objective(params, read_several(given, K=K, balanced=balanced), l1, l2, blocked=blocked)


@public
def optimality(
    params: Linear, X: ArrayLike, y: ArrayLike, *, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0,
    class_weight: ArrayLike | str | None = None, sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None, fit_intercept: bool = True,
) -> Linear:  # fmt: skip
    """The gradient of `objective`, with L1 its subgradient of least norm, as Linear: zero at the solution.

    >>> import jax.numpy as jnp
    >>> import jaxinfra as ji
    >>> params = ji.Linear(jnp.zeros((1, 2)), jnp.zeros(2))
    >>> X, y = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 1])
    >>> print([f"{g:.2f}" for g in ji.multinomial.optimality(params, X, y, l1=0.05).coef[0]])
    ['0.20', '-0.20']
    """
    verb = "multinomial.optimality"
    X, K = checks.linear_params(verb, params, X), params.coef.shape[1]
    given, static, dtype = check_several(verb, X, y, K, class_weight, sample_weight, offset)
    penalties = [checks.penalty(verb, k, v, given.X, given.y, dtype, classes=K) for k, v in (("l1", l1), ("l2", l2))]
    return _optimality(Linear(*params), given, *penalties, **options(verb, given, fit_intercept), **static)


@partial(jax.jit, static_argnames=_STATIC)
@rows.replicated
def _optimality(
    params: Linear, given: Given, l1: jax.Array, l2: jax.Array, *, K: int, balanced: bool,
    fit_intercept: bool, blocked: bool,
) -> Linear:  # fmt: skip
    d = read_several(given, K=K, balanced=balanced)
    return multinomial.gradient(params, d, l1, l2, fit_intercept=fit_intercept, blocked=blocked)
