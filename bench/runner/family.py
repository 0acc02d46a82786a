"""One process measures a family: `python -m bench.runner.family MODULE [TEXT]`, the works whose title contains TEXT.

Each finished work is a line of JSON, [title, seconds, [[key, figures], ...]], and waits for a line of its reader, who
stores it meanwhile: nothing else runs beside a race.
"""

import importlib
import json
import os
import sys
import time


def main(name, only=""):
    # Libraries print: their output goes to the log, only the lines of JSON to the reader.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for work in importlib.import_module(f"bench.{name}").work():
        if only not in work.title:
            continue
        start = time.perf_counter()
        figures = work.measure()
        seconds = time.perf_counter() - start
        # NumPy's numbers become Python's.
        rows = [[key, {n: float(v) for n, v in row.items()}] for key, row in figures.items()]
        print(json.dumps([work.title, seconds, rows]), file=lines, flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
