"""The compiled programs of several commits, by asv, and the page of their history.

asv builds the package of each commit, measures the figures without noise, and publishes them; asv-tachyon shows them
without resources from outside.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.runner import records, selection, steps

_PROGRESS = re.compile(r"\s*(\[[ \d.]+%\] )?(·{1,2} |·{3}.*(failed|[Ee]rror))|\s*\w*Error")  # without asv's tables
PATTERN = r"^program\.CPU"
COMMIT_SECONDS, SETUP_SECONDS = 75, 150  # on 2 cores: one commit; the environment, once


def _measured(results):
    """asv's descriptions of the benchmarks that have a number in some commit: empty cards would hide them."""
    known = records.read_json(results / "benchmarks.json")
    seen = set()
    for path in records.result_files(results.parent):
        rows = (records.read_json(path) or {}).get("results", {})
        seen |= {name for name, row in rows.items() if row and row[0]}
    return {name: about for name, about in known.items() if name in seen or not isinstance(about, dict)}


def publish():
    """Write asv's pages from all stored results, with asv-tachyon's in front; the folder."""
    with tempfile.TemporaryDirectory(dir=records.ASV, prefix="staging-") as folder:
        stage = Path(folder)
        shutil.copytree(records.ASV / "results", stage / "results")
        (stage / "results" / "benchmarks.json").write_text(json.dumps(_measured(stage / "results")))
        code, output = steps.asv(["--config", str(steps.configuration(stage)), "publish"], {})
    if code:
        raise steps.Failed(f"asv publish failed:\n{output[-2000:]}")
    html = records.ASV / "html"
    subprocess.run([sys.executable, "-m", "asv_tachyon", "install", str(html)], check=True, stdout=subprocess.DEVNULL)
    return html


def main(commits, only=""):
    pattern = only or PATTERN
    if not selection.matches([pattern]):
        print(f"bench: no benchmark matches {pattern!r}; the modules are {', '.join(selection.MODULES)}")
        return 2
    selected = steps.git("rev-list", "--first-parent", commits).split()  # as asv counts
    if not selected:
        print(f"bench: there are no commits in {commits}")
        return 2
    built = (records.ASV / "env").exists()
    minutes = (COMMIT_SECONDS * len(selected) + (0 if built else SETUP_SECONDS)) / 60
    print(f"bench: {pattern} of {len(selected)} commits, at most {minutes:.0f} min on 2 cores", flush=True)
    start, _ = time.monotonic(), steps.machine()
    arguments = ["run", "--skip-existing-successful", "--show-stderr", "-b", pattern, commits]
    code, _ = steps.asv(arguments, {}, echo=lambda line: print(line, flush=True) if _PROGRESS.match(line) else None)
    if code:
        print(f"bench: asv ended with {code}")
        return 2
    html = publish()
    print(f"bench: {time.monotonic() - start:.0f} s; the page is in {html}; it needs a server:")
    print(f"{sys.executable} -m asv_tachyon serve {html}")
    return 0
