"""``virb paper``: what a paper did and said, by one command each."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virb.contracts.paper import Paper

HELP = "a paper's tables, figures and claims: list, status, run, compare, and whether what it says holds"
EPILOG = """examples:
  virb paper list
  virb paper claims kotar-2021                       # each sentence, tested on the numbers that the paper printed
  virb paper claims kotar-2021 --results results     # the same tests on yours
  virb paper status kotar-2021 --data /data          # what is there, what is missing, and what it would cost
  virb paper run kotar-2021 --scale mini --out results-mini
  virb paper run cole-2022 --data /data --part table1,table2
  virb paper compare kotar-2021 --results results --out compared
"""
ACTIONS = ("list", "status", "run", "compare", "claims")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=ACTIONS, metavar="ACTION", help="one of %(choices)s")
    parser.add_argument("name", nargs="?", metavar="PAPER", help="its name (virb paper list)")
    parser.add_argument("--results", metavar="DIR|FILE", help="for claims and compare: your scores")
    parser.add_argument(
        "--meta", metavar="FILE.csv", help="columns encoder, identity, and others: which encoder is which"
    )
    parser.add_argument(
        "--scale",
        choices=("full", "mini"),
        default="full",
        help="the paper's size, or the mini world's (default: full)",
    )
    parser.add_argument("--part", default="", metavar="A,B", help="only these parts")
    parser.add_argument("--claim", default="", metavar="A,B", help="for claims: only these")
    parser.add_argument(
        "--out", metavar="DIR", help="for run: where results go (default: results); for compare: the page"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from virb import registry
    from virb.errors import UsageError

    if args.what == "list":
        return _list(args)
    if args.name is None:
        raise UsageError(f"Name a paper: {', '.join(registry.names('papers'))}.")
    paper: Paper = registry.load("papers", args.name)
    return {"claims": _claims, "compare": _compare}[args.what](args, paper)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _list(args: argparse.Namespace) -> int:
    from virb import registry
    from virb.figures.tables import print_table

    papers: list[Paper] = registry.load_all(registry.entries("papers"))[0]
    rows = [
        {
            "name": paper.name,
            "parts": sum(not part.why_not for part in paper.parts),
            "claims": len(paper.claims),
            "summary": paper.summary,
            "citation": paper.citation,
        }
        for paper in papers
    ]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table([{key: row[key] for key in ("name", "parts", "claims", "summary")} for row in rows])
    return 0


def _claims(args: argparse.Namespace, paper: Paper) -> int:
    from virb.papers.claims import ask, counted

    names = _words(args.claim)
    if args.results:
        from virb.papers.evidence import evidence

        frame, found = _ours(args, paper)
        tables = evidence(paper, args.scale, frame, found)
        label = paper.scale(args.scale).label
        source = f"{args.results}, {len(found.names)} of {len(paper.scale(args.scale).members())} encoders" + (
            f", {label}" if label else ""
        )
    else:
        tables, source = paper.published(), "the numbers that the paper printed"
    answers = ask(paper, tables, names)
    if args.json:
        print(json.dumps({"paper": paper.name, "of": source, "claims": [one.row() for one in answers]}, indent=2))
        return 0
    print(f"{paper.name}, of {source}: {counted(answers)}.")
    for one in answers:
        _print_claim(one.row(), one)
    return 0


def _print_claim(row: dict[str, Any], one: Any) -> None:
    from virb.papers.claims import interval

    print(f"\n{row['claim']} ({row['where']}): {row['sentence']}")
    shown = interval(one.answer)
    about = f"; of {row['about']}" if row["n"] else ""
    print(
        f"  {row['answer'].upper()}"
        + (f": {shown}" if shown else "")
        + (f"; n = {row['n']} {row['of']}" if row["n"] else "")
        + about
    )
    print(f"  {row['why']}")


def _compare(args: argparse.Namespace, paper: Paper) -> int:
    from pathlib import Path

    from virb.errors import UsageError
    from virb.papers import page
    from virb.papers.compare import compare
    from virb.system.files import check_writable

    if not args.results:
        raise UsageError("Name your scores with --results: a results folder, or a CSV or Parquet file.")
    out = Path(args.out or f"compared/{paper.name}")
    check_writable(out)
    frame, found = _ours(args, paper)
    made = compare(paper, args.scale, frame, found, _words(args.part))
    written = page.write(made, out)
    if args.json:
        cells = json.loads(made.cells.to_json(orient="records"))
        order = json.loads(made.agreement.to_json(orient="records"))
        claims = {
            of: [one.row() for one in answers] for of, answers in (("published", made.theirs), ("ours", made.ours))
        }
        print(
            json.dumps(
                {"summary": page.summary(made), "cells": cells, "order": order, "claims": claims, "notes": made.notes},
                indent=2,
            )
        )
        return 0
    print(page.summary(made))
    for row in made.differing.to_dict("records"):
        print(
            f"  differs: {row['encoder']} on {row['task']}: {row['ours']:.4g}, published {row['published']:.4g} ({row['difference']:+.3g})"
        )
    print(f"wrote {written[0]} and, beside it, {', '.join(path.name for path in written[1:5])}")
    return 0


def _ours(args: argparse.Namespace, paper: Paper) -> tuple[Any, Any]:
    """The scores and which of their encoders are the paper's; what was left out is said."""
    import sys
    from pathlib import Path

    from virb.cli.common import say_notes
    from virb.papers.identity import identify, read_known
    from virb.scores.read import read_scores

    frame = read_scores(args.results, meta=args.meta)
    say_notes(frame)
    scale = paper.scale(args.scale)
    known = read_known(Path(args.results), paper) if Path(args.results).is_dir() else None
    found = identify(frame, paper, scale, known)
    if found.unmatched:
        few = ", ".join(found.unmatched[:5]) + (
            f" and {len(found.unmatched) - 5} more" if len(found.unmatched) > 5 else ""
        )
        print(
            f"note: not declared to be of {paper.name}, and left out: {few}. A column identity (--meta FILE.csv) says which is which.",
            file=sys.stderr,
        )
    return frame, found
