"""Layouts of published checkpoints, one file a family; a file that assigns ``LAYOUT`` is one."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from virb.contracts.layout import Layout


@functools.cache
def all_layouts() -> Mapping[str, Layout]:
    """Return every layout by the name of its file."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        layout = getattr(importlib.import_module(f"{__name__}.{module.name}"), "LAYOUT", None)
        if layout is not None:
            found[module.name] = layout
    return found
