"""Race the implementations of a model, each at the loosest of its tolerances whose answer is certified."""

import contextlib
import functools
import signal
import threading
import time
import warnings

from bench.certificates import least_squares, targets
from bench.peers import adapters
from bench.runner import aot, harness, timing
from bench.suite import data, model_cases

OURS = "jaxinfra"
SECONDS = {"quick": 0.6, "standard": 1.5, "full": 12.0}  # of racing, for one model, problem and dtype
PATIENCE = {"quick": 3.0, "standard": 8.0, "full": 120.0}  # seconds for one call of a peer
OUR_PATIENCE = 120.0  # for one of ours, which compiles
LEFT_OUT = {"quick": ("skglm",)}  # compiles for 10 to 20 s and was the fastest in no race


class _TooSlow(Exception):
    pass


@contextlib.contextmanager
def _patience(seconds):
    """Give a call up after some seconds, where the platform can; compiled code notices between its iterations."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: an exception in a callback from compiled code is printed and dropped there.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def models(family):
    return [model for model, case in model_cases.CASES.items() if case.family == family]


def measured(model):
    """The problems of a model in this profile."""
    return harness.selected(*profiles(model))


def profiles(model):
    """The problems of a model in the full, the standard and the quick profile."""
    case = model_cases.CASES[model]
    return case.problems, case.standard, [model_cases.QUICK[model]] if model in model_cases.QUICK else []


def axes(model):
    """The parameters of a race."""
    return list(adapters.ADAPTERS[model]), list(model_cases.CASES[model].problems), list(harness.DTYPES)


def family_axes(family):
    """The parameters of what we publish of ourselves alone."""
    every = dict.fromkeys(p for model in models(family) for p in model_cases.CASES[model].problems)
    return models(family), list(every), list(harness.DTYPES)


def task(model, problem, dtype):
    case = model_cases.CASES[model]
    X, y = data.load(case.target, problem, dtype)
    return least_squares.Task(X, y, case.hyper(X, y))


def certifier(model, asked):
    """A function that turns an answer into its figures, and the name of the one to hold against the target, if any."""
    if model not in targets.CERTIFICATES:
        return least_squares.certifier(asked), None
    figure, certify = targets.CERTIFICATES[model]
    return lambda answer: {figure: certify(asked, answer)}, figure


def passes(figures, figure, target=targets.TARGET):
    return figure is None or figures[figure] <= target


def loosest(tolerances, good):
    """The first of `tolerances` (loosest first) for which `good(tol)` holds, by bisection; the last if none does."""
    low, high = 0, len(tolerances) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if good(tolerances[middle]) else (middle + 1, high)
    return tolerances[high]


def settle(adapter, asked, certify, figure, patience, target=targets.TARGET):
    """(call, figures) at the loosest tolerance that is certified, or with the best certificate if none is."""
    tried, slow = {}, set()

    def attempt(tol, again=True):
        """Whether a looser tolerance may be enough too."""
        if tol not in tried and tol not in slow:
            try:
                with _patience(patience):
                    call, read = adapter.prepare(asked, tol)
                    start = time.perf_counter()
                    result = call()
                    once = time.perf_counter() - start
            except _TooSlow:
                if again and not tried and not slow:  # the first call of a library also imports it
                    return attempt(tol, again=False)
                slow.add(tol)
            else:
                tried[tol] = {"once": once, **certify(read(result))}
        return tol in slow or passes(tried[tol], figure, target)

    chosen = loosest(adapter.tolerances, attempt)
    attempt(chosen)
    if not tried:
        raise _TooSlow(f"took more than {patience:.0f} s")
    if chosen in slow or not passes(tried[chosen], figure, target):
        chosen = min(tried, key=lambda tol: tried[tol][figure])
    first = next(iter(tried))
    figures = {**tried[chosen], "first_seconds": tried[first]["once"]}
    if chosen == first and len(adapter.tolerances) > 1:
        del figures["once"]  # it may have compiled
    return adapter.prepare(asked, chosen)[0], figures


def measure(model, problem, dtype, seconds, patience):
    """{implementation: time and certificate} of one problem, all in this process."""
    warnings.simplefilter("ignore")  # peers warn at each of thousands of calls; the certificate says it better
    asked = task(model, problem, dtype)
    certify, figure = certifier(model, asked)
    calls, figures, target = {}, {}, targets.target(model)
    for name, adapter in adapters.ADAPTERS[model].items():
        if not adapter.suits(asked) or name in LEFT_OUT.get(harness.profile(), ()):
            continue
        try:
            if name == OURS:
                aot.forget()  # a race before it may have compiled the same program: its first call was no first call
            before = aot.live()
            limit = OUR_PATIENCE if name == OURS else patience
            calls[name], figures[name] = settle(adapter, asked, certify, figure, limit, target)
            if name == OURS:
                figures[name]["kernels"] = aot.kernels_since(before).compiled
        except (harness.SkipNotImplemented, _TooSlow) as reason:
            print(f"{model} {problem} {dtype}: {name} skipped: {reason}")
        except Exception as error:  # one library that cannot do one problem must not stop the others
            print(f"{model} {problem} {dtype}: {name} failed: {error!r}")
    # A long call that compiled nothing needs no second measurement.
    once = {name: values.pop("once", 0.0) for name, values in figures.items()}
    known = {name: seconds for name, seconds in once.items() if name != OURS and seconds > timing.SLOWEST}
    for name, times in timing.alternate(calls, seconds, known).items():
        figures[name] |= times
    if OURS in figures:
        ours = figures[OURS]
        fair = [f["seconds"] for n, f in figures.items() if n != OURS and passes(f, figure, target)]
        if fair and passes(ours, figure, target):
            ours["ratio"] = ours["seconds"] / min(fair)
    return figures


def _race_of(model, problem, dtype):
    """The figures of a race by (model, implementation, ...), and of ours by (model, ...)."""
    profile = harness.profile()
    patience = PATIENCE[profile] if profile == "quick" else model_cases.CASES[model].patience or PATIENCE[profile]
    try:
        raced = measure(model, problem, dtype, SECONDS[profile], patience)
    except (ImportError, FileNotFoundError) as error:
        print(f"{model} {problem} {dtype} skipped: {error}")
        return {}
    figures = {(model, name, problem, dtype): values for name, values in raced.items()}
    return figures | ({(model, problem, dtype): raced[OURS]} if OURS in raced else {})


def work(family):
    """The races of a family in this profile."""
    return [
        harness.Work(
            f"{model_cases.CASES[model].title} on {problem}, {dtype}",
            functools.partial(_race_of, model, problem, dtype),
        )
        for model in models(family)
        for problem in measured(model)
        for dtype in harness.dtypes()
    ]


# asv looks for benchmarks in every module; an underscore hides these bases.
class _Race(harness.Figures):
    """One row an implementation: time and certificate of the same answers."""

    param_names = ("impl", "problem", "dtype")
    track_seconds = harness.figure("seconds", "s")
    track_spread = harness.figure("spread", "median over best, less 1")


class _Gap(_Race):
    track_gap = harness.figure("gap", "duality gap over the null objective")


class _Gradient(_Race):
    track_gradient = harness.figure("gradient", "largest entry of the gradient of the mean")


class _Violation(_Race):
    track_violation = harness.figure("violation", "of the conditions of the dual")


class _Error(_Race):
    track_error = harness.figure("error", "of the largest decision")


class _Ours(harness.Figures):
    """Our best time over the fastest peer's of the same certified accuracy, our first call, and what it compiled."""

    param_names = ("model", "problem", "dtype")
    track_ratio = harness.figure("ratio", "of the fastest peer")
    track_first_call_seconds = harness.figure("first_seconds", "s")
    track_kernels = harness.figure("kernels", "kernels")


class _Warm(harness.Steady):
    """asv's own timing of jaxinfra, with the samples that comparisons between commits need."""

    param_names = ("model", "problem", "dtype")

    def _build(self, model, problem, dtype):
        harness.require(problem, *profiles(model))
        return adapters.ADAPTERS[model][OURS].prepare(task(model, problem, dtype))[0]

    def time_fit(self, *params):
        self._call(*params)()
