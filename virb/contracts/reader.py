"""What a reader is: a public layout of files, read into examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virb.contracts.parts import Option

if TYPE_CHECKING:
    from virb.contracts.examples import Examples


@dataclass(frozen=True)
class Reader:
    """A reader: ``read(context, split, **options)`` returns the examples of "train" or "test".

    A task names it: ``data=reads("NAME", option=...)`` (:func:`virb.images.readers.reads`).
    """

    name: str
    summary: str
    read: Callable[..., Examples]
    options: tuple[Option, ...] = ()
    source: str = ""  # where the layout is published

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
