"""Compare two commits on this machine, in this environment.

1 compiled programs: kernels, instructions and temporary memory of every model; exact, so that 2 % more is a regression
2 warm fits of both commits, in processes of their own that take turns, beside a twin of the first: what the twins
  differ by is noise; a regression is 10 % more, and more than twice the noise, and once more when raced again

The benchmarks are those of this checkout: only the folder jaxinfra comes from the commits.
"""

import concurrent.futures
import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from . import _aot, _cases, _race, _results, _run, _tables, _worker, program

EXACT = ("kernels", "hlo_instructions", "temp_bytes")
MORE, SLOWER = 0.02, 0.10
RACING = 2.0  # seconds for the processes of one fit
# On 2 cores: a program of both commits at once, and the start and the race of a fit.
PROGRAM_SECONDS, FIT_SECONDS = 2.0, 8.0


def _tree(commit, folder):
    """The folder jaxinfra of a commit, in `folder`."""
    archive = subprocess.run(["git", "archive", commit, "jaxinfra"], cwd=_results.ROOT, capture_output=True)
    if archive.returncode:
        raise _run.Failed(f"{commit[:8]} has no folder jaxinfra")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _environment(tree):
    # Before this checkout, wherever the package is installed from.
    return {**os.environ, "PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"}


def _titled(model):
    return _tables.CASES[model].title


def plan(only):
    """The programs and the fits whose model has `only` in its title or name."""
    wanted = [model for model in _tables.CASES if only in _titled(model) or only in model]
    first = {}
    for case in program.every("cpu"):
        first.setdefault(case[0], case)
    return [first[m] for m in wanted if m in first], [(m, _cases.QUICK[m]) for m in wanted if m in _cases.QUICK]


def programs(trees, cases):
    """[(case, {figure: value} of the base, of the head)], one process for each, at the same time."""
    text = json.dumps(program.requests(cases))

    def compiled(tree):
        command = [sys.executable, _aot.__file__, "cpu"]
        run = subprocess.run(command, input=text, env=_environment(tree), stdout=subprocess.PIPE, text=True)
        if run.returncode:
            raise _run.Failed(f"the compiler of {tree.name} ended with {run.returncode}")
        return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        base, head = pool.map(compiled, trees)
    return list(zip(cases, base, head, strict=True))


def larger(before, after):
    """The figures that grew by more than 2 %."""
    both = [name for name in EXACT if before.get(name) is not None and after.get(name) is not None]
    return [name for name in both if after[name] > (1 + MORE) * before[name]]


def race(trees, model, problem):
    """{"base", "head", "twin": best seconds}, and again if needed; None where a commit does not have the model."""
    order = {"base": trees[0], "head": trees[1], "twin": trees[0]}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())

        def start(item):
            name, tree = item
            return name, _worker.Worker(
                sys.executable,
                "fit_worker",
                name,
                model,
                folder,
                _results.ROOT,
                problem,
                env=_environment(tree),
                cwd=folder,
            )

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            running = [pool.submit(start, item) for item in order.items()]
        done = [future for future in running if future.exception() is None]
        for future in done:
            stack.callback(future.result()[1].close)
        if len(done) < len(running):
            return None, str(next(f.exception() for f in running if f.exception()))
        workers = dict(future.result() for future in done)
        seconds = RACING
        for _ in range(2):
            found = {name: times["seconds"] for name, times in _race.alternate(workers, seconds).items()}
            if verdict(found) == "as fast":
                break
            seconds = 2 * RACING  # once more, to be sure
        return found, ""


def verdict(found):
    """`slower`, `faster`, `as fast`, or `too noisy` where the twins differ by more than half of what is looked for."""
    base = min(found["base"], found["twin"])
    noise = max(found["base"], found["twin"]) / base - 1
    ratio = found["head"] / base
    if max(ratio, 1 / ratio) <= 1 + SLOWER:
        return "as fast"
    if max(ratio, 1 / ratio) <= 1 + 2 * noise:
        return "too noisy"
    return "slower" if ratio > 1 else "faster"


def main(base, head, only=""):
    cases, fits = plan(only)
    if not cases:
        print(f"bench: no model has {only!r} in its title; the titles are:")
        print("\n".join(f"  {_titled(model)}" for model in _tables.CASES))
        return 2
    # Names move while the gate runs; hashes do not.
    commits = [_run.git("rev-parse", "--verify", f"{name}^{{commit}}") for name in (base, head)]
    if len({_run.git("rev-parse", f"{commit}:jaxinfra") for commit in commits}) == 1:
        print(f"bench: jaxinfra is the same in {base} and {head}: no regression")
        return 0
    start, minutes = time.monotonic(), (PROGRAM_SECONDS * len(cases) + FIT_SECONDS * len(fits)) / 60
    print(f"bench: {base} {commits[0][:8]} and {head} {commits[1][:8]}: ", end="")
    print(f"{len(cases)} programs, {len(fits)} warm fits, about {minutes:.0f} min on 2 cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trees = [_tree(commit, Path(folder) / commit[:8]) for commit in commits]
        grown, changed = [], 0
        for (model, problem, dtype), before, after in programs(trees, cases):
            if not before or not after:
                print(f"  {_titled(model)}: not in {'head' if before else 'base'}")
                continue
            moved = [n for n in EXACT if before.get(n) != after.get(n)]
            changed += bool(moved)
            worse = larger(before, after)
            grown += [model] * bool(worse)
            for name in moved:
                mark = "  LARGER" if name in worse else ""
                print(f"  {_titled(model)} {problem} {dtype}: {name} {before[name]} -> {after[name]}{mark}")
        at = time.monotonic() - start
        print(
            f"bench: {changed} of {len(cases)} programs changed, {len(grown)} are larger by more than 2 % ({at:.0f} s)"
        )
        seen = {"slower": [], "faster": [], "as fast": [], "too noisy": []}
        for model, problem in fits:
            found, reason = race(trees, model, problem)
            if found is None:
                print(f"  {_titled(model)}: not raced: {reason.splitlines()[-1] if reason else 'no reason given'}")
                continue
            seen[verdict(found)].append(model)
            times = ", ".join(f"{name} {_tables.duration(value)}" for name, value in found.items())
            print(f"  {_titled(model)} {problem}: {times}: {verdict(found)}", flush=True)
    counts = ", ".join(f"{len(models)} {word}" for word, models in seen.items())
    print(f"bench: {counts}; {time.monotonic() - start:.0f} s in all")
    if grown or seen["slower"]:
        print(f"bench: regression: {', '.join(dict.fromkeys(map(_titled, grown + seen['slower'])))}")
        return 1
    if seen["too noisy"]:
        print("bench: no regression seen, but this machine is too noisy to tell for some; close other programs.")
        return 3
    print("bench: no regression")
    return 0
