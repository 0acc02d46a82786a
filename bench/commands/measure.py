"""Measure the current commit: the steps of a profile one after the other, their progress, and what is kept of them."""

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import re
import statistics
import tempfile
import time

from bench.peers import compare
from bench.runner import records, steps

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-learn-intelex",
    "celer",
    "glum",
    "skglm",
    "statsmodels",
    "libsvm-official",
    "liblinear-official",
    "asv",
    "asv_runner",
)
# Seconds that one measurement of a module takes on 2 cores, until this machine has done it once: the time left.
SECONDS = {
    "quick": {"selfcheck": 3, "penalised": 10, "svm": 12, "networks": 20, "nist": 0.3, "program": 45},
    "standard": {"selfcheck": 4, "nist": 0.5, "compile": 15, "program": 90, "imports": 60, "networks": 45},
    "full": {"regression": 30, "nist": 0.5, "compile": 20, "program": 600, "imports": 60, "networks": 120},
}
OTHERS = {"quick": 7, "standard": 15, "full": 60}


def planned(profile):
    """Everything that a profile measures, as `Step`s. The machine's noise and peaks are taken first and last."""
    from bench.suite import model_cases

    os.environ["JAXINFRA_BENCH"] = profile
    machine = ("machine: noise and peaks", "selfcheck")
    families = [machine, *((title, family) for family, title in model_cases.FAMILIES.items())]
    families += [("networks", "networks"), ("certified digits (NIST)", "nist")]
    if profile != "quick":  # whose races count the kernels of what they compile
        families += [("compiled programs", "program"), ("compile, first call, second process", "compile")]
    plan = []
    for title, module in families:
        works = tuple(work.title for work in importlib.import_module(f"bench.{module}").work())
        plan.append(steps.Step(title, module, works=works))
    if profile != "quick":
        plan.append(steps.Step("call overhead", "regression", r"^regression\.Overhead"))
        plan.append(steps.Step("import and memory", "imports", r"^imports\."))
    if profile == "full":
        plan.append(steps.Step("warm times with samples", "warm", r"^\w+\.Warm"))
    return [*plan, plan[0]._replace(title=f"{machine[0]}, once more", again=True)]


def select(plan, only):
    """The steps whose title has `only`, else those parts of steps whose own titles have it, with the machine's."""
    whole = [step for step in plan if only in step.title]
    if whole:
        return whole
    parts = [step._replace(works=tuple(t for t in step.works if only in t), only=only) for step in plan[1:-1]]
    parts = [step for step in parts if step.works]
    return [plan[0], *parts, plan[-1]] if parts else []


class Progress:
    """The time left, by how long each measurement took when this machine did it last."""

    def __init__(self, profile, plan):
        self.path = records.ASV / "runs" / "seconds.json"
        self.profile, self.known = profile, (records.read_json(self.path) or {})
        self.left = [(step.module, title) for step in plan for title in step.works or (step.title,)]
        self.ratios = []

    def expected(self, module, title):
        """(seconds, whether they were measured here)."""
        known = self.known.get(f"{self.profile} {module} {title}")
        return (known, True) if known else (SECONDS[self.profile].get(module, OTHERS[self.profile]), False)

    def finish(self, module, title, seconds):
        expected, _ = self.expected(module, title)
        self.ratios.append(seconds / expected)
        self.left.remove((module, title))
        self.known[f"{self.profile} {module} {title}"] = round(seconds, 2)

    def drop(self, step, done):
        """A step has ended with `done` works: the others will not follow."""
        for title in (step.works or (step.title,))[done:]:
            self.left.remove((step.module, title))

    def __str__(self):
        # As much slower or faster than expected as so far: this machine's load.
        scale = statistics.median(self.ratios) if self.ratios else 1.0
        expected = [self.expected(*each) for each in self.left]
        seconds = sum(seconds * (1 if here else scale) for seconds, here in expected)
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f} left"

    def keep(self):
        records.write(self.path, json.dumps(self.known, indent=1, sort_keys=True))


def facts(profile, commit, dirty, started, machine):
    """The facts about a run for the report; `done` and `seconds` follow when it ends."""
    from bench import networks
    from bench.workers.serving import cores

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    versions["torch"] = networks.torch_version() or "not installed"
    return {
        "profile": profile,
        "commit": commit,
        "uncommitted_changes": dirty,
        "date": started.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": cores(),
        "machine": machine,
        "versions": versions,
        "platforms": os.environ.get("JAX_PLATFORMS", ""),
    }


def _published(module, figures):
    from bench.runner import harness

    return harness.published(importlib.import_module(f"bench.{module}"), figures)


def note(line):
    """The first line of what a library reports when it fails."""
    return re.split(r"\\n", line)[0][:200]


