"""Building blocks of the benchmark classes. One class measures in one regime:

`Figures`  several figures measured together by `setup_cache` in one process, published by one `track_` method each;
           `work` of its module lists the same measurements one by one for `python -m bench`
`Steady`   asv times a warm call itself, with samples, for statistics between commits

No class defines a `setup` hook: asv_runner >= 0.3 then forces number=1 and runs the hook before every sample.
Lower is better everywhere, because asv assumes it.
"""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from asv_runner.benchmarks.mark import SkipNotImplemented

DTYPES = ("float32", "float64")
PROFILES = ("quick", "standard", "full")


class Work(NamedTuple):
    """One measurement of a family: `measure()` returns {(*key, *params): {figure: value}}."""

    title: str
    measure: Callable


def gather(works):
    """The figures of all `works`, one after the other."""
    figures = {}
    for work in works:
        figures |= work.measure()
    return figures


def published(module, figures):
    """{benchmark as asv names it: {parameter values: number}}: what the classes of a module publish of `figures`."""
    found = {}
    for name, kind in vars(module).items():
        if name.startswith("_") or not (isinstance(kind, type) and issubclass(kind, Figures)):
            continue
        start = len(kind.key)
        for method in filter(re.compile("track_").match, dir(kind)):
            values = {
                key[start:]: row[getattr(kind, method).figure]
                for key, row in figures.items()
                if key[:start] == kind.key
                and len(key) == start + len(kind.params)
                and all(value in axis for value, axis in zip(key[start:], kind.params, strict=True))
                and row.get(getattr(kind, method).figure) is not None
            }
            if values:
                found[f"{module.__name__.rpartition('.')[2]}.{name}.{method}"] = values
    return found


def profile():
    """`quick`, `standard` or `full`, from the environment. Parameters never depend on it: what it leaves out is
    skipped."""
    name = os.environ.get("JAXINFRA_BENCH", "quick")
    if name not in PROFILES:
        raise ValueError(f"JAXINFRA_BENCH must be one of {', '.join(PROFILES)}, got {name!r}")
    return name


def selected(full, standard, quick=()):
    """The names that this profile measures."""
    return list({"quick": quick, "standard": standard, "full": full}[profile()])


def dtypes():
    """The dtypes that this profile measures. Quick has float64 alone: in float32 many peers miss the certificate."""
    return DTYPES[1:] if profile() == "quick" else DTYPES


def require(name, full, standard, quick=()):
    """Skip the running benchmark unless its profile measures `name`."""
    if name not in selected(full, standard, quick):
        raise SkipNotImplemented(f"{name} is not in the {profile()} profile")


def start_jax():
    """JAX with 64-bit types allowed: float64 problems need it and float32 ones still compute in float32."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def block(result):
    """Wait for every array of a result: JAX returns before the work is done."""
    import jax

    # The others, hyper-parameters of a fit, are there; beside them JAX would wait for its arrays one by one.
    jax.block_until_ready([leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, jax.Array)])
    return result


def figure(name, unit):
    """A `track_` method that publishes one measured figure."""

    def track(self, figures, *params):
        value = figures.get((*self.key, *params), {}).get(name)
        if value is None:
            raise SkipNotImplemented(f"no {name} for {params}")
        return value

    track.unit = unit
    track.figure = name
    return track


class Figures:
    """Base of classes whose `setup_cache` returns {(*key, *params): {figure: value}}.

    The subclass defines `setup_cache` in its own module, since asv keys the cache by where it is written.
    """

    key = ()
    timeout = 60
    version = "1"


class Steady:
    """Base of warm timings. `_build(*params)` returns the call to time and is run once a process."""

    number = 1  # explicit: a first call that compiles would spoil asv's calibration
    warmup_time = 0.2
    repeat = (5, 20, 2.0)
    rounds = 2
    timeout = 120
    version = "1"
    _built = {}

    def _call(self, *params):
        key = (type(self).__name__, *params)
        if key not in self._built:
            call = self._build(*params)
            block(call())
            self._built[key] = call
        return self._built[key]
