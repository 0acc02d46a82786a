"""The report: one static page without scripts, and the same as markdown."""

import html
import math
import re

from bench.report import chart, tables
from bench.runner import aot, records
from bench.suite import network_cases

STYLE = """
:root { --faster: #0b5cad; --slower: #b35000; --line: #dfe3e8; --soft: #5c6670; }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1b1f24;
  background: #fff; margin: 2.5rem auto; padding: 0 1.5rem; max-width: 78rem }
h1 { font-size: 1.7rem; margin: 0 0 .3rem } h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem }
p { margin: .3rem 0 .8rem; max-width: 52rem } .soft, small { color: var(--soft) } code { font-size: .92em }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .32rem .8rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; border-bottom: 2px solid #b9c0c8; white-space: nowrap }
th.l, td.l { text-align: left } td { white-space: nowrap }
td small { display: block; line-height: 1.25; font-weight: 400 }
td.ours { background: #f3f7fc } td.best { font-weight: 700 } td.low { background: #fdf1e4 }
.faster { color: var(--faster); font-weight: 600 } .slower { color: var(--slower); font-weight: 600 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .6rem 0 }
dt { color: var(--soft) } dd { margin: 0 } pre { background: #f6f8fa; padding: .8rem 1rem; overflow-x: auto }
"""


