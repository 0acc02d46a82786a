"""An asv plugin: a selection of benchmarks that matches nothing ends here, before asv builds an environment for it.

asv finds out for itself only after minutes of installing. It calls `setup` when it has read asv.conf.json.
"""

import importlib
import inspect
import itertools
import re
import sys
from pathlib import Path

METHOD = re.compile(r"(time|track|timeraw|mem|peakmem)_")
MODULES = sorted(path.stem for path in Path(__file__).parents[1].glob("[!_]*.py"))


def benchmarks():
    """(class, method name, function) of every benchmark; the class is None for plain functions."""
    for name in MODULES:
        module = importlib.import_module(f"bench.{name}")
        for attribute, value in vars(module).items():
            if attribute.startswith("_"):
                continue
            if inspect.isclass(value):
                for method, function in inspect.getmembers(value, inspect.isfunction):
                    if METHOD.match(method):
                        yield value, method, function
            elif inspect.isfunction(value) and METHOD.match(attribute):
                yield None, attribute, value


def names():
    """The names that asv matches its patterns against: `module.Class.method`, and with the parameters in brackets."""
    for kind, method, function in benchmarks():
        name = f"{(kind or function).__module__.removeprefix('bench.')}.{kind.__name__ + '.' if kind else ''}{method}"
        params = getattr(kind or function, "params", ())
        if not params:
            yield name
        for combination in itertools.product(*params):
            yield f"{name}({', '.join(map(repr, combination))})"


def matches(patterns):
    """Whether asv would find a benchmark for one of `patterns`."""
    return any(re.search(pattern, name) for pattern in patterns for name in names())


def patterns(arguments):
    """The values of -b and --bench on asv's command line."""
    found = []
    for option, value in zip(arguments, [*arguments[1:], None], strict=True):
        if option in ("-b", "--bench") and value is not None:
            found.append(value)
        elif option.startswith("--bench="):
            found.append(option.removeprefix("--bench="))
        elif re.match(r"-b.", option):
            found.append(option[2:])
    return [pattern for pattern in found if pattern != "just-discover"]


def setup():
    given = patterns(sys.argv[1:])
    if given and not matches(given):
        from asv.util import UserError

        every = ", ".join(MODULES)
        raise UserError(f"no benchmark matches {' or '.join(given)}; the modules are {every}")
