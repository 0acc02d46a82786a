"""The repository itself: who may import whom, what an import does, documentation, and what tracked files say."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import pydoc
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxinfra
from tests import programs
from tests.conftest import LONG, ROOT, tracked_files

pytestmark = pytest.mark.core


PACKAGE = ROOT / "jaxinfra"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LEVELS = [
    {"_core"},
    {"links"},
    {"families", "norms", "kernels"},
    {"solvers", "losses", "penalties"},
    {"linear", "svm", "nn", "data"},
    {"select", "calibrate", "infer", "fitted", "ahead", "explain", "export"},
    {"sklearn"},
    {"__init__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# The rooms of `solvers`, by the same rule.
SOLVER_LEVELS = [
    {"linalg"},
    {"methods"},
    {"least_squares", "likelihood", "quantile", "dual"},
    {"sparse", "multinomial", "robust"},
]
SOLVER_LEVEL = {room: level for level, rooms in enumerate(SOLVER_LEVELS) for room in rooms}
MODEL_ROOMS = {"linear", "svm", "nn"}
NN_PARTS = {"layers", "train"}  # files of nn that are no model
THIRD_PARTY = {"jax": LEVEL.keys(), "numpy": LEVEL.keys(), "flax": {"nn"}, "optax": {"nn"}, "sklearn": {"sklearn"}}
THIRD_PARTY |= {name: {"nn"} for name in ("orbax", "rich", "tensorboardX")}  # of training, the extra `train`


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in SOURCES}


def room(module: str) -> str:
    return (module.split(".") + ["__init__"])[1]


def is_model(module: str) -> bool:
    parts = module.split(".")
    return len(parts) > 2 and parts[1] in MODEL_ROOMS and not parts[2].startswith("_") and parts[2] not in NN_PARTS


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, by its full name."""
    here = module_name(path).split(".") + ([] if path.name != "__init__.py" else [""])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: -node.level], *filter(None, [node.module])]) if node.level else node.module or ""
            full = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else base for name in full}
    return found


def objections(module: str, imported: str) -> str | None:
    """Why `module` may not import `imported`, or None if it may."""
    here = room(module)
    if here not in LEVEL:
        return f"{module} is in no room of the design"
    if imported.split(".")[0] != "jaxinfra":
        top = imported.split(".")[0]
        allowed = top in sys.stdlib_module_names or here in THIRD_PARTY.get(top, ())
        return None if allowed else f"{module} may not import {top}"
    there = room(imported)
    if there == here == "solvers":
        inner, outer = (name.split(".")[2] for name in (module, imported))
        if inner not in SOLVER_LEVEL or outer not in SOLVER_LEVEL:
            return f"{module} imports {imported}: not in a room of solvers"
        above = inner != outer and SOLVER_LEVEL[outer] >= SOLVER_LEVEL[inner]
        return f"{module} imports {imported}: not a level below in solvers" if above else None
    if there == here:
        sideways = is_model(module) and is_model(imported) and module != imported
        return f"{module} imports another model, {imported}" if sideways else None
    if there not in LEVEL or LEVEL[there] >= LEVEL[here]:
        return f"{module} (level {LEVEL[here]}) imports {imported}: not a level below"
    return None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_name(path))
def test_imports_go_down(path):
    module = module_name(path)
    assert not [why for name in sorted(imports(path)) if (why := objections(module, name))]


def test_the_import_rule_objects_where_it_should():
    assert objections("jaxinfra._core.types", "jaxinfra.solvers.methods.newton")
    assert objections("jaxinfra.solvers.methods.newton", "jaxinfra.solvers.likelihood.penalised")
    assert objections("jaxinfra.solvers.dual.smo", "jaxinfra.solvers.quantile.vertex")
    assert objections("jaxinfra.solvers.attic.old", "jaxinfra.solvers.linalg.cholesky")
    assert objections("jaxinfra.linear.ridge", "jaxinfra.linear.ols")
    assert objections("jaxinfra.linear.ridge", "jaxinfra.svm.svc")
    assert objections("jaxinfra.linear.ridge", "jaxinfra")
    assert objections("jaxinfra.linear.ridge", "optax")
    assert objections("jaxinfra._core.types", "scipy.linalg")
    assert objections("jaxinfra.nn.cnn", "jaxinfra.nn.layers") is None
    assert objections("jaxinfra.linear.ridge", "jaxinfra.solvers.methods.newton") is None
    assert objections("jaxinfra.solvers.multinomial.smooth", "jaxinfra.solvers.multinomial.softmax") is None
    assert objections("jaxinfra.solvers.sparse.elastic_net", "jaxinfra.solvers.least_squares.ridge") is None


