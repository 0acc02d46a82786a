"""What the other figures stand on: which code was measured, how noisy and how fast this machine is."""

from . import _harness, _race


def track_measured_checkout():
    """0 if the installed wheel was measured, as asv's own environments must; 1 for an editable checkout."""
    import jaxinfra

    return float("site-packages" not in jaxinfra.__file__)


track_measured_checkout.unit = "0 or 1"
track_measured_checkout.version = "1"


class Machine(_harness.Figures):
    """The same call raced against itself, and the peaks that bound every fit: matrix product and memory copy."""

    params = (list(_harness.DTYPES),)
    param_names = ("dtype",)
    track_noise_ratio = _harness.figure("noise", "slower over faster twin, less 1")
    track_product_seconds = _harness.figure("product", "s for 2048^3")
    track_copy_seconds = _harness.figure("copy", "s for 256 MB")

    def setup_cache(self):
        jax = _harness.start_jax()
        import numpy as np

        rng = np.random.default_rng(0)
        figures = {}
        for dtype in _harness.DTYPES:
            A = jax.device_put(rng.standard_normal((2048, 2048)).astype(dtype))
            big = jax.device_put(np.ones(2**28 // A.dtype.itemsize, dtype))
            product, copy, twin = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1), jax.jit(lambda a: a @ a.T)
            half = A[:512]
            work = {
                "product": lambda A=A, f=product: _harness.block(f(A)),
                "copy": lambda a=big, f=copy: _harness.block(f(a)),
                "twin a": lambda a=half, f=twin: _harness.block(f(a)),
            }
            work["twin b"] = work["twin a"]
            for call in work.values():
                call()
            found = {name: values["seconds"] for name, values in _race.alternate(work, 2.0).items()}
            twins = sorted((found["twin a"], found["twin b"]))
            figures[(dtype,)] = {
                "noise": twins[1] / twins[0] - 1,
                "product": found["product"],
                "copy": found["copy"],
            }
        return figures

    setup_cache.timeout = 300
