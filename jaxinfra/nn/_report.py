"""The report of a run in progress: a bar with the metrics of each epoch, and TensorBoard scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def describe(epoch: int, epochs: int, values: dict[str, Any]) -> str:
    """The scalars of an epoch in one line."""
    scalars = [f"{name} {float(value):.4g}" for name, value in values.items() if np.ndim(value) == 0]
    return f"epoch {epoch}/{epochs}  " + "  ".join(scalars)


class Report:
    """The bar, its lines and the event file, each only if asked for."""

    def __init__(self, show: bool, epochs: int, steps: int, tensorboard: Any) -> None:
        self.epochs, self.steps = epochs, steps
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[text]}"),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(), disable=not show, transient=True)
        self.show = show
        self.task: Any = None
        self.writer = _writer(tensorboard)

    def __enter__(self) -> Report:
        self.bar.start()
        self.task = self.bar.add_task("epoch", total=self.steps, text="")
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def start(self, epoch: int) -> None:
        """Begin an epoch."""
        self.bar.reset(self.task, total=self.steps, description=f"epoch {epoch}/{self.epochs}", text="")

    def advance(self, steps: int, loss: float) -> None:
        """Report finished steps, with the loss of the last one."""
        self.bar.update(self.task, advance=steps, text=f"loss {loss:.4g}")

    def epoch(self, epoch: int, values: dict[str, Any]) -> None:
        """Report the end of an epoch."""
        self.say(describe(epoch, self.epochs, values))
        if self.writer is not None:
            for name, value in values.items():
                if np.ndim(value) == 0:
                    group = "validation" if name.startswith("val_") else "train"
                    self.writer.add_scalar(f"{group}/{name.removeprefix('val_')}", float(value), epoch)
            self.writer.flush()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self.show:
            self.bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _writer(folder: Any) -> Any:
    if folder is None:
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ImportError(
            'train.fit: tensorboard= needs the package tensorboardX: pip install "jaxinfra[train]"'
        ) from None
    return SummaryWriter(str(folder))
