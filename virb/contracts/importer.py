"""What an importer is: it reads the scores that another program wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virb.errors import RegistryError


@dataclass(frozen=True)
class Importer:
    """An importer: ``rows(path)`` yields rows with encoder, task and score, and any others that a tidy table may have.

    ``reads`` says what the path is, "file" or "folder". Wherever scores are named, NAME:PATH reads PATH with it.
    """

    name: str
    summary: str
    reads: str
    rows: Callable[[Path], Iterable[Mapping[str, Any]]]
    source: str = ""  # the program and the version whose files it knows

    def __post_init__(self) -> None:
        if self.reads not in ("file", "folder"):
            raise RegistryError(f"Importer {self.name!r} reads {self.reads!r}; expected 'file' or 'folder'.")
