"""The cost of a fresh process: import time and memory."""

import subprocess
import sys

from bench.runner import harness
from bench.suite import data

PEAK = """
import resource, sys
import numpy as np, jax
jax.config.update("jax_enable_x64", True)
import jaxinfra as ji
shape_X, shape_y, dtype = eval(sys.argv[1])
rng = np.random.default_rng(0)
X, y = (jax.device_put(rng.standard_normal(s, dtype=dtype)) for s in (shape_X, shape_y))
small = rng.standard_normal((60, 3)).astype(dtype)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
jax.block_until_ready(ji.ols.fit(small, small[:, 0]))  # the compiler's own memory is not the fit's
before = peak()
jax.block_until_ready(ji.ols.fit(X, y))
print(peak() - before)
"""


def timeraw_import_jaxinfra():
    return "import jaxinfra"


def timeraw_import_jax():
    return "import jax"


def timeraw_first_fit():
    """Import, start of the device, compile and run: the time that a script waits for its first fit."""
    return """
    import numpy as np
    import jaxinfra
    X = np.arange(60, dtype="float32").reshape(20, 3) % 7
    jaxinfra.ols.fit(X, X.sum(1)).params.coef.block_until_ready()
    """


for _function in (timeraw_import_jaxinfra, timeraw_import_jax, timeraw_first_fit):
    _function.number, _function.repeat, _function.rounds, _function.version = 1, 3, 2, "1"
    _function.warmup_time = 0


def track_import_added_seconds():
    """The time that `import jaxinfra` adds to `import jax`: the best of fresh processes."""
    code = "import time, jax; t = time.perf_counter(); import jaxinfra; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))


track_import_added_seconds.unit = "s"
track_import_added_seconds.version = "1"


class Memory:
    """How much a fit adds to the peak of a fresh process that already holds the data and the compiler."""

    params = (["20000x500", "200000x50"], list(harness.DTYPES))
    param_names = ("problem", "dtype")
    version = "1"

    def track_peak_rss(self, problem, dtype):
        harness.require(problem, self.params[0], self.params[0])
        if sys.platform == "win32":
            raise harness.SkipNotImplemented("no resource module on Windows")
        argument = repr((*data.shape(problem), dtype))
        return int(subprocess.check_output([sys.executable, "-c", PEAK, argument], text=True))

    track_peak_rss.unit = "bytes"
