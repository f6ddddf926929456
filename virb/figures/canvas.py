"""What must hold of every figure: nothing is cut or covers anything else, whatever its names are, and it fits on a page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from virb.figures.fonts import given_labels, spell_out
from virb.figures.text import shortened, shortened_names, text_width, wrapped

#: No figure is larger, in inches: 2,100 x 3,300 pixels at 300 an inch, a printed page.
LARGEST = (7.0, 11.0)
LABELS = 0.62  # the largest share of a figure's width that goes to the names of rows
DEEPEST = 1.5  # inches that turned names of columns may take


def settle(fig: Figure) -> list[str]:
    """Let every text of a figure be drawable and fit: names of rows and columns are shortened in the middle where they are
    too long, labels of axes and titles of panels are wrapped. Return letters that had to be spelled, as no font has them."""
    spelled = spell_out(fig)
    for axes in fig.axes:
        _fit_names(axes)
    for _ in range(3):  # what is wrapped moves the axes, and with them the room that others have
        lay_out(fig)
        if sum(_fit_words(axes) for axes in fig.axes) == 0:
            break
    return spelled


def lay_out(fig: Figure) -> None:
    """Put axes where a drawing would, without the drawing, which takes three times as long."""
    engine = fig.get_layout_engine()
    if engine is None or not fig.axes:
        fig.draw_without_rendering()
    else:
        engine.execute(fig)


def _fit_names(axes: Axes) -> None:
    """Shorten what was given as labels of ticks, and turn names of columns that do not fit beside each other."""
    width, height = axes.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    place = axes.get_subplotspec()
    n_columns = place.get_gridspec().ncols if place is not None else 1
    rows, columns = given_labels(axes.yaxis), given_labels(axes.xaxis)
    _shorten(axes.yaxis, rows, LABELS * width / n_columns)
    labels = axes.get_xticklabels()
    if not columns or not labels:  # none, or those of the panel below
        return
    size = _size(axes.xaxis)
    room = (1 - LABELS / 3) * width / n_columns / len(columns)
    if labels[0].get_rotation() == 0 and text_width("\n".join(columns.values()).split("\n"), size) > max(room, 0.1):
        axes.tick_params(axis="x", rotation=90)
    _shorten(axes.xaxis, columns, min(DEEPEST, 0.45 * height + 0.2))


def _shorten(axis: Axis, labels: dict[Any, str], width: float) -> None:
    single = {place: text for place, text in labels.items() if "\n" not in text}
    short = shortened_names(list(single.values()), _size(axis), width)
    labels.update(zip(single, short, strict=True))


def _size(axis: Axis) -> float:
    labels = axis.get_ticklabels()
    return max((float(label.get_fontsize()) for label in labels), default=6.5)


def _fit_words(axes: Axes) -> bool:
    """Wrap labels of axes and panels' titles that are longer than their place; say whether there were any."""
    fig = axes.get_figure(root=True)
    width, height = fig.get_size_inches()  # type: ignore[union-attr]
    box = axes.get_position()
    left, right = box.x0 * width, box.x1 * width
    low, high = box.y0 * height, box.y1 * height
    beside = [one.get_position() for one in fig.axes if one is not axes]  # type: ignore[union-attr]
    row = [one for one in beside if one.y0 < box.y1 and one.y1 > box.y0]
    end = min((one.x0 * width for one in row if one.x0 >= box.x1 - 1e-6), default=width)
    begin = max((one.x1 * width for one in row if one.x1 <= box.x0 + 1e-6), default=0.0)
    middle = (left + right) / 2
    room = max(0.7, min(2 * min(middle - begin, end - middle) - 0.1, right - left + 0.8))
    below = axes.xaxis.label
    if end >= width and text_width(below.get_text().split("\n"), float(below.get_fontsize())) > room:
        # Beside long names the axes are narrow: the label ends where they do, and has the width of the names as well.
        below.set_x(1.0)
        below.set_horizontalalignment("right")
        room = right - begin - 0.06
    changed = _wrap(below, room)
    changed |= _wrap(axes.yaxis.label, max(0.6, high - low + 0.05))
    for title in (axes.title, axes._left_title, axes._right_title):  # type: ignore[attr-defined]
        changed |= _wrap(title, max(0.5, end - left - 0.12), most=2)
    return changed


