"""Figures as asv's results: its own classes write them, into the file that `asv run` would write.

asv.conf.json asks for the newest version of every library, which is what `make bench` installs: the same environment
to asv, so that its pages have one history.
"""

import datetime
import itertools
import os
import sys
import tempfile
from pathlib import Path

from bench.runner import records, steps


class Store:
    """The results of `commit`."""

    def __init__(self, commit):
        from asv.config import Config
        from asv.environment import get_environments
        from asv.machine import Machine
        from asv.repo import get_repo

        name, results = steps.machine(), str(records.ASV / "results")
        conf = Config.load(str(records.ROOT / "asv.conf.json"))
        conf.repo, conf.results_dir = str(records.ROOT), results
        conf.benchmark_dir, conf.env_dir = str(records.ROOT / "bench"), str(records.ASV / "env")
        here = next(get_environments(conf, [f"existing:{sys.executable}"], verbose=False))
        env = next(get_environments(conf, None, verbose=False), here)  # described, not made
        machine = Machine.load(machine_name=name)
        machine.save(results)
        self._env = {**vars(machine), "python": env.python, **env.requirements}, env.requirements
        self._about = commit, get_repo(conf).get_date(commit), env.python, env.name, env.env_vars
        self.machine = vars(machine)
        self._benchmarks = self._discover(conf, here)

    def _discover(self, conf, env):
        """asv's own description of every benchmark, which its pages need."""
        from asv.benchmarks import Benchmarks
        from asv.repo import NoRepository

        # As `asv check` does: the benchmarks of this folder, imported by this Python.
        found = Benchmarks.discover(conf, NoRepository(), [env], [None])
        found.save()
        return found

    def add(self, published):
        """Merge {benchmark: {parameter values: number}} into the stored results; the file is replaced atomically."""
        from asv.results import Results, get_filename
        from asv.runner import BenchmarkResult

        folder = records.ASV / "results"
        path = folder / get_filename(self.machine["machine"], self._about[0], self._about[3])
        results = Results.load(str(path)) if path.exists() else Results(*self._env, *self._about)
        for name, values in published.items():
            about = self._benchmarks[name]
            combinations = [tuple(v.strip("'") for v in each) for each in itertools.product(*about["params"])]
            measured = [i for i, each in enumerate(combinations) if each in values]
            row, none = [values.get(each) for each in combinations], [None] * len(combinations)
            result = BenchmarkResult(row, list(none), list(none), 0, "", None)
            now = datetime.datetime.now(datetime.UTC)
            results.add_result(about, result, started_at=now, selected_idx=set(measured))
        with tempfile.TemporaryDirectory(dir=records.ASV, prefix="staging-") as stage:
            results.save(stage)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(stage) / path.relative_to(folder), path)
