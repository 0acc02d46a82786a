"""Training of networks: `fit`, `evaluate`, `predict` for any pure `apply(params, x) -> logits`.

One compiled `scan` takes many steps; the host passes it batches and reads a few numbers a chunk.  A run is a function
of its arguments and `key`: killed and started again from its checkpoints it ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxinfra._core.types import Status
from jaxinfra.nn import _batches, _loop, _metrics, _setup, _step, layers
from jaxinfra.nn._batches import Data, Order
from jaxinfra.nn._checkpoint import Checkpoints
from jaxinfra.nn._report import Report, describe

VERB = "train.fit"


class Result(NamedTuple):
    """The result of a run.

    params: the parameters after the last step.
    best: those after the epoch in which the monitored metric was best (of the moving average, where there is one); the
      last ones with `keep_best=False`, or where no epoch is best.
    best_epoch: that epoch, from 1; 0 where the metric was never a number.
    average: the moving average of the parameters, or None.
    history: {name: array with one entry an epoch}.
    status: CONVERGED after the last epoch or an early stop, NONFINITE after a loss or an update that was not finite.
    message: how the run ended, in words.
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
    apply: Callable[..., jax.Array], params: Any, X: ArrayLike, *, mask: ArrayLike | None = None,
    batch_size: int = 256, mesh: jax.sharding.Mesh | None = None,
) -> np.ndarray:  # fmt: skip
    """The logits of all rows of X, computed batch by batch: (n, ...), on the host.

    Args:
      apply, params, X, mask, mesh: as in `fit`.
      batch_size: the rows of a batch, static; with a mesh a multiple of its devices.

    Returns:
      A NumPy array with the output of `apply` for each row.

    Raises:
      ValueError for a mask that is not boolean, does not match X or that `apply` does not take, a batch_size that is
      not a positive integer or does not divide among the devices, an `apply` whose output does not have n rows.
      TypeError for an `apply` that is no function, an X without real numbers.

    Cost: that of `apply`; the logits of all rows are on the device at once.

    >>> import numpy as np
    >>> from jaxinfra.nn import train
    >>> train.predict(lambda params, x: x @ params, np.ones((2, 3), "f4"), np.ones((5, 2), "f4")).shape
    (5, 3)
    """
    layers.positive("train.predict", batch_size=batch_size)
    rows = _setup.data("train.predict", X, np.zeros(np.shape(X)[:1], np.int32), None, mask)
    plan = _step.Plan(apply, "squared", None, _setup.keywords(apply), None, mesh)
    _setup.divides("train.predict", batch_size, mesh)
    _setup.shape("train.predict", plan, params, rows)
    return np.asarray(_loop.logits(plan, params, rows, batch_size))


