"""What several verbs share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.options import RunOptions, flags

if TYPE_CHECKING:
    import argparse

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
            type=flag.type,
            default=default,
            metavar=flag.metavar,
            choices=flag.choices,
            help=text,
        )


def run_options(args: argparse.Namespace) -> RunOptions:
    """Return the options that the flags of :func:`add_run_flags` say."""
    return RunOptions(**{flag.field: getattr(args, flag.field) for flag in flags() if hasattr(args, flag.field)})


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


def say_problems(frame: pd.DataFrame) -> None:
    """Print to standard error what a reader of these scores must know: files that are no records, scores of two things."""
    from virb.records.compare import mixed

    for sentence in [*frame.attrs.get("problems", ()), *mixed(frame)]:
        print(sentence, file=sys.stderr)
