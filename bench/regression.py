"""Least squares: jaxinfra beside its peers on every problem, and its own warm times between commits."""

import warnings
from time import perf_counter

from . import _certificate, _data, _harness, _peers, _race

OURS = "jaxinfra"
L2 = 0.01
_PROBLEMS = [*_data.REAL, *_data.SYNTHETIC]
_QUICK = [*_data.REAL, "1000x20", "20000x500", "200000x50"]
# A column of ones makes the wide problem's minimum-norm solution another one for each library.
_PROBLEMS_OF = {"ols": [p for p in _PROBLEMS if p != "200x2000"], "ridge": _PROBLEMS, "ridge_path": _PROBLEMS}
# RidgeCV takes a singular value decomposition of all rows: tens of seconds for the large problems.
_PATH_QUICK = [*_data.REAL, "1000x20"]
SECONDS = {"quick": 3.0, "full": 12.0}  # for one model, problem and dtype


def problems():
    """What the profile measures; the command line runs and stores one problem after the other."""
    return _harness.selected(_PROBLEMS, _QUICK)


def measure(model, problem, dtype, seconds):
    """{implementation: time and certificate} of one problem, all in this process."""
    warnings.simplefilter("ignore")  # peers warn at each of thousands of calls; the certificate says it better
    X, y = _data.problem(problem, dtype)
    task = _certificate.Task(X, y, L2 if model == "ridge" else 0.0)
    calls, answers, first = {}, {}, {}
    for name, prepare in _peers.ADAPTERS[model].items():
        try:
            call, read = prepare(task)
            start = perf_counter()
            result = call()
            first[name] = perf_counter() - start
            calls[name], answers[name] = call, read(result)
        except _harness.SkipNotImplemented:
            continue
        except Exception as error:  # one library that cannot do one problem must not stop the others
            print(f"{model} {problem} {dtype}: {name} failed: {error!r}")
    # Nothing compiles in the first call of a peer, so a long one is as good as a warm one.
    known = {name: once for name, once in first.items() if name != OURS and once > _race.SLOWEST}
    figures = _race.alternate(calls, seconds, known)
    exact = {}
    for name, answer in answers.items():
        asked = task._replace(l2=answer.l2) if answer.l2 is not None else task
        if asked.l2 not in exact:
            exact[asked.l2] = _certificate.reference(asked)
        figures[name]["first_seconds"] = first[name]
        figures[name] |= _certificate.certify(asked, answer, exact[asked.l2])
    return figures


def _measure_all():
    figures = {}
    for problem in problems():
        for model in _peers.ADAPTERS:
            if problem not in _PROBLEMS_OF[model]:
                continue
            if model == "ridge_path" and _harness.profile() == "quick" and problem not in _PATH_QUICK:
                continue
            for dtype in _harness.DTYPES:
                raced = measure(model, problem, dtype, SECONDS[_harness.profile()])
                for name, values in raced.items():
                    figures[model, name, problem, dtype] = values
                if OURS in raced and len(raced) > 1:
                    fastest = min(values["seconds"] for name, values in raced.items() if name != OURS)
                    figures[model, problem, dtype] = {
                        "ratio": raced[OURS]["seconds"] / fastest,
                        "first_seconds": raced[OURS]["first_seconds"],
                    }
    return figures


class _Regression(_harness.Figures):
    def setup_cache(self):
        return _measure_all()

    setup_cache.timeout = 3600


class _Race(_Regression):
    """One row an implementation: time and quality from the same answers."""

    param_names = ("impl", "problem", "dtype")
    track_seconds = _harness.figure("seconds", "s")
    track_lost_digits = _harness.figure("lost_digits", "decimal digits")
    track_excess_objective = _harness.figure("excess_objective", "of the null model")


class OLS(_Race):
    key = ("ols",)
    params = (list(_peers.ADAPTERS["ols"]), _PROBLEMS, list(_harness.DTYPES))


class Ridge(_Race):
    key = ("ridge",)
    params = (list(_peers.ADAPTERS["ridge"]), _PROBLEMS, list(_harness.DTYPES))


class RidgePath(_Race):
    """A whole path of penalties with the leave-one-out error of each."""

    key = ("ridge_path",)
    params = (list(_peers.ADAPTERS["ridge_path"]), _PROBLEMS, list(_harness.DTYPES))


class Ours(_Regression):
    """Our best time over the fastest peer's, and our first call: trace, compile and run."""

    params = (list(_peers.ADAPTERS), _PROBLEMS, list(_harness.DTYPES))
    param_names = ("model", "problem", "dtype")
    track_ratio = _harness.figure("ratio", "of the fastest peer")
    track_first_call_seconds = _harness.figure("first_seconds", "s")


class Warm(_harness.Steady):
    """asv's own timing of jaxinfra, with the samples that comparisons between commits need."""

    params = (["ols", "ridge"], _PROBLEMS, list(_harness.DTYPES))
    param_names = ("model", "problem", "dtype")

    def _build(self, model, problem, dtype):
        _harness.require(problem, _PROBLEMS_OF[model], _QUICK)
        X, y = _data.problem(problem, dtype)
        return _peers.ADAPTERS[model][OURS](_certificate.Task(X, y, L2))[0]

    def time_fit(self, *params):
        self._call(*params)()


class Overhead(_harness.Steady):
    """The public verb beside its bare compiled program, on a problem so small that the difference is the wrapper."""

    number = 200
    params = (["public", "compiled"], ["ols", "ridge"])
    param_names = ("call", "model")

    def _build(self, call, model):
        jax = _harness.start_jax()
        X, y = _data.problem("linnerud", "float32")
        public, _ = _peers.ADAPTERS[model][OURS](_certificate.Task(X, y, L2))
        if call == "public":
            return public
        import jaxinfra as ji

        X, y = jax.device_put(X), jax.device_put(y)
        options = {"l2": L2} if model == "ridge" else {}
        program = jax.jit(lambda X, y: getattr(ji, model).fit(X, y, **options)).lower(X, y).compile()
        return lambda: _harness.block(program(X, y))

    def time_call(self, *params):
        self._call(*params)()
