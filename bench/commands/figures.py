"""docs/figures.md and the chart of the races, from a stored run: `python -m bench figures`.

The run is kept beside the page, so that both can be written anew from it. The prose of the page is typed; the text
between <!-- NAME --> and <!-- end --> is written here.
"""

import re
import textwrap

from bench.report import chart, static_page, tables
from bench.runner import records
from bench.suite import model_cases, network_cases

PROFILE = "standard"
DOCS = records.ROOT / "docs"
PAGE = DOCS / "figures.md"
RUN, GPU, PICTURE = (DOCS / "figures" / name for name in ("run.json", "h200.json", "races.svg"))


def _cell(model, cell, name=""):
    """`SciPy gelsy 196 µs (6.9 digits)`, in brackets where the time does not count."""
    what = tables.certificate(model, cell)
    text = f"{name} {tables.duration(cell.seconds)}".strip()
    if not cell.certified:
        return f"({text}, {what.removesuffix(', not certified')})"
    return f"{text} ({what})" if what else text


def _races(table, models):
    columns = ["problem", "dtype", tables.OURS, "fastest peer", "", "others", "first call"]
    page = static_page.Table(columns, left=2)
    for model in models:
        for row in tables.races(table, model)[0]:
            cells = {n: _cell(model, cell, "" if n == tables.OURS else n) for n, cell in row.cells.items()}
            peer = row.fastest_peer
            rest = sorted(cells.keys() - {tables.OURS, peer}, key=lambda name, row=row: row.cells[name].seconds)
            first = "–" if row.first_call is None else tables.duration(row.first_call)
            first += "" if row.kernels is None else f" ({row.kernels:.0f} kernels)"
            mark = f" {tables.NOISE_MARK}" if row.noisy and row.ratio else ""
            page.add(
                f"{tables.CASES[model].title}, {row.problem}", row.dtype,
                cells.get(tables.OURS, "–"), cells.get(peer, "–"),
                row.comparison + mark, ", ".join(cells[name] for name in rest) or "–", first,
            )  # fmt: skip
    return page.markdown() if page.rows else "Not measured."


def _meant(table, models):
    """A line for each model that says what is fitted."""
    lines = []
    for model in models:
        if tables.races(table, model)[0]:
            text = f"- {tables.CASES[model].title}: {tables.CASES[model].text}"
            lines += textwrap.wrap(text, 120, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _family(table, family):
    models = [model for model, case in model_cases.CASES.items() if case.family == family]
    return f"{_races(table, models)}\n\n{_meant(table, models)}"


def _gpu():
    facts, table = records.read_run(GPU)
    page = static_page.Table(["model", "problem", "time"], left=2)
    for model, case in tables.CASES.items():
        for row in tables.races(table, model)[0]:
            page.add(case.title, row.problem, tables.duration(row.cells[tables.OURS].seconds))
    return (
        f"{page.markdown()}\n\nOn one {facts['machine']['gpu']} with JAX {facts['versions']['jax']}, {facts['dtype']}."
    )


def blocks(facts, table):
    """{name: markdown} of what the page has from a run."""
    found = {
        "gpu": _gpu(),
        "conditions": "\n".join(f"- {what}: {value}" for what, value in static_page.about(facts, table)),
    }
    for family, title in model_cases.FAMILIES.items():
        found[title] = _family(table, family)
    networks = list(network_cases.CASES)
    found["networks"] = f"{_races(table, networks)}\n\n{_meant(table, networks)}"
    for heading, text, shown in static_page.sections(table):
        if heading in ("Networks after training", "Compiling") or heading.startswith("Certified digits"):
            found[heading.lower()] = "\n\n".join([text.strip(), *(each.markdown() for each in shown)])
    for heading, text, shown in static_page.left_out(facts.get("notes")):
        found[heading.lower()] = "\n\n".join([text, *(each.markdown() for each in shown)])
    return found


def fill(page, found):
    """The page with the text between the marks replaced."""

    def block(match):
        if match[1] not in found:
            raise ValueError(f"the run has nothing for <!-- {match[1]} --> of {PAGE.name}")
        return f"<!-- {match[1]} -->\n\n{found[match[1]]}\n\n<!-- end -->"

    page, count = re.subn(r"<!-- (?!end)([^>]*) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)
    if count != len(found):
        raise ValueError(f"{PAGE.name} has marks for {count} of {len(found)} blocks: {', '.join(found)}")
    return page


def main():
    newest = records.newest_run(profile=PROFILE, whole=True)
    if newest and (not RUN.exists() or _date(newest) > _date(RUN)):
        records.write_run(RUN, *records.read_run(newest))
    if not RUN.exists():
        print(f"bench: no whole run of the profile {PROFILE} yet; `make bench PROFILE={PROFILE}` does one.")
        return 2
    facts, table = records.read_run(RUN)
    page, picture = fill(PAGE.read_text(encoding="utf-8"), blocks(facts, table)), chart.draw(tables.points(table))
    records.write(PAGE, page)
    records.write(PICTURE, picture)
    print(f"bench: the run of {facts['date']}, commit {facts['commit'][:8]}, is in\n{PAGE}\n{PICTURE}")
    return 0


def _date(run):
    return records.read_run(run)[0]["date"]
