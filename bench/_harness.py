"""What the benchmark classes are made of. One class measures in one regime:

`Figures`  several figures measured together by `setup_cache` in one process, published by one `track_` method each
`Steady`   asv times a warm call itself, with samples, for statistics between commits

No class defines a `setup` hook: asv_runner >= 0.3 then forces number=1 and runs the hook before every sample.
Lower is better everywhere, because asv assumes it.
"""

import os

from asv_runner.benchmarks.mark import SkipNotImplemented

DTYPES = ("float32", "float64")


def profile():
    """`quick` or `full`, from the environment. Parameters never depend on it: other combinations are skipped."""
    name = os.environ.get("JAXINFRA_BENCH", "quick")
    if name not in ("quick", "full"):
        raise ValueError(f"JAXINFRA_BENCH must be quick or full, got {name!r}")
    return name


def selected(names, quick):
    """The names that this profile measures; JAXINFRA_BENCH_ONLY (comma separated) narrows them further."""
    names = names if profile() == "full" else quick
    only = os.environ.get("JAXINFRA_BENCH_ONLY")
    return [name for name in names if only is None or name in only.split(",")]


def require(name, names, quick):
    """Skip the running benchmark unless its profile measures `name`."""
    if name not in selected(names, quick):
        raise SkipNotImplemented(f"{name} is not in the {profile()} profile")


def start_jax():
    """JAX with 64-bit types allowed: float64 problems need it and float32 ones still compute in float32."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def block(result):
    """Wait for every array of a result: JAX returns before the work is done."""
    import jax

    return jax.block_until_ready(result)


def figure(name, unit):
    """A `track_` method that publishes one measured figure."""

    def track(self, figures, *params):
        value = figures.get((*self.key, *params), {}).get(name)
        if value is None:
            raise SkipNotImplemented(f"no {name} for {params}")
        return value

    track.unit = unit
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
