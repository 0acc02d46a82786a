"""The tables that the terminal and the report show, as plain data."""

import math
from typing import NamedTuple

from bench.certificates import least_squares, targets
from bench.suite import model_cases, network_cases

OURS = "jaxinfra"
# Samples of a quiet machine spread by 1 to 10 % (median over best): above this the row is marked.
SPREAD = 0.15
NOISE_MARK = "≈"
CASES = {**model_cases.CASES, **network_cases.CASES}


class Cell(NamedTuple):
    seconds: float
    digits: float | None = None
    excess: float | None = None
    certificate: float | None = None  # gap, gradient, violation or error, by the model
    target: float = targets.TARGET
    spread: float = 0.0  # of the samples: median over best, less 1

    @property
    def certified(self):
        """False if the answer is too far from the optimum for its time to count."""
        return self.certificate is None or self.certificate <= self.target


class Row(NamedTuple):
    problem: str
    dtype: str
    cells: dict  # {implementation: Cell}
    first_call: float | None
    kernels: float | None = None  # of the programs that the first call compiled
    noise: float = 0.0  # of the machine: two measurements of the same differ by as much

    @property
    def fastest_peer(self):
        found = {name: cell.seconds for name, cell in self.cells.items() if peer(name) and cell.certified}
        return min(found, key=found.get) if found else None

    @property
    def best(self):
        """The shortest of the times that count."""
        return min((cell.seconds for cell in self.cells.values() if cell.certified), default=None)

    @property
    def ratio(self):
        """Our time over the fastest peer's, both certified and from the same race."""
        peer, ours = self.fastest_peer, self.cells.get(OURS)
        return ours.seconds / self.cells[peer].seconds if peer and ours and ours.certified else None

    @property
    def noisy(self):
        """Whether the samples of the two that are compared spread more than `SPREAD`."""
        compared = [self.cells[name].spread for name in (OURS, self.fastest_peer) if name in self.cells]
        return max(compared, default=0.0) > SPREAD

    @property
    def comparison(self):
        """The comparison in words, `2.1× faster` or `1.3× slower`, which need no colour; `as fast` within the noise."""
        if self.ratio is None:
            return "–"
        if abs(math.log(self.ratio)) <= math.log1p(self.noise):
            return "as fast"
        return f"{1 / self.ratio:.3g}× faster" if self.ratio <= 1 else f"{self.ratio:.3g}× slower"

    @property
    def break_even(self):
        """After how many fits the first call is paid for; None if never."""
        if self.first_call is None or self.ratio is None or self.ratio >= 1:
            return None
        return self.first_call / (self.cells[self.fastest_peer].seconds - self.cells[OURS].seconds)


def peer(name):
    """Whether an implementation is none of ours."""
    return not name.startswith(OURS)


def correct(lost, dtype):
    return None if lost is None else least_squares.capacity(dtype) - lost


def figure_of(model):
    """The figure that is a model's certificate, such as gap or gradient; None for least squares, which has digits."""
    return "error" if model in network_cases.CASES else targets.CERTIFICATES.get(model, (None,))[0]


def target(model):
    """The value that the certificate must not exceed."""
    return network_cases.TARGET if model in network_cases.CASES else targets.target(model)


def certificate(model, cell):
    """The certificate of an answer in words, or its digits; empty if neither was measured."""
    if cell.certificate is not None:
        text = f"{figure_of(model)} {cell.certificate:.0e}"
        return text if cell.certified else f"{text}, not certified"
    return "" if cell.digits is None else f"{cell.digits:.1f} digits"


def points(table):
    """[(model and problem, dtype, how many times faster than the fastest peer)] of every race that has one."""
    found = [(model, row) for model in CASES for row in races(table, model)[0] if row.ratio]
    return [(f"{CASES[model].title}, {row.problem}", row.dtype, 1 / row.ratio) for model, row in found]


