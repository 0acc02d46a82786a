"""The repository itself: who may import whom, what an import does, documentation, and what tracked files say."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import pytest

import jaxinfra

pytestmark = pytest.mark.core

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxinfra"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LEVELS = [
    {"_core"},
    {"links"},
    {"families", "norms"},
    {"solvers", "losses", "penalties", "kernels"},
    {"linear", "svm", "nn", "data"},
    {"select", "calibrate", "infer", "explain", "export"},
    {"sklearn"},
    {"__init__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
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
    assert objections("jaxinfra._core.types", "jaxinfra.solvers.newton")
    assert objections("jaxinfra.linear.ridge", "jaxinfra.linear.ols")
    assert objections("jaxinfra.linear.ridge", "jaxinfra.svm.svc")
    assert objections("jaxinfra.linear.ridge", "jaxinfra")
    assert objections("jaxinfra.linear.ridge", "optax")
    assert objections("jaxinfra._core.types", "scipy.linalg")
    assert objections("jaxinfra.nn.cnn", "jaxinfra.nn.layers") is None
    assert objections("jaxinfra.linear.ridge", "jaxinfra.solvers.newton") is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_name(path))
def test_files_stay_short(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines < 330


IMPORT_PROBE = """
import sys
import jax
from jax._src import xla_bridge
before = dict(jax.config.values)
import jaxinfra
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


def test_python_versions():
    assert (ROOT / ".python-version").read_text().split() == ["3.13", "3.12", "3.11"]


def test_package_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert [re.split(r"[^\w-]", need)[0] for need in project["dependencies"]] == ["jax", "flax", "optax", "numpy"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", jaxinfra.__version__)
    assert f"## [{jaxinfra.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def tracked_files() -> list[Path]:
    """Files that git tracks, or would with `git add`."""
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: which files are tracked is not known")
    return [path for line in done.stdout.splitlines() if (path := ROOT / line).is_file()]


def test_no_machine_paths():
    machine = re.compile(r"/(?:work|farm|root|tmp|home|Users)/")
    found = []
    for path in tracked_files():
        lines = path.read_text(encoding="utf-8", errors="ignore").splitlines()
        found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if machine.search(line)]
    assert not found


def test_notebooks_are_scripts():
    assert not [path for path in tracked_files() if path.suffix == ".ipynb"]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def examples(page: Path) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]


def anchors(page: Path) -> set[str]:
    """Those of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str, link: str, tracked: list[Path]) -> str | None:
    """What is wrong with a relative link of a page, or None."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not any(target == file or target in file.parents for file in tracked):
        return f"{link} is not tracked"
    if anchor and anchor not in anchors(target):
        return f"{link}: {target.name} has no such heading"
    # A `name` that links to code is that of the file, or of something in it.
    name = re.fullmatch(r"`(?:\w+\.)*(\w+)(?:\(.*\))?`", text)
    if not name or target.suffix != ".py" or name[1] == target.stem:
        return None
    there = rf"^ *(?:(?:def|class) {name[1]}\b|{name[1]} = )"
    return None if re.search(there, target.read_text(encoding="utf-8"), re.MULTILINE) else f"{text} is not in {link}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page):
    tracked = tracked_files()
    links = [link for link in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose(page)) if "://" not in link[1]]
    assert not [why for text, link in links if (why := broken(page, text, link, tracked))]


def test_the_link_rule_objects_where_it_should():
    tracked, page = tracked_files(), ROOT / "docs" / "index.md"
    assert broken(page, "x", "nowhere.md", tracked)
    assert broken(page, "x", "models.md#nothing", tracked)
    assert broken(page, "`ridge.nothing`", "../jaxinfra/linear/ridge.py", tracked)
    assert broken(page, "`ridge.fit`", "../jaxinfra/linear/ridge.py", tracked) is None
    assert broken(page, "x", "../jaxinfra/linear", tracked) is None
    assert broken(page, "x", "../README.md#contributing-licence", tracked) is None


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


RUN_EXAMPLES = """
import sys
for number, example in enumerate(sys.stdin.read().split(chr(0)), 1):
    exec(compile(example, f"example {number}", "exec"), {"__name__": "__main__"})
"""


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=page_name)
def test_examples_run(page):
    """Each block by itself, as whoever copies it would run it; what the suite compiled is there for them too."""
    environment = dict(os.environ)
    if folder := jax.config.jax_compilation_cache_dir:
        environment |= {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": folder}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_EXAMPLES], input="\0".join(examples(page)), cwd=ROOT,
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_chart_shows_the_page_of_figures():
    """`python -m bench._chart` draws it anew."""
    from bench import _chart

    two = "| `a` b; c | float32 | 1 s | x 2 s | 2 times faster |\n| | float64 | 3 s | x 1 s | 3 times slower |"
    assert _chart.rows(two) == [("a b", "float32", 2.0), ("a b", "float64", 1 / 3)]
    page = _chart.PAGE.read_text(encoding="utf-8")
    assert _chart.PICTURE.read_text(encoding="utf-8") == _chart.draw(_chart.rows(page))
