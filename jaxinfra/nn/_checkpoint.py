"""Checkpoints of a run by orbax: written atomically, verified by a checksum when read, the previous one kept."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

KEEP = 2


def digest(tree: Any) -> str:
    """SHA-256 of the bytes of every leaf, in order."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _flat(tree: Any) -> dict[str, np.ndarray]:
    """The leaves by their paths: a checkpoint then depends on no class of the package."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in pairs}


def _reason(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class OtherRunError(ValueError):
    """The folder holds checkpoints of a run with other arguments or data."""


class Checkpoints:
    """The checkpoints of one folder: one an epoch, of which the last `KEEP` are kept."""

    def __init__(self, folder: Any) -> None:
        self.folder = Path(folder).expanduser().resolve()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEEP, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def path(self, epoch: int) -> Path:
        """The folder of an epoch's checkpoint."""
        return self.folder / str(epoch)

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        epoch = self.manager.latest_step()
        return None if epoch is None else self.path(epoch)

    def save(self, epoch: int, arrays: Any, record: dict[str, Any]) -> str | None:
        """Write a checkpoint; if that fails, return a message with the reason and the checkpoint that is left."""
        flat = _flat(arrays)
        record = {**record, "sha256": digest(list(flat.values()))}
        try:
            items = ocp.args.Composite(arrays=ocp.args.StandardSave(flat), record=ocp.args.JsonSave(record))
            self.manager.save(epoch, args=items, force=True)
            self.manager.wait_until_finished()
        except Exception as error:  # a full disk, for example: orbax and tensorstore raise several classes
            self.manager.reload()
            survivor = self.latest()
            kept = f"the one before is whole: {survivor}" if survivor else "there is none before it"
            return f"the checkpoint of epoch {epoch} could not be written to {self.folder} ({_reason(error)}); {kept}"
        return None

    def read(self, like: Any, expected: dict[str, Any]) -> tuple[int, Any, dict[str, Any]] | None:
        """The (epoch, arrays, record) of the newest valid checkpoint; None in an empty folder.

        A damaged checkpoint is named in a warning and skipped.  One of another run, with another `fingerprint`, is an
        error that names the differences.  Damaged ones alone are a ValueError.
        """
        epochs = sorted(self.manager.all_steps(), reverse=True)
        flat = _flat(like)
        damaged = []
        for epoch in epochs:
            try:
                items = ocp.args.Composite(record=ocp.args.JsonRestore())
                record = self.manager.restore(epoch, args=items)["record"]
                self._same_run(epoch, record, expected)
                shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in flat.items()}
                found = self._arrays(epoch, shapes)
                values = [np.asarray(found[name]) for name in flat]
                if digest(values) != record["sha256"]:
                    raise ValueError("its arrays do not match their checksum")
            except OtherRunError:
                raise
            except Exception as error:
                damaged.append(f"{self.path(epoch)} ({_reason(error)})")
                continue
            if damaged:
                warnings.warn(
                    f"train.fit: damaged checkpoints: {'; '.join(damaged)}; going on from {self.path(epoch)}",
                    RuntimeWarning,
                    stacklevel=4,
                )
                for bad in [e for e in epochs if e > epoch]:
                    self.manager.delete(bad)
            return epoch, jax.tree.unflatten(jax.tree.structure(like), values), record
        if damaged:
            raise ValueError(
                f"train.fit: no checkpoint in {self.folder} can be read: {'; '.join(damaged)}; "
                "restore one of them, or give another folder to start anew"
            )
        return None

    def _arrays(self, epoch: int, shapes: Any) -> Any:
        items = ocp.args.Composite(arrays=ocp.args.StandardRestore(shapes))
        with warnings.catch_warnings():  # the warning that a checkpoint of host arrays has no sharding
            warnings.simplefilter("ignore")
            return self.manager.restore(epoch, args=items)["arrays"]

    def _same_run(self, epoch: int, record: dict[str, Any], expected: dict[str, Any]) -> None:
        before = record["fingerprint"]
        changed = {name: value for name, value in expected.items() if before.get(name) != value}
        differs = [f"{name}: {before.get(name)} there, {value} now" for name, value in changed.items()]
        if differs:
            raise OtherRunError(
                f"train.fit: {self.path(epoch)} is of another run ({'; '.join(differs)}); give another folder, or the "
                "arguments of that run"
            )

    def close(self) -> None:
        """Close the manager of the folder."""
        self.manager.close()
