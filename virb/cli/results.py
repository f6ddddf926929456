"""``virb results``: the scores that a results folder holds, and whether its files are whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from virb.cli.common import add_data_flag, add_table_flags, data_context, print_scores, say_notes

if TYPE_CHECKING:
    import pandas as pd

HELP = "show, export, check, repair or merge results folders, compute a record again, and say why one would be"
EPILOG = """examples:
  virb results show                                # the table of results/
  virb results export scores.csv --results results # tidy CSV, one row a record: input for virb analyze
  virb results export scores.parquet               # the same as Parquet
  virb results merge hers/ his/ --results results  # copy their whole records; what contradicts is named and stays as it was
  virb results rerun results/mine/mini-scene/gradient-seed0.json
                                                   # compute it again and say whether the same came out
  virb results check                               # name every file that is not a whole record; exit code 1 if there are any
  virb results repair                              # put damaged records aside, remove what killed runs left
  virb results why results/mine/mini-scene/gradient-seed0.json --data /data
                                                   # field by field, why virb evaluate would compute this record again
"""
PARQUET = (".parquet", ".pq")
ACTIONS = ("show", "export", "check", "repair", "merge", "rerun", "why")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=ACTIONS)
    parser.add_argument(
        "files",
        nargs="*",
        default=[],
        metavar="FILE",
        help="the CSV or Parquet file that export writes; folders to merge; the records that rerun and why are about",
    )
    parser.add_argument("--results", default="results", metavar="DIR", help="the results folder (default: results)")
    add_data_flag(parser, "for why and rerun: where the data lie, as for evaluate")
    parser.add_argument(
        "--encoder",
        metavar="ENCODER",
        help="for why and rerun: the encoder (default: where it was loaded from)",
    )
    add_table_flags(parser)


def run(args: argparse.Namespace) -> int:
    from virb.errors import UsageError

    n_wanted = {
        "export": "one file to write",
        "why": "one record or more",
        "rerun": "one record or more",
        "merge": "one folder or more",
    }.get(args.what, "no file")
    is_right = (
        len(args.files) == 1 if args.what == "export" else bool(args.files) == (args.what in ("why", "rerun", "merge"))
    )
    if not is_right:
        raise UsageError(f"'{args.what}' takes {n_wanted}; found {len(args.files)}. See: virb results --help.")
    if args.what == "export" and Path(args.files[0]).suffix.lower() not in (".csv", *PARQUET):
        raise UsageError(f"{args.files[0]}: scores are exported as a table; name a file that ends in .csv or .parquet.")
    if args.what in ("show", "export"):
        return _table(args)
    return {"check": _check, "repair": _repair, "merge": _merge, "rerun": _rerun, "why": _why}[args.what](args)


def _table(args: argparse.Namespace) -> int:
    from virb.records.store import ResultStore

    table = ResultStore(args.results).table()
    say_notes(table)
    if args.what == "export":
        from virb.system.files import atomic_write

        is_parquet = Path(args.files[0]).suffix.lower() in PARQUET
        content = _parquet(table) if is_parquet else table.to_csv(index=False).encode("utf-8", "replace")
        with atomic_write(args.files[0]) as file:
            file.write(content)
    if args.what == "export" and args.format == "table":
        print(f"{len(table)} rows written to {args.files[0]}")
    elif args.format in ("csv", "json"):
        print_scores(table, args)
    elif table.empty:
        print(f"{args.results} holds no whole record.")
    else:
        for probe, part in table.groupby("probe", sort=True):
            if args.format == "table":
                print(f"probe: {probe}")
            print_scores(part, args)
    return 0


def _parquet(table: pd.DataFrame) -> bytes:
    """The table as Parquet; a column of mixed kinds (an option that is a number here and a word there) as text."""
    import io

    from virb.errors import UsageError

    for name in table.columns:
        kinds = {type(value) for value in table[name] if value is not None and value == value}
        if table[name].dtype == object and len(kinds) > 1:
            table[name] = table[name].map(str, na_action="ignore")
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, index=False)
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow: pip install 'virb[parquet]'. Or export to a .csv file.") from error
    return buffer.getvalue()


def _merge(args: argparse.Namespace) -> int:
    from virb.records.merge import merge

    done = merge(args.results, args.files)
    for line in done.left_out:
        print(line, file=sys.stderr)
    print(
        f"{done.n_copied} records copied into {args.results}, {done.n_there} were there already, {len(done.left_out)} left out"
    )
    return 1 if done.left_out else 0


def _rerun(args: argparse.Namespace) -> int:
    from virb.evaluation.rerun import rerun
    from virb.system.progress import Progress

    is_same = True
    with Progress() as progress:
        for file in args.files:
            done = rerun(Path(file), context=data_context(args.data), encoder=args.encoder, progress=progress)
            is_same &= done.is_same
            print(f"{file}: {done.line}")
            for reason in done.differs:
                print(f"  {reason}")
    return 0 if is_same else 1


def _check(args: argparse.Namespace) -> int:
    from virb.records.check import check

    records, problems = check(args.results)
    if args.format == "json":
        import json

        print(json.dumps([{"file": str(p.path), "kind": p.kind, "reason": p.reason} for p in problems], indent=2))
    else:
        for problem in problems:
            print(f"{problem.kind}: {problem.reason}")
        print(f"{len(records)} whole records, {len(problems)} files that are none")
    return 1 if problems else 0


def _repair(args: argparse.Namespace) -> int:
    from virb.records.check import repair

    done = repair(args.results)
    for line in done:
        print(line)
    print(f"{len(done)} files put right" if done else "nothing to put right")
    return 0


def _why(args: argparse.Namespace) -> int:
    from virb.evaluation.why import why

    is_again = False
    answers = [why(Path(file), context=data_context(args.data), encoder=args.encoder) for file in args.files]
    for file, reasons in zip(args.files, answers, strict=True):
        is_again |= bool(reasons)
        print(f"{file}: {'would be computed again' if reasons else 'is what would be computed now'}")
        for reason in reasons:
            print(f"  {reason}")
    sys.stdout.flush()
    return 1 if is_again else 0
