"""The common part of the workers, see `bench/runner/process.py`."""

import os
import sys
from time import perf_counter


def cores():
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def serve(call):
    """Run `call` once and tell its time, then once a line."""
    start = perf_counter()
    call()
    print(perf_counter() - start, flush=True)
    for _ in sys.stdin:
        call()
        print("done", flush=True)
