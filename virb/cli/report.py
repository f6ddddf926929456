"""`virb report`: a static HTML report of a results folder or of a tidy CSV of scores."""

from __future__ import annotations

import argparse

TITLE = "Image encoders on end tasks"
HELP = "write the scores, their ranking and the analyses as HTML pages that open from disk"
EPILOG = """examples:
  virb report --results results                        writes report/index.html
  virb report --results scores.csv --out paper-report --title "Encoders of the spring study"
  virb report --results results --analyses correlation,critical-difference
  virb report --results results --no-analyses          words and tables only, in seconds

The folder holds all it links to: zip it, mail it, or put it on a web server. Running again replaces it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", metavar="DIR|FILE.csv", required=True,
        help="a results folder, or a tidy CSV with the columns encoder, task, score (higher is better) and what else is "
        "known, as for `virb analyze`",
    )  # fmt: skip
    parser.add_argument("--out", default="report", metavar="DIR", help="where the report goes (default: report)")
    parser.add_argument("--probe", help="use the scores of this probe, where the results hold several")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--analyses", metavar="a,b", help="draw these analyses only (default: all that the scores allow)"
    )
    which.add_argument("--no-analyses", action="store_true", help="draw no analyses")
    parser.add_argument("--title", default=TITLE, help="title of the report")
    parser.add_argument("--date", metavar="TEXT", help="date to print (default: today; '' for none)")


def run(args: argparse.Namespace) -> int:
    import datetime
    import shlex

    from virb import registry
    from virb.cli.common import say_problems
    from virb.report.build import write_report
    from virb.scores.table import read_scores

    names = [] if args.no_analyses else registry.names("analyses")
    if args.analyses is not None:
        names = list(dict.fromkeys(name.strip() for name in args.analyses.split(",") if name.strip()))
        for name in names:
            registry.find("analyses", name)
    scores = read_scores(args.results, probe=args.probe)
    say_problems(scores)
    given = {"--results": args.results, "--probe": args.probe, "--analyses": args.analyses, "--out": args.out}
    given |= {"--title": None if args.title == TITLE else args.title, "--date": args.date}
    words = [word for option, value in given.items() if value is not None for word in (option, value)]
    words += ["--no-analyses"] if args.no_analyses else []
    words += [word for folder in args.include for word in ("--include", folder)]
    report = write_report(
        scores,
        args.out,
        analyses=names,
        title=args.title,
        source=args.results,
        command=shlex.join(["virb", "report", *words]),
        date=datetime.date.today().isoformat() if args.date is None else args.date,
        tell=print,
    )
    print(report.index)
    return 1 if any(one.run.status == "failed" for one in report.drawn) else 0
