"""Compare two commits in three tiers, strictest where noise is least. Run as a script it is the noise probe.

1 compiled programs and retraces: exact, fail at more than 2 %
2 ratios to the fastest peer from one process: fail at more than 10 %
3 warm times: pinned to one core, rounds of both commits in turns, fail at more than 15 % and once more when repeated
"""

import os
import re
import subprocess
import sys

from . import _results, _run

SMALL = "1000x20,1000x20x5,diabetes"  # of each kind of problem, small enough for many rounds
TIERS = (
    ("compiled programs and retraces", 1.02, r"^(program\.|compile\..*retraces)", [], ""),
    ("ratios to the fastest peer", 1.10, r"^\w+\.Ours\.track_ratio", [], SMALL),
    ("warm times", 1.15, r"^\w+\.Warm", ["-a", "rounds=4"], SMALL),
)
THRESHOLD = 0.15
PROBES = 6


def probe():
    """The best time of one warm fit in this process, alone on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX makes its threads
    from . import _compare, _peers, _race

    call, _ = _peers.ADAPTERS["ols"][_compare.OURS].prepare(_compare.task("ols", "1000x20", "float32"))
    call()
    return _race.alternate({"fit": call}, 1.0)["fit"]["seconds"]


def noise(say):
    """Exit code 3 if fresh processes measuring the same code differ by more than half of what the gate looks for."""
    command = [sys.executable, "-m", "bench._gate"]
    times = [float(subprocess.check_output(command, cwd=_results.ROOT, text=True)) for _ in range(PROBES)]
    # The slowest may have been hit by another program; rounds in turns absorb one such hit.
    spread = sorted(times)[-2] / min(times) - 1
    say(f"bench: {PROBES} processes with the same code: {min(times) * 1e6:.0f} µs, spread {spread:.1%}")
    if spread > THRESHOLD / 2:
        say(f"bench: this machine is too noisy to tell {THRESHOLD:.0%}; close other programs and try again.")
        return 3
    return 0


def _core():
    return str(max(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


def _continuous(base, head, factor, regexes, options, only):
    pin = ["--cpu-affinity", _core()] if _core() else []
    arguments = ["continuous", "--show-stderr", "--split", "-f", str(factor), *pin, *options]
    for regex in regexes:
        arguments += ["-b", regex]
    env = {"JAXINFRA_BENCH": "full" if only else "quick", **({"JAXINFRA_BENCH_ONLY": only} if only else {})}
    code, output = _run.asv([*arguments, base, head], env, echo=print)
    # A row of asv's comparison that got worse: | + | before | after | ratio | name(parameters) |
    worse = re.findall(r"^\|\s*\+\s*\|(?:[^|]*\|){3}\s*(\S.*?)\s*\|$", output, flags=re.MULTILINE)
    return code, [name.split(" [")[0] for name in worse]


def main(base, head):
    # Names move while the gate runs; hashes do not.
    base, head = _run.git("rev-parse", base), _run.git("rev-parse", head)
    _run.machine()
    found = False
    for title, factor, regex, options, only in TIERS:
        print(f"bench: {title}, factor {factor}")
        timed = title == "warm times"
        if timed and (code := noise(print)):
            return 1 if found else code
        code, worse = _continuous(base, head, factor, [regex], options, only)
        if code == 1 and timed and worse:
            print(f"bench: once more, to be sure: {', '.join(worse)}")
            again = [f"^{re.escape(name)}$" for name in worse]
            code, worse = _continuous(base, head, factor, again, options, only)
        if code > 1:
            return 2
        found = found or code == 1
        if worse:
            print(f"bench: regression in {title}: {', '.join(worse)}")
    print("bench: regression" if found else "bench: no regression")
    return int(found)


if __name__ == "__main__":
    print(probe())
