"""Which virb this is: its version, and the commit where it runs from a source tree."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import virb


@functools.cache
def commit() -> str:
    """Return the commit of the source tree that this virb runs from, with "+changes" where files differ; else "".

    An installed virb lies in no source tree of its own, whatever repository its folder is in.
    """
    root = Path(virb.__file__).resolve().parent.parent
    if not (root / ".git").exists() or not (root / "setup.cfg").is_file():
        return ""
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}+changes" if changes else head
