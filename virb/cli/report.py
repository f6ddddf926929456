"""`virb report`: a static HTML report of a results folder or of a tidy CSV of scores."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from virb.cli.common import SCORES_OPTIONS, add_data_flag, add_scores_arguments, data_context, parse_options, scores_of

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Image encoders on end tasks"
HELP = "write the scores, their ranking and the analyses as HTML pages that open from disk"
EPILOG = """examples:
  virb report --results results                        writes report/index.html
  virb report --results scores.csv --out paper-report --title "Encoders of the spring study"
  virb report --results results --analyses correlation,critical-difference
  virb report --results results --no-analyses          words and tables only, in seconds
  virb report --results results --against results-old  with a page of what changed

The folder holds all it links to: zip it, mail it, or put it on a web server. Running again replaces it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scores_arguments(parser, is_required=True)
    parser.add_argument("--out", default="report", metavar="DIR", help="where the report goes (default: report)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--analyses", metavar="a,b", help="draw these analyses only (default: all that the scores allow)"
    )
    which.add_argument("--no-analyses", action="store_true", help="draw no analyses")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="set an option of those analyses that have it, such as missing=drop-tasks; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--examples", type=int, default=8, metavar="N",
        help="show N test examples of each end task with their targets, and what the best encoders say (default: 8; 0: none)",
    )  # fmt: skip
    parser.add_argument(
        "--look-at",
        default="",
        metavar="A,B",
        help="show the predictions of these encoders instead of the best of each end task",
    )
    add_data_flag(parser, "where the data sets lie, for --examples; as for evaluate")
    parser.add_argument(
        "--against",
        metavar="DIR|FILE",
        help="earlier scores: a page says what changed since, and why where the records tell",
    )
    parser.add_argument("--quiet", action="store_true", help="print the report's path alone")
    parser.add_argument("--title", default=TITLE, help="title of the report")
    parser.add_argument("--date", metavar="TEXT", help="date to print (default: today; '' for none)")


DEFAULTS = (("title", TITLE), ("examples", 8))


def run(args: argparse.Namespace) -> int:
    import datetime
    import shlex

    from virb import registry
    from virb.figures.analysing import check_options
    from virb.figures.running import n_processes_for
    from virb.report.build import write_report
    from virb.system.allocator import collect_seldom, keep_freed_memory

    keep_freed_memory()
    collect_seldom()
    names = [] if args.no_analyses else registry.names("analyses")
    if args.analyses is not None:
        names = list(dict.fromkeys(name.strip() for name in args.analyses.split(",") if name.strip()))
        for name in names:
            registry.find("analyses", name)
    options = parse_options(args.option)
    check_options(names, options)
    scores = scores_of(args)
    against = None
    if args.against:
        from virb.scores.read import read_scores

        against = read_scores(args.against, wide=args.wide, units=args.unit, better=args.better)
    report = write_report(
        scores,
        args.out,
        analyses=names,
        options=options,
        title=args.title,
        source=args.results,
        command=shlex.join(["virb", "report", *_words(args)]),
        date=datetime.date.today().isoformat() if args.date is None else args.date,
        against=against,
        against_source=args.against or "",
        data=data_context(args.data),
        n_examples=args.examples,
        look_at=_chosen(args.look_at, scores),
        n_processes=n_processes_for(scores),
        tell=(lambda line: None) if args.quiet else print,
    )
    print(report.index)
    return 1 if any(one.status == "failed" for one in report.drawn) else 0


def _chosen(text: str, scores: pd.DataFrame) -> list[str]:
    """The encoders that are named, each of which must have scores."""
    from virb import registry
    from virb.errors import UsageError

    names = [name.strip() for name in text.split(",") if name.strip()]
    known = set(scores["encoder"])
    for name in names:
        if name not in known:
            raise UsageError(f"--look-at {name!r}: it has no scores here. {registry.suggest(name, known)}")
    return names


def _words(args: argparse.Namespace) -> list[str]:
    """The call again, as words, for the report to print."""
    words: list[str] = []
    for name in (
        *SCORES_OPTIONS,
        "analyses",
        "option",
        "out",
        "no_analyses",
        "against",
        "examples",
        "look_at",
        "data",
        "title",
        "date",
        "include",
    ):
        value = getattr(args, name)
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list):
            words += [word for each in value for word in (option, each)]
        elif value is True:
            words.append(option)
        elif value not in (None, False) and (value or name == "date") and (name, value) not in DEFAULTS:
            words += [option, str(value)]
    return words
