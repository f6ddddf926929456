"""What an analysis computes: tables, single facts, and notes of what was left out. All of it can be written and read back.

Figures and sentences are made of these alone, so that a figure can be drawn again from its files, a simulation or a report
can have the numbers without the picture, and nothing is shown that no file holds.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.errors import ScoresError
from virb.system.files import atomic_write

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: The part that holds facts, notes, the other parts' names, and which columns are text although they look like numbers.
FACTS = "facts"
_NOTE, _PARTS, _TEXT = "(note)", "(tables)", "(text columns)"  # no fact is called so


class Notes(list[str]):
    """Lines about what was left out or taken for granted, in the order in which it was found."""

    def say(self, *lines: str) -> None:
        """Add lines."""
        self.extend(lines)


class Tables(dict[str, "DataFrame"]):
    """Tables by part ("" is the main one), ``facts`` (text, numbers, lists and maps of them) and ``notes``.

    Example:
        >>> import pandas as pd
        >>> tables = Tables({"": pd.DataFrame({"task": ["a"], "r": [0.5]})}, n=30)
        >>> tables.facts["n"]
        30
    """

    def __init__(self, parts: Mapping[str, DataFrame] | None = None, **facts: Any) -> None:
        super().__init__(parts or {})
        self.facts: dict[str, Any] = dict(facts)
        self.notes = Notes()

    def in_normal_form(self) -> Tables:
        """The same as writing and reading back gives it: no index, and every column text ("" for nothing), whole or other
        numbers, or flags."""
        out = Tables({part: _normal(frame) for part, frame in self.items()})
        out.facts = json.loads(json.dumps(self.facts, default=_plain))
        out.notes.say(*self.notes)
        return out

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write every part as ``NAME.csv`` or ``NAME-PART.csv``, at full precision, and return the files.

        Facts, notes and the names of the parts go to ``NAME-facts.csv``.
        """
        files = []
        text: dict[str, list[str]] = {}
        for part, frame in self.in_normal_form().items():
            files.append(_path(folder, name, part))
            with atomic_write(files[-1], is_durable=False) as file:
                frame.to_csv(file, index=False)
            odd = [
                str(column) for column in frame if frame[column].dtype == object and _guessed(frame[column]) != "text"
            ]
            text |= {part: odd} if odd else {}
        rows = [(key, _written(value)) for key, value in self.facts.items()]
        rows += [(_NOTE, line) for line in self.notes]
        rows += [(_PARTS, json.dumps(list(self)))] + ([(_TEXT, json.dumps(text, ensure_ascii=False))] if text else [])
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([("fact", "value"), *rows])
        files.append(_path(folder, name, FACTS))
        with atomic_write(files[-1], is_durable=False) as file:
            file.write(lines.getvalue().encode())
        return files

    @classmethod
    def read(cls, folder: Path, name: str) -> Tables:
        """Read what :meth:`write` wrote under ``name``.

        Raises:
            ScoresError: there is no such table.
        """
        path = _path(folder, name, FACTS)
        if not path.exists():
            raise ScoresError(f"There is no table of {name!r} in {folder}. Write it with `virb analyze {name}`.")
        out = cls()
        parts: list[str] = []
        text: dict[str, list[str]] = {}
        for key, value in _rows(path)[1:]:
            if key == _NOTE:
                out.notes.say(value)
            elif key == _PARTS:
                parts = json.loads(value)
            elif key == _TEXT:
                text = json.loads(value)
            else:
                out.facts[key] = _read(value)
        for part in parts:
            out[part] = _frame(_rows(_path(folder, name, part)), set(text.get(part, ())))
        return out


def _path(folder: Path, name: str, part: str) -> Path:
    return Path(folder) / f"{f'{name}-{part}' if part else name}.csv"


def _normal(frame: DataFrame) -> DataFrame:
    import pandas as pd

    columns = [_normal_column(frame.iloc[:, k]) for k in range(frame.shape[1])]
    out = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(len(frame)))
    out.columns = [str(name) for name in frame.columns]
    return out


def _normal_column(column: Series) -> Series:
    import pandas as pd

    values = column.reset_index(drop=True)
    if pd.api.types.is_bool_dtype(values.dtype) and not values.isna().any():
        return values.astype(bool)
    if pd.api.types.is_integer_dtype(values.dtype) and not values.isna().any():
        return values.astype("int64")
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return values.astype(float)
    if isinstance(values.dtype, pd.StringDtype):
        return values.fillna("").astype(object)
    if (
        pd.api.types.infer_dtype(values, skipna=False) == "string"
    ):  # nothing but text: a million names are not looked at again
        return values
    return pd.Series(
        ["" if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)], dtype=object
    )


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _frame(rows: list[list[str]], text: set[str]) -> DataFrame:
    import pandas as pd

    header, *body = rows or [[]]
    body = [row for row in body if row] if len(header) > 1 else [row or [""] for row in body]
    columns: list[Any] = []
    for k, name in enumerate(header):
        values: Any = pd.Series([row[k] for row in body], dtype=object)
        kind = "text" if name in text else _guessed(values)
        if kind == "flag":
            values = values == "True"
        elif kind == "whole":
            values = values.map(int).astype("int64")
        elif kind == "number":
            values = values.map(lambda cell: float(cell) if cell else float("nan")).astype(float)
        columns.append(values)
    out = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(len(body)))
    out.columns = header
    return out


def _guessed(texts: Series) -> str:
    """What a column of cells looks like."""
    cells = [str(cell) for cell in texts]
    if cells and all(cell in ("True", "False") for cell in cells):
        return "flag"
    if cells and all(re.fullmatch(r"-?\d{1,18}", cell) for cell in cells):
        return "whole"
    number = re.compile(r"|-?(\d+\.?\d*(e[+-]?\d+)?|inf)")
    return "number" if all(number.fullmatch(cell) for cell in cells) else "text"


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _written(value: Any) -> str:
    """Text as it is unless it would be read as something else; all else as JSON."""
    if isinstance(value, str) and value == value.strip() and _read(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
