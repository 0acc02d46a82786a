"""Time several implementations against each other in one process.

They take turns, so that a slow minute of the machine hits all of them. The best sample counts: it is the one that
other programs disturbed least.
"""

import gc
import statistics
from time import perf_counter, sleep

SAMPLE = 2e-3  # a timed sample lasts at least this long, well above the resolution of the clock
FEWEST, MOST = 3, 40
TURN = 5  # samples in a turn
# Seconds between turns: BLAS threads spin for some 20 ms after their last call and take a core from whoever comes next.
PAUSE = 0.03
SLOW, SLOWEST = 0.2, 1.0  # seconds: needs no warming up before each sample; is measured once


def _timed(call, number):
    start = perf_counter()
    for _ in range(number):
        call()
    return (perf_counter() - start) / number


def alternate(calls, seconds, known=None):
    """Run each of `calls` ({name: blocking function}) for an equal share of `seconds`, in turns.

    Returns {name: {"seconds": best, "median_seconds": ..., "spread": median / best - 1, "samples": count}}.
    Every call has run once before; `known` are times so long that they need no second measurement.
    """
    known = known or {}
    warm = {name: known[name] if name in known else _timed(call, 1) for name, call in calls.items()}
    number = {name: max(1, round(SAMPLE / max(once, 1e-7))) for name, once in warm.items()}
    samples = {name: [once] if once > SLOW else [] for name, once in warm.items()}
    spent = {name: sum(values) for name, values in samples.items()}
    share = seconds / max(len(calls), 1)
    order = list(calls)

    def wants_more(name):
        done = len(samples[name])
        return done < (1 if warm[name] > SLOWEST else FEWEST) or (done < MOST and spent[name] < share)

    collecting = gc.isenabled()
    gc.disable()
    try:
        while running := [name for name in order if wants_more(name)]:
            for name in running:
                sleep(PAUSE)
                # Untimed: it brings the caches and the thread pool back to this library, whoever ran before.
                if warm[name] < SLOW:
                    spent[name] += _timed(calls[name], 1)
                for _ in range(TURN):
                    sample = _timed(calls[name], number[name])
                    spent[name] += sample * number[name]
                    samples[name].append(sample)
                    if not wants_more(name):
                        break
            order.reverse()
    finally:
        if collecting:
            gc.enable()
    return {
        name: {
            "seconds": min(values),
            "median_seconds": statistics.median(values),
            "spread": statistics.median(values) / min(values) - 1,
            "samples": len(values),
        }
        for name, values in samples.items()
    }
