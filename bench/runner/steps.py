"""Run the steps of a profile, so that an interrupt loses the running measurement alone.

A family is measured in its own process, whose figures are stored one by one. What asv has to time itself is an asv run:
asv writes its results when it has finished, straight into the file, so that it gets a staging folder and only complete
files are moved from there, by rename.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.runner import records


class Step(NamedTuple):
    title: str
    module: str  # of the benchmarks
    regex: str | None = None  # what asv measures itself; None for a process of ours
    works: tuple = ()  # titles of the measurements of a process of ours
    only: str = ""  # a text that these titles have
    again: bool = False  # whether it was run before: the figures of the first time stay


class Interrupted(Exception):
    pass


class Failed(Exception):
    pass


def git(*arguments):
    run = subprocess.run(["git", *arguments], cwd=records.ROOT, capture_output=True, text=True)
    if run.returncode:
        raise Failed(f"git {' '.join(arguments)}: {run.stderr.strip()}")
    return run.stdout.strip()


def machine():
    """The name under which asv stores this machine's results; a machine that is new to asv is registered first."""
    from asv.machine import Machine, MachineCollection
    from asv.util import UserError

    name = Machine.get_unique_machine_name()
    try:
        MachineCollection.load(name)
    except UserError:
        asv(["machine", "--yes"], {})
    return name


def asv(arguments, env, echo=None):
    """Run asv; its return code and output. SIGINT and SIGTERM stop it, with the benchmark it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "asv", *arguments], cwd=records.ROOT, env={**os.environ, **env},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,  # the terminal's interrupt reaches this program alone, which then stops asv in order
    )  # fmt: skip
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if echo:
                echo(line.rstrip())
        return process.wait(), "".join(lines)
    except BaseException:
        _stop(process)
        raise


def _stop(process):
    # On SIGINT asv ends the benchmark's own process group too, which a kill would leave running.
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def interruptible():
    """Turn SIGINT and SIGTERM into `Interrupted`."""

    def stop(number, frame):
        signal.signal(number, signal.SIG_IGN)  # the second one must not disturb the tidying up
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def configuration(stage):
    """asv.conf.json with results going to the staging folder."""
    from asv.util import load_json, write_json

    conf = load_json(str(records.ROOT / "asv.conf.json"), js_comments=True)
    for key in ("benchmark_dir", "env_dir", "html_dir"):
        conf[key] = str(records.ROOT / conf[key])
    conf["repo"] = str(records.ROOT)
    conf["results_dir"] = str(stage / "results")
    path = stage / "asv.conf.json"
    write_json(str(path), conf)
    return path


def family(step, profile, finished, log):
    """Measure a family in its own process: `finished(title, seconds, figures)` is called after each work.

    The return code of the process. What its libraries print goes to the file `log`.
    """
    command = [sys.executable, "-m", "bench.runner.family", step.module, step.only]
    with subprocess.Popen(
        command, cwd=records.ROOT, env={**os.environ, "JAXINFRA_BENCH": profile}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout:
                title, seconds, rows = json.loads(line)
                finished(title, seconds, {tuple(key): figures for key, figures in rows})
                with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile; its return code says how
                    process.stdin.write("\n")
                    process.stdin.flush()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            raise
    return process.returncode


def asv_step(step, commit, name, profile, echo=None):
    """Measure one step by asv in this Python's environment and add it to the stored results of `commit`."""
    results = records.ASV / "results"
    records.ASV.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=records.ASV, prefix="staging-") as folder:
        stage = Path(folder)
        (stage / "results" / name).mkdir(parents=True)
        # asv merges into what it finds, so the commit's earlier steps go along.
        for path in (results / name).glob("*.json"):
            if path.name == "machine.json" or path.name.startswith(commit[:8]):
                shutil.copy2(path, stage / "results" / name)
        arguments = ["--config", str(configuration(stage)), "run", "-E", f"existing:{sys.executable}"]
        arguments += ["--set-commit-hash", commit, "--machine", name, "--show-stderr", "-b", step.regex]
        if profile != "full":
            arguments += ["-a", "rounds=1"]
        code, output = asv(arguments, {"JAXINFRA_BENCH": profile}, echo)
        for path in (stage / "results").rglob("*.json"):
            target = results / path.relative_to(stage / "results")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    return code, output
