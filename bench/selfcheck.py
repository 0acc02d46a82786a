"""The basis of the other figures: which code was measured, how noisy and how fast this machine is."""

import functools

from bench.runner import harness, timing


def track_measured_checkout():
    """0 if the installed wheel was measured, as asv's own environments must; 1 for an editable checkout."""
    import jaxinfra

    return float("site-packages" not in jaxinfra.__file__)


track_measured_checkout.unit = "0 or 1"
track_measured_checkout.version = "1"


SECONDS = {"quick": 1.0, "standard": 2.0, "full": 4.0}  # of racing, for one dtype


def _measure(dtype):
    jax = harness.start_jax()
    import numpy as np

    A = jax.device_put(np.random.default_rng(0).standard_normal((2048, 2048)).astype(dtype))
    big = jax.device_put(np.ones(2**28 // A.dtype.itemsize, dtype))
    product, copy, twin = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1), jax.jit(lambda a: a @ a.T)
    half = A[:512]
    work = {
        "product": lambda: harness.block(product(A)),
        "copy": lambda: harness.block(copy(big)),
        "twin a": lambda: harness.block(twin(half)),
        "twin b": lambda: harness.block(twin(half)),
    }
    for call in work.values():
        call()
    times = timing.alternate(work, SECONDS[harness.profile()])
    found = {name: values["seconds"] for name, values in times.items()}
    twins = sorted((found["twin a"], found["twin b"]))
    return {(dtype,): {"noise": twins[1] / twins[0] - 1, "product": found["product"], "copy": found["copy"]}}


def work():
    return [harness.Work(f"noise and peaks, {dtype}", functools.partial(_measure, dtype)) for dtype in harness.dtypes()]


class Machine(harness.Figures):
    """The same call raced against itself, and the peaks that bound every fit: matrix product and memory copy."""

    params = (list(harness.DTYPES),)
    param_names = ("dtype",)
    track_noise_ratio = harness.figure("noise", "slower over faster twin, less 1")
    track_product_seconds = harness.figure("product", "s for 2048^3")
    track_copy_seconds = harness.figure("copy", "s for 256 MB")

    def setup_cache(self):
        return harness.gather(work())

    setup_cache.timeout = 300
