"""A separate process for each implementation of a network, so that no library disturbs another one's threads.

The modules in `workers` have `main(implementation, case, folder)`. In the folder they find the parameters and batches
that the reference wrote and leave their gradient of the first batch. Then every line that they read runs one call.
They are no part of the package: PyTorch lives in another Python.  (No `processes`: asv takes a module's attribute of
that name for an option.)
"""

import contextlib
import subprocess
from pathlib import Path

BENCH = Path(__file__).parents[1]
START = "import sys; sys.path += sys.argv[1:3]; __import__(sys.argv[3]).main(*sys.argv[4:])"


class Failed(Exception):
    pass


def command(python, module, *arguments):
    """The command that starts a module of `workers`, with its neighbours, `network_cases` and jaxinfra importable."""
    return [str(python), "-c", START, str(BENCH / "suite"), str(BENCH / "workers"), module, *map(str, arguments)]


class Worker:
    """One running implementation; calling it runs one call there."""

    def __init__(self, python, module, implementation, case, folder):
        self.log = Path(folder) / f"{implementation}.log"  # not a pipe: one that nobody reads fills up
        run, pipe = command(python, module, implementation, case, folder), subprocess.PIPE
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(run, stdin=pipe, stdout=pipe, stderr=log, text=True)
        try:
            self.first_seconds = float(self._read())
        except BaseException:
            self.close()
            raise

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise Failed(self.log.read_text().strip()[-2000:] or f"ended with {code}")
        return line

    def __call__(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._read()

    def close(self):
        self.process.kill()  # it waits for a line, or has no more output
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
