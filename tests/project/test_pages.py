"""The pages: links lead somewhere, and examples run."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxinfra as ji
from tests.conftest import ROOT, tracked_files

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def examples(page: Path) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str, link: str, tracked: list[Path]) -> str | None:
    """The fault of a relative link of a page, or None."""
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


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=() if p.name == "README.md" else pytest.mark.slow) for p in PAGES if examples(p)],
    ids=page_name,
)
def test_examples_run(page):
    """Each block by itself, as whoever copies it would run it."""
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}  # LLVM's, as for the rest of the suite
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_EXAMPLES], input="\0".join(examples(page)), cwd=ROOT,
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_examples_of_the_readme_import_what_the_package_needs():
    """They run with jaxinfra installed and nothing else."""
    allowed = {"jax", "flax", "optax", "numpy", "jaxinfra"}
    for example in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        found = {alias.name for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Import)
                 for alias in node.names}  # fmt: skip
        found |= {node.module for node in ast.walk(ast.parse(example)) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in found} <= allowed


def test_every_model_is_in_the_table_of_the_architecture():
    """One row a model, and in each of its cells a link to code (whose names `test_links_lead_somewhere` looks up)."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## Where loss, step, stop and derivative live")[1].split("\n## ")[0]
    found = []
    for line in [line for line in table.splitlines() if line.startswith("| `")]:
        names, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 4 and all("](../jaxinfra/" in cell for cell in cells), names
        found += re.findall(r"`([\w.]+)`", names)
    models = {name for name in ji.__all__ if inspect.ismodule(m := getattr(ji, name)) and hasattr(m, "objective")}
    assert sorted(found) == sorted(models | {"nn.cnn", "nn.rnn", "nn.attention"})
