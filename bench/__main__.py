"""python -m bench: measure the current commit, compare commits, write the report.

    quick            the main cases on the current commit, about half an hour    (what `make bench` runs)
    full             every size
    report           rebuild the report from the stored results
    gate BASE HEAD   compare two commits: exit 1 regression, 2 broken, 3 this machine is too noisy to tell
    aa               how far two measurements of the same code differ here
    offline          make asv's own site (`asv publish`) work without a network

Each finished step is stored at once as asv results of the current commit. Interrupt it: they are kept.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import time

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


def steps(profile):
    """What is run one after the other; results are stored after each."""
    from . import _cases, _compare, networks
    from ._run import Step

    os.environ["JAXINFRA_BENCH"] = profile
    plan = [Step("machine: noise and peaks", r"^selfcheck\.")]
    for family, title in _cases.FAMILIES.items():
        for problem in _compare.problems(family):
            plan.append(Step(f"{title} on {problem}", rf"^{family}\.(?!Warm|Overhead)\w+\..*'{problem}'", problem))
    for problem in networks.PROBLEMS:
        plan.append(Step(f"networks on {problem}", rf"^networks\.(?!Warm|Learned)\w+\..*'{problem}'", problem))
    plan += [
        Step("networks after training", r"^networks\.Learned"),
        Step("certified digits (NIST)", r"^nist\."),
        Step("call overhead", r"^regression\.Overhead"),
        Step("compile, first call, second process", r"^compile\."),
        Step("compiled programs: CPU, TPU v5e, H100", r"^program\."),
        Step("import and memory", r"^imports\."),
    ]
    if profile == "full":
        plan.append(Step("warm times with samples", r"^\w+\.Warm"))
    return plan


def facts(profile, commit, dirty, started, done, planned):
    """What the report says about the run."""
    from . import networks
    from .workers.serving import cores

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
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started),
        "steps_done": done,
        "steps_planned": planned,
        "python": platform.python_version(),
        "cores": cores(),
        "versions": versions,
        "platforms": os.environ.get("JAX_PLATFORMS", ""),
    }


def measure(profile, only, verbose):
    from rich.console import Console

    from . import _report, _results, _run, _terminal

    console = Console(highlight=False)
    started = time.monotonic()
    try:
        commit = _run.git("rev-parse", "HEAD")
    except (_run.Failed, FileNotFoundError):
        console.print("bench: results are stored by commit; run this in a git clone with at least one commit.")
        return 2
    dirty = bool(_run.git("status", "--porcelain", "--untracked-files=no"))
    if dirty:
        console.print("bench: uncommitted changes are measured too, and stored under the current commit.")
    every = steps(profile)
    plan = [step for step in every if only in step.title]
    if not plan:
        console.print(f"bench: no step has {only!r} in its title; the titles are:", markup=False)
        console.print("\n".join(f"  {step.title}" for step in every), markup=False)
        return 2
    console.print(f"bench: {profile} profile of commit {commit[:8]}, {len(plan)} steps")
    failed, done, interrupted = [], 0, None
    try:
        with _run.interruptible():
            name = _run.machine()
            for number, step in enumerate(plan, 1):
                console.print(f"[{number:2}/{len(plan)}] {step.title} ...", end="" if not verbose else "\n")
                at = time.monotonic()
                echo = (lambda line: console.print(f"      {line}", markup=False)) if verbose else None
                code, output = _run.run_step(step, commit, name, profile, echo)
                console.print(f" {time.monotonic() - at:.0f} s" + (" FAILED" if code else ""))
                done += 1
                if code:
                    failed.append(step.title)
                    console.print(output[-3000:], markup=False, style="dim")
    except _run.Interrupted as stop:
        interrupted = stop
        console.print(f"\nbench: interrupted ({stop}).")
    if done == 0:
        console.print("bench: no step had finished; nothing is changed.")
        return 130
    if _results.stored(commit=commit) is None:
        console.print("bench: every step failed; there is nothing to report.")
        return 2
    about = facts(profile, commit, dirty, started, done, len(plan))
    _results.write(_results.run_file(commit), json.dumps(about, indent=1))
    _terminal.show(console, commit)
    if failed:
        console.print(f"bench: failed: {', '.join(failed)}")
    if interrupted:
        console.print(f"bench: interrupted; the results of the {done} finished of {len(plan)} steps are kept.")
    console.print(f"bench: {about['seconds']} s; report:")
    print(_report.build(commit))
    return 130 if interrupted else 2 if failed else 0


def report():
    from . import _report, _results

    data = _results.stored()
    if data is None:
        print("bench: no results yet; run `python -m bench quick` first.")
        return 2
    print(_report.build(data["commit_hash"]))
    return 0


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["quick", "full", "report", "gate", "aa", "offline"])
    parser.add_argument("commits", nargs="*", help="gate: BASE HEAD")
    parser.add_argument("--only", default="", metavar="TEXT", help="quick, full: the steps whose title contains TEXT")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what asv prints")
    options = parser.parse_args(arguments)
    if options.command in ("quick", "full"):
        return measure(options.command, options.only, options.verbose)
    if options.command == "report":
        return report()
    if options.command == "offline":
        from . import _offline

        return _offline.main()
    from . import _gate, _run

    if options.command == "gate" and len(options.commits) != 2:
        parser.error("gate needs two commits: BASE HEAD")
    try:
        with _run.interruptible():
            return _gate.noise(print) if options.command == "aa" else _gate.main(*options.commits)
    except _run.Interrupted as stop:
        print(f"bench: interrupted ({stop}); nothing was decided.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
