"""Files from the web: whole or not at all, going on where a connection was cut. Standard library only."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from virb.errors import VirbError

TIMEOUT_S = 60.0
PAUSE_S = 1.0  # before a cut connection is tried again
BLOCK = 1 << 20


class DownloadError(VirbError):
    """A file cannot be fetched; the text says why, and what was kept."""


def download(
    url: str, part: Path, *, advance: Callable[[int, int], None], note: Callable[[str], None] = lambda text: None
) -> None:
    """Fetch ``url`` to ``part``, going on from what is there (HTTP ranges; from the start if the server knows none).

    It goes on by itself as long as each connection brings something new. Beside ``part``, ``PART.tag`` keeps the
    server's name for the version that was begun (ETag or Last-Modified), so that two versions are never joined; it is
    gone when the file is whole. ``advance(done, total)`` is told in MB, ``note`` of every connection that was cut.

    Raises:
        DownloadError: there is no connection, the server refuses, or the disk cannot hold it. What came is kept.
    """
    tag = part.with_name(f"{part.name}.tag")
    best = _size(part) if tag.is_file() else 0
    while (problem := _attempt(url, part, tag, advance)) is not None:
        now = _size(part)
        if now <= best:
            goes_on = f"; the {now:,} bytes that came are kept, and the same command goes on there" if now else ""
            raise DownloadError(f"{problem}{goes_on if tag.is_file() else ''}")
        best = now
        note(f"{problem}; going on at {best:,} bytes")
        time.sleep(PAUSE_S)
    tag.unlink(missing_ok=True)


def digests(path: Path) -> dict[str, str]:
    """Return the file's sha256 and md5, in hexadecimal."""
    sums = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for running in sums.values():
                running.update(block)
    return {name: running.hexdigest() for name, running in sums.items()}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _attempt(url: str, part: Path, tag: Path, advance: Callable[[int, int], None]) -> str | None:
    """Fetch what ``part`` lacks in one connection; return None when it is whole, else what went wrong."""
    request = urllib.request.Request(url, headers={"User-Agent": "virb", "Accept-Encoding": "identity"})
    have = _size(part) if tag.is_file() else 0
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing of the file lies beyond what is here
            if error.headers.get("Content-Range", "").strip() == f"bytes */{have}":
                return None
            tag.unlink(missing_ok=True)
            return _attempt(url, part, tag, advance)
        hint = "" if error.code >= 500 else "; the file may have moved"
        return f"the server answered {error.code} {error.reason}{hint}"
    except (http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        return f"there is no connection ({getattr(reason, 'strerror', None) or reason or type(error).__name__})"
    with response:
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            tag.unlink(missing_ok=True)
            return "the server answered with another part of the file than was asked for"
        done = have if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        free = shutil.disk_usage(part.parent).free + (0 if done else _size(part))
        if total is not None and total - done > free:
            raise DownloadError(
                f"{(total - done) / 1e6:,.1f} MB are to come, and {part.parent} has {free / 1e6:,.1f} MB free; make room"
            )
        etag = response.headers.get("ETag", "")
        version = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        try:
            if version:
                tag.write_text(version, encoding="utf-8")
            else:
                tag.unlink(missing_ok=True)
            with part.open("ab" if done else "wb") as file:
                while True:
                    try:
                        block = response.read(BLOCK)
                    except (http.client.HTTPException, OSError) as error:
                        return f"the connection was cut ({error or type(error).__name__})"
                    if not block:
                        break
                    file.write(block)
                    done += len(block)
                    if total is not None:
                        advance(done // 1_000_000, -(-total // 1_000_000))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
            raise DownloadError(f"{part} cannot be written: {what}") from error
    return None if total in (None, done) else f"the connection was cut at {done:,} of {total:,} bytes"
