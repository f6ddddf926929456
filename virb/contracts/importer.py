"""What an importer is: it reads the scores that another program wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virb.errors import RegistryError

READS = {"file": "a file", "folder": "a folder", "either": "a file or a folder"}


@dataclass(frozen=True)
class Importer:
    """An importer: ``rows(path)`` yields rows with encoder, task and score, and any others that a tidy table may have.

    ``reads`` says what the path is: "file", "folder" or "either". Wherever scores are named, NAME:PATH reads PATH with it.

    Three fields of a row are for :mod:`virb.scores.imported`, and no columns: ``is_main`` where a score comes in several
    metrics, of which the source's own is the main one; ``group``, a mapping of what scores of one task must agree in to be
    compared, for tasks of several groups become several tasks; ``better``, "lower" for errors, whose sign is changed there. A text among
    the rows is a note to the reader: what was left out, and why.
    """

    name: str
    summary: str
    reads: str
    rows: Callable[[Path], Iterable[Mapping[str, Any] | str]]
    source: str = ""  # the program and the version whose files it knows

    def __post_init__(self) -> None:
        if self.reads not in READS:
            raise RegistryError(f"Importer {self.name!r} reads {self.reads!r}; expected {', '.join(READS)}.")
