"""What a figure style is: fonts and settings that figures are drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Style:
    """A style, used as soon as it is found, or where ``--style`` names it if it ``is_asked_for``.

    ``files`` are font files to make known; ``fonts`` are families that are looked for, in this order, for letters that
    the first font lacks; ``settings`` are matplotlib's (rcParams), in place of ours. Without ``has_words`` figures have no
    title and no footnote: they are written to a file beside the figure. ``widths`` are those that a figure may have, in
    inches: one between is drawn at the next one up. ``formats`` are the files that it writes of each figure.
    """

    name: str
    summary: str
    fonts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_asked_for: bool = False
    has_words: bool = True
    widths: tuple[float, ...] = ()
    formats: tuple[str, ...] = ()
