"""One failure costs what it is about: an error becomes a line and a failure, and the other jobs go on."""

from __future__ import annotations

import traceback
from typing import Any

from virb.errors import VirbError
from virb.evaluation.grid import Failure
from virb.system import devices
from virb.system.progress import Progress


class StoppedError(Exception):
    """The run was stopped; a head in training ends without a record."""


class Guard:
    """A block whose errors are kept in ``failures`` and noted; interrupts end the run, a stop ends the block."""

    def __init__(self, what: str, failures: list[Failure], progress: Progress) -> None:
        self.what = what
        self.failures = failures
        self.progress = progress

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        if not isinstance(error, StoppedError):
            self.failures.append(failure(self.what, error))
            self.progress.note(self.failures[-1].line)
        return True


def failure(what: str, error: Exception) -> Failure:
    """Return what failed and why, in a sentence where the cause is known."""
    if isinstance(error, VirbError):
        return Failure(what, str(error))
    details = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Failure(
            what, f"the memory is not enough ({first}). Close other programs, or give it another machine.", details
        )
    return Failure(what, f"{type(error).__name__}: {error}", details)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory, the machine's or a GPU's, ran out."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or devices.is_out_of_memory(error)
        or (isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text))
    )
