"""Every test runs with strict promotion, no silent rank promotion, warnings as errors, float64 available."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

pytest_plugins = ["tests.programs"]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# LLVM's passes are a third of the time of files that mostly compile fits.  XLA's own stay; the notebooks and what the
# tests start in separate processes, but for `devices.py` and the examples of pages, run as users do, with all.
jax.config.update("jax_disable_most_optimizations", True)


ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


NO_CALL = SimpleNamespace(params={})  # of a test without parameters


# Minutes each, most of them not of programs that are counted: in separate processes, or of fits that are long.
LONG = [
    "tests/hardware/test_accelerators_tpu.py", "tests/hardware/test_accelerators_gpu.py",
    "tests/nn/test_nn_accuracy.py", "tests/svm/test_svm_libsvm.py", "tests/hardware/test_devices.py",
]  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """float32 compiles everything again: of parametrised tests `make test` runs float64.  Slow tests come last.

    A process takes a file at a time: the long ones come first, so that none is begun when the others are done.
    """
    for item in items:
        if any(value is np.float32 for value in getattr(item, "callspec", NO_CALL).params.values()):
            item.add_marker(pytest.mark.slow)
    # Importing `bench` sets defaults for its own processes; the tests and what they start must not inherit them.
    for name in sys.modules["bench"].CHANGED if "bench" in sys.modules else ():
        os.environ.pop(name, None)
    from tests.programs import budgets  # a plugin: not imported before pytest does

    programs = {file: sum(parts.values()) for file, parts in budgets()[1].items()}

    def place(item: pytest.Item) -> tuple[object, ...]:
        file = item.nodeid.partition("::")[0]
        return file not in LONG, -programs.get(file, 0), file, "slow" in item.keywords

    items.sort(key=place)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget what a file compiled: every kernel is some memory maps, of which a process may have 65530."""
    yield
    jax.clear_caches()


MAPS, OFTEN = Path("/proc/self/maps"), 10
_tests = itertools.count(1)


@pytest.fixture(autouse=True)
def few_maps():
    """And in the midst of a file that compiles more than that."""
    yield
    if next(_tests) % OFTEN == 0 and MAPS.is_file() and MAPS.read_bytes().count(b"\n") > 45_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def nist_folder() -> Path:
    folder = SHARED / "nist_strd"
    if not folder.is_dir():
        pytest.skip(f"the NIST StRD files are not at {folder.relative_to(ROOT.parent)} beside the project")
    return folder


def git(*arguments: str) -> str:
    """What git prints about this checkout; an unpacked archive has none of it."""
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked archive, not a git checkout")
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def tracked_files() -> list[Path]:
    """Files that git tracks, or would with `git add`."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return [path for name in names if (path := ROOT / name).is_file()]


@pytest.fixture
def head() -> str:
    """The commit of this checkout."""
    return git("rev-parse", "HEAD").strip()


@pytest.fixture
def compilations():
    """A context manager that counts backend compilations: `with compilations() as count: ...; count[0]`."""
    from contextlib import contextmanager

    events: list[str] = []
    active = [True]

    def listener(event: str, duration: float, **_: object) -> None:
        if active[0] and event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listener)

    @contextmanager
    def counting():
        count = [0]
        before = len(events)
        yield count
        count[0] = len(events) - before

    yield counting
    active[0] = False
