"""Texts of figures: measured, shortened, wrapped; numbers as tables of papers print them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from matplotlib.font_manager import FontProperties, findfont, get_font

from virb.figures.fonts import drawable, fonts_for


def text_width(texts: Iterable[str], size: float, weight: str = "normal") -> float:
    """Width in inches of the widest of ``texts`` set at ``size`` points."""
    return max((_width_at_100(text, weight) for text in texts if text.strip()), default=0.0) * size / 100


@functools.lru_cache(maxsize=4096)
def _width_at_100(text: str, weight: str) -> float:
    files = [findfont(FontProperties(family=family, weight=weight)) for family in fonts_for(text)]
    font = get_font(files)
    font.set_size(100, 72)
    font.set_text(drawable(text), 0.0)
    return font.get_width_height()[0] / 64 / 72


def shortened(text: str, size: float, width: float) -> str:
    """``text`` with its middle left out (…) where it is wider than ``width`` inches at ``size`` points."""
    if text_width([text], size) <= width:
        return text
    for kept in range(len(text) - 1, 3, -1):
        short = f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}"
        if text_width([short], size) <= width:
            return short
    return text[:3] + "…"


def shortened_names(names: Sequence[str], size: float, width: float) -> list[str]:
    """Names as :func:`shortened` has them; those that would then look alike end with a number."""
    short = [shortened(name, size, width) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    number = {name: k for k, name in enumerate(dict.fromkeys(names), 1)}
    return [
        f"{text} #{number[name]}" if short.count(text) > 1 else text for name, text in zip(names, short, strict=True)
    ]


def wrapped(text: str, size: float, width: float, weight: str = "normal") -> list[str]:
    """Break ``text`` into lines of at most ``width`` inches, between words if it can be."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width([f"{lines[-1]} {word}"], size, weight) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append(word)
        while len(lines[-1]) > 1 and text_width(lines[-1:], size, weight) > width:
            word = lines[-1]
            fits = max(1, sum(text_width([word[:n]], size, weight) <= width for n in range(1, len(word))))
            joint = max((k + 1 for k, letter in enumerate(word[:fits]) if letter in "-_./@|,:;"), default=0)
            fits = joint if joint > fits / 2 else fits  # between the parts of a name, where it has some
            lines[-1:] = [word[:fits], word[fits:]]
    return lines or [""]


def sentence(text: str) -> str:
    """``text`` as the beginning of a sentence: a name of one word stays as it is written."""
    return text[:1].upper() + text[1:] if " " in text else text


def score_text(value: float) -> str:
    """A score as tables print it: .653, −.042, 4.21, 85.3; a zero before the point is left out, and no other."""
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}").replace("-", "−")


def count_text(value: float) -> str:
    """A number of images as papers write it: 98M, 1.28M, 500k."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
