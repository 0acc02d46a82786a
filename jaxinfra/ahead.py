"""Programs compiled before they are needed."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from time import perf_counter
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.config import trace_context  # all that distinguishes the programs of one context from another's
from numpy.typing import ArrayLike

from jaxinfra._core import checks
from jaxinfra._core.types import Fit

_PATIENCE = 2.0  # seconds after which a terminal is told what is done
_TWO = {"logistic", "svc", "nu_svc", "linear_svm"}
_MORE = {"multinomial", "ordinal"}
_COUNTS = {"Poisson", "NegativeBinomial"}
_POSITIVE = {"Gamma", "InverseGaussian", "Tweedie"}


def warm(
    verb: Callable[..., Any] | ModuleType | Fit, calls: Iterable[Sequence[Any]], *, like: Sequence[ArrayLike] = (),
    rows: Sequence[str] = (), dtype: Any = None, workers: int | None = None, progress: bool | None = None,
    **given: Any,
) -> list[float]:  # fmt: skip
    """Compile what later calls of a verb need, so that those calls only run.

    Each call is made once, with drawn data of its shapes, exactly as the later one will be: whatever programs a verb is
    made of are compiled, and how many of them a fit needs is found out by a fit.

    Args:
      verb: a module of a model, whose `fit` it is; another verb (`ji.lasso.path`, `ji.select.cross_validate`); or a
        fit, whose `predict` it is.
      calls: for each call (n, p), the shape of X, or what goes by position: a shape, a jax.ShapeDtypeStruct, or
        anything else as it is, such as arrays or the params of a fit.  (n, p) stands for X and y; `((n, p), (n, k))`
        has k targets, `(ji.lasso, (n, p), (n,))` is for a verb that takes a model first.
      like: some rows (X,) or (X, y) of real data: dtypes and values are then theirs, repeated.
      rows: names of arguments with a value for each row: of "sample_weight", "offset", "exposure".  They get ones and
        zeros; with `pad_rows` it is ["sample_weight"].
      dtype: of the drawn numbers.  None: float32, or float64 where JAX is set to it.
      workers: calls at a time, in threads, because XLA compiles without Python's lock; None: half as many as there are
        cores.  XLA uses several cores for one program too: on 2 cores two at a time gain little or nothing.
      progress: whether a line on stderr says what is done; None: where it takes more than 2 s, on a terminal.
      given: the verb's other arguments.  Numbers need not be the later ones; strings, booleans, counts, the shapes and
        dtypes of arrays and None belong to the program.

    Returns:
      The seconds that each call took from its start, with what it waited for the others.

    Raises:
      ValueError: a model of several classes without n_classes or like.  Whatever the verb raises.

    Drawn data: X from a normal distribution; y follows a column of X with noise: real, positive or counts (as floats)
      by the family of `glm`, labels 0..K-1 (as integers of NumPy) for a classifier, two for `logistic` and the machines
      unless n_classes is given.  Data of another dtype (int32 labels, integer counts, soft labels) are another program:
      pass `like`.  Real data that are harder, nearly collinear for instance, may need a further program still.

    Threads do not see settings that hold for a `with` block alone, such as `jax.enable_x64(True)`: within such a block
    the calls are made one after the other.

    Cost: that of the calls.  The page "Not waiting for the compiler" has the seconds.

    >>> import numpy as np
    >>> import jaxinfra as ji
    >>> seconds = ji.warm(ji.ols, [(16, 2), (20, 2)], rows=["sample_weight"])
    >>> len(seconds)
    2
    >>> X = np.arange(24, dtype=np.float32).reshape(12, 2) ** 2
    >>> X, y, w = ji.pad_rows(X, X[:, 0])
    >>> fit = ji.ols.fit(X, y, sample_weight=w)      # has 16 rows: compiles nothing

    Elsewhere: jax.jit(f).lower(...).compile(), whose result has to be called in place of f.
    """
    fn = _function(verb, given)
    names = list(inspect.signature(fn).parameters)
    work: list[Callable[[], Any]] = []
    for i, call in enumerate(calls):
        arguments = _arguments(fn, names, call, like, given, dtype, np.random.default_rng(i))
        n = _rows(call)
        more = {name: (np.zeros if name == "offset" else np.ones)(n, _floating(dtype)) for name in rows}
        work.append(lambda arguments=arguments, more=more: jax.block_until_ready(fn(*arguments, **more, **given)))  # type: ignore[misc]
    return _run(work, workers, progress, _label(fn))


def _function(verb: Any, given: dict[str, Any]) -> Callable[..., Any]:
    if isinstance(verb, Fit):
        if verb.problem is None:
            raise TypeError("warm: a Fit without its problem has no verbs; pass a verb and its arguments")
        module = verb.problem.module

        def predict(X: Any, **rows: Any) -> Any:
            return module.predict(verb, X, **rows)

        predict.__module__ = module.__name__
        return predict
    fn = getattr(verb, "fit", None) if isinstance(verb, ModuleType) else verb
    if not callable(fn):
        raise TypeError(f"warm: verb must be a model, a verb or a Fit, got {verb!r}")
    return fn


def _label(fn: Callable[..., Any]) -> str:
    return f"{getattr(fn, '__module__', '').rpartition('.')[2]}.{getattr(fn, '__name__', 'call')}"


def _floating(dtype: Any) -> np.dtype:
    return checks.working_dtype() if dtype is None else jnp.dtype(dtype)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, int | np.integer) for v in value)


def _rows(call: Any) -> int:
    """The number of rows of a call: the first length of the first array."""
    for value in (call,) if _is_shape(call) else call:
        shape = value if _is_shape(value) else getattr(value, "shape", ())
        if shape:
            return shape[0]
    raise ValueError(f"warm: a call must be a shape (n, p) or a tuple of arguments, got {call!r}")


def _arguments(
    fn: Callable[..., Any], names: list[str], call: Any, like: Sequence[Any], given: dict[str, Any], dtype: Any,
    rng: np.random.Generator,
) -> list[Any]:  # fmt: skip
    """The positional arguments of a call, with drawn data in place of shapes."""
    if _is_shape(call):
        if names[:1] != ["X"]:
            raise ValueError(
                f"warm: {_label(fn)} takes {', '.join(names[:3])}, ...: a call must have one entry for each of those "
                f"by position, got {call}"
            )
        call = (call, call[:1]) if "y" in names[:2] else (call,)
    if len(call) > len(names):
        raise ValueError(f"warm: {_label(fn)} takes {', '.join(names)}, got {len(call)} by position")
    found: dict[str, Any] = {}
    models = [v.problem.model if isinstance(v, Fit) and v.problem else getattr(v, "__name__", "") for v in call]
    model = next((m for m in (fn.__module__, *models) if _kind(m.rpartition(".")[2], given) != "real"), "")
    for name, value in zip(names, call, strict=False):
        wide = getattr(value, "dtype", None) if isinstance(value, jax.ShapeDtypeStruct) else None
        if not (_is_shape(value) or isinstance(value, jax.ShapeDtypeStruct)):
            found[name] = value
        elif name in ("X", "y") and len(like) > (name == "y"):
            found[name] = _repeated(name, like[name == "y"], _shape(value))
        elif name == "y":
            kind = _kind(model.rpartition(".")[2], given)
            found[name] = _draw(kind, _shape(value), found.get("X"), given, _floating(dtype), rng)
        else:
            found[name] = rng.standard_normal(_shape(value)).astype(_floating(dtype))
        if wide is not None:
            found[name] = found[name].astype(wide)
    return list(found.values())


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", value))


def _repeated(name: str, sample: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The rows of a sample, over and over."""
    sample = checks.array("warm", f"like {name}", sample)
    values = np.asarray(sample)
    if not len(values) or values.shape[1:] != shape[1:]:
        raise ValueError(f"warm: like has {name} {values.shape}, which cannot be repeated to {shape}")
    return values[np.arange(shape[0]) % len(values)]