def _wrap(text: Text, room: float, *, most: int = 4) -> bool:
    words, size, weight = text.get_text(), float(text.get_fontsize()), str(text.get_fontweight())
    if not words.strip() or max(text_width([line], size, weight) for line in words.split("\n")) <= room:
        return False
    lines = wrapped(" ".join(words.split()), size, room, weight)
    if len(lines) > most:
        lines = [*lines[: most - 1], shortened(" ".join(lines[most - 1 :]), size, 0.9 * room)]
    text.set_text("\n".join(lines))
    return True


# ---------------------------------------------------------------------------------------------------------- what went wrong


def faults(fig: Figure) -> list[str]:
    """What is wrong with a figure that was laid out: texts that leave the canvas or cover each other, axes without room, a
    size that no page has. Empty for a sound figure.

    Texts inside of axes may lie on what they describe; those around them may not lie on each other.
    """
    fig.draw_without_rendering()
    width, height = fig.get_size_inches()
    out = []
    if width > LARGEST[0] + 1e-6 or height > LARGEST[1] + 1e-6:
        out.append(f"it is {width:.1f} x {height:.1f} inches; a figure is at most {LARGEST[0]:g} x {LARGEST[1]:g}")
    canvas = Bbox([[-1, -1], [width * fig.dpi + 1, height * fig.dpi + 1]])
    renderer = fig.canvas.get_renderer()  # type: ignore[attr-defined]
    placed = [(text, text.get_window_extent(renderer)) for text in _texts(fig)]
    for text, box in placed:
        if box.x0 < canvas.x0 or box.y0 < canvas.y0 or box.x1 > canvas.x1 or box.y1 > canvas.y1:
            out.append(f"{text.get_text()[:60]!r} leaves the canvas")
    around = [(text, _inner(text, box)) for text, box in placed if not _is_inside(text)]
    for (one, a), (other, b) in itertools.combinations(around, 2):
        if a.overlaps(b):
            out.append(f"{one.get_text()[:40]!r} and {other.get_text()[:40]!r} cover each other")
    for axes in fig.axes:
        box = axes.get_window_extent()
        if axes.get_visible() and min(box.width, box.height) < 0.05 * fig.dpi:
            out.append("the names leave its axes no room")
    return out


def _inner(text: Text, box: Bbox) -> Bbox:
    """A box without the air that letters have: two lines of type may touch."""
    is_turned = 45 < text.get_rotation() % 180 < 135
    x, y = (0.18 * box.width, 0.5) if is_turned else (0.5, 0.18 * box.height)
    return Bbox([[box.x0 + x, box.y0 + y], [box.x1 - x, box.y1 - y]])


def _is_inside(text: Text) -> bool:
    return text.axes is not None and text in text.axes.texts


def _texts(fig: Figure) -> Iterator[Text]:
    """Texts that are seen."""
    for text in fig.texts:
        yield text
    for legend in [*fig.legends, *(one for axes in fig.axes if (one := axes.get_legend()) is not None)]:
        yield from (text for text in [*legend.get_texts(), legend.get_title()] if text.get_text().strip())
    for axes in fig.axes:
        if not axes.get_visible() or not axes.axison:
            continue
        titles = [axes.title, axes._left_title, axes._right_title]  # type: ignore[attr-defined]
        for text in [*axes.texts, *titles, axes.xaxis.label, axes.yaxis.label]:
            if text.get_visible() and text.get_text().strip():
                yield text
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                label = tick.label1
                is_seen = tick.get_visible() and label.get_visible() and label.get_text().strip()
                slack = 1e-9 * max(abs(low), abs(high), 1e-12)
                if is_seen and low - slack <= tick.get_loc() <= high + slack:
                    yield label