class Table:
    """A table that can be written as HTML and as markdown. A cell is text or (text, class, small print)."""

    def __init__(self, columns, left=1):
        self.columns, self.left, self.rows = columns, left, []

    def add(self, *cells):
        self.rows.append([cell if isinstance(cell, tuple) else (cell, "", "") for cell in cells])

    def html(self):
        def tag(kind, index, text, style="", small=""):
            style = f"{style} l" if index < self.left else style
            small = f"<small>{html.escape(small)}</small>" if small else ""
            attribute = f' class="{style.strip()}"' if style.strip() else ""
            return f"<{kind}{attribute}>{html.escape(text)}{small}</{kind}>"

        head = "".join(tag("th", i, c) for i, c in enumerate(self.columns))
        body = "\n".join("<tr>" + "".join(tag("td", i, *c) for i, c in enumerate(row)) + "</tr>" for row in self.rows)
        return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'

    def markdown(self):
        lines = ["| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "|".join(" :-- " if i < self.left else " --: " for i in range(len(self.columns))) + "|")
        for row in self.rows:
            lines.append("| " + " | ".join(f"{t} ({s})" if s else t for t, _, s in row) + " |")
        return "\n".join(lines)


def _race(model, rows, impls):
    peers = [name for name in impls if name != tables.OURS]
    table = Table(["problem", "dtype", tables.OURS, "against the fastest peer", *peers], left=2)
    for row in rows:

        def cell(name, row=row):
            found = row.cells.get(name)
            if found is None:
                return "–"
            ours = row.cells.get(tables.OURS)
            # Three digits less than ours: perhaps fast, but not the same answer.
            low = found.digits is not None and ours and ours.digits is not None and found.digits < ours.digits - 3
            style = "low" if low or not found.certified else "ours" if name == tables.OURS else ""
            style += " best" if found.seconds == row.best else ""
            return tables.duration(found.seconds), style, tables.certificate(model, found)

        style = "" if row.ratio is None else "faster" if row.ratio <= 1 else "slower"
        small = (row.fastest_peer or "") + (f" {tables.NOISE_MARK} noisy" if row.noisy and row.fastest_peer else "")
        against = (row.comparison, style if row.comparison != "as fast" else "", small)
        table.add(row.problem, row.dtype, cell(tables.OURS), against, *map(cell, peers))
    return table


def _first_calls(races):
    columns = ["model", "problem", "dtype", "first call", "kernels", "warm", "fastest peer", "pays off after"]
    table = Table(columns, left=3)
    for model, rows in races:
        for row in rows:
            if row.first_call is None or row.ratio is None:
                continue
            unit = "steps" if model in network_cases.CASES else "fits"
            even = f"{math.ceil(row.break_even)} {unit}" if row.break_even else "never"
            peer = row.cells[row.fastest_peer].seconds
            first, *times = [tables.duration(v) for v in (row.first_call, row.cells[tables.OURS].seconds, peer)]
            kernels = "–" if row.kernels is None else f"{row.kernels:.0f}"
            table.add(tables.CASES[model].title, row.problem, row.dtype, first, kernels, *times, even)
    return table


def _compiling(found):
    stages = ("trace", "lower", "compile", "first_call", "second_process")
    names = ("trace", "lower", "compile", "first call", "first call, cache filled", "retraces")
    table = Table(["model", "problem", "dtype", *names], left=3)
    for model, problem, dtype, row in found:
        retraces = "–" if row.get("retraces") is None else f"{row['retraces']:.0f}"
        times = [tables.duration(row[s]) if s in row else "–" for s in stages]
        table.add(tables.CASES[model].title, problem, dtype, *times, retraces)
    return table


def _nist(sets, impls):
    table = Table(["set", *impls])
    for name, digits in sets.items():
        best = max(digits.values())
        cells = (
            (f"{digits[i]:.1f}", "best" if digits[i] > best - 0.05 else "", "") if i in digits else "–" for i in impls
        )
        table.add(name, *cells)
    return table


def _programs(found):
    table = Table(
        ["target", "model", "problem", "dtype", "kernels", "instructions", "temporary memory", "flop", "bytes read"],
        left=4,
    )
    for target, model, problem, dtype, row in found:
        known = [f(row[n]) if n in row else "–" for n, f in (("temp_bytes", tables.size), ("flops", tables.number),
                                                             ("bytes_accessed", tables.size))]  # fmt: skip
        counts = [f"{row.get(name, 0):.0f}" for name in ("kernels", "hlo_instructions")]
        table.add(target, tables.CASES[model].title, problem, dtype, *counts, *known)
    return table


def about(facts, table):
    """[(what, value)] about the machine and the run."""
    machine = facts.get("machine", {})
    ram = machine.get("ram", "")
    if ram.isdigit():  # asv has it in kB or in bytes, by its version
        ram = tables.size(float(ram) * (1024 if float(ram) < 1e9 else 1))
    dirty = " with uncommitted changes" if facts.get("uncommitted_changes") else ""
    rows = [("Commit", facts["commit"][:12] + dirty)]
    rows.append(
        ("Processor", f"{machine.get('cpu', '?')}, {facts.get('cores', '?')} cores used by every library, {ram}")
    )
    rows.append(("System", f"{machine.get('os', '?')}, {machine.get('arch', '?')}, Python {facts.get('python', '?')}"))
    rows.append(("Versions", ", ".join(f"{n} {v}" for n, v in facts.get("versions", {}).items())))
    done = f"{facts['done']} of {facts['planned']} steps"
    rows.append(("Run", f"{facts['profile']} profile, {done}, {facts['seconds']} s, {facts['date']}"))
    if noise := tables.noise(table):
        text = f"a call raced against itself differs by {max(noise.values()):.1%}: rows nearer than that are as fast; "
        rows.append(("Noise", f"{text}{tables.NOISE_MARK}: samples spread by more than {tables.SPREAD:.0%}"))
    if facts.get("again"):
        moved = tables.moved(table, facts["again"])
        judged = "other work ran beside it" if moved > tables.SPREAD else "the machine was left alone"
        rows.append(("Peaks at the end", f"differ by {moved:.0%} from those at the start: {judged}"))
    for (dtype,), seconds in table.get("selfcheck.Machine.track_product_seconds", {}).items():
        rows.append((f"Peak, {dtype}", f"{2 * 2048**3 / seconds / 1e9:.0f} Gflop/s in a matrix product"))
    return rows


MEANING = {
    "gap": "the duality gap over the objective without columns",
    "gradient": "the largest gradient",
    "violation": "the largest violation of the dual's conditions, libsvm's rule",
    "error": "the largest error, relative",
}


def _measured(model):
    """How the times of a model were taken, and the note below them."""
    if model in network_cases.CASES:
        of = "gradient" if network_cases.CASES[model].train else "logits"
        text = "Best time of warm calls in turns, each in a process of its own; jaxinfra with a device for each core "
        text += f"unless it says 1. Below it the largest error of the first batch's {of} over the largest entry, "
        text += "against float64."
    elif figure := tables.figure_of(model):
        text = f"Best time of warm calls in turns, in one process; below it {MEANING[figure]}, recomputed in float64, "
        text += f"at the loosest tolerance that brings it to {tables.target(model):.0e}."
    else:
        return "Best time of warm calls in turns, in one process; correct digits below it."
    return text + f" Shaded: above {tables.target(model):.0e}, so that the time does not count."


def sections(table):
    """[(heading, paragraph, blocks)], where a block is a Table, or SVG as text for the page alone."""
    races = [(m, rows) for m in tables.CASES if (rows := tables.races(table, m)[0])]
    written = []
    if points := tables.points(table):
        text = "One mark a row of the tables below. The fastest peer is the fastest one whose answer is certified; "
        text += "for least squares, whose digits are shown instead, the fastest of all."
        written.append(("Against the fastest peer", text, [chart.draw(points)]))
    for model, rows in races:
        text = f"{tables.CASES[model].text} {_measured(model)}"
        if model == "ols":
            text += " NumPy computes float32 problems in float64."
        if any(c.digits is not None for r in rows for c in r.cells.values()):
            text += " Shaded: three digits or more behind jaxinfra. Bold: fastest."
        written.append((tables.CASES[model].title, text, [_race(model, rows, tables.races(table, model)[1])]))
    if found := tables.learned(table):
        text = "Held-out rows that are wrong, after the same batches of the same rows from the same parameters."
        errors = Table(["network", *found[0][1]])
        for title, values in found:
            errors.add(title, *(f"{values[impl]:.2%}" if impl in values else "–" for impl in found[0][1]))
        written.append(("Networks after training", text, [errors]))
    first = _first_calls(races)
    if first.rows:
        text = (
            "The first call of a shape traces and compiles its kernels. It pays off after this many fits beside the "
            "fastest peer."
        )
        written.append(("First call and break-even", text, [first]))
    if found := tables.compiling(table):
        text = "Apart, in one process; then the first call of a fresh process, without and with the compilation cache. "
        text += "Retraces are compilations that new values of the same shapes cause."
        added = table.get("imports.track_import_added_seconds")
        if added:
            text += f" Importing jaxinfra adds {tables.duration(next(iter(added.values())))} to importing JAX."
        written.append(("Compiling", text, [_compiling(found)]))
    found, impls = tables.nist(table)
    for dtype, sets in found.items():
        text = "Correct digits of the worst coefficient, by the certified values of NIST StRD; one default call. "
        if dtype == "float32":
            text += "Data that float32 cannot hold lose digits before any solver starts."
        written.append((f"Certified digits, {dtype}", text, [_nist(sets, impls)]))
    if found := tables.programs(table):
        text = "What the compilers make of a fit: free of noise, so it shows every change. Loop bodies count once. "
        missing = [reason for target in aot.TARGETS if (reason := aot.missing(target))]
        if missing and not any(row[0] != "CPU" for row in found):
            text += f"Not compiled: {'; '.join(missing)}."
        written.append(("Compiled programs", text, [_programs(found)]))
    return written


def left_out(notes):
    """The section of what could not be measured: [] if nothing was left out."""
    if not notes:
        return []
    table = Table(["what", "why"], left=2)
    for note in notes:
        what, word, why = re.split(r" (skipped|failed): ", note, maxsplit=1)
        table.add(f"{what} {word}", why)
    return [("Left out", "Libraries that are not installed, took too long or failed.", [table])]


def _reproduce(facts):
    profile = facts.get("profile", "quick")
    return "make bench" if profile == "quick" else f"make bench PROFILE={profile}"


def pages(facts, table):
    """The report as (HTML, markdown)."""
    head, parts = about(facts, table), sections(table) + left_out(facts.get("notes"))
    body = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in head)
    out = [f"<h1>jaxinfra benchmarks</h1><dl>{body}</dl>"]
    text = ["# jaxinfra benchmarks", "", *(f"- {k}: {v}" for k, v in head)]
    for heading, paragraph, blocks in parts:
        out.append(f"<h2>{html.escape(heading)}</h2><p>{html.escape(paragraph)}</p>")
        out += [block.html() if isinstance(block, Table) else f'<div class="wide">{block}</div>' for block in blocks]
        written = [block.markdown() for block in blocks if isinstance(block, Table)]
        if written:
            text += ["", f"## {heading}", "", paragraph, "", *written]
    command = _reproduce(facts)
    out.append(f"<h2>Once more</h2><pre>git checkout {facts['commit'][:12]}\n{command}</pre>")
    text += ["", "## Once more", "", "```", f"git checkout {facts['commit'][:12]}", command, "```", ""]
    page = '<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxinfra benchmarks</title>'
    page += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f"{page}<style>{STYLE}</style><body>{''.join(out)}</body></html>\n", "\n".join(text)


def build(run, root=records.ASV):
    """Write the report of a run beside asv's page, which `asv publish` deletes; return the path of its page."""
    page, text = pages(*records.read_run(run))
    path = root / "report" / "report.html"
    records.write(path, page)
    records.write(path.with_suffix(".md"), text)
    return path


def main():
    run = records.newest_run()
    if run is None:
        print("bench: no run yet; `make bench` does one.")
        return 2
    print(build(run))
    return 0
