"""What every worker shares, see `bench/_worker.py`."""

import json
import os
import sys
from time import perf_counter


def cores():
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def serve(call, **facts):
    """Run `call` once, then once a line; `facts` are told with the time of the first call."""
    start = perf_counter()
    call()
    print(json.dumps({"first_seconds": perf_counter() - start, **facts}), flush=True)
    for _ in sys.stdin:
        call()
        print("done", flush=True)
