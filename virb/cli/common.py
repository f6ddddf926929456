"""What several verbs share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.contracts.options import Flag, RunOptions, flags

if TYPE_CHECKING:
    import pandas as pd

    from virb.contracts.examples import DataContext


def add_run_flags(
    parser: argparse.ArgumentParser,
    *,
    only: Sequence[str] | None = None,
    helps: Mapping[str, str] | None = None,
    **defaults: str,
) -> None:
    """Add the flags of :class:`RunOptions`, or ``only`` some of its fields; ``helps`` and ``defaults`` replace its own."""
    for flag in flags():
        if only is not None and flag.field not in only:
            continue
        default = defaults.get(flag.field, getattr(RunOptions, flag.field))
        text = (helps or {}).get(flag.field, flag.help)
        if flag.type is bool:
            parser.add_argument(flag.name, dest=flag.field, action="store_true", help=text)
            continue
        if default is not None:
            text += f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"
        parser.add_argument(
            flag.name,
            dest=flag.field,
            type=_parser(flag),
            default=default,
            metavar=flag.metavar,
            choices=flag.choices,
            help=text,
        )


def _parser(flag: Flag) -> Callable[[str], Any]:
    """Return what makes a flag's value of its text, named for what argparse says of others."""
    if not flag.is_several and not flag.words:
        return flag.type

    def parse(text: str) -> Any:
        if flag.is_several:
            return tuple(flag.type(part) for part in text.split(",") if part.strip())
        return text if text in flag.words else flag.type(text)

    parse.__name__ = "list of numbers" if flag.is_several else f"number or {' or '.join(flag.words)}"
    return parse


def run_options(args: argparse.Namespace) -> RunOptions:
    """Return the options that the flags of :func:`add_run_flags` say."""
    return RunOptions(**{flag.field: getattr(args, flag.field) for flag in flags() if hasattr(args, flag.field)})


def add_data_flag(
    parser: argparse.ArgumentParser,
    help: str = "where the data sets lie; NAME=DIR places one of them elsewhere (may be repeated; default: $VIRB_DATA)",
) -> None:
    """Add ``--data``, which :func:`data_context` reads."""
    parser.add_argument("--data", metavar="[NAME=]DIR", action="append", default=[], help=help)


def data_context(values: Sequence[str]) -> DataContext:
    """Return the context for ``--data`` values, each DIR or NAME=DIR.

    The part before the first ``=`` is a name unless it has a path's separator in it, or the whole is a folder and the
    part behind is none: data may lie below ``.../split=1``.

    Raises:
        UsageError: a folder does not exist, or two roots are named.
    """
    from virb.contracts.examples import DataContext
    from virb.errors import UsageError
    from virb.system.paths import absolute

    root: Path | None = None
    places: dict[str, Path] = {}
    for value in values:
        name, equals, folder = value.partition("=")
        is_placed = bool(equals and name) and not any(mark in name for mark in (os.sep, "/", os.altsep or os.sep))
        if is_placed and absolute(value).is_dir() and not (folder and absolute(folder).is_dir()):
            is_placed = False
        path = absolute(folder if is_placed else value)
        if (is_placed and not folder) or not path.is_dir():
            raise UsageError(f"--data {value}: there is no folder {path}.")
        if is_placed:
            places[name] = path
        elif root is not None:
            raise UsageError(f"--data names two folders, {root} and {path}. Use NAME=DIR to place single data sets.")
        else:
            root = path
    return DataContext(root=root, places=places)


def print_json(table: pd.DataFrame) -> None:
    """Print a table as a JSON array of objects; missing values are null."""
    print(json.dumps(json.loads(table.to_json(orient="records")), indent=2))


