"""docs/figures.md and the chart of the races, from a stored run: `python -m bench figures`.

The run is kept beside the page, so that both can be written anew from it. The prose of the page is typed; what stands
between <!-- NAME --> and <!-- end --> is written here.
"""

import re
import textwrap

from . import _cases, _chart, _networks, _report, _results, _tables

PROFILE = "standard"
DOCS = _results.ROOT / "docs"
PAGE = DOCS / "figures.md"
RUN, GPU, PICTURE = (DOCS / "figures" / name for name in ("run.json", "h200.json", "races.svg"))


def _cell(model, cell, name=""):
    """`SciPy gelsy 196 µs (6.9 digits)`, in brackets where the time does not count."""
    what = _tables.quality(model, cell)
    text = f"{name} {_tables.duration(cell.seconds)}".strip()
    if not cell.certified:
        return f"({text}, {what.removesuffix(', not certified')})"
    return f"{text} ({what})" if what else text


def _races(table, models):
    columns = ["problem", "dtype", _tables.OURS, "fastest peer", "", "others", "first call"]
    page = _report.Table(columns, left=2)
    for model in models:
        for row in _tables.races(table, model)[0]:
            cells = {n: _cell(model, cell, "" if n == _tables.OURS else n) for n, cell in row.cells.items()}
            peer = row.fastest_peer
            rest = sorted(cells.keys() - {_tables.OURS, peer}, key=lambda name, row=row: row.cells[name].seconds)
            first = "–" if row.first_call is None else _tables.duration(row.first_call)
            first += "" if row.kernels is None else f" ({row.kernels:.0f} kernels)"
            mark = f" {_tables.NOISE_MARK}" if row.noisy and row.ratio else ""
            page.add(
                f"{_tables.CASES[model].title}, {row.problem}", row.dtype,
                cells.get(_tables.OURS, "–"), cells.get(peer, "–"),
                row.comparison + mark, ", ".join(cells[name] for name in rest) or "–", first,
            )  # fmt: skip
    return page.markdown() if page.rows else "Not measured."


def _meant(table, models):
    """What is fitted, a line a model."""
    lines = []
    for model in models:
        if _tables.races(table, model)[0]:
            text = f"- {_tables.CASES[model].title}: {_tables.CASES[model].text}"
            lines += textwrap.wrap(text, 120, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _family(table, family):
    models = [model for model, case in _cases.CASES.items() if case.family == family]
    return f"{_races(table, models)}\n\n{_meant(table, models)}"


def _gpu():
    facts, table = _results.read_run(GPU)
    page = _report.Table(["model", "problem", "time"], left=2)
    for model, case in _tables.CASES.items():
        for row in _tables.races(table, model)[0]:
            page.add(case.title, row.problem, _tables.duration(row.cells[_tables.OURS].seconds))
    return (
        f"{page.markdown()}\n\nOn one {facts['machine']['gpu']} with JAX {facts['versions']['jax']}, {facts['dtype']}."
    )


def blocks(facts, table):
    """{name: markdown} of what the page has from a run."""
    found = {
        "gpu": _gpu(),
        "conditions": "\n".join(f"- {what}: {value}" for what, value in _report.about(facts, table)),
    }
    for family, title in _cases.FAMILIES.items():
        found[title] = _family(table, family)
    networks = list(_networks.CASES)
    found["networks"] = f"{_races(table, networks)}\n\n{_meant(table, networks)}"
    for heading, text, tables in _report.sections(table):
        if heading in ("Networks after training", "Compiling") or heading.startswith("Certified digits"):
            found[heading.lower()] = "\n\n".join([text.strip(), *(each.markdown() for each in tables)])
    for heading, text, tables in _report.left_out(facts.get("notes")):
        found[heading.lower()] = "\n\n".join([text, *(each.markdown() for each in tables)])
    return found


def fill(page, found):
    """The page with what stands between the marks replaced."""

    def block(match):
        if match[1] not in found:
            raise ValueError(f"the run has nothing for <!-- {match[1]} --> of {PAGE.name}")
        return f"<!-- {match[1]} -->\n\n{found[match[1]]}\n\n<!-- end -->"

    page, count = re.subn(r"<!-- (?!end)([^>]*) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)
    if count != len(found):
        raise ValueError(f"{PAGE.name} has marks for {count} of {len(found)} blocks: {', '.join(found)}")
    return page


def main():
    newest = _results.newest_run(profile=PROFILE, whole=True)
    if newest and (not RUN.exists() or _date(newest) > _date(RUN)):
        _results.write_run(RUN, *_results.read_run(newest))
    if not RUN.exists():
        print(f"bench: no whole run of the profile {PROFILE} yet; `make bench PROFILE={PROFILE}` does one.")
        return 2
    facts, table = _results.read_run(RUN)
    page, picture = fill(PAGE.read_text(encoding="utf-8"), blocks(facts, table)), _chart.draw(_tables.points(table))
    _results.write(PAGE, page)
    _results.write(PICTURE, picture)
    print(f"bench: the run of {facts['date']}, commit {facts['commit'][:8]}, is in\n{PAGE}\n{PICTURE}")
    return 0


def _date(run):
    return _results.read_run(run)[0]["date"]
