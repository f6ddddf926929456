"""The log of a run: a CSV that follows the checkpoint, and the boards of other programs that are asked for."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virb.errors import VirbError
from virb.pretraining.boards import numbers_of, open_boards
from virb.system import documents

MOST_BYTES = 1 << 30
_INTEGERS = ("step", "images")


class Log:
    """The CSV log; rows past ``step`` belong to work that was lost, and are removed when it opens.

    A log that cannot be read, or rows of it, do not keep a run from going on: what is damaged is left out, the old
    file is kept as ``log.damaged.csv``, and ``note`` says so.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.step = step
        self.note = ""
        self.rows: list[dict[str, str]] = []
        if step:
            self.rows, is_whole = _read(path, step)
            if not is_whole:
                aside = path.with_suffix(".damaged.csv")
                self._move(aside)
                self.note = f"{path} was damaged: {len(self.rows)} sound rows are kept, the file is now {aside.name}"
        self.columns: list[str] = list(dict.fromkeys(key for row in self.rows for key in row))

    def _move(self, aside: Path) -> None:
        try:
            os.replace(self.path, aside)
        except OSError as error:
            raise VirbError(f"Cannot write {self.path}: {error.strerror or error}. Remove it.") from error

    def __enter__(self) -> Log:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                raise OSError("it is no regular file; remove it")
            self.file = self.path.open("w", newline="", encoding="utf-8")
            self._header()
        except OSError as error:
            raise self._failed(error) from error
        self.boards = open_boards(self.path.parent, self.step)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.file.close()
        except OSError as error:
            if kind is None:
                raise self._failed(error) from error
        finally:
            for board in self.boards:
                board.close()

    def _failed(self, error: OSError) -> VirbError:
        return VirbError(f"Cannot write the log {self.path}: {error.strerror or error}. Is the disk full?")

    def _header(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.writer = csv.DictWriter(self.file, self.columns)
        if self.columns:
            self.writer.writeheader()
            self.writer.writerows(self.rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; a number that is new (the nearest neighbours' accuracy, once an epoch) adds a column."""
        text = {
            key: "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
            for key, value in row.items()
        }
        self.rows.append(text)
        new = [key for key in row if key not in self.columns]
        try:
            if new:
                self.columns += new
                self._header()
            else:
                self.writer.writerow(text)
            self.file.flush()
        except OSError as error:
            raise self._failed(error) from error
        for board in self.boards:
            board.add(numbers_of(row), row["step"])

    def flush(self) -> None:
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise self._failed(error) from error


def _read(path: Path, step: int) -> tuple[list[dict[str, str]], bool]:
    """Return the rows of a log up to ``step``, in order, and whether all of it could be read."""
    if not path.exists() and not path.is_symlink():
        return [], True
    try:
        text = documents.read_text(path, most=MOST_BYTES)
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (documents.DocumentError, csv.Error):
        return [], False
    if not lines:
        return [], True
    columns, *rest = lines
    if len(set(columns)) != len(columns) or "step" not in columns or not all(columns):
        return [], False
    rows, last, is_whole = [], 0, True
    for values in rest:
        row = dict(zip(columns, values, strict=False))
        if len(values) != len(columns) or not all(map(_is_number, row.items())):
            is_whole = False
        elif last < int(row["step"]) <= step:
            rows.append(row)
            last = int(row["step"])
        elif int(row["step"]) <= last:
            is_whole = False
    return rows, is_whole


def _is_number(cell: tuple[str, str]) -> bool:
    name, text = cell
    if name in _INTEGERS:
        return text.isascii() and text.isdigit() and len(text) < 16
    try:
        float(text or 0)
    except ValueError:
        return False
    return len(text) < 40
