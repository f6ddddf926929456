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

    Raises:
        UsageError: a folder does not exist, or two roots are named.
    """
    from virb.contracts.examples import DataContext
    from virb.errors import UsageError

    root: Path | None = None
    places: dict[str, Path] = {}
    for value in values:
        name, equals, folder = value.partition("=")
        path = Path(folder if equals else value).expanduser()
        if not path.is_dir():
            raise UsageError(f"--data {value}: there is no folder {path}.")
        if equals:
            places[name] = path
        elif root is not None:
            raise UsageError(f"--data names two folders, {root} and {path}. Use NAME=DIR to place single data sets.")
        else:
            root = path
    if root is None and os.environ.get("VIRB_DATA"):
        root = Path(os.environ["VIRB_DATA"]).expanduser()
    return DataContext(root=root, places=places)


def print_json(table: pd.DataFrame) -> None:
    """Print a table as a JSON array of objects; missing values are null."""
    print(json.dumps(json.loads(table.to_json(orient="records")), indent=2))
