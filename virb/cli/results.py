"""``virb results``: the scores that a results folder holds, as a table."""

from __future__ import annotations

import argparse

from virb.cli.common import print_json, say_notes

HELP = "show or export the scores of a results folder"
EPILOG = """examples:
  virb results show                                # the table of results/
  virb results export scores.csv --results results # tidy CSV, one row a record: input for virb analyze
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("show", "export"))
    parser.add_argument("file", nargs="?", metavar="FILE.csv", help="the file that export writes")
    parser.add_argument("--results", default="results", metavar="DIR", help="the results folder (default: results)")
    parser.add_argument("--json", action="store_true", help="print the tidy table as a JSON array")


def run(args: argparse.Namespace) -> int:
    from virb.errors import UsageError
    from virb.records.store import ResultStore

    if (args.what == "export") != (args.file is not None):
        raise UsageError("'export' needs a file to write (virb results export scores.csv), 'show' takes none.")
    table = ResultStore(args.results).table()
    say_notes(table)
    if args.what == "export":
        from virb.system.files import atomic_write

        with atomic_write(args.file) as file:
            file.write(table.to_csv(index=False).encode())
    if args.json:
        print_json(table)
    elif args.what == "export":
        print(f"{len(table)} rows written to {args.file}")
    else:
        from virb.cli.evaluate import print_scores

        for probe, part in table.groupby("probe", sort=True):
            print(f"probe: {probe}")
            print_scores(part)
    return 0
