"""Readers by name, for tasks that share a public layout of files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virb import registry
from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import resolve
from virb.contracts.reader import Reader


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
