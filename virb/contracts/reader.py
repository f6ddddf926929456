"""What a reader is: a public layout of files, read into examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.contracts.parts import Option

if TYPE_CHECKING:
    from virb.contracts.examples import Examples


@dataclass(frozen=True)
class Recognised:
    """What a reader says of a folder or file that it can read.

    ``options`` are those to read it with, beside the data set's name. ``target`` is the kind of its targets
    (:data:`virb.contracts.parts.TARGETS`), or "" where it has none. ``about`` says in a sentence what was found.
    ``task`` are more fields of a task on it (as ``classes`` of masks, ``options``), as they would be written.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    target: str = "class"
    about: str = ""
    splits: tuple[str, ...] = ("train", "test")
    task: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """A reader: ``read(context, split, **options)`` returns the examples of "train" or "test".

    A task names it: ``data=reads("NAME", option=...)`` (:func:`virb.images.readers.reads`). A reader of a layout, which
    many data sets may lie in, has the option ``place``, the name under which ``--data NAME=DIR`` says where the set lies,
    and ``recognise(path)``, which looks at a folder or file and says how it would read it, or returns None. Then
    ``virb new task --from`` and ``virb pretrain --data`` read it too; ``layout`` says in some words what it takes.
    """

    name: str
    summary: str
    read: Callable[..., Examples]
    options: tuple[Option, ...] = ()
    source: str = ""  # where the layout is published
    recognise: Callable[[Path], Recognised | None] | None = None
    layout: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
