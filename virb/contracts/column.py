"""What a column of the tidy table is: something that every record says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column: ``of(record)`` returns a number, a text, a truth value, or None where the record does not say."""

    name: str
    summary: str
    of: Callable[[Mapping[str, Any]], str | int | float | bool | None]
