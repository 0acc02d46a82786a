"""Warm fits of the jaxinfra that this process finds first, see `bench/commands/gate.py`.

A line "model problem" prepares a fit, runs it once and answers with the seconds, or with the reason why not; an empty
line runs it again.
"""

import sys
from time import perf_counter


def main(root):
    sys.path.append(root)  # the benchmarks of the checkout, after the jaxinfra to measure
    from bench.peers import adapters, compare

    call = None
    for line in sys.stdin:
        answer = "done"
        if case := line.split():
            try:
                task = compare.task(*case, "float32")
                call, _ = adapters.ADAPTERS[case[0]][compare.OURS].prepare(task)
                start = perf_counter()
                call()
                answer = f"{perf_counter() - start}"
            except Exception as error:  # a model that one of the commits does not have
                answer = f"failed {error!r}".replace("\n", " ")
        else:
            call()
        print(answer, flush=True)
