"""The tables of docs/compiling.md, measured now: `python -m bench waiting`.

Each figure is that of a fresh process, one after the other, on a machine that should do nothing else: some minutes.
The text between <!-- NAME --> and <!-- end --> is written here, the rest of the page is typed.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from importlib import metadata

from bench.commands import figures
from bench.report import static_page, tables
from bench.runner import process, records

PAGE = records.ROOT / "docs" / "compiling.md"
CASES = [(model, 1000, 20) for model in ("ols", "ridge", "lasso", "logistic", "multinomial", "svc", "svr")]
PREDICTED = ("ols", "logistic", "multinomial", "svc")
AHEAD = ("ols", "lasso")
BUSY = 0.5  # mean number of programs that want a core, above which the machine is not idle


def _run(what, *arguments):
    """What a fresh process measures."""
    done = subprocess.run(process.command(sys.executable, "first_calls", what, *arguments), capture_output=True,
                          text=True, cwd=records.ROOT)  # fmt: skip
    if done.returncode:
        raise process.Failed(done.stderr.strip()[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def ahead_after(ours, first, theirs):
    """The number of fits, the first included, from which ours took less time than theirs; None: it never does."""
    if first <= theirs["first"]:
        return 1
    gain = theirs["warm"] - ours["warm"]
    return None if gain <= 0 else 1 + math.floor((first - theirs["first"]) / gain) + 1


def _count(number):
    return "never" if number is None else f"{number:,}"


def break_even():
    page = static_page.Table([
        "model", "jaxinfra, first fit", "with `cache_programs`, next process", "later fits",
        "scikit-learn, first fit", "later fits", "ahead from fit", "from, with the programs kept",
    ])  # fmt: skip
    for model, n, p in CASES:
        with tempfile.TemporaryDirectory() as folder:
            ours = _run("ours", model, n, p)
            _run("ours", model, n, p, folder)
            kept = _run("ours", model, n, p, folder)
        theirs = _run("theirs", model, n, p)
        times = (ours["first"], kept["first"], ours["warm"], theirs["first"], theirs["warm"])
        print(f"bench: {model}: {', '.join(map(tables.duration, times))}", flush=True)
        counts = (_count(ahead_after(ours, first, theirs)) for first in (ours["first"], kept["first"]))
        page.add(f"`{model}`, {n}x{p}", *map(tables.duration, times), *counts)
    return page.markdown()


def predictions():
    page = static_page.Table(["model", "a new number of rows", "the same number again"])
    for model in PREDICTED:
        found = _run("predictions", model, 200, 20)
        page.add(f"`{model}`", tables.duration(found["new"]), tables.duration(found["again"]))
    return page.markdown()


def at_once():
    page = static_page.Table(["four shapes of", "one after the other", "two at a time", "the first real call then"])
    for model in AHEAD:
        one, two = (_run("ahead", model, workers) for workers in (1, 2))
        page.add(f"`{model}`", *map(tables.duration, (one["seconds"], two["seconds"], two["then"])))
    return page.markdown()


def _load():
    """The programs that wanted a core in the last minute; None on Windows."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def conditions(before):
    from asv.machine import Machine  # here, because importing `bench` needs no asv

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "jaxlib", "numpy", "scikit-learn"))
    lines = [f"Processor: {Machine.get_defaults().get('cpu', '?')}, {os.cpu_count()} cores", f"Versions: {versions}"]
    if before is not None:
        said = "the machine was left alone" if before < BUSY else "**other programs used the machine**: measure again"
        lines.append(f"Load before the first process: {before:.1f}: {said}")
    return "\n".join(f"- {line}" for line in lines)


def main():
    before = _load()
    found = {"break-even": break_even(), "predictions": predictions(), "at once": at_once()}
    found["conditions"] = conditions(before)
    records.write(PAGE, figures.fill(PAGE.read_text(encoding="utf-8"), found))
    print(f"bench: the figures are in\n{PAGE}")
    return 0
