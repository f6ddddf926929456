"""Being asked to stop: SIGTERM and SIGINT end a run after the update under way, with its state saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}  # as shells count a program that ends by a signal


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and its state is saved. Not a failure: no other run of a recipe is begun after it."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.status = STATUS.get(signal.Signals(number), 130)


class Request:
    """The signal that came, if any."""

    number: int | None = None


@contextlib.contextmanager
def on_request() -> Iterator[Request]:
    """Note the first SIGTERM or SIGINT that comes in the block instead of ending at once; the second ends as ever.

    Outside the main thread nothing is noted: Python delivers signals there alone.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[int, object] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        before.clear()

    def note(number: int, _: FrameType | None) -> None:
        request.number = number
        restore()

    for number in STATUS:
        handler = signal.getsignal(number)
        if handler is not None:  # set from outside Python: not ours to replace
            before[number] = handler
            signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
