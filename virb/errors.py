"""The errors a user can meet: their text says what was found, what was expected and what to do; the CLI prints it."""

from __future__ import annotations


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


class NoMemoryError(VirbError):
    """An encoder does not fit into its device's memory, even with one image."""

    def __init__(self, encoder: str, device: object) -> None:
        super().__init__(
            f"{encoder} does not fit into the memory of {device}, even with one image at a time. Free some, use --dtype bf16, "
            "or another --device."
        )
