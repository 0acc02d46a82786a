"""The benchmarks of jaxinfra, run by asv.

The modules of this folder are the benchmarks, a family each: their names are asv's history.  `python -m bench` runs
them and writes the report.  The rooms have no `__init__.py`, so that asv does not look for benchmarks in them:

    suite         the models, networks and data that are measured
    certificates  how accurate an answer is, recomputed in float64
    runner        how a fit is timed, a step is run, a figure is kept; the compilers for other machines
    peers         who else solves each model, and the race against them
    report        tables, the page, the terminal, the chart
    commands      the commands of `python -m bench`: to measure, to compare commits, to publish
    workers       programs that run in their own processes

A room imports only rooms further up.  Importing anything here starts no accelerator and needs neither JAX nor
jaxinfra.
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
