"""What several verbs share."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from virb.contracts.examples import DataContext


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
