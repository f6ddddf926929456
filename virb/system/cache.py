"""What the cache folder holds, how large it may grow, and clearing it; what a process uses is never touched."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import virb
from virb.errors import UsageError
from virb.system import leases
from virb.system.paths import cache_root

LARGEST_DEFAULT_GB = 100.0
KINDS = ("features", "pretraining", "world", "digests", "encoders", "records")
REMEMBERED = (
    "digests",
    "encoders",
    "records",
)  # small files, each read whole and written anew: gone, they are made again
LIMITED = ("features", "pretraining")  # what counts towards the limit and is removed beyond it; rendering takes longer


@dataclass(frozen=True)
class CacheEntry:
    """One folder of the cache, or all that is remembered of images, of encoder files or of records. ``last_use`` is in seconds since the epoch."""

    kind: str
    what: str
    n_images: int
    n_bytes: int
    last_use: float
    is_in_use: bool
    path: Path


@functools.cache
def code_state(*rooms: str) -> str:
    """Return a digest of the state of the code in some of virb's folders: its files' sizes and times, and the version.

    What is remembered of how code judged a file holds while that code stays as it is.
    """
    here = Path(virb.__file__).parent
    files = sorted(path for room in rooms for path in (here / room).rglob("*.py"))
    states = [(str(path), (found := path.stat()).st_size, found.st_mtime_ns) for path in files]
    return hashlib.sha256(repr((states, virb.__version__)).encode()).hexdigest()


def limit_bytes(root: Path | None = None, limit_gb: float | None = None) -> float:
    """Return how large features and decoded pretraining images together may grow: ``limit_gb``, else ``$VIRB_CACHE_GB``, else what the disk bears.

    The default is half of what the disk could give to the cache (free, and taken by it), at most 100 GB.

    Raises:
        UsageError: the number makes no sense.
    """
    text = os.environ.get("VIRB_CACHE_GB", "")
    if limit_gb is None and text:
        try:
            limit_gb = float(text)
        except ValueError as error:
            raise UsageError(f"$VIRB_CACHE_GB is {text!r}; expected a number of gigabytes, as 50.") from error
    if limit_gb is not None:
        if not limit_gb >= 0:
            raise UsageError(f"The cache's limit is {limit_gb} GB; expected 0 or more.")
        return limit_gb * 1e9
    place = cache_root(root)
    existing = next((folder for folder in (place, *place.parents) if folder.is_dir()), None)
    if existing is None:
        return LARGEST_DEFAULT_GB * 1e9
    taken = sum(leases.size(folder) for kind in LIMITED for folder in _folders(place / kind))
    return min(LARGEST_DEFAULT_GB * 1e9, (shutil.disk_usage(existing).free + taken) / 2)


def entries(root: Path | None = None) -> list[CacheEntry]:
    """Return what the cache holds, the longest unused first."""
    readers = {"features": _feature_entry, "pretraining": _pretraining_entry, "world": _world_entry}
    found = [read(folder) for kind, read in readers.items() for folder in _folders(cache_root(root) / kind)]
    found += [entry for kind in REMEMBERED for entry in _remembered(kind, cache_root(root) / kind)]
    return sorted(found, key=lambda entry: entry.last_use)


def trim(limit: float, root: Path | None = None) -> int:
    """Remove features and decoded pretraining images, the longest unused first, until they take at most ``limit`` bytes.

    Returns how many bytes went. What a process uses stays, even if it alone is more than the limit.
    """
    places = [cache_root(root) / kind for kind in LIMITED]
    for place in places:
        leases.remove_leftovers(place)
    folders = [(leases.last_use(folder), folder, leases.size(folder)) for place in places for folder in _folders(place)]
    total, gone = sum(n_bytes for _, _, n_bytes in folders), 0
    for _, folder, n_bytes in sorted(folders):
        if total - gone <= limit:
            break
        if leases.remove(folder):
            gone += n_bytes
    return gone


def clear(kind: str = "all", root: Path | None = None) -> tuple[int, list[CacheEntry]]:
    """Remove everything of ``kind`` (one of :data:`KINDS` or "all") that no process uses.

    Returns:
        How many bytes went, and the entries that stayed because they are in use.
    """
    gone, stayed = 0, []
    for entry in entries(root):
        if kind not in ("all", entry.kind):
            continue
        if _remove(entry):
            gone += entry.n_bytes
        else:
            stayed.append(entry)
    for folder in ("features", "pretraining", "world"):
        leases.remove_leftovers(cache_root(root) / folder)
    return gone, stayed


def _folders(place: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(leases.REMOVED)]
    return []


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _feature_entry(folder: Path) -> CacheEntry:
    state = _read(folder / "state.json")
    what = f"{state.get('layer', '?')} of {state.get('encoder', '?')} on {state.get('images', '?')}"
    return _entry("features", folder, what if state else "not finished", state.get("rows"), leases.is_held(folder))


def _pretraining_entry(folder: Path) -> CacheEntry:
    state = _read(folder / "state.json")
    what = str(state.get("images", "not finished"))
    return _entry("pretraining", folder, what, state.get("rows"), leases.is_held(folder))


def _world_entry(folder: Path) -> CacheEntry:
    manifest = _read(folder / "manifest.json")
    if folder.suffix == ".partial":
        what, is_in_use = f"{folder.stem.rpartition('-')[0]}, not finished", _is_rendering(folder)
    else:
        what = f"{manifest.get('name', folder.name)}/{manifest.get('split', '?')} at {manifest.get('size', '?')} px"
        is_in_use = leases.is_held(folder)
    sizes = [manifest.get("n_examples", 0), manifest.get("n_frames", 0)]
    n_images = math.prod(n for n in sizes if isinstance(n, int))
    return _entry("world", folder, what, n_images, is_in_use)


def _entry(kind: str, folder: Path, what: str, n_images: object, is_in_use: bool) -> CacheEntry:
    n = n_images if isinstance(n_images, int) else 0
    return CacheEntry(kind, what, n, leases.size(folder), leases.last_use(folder), is_in_use, folder)


def _remembered(kind: str, place: Path) -> list[CacheEntry]:
    """What is remembered, as one entry: of images a file a root (64 bytes an image), of encoders and of their records a file each."""
    sizes, times = [], []
    with contextlib.suppress(OSError):
        for file in place.iterdir():
            found = file.stat()
            sizes.append(found.st_size)
            times.append(found.st_mtime)
    if not sizes:
        return []
    of = {"digests": "root", "encoders": "file", "records": "encoder"}[kind]
    what = f"of {len(sizes)} {of}{'s' * (len(sizes) > 1)}"
    n_images = sum(sizes) // 64 if kind == "digests" else 0
    return [CacheEntry(kind, what, n_images, sum(sizes), max(times), False, place)]


def _remove(entry: CacheEntry) -> bool:
    if entry.kind in REMEMBERED:
        shutil.rmtree(entry.path, ignore_errors=True)
        return not entry.path.exists()
    return _remove_partial(entry.path) if entry.path.suffix == ".partial" else leases.remove(entry.path)


def _is_rendering(partial: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(f"{partial.with_suffix('')}.lock", timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _remove_partial(partial: Path) -> bool:
    """Remove the chunks of a set that is not finished, unless a process renders it."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(f"{partial.with_suffix('')}.lock", timeout=0):
            shutil.rmtree(partial, ignore_errors=True)
    except (Timeout, OSError):
        return False
    return not partial.exists()
