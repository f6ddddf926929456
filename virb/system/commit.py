"""Which commit of virb runs, where it runs from a checkout."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import virb


@functools.cache
def commit() -> str | None:
    """Return the commit's hash, with "+changes" where git says that files differ from it.

    None where virb is installed and not a checkout. Without git the hash stands alone.
    """
    folder = Path(virb.__file__).resolve().parents[1]
    found = commit_of(folder)
    return f"{found}+changes" if found is not None and _is_changed(folder) else found


def _is_changed(folder: Path) -> bool:
    command = ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"]
    try:
        return bool(subprocess.run(command, capture_output=True, timeout=10, check=True).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return False


def commit_of(folder: Path) -> str | None:
    """Return the hash of the commit that is checked out in ``folder``; None if it is no checkout's top. No program is run."""
    try:
        place = folder / ".git"
        if place.is_file():  # a worktree: the file says where its own part lies
            place = folder / place.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (place / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head if _is_hash(head) else None
        name = head.removeprefix("ref:").strip()
        shared = place / "commondir"
        common = place / shared.read_text(encoding="utf-8").strip() if shared.is_file() else place
        for root in (place, common):
            if (root / name).is_file():
                found = (root / name).read_text(encoding="utf-8").strip()
                return found if _is_hash(found) else None
        for line in (common / "packed-refs").read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line.split()[0] if _is_hash(line.split()[0]) else None
    except (OSError, UnicodeDecodeError):
        return None
    return None


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", text) is not None