def test_rooms_of_solvers_are_on_the_map():
    """One line a room, in the order of their levels, and each room says the same of itself."""
    rooms = {path.parent.name for path in (PACKAGE / "solvers").glob("*/__init__.py")}
    lines = re.findall(r"^    ([a-z_]+) +(\S.*)$", jaxinfra.solvers.__doc__, re.M)
    assert rooms == SOLVER_LEVEL.keys() == dict(lines).keys() and len(lines) == len(rooms)
    levels = [SOLVER_LEVEL[room] for room, _ in lines]
    assert levels == sorted(levels)
    for room, line in lines:
        said = importlib.import_module(f"jaxinfra.solvers.{room}").__doc__
        assert said.lower().startswith(line.lower()), room


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_name(path))
def test_files_stay_short(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines < 330


PACKAGES = ["jaxinfra", *(info.name for info in pkgutil.walk_packages(jaxinfra.__path__, "jaxinfra.")
                          if info.ispkg and "._" not in info.name)]  # fmt: skip


@pytest.mark.parametrize("name", PACKAGES)
def test_help_shows_what_a_package_offers(name):
    """pydoc passes over what a package takes from its modules unless `__all__` names it."""
    package = importlib.import_module(name)
    named = getattr(package, "__all__", [])
    offered = {
        key for key, value in vars(package).items()
        if not key.startswith("_") and callable(value) and value.__module__.startswith(name)
    }  # fmt: skip
    offered |= {m.split(".")[-1] for m in MODULES if is_model(m) and (m.startswith(f"{name}.") or name == "jaxinfra")}
    offered -= {"attention", "cnn", "rnn"} if name == "jaxinfra" else set()  # they are in `jaxinfra.nn`
    assert offered <= set(named) <= set(dir(package)) and len(named) == len(set(named))
    text = pydoc.plain(pydoc.render_doc(package))
    for key in named:
        value = getattr(package, key)
        heading = f"    class {key}(" if inspect.isclass(value) else f"    {key}("
        assert inspect.ismodule(value) or heading in text, key


IMPORT_PROBE = """
import sys
import jax
from jax._src import xla_bridge
before = dict(jax.config.values)
import jaxinfra
assert "nn" in dir(jaxinfra)
assert not xla_bridge.backends_are_initialized(), "a backend was started, so an array was made"
assert dict(jax.config.values) == before, "the configuration of JAX was changed"
heavy = {"flax", "optax", "orbax", "rich", "scipy.optimize", "sklearn"} & set(sys.modules)
assert not heavy, f"imported as well: {heavy}"
"""


def test_import_is_light_and_silent():
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT_PROBE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def public_symbols():
    """(name, object) of all that a user can reach: public modules, their functions and classes, public methods."""
    names = [info.name for info in pkgutil.walk_packages(jaxinfra.__path__, "jaxinfra.")]
    public = ["jaxinfra", *(name for name in names if not any(part.startswith("_") for part in name.split(".")))]
    seen = {}
    for name in public:
        module = importlib.import_module(name)
        seen[name] = module
        for key, value in vars(module).items():
            if key.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value) or callable(value)):
                continue
            home = getattr(value, "__module__", "") or ""
            if home == name or (name == "jaxinfra" and home.startswith("jaxinfra.")):
                seen[f"{name}.{key}"] = value
                if inspect.isclass(value):
                    methods = {k: v for k, v in vars(value).items() if inspect.isfunction(v) and not k.startswith("_")}
                    seen |= {f"{name}.{key}.{k}": v for k, v in methods.items()}
    return seen


def documented(thing) -> bool:
    doc = (getattr(thing, "__doc__", None) or "").strip()
    # A NamedTuple or dataclass without a docstring gets its signature as one.
    return bool(doc) and not doc.startswith(f"{getattr(thing, '__name__', '?')}(")


def test_every_public_symbol_is_documented():
    symbols = public_symbols()
    assert "jaxinfra.linear.ols.fit" in symbols
    assert not [name for name, thing in symbols.items() if not documented(thing)]


def test_results_print_in_a_few_lines():
    """Every public NamedTuple, also while it is traced, and in a batch."""
    kinds = {kind for kind in public_symbols().values() if inspect.isclass(kind) and hasattr(kind, "_fields")}
    # Solvers are for models alone; a run of training has a history of epochs: tests/nn/test_nn_train.py.
    kinds = {kind for kind in kinds if room(kind.__module__) != "solvers" and kind.__name__ != "Result"}
    assert {"Fit", "RankInfo", "Resamples", "Inference", "Machine"} < {kind.__name__ for kind in kinds}
    for kind in kinds:
        full = kind(*(np.arange(2000) % 2 if name == "status" else np.linspace(0, 1, 2000) for name in kind._fields))
        few = {*kind._fields} - {"status"}
        assert repr(full) == str(full) and len(repr(full)) < 100 + 60 * len(full)
        assert repr(full).count("=float64[2000] from 0 to 1") == len(few)
        assert ("(lanes of shape (2000,): 1000 CONVERGED, 1000 MAX_ITER" in repr(full)) == ("status" in kind._fields)
        seen = []
        jax.eval_shape(lambda result, seen=seen: seen.append(repr(result)), full)
        jax.eval_shape(jax.vmap(lambda result, seen=seen: seen.append(str(result))), full)
        assert all(text.startswith(f"{kind.__name__}(") for text in seen)
        assert seen[0].count("=float64[2000]") == len(few) == seen[1].count("=float64[]")


def test_python_versions():
    assert (ROOT / ".python-version").read_text().split() == ["3.13", "3.12", "3.11"]