def add_table_flags(parser: argparse.ArgumentParser) -> None:
    """Add what every verb takes that prints scores."""
    parser.add_argument(
        "--format",
        choices=("table", "md", "tex", "csv", "json"),
        default="table",
        help="how scores are printed: a table, Markdown, LaTeX (booktabs), or every row at full precision as CSV or JSON",
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument(
        "--sort",
        default="",
        metavar="ORDER",
        help="order of encoders: rank (default for more than four), name, given, an end task, or a column about encoders",
    )
    parser.add_argument(
        "--columns",
        default="",
        metavar="A,B",
        help="show these: end tasks, mean-rank, or columns about encoders such as role, method, dataset",
    )


def print_scores(table: pd.DataFrame, args: argparse.Namespace) -> None:
    """Print scores as the arguments of :func:`add_table_flags` say."""
    from virb.figures.scores_table import scores_text

    columns = [name.strip() for name in args.columns.split(",") if name.strip()]
    print(scores_text(table, args.format, sort=args.sort, columns=columns))


def say_notes(frame: pd.DataFrame) -> None:
    """Print to standard error what a reader of these scores must know: what was left out, what is not of one thing."""
    from virb.records.compare import mixed

    for note in [*frame.attrs.get("notes", ()), *mixed(frame)]:
        print(f"note: {note}", file=sys.stderr)


RESULTS_HELP = (
    "a results folder, or a CSV or Parquet file with the columns encoder, task, score (higher is better) and any others, "
    "such as seed, category, unit, role, method, dataset, dataset_size, epochs; or NAME:PATH, another program's results "
    "(virb list importers)"
)


def add_scores_arguments(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    """Add what every verb takes that reads scores."""
    parser.add_argument("--results", metavar="DIR|FILE|NAME:PATH", required=is_required, help=RESULTS_HELP)
    parser.add_argument("--probe", help="use the scores of this probe, where the results hold several")
    parser.add_argument(
        "--meta",
        metavar="FILE.csv",
        help="what encoders are: the column encoder and others such as role, family, repeat",
    )
    parser.add_argument(
        "--select", action="append", default=[], metavar="A,B|COLUMN=A,B",
        help="keep these encoders or tasks, or rows with these values of a column (role=supervised,...); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="A,B|COLUMN=A,B", help="leave out likewise; may be repeated"
    )
    parser.add_argument(
        "--without-outliers",
        action="store_true",
        help="leave out scores that cannot be right, such as repeats at chance where the task is learned (analysis outliers)",
    )
    parser.add_argument("--wide", action="store_true", help="the file has one row an encoder and one column a task")
    parser.add_argument(
        "--about",
        default="",
        metavar="A,B",
        help="columns of a --wide file that are about encoders though they are numbers",
    )
    parser.add_argument(
        "--unit", action="append", default=[], metavar="[TASK=]UNIT",
        help="unit of the scores where the table does not say it (fraction, percent, metre, ...); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--better",
        action="append",
        default=[],
        metavar="[TASK=]lower",
        help="errors, of which less is better; may be repeated",
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="[TASK=]METRIC",
        help="of another program's results (NAME:PATH), which metric to take where they have several; may be repeated",
    )  # fmt: skip


SCORES_OPTIONS = ("results", "probe", "meta", "select", "exclude", "wide", "about", "unit", "better", "metric")


def scores_of(args: argparse.Namespace) -> pd.DataFrame:
    """Read the scores that the arguments of :func:`add_scores_arguments` name, and print what was left out.

    Raises:
        VirbError: they cannot be read or fail a check.
    """
    from virb.contracts.analysis import comma_list
    from virb.scores.outliers import without_outliers
    from virb.scores.read import read_scores
    from virb.scores.select import chosen

    frame = read_scores(
        args.results,
        probe=args.probe,
        wide=args.wide,
        about=comma_list(args.about),
        meta=args.meta,
        units=args.unit,
        better=args.better,
        metrics=args.metric,
    )
    frame = chosen(frame, select=args.select, exclude=args.exclude)
    if args.without_outliers:
        frame = without_outliers(frame)
    say_notes(frame)
    return frame


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``--option NAME=VALUE`` texts.

    Raises:
        UsageError: one has no name or no equals sign.
    """
    from virb.errors import UsageError

    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {pair!r} is not NAME=VALUE. `--option help` lists an analysis's options.")
        given[name.strip()] = value
    return given
