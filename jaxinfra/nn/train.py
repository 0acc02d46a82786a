"""Training of networks: `fit`, `evaluate`, `predict` for any pure `apply(params, x) -> logits`.

One compiled `scan` takes many steps; the host hands over batches and reads a few numbers a chunk. A run is a function
of its arguments and `key`: killed and started again from its checkpoints it ends with the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinfra._core.types import Status
from jaxinfra.nn import _batches, _loop, _metrics, _setup, _step, layers
from jaxinfra.nn._batches import Data, Order
from jaxinfra.nn._checkpoint import Checkpoints
from jaxinfra.nn._report import Report, describe

VERB = "train.fit"


class Result(NamedTuple):
    """The result of a run.

    params: those after the last step. best: those of the epoch in which the monitored metric was best (of the moving
    average, where there is one); the last ones with `keep_best=False`. best_epoch: that epoch, from 1. average: the
    moving average of the parameters, or None. history: {name: array with one entry an epoch}. status: CONVERGED after
    the last epoch or an early stop, NONFINITE after a loss that was not finite. message: how it ended, in words.
    """

    params: Any
    best: Any
    best_epoch: int
    average: Any
    history: dict[str, np.ndarray]
    status: Status
    message: str

    def __repr__(self) -> str:
        last = {name: values[-1] for name, values in self.history.items() if len(values)}
        epochs = len(self.history.get("loss", ()))
        line = describe(epochs, epochs, last)
        return f"Result({self.status.name}: {self.message}; best epoch {self.best_epoch}; {line})"


def predict(
    apply: Any, params: Any, X: Any, *, mask: Any = None, batch_size: int = 256, mesh: Any = None
) -> np.ndarray:
    """Logits of all rows of X, in batches of `batch_size`, as a NumPy array (n, ...); arguments as of `fit`."""
    layers.positive("train.predict", batch_size=batch_size)
    rows = _setup.data("train.predict", X, np.zeros(np.shape(X)[:1], np.int32), None, mask)
    plan = _step.Plan(apply, "squared", None, _setup.wants(apply), None, mesh)
    _setup.divides("train.predict", batch_size, mesh)
    _setup.shape("train.predict", plan, params, rows)
    return np.asarray(_loop.logits(plan, params, rows, batch_size))


def evaluate(
    apply: Any,
    params: Any,
    X: Any,
    y: Any,
    *,
    loss: Any = "auto",
    metrics: str | tuple[str, ...] = _metrics.METRICS,
    sample_weight: Any = None,
    mask: Any = None,
    batch_size: int = 256,
    mesh: Any = None,
) -> dict[str, np.ndarray]:
    """{"loss": ..., and each of `metrics`} over all rows, weighted; arguments as of `fit`.

    "accuracy" is the share of right classes, "confusion" the (K, K) weights of class i called j, "auc" the area under
    the ROC curve, exact, with more than two classes the mean of one against the rest.
    """
    rows = _setup.data("train.evaluate", X, y, sample_weight, mask)
    plan, rows, _ = _setup.plan("train.evaluate", apply, params, rows, loss, "float32", mesh, None)
    _setup.divides("train.evaluate", batch_size, mesh)
    return _loop.measure(plan, params, rows, _names("train.evaluate", plan, metrics), batch_size)


def _names(verb: str, plan: Any, metrics: Any) -> tuple[str, ...]:
    metrics = (metrics,) if isinstance(metrics, str) else metrics
    for name in metrics:
        layers.choice(verb, "metrics", name, _metrics.METRICS)
    return tuple(metrics) if _metrics.classified(plan.loss) else ()


def fit(
    apply: Any,
    params: Any,
    X: Any,
    y: Any,
    *,
    key: jax.Array,
    epochs: int = 10,
    batch_size: int = 32,
    steps_per_epoch: int | None = None,
    loss: Any = "auto",
    optimizer: Any = "adam",
    learning_rate: Any = 1e-3,
    clip_norm: float | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    mask: Any = None,
    augment: Any = None,
    validation: Any = None,
    validation_split: float = 0.0,
    metrics: str | tuple[str, ...] = ("accuracy",),
    monitor: str | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    keep_best: bool = True,
    average: float | None = None,
    precision: str = "float32",
    shuffle: bool = True,
    mesh: Any = None,
    checkpoint: Any = None,
    tensorboard: Any = None,
    progress: bool = True,
) -> Result:
    """Minimise the weighted mean loss of a network over mini-batches, for any `apply(params, x) -> logits`.

    A step minimises `sum(w * loss) / sum(w)` of its batch. Weight 0 is a row that is absent.

    apply: `cnn.apply`, `rnn.apply`, `attention.apply`, or a function of your own, `(params, x) -> logits`; where it
    takes them by name it is given `key` (for dropout) and `mask` (static: give the same function object, not a new
    lambda each time). params: the pytree to start from. X (n, ...), y (n,) or (n, ...): NumPy arrays stay on the host
    and go over in chunks; arrays of JAX are gathered on their device. key: a `jax.random.key`; permutations and
    dropout follow from it.

    epochs, batch_size, steps_per_epoch: an epoch is one pass over the data, or `steps_per_epoch` batches of as many
    passes as that takes. A last batch that is short counts as what it holds. loss: "softmax" (integers 0..K-1, or
    probabilities of the classes (n, K), such as one-hot rows), "sigmoid" (0, 1 or a probability), "squared", a function
    (logits, y) -> (n,), or "auto": softmax or sigmoid by the shapes where y holds integers, softmax where its rows
    (n, K) have no negative entry and sum to 1, else squared; reals that are all 0 or 1 are an error. optimizer: the
    name of one in optax, or such a transformation itself (then without learning_rate); narrow parameters have their
    steps computed in float32. learning_rate: a number (traced) or a schedule of optax, step -> rate. clip_norm: the
    largest norm of a gradient.

    sample_weight: (n,). class_weight: {class: weight}, K weights, or "balanced": to every class the same weight in all.
    mask: (n, t), passed on to `apply`; where each step has a prediction, only real ones count, and a row without any is
    absent. augment: a pure function (key, x) -> x of the same shape, applied to each batch in training, such as random
    shifts. validation: (X, y), (X, y, sample_weight) or (X, y, sample_weight, mask); validation_split: the share of the
    last rows to hold out instead (of data sorted by class: a UserWarning). metrics: of the validation set, one or more
    of "accuracy", "auc", "confusion" (see `evaluate`). monitor: the name in the history by which epochs are judged,
    "val_loss" or without validation "loss" unless given. patience: stop after so many epochs without an improvement of
    more than min_delta. keep_best: whether to keep the parameters of the best epoch. average: the decay of a moving
    average of the parameters, such as 0.999, by which validation then goes. precision: "bfloat16" for the forward and
    backward pass; parameters, loss and optimizer stay as they are. mesh: a `jax.sharding.Mesh`: batches are spread over
    all its devices, parameters are on each, and the result is that of one device up to the order of sums (dropout draws
    on each device by itself).

    checkpoint: a folder; after each epoch the whole state is written there, whole or not at all, and the last two are
    kept. A run that finds its checkpoints goes on after the newest whole one, and ends with the same bits as if it had
    never stopped. tensorboard: a folder for scalars. progress: a bar, and a line an epoch.

    Returns a `Result`. Status: CONVERGED, or NONFINITE when a loss or update was not finite: the run then stops, the
    parameters are those before that step, no checkpoint is written, and a RuntimeWarning says at which step. Cost: as
    `apply` and its gradient; the host waits once a chunk, never in a step.

    >>> import jax
    >>> import numpy as np
    >>> from jaxinfra.nn import cnn, train
    >>> config = cnn.Config(shape=(8, 8, 1), blocks=(cnn.Block(4),), dense=(), outputs=2)
    >>> X = np.random.default_rng(0).standard_normal((64, 8, 8, 1), np.float32)
    >>> y = (X.mean((1, 2, 3)) > 0).astype(np.int32)
    >>> params = cnn.init(jax.random.key(0), config)
    >>> run = train.fit(cnn.apply, params, X, y, key=jax.random.key(1), epochs=3, batch_size=16, progress=False)
    >>> run.status.name, run.history["loss"].shape
    ('CONVERGED', (3,))

    Keras `Model.fit` with its callbacks. Kingma and Ba 2015 (Adam).
    """
    layers.positive(VERB, epochs=epochs, batch_size=batch_size)
    rows = _setup.data(VERB, X, y, sample_weight, mask)
    held = _setup.validation(VERB, validation, validation_split, rows)
    if held is not None and validation is None:
        rows = Data(*(None if a is None else a[: len(rows.weight) - len(held.weight)] for a in rows))
    n = len(rows.weight)
    layers.require(batch_size <= n, f"{VERB}: batch_size {batch_size} is larger than the {n} rows of X")
    _setup.divides(VERB, batch_size, mesh)
    if patience is not None:
        layers.positive(VERB, patience=patience)
    layers.require(min_delta >= 0, f"{VERB}: min_delta must not be negative, got {min_delta}")
    layers.require(average is None or 0 < average < 1, f"{VERB}: average must lie in (0, 1), got {average}")
    rule, start = _setup.optimizer(optimizer, learning_rate, clip_norm, params)
    plan, rows, classes = _setup.plan(VERB, apply, params, rows, loss, precision, mesh, rule, augment)
    names = _names(VERB, plan, metrics)
    rows = _setup.class_weighted(VERB, class_weight, rows, plan.loss, classes)
    _setup.counts(VERB, rows)
    if held is not None:
        aside = f"{VERB}: validation"
        held = _setup.targets(aside, plan, held, _setup.shape(aside, plan, params, held))
        if validation is None:
            _setup.sorted_warning(VERB, rows, held, plan.loss)
    steps = -(-n // batch_size) if steps_per_epoch is None else steps_per_epoch
    layers.positive(VERB, steps_per_epoch=steps)
    chunk = _batches.chunk_steps(steps, batch_size * _batches.row_bytes(rows.x))
    order = Order(n, batch_size, steps, chunk, _setup.seed(key), shuffle)
    accuracy = ["accuracy"] if _metrics.classified(plan.loss) else []
    known = ["loss", *accuracy] + [f"val_{name}" for name in ("loss", *names) if held is not None]
    monitor = monitor or ("loss" if held is None else "val_loss")
    layers.choice(VERB, "monitor", monitor, [name for name in known if name != "val_confusion"])
    settings = _loop.Settings(plan, order, epochs, names, monitor, patience, min_delta, keep_best, average)

    saved = _loop.begin(params, start, average is not None)
    folder = None if checkpoint is None else Checkpoints(checkpoint)
    try:
        if folder is not None:
            named = {"optimizer": optimizer, "learning_rate": learning_rate, "clip_norm": clip_norm}
            saved = _loop.resume(folder, saved, _loop.fingerprint(settings, saved, rows, held, **named))
        with Report(progress, epochs, steps, tensorboard) as report:
            saved, status, message = _loop.run(settings, saved, rows, held, key, folder, report)
    finally:
        if folder is not None:
            folder.close()
    history = {name: np.asarray(values) for name, values in saved.record["history"].items()}
    state, record = saved.state, saved.record
    best = saved.best if keep_best and record["best_epoch"] else state.params
    moving = None if state.average is None else _step.like(state.average, state.params)
    return Result(state.params, best, record["best_epoch"], moving, history, status, message)
