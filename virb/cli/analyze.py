"""`virb analyze`: draw figures and write tables from a results folder or a tidy CSV of scores."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.cli.common import add_run_flags, add_scores_arguments, parse_options, scores_of
from virb.contracts.analysis import comma_list
from virb.contracts.options import RunOptions

if TYPE_CHECKING:
    from pandas import DataFrame

    from virb.figures.analysing import AnalysisRun

HELP = "draw the papers' figures and tables from results or from a CSV of scores"
EPILOG = """examples:
  virb analyze correlation --results results
  virb analyze correlation --results scores.csv --option adjustment=holm --option exclude=kitti-flow
  virb analyze all --results results --out figures --option missing=drop-tasks
  virb analyze anova --results results --meta encoders.csv          roles, families, factors: column encoder and others
  virb analyze correlation --results paper.csv --wide --unit percent --exclude baseline,scratch
  virb analyze decide --results results --style paper --figures pdf --table tex      for a paper
  virb analyze cka --option encoders=a.pt,b.pt --option images=photos/ --device cuda
  virb list analyses                       what there is, and what each is about
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME|all", help="an analysis (see `virb list analyses`), or all that the input allows"
    )
    add_scores_arguments(parser, is_required=False)
    parser.add_argument(
        "--out", default="figures", metavar="DIR", help="where figures and tables go (default: figures)"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="set an option of the analysis (with all: of those that have it); may be repeated; `--option help` lists them",
    )  # fmt: skip
    add_run_flags(
        parser, only=["device"], helps={"device": "where analyses run encoders: auto, cpu, cuda, cuda:1, mps"}
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.add_argument(
        "--figures", type=comma_list, default=(), metavar="KIND,...",
        help="files of each figure: png, svg, pdf (default: png,svg, and pdf with --style paper)",
    )  # fmt: skip
    parser.add_argument(
        "--style", default="", metavar="NAME",
        help="a style of figures: paper (no title or footnote, which go to NAME-caption.txt; a column or a page wide), or yours",
    )  # fmt: skip
    parser.add_argument(
        "--show", type=comma_list, default=(), metavar="NAME,...",
        help="encoders or tasks to draw in any case, where a figure has no room for all",
    )  # fmt: skip
    parser.add_argument(
        "--table", choices=("table", "md", "tex"), default="",
        help="print the tables too: for the terminal, as Markdown or as LaTeX (both also as files beside the CSV), in bold the "
        "best and what the analysis's test does not tell from it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from virb import registry
    from virb.errors import UsageError
    from virb.figures.analysing import check_options
    from virb.figures.look import drawn_with
    from virb.figures.running import n_processes_for, running
    from virb.system.allocator import collect_seldom, keep_freed_memory
    from virb.system.files import check_writable

    keep_freed_memory()
    collect_seldom()
    is_all = args.name == "all"
    if "help" in args.option:
        if is_all:
            raise UsageError("`--option help` lists the options of one analysis; name it instead of `all`.")
        _print_options(registry.load("analyses", args.name))
        return 0
    given = parse_options(args.option)
    if args.device != RunOptions.device:
        given["device"] = args.device
    names = registry.names("analyses") if is_all else [args.name]
    # A single name that is unknown, or an option that is wrong, is the call's fault: say so before reading anything.
    if is_all:
        check_options(names, given)
    else:
        analysis = registry.load("analyses", args.name)
        analysis.parse_options(given)
        if args.results is None and analysis.needs_scores and Path(RunOptions.out).is_dir():
            args.results = RunOptions.out  # where virb evaluate writes
            print(f"note: the scores are those in {args.results}/", file=sys.stderr)

    # Analyses of encoders and images need no scores; all others say so themselves.
    scores = scores_of(args) if args.results else None
    if is_all and scores is None:
        raise UsageError("`virb analyze all` needs --results, a results folder or a CSV of scores.")
    out = Path(args.out)
    check_writable(out)
    _check_shown(args.show, scores)
    runs: list[AnalysisRun] = []
    with drawn_with(style=args.style, formats=args.figures, show=args.show, table=args.table):
        n_processes = n_processes_for(scores)
        with running(names, scores, out, given, n_processes=n_processes, is_alone=not is_all) as each:
            for run in each:
                runs.append(run)
                if not args.json:
                    _print_run(run)
    failed = [run for run in runs if run.status == "failed"]
    if args.json:
        told = ("name", "status", "reason", "files", "lines")
        json.dump([{key: _plain(vars(run)[key]) for key in told} for run in runs], sys.stdout, indent=2)
        print()
    elif is_all:
        done = sum(run.status == "done" for run in runs)
        skipped = sum(run.status == "skipped" for run in runs)
        print(f"{done} done, {skipped} skipped, {len(failed)} failed; files in {out}")
    return 1 if failed else 0


def _plain(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list) else value


def _check_shown(names: tuple[str, ...], scores: DataFrame | None) -> None:
    """Refuse names to draw that the scores do not have."""
    from virb import registry
    from virb.errors import UsageError

    if scores is not None:
        known = sorted({*map(str, scores["encoder"].unique()), *map(str, scores["task"].unique())})
        for name in names:
            if name not in known:
                raise UsageError(
                    f"--show {name!r} is no encoder or task of the scores. {registry.suggest(name, known)}"
                )


def _print_run(run: AnalysisRun) -> None:
    print(run.headline, file=sys.stderr if run.status == "failed" else sys.stdout)
    for line in run.lines:
        print(f"  {line}")
    for path in run.files:
        print(f"  wrote {path}")
    for text in run.texts:
        print(text)


def _print_options(analysis: Any) -> None:
    print(f"{analysis.name}: {analysis.summary} ({analysis.source})")
    if not analysis.options:
        print("  no options")
    for option in analysis.options:
        default = ",".join(option.default) if isinstance(option.default, tuple) else option.default
        print(
            f"  {option.name}={default}\n      {option.help}"
            + (f" ({', '.join(map(str, option.choices))})" if option.choices else "")
        )
