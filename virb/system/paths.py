"""Where virb keeps what it can compute again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_root(override: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the caches: ``override``, else ``$VIRB_CACHE``, else the platform's user cache + ``/virb``.

    The folder is not created here: the writer does that, so that reading a path has no side effect.
    """
    if override is not None:
        return Path(override).expanduser()
    named = os.environ.get("VIRB_CACHE")
    if named:
        return Path(named).expanduser()
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "virb"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "virb" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "virb"


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path that means the same from any working folder: ``~`` expanded, absolute, links left as they are."""
    return Path(os.path.abspath(Path(path).expanduser()))
