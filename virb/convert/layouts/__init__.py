"""Layouts of published checkpoints, one file a family; a file that assigns ``LAYOUT`` is one."""

from __future__ import annotations

from virb import registry
from virb.contracts.layout import Layout


def all_layouts() -> list[Layout]:
    """Return every layout, the user's too. A broken file is said on stderr and left out."""
    loaded: list[Layout] = registry.load_all(registry.entries("layouts"))[0]
    return loaded
