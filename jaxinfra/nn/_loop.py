"""The host's part of training: epochs, chunks, validation, the best epoch, early stopping, checkpoints."""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinfra._core.types import Status
from jaxinfra.nn import _batches, _metrics, _step
from jaxinfra.nn._batches import Data, Order
from jaxinfra.nn._checkpoint import Checkpoints, digest
from jaxinfra.nn._report import Report


class Settings(NamedTuple):
    """Settings of the loop; names as in `train.fit`."""

    plan: _step.Plan
    order: Order
    epochs: int
    names: tuple[str, ...]
    monitor: str
    patience: int | None
    min_delta: float
    keep_best: bool
    average: float | None


class Saved(NamedTuple):
    """Contents of a checkpoint: arrays, and a record of numbers."""

    state: _step.State
    best: Any
    record: dict[str, Any]


def begin(params: Any, optimizer: Any, average: bool) -> Saved:
    """The state before the first step, in copies: steps overwrite its buffers, which must be ours, each there once."""

    def copy(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)

    # A narrow average would not change: 0.001 of a difference is less than the last bit.
    moving = copy(_step.wide(params)) if average else None
    state = _step.State(copy(params), copy(optimizer), moving, jnp.int32(0), jnp.int32(-1))
    record = {"epoch": 0, "best_epoch": 0, "best": float("nan"), "since": 0, "history": {}}
    return Saved(state, copy(params), record)


