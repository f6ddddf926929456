"""The zoo: encoders that others published, by name; where their files are, and getting them whole.

encoders/zoo.yaml says what there is. A file lies in a folder of its own, ``ZOO/NAME/FILE`` (``ZOO`` is $VIRB_ZOO, else
``zoo`` in the cache folder), under the name it was published with, whether it was fetched or put there by hand. Its
sha256 is kept beside it (``FILE.sha256``, as ``sha256sum -c`` reads it) when it is first seen, and compared every time
after that. Importing this imports neither torch nor what downloads need: ``virb list`` does.
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.errors import CheckpointError, UsageError, VirbError
from virb.system.paths import cache_root

if TYPE_CHECKING:
    from virb.system.progress import Progress

PREFIX = "zoo:"


@dataclass(frozen=True)
class Published:
    """One encoder of zoo.yaml, which says what the fields are.

    Attributes:
        meta: what its records say about it (method, dataset, dataset_size, epochs, ...).
        digest: "md5:HEX" or "sha256:HEX", HEX as long as the publisher prints it; None if it prints none.
        is_papers: whether it is one of the 30 of Kotar et al. 2021, Table 3.
    """

    name: str
    title: str
    url: str
    page: str
    layout: str
    arch: str
    licence: str | None = None
    digest: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    is_papers: bool = False

    @property
    def path(self) -> Path:
        """Where its file is, or has to be put."""
        from urllib.parse import unquote, urlsplit

        file = unquote(urlsplit(self.url).path.rpartition("/")[2])
        return folder() / self.name / file


META = ("method", "role", "dataset", "subset", "balance", "dataset_size", "epochs")


def folder() -> Path:
    """Return the folder of the zoo's files: $VIRB_ZOO, else ``zoo`` in the cache folder. It need not exist."""
    named = os.environ.get("VIRB_ZOO")
    return Path(named).expanduser() if named else cache_root() / "zoo"


