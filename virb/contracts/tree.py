"""A label tree: the ancestors of a task's classes, level by level."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virb.errors import DataError

FINEST = "class"  # what the level of the classes themselves is called


@dataclass(frozen=True)
class LabelTree:
    """The levels above the classes, from fine to coarse: each its name, and the ancestor of every class there.

    A reader returns it with its examples (:class:`virb.contracts.examples.Examples`). A record then has the accuracy at
    every level, plain and corrected for chance, from the same predictions: nothing is trained again (Cole et al. 2022,
    Section 4.4). ``rule`` says how one parent was chosen where the source names several.

    >>> LabelTree({"kind": ("vehicle", "vehicle", "animal")}).coarse(["car", "bus", "cat"])
    {'class': ('car', 'bus', 'cat'), 'kind': ('vehicle', 'vehicle', 'animal')}
    """

    levels: Mapping[str, Sequence[str]]
    rule: str = ""
    _levels: tuple[tuple[str, tuple[str, ...]], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        held = tuple((str(name), tuple(map(str, ancestors))) for name, ancestors in self.levels.items())
        object.__setattr__(self, "levels", dict(held))
        object.__setattr__(self, "_levels", held)
        if not held or any(not name or name == FINEST for name, _ in held):
            raise DataError(
                f"A label tree needs named levels above {FINEST!r}, the classes; found {list(self.levels)}."
            )
        sizes = {name: len(ancestors) for name, ancestors in held}
        if len(set(sizes.values())) > 1 or not self.n_classes:
            raise DataError(f"The levels of a label tree must name an ancestor of every class; found {sizes}.")
        for (below, fine), (above, coarse) in itertools.pairwise(held):
            parents: dict[str, str] = {}
            for child, parent in zip(fine, coarse, strict=True):
                if parents.setdefault(child, parent) != parent:
                    raise DataError(
                        f"The label tree's {below} {child!r} lies in {parents[child]!r} and in {parent!r} at {above}; "
                        "expected one parent each, and levels from fine to coarse."
                    )

    @property
    def n_classes(self) -> int:
        return len(self._levels[0][1])

    @property
    def digest(self) -> str:
        """What decides the numbers: the levels' names, and which classes are together in each."""
        content = []
        for name, ancestors in self._levels:
            number = {ancestor: k for k, ancestor in enumerate(dict.fromkeys(ancestors))}
            content.append([name, [number[ancestor] for ancestor in ancestors]])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def coarse(self, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return every level from fine to coarse, the classes themselves first."""
        return {FINEST: tuple(classes), **dict(self._levels)}


def read_tree(path: str | Path, classes: Sequence[str]) -> LabelTree:
    """Read a CSV with the column ``class`` and one column a level, fine to coarse, for ``classes`` in their order.

    Raises:
        DataError: there is no such file, a class is missing or there twice, a cell is empty, or it is no tree.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The label tree {path} cannot be read ({error}).") from error
    if FINEST not in head or len(head) < 2 or len(set(head)) < len(head):
        raise DataError(f"{path} needs a column {FINEST} and one column a level, fine to coarse, each once.")
    bad = next((row for row in rows if len(row) != len(head) or not all(row)), None)
    if bad:
        raise DataError(f"{path}: the line {','.join(bad)!r} has an empty cell or not {len(head)} of them.")
    at = head.index(FINEST)
    of = {row[at]: row for row in rows}
    missing = [name for name in classes if name not in of]
    if missing or len(of) < len(rows):
        said = f"nothing about {', '.join(missing[:5])}" if missing else "something twice about a class"
        raise DataError(f"{path} says {said}; expected one line for each of the {len(classes):,} classes.")
    return LabelTree({level: [of[name][k] for name in classes] for k, level in enumerate(head) if k != at})
