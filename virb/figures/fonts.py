"""Fonts of the figures, and texts that they can draw: a name is drawn as it is written, in any script."""

from __future__ import annotations

import functools
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text

from virb import registry
from virb.contracts.style import Style

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same on every machine
#: Fonts that are looked for, in this order, for letters that the first one lacks; none of them need be there.
WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Droid Sans Fallback", "IPAGothic", "Microsoft YaHei", "SimHei", "Meiryo", "PingFang SC", "Hiragino Sans",
    "Arial Unicode MS", "Unifont",
)  # fmt: skip


@functools.cache
def families() -> tuple[str, ...]:
    """Fonts that texts are drawn with: the one that comes with matplotlib, then those installed that have more letters."""
    own: list[Style] = registry.load_all(registry.entries("styles"))[0]
    for file in (file for style in own for file in style.files):
        fontManager.addfont(file)
    installed = {entry.name for entry in fontManager.ttflist}
    wanted = [name for style in own for name in style.fonts] + list(WIDE_FONTS)
    return (FONT, *[name for name in dict.fromkeys(wanted) if name in installed and name != FONT])


@functools.cache
def settings() -> dict[str, Any]:
    """Return matplotlib's settings that the styles found ask for, in place of ours."""
    own: list[Style] = registry.load_all(registry.entries("styles"))[0]
    return {name: value for style in own for name, value in style.settings.items()}


@functools.cache
def _letters() -> frozenset[int]:
    return frozenset(code for name in families() for code in get_font(findfont(name)).get_charmap())


def drawable(text: str) -> str:
    """``text`` with letters that no font here has spelled as \\u4e2d, so that two names never look alike.

    >>> drawable("resnet$_50^")
    'resnet$_50^'
    """
    if text.isascii() or all(ord(letter) in _letters() or letter.isspace() for letter in text):
        return text
    known = _letters()
    return "".join(
        letter if ord(letter) in known or letter.isspace() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def spell_out(fig: Figure) -> None:
    """Let every text of a figure be one that its fonts can draw."""
    for text in fig.findobj(Text):
        shown = drawable(text.get_text())
        if shown != text.get_text():
            text.set_text(shown)
    for axes in fig.axes:
        for axis in (axes.xaxis, axes.yaxis):
            # Labels of ticks are written anew with every drawing, from what set_ticks was given.
            labels: Any = getattr(getattr(axis.get_major_formatter(), "func", None), "args", ({},))[:1]
            for given in labels:
                if isinstance(given, dict):
                    given.update({place: drawable(str(label)) for place, label in given.items()})