def read(path: str | os.PathLike[str]) -> dict[str, Published]:
    """Return the encoders of a file such as encoders/zoo.yaml, by name, in its order."""
    import yaml

    content = yaml.load(Path(path).read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found = {}
    for group in ("paper", "others"):
        for row in content[group]:
            publisher = content["publishers"][row["publisher"]]
            found[row["name"]] = Published(
                name=row["name"],
                title=row["title"],
                url=row["url"],
                page=publisher["page"],
                layout=publisher["layout"],
                arch=content["arch"],
                licence=publisher["licence"],
                digest=row.get("digest"),
                options=row.get("options", {}),
                meta={key: row[key] for key in META if key in row},
                is_papers=group == "paper",
            )
    return found


def published() -> dict[str, Published]:
    """Return the encoders of the zoo, by name."""
    import virb.encoders

    return _published(tuple(virb.encoders.__path__))


@functools.cache
def _published(places: tuple[str, ...]) -> dict[str, Published]:
    files = [Path(place) / "zoo.yaml" for place in places]
    return {name: entry for file in files if file.is_file() for name, entry in read(file).items()}


def find(name: str) -> Published:
    """Return the encoder called ``name`` (without ``zoo:``).

    Raises:
        CheckpointError: there is none; it says which are close.
        UsageError: the name is a pattern.
    """
    zoo = published()
    if name in zoo:
        return zoo[name]
    if is_pattern(name):
        raise UsageError(f"{PREFIX}{name} is a pattern, and one encoder is wanted here. Name it in full.")
    close = difflib.get_close_matches(name.lower(), zoo, 3, 0.5)
    hint = f" Did you mean {' or '.join(PREFIX + other for other in close)}?" if close else ""
    raise CheckpointError(f"The zoo has no encoder called {name!r}.{hint} `virb list encoders` shows all {len(zoo)}.")


def is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def matching(pattern: str) -> list[str]:
    """Return the names that a pattern such as ``swav-*`` matches.

    Raises:
        UsageError: there is none.
    """
    names = fnmatch.filter(published(), pattern)
    if not names:
        raise UsageError(f"{PREFIX}{pattern} matches none of the zoo's encoders. `virb list encoders` shows them.")
    return names


# --------------------------------------------------------------------------------------------------------- fetching


def fetch(entry: Published) -> Path:
    """Return the path of the encoder's file, which is downloaded if it is not there.

    An interrupted download goes on where it was cut. Several processes that want the same file wait for the first one.

    Raises:
        CheckpointError: the file cannot be had, with the address and the place to put it by hand; or it is not the one
            that was published, or not the one that was used before, with both digests.
    """
    from filelock import FileLock, Timeout

    from virb.system.progress import Progress

    path, found, progress = entry.path, None, Progress()
    if not path.is_file():
        lock = FileLock(path.with_name("lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress.note(f"{PREFIX}{entry.name}: another process is fetching it; waiting")
                lock.acquire()
        except OSError as error:
            raise CheckpointError(
                f"Cannot write {path.parent}: {error.strerror or error}. Name another folder in $VIRB_ZOO."
            ) from error
        try:
            if not path.is_file():
                found = _download(entry, path, progress)
        finally:
            lock.release()
    _verify(entry, path, found)
    return path


def _by_hand(entry: Published) -> str:
    return (
        f"By hand: download {entry.url} (published at {entry.page}) and put the file at {entry.path} "
        "($VIRB_ZOO names another folder)."
    )


def _download(entry: Published, path: Path, progress: Progress) -> dict[str, str]:
    """Fetch the file to ``path`` and return its digests."""
    from virb.system.download import DownloadError, digests, download

    part = path.with_name(f"{path.name}.part")
    progress.note(f"{PREFIX}{entry.name}: fetching {entry.url} to {path}")
    try:
        with progress.stage(f"{PREFIX}{entry.name} (MB)") as advance:
            download(entry.url, part, advance=advance, note=progress.note)
    except DownloadError as error:
        raise CheckpointError(f"{PREFIX}{entry.name} could not be fetched: {error}. {_by_hand(entry)}") from error
    found = digests(part)
    problem = _mismatch(entry, found)
    if problem is not None:
        aside = path.with_name(f"{path.name}.bad")
        os.replace(part, aside)
        raise CheckpointError(
            f"{PREFIX}{entry.name}: what {entry.url} gave is not what was published: {problem}. It is kept as {aside}. "
            f"Something on the way may have changed it (a proxy's page?); try again. {_by_hand(entry)}"
        )
    os.replace(part, path)
    return found


def _mismatch(entry: Published, found: Mapping[str, str]) -> str | None:
    """Return how the publisher's digest and the file's differ, in words; None if they agree or none is published."""
    if entry.digest is None:
        return None
    kind, _, expected = entry.digest.partition(":")
    if found[kind].startswith(expected):
        return None
    begins = "is" if len(expected) == len(found[kind]) else "begins with"
    return f"its {kind} is {found[kind]}, and the published one {begins} {expected}"


def _verify(entry: Published, path: Path, found: Mapping[str, str] | None) -> None:
    """Compare a file with the digest that was kept, or with the publisher's, and then keep its own.

    ``found`` has the file's digests if they are known already.

    Raises:
        CheckpointError: they differ, or the file cannot be read.
    """
    from virb.system.download import digests
    from virb.system.files import atomic_write

    kept = path.with_name(f"{path.name}.sha256")
    try:
        found = found or digests(path)
        before = kept.read_text(encoding="utf-8").split()[:1] if kept.is_file() else []
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from error
    if before and before[0] != found["sha256"]:
        raise CheckpointError(
            f"{path} has changed since it was first used: its sha256 is {found['sha256']}, and it was {before[0]} "
            f"({kept}). Remove both files to fetch it again."
        )
    if before:
        return
    problem = _mismatch(entry, found)
    if problem is not None:
        raise CheckpointError(
            f"{path} is not the file that was published: {problem}. Remove it to fetch it again. {_by_hand(entry)}"
        )
    with contextlib.suppress(VirbError), atomic_write(kept) as file:  # a folder shared read-only keeps none
        file.write(f"{found['sha256']}  {path.name}\n".encode())
