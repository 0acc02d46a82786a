"""Read and write what is kept in `.asv`: asv's results by commit, and each run of `python -m bench` with its figures.

A run is {"facts": versions, cores, dates; "figures": {benchmark: [[[parameter values], number], ...]}}.
"""

import contextlib
import itertools
import json
import math
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ASV = ROOT / ".asv"


class Figure(NamedTuple):
    benchmark: str  # as asv names it: module.Class.method
    params: dict
    value: float
    unit: str


def write(path, text):
    """Replace a file atomically: an interrupt leaves the old one or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(scratch, 0o644)  # mkstemp gives it to the owner alone
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
        raise


def read_json(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def result_files(root=ASV):
    """asv's result files, newest last."""
    files = (root / "results").glob("*/*-*.json")
    return sorted(files, key=lambda path: path.stat().st_mtime)


def stored(root=ASV, commit=None):
    """The newest result file of a commit (any if None) as a dictionary, with its machine; None if there is none."""
    for path in reversed(result_files(root)):
        data = read_json(path)
        if data and (commit is None or data["commit_hash"] == commit):
            data["machine"] = read_json(path.parent / "machine.json") or {}
            return data
    return None


def figures(data, root=ASV):
    """Every number in a result file as a `Figure`."""
    known = read_json(root / "results" / "benchmarks.json") or {}
    found = []
    for name, row in data["results"].items():
        columns = dict(zip(data["result_columns"], row, strict=False))
        about = known.get(name)
        if not isinstance(about, dict) or not columns.get("result"):
            continue
        values = columns.get("params") or []
        for combination, value in zip(itertools.product(*values), columns["result"], strict=False):
            if value is None or math.isnan(value):
                continue
            params = dict(zip(about["param_names"], (v.strip("'") for v in combination), strict=True))
            found.append(Figure(name, params, value, about["unit"]))
    return found


def index(found):
    """{benchmark: {parameter values in order: number}}."""
    table = {}
    for figure in found:
        table.setdefault(figure.benchmark, {})[tuple(figure.params.values())] = figure.value
    return table


def run_path(commit, started, root=ASV):
    """The path of the file of one run; `started` is a datetime."""
    return root / "runs" / f"{commit[:8]}-{started:%Y%m%dT%H%M%S}.json"


def write_run(path, facts, table):
    rows = {name: [[list(params), value] for params, value in values.items()] for name, values in table.items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in rows.items())
    write(path, f'{{"facts": {json.dumps(facts, indent=1)}, "figures": {{\n{lines}\n}}}}\n')


def read_run(path):
    """(facts, {benchmark: {parameter values: number}}) of a run's file."""
    run = read_json(path)
    if not run or "figures" not in run:
        raise ValueError(f"{path} is not a run of `python -m bench`")
    return run["facts"], {n: {tuple(params): v for params, v in rows} for n, rows in run["figures"].items()}


def newest_run(root=ASV, profile=None, whole=False):
    """The path of the run that started last, of `profile` if given; None if there is none.

    `whole`: only complete runs, whose steps all ended without a failure.
    """
    found = {path: read_json(path) or {} for path in (root / "runs").glob("*-*T*.json")}
    found = {path: run["facts"] for path, run in found.items() if "figures" in run}

    def matches(facts):
        parts = facts.get("only") or facts.get("failed") or facts["done"] < facts["planned"]
        return profile in (None, facts["profile"]) and not (whole and parts)

    chosen = [path for path, facts in found.items() if matches(facts)]
    return max(chosen, key=lambda path: path.stem.rpartition("-")[2], default=None)
