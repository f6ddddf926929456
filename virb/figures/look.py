"""How figures are drawn this time: the styles in use, the files that are written, and the names that are always drawn."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from virb import registry
from virb.contracts.style import Style
from virb.errors import UsageError

FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Look:
    """What a call asked of its figures. ``style`` is one of those that are asked for ("" for none); ``show`` are names that
    are drawn even where there is no room for all; ``table`` is the form in which tables are set as well ("" for none)."""

    style: str = ""
    formats: tuple[str, ...] = ("png", "svg")
    show: tuple[str, ...] = ()
    table: str = ""

    @property
    def styles(self) -> list[Style]:
        """The styles in use, in the order in which they count: those found, then the one asked for."""
        asked = [one for one in _found() if one.is_asked_for and one.name == self.style]
        return [one for one in _found() if not one.is_asked_for] + asked

    @property
    def settings(self) -> dict[str, Any]:
        """matplotlib's settings that the styles ask for, in place of ours."""
        return {name: value for style in self.styles for name, value in style.settings.items()}

    @property
    def has_words(self) -> bool:
        return all(style.has_words for style in self.styles)

    def width(self, wanted: float) -> float:
        """``wanted``, or the next width up that the styles allow."""
        for style in self.styles:
            if style.widths:
                wanted = min((one for one in style.widths if one >= wanted - 1e-6), default=max(style.widths))
        return wanted


@functools.cache
def _found() -> tuple[Style, ...]:
    return tuple(registry.load_all(registry.entries("styles"))[0])


_now: ContextVar[Look | None] = ContextVar("look", default=None)


def now() -> Look:
    """Return how figures are drawn now."""
    return _now.get() or Look()


def draw_with(look: Look) -> None:
    """Draw with a look from now on: in a process that draws for another."""
    _now.set(look)


@contextmanager
def drawn_with(
    *, style: str = "", formats: Sequence[str] = (), show: Sequence[str] = (), table: str = ""
) -> Iterator[Look]:
    """Draw with a look.

    Raises:
        UsageError: there is no such style, or no such kind of file.
    """
    known = sorted(entry.name for entry in registry.entries("styles"))
    if style and style not in known:
        raise UsageError(f"There is no style {style!r}. {registry.suggest(style, known)}")
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"There is no kind of figure {name!r}. {registry.suggest(name, list(FORMATS))}")
    own = next((one.formats for one in _found() if style and one.name == style), ())
    look = Look(style, tuple(dict.fromkeys(formats)) or own or Look.formats, tuple(show), table)
    token = _now.set(look)
    try:
        yield look
    finally:
        _now.reset(token)
