"""The errors a user can meet: their text says what was found, what was expected and what to do; the CLI prints it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_is_command = False


@contextlib.contextmanager
def spoken_as_command() -> Iterator[None]:
    """Within the block, texts name options as the command line has them."""
    global _is_command
    before, _is_command = _is_command, True
    try:
        yield
    finally:
        _is_command = before


def option(name: str, value: object = None) -> str:
    """Return what a text calls an option: ``--skip-corrupt`` on the command line, ``skip_corrupt=`` in Python.

    >>> option("skip_corrupt")
    'skip_corrupt='
    >>> option("device", "cpu")
    'device="cpu"'
    """
    if not _is_command:
        shown = "" if value is None else f'"{value}"' if isinstance(value, str) else repr(value)
        return f"{name}={shown}"
    flag = "--cache-limit" if name == "cache_limit_gb" else f"--{name.replace('_', '-')}"
    return flag if value is None else f"{flag} {value}"


def data_option(name: str = "") -> str:
    """Return how to say where data lie: all of them, or the set ``name`` alone.

    >>> data_option("pets")
    'data=DataContext(places={"pets": DIR})'
    """
    if _is_command:
        return f"--data {name}=DIR" if name else "--data DIR"
    return f'data=DataContext(places={{"{name}": DIR}})' if name else "data=DIR"


class VirbError(Exception):
    """Base of every error that virb raises on purpose; the command line prints its text and exits with 2."""


class UsageError(VirbError):
    """The call itself cannot be carried out as written (an unknown name, options that exclude each other)."""


class RegistryError(VirbError):
    """A part (a task, a head, a metric, an analysis, ...) is missing or declares what cannot be."""


class BrokenPart(RegistryError):
    """The file of a part is there, but cannot be used: it does not load, or another file claims its name."""


class CheckpointError(VirbError):
    """A weights file cannot be read, or is not the architecture it would have to be."""


class DataError(VirbError):
    """A data set is absent, incomplete, or holds something that the task cannot use."""


class DataAbsent(DataError):
    """A data set is not there at all; the text says where it was looked for and how to obtain it."""


class ScoresError(VirbError):
    """A table of scores cannot be analysed as it stands."""


class TrainingError(VirbError):
    """A training run cannot go on (a loss that is not finite, collapsed embeddings)."""


class RecordError(VirbError):
    """A file in a results folder is not a whole record, or not the record that its place says."""


class NoMemoryError(VirbError):
    """An encoder does not fit into its device's memory, even with one image."""

    def __init__(self, encoder: str, device: object) -> None:
        super().__init__(
            f"{encoder} does not fit into the memory of {device}, even with one image at a time. Free some, use "
            f"{option('dtype', 'bf16')}, or another {option('device')}."
        )
