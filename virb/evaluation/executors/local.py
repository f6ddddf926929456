"""Run the grid in this process."""

from __future__ import annotations

from virb.contracts.executor import Executor, Progress, Report, Work
from virb.errors import UsageError


def check(place: str) -> None:
    """Raise UsageError if a place is named."""
    if place:
        raise UsageError(f"Unknown executor 'local:{place}': local is this process, and takes no place.")


def run(work: Work, place: str, progress: Progress) -> Report:
    """Run all that is missing."""
    return work.here()


EXECUTOR = Executor(name="local", summary="this process", run=run, check=check, is_here=True)
