"""The results as tables in the terminal, narrow enough for 80 columns."""

from bench.report import tables


def _table(title, columns, left=1):
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    table.collapse_padding, table.pad_edge = True, False
    for index, name in enumerate(columns):
        # Cells must stay whole; the heading breaks at its first space.
        heading = name.replace(" ", "\n", 1)
        table.add_column(heading, justify="left" if index < left else "right", no_wrap=True, vertical="top")
    return table


def _cell(cell, best):
    from rich.text import Text

    if cell is None:
        return Text("–", style="dim")
    digits = "" if cell.digits is None else f"\n{cell.digits:.1f} d"
    if cell.certificate is not None:
        digits = f"\n{'' if cell.certified else '✗ '}{cell.certificate:.0e}"
    return Text.assemble((tables.duration(cell.seconds), "bold" if best else ""), (digits, "dim"))


def _race(model, rows, impls):
    from rich.text import Text

    peers = [name for name in impls if name != tables.OURS]
    columns = ["problem", tables.OURS, "first call", "against best", *peers]
    table = _table(tables.CASES[model].title, columns)
    for row in rows:
        cells = {name: _cell(cell, cell.seconds == row.best) for name, cell in row.cells.items()}
        style = "" if row.ratio is None else "blue" if row.ratio <= 1 else "yellow"
        against = row.comparison.replace(" ", "\n") + (f" {tables.NOISE_MARK}" if row.noisy else "")
        others = [cells.get(name, "–") for name in peers]
        first = "–" if row.first_call is None else tables.duration(row.first_call)
        kernels = "" if row.kernels is None else f"\n{row.kernels:.0f} k"
        first = Text.assemble(first, (kernels, "dim"))
        against = Text(against, style=style)
        table.add_row(f"{row.problem}\n{row.dtype}", cells.get(tables.OURS, "–"), first, against, *others)
    return table


def _nist(dtype, sets, impls):
    table = _table(f"Correct digits on NIST StRD, {dtype}", ["set", *impls])
    for name, digits in sets.items():
        table.add_row(name, *[f"{digits[i]:.1f}" if i in digits else "–" for i in impls])
    return table


def _compile(rows):
    stages = ("trace", "lower", "compile", "first_call", "second_process")
    names = [stage.replace("_", " ") for stage in stages]
    table = _table("Before the first answer", ["model", "problem", "dtype", *names, "re- traces"], left=3)
    for model, problem, dtype, row in rows:
        times = [tables.duration(row[s]) if s in row else "–" for s in stages]
        retraces = row.get("retraces")
        table.add_row(
            model, problem, dtype.replace("float", "f"), *times, "–" if retraces is None else f"{retraces:.0f}"
        )
    return table


def _programs(found):
    table = _table(
        "Kernels of the compiled programs, a fit each", ["model", "problem", "dtype", "target", "kernels"], 4
    )
    for target, model, problem, dtype, row in found:
        table.add_row(model, problem, dtype.replace("float", "f"), target, f"{row['kernels']:.0f}")
    return table


def show(console, facts, table):
    raced = False
    for model in tables.CASES:
        rows, impls = tables.races(table, model)
        if rows:
            console.print(_race(model, rows, impls))
            raced = True
    if raced:
        console.print("Best of warm calls that take turns, on the same data; networks: of one step.")
        console.print("k: kernels that the first call compiled.")
        console.print("d: correct digits of the coefficients. Other numbers: the certificate (gap, gradient,")
        console.print("violation or error), at the loosest tolerance that brings it to the model's target")
        console.print("(1e-6 for most, see the report); ✗: not reached, does not count.")
        console.print("Bold: fastest. As fast: nearer than the machine's noise.")
        spread = f"{tables.NOISE_MARK}: samples spread by more than {tables.SPREAD:.0%}; other work ran beside them."
        console.print(spread + "\n")
    found, impls = tables.nist(table)
    for dtype, sets in found.items():
        console.print(_nist(dtype, sets, impls))
    if rows := tables.compiling(table):
        console.print(_compile(rows))
    if added := table.get("imports.track_import_added_seconds"):
        console.print(f"import jaxinfra adds {tables.duration(next(iter(added.values())))} to import jax\n")
    if programs := tables.programs(table):
        console.print(_programs(programs))
    if notes := facts.get("notes"):
        console.print(f"Left out, for reasons that the report has: {len(notes)}.")
    if noise := tables.noise(table):
        console.print(f"Noise: a call raced against itself differs by {max(noise.values()):.1%} here.")
    if (moved := tables.moved(table, facts.get("again", {}))) > tables.SPREAD:
        console.print(f"The machine's peaks changed by {moved:.0%} during the run: other work ran beside it.")
