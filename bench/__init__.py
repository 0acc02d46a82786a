"""The benchmarks of jaxinfra, run by asv.

Benchmarks live in the modules without an underscore; `python -m bench` runs them and writes the report.
Importing anything here starts no accelerator and needs neither JAX nor jaxinfra.
"""

import os

_DEFAULTS = {
    # A compilation cache in the user's home would fake every compile time.
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    # Wheels of accelerators that are installed for compiling only must not be tried for running.
    "JAX_PLATFORMS": "cpu",
}
CHANGED = [name for name in _DEFAULTS if name not in os.environ]
os.environ.update({name: _DEFAULTS[name] for name in CHANGED})
