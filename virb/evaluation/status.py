"""Which end tasks have their data: found, incomplete (and what is missing), or absent (and where to get it)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virb.errors import DataAbsent, DataError
from virb.images.corrupt import unreadable

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext
    from virb.contracts.task import Task

FOUND, INCOMPLETE, ABSENT = "found", "incomplete", "absent"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Status:
    """The state of one task's data. ``counts`` are the examples found, by split; ``reason`` says what is wrong."""

    task: str
    state: str
    counts: dict[str, int] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def reason_line(self) -> str:
        """The first line of the reason, if there is one."""
        return self.reason.partition("\n")[0]


def data_status(task: Task, context: DataContext, *, decode: bool = False, progress: Progress | None = None) -> Status:
    """Look for the data of ``task`` and count the examples of its splits.

    Listings are read and files looked for, but their contents are not unless ``decode`` asks for every image and target
    to be read; the corrupt ones are then counted and the first is named.
    """
    counts: dict[str, int] = {}
    absent: list[str] = []
    problems: list[str] = []
    for split in task.splits:
        try:
            examples = task.examples(context, split)
            counts[split] = len(examples)
            if decode:
                advance = functools.partial(progress, f"{task.name}: read {split}") if progress is not None else None
                bad = unreadable(examples, is_dense=task.category.is_pixelwise, progress=advance)
                if bad:
                    first = next(iter(bad.values()))
                    problems.append(
                        f"{split}: {len(bad):,} of {len(examples):,} examples cannot be read; the first: {first}"
                    )
        except DataAbsent as error:
            absent.append(str(error))
        except DataError as error:
            problems.append(str(error))
    for split, n in counts.items():
        wanted = task.n_examples.get(split)
        if wanted is not None and n != wanted:
            problems.append(f"{split} has {n:,} examples; expected {wanted:,}.")
    expected = dict(task.n_examples)
    if absent and not counts and not problems:
        return Status(task.name, ABSENT, {}, expected, absent[0])
    if absent or problems:
        return Status(task.name, INCOMPLETE, counts, expected, " ".join(dict.fromkeys(problems + absent)))
    return Status(task.name, FOUND, counts, expected, "")