def logits(plan: _step.Plan, params: Any, rows: Data, batch: int) -> jax.Array:
    """Logits of all rows, by batches."""
    n, devices = len(rows.weight), 1 if plan.mesh is None else plan.mesh.size
    batch = min(batch, -(-n // devices) * devices)
    steps = -(-n // batch)
    chunk = _batches.chunk_steps(steps, batch * _batches.row_bytes(rows.x))
    found = []
    for index, real in zip(*Order(n, batch, steps, chunk, (), False).rows(0), strict=True):
        x, _, _, mask = _step.place(plan, rows.take(index, real), rows=True)
        part = _step.logits_chunk(plan, params, x, mask)
        found.append(part.reshape(-1, *part.shape[2:]))
    return jnp.concatenate(found)[:n]


def measure(plan: _step.Plan, params: Any, rows: Data, names: tuple[str, ...], batch: int) -> dict[str, np.ndarray]:
    """Loss and metrics over all rows."""
    values = logits(plan, params, rows, batch)
    mask = rows.mask if plan.steps else None
    found = _metrics.measure(plan.loss, names, values, rows.y, rows.weight.astype(values.dtype), mask)
    return {name: np.asarray(found[name]) for name in ("loss", *names)}


def fingerprint(settings: Settings, saved: Saved, rows: Data, held: Data | None, **others: Any) -> dict[str, Any]:
    """Settings and data that must equal those of the checkpoints to continue from; epochs and patience may differ."""
    plan, order = settings.plan, settings.order

    def mark(part: Data | None) -> str | None:
        if part is None:
            return None
        sample = part.x[:: max(1, len(part.weight) // 64)]  # of large data a part is enough
        return digest([np.asarray(sample), np.asarray(part.y), part.weight, part.mask])[:16]

    def name(value: Any) -> Any:
        if isinstance(value, int | float | str | None):
            return value
        named = getattr(value, "__qualname__", type(value).__name__)
        return float(value) if np.ndim(value) == 0 and not callable(value) else named

    plain = {"loss": plan.loss, "apply": plan.apply, "augment": plan.augment, "precision": plan.precision, **others}
    kept = {field: getattr(settings, field) for field in ("monitor", "min_delta", "keep_best", "average")}
    return {
        "data": mark(rows),
        "validation": mark(held),
        "start": digest(saved.best)[:16],
        "network": digest(np.frombuffer(str(jax.tree.structure(saved.best)).encode(), np.uint8))[:16],
        "key": list(order.seed),
        "devices": 1 if plan.mesh is None else plan.mesh.size,
        "metrics": list(settings.names),
        **{field: getattr(order, field) for field in ("n", "batch", "steps", "shuffle")},
        **{field: name(value) for field, value in (plain | kept).items()},
    }


def resume(folder: Checkpoints, saved: Saved, expected: dict[str, Any]) -> Saved:
    """The newest valid checkpoint of this run, or `saved` where the folder is empty."""
    saved.record["fingerprint"] = expected
    found = folder.read((saved.state, saved.best), expected)
    if found is None:
        return saved
    _, (state, best), record = found
    state, best = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), (state, best))
    record["history"] = {name: [np.asarray(v) for v in values] for name, values in record["history"].items()}
    return Saved(state, best, record)


def run(settings: Settings, saved: Saved, rows: Data, held: Data | None, key: Any, folder: Any, report: Report) -> Any:
    """Run the epochs: (saved, status, message) after the last, an early stop, or a loss or update not finite."""
    plan, order = settings.plan, settings.order
    state, best, record = saved
    state = _step.place(plan, state, rows=False)
    decay = np.float32(settings.average or 0)
    for epoch in range(record["epoch"] + 1, settings.epochs + 1):
        if _waited(settings, record):
            break
        report.start(epoch)
        started = time.perf_counter()
        state, values = _epoch(settings, state, rows, key, decay, epoch, report)
        if (bad := int(state.bad)) >= 0:
            message = _not_finite(bad, epoch, order.steps, folder)
            report.say(message)
            warnings.warn(f"train.fit: {message}", RuntimeWarning, stacklevel=3)
            return Saved(state, best, record), Status.NONFINITE, message
        judged = state.params if state.average is None else _step.like(state.average, state.params)
        if held is not None:
            found = measure(plan, judged, held, settings.names, order.batch)
            values |= {f"val_{name}": value for name, value in found.items()}
        values["seconds"] = np.float64(time.perf_counter() - started)
        for name, value in values.items():
            record["history"].setdefault(name, []).append(value)
        record["epoch"] = epoch
        record["since"] += 1
        if _metrics.better(settings.monitor, float(values[settings.monitor]), record["best"], settings.min_delta):
            record |= {"best": float(values[settings.monitor]), "best_epoch": epoch, "since": 0}
            if settings.keep_best:
                best = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), judged)
        report.epoch(epoch, values)
        if folder is not None:
            plain = {name: [np.asarray(v).tolist() for v in each] for name, each in record["history"].items()}
            failure = folder.save(epoch, (state, best), {**record, "history": plain})
            if failure:
                report.say(failure)
                warnings.warn(f"train.fit: {failure}", RuntimeWarning, stacklevel=3)
    early = record["epoch"] < settings.epochs
    message = f"no better {settings.monitor} in {record['since']} epochs" if early else "all epochs done"
    return Saved(state, best, record), Status.CONVERGED, message


def _waited(settings: Settings, record: dict[str, Any]) -> bool:
    return settings.patience is not None and record["since"] >= settings.patience and record["epoch"] > 0


def _epoch(settings: Settings, state: Any, rows: Data, key: Any, decay: Any, epoch: int, report: Report) -> Any:
    """One epoch; the numbers of a chunk are read while the next one runs."""
    plan, order = settings.plan, settings.order
    sums, waiting = np.zeros(3), None

    def read(chunk: Any) -> None:
        loss, accuracy, weight = (np.asarray(values, np.float64) for values in chunk)
        real = weight > 0
        sums[:] += [(loss * weight)[real].sum(), (accuracy * weight)[real].sum(), weight.sum()]
        report.advance(int(real.sum()), float(loss[real][-1]) if real.any() else np.nan)

    for index, real in zip(*order.rows(epoch), strict=True):
        batch = _step.place(plan, rows.take(index, real), rows=True)
        state, chunk = _step.train_chunk(plan, state, key, decay, *batch)
        if waiting is not None:
            read(waiting)
        waiting = chunk
    read(waiting)
    values = {"loss": sums[0] / sums[2]}
    if _metrics.classified(plan.loss):
        values["accuracy"] = sums[1] / sums[2]
    return state, values


def _not_finite(step: int, epoch: int, steps: int, folder: Any) -> str:
    where = f"step {step} (epoch {epoch}, step {step - (epoch - 1) * steps + 1} of {steps})"
    latest = None if folder is None else folder.latest()
    kept = f"; the last good checkpoint is {latest}" if latest else ""
    return f"the loss or the update was not finite at {where}; the parameters are those before it{kept}"