def evaluate(
    apply: Callable[..., jax.Array], params: Any, X: ArrayLike, y: ArrayLike, *,
    loss: str | Callable[..., jax.Array] = "auto", metrics: str | Sequence[str] = _metrics.METRICS,
    sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None, batch_size: int = 256,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The loss and the metrics of a network over all rows, weighted.

    Args:
      apply, params, X, y, loss, sample_weight, mask, mesh: as in `fit`.
      metrics: a name or several, static; they are computed under the losses of classes, "softmax" and "sigmoid", alone.
        "accuracy" is the share of right classes; "confusion" the (K, K) weights of class i (first axis) called j; "auc"
        the area under the ROC curve, exact, with more than two classes the mean of one against the rest.
      batch_size: the rows of a batch, static; with a mesh a multiple of its devices.

    Returns:
      {"loss": (), and each of `metrics`}, NumPy arrays.

    Raises:
      ValueError and TypeError as `fit`, for the arguments that both have.

    Cost: that of `apply`; the logits of all rows are on the device at once.

    >>> import numpy as np
    >>> from jaxinfra.nn import train
    >>> X, y, params = np.array([[2, 0], [0, 1], [3, 0]], "f4"), np.array([0, 1, 1]), np.eye(2, dtype="f4")
    >>> found = train.evaluate(lambda params, x: x @ params, params, X, y, metrics=("accuracy", "confusion"))
    >>> print(found["accuracy"].round(3), found["confusion"].tolist())
    0.667 [[1.0, 0.0], [1.0, 1.0]]
    """
    layers.positive("train.evaluate", batch_size=batch_size)
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
    apply: Callable[..., jax.Array], params: Any, X: ArrayLike, y: ArrayLike, *, key: jax.Array,
    epochs: int = 10, batch_size: int = 32, steps_per_epoch: int | None = None, shuffle: bool = True,
    loss: str | Callable[..., jax.Array] = "auto", optimizer: str | optax.GradientTransformation = "adam",
    learning_rate: ArrayLike | optax.Schedule = 1e-3, clip_norm: float | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: str | Mapping[int, float] | Sequence[float] | ArrayLike | None = None,
    mask: ArrayLike | None = None, augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    validation: Sequence[ArrayLike | None] | None = None, validation_split: float = 0.0,
    metrics: str | Sequence[str] = ("accuracy",), monitor: str | None = None, patience: int | None = None,
    min_delta: float = 0.0, keep_best: bool = True, average: float | None = None,
    precision: str = "float32", mesh: jax.sharding.Mesh | None = None,
    checkpoint: Path | str | None = None, tensorboard: Path | str | None = None, progress: bool = True,
) -> Result:  # fmt: skip
    r"""Minimise the weighted mean loss of a network over mini-batches, for any pure `apply(params, x) -> logits`.

    .. math:: \min_\theta \sum_{i \in B} w_i\, \mathrm{loss}(f_\theta(x_i), y_i) \Big/ \sum_{i \in B} w_i

    by one step of the optimizer for each batch B, with :math:`w_i` the sample weight times the weight of the class.

    Args:
      Network and data:
        apply: `cnn.apply`, `rnn.apply`, `attention.apply` or another pure function (params, x) -> logits, static: pass
          one function, not a new lambda each time, which would compile again.  If it has arguments named `key` (for
          dropout) and `mask`, it is given these.
        params: the pytree of arrays to start from, traced.
        X: (n, ...) real, traced.  NumPy arrays stay on the host and go to the device in chunks of batches; JAX arrays
          are gathered on their device.
        y: (n,) or (n, ...): classes, probabilities or numbers, as `loss` needs them; traced.
        key: a `jax.random.key`, from which the permutations, dropout and augmentation follow.

      Batches:
        epochs: at most so many passes over the data, or runs of `steps_per_epoch` batches.
        batch_size: the rows of a step, at most n, static; a last batch that is shorter counts as what it holds.
        steps_per_epoch: batches an epoch, of as many passes as that takes, static; None means one pass.
        shuffle: whether every pass goes through a new permutation of the rows, else in their order.

      Loss and optimizer:
        loss: static; "softmax" (y integers 0..K-1, or probabilities of the classes (n, K), such as one-hot rows),
          "sigmoid" (y 0, 1 or a probability), "squared", or a function (logits, y) -> (n,).  "auto" means softmax or
          sigmoid by the shapes where y holds integers, softmax where the rows of y (n, K) have no negative entry and
          sum to 1, else squared; real y that are all 0 or 1 are an error.
        optimizer: static; the name of an optimizer in optax, or an optax transformation, for which learning_rate is
          not used.  Parameters narrower than float32 have their steps computed in float32.
        learning_rate: a positive number, traced, or an optax schedule, step -> rate, static.
        clip_norm: the largest norm of the gradient over all parameters, static; None does not clip.

      Rows:
        sample_weight: (n,) finite, not negative; None means 1.  A row of weight 0 is absent.
        class_weight: {class: weight}, where classes without an entry have weight 1; K weights; "balanced", the same
          total weight for every class; None means 1.  It needs a loss of classes and one class a row.
        mask: (n, t) bool, True for real steps, passed on to `apply`.  Where each step has a prediction, only real steps
          count, and a row without any is absent.
        augment: a pure function (key, x) -> x of the same shape and dtype, applied to each batch in training, such as
          random shifts; static.

      Validation:
        validation: (X, y), (X, y, sample_weight) or (X, y, sample_weight, mask) to measure after each epoch.
        validation_split: the share of the rows, from 0 to below 1, to hold out for that instead: the last ones (a
          UserWarning where y is sorted by class).
        metrics: of the validation set, one or more of "accuracy", "auc" and "confusion" (see `evaluate`).
        monitor: the name in the history by which epochs are compared; None means "val_loss", without validation "loss".
        patience: stop after so many epochs without an improvement by more than min_delta; None never stops early.
        min_delta: not negative, in units of the monitored metric.
        keep_best: whether to keep the parameters of the best epoch.
        average: the decay, between 0 and 1, of a moving average of the parameters, such as 0.999, on which validation
          is then measured; None keeps none.

      Precision and devices:
        precision: static; "float32", which leaves dtypes as they are, or "bfloat16" for the forward and backward pass:
          parameters, loss and optimizer keep their dtypes.
        mesh: a `jax.sharding.Mesh`, over all of whose devices each batch is spread, with the parameters on each; the
          result is that of one device up to the order of sums (dropout draws on each device independently).

      Files and report:
        checkpoint: a folder, to which the whole state is written after each epoch, atomically; the last two are kept.
          A run that finds its own checkpoints continues from the newest valid one, and ends with the same bits as
          without the interruption.
        tensorboard: a folder for scalars (needs tensorboardX).
        progress: whether to show a bar, and a line an epoch.

    Returns:
      Result(params, best, best_epoch, average, history, status, message).

    Raises:
      ValueError for shapes that do not match, a size, share, rate or name that is not allowed, weights that are
      negative, not finite or all 0, y that the loss does not take, a mask that is not boolean or that `apply` does not
      take, a checkpoint folder of another run or with damaged checkpoints alone.  TypeError for an `apply` or `loss`
      that is no function, a key that is none, arrays without real numbers, y that are no integers under the softmax
      loss.  ImportError for a tensorboard folder without tensorboardX.

    Status: CONVERGED after the last epoch or an early stop.  NONFINITE when a loss or an update was not finite: the run
      stops, the parameters are those before that step, no checkpoint is written, and a RuntimeWarning names the step.

    Cost: `apply` and its gradient; the host waits once a chunk of steps, never within one.

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

    Source: Kingma and Ba 2015 (Adam).  Elsewhere: Keras `Model.fit` with its callbacks.
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
