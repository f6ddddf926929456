"""Which images lie below a folder, with an account of every file: found, used, left out and why."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virb.contracts.images import Accounting
from virb.errors import DataError
from virb.images.decode import SUFFIXES, shown

# What programs leave beside a user's files: thumbnails, checkpoints, waste baskets. Hidden files and folders go with them.
TOOL_FOLDERS = (
    *("@eadir", "__macosx", "#recycle", "$recycle.bin", "@recycle", "@tmp", "lost+found", "system volume information"),
    *("__pycache__", "lightroom previews.lrdata"),
)
TOOL_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini")

TOOLS = "hidden, or left by tools"
OTHER = "no image by its ending"
NOWHERE = "a link that leads nowhere"
LOOP = "a link back to a folder above"
STRAY = "beside the class folders"
DEEPER = "in a folder below"


@dataclass
class Listing:
    """The images of a folder: paths below it with forward slashes, sorted; and what was left out, by reason."""

    paths: list[str] = field(default_factory=list)
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: str, n: int = 1) -> None:
        if n:
            before = self.left_out.get(reason, (0, shown(path)))
            self.left_out[reason] = (before[0] + n, before[1])


def account(root: str | os.PathLike[str], listings: Iterable[Listing]) -> Accounting:
    """Return what became of every file below ``root``, whose folders' ``listings`` are added up."""
    used, left_out = 0, dict[str, tuple[int, str]]()
    for listing in listings:
        used += len(listing.paths)
        for reason, (n, first) in listing.left_out.items():
            before = left_out.get(reason, (0, first))
            left_out[reason] = (before[0] + n, before[1])
    found = used + sum(n for n, _ in left_out.values())
    return Accounting(shown(root), found, used, left_out)


def list_images(root: str | os.PathLike[str], *, is_deep: bool = True) -> Listing:
    """List the images below ``root``, by their ending, in linked folders too.

    What is called like an image counts as one, even a link that leads nowhere or a pipe: reading it fails then, and
    says so. Files that are hidden, left by tools or of other endings are left out, and counted.

    Args:
        is_deep: whether to look into subfolders; if not, their files are left out and counted.

    Raises:
        DataError: the folder cannot be read.
    """
    listing = Listing()
    _walk(Path(root), "", listing, [], is_deep)
    listing.paths.sort()
    return listing


def class_folders(root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the folders in ``root`` that may be classes: as numbers where all are, else as text.

    Raises:
        DataError: the folder cannot be read, or two names differ by spaces or by how accents are written alone.
    """
    names = [entry.name for entry in _scan(Path(root)) if entry.is_dir() and not is_of_tools(entry.name)]
    seen: dict[str, str] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFC", name).split())
        if plain in seen:
            raise DataError(
                f"{shown(root)} has the class folders {shown(seen[plain])!r} and {shown(name)!r}, which look the same. "
                "Join them, or rename one."
            )
        seen[plain] = name
    if all(re.fullmatch(r"[0-9]+", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def natural(name: str) -> list[tuple[int, str]]:
    """Return what to sort by so that 10 comes after 9.

    >>> sorted(["10.tar", "9.tar"], key=natural)
    ['9.tar', '10.tar']
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def strays(root: str | os.PathLike[str]) -> Listing:
    """Return what lies in ``root`` beside its class folders: nothing of it is used."""
    listing = Listing()
    for entry in _scan(Path(root)):
        if is_of_tools(entry.name):
            listing.leave_out(TOOLS, entry.name, _count(entry.path) if entry.is_dir() else 1)
        elif not entry.is_dir():
            listing.leave_out(STRAY if is_image_name(entry.name) else _why_no_image(entry), entry.name)
    return listing


def is_of_tools(name: str) -> bool:
    """Whether a file or folder is hidden, or of those that programs leave behind."""
    return name.startswith(".") or name.lower() in TOOL_FOLDERS or name.lower() in TOOL_FILES


def is_image_name(name: str) -> bool:
    """Whether a file is called like an image."""
    return name.lower().endswith(SUFFIXES)


def _walk(folder: Path, below: str, listing: Listing, above: Sequence[tuple[int, int]], is_deep: bool) -> None:
    """Add what is in ``folder``, called ``below`` from the root; ``above`` are the folders on the way to it."""
    here = [*above, _place(folder)]
    for entry in _scan(folder):
        path = below + entry.name
        is_folder = entry.is_dir()
        if is_of_tools(entry.name):
            listing.leave_out(TOOLS, path, _count(entry.path) if is_folder else 1)
        elif is_folder and not is_deep:
            listing.leave_out(DEEPER, path, _count(entry.path))
        elif is_folder and _place(Path(entry.path)) in here:
            listing.leave_out(LOOP, path)
        elif is_folder:
            _walk(Path(entry.path), f"{path}/", listing, here, is_deep)
        elif is_image_name(entry.name):
            listing.paths.append(path)
        else:
            listing.leave_out(_why_no_image(entry), path)


def _why_no_image(entry: os.DirEntry[str]) -> str:
    return NOWHERE if entry.is_symlink() and not os.path.exists(entry.path) else OTHER


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"The folder {shown(folder)} cannot be read: {error.strerror or error}.") from error


def _place(folder: Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _count(folder: str) -> int:
    """Return how many files lie below a folder, links not followed."""
    return sum(len(files) for _, _, files in os.walk(folder))