def _kind(model: str, given: dict[str, Any]) -> str:
    """The kind of values that the y of a model holds."""
    family = type(given.get("family")).__name__
    if model in _TWO or (model == "glm" and family == "Binomial"):
        return "two"
    if model in _MORE:
        return "classes"
    if model != "glm":
        return "real"
    return "counts" if family in _COUNTS else "positive" if family in _POSITIVE else "gaussian"


def _draw(
    kind: str, shape: tuple[int, ...], X: Any, given: dict[str, Any], dtype: np.dtype, rng: np.random.Generator
) -> np.ndarray:
    n = shape[0]
    latent = np.asarray(X)[:, 0] if np.ndim(X) == 2 and len(X) == n else rng.standard_normal(n)
    latent = latent + 0.5 * rng.standard_normal(n)
    if kind in ("two", "classes"):
        soft = shape[1:]  # probabilities of the classes
        K = (*soft, {**(given.get("fixed") or {}), **given}.get("n_classes") or (2 if kind == "two" else 0))[0]
        if not K:
            raise ValueError("warm: the number of classes is a part of the program: pass n_classes, or like=(X, y)")
        labels = latent.argsort().argsort() * int(K) // n  # as many of each class
        return (0.8 * np.eye(K)[labels] + 0.2 / K).astype(dtype) if soft else labels
    latent = latent.reshape(n, *(1,) * (len(shape) - 1)) + 0.1 * rng.standard_normal(shape)
    if kind == "counts":
        return rng.poisson(np.exp(latent / 2)).astype(dtype)
    return (np.exp(latent / 2) if kind == "positive" else latent).astype(dtype)


def _run(work: list[Callable[[], Any]], workers: int | None, progress: bool | None, label: str) -> list[float]:
    """The seconds of each piece of work."""
    if workers is not None:
        checks.static_count("warm", "workers", workers)
    seconds = [0.0] * len(work)
    begun = perf_counter()
    said = progress is None and sys.stderr.isatty()

    def timed(i: int) -> int:
        start = perf_counter()
        work[i]()
        seconds[i] = perf_counter() - start
        return i

    def tell(done: int) -> None:
        if progress or (said and perf_counter() - begun > _PATIENCE):
            print(f"warm: {label}, {done} of {len(work)} ready, {perf_counter() - begun:.1f} s", file=sys.stderr)

    with ThreadPoolExecutor(workers or max((os.cpu_count() or 1) // 2, 1)) as pool:
        if not work or pool.submit(trace_context).result() != trace_context():
            for done, i in enumerate(range(len(work)), 1):
                timed(i)
                tell(done)
            return seconds
        futures = [pool.submit(timed, i) for i in range(len(work))]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                tell(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return seconds
