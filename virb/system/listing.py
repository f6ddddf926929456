"""The Python files of a folder, listed anew where the folder is not as it was."""

from __future__ import annotations

import os
from typing import NamedTuple

from virb.system.files import FileState, file_state, settled_state

Inside = tuple[str, ...]  # the names that lead from a folder to a file


class _Listing(NamedTuple):
    states: dict[str, FileState | None]  # of the folder and of those in it, each from before it was listed
    files: list[Inside]
    by_stem: dict[str, list[Inside]]  # with "-" for "_"


_known: dict[str, _Listing] = {}


def python_files(folder: str | os.PathLike[str], *, stem: str | None = None) -> list[Inside]:
    """Return the Python files in a folder and one level below it, but those that begin with "_", as names below it, in order.

    With ``stem`` only those that are called so, be it with "-" or with "_". A folder is not listed again while it and the
    folders in it stay as they are; in the moments after a change it is listed each time.
    """
    place = os.fspath(folder)
    found = _known.get(place)
    if found is None or any(file_state(seen) != state for seen, state in found.states.items()):
        found = _listing_of(place)
        if None in found.states.values():
            _known.pop(place, None)
        else:
            _known[place] = found
    return list(found.files if stem is None else found.by_stem.get(stem.replace("_", "-"), []))


def _listing_of(folder: str) -> _Listing:
    states: dict[str, FileState | None] = {}

    def names_in(place: str) -> list[str]:
        states[place] = settled_state(place)
        try:
            return [name for name in os.listdir(place) if not name.startswith(".") and name != "__pycache__"]
        except OSError:
            return []

    files: list[Inside] = []
    for name in names_in(folder):
        if name.endswith(".py"):
            files.append((name,))
        elif os.path.isdir(path := os.path.join(folder, name)):
            files += [(name, below) for below in names_in(path) if below.endswith(".py")]
    files = sorted(inside for inside in files if not inside[-1].startswith("_"))
    by_stem: dict[str, list[Inside]] = {}
    for inside in files:
        by_stem.setdefault(inside[-1].removesuffix(".py").replace("_", "-"), []).append(inside)
    return _Listing(states, files, by_stem)
