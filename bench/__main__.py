"""python -m bench: measure the current commit, compare commits, write the report.

    quick            every family once beside its fastest peers, some minutes    (what `make bench` runs)
    standard         the cases of docs/figures.md, about an hour
    full             every size
    report           rebuild the report of the last run
    figures          write docs/figures.md and its chart from the last whole standard run
    waiting          measure first and later calls, and write the tables of docs/compiling.md
    gate BASE HEAD   compare two commits: exit 1 a regression, 2 broken, 3 this machine is too noisy to tell
    history RANGE    compiled programs of the commits BASE..HEAD by asv, and the page of their history

Each finished measurement is stored at once as asv results of the current commit. Interrupt it: they are kept.
"""

import argparse
import sys


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = ["quick", "standard", "full", "report", "figures", "waiting", "gate", "history"]
    parser.add_argument("command", choices=commands)
    parser.add_argument("commits", nargs="*", help="gate: BASE HEAD; history: BASE..HEAD")
    parser.add_argument("--only", default="", metavar="TEXT", help="what has TEXT in its title; another one lists them")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what asv and the libraries print")
    options = parser.parse_args(arguments)
    count = {"gate": 2, "history": 1}.get(options.command, 0)
    if len(options.commits) != count:
        needs = {"gate": "two commits: BASE HEAD", "history": "a range of commits: BASE..HEAD"}
        parser.error(f"{options.command} takes {needs.get(options.command, 'no commits')}")
    from bench.commands import figures, gate, history, measure, waiting
    from bench.report import static_page
    from bench.runner import steps

    try:
        with steps.interruptible():
            if options.command == "gate":
                return gate.main(*options.commits, options.only)
            if options.command == "history":
                return history.main(*options.commits, options.only)
            if options.command == "waiting":
                return waiting.main()
    except steps.Interrupted as stop:
        print(f"bench: interrupted ({stop}); nothing was decided.")
        return 130
    except steps.Failed as error:
        print(f"bench: {error}")
        return 2
    if options.command in ("report", "figures"):
        return {"report": static_page, "figures": figures}[options.command].main()
    return measure.main(options.command, options.only, options.verbose)


if __name__ == "__main__":
    sys.exit(main())
