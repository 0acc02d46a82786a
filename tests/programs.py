"""Pytest plugin: how many programs each file compiles, its budget of them, and the cache where they are kept.

Compiling is three quarters of the suite's time, and the number of programs does not depend on the machine, so it has a
budget.  `--programs` lists it; a file that compiles more than `budget.toml` allows fails the run.

The cache is `$XDG_CACHE_HOME/jaxinfra`, shared by all clones.  `JAXINFRA_CACHE` names another folder, or is `off`; the
least recently used programs are deleted once the folder has more than `JAXINFRA_CACHE_LIMIT` bytes.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import pytest

from jaxinfra._core.program_cache import shrink

BUDGET = Path(__file__).with_name("budget.toml")
PARTS = ("quick", "slow")
ENTRY = re.compile(r".+-cache")  # of JAX, and of `tests.accelerators`
LIMIT = 1 << 30  # bytes; what the whole suite compiles takes a fifth of it
COMPILED = "/jax/core/compile/backend_compile_duration"  # or read from the cache
READ = "/jax/compilation_cache/cache_hits"
STAGED = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")


def cache_folder() -> Path | None:
    """Where compiled programs are kept; None: nowhere."""
    named = os.environ.get("JAXINFRA_CACHE")
    if named == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(home) / "jaxinfra"


def use_cache() -> None:
    """For this process and for those that it starts."""
    if (folder := cache_folder()) is None:
        jax.config.update("jax_enable_compilation_cache", False)
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


def budgets() -> tuple[str, dict[str, dict[str, int]]]:
    """The version of JAX that was counted, and {file: {part: the most programs that it may compile}}."""
    table = tomllib.loads(BUDGET.read_text())
    return table["jax"], table["files"]


def over(files: Mapping[str, Mapping[str, float]], allowed: dict[str, dict[str, int]]) -> list[str]:
    """A sentence for each file that compiled more than its budget; a file without one may compile nothing."""
    return [
        f"{file} compiles {found[part]} programs in its {part} tests, its budget is {most}"
        for file, found in files.items()
        for part in PARTS
        if file.startswith("tests/") and found.get(part, 0) > (most := allowed.get(file, {}).get(part, 0))
    ]


class Programs:
    """The counts of the tests of this process, and in the process that reports those of all."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.seen: Counter[str] = Counter()
        self.files: dict[str, Counter[str]] = {}
        self.said: list[str] = []
        jax.monitoring.register_event_duration_secs_listener(self._duration)
        jax.monitoring.register_event_listener(self._event)

    def _duration(self, event: str, duration: float, **_: Any) -> None:
        if event == COMPILED:
            self.seen["programs"] += 1
            self.seen["compile"] += duration
        elif event in STAGED:
            self.seen["trace"] += duration

    def _event(self, event: str, **_: Any) -> None:
        if event == READ:
            self.seen["read"] += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        self.seen.clear()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        report = yield
        report.part = PARTS["slow" in item.keywords]
        report.seen = dict(self.seen)
        self.seen.clear()
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        at, seen = self.files.setdefault(file, Counter()), getattr(report, "seen", {})  # none if its worker crashed
        for name, value in seen.items():
            at[name] += value
        at[getattr(report, "part", PARTS[0])] += seen.get("programs", 0)
        at["wall"] += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return
        if folder := cache_folder():
            shrink(folder, int(os.environ.get("JAXINFRA_CACHE_LIMIT", LIMIT)), ENTRY)
        counted, allowed = budgets()
        if not jax.__version__.startswith(f"{counted}."):
            self.said.append(f"{BUDGET.name} is that of JAX {counted}: not held with {jax.__version__}")
            return
        self.said += (broken := over(self.files, allowed))
        if broken and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        say = terminalreporter.write_line
        if self.config.getoption("programs"):
            total: Counter[str] = Counter()
            say(f"{'programs':>8} {'slow':>6} {'read':>6} {'compile':>9} {'trace':>8} {'tests':>8}   file")
            rows = [*self.files.items()]
            for found in self.files.values():
                total.update(found)
            for file, found in [*sorted(rows, key=lambda row: -row[1]["wall"]), ("all", total)]:
                if found["programs"] or file == "all":
                    say(
                        f"{found['quick']:8} {found['slow']:6} {found['read']:6} {found['compile']:7.1f} s "
                        f"{found['trace']:6.1f} s {found['wall']:6.1f} s   {file}"
                    )
        for line in self.said:
            say(f"PROGRAMS {line}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--programs", action="store_true", help="list the programs that each file compiled or read")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    use_cache()
    config.pluginmanager.register(Programs(config), "programs")