def races(table, model):
    """The rows of one model, in the order of asv's parameters, and its implementations."""
    case = CASES[model]
    name = f"{case.family}.{case.name}.track_"
    seconds = table.get(name + "seconds", {})
    certificates = [
        table.get(f"{name}{figure}", {}) for figure in ("lost_digits", "excess_objective", figure_of(model))
    ]
    first, kernels = (table.get(f"{case.family}.Ours.track_{n}", {}) for n in ("first_call_seconds", "kernels"))
    spread, moved = table.get(name + "spread", {}), noise(table)
    rows = {}
    for (impl, problem, dtype), value in seconds.items():
        key = (impl, problem, dtype)
        ours = model, problem, dtype
        compiled = kernels.get(ours) != 0  # else an earlier race had: there was no first call
        begun = (first.get(ours), kernels.get(ours)) if compiled else (None, None)
        new = Row(problem, dtype, {}, *begun, moved.get(dtype, 0.0))
        row = rows.setdefault((problem, dtype), new)
        lost, excess, found = (figures.get(key) for figures in certificates)
        row.cells[impl] = Cell(value, correct(lost, dtype), excess, found, target(model), spread.get(key) or 0.0)
    impls = list(dict.fromkeys(impl for impl, *_ in seconds))
    return list(rows.values()), impls


def noise(table):
    """{dtype: by how much two measurements of the same call differ on this machine}."""
    return {dtype: value for (dtype,), value in table.get("selfcheck.Machine.track_noise_ratio", {}).items()}


def moved(table, again):
    """By how much the machine's peaks changed between the start of a run and its end; 0 if not known."""
    change = 0.0
    for what in ("product", "copy"):
        name = f"selfcheck.Machine.track_{what}_seconds"
        later = {tuple(key): value for key, value in again.get(name, ())}
        for key, value in table.get(name, {}).items():
            if key in later:
                change = max(change, max(value, later[key]) / min(value, later[key]) - 1)
    return change


def nist(table):
    """{dtype: {set: {implementation: correct digits}}} and the implementations."""
    found, impls = {}, []
    for (impl, name, dtype), value in table.get("nist.Nist.track_lost_digits", {}).items():
        found.setdefault(dtype, {}).setdefault(name, {})[impl] = correct(value, dtype)
        if impl not in impls:
            impls.append(impl)
    return found, impls


def learned(table):
    """[(title, {implementation: share of held-out rows that are wrong})]."""
    found = {}
    for (impl, problem), value in table.get("networks.Learned.track_error_rate", {}).items():
        found.setdefault(problem, {})[impl] = value
    return [(network_cases.LESSONS[problem].title, values) for problem, values in found.items()]


def compiling(table):
    """[(model, problem, dtype, {stage: seconds})]."""
    rows = {}
    for stage in ("trace", "lower", "compile", "first_call", "second_process"):
        for key, value in table.get(f"compile.Compile.track_{stage}_seconds", {}).items():
            rows.setdefault(key, {})[stage] = value
    retraces = table.get("compile.Compile.track_retraces", {})
    for key, row in rows.items():
        row["retraces"] = retraces.get(key)
    return [(*key, row) for key, row in rows.items()]


def programs(table):
    """[(target, model, problem, dtype, {figure: value})]."""
    rows = {}
    for target in ("CPU", "TPU", "H100"):
        for name in ("kernels", "copies", "hlo_instructions", "temp_bytes", "flops", "bytes_accessed"):
            for (fit,), value in table.get(f"program.{target}.track_{name}", {}).items():
                rows.setdefault((target, *fit.split(" ")), {})[name] = value
    return [(*key, row) for key, row in rows.items()]


def duration(seconds):
    """A time with three digits and a unit."""
    unit, scale = next((u for u in (("s", 1.0), ("ms", 1e-3)) if seconds >= u[1]), ("µs", 1e-6))
    value = seconds / scale
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def size(count):
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"


def number(count):
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f}"
