"""Training steps of the networks beside PyTorch and plain JAX, each in its own process, in turns."""

import contextlib
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.peers.compare import OURS, passes
from bench.report import tables
from bench.runner import harness, process, timing
from bench.suite import network_cases
from bench.workers.serving import cores

IMPLEMENTATIONS = [OURS, f"{OURS}, 1 device", "plain JAX", "PyTorch", "PyTorch, channels last"]
SECONDS = {"quick": 3.0, "standard": 15.0, "full": 60.0}  # of racing, for one network
QUICK = ("lstm",)
MODELS = list(network_cases.CASES)
PROBLEMS = list(dict.fromkeys(case.problem for case in network_cases.CASES.values()))
DTYPES = [network_cases.DTYPE]
LEARNERS = [OURS, "PyTorch"]


def torch_python():
    """A Python that has PyTorch: JAXINFRA_TORCH, what `make torch` made, or this one; None if there is none."""
    made = Path(__file__).resolve().parents[1] / ".venv-torch" / "bin" / "python"
    if given := os.environ.get("JAXINFRA_TORCH"):
        return given
    return made if made.exists() else sys.executable if importlib.util.find_spec("torch") else None


def torch_version():
    """The version of PyTorch by its Python; None without one."""
    if (python := torch_python()) is None:
        return None
    code = "import importlib.metadata; print(importlib.metadata.version('torch'))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def suits(implementation, name):
    """Whether an implementation differs from the others here: the layout matters only for convolutions."""
    if harness.profile() == "quick" and implementation == f"{OURS}, 1 device":
        return False
    return not implementation.endswith("channels last") or name.startswith("cnn")


def place(implementation):
    """The Python and the module of `workers` that run it."""
    if not implementation.startswith("PyTorch"):
        return sys.executable, "jax_worker"
    if (python := torch_python()) is None:
        raise harness.SkipNotImplemented("PyTorch is not installed; `make torch` does it")
    return python, "torch_worker"


def error(found, exact):
    """The certificate: the largest error over the largest entry of all arrays.

    Of all, since some gradients are 0, such as that of a key's bias.
    """
    if set(found) != set(exact):
        return float("inf")
    scale = max(np.abs(array).max() for array in exact.values())
    worst = max(np.abs(found[name] - exact[name]).max() for name in exact)
    return float(worst / scale) if np.isfinite(worst) else float("inf")


def measure(name, seconds):
    """{implementation: seconds of a step, error of the gradient (the logits) of the first batch, first call}."""
    case, figures, running = network_cases.CASES[name], {}, {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subprocess.run(process.command(sys.executable, "jax_worker", "reference", name, folder), check=True)
        exact = dict(np.load(folder / "reference.npz"))
        for implementation in IMPLEMENTATIONS:
            if not suits(implementation, name):
                continue
            try:
                worker = process.Worker(*place(implementation), implementation, name, folder)
            except (harness.SkipNotImplemented, process.Failed, OSError) as reason:
                print(f"{name}: {implementation} skipped: {reason}")
                continue
            stack.callback(worker.close)
            found = dict(np.load(folder / f"{implementation}.npz"))
            figures[implementation] = {"error": error(found, exact), "first_seconds": worker.first_seconds}
            running[implementation] = worker
        for implementation, times in timing.alternate(running, seconds).items():
            figures[implementation] |= {"seconds": times["seconds"] / case.steps, "spread": times["spread"]}
    if OURS in figures:
        ours = figures[OURS]
        certified = {n: f["seconds"] for n, f in figures.items() if passes(f, "error", network_cases.TARGET)}
        fair = [seconds for n, seconds in certified.items() if tables.peer(n)]
        if fair and OURS in certified:
            ours["ratio"] = ours["seconds"] / min(fair)
    return figures


def _race_of(name):
    """The figures of a race by (model, implementation, ...), and of ours by (model, ...)."""
    where = network_cases.CASES[name].problem, network_cases.DTYPE
    raced = measure(name, SECONDS[harness.profile()])
    figures = {(name, implementation, *where): values for implementation, values in raced.items()}
    return figures | ({(name, *where): raced[OURS]} if OURS in raced else {})


def _lesson_of(problem):
    return {(impl, problem): {"error_rate": rate} for impl, rate in learn(problem).items()}


def _races():
    names = filter(network_cases.available, harness.selected(MODELS, MODELS, QUICK))
    return [harness.Work(network_cases.CASES[name].title, functools.partial(_race_of, name)) for name in names]


def _lessons():
    names = filter(network_cases.available, harness.selected(network_cases.LESSONS, network_cases.LESSONS))
    return [harness.Work(network_cases.LESSONS[name].title, functools.partial(_lesson_of, name)) for name in names]


def work():
    return _races() + _lessons()


def learn(problem):
    """{implementation: share of held-out rows that are wrong} after the same batches from the same start."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(process.command(sys.executable, "jax_worker", "reference", problem, folder), check=True)
        for implementation in LEARNERS:
            try:
                run = process.command(*place(implementation), implementation, problem, folder)
                found[implementation] = float(subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout)
            except (harness.SkipNotImplemented, subprocess.CalledProcessError, OSError) as reason:
                print(f"{problem}: {implementation} skipped: {reason}")
    return found


class _Family:
    def setup_cache(self):
        return harness.gather(_races())

    setup_cache.timeout = 3600


class _Step(_Family, harness.Figures):
    """One row an implementation: the time of a step, and its certificate, the error of its gradient."""

    param_names = ("impl", "problem", "dtype")
    track_seconds = harness.figure("seconds", "s")
    track_spread = harness.figure("spread", "median over best, less 1")
    track_error = harness.figure("error", "of the largest entry")


def _axes(name):
    return list(IMPLEMENTATIONS), [network_cases.CASES[name].problem], DTYPES


class CNNPhotos(_Step):
    key = ("cnn_photos",)
    params = _axes("cnn_photos")


class CNNPhotosForward(_Step):
    key = ("cnn_photos_forward",)
    params = _axes("cnn_photos_forward")


class CNNDigits(_Step):
    key = ("cnn_digits",)
    params = _axes("cnn_digits")


class LSTM(_Step):
    key = ("lstm",)
    params = _axes("lstm")


class GRU(_Step):
    key = ("gru",)
    params = _axes("gru")


class Attention(_Step):
    key = ("attention",)
    params = _axes("attention")


class Ours(_Family, harness.Figures):
    """Our time over the fastest peer's, and our first call: compiling, and the first steps."""

    params = (MODELS, PROBLEMS, DTYPES)
    param_names = ("model", "problem", "dtype")
    track_ratio = harness.figure("ratio", "of the fastest peer")
    track_first_call_seconds = harness.figure("first_seconds", "s")


class Learned(harness.Figures):
    """Errors on held-out rows of real data after training, each in its own process."""

    params = (LEARNERS, list(network_cases.LESSONS))
    param_names = ("impl", "problem")
    track_error_rate = harness.figure("error_rate", "of held-out rows")

    def setup_cache(self):
        return harness.gather(_lessons())

    setup_cache.timeout = 600


class Warm(harness.Steady):
    """asv's own timing of our steps, on one device for each core, with samples."""

    params = (MODELS,)
    param_names = ("model",)

    def _build(self, model):
        import jax

        if not network_cases.available(model):
            raise harness.SkipNotImplemented(f"no {model} in this jaxinfra")
        with contextlib.suppress(RuntimeError):  # already started, with as many as it has
            jax.config.update("jax_num_cpu_devices", cores())
        return network_cases.Ours(model, jax.devices() if len(jax.devices()) > 1 else None)

    def time_steps(self, model):
        self._call(model)()