def test_package_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert [re.split(r"[^\w-]", need)[0] for need in project["dependencies"]] == ["jax", "flax", "optax", "numpy"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", jaxinfra.__version__)
    assert f"## [{jaxinfra.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_no_machine_paths():
    machine = re.compile(r"/(?:work|farm|root|tmp|home|Users)/")
    found = []
    for path in tracked_files():
        lines = path.read_text(encoding="utf-8", errors="ignore").splitlines()
        found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if machine.search(line)]
    assert not found


def test_no_test_imports_another():
    """What they share is in modules of another name."""
    imports_test = re.compile(r"^\s*(from|import) tests\b.*\btest_", re.M)
    assert not [path.name for path in (ROOT / "tests").rglob("*.py") if imports_test.search(path.read_text())]


def test_notebooks_are_scripts():
    assert not [path for path in tracked_files() if path.suffix == ".ipynb"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("user", ["0", "1000"])
def test_notebooks_open_for_every_user(tmp_path, user):
    """JupyterLab runs as root only where it is told to; the programs that the target calls are stand-ins."""
    log = tmp_path / "log"
    for name, script in (
        ("id", f"echo {user}"), ("jupyter", f'echo "$@" >> "{log}"'), ("jupytext", "true"), ("python", "true")
    ):  # fmt: skip
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    (tmp_path / ".notebooks").touch()  # means: installed
    environment = {**os.environ, "MAKEFLAGS": "", "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = ["make", "--no-print-directory", "notebooks", f"VENV={tmp_path}"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert log.read_text().split() == ["lab", *(["--allow-root"] if user == "0" else []), "notebooks"]


def test_what_compiles_more_than_its_budget_is_named():
    budget = {"tests/test_a.py": {"quick": 3}}
    assert not programs.over({"tests/test_a.py": {"quick": 3, "slow": 0}, "jaxinfra/ols.py": {"quick": 9}}, budget)
    assert programs.over({"tests/test_a.py": {"quick": 4, "slow": 0}}, budget)
    assert programs.over({"tests/test_a.py": {"quick": 3, "slow": 1}}, budget)
    assert programs.over({"tests/test_b.py": {"quick": 1, "slow": 0}}, budget)
    assert all(
        (ROOT / file).is_file() and set(parts) <= set(programs.PARTS) for file, parts in programs.budgets()[1].items()
    )
    assert all((ROOT / file).is_file() for file in LONG)


def test_the_cache_is_where_it_is_said_to_be_and_stays_small(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXINFRA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert programs.cache_folder() == tmp_path / "jaxinfra"
    monkeypatch.setenv("JAXINFRA_CACHE", str(tmp_path / "other"))
    assert programs.cache_folder() == tmp_path / "other"
    monkeypatch.setenv("JAXINFRA_CACHE", "off")
    assert programs.cache_folder() is None
    for age, name in enumerate(("new", "old", "older")):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    programs.shrink(tmp_path, 300, programs.ENTRY)
    assert len(list(tmp_path.iterdir())) == 3
    programs.shrink(tmp_path, 250, programs.ENTRY)
    assert {path.name for path in tmp_path.iterdir()} == {"new-cache", "old-cache"}


# A docstring names the thing; phrases that a reader has to translate.
WORDS = re.compile(r'^\s*r?"""What |stands there twice|nothing more is to be had|\b(dear|wary|vain) \w', re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_name(path))
def test_docstrings_name_the_thing(path):
    assert not WORDS.findall(path.read_text(encoding="utf-8"))


# Rooms whose public verbs show types and sections; the sections of every `fit` in the order of a docstring.
TYPED = ["linear", "svm"]
SECTIONS = ["Args:", "Returns:", "Raises:", "Status"]


def verbs(room: str) -> dict[tuple[str, str], ast.FunctionDef]:
    """The functions under `@public` of a room's modules, by module and name."""
    found = {}
    for path in sorted((PACKAGE / room).glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            decorators = getattr(node, "decorator_list", [])
            if any(isinstance(n, ast.Name) and n.id == "public" for d in decorators for n in ast.walk(d)):
                found[f"{room}.{path.stem}", node.name] = node
    return found


@pytest.mark.parametrize("room", TYPED)
def test_signatures_say_what_they_take(room):
    found = verbs(room)
    assert found
    vague = {
        (module, verb, argument.arg)
        for (module, verb), node in found.items()
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if argument.annotation is None or "Any" in ast.unparse(argument.annotation)
    }
    assert not vague


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_name(path))
def test_long_signatures_are_packed(path):
    """Of more than five parameters several are on a line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            places = [argument.lineno for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len(places) <= 5 or len(set(places)) < len(places), node.name


@pytest.mark.parametrize("room", TYPED)
def test_docstrings_of_fit_have_all_sections(room):
    fits = {module: ast.get_docstring(node) for (module, verb), node in verbs(room).items() if verb == "fit"}
    assert fits
    for module, text in fits.items():
        found = re.findall(r"^(Args:|Returns:|Raises:|Status)", text, re.MULTILINE)
        assert found == SECTIONS, module
