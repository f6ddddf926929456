"""The log of a run: a CSV that follows the checkpoint, and TensorBoard where that is installed."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _tensorboard(folder: Path, step: int) -> Any:
    """A TensorBoard writer beside the log, where TensorBoard is installed; what comes after ``step`` was lost."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)


class Log:
    """The CSV log; rows past ``step`` belong to work that was lost, and are removed when it opens."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.step = step
        self.rows: list[dict[str, str]] = []
        if step and path.exists():
            with path.open(newline="") as file:
                self.rows = [
                    row for row in csv.DictReader(file) if row.get("step", "").isdigit() and int(row["step"]) <= step
                ]
        self.columns: list[str] = list(self.rows[0]) if self.rows else []

    def __enter__(self) -> Log:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("w", newline="")
        self._header()
        self.board = _tensorboard(self.path.parent, self.step)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()

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
        if new:
            self.columns += new
            self._header()
        else:
            self.writer.writerow(text)
        self.file.flush()
        if self.board is not None:
            for key, value in row.items():
                if key not in ("step", "images", "seconds") and value is not None:
                    self.board.add_scalar(key, value, row["step"])

    def flush(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
