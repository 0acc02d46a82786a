"""Compare two commits on this machine, in this environment.

1 compiled programs: kernels, copies, instructions and temporary memory of every model; exact, so that 2 % more is a
  regression
2 warm fits of both commits, in separate processes that take turns, beside a twin of the first: the difference between
  the twins is noise; a regression is 10 % more, and more than twice the noise, and once more when raced again

The benchmarks are those of this checkout: only the folder jaxinfra comes from the commits.
"""

import concurrent.futures
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from bench import program
from bench.report import tables
from bench.runner import process, records, steps, timing
from bench.suite import model_cases

EXACT = ("kernels", "copies", "hlo_instructions", "temp_bytes")
MORE, SLOWER = 0.02, 0.10
RACING = 1.5  # seconds for the processes of one fit
# On 2 cores: a program of both commits, where they are not known yet, and the start and the race of a fit.
PROGRAM_SECONDS, FIT_SECONDS = 6.0, 12.0


def _tree(commit, folder):
    """The folder jaxinfra of a commit, in `folder`."""
    archive = subprocess.run(["git", "archive", commit, "jaxinfra"], cwd=records.ROOT, capture_output=True)
    if archive.returncode:
        raise steps.Failed(f"{commit[:8]} has no folder jaxinfra")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _titled(model):
    return tables.CASES[model].title


def plan(only):
    """The programs and the fits whose model has `only` in its title or name."""
    models = [model for model in tables.CASES if only in _titled(model) or only in model]
    first = {}
    for case in program.every("cpu"):
        first.setdefault(case[0], case)
    return [first[m] for m in models if m in first], [
        (m, model_cases.QUICK[m]) for m in models if m in model_cases.QUICK
    ]


def larger(before, after):
    """The figures that grew by more than 2 %."""
    both = [name for name in EXACT if before.get(name) is not None and after.get(name) is not None]
    return [name for name in both if after[name] > (1 + MORE) * before[name]]


class _Fits:
    """A process with the jaxinfra of a commit: `prepare` sets the fit that a call runs."""

    def __init__(self, tree):
        command = process.command(sys.executable, "fit_worker", records.ROOT)
        pipe = subprocess.PIPE
        # Not in this checkout's folder, which Python would search first.
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}
        )

    def _ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise steps.Failed(f"the process of a commit ended with {self.process.wait()}")
        return answer.strip()

    def prepare(self, model, problem):
        """Prepare a fit; return why it cannot be run, None if it can."""
        answer = self._ask(f"{model} {problem}")
        return answer if answer.startswith("failed") else None

    def __call__(self):
        self._ask("")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def race(running, model, problem):
    """{"base", "head", "twin": best seconds}, raced twice where they differ, and {}; or None and {process: why not}."""
    with concurrent.futures.ThreadPoolExecutor(len(running)) as pool:
        answers = pool.map(lambda process: process.prepare(model, problem), running.values())
        reasons = {name: answer for name, answer in zip(running, answers, strict=True) if answer}
    if reasons:
        return None, reasons
    for seconds in (RACING, 2 * RACING):
        found = {name: times["seconds"] for name, times in timing.alternate(running, seconds).items()}
        if verdict(found) == "as fast":
            break
    return found, {}


def verdict(found):
    """`as fast` within 10 %; beyond it `slower`, `faster`, or `too noisy` within twice what the twins differ by."""
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
        print("\n".join(f"  {_titled(model)}" for model in tables.CASES))
        return 2
    # Names move while the gate runs; hashes do not.
    commits = [steps.git("rev-parse", "--verify", f"{name}^{{commit}}") for name in (base, head)]
    if len({steps.git("rev-parse", f"{commit}:jaxinfra") for commit in commits}) == 1:
        print(f"bench: jaxinfra is the same in {base} and {head}: no regression")
        return 0
    start, minutes = time.monotonic(), (PROGRAM_SECONDS * len(cases) + FIT_SECONDS * len(fits)) / 60
    print(f"bench: {base} {commits[0][:8]} and {head} {commits[1][:8]}: ", end="")
    print(f"{len(cases)} programs, {len(fits)} warm fits, about {minutes:.0f} min on 2 cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trees = [_tree(commit, Path(folder) / commit[:8]) for commit in commits]
        grown, broken, changed = [], [], 0
        before_after = [program.figures("cpu", cases, tree) for tree in trees]
        for model, problem, dtype in cases:
            before, after = (found.get((model, problem, dtype)) for found in before_after)
            if "error" in after:
                broken.append(model)
                print(f"  {_titled(model)}: BROKEN: {after['error']}")
            if not before or not after or "error" in before or "error" in after:
                print(f"  {_titled(model)}: not compared: only one of them has it")
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
        with _Fits(trees[0]) as first, _Fits(trees[1]) as second, _Fits(trees[0]) as twin:
            for model, problem in fits:
                found, reasons = race({"base": first, "head": second, "twin": twin}, model, problem)
                if found is None:
                    if "head" in reasons and "base" not in reasons:
                        broken.append(model)
                    print(f"  {_titled(model)}: not raced: {reasons}")
                    continue
                seen[verdict(found)].append(model)
                times = ", ".join(f"{name} {tables.duration(value)}" for name, value in found.items())
                print(f"  {_titled(model)} {problem}: {times}: {verdict(found)}", flush=True)
    counts = ", ".join(f"{len(models)} {word}" for word, models in seen.items())
    print(f"bench: {counts}; {time.monotonic() - start:.0f} s in all")
    if broken:
        print(f"bench: broken in {head}: {', '.join(dict.fromkeys(map(_titled, broken)))}")
        return 2
    if grown or seen["slower"]:
        print(f"bench: regression: {', '.join(dict.fromkeys(map(_titled, grown + seen['slower'])))}")
        return 1
    if seen["too noisy"]:
        print("bench: no regression seen, but this machine is too noisy to tell for some; close other programs.")
        return 3
    print("bench: no regression")
    return 0