class Run:
    """One run: what it has measured so far, in memory and on disk."""

    def __init__(self, console, profile, commit, plan, verbose):
        from bench.runner.store import Store

        self.console, self.profile, self.commit, self.verbose = console, profile, commit, verbose
        self.store, self.progress = Store(commit), Progress(profile, plan)
        self.table, self.again, self.done, self.failed, self.notes = {}, {}, 0, [], []

    def add(self, step, figures):
        published = _published(step.module, figures)
        if step.again:  # it shows how far the machine has moved
            for name, values in published.items():
                self.again.setdefault(name, []).extend([list(key), value] for key, value in values.items())
            return
        self.store.add(published)
        for name, values in published.items():
            self.table.setdefault(name, {}).update(values)

    def measure(self, step, head, status):
        """Run one step; its return code and the end of what it printed."""
        if step.regex:
            echo = (lambda line: self.console.print(f"      {line}", markup=False)) if self.verbose else None
            start = time.perf_counter()
            code, output = steps.asv_step(step, self.commit, self.store.machine["machine"], self.profile, echo)
            self.progress.finish(step.module, step.title, time.perf_counter() - start)
            stored = records.stored(commit=self.commit)
            for figure in records.figures(stored) if stored else ():
                if re.match(step.regex, figure.benchmark):
                    self.table.setdefault(figure.benchmark, {})[tuple(figure.params.values())] = figure.value
            return code, output

        done = []

        def finished(title, seconds, figures):
            self.add(step, figures)
            self.progress.finish(step.module, title, seconds)
            done.append(title)
            status(f"{head}: {[*step.works, 'done'][len(done)]} ({self.progress})")

        status(f"{head}: {step.works[0]} ({self.progress})")
        with tempfile.TemporaryFile("w+") as log:
            code = steps.family(step, self.profile, finished, log)
            log.seek(0)
            output = log.read()
        self.progress.drop(step, len(done))
        # What could not be measured, and why: a race without a peer must not look like a race without a rival.
        self.notes += [note(line) for line in output.splitlines() if re.search(r" (skipped|failed): ", line)]
        if any(f": {compare.OURS} failed: " in note for note in self.notes):
            code = code or 1  # a peer may fail, jaxinfra may not
        if self.verbose:
            self.console.print(output, markup=False, style="dim")
        return code, output


def main(profile, only, verbose):
    from rich.console import Console

    from bench.report import static_page, terminal

    console = Console(highlight=False)
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    try:
        commit = steps.git("rev-parse", "HEAD")
    except (steps.Failed, FileNotFoundError):
        console.print("bench: results are stored by commit; run this in a git clone with at least one commit.")
        return 2
    dirty = bool(steps.git("status", "--porcelain", "--untracked-files=no"))
    if dirty:
        console.print("bench: uncommitted changes are measured too, and stored under the current commit.")
    every = planned(profile)
    plan = select(every, only)
    if not plan:
        console.print(f"bench: nothing has {only!r} in its title; the titles are:", markup=False)
        for step in every:
            console.print(f"  {step.title}", markup=False)
            console.print("".join(f"    {title}\n" for title in step.works), markup=False, end="")
        return 2
    run = interrupted = None
    try:
        with steps.interruptible(), console.status("asking asv for its benchmarks") as line:
            run = Run(console, profile, commit, plan, verbose)
            count = sum(len(step.works) or 1 for step in plan)
            head = f"bench: {profile} profile of commit {commit[:8]}: {count} measurements, {run.progress}"
            console.print(head, markup=False)
            for number, step in enumerate(plan, 1):
                head, at = f"[{number:2}/{len(plan)}] {step.title}", time.monotonic()
                code, output = run.measure(step, head, lambda text: line.update(_escaped(text)))
                run.done += 1
                took = f"{head}: {time.monotonic() - at:.0f} s, {run.progress}"
                console.print(took + (" FAILED" if code else ""), markup=False)
                if code:
                    run.failed.append(step.title)
                    console.print(output[-3000:], markup=False, style="dim")
    except steps.Interrupted as stop:
        interrupted = stop
        console.print(f"\nbench: interrupted ({stop}).")
    if run is None or not run.table:
        console.print(
            "bench: nothing had finished; nothing is changed." if interrupted else "bench: every step failed."
        )
        return 130 if interrupted else 2
    run.progress.keep()
    about = facts(profile, commit, dirty, started, run.store.machine)
    about |= {"seconds": round(time.monotonic() - clock), "done": run.done, "planned": len(plan), "only": only}
    about |= {"again": run.again, "notes": run.notes, "failed": run.failed}
    path = records.run_path(commit, started)
    records.write_run(path, about, run.table)
    terminal.show(console, about, run.table)
    if run.failed:
        console.print(f"bench: failed: {', '.join(run.failed)}", markup=False)
    if interrupted:
        console.print(f"bench: interrupted; what the {run.done} finished of {len(plan)} steps measured is kept.")
    console.print(f"bench: {about['seconds']} s; report:")
    print(static_page.build(path))
    return 130 if interrupted else 2 if run.failed else 0


def _escaped(text):
    from rich.markup import escape

    return escape(text)
