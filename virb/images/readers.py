"""Readers by name, for tasks that share a public layout of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from virb import registry
from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import resolve
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError
from virb.images.decode import shown


def reads(name: str, **options: Any) -> Callable[[DataContext, str], Examples]:
    """Return what a task's ``data`` is, by the reader called ``name``, which is looked for when the task runs.

    Raises:
        RegistryError: when it is called: there is no such reader, or its file is broken.
        UsageError: when it is called: the reader has no such option.
    """

    def data(context: DataContext, split: str) -> Examples:
        reader = registry.load("readers", name)
        assert isinstance(reader, Reader)
        return reader.read(context, split, **resolve(reader.options, options, f"The reader {name!r}"))

    return data


def of_layouts() -> list[Reader]:
    """Return the readers that know their layout when they see it, by name."""
    return [reader for reader in registry.load_all(registry.entries("readers"))[0] if reader.recognise is not None]


def recognised(path: Path) -> tuple[Reader, Recognised] | None:
    """Return the reader of what lies at ``path``, and how it would read it; None where none knows the layout.

    Raises:
        DataError: a reader knows the layout, and something in it is wrong.
    """
    for reader in of_layouts():
        assert reader.recognise is not None
        found = reader.recognise(path)
        if found is not None:
            return reader, found
    return None


def looked_at(path: Path) -> tuple[Reader, Recognised]:
    """Return what :func:`recognised` does.

    Raises:
        DataError: no reader knows the layout; the text names all that are known.
    """
    found = recognised(path)
    if found is None:
        known = "; ".join(reader.layout for reader in of_layouts())
        raise DataError(f"{shown(path)} is in none of the layouts that are read: {known}.")
    return found
