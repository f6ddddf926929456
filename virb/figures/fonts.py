"""Fonts of the figures, and texts that they can draw: a name is drawn as it is written, in any script."""

from __future__ import annotations

import functools
import logging
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text

from virb.figures.look import now

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same on every machine
#: Fonts that are looked for, in this order, for letters that the first one lacks; none of them need be there. Where none of
#: these has a letter, any other font of the machine that has it is taken.
WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Droid Sans Fallback", "IPAGothic", "Microsoft YaHei", "SimHei", "Meiryo", "PingFang SC", "Hiragino Sans",
    "Arial Unicode MS", "Unifont",
)  # fmt: skip
# The font of last resort has a box for every letter, which is what must not be drawn.
NO_FONTS = ("Last Resort", "LastResort", ".LastResort", "Last Resort High-Efficiency", "Adobe Blank")


# A font of other letters without a bold face is no news: titles in it are drawn in its only one.
logging.getLogger("matplotlib.font_manager").addFilter(lambda record: "font weight" not in str(record.msg))


@functools.cache
def families() -> tuple[str, ...]:
    """Fonts that texts are drawn with: the one that comes with matplotlib, then those installed that have more letters."""
    for file in (file for style in now().styles for file in style.files):
        fontManager.addfont(file)
    installed = {entry.name for entry in fontManager.ttflist}
    wanted = [name for style in now().styles for name in style.fonts] + list(WIDE_FONTS)
    return (FONT, *[name for name in dict.fromkeys(wanted) if name in installed and name != FONT])


@functools.cache
def _letters() -> frozenset[int]:
    return frozenset(code for name in families() for code in get_font(findfont(name)).get_charmap())


@functools.cache
def _others() -> tuple[tuple[str, frozenset[int]], ...]:
    """Every other font of the machine with its letters; read only where a name has a letter that ours lack."""
    found: dict[str, frozenset[int]] = {}
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.style != "normal", entry.name)):
        if entry.name not in families() and entry.name not in found and not entry.name.startswith(NO_FONTS):
            try:
                found[entry.name] = frozenset(get_font(entry.fname).get_charmap())
            except (OSError, RuntimeError):
                continue
    return tuple(found.items())


@functools.cache
def _font_with(letter: str) -> str:
    """A font of the machine that has a letter which ours lack, "" where none has it."""
    return next((name for name, letters in _others() if ord(letter) in letters), "")


def _foreign(text: str) -> list[str]:
    """Letters that our fonts lack."""
    if text.isascii():
        return []
    return [letter for letter in dict.fromkeys(text) if ord(letter) not in _letters() and not letter.isspace()]


def fonts_for(text: str) -> list[str]:
    """Fonts that draw ``text``: ours, and those of the machine that have the letters which ours lack."""
    return [*families(), *dict.fromkeys(filter(None, map(_font_with, _foreign(text))))]


def undrawable(text: str) -> list[str]:
    """Letters that no font of this machine has."""
    return [letter for letter in _foreign(text) if not _font_with(letter)]


def drawable(text: str) -> str:
    """``text`` with letters that no font here has spelled as \\u4e2d, so that two names never look alike.

    >>> drawable("resnet$_50^")
    'resnet$_50^'
    """
    for letter in undrawable(text):
        text = text.replace(letter, letter.encode("unicode_escape").decode())
    return text


def spell_out(fig: Figure) -> list[str]:
    """Let every text of a figure be one that its fonts can draw; return the letters that had to be spelled."""
    texts = [(text, text.get_text()) for text in fig.findobj(Text)]
    axes = [axis for one in fig.axes for axis in (one.xaxis, one.yaxis)]
    written = [*(shown for _, shown in texts), *(label for axis in axes for label in given_labels(axis).values())]
    for text, shown in texts:
        text.set_text(drawable(shown))
    for axis in axes:
        # Labels of ticks are written anew with every drawing, from what set_ticks was given.
        labels = given_labels(axis)
        labels.update({place: drawable(label) for place, label in labels.items()})
    everything = "".join(written)
    if fonts := fonts_for(everything)[len(families()) :]:
        for text in fig.findobj(Text):
            text.set_fontfamily([*families(), *fonts])
    return undrawable(everything)


def given_labels(axis: Axis) -> dict[Any, str]:
    """Labels that an axis was given for its places, to be changed in place; none where it makes its own of numbers."""
    labels: Any = getattr(getattr(axis.get_major_formatter(), "func", None), "args", ({},))[:1]
    return labels[0] if labels and isinstance(labels[0], dict) else {}


def spelled_note(letters: list[str]) -> str:
    """What to say of letters that had to be spelled."""
    some = ", ".join(f"{letter} as {drawable(letter)}" for letter in letters[:6])
    more = f" and {len(letters) - 6} more" if len(letters) > 6 else ""
    return (
        f"no font on this machine has some letters of the names, which figures spell: {some}{more}. Install a font that has "
        "them (Noto Sans CJK has Chinese, Japanese and Korean), or name its file in a style of yours (`virb new style`)"
    )
