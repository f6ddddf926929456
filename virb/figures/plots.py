"""The style of every figure: paper sizes, one palette for categories and methods, files that are the same every time.

Figures are made without pyplot, so that importing or drawing never touches a display or another library's state.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch, Rectangle

from virb.contracts.task import Category
from virb.figures.fonts import drawable, families, settings, spell_out

COLUMN = 3.3  # inches: one column of a two-column paper
PAGE = 6.9  # inches: the full width

# Okabe and Ito's colours, told apart with any of the common colour deficiencies; then Tol's "muted".
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
TOL_MUTED = ("#332288", "#999933", "#882255", "#44AA99", "#AA4499", "#117733", "#DDCC77", "#88CCEE", "#CC6677")
BLACK, GREY, LIGHT = "#222222", "#8C8C8C", "#D9D9D9"
CATEGORY_COLOURS: Mapping[str, str] = {
    Category.SEMANTIC_IMAGE.value: "#0072B2",
    Category.STRUCTURAL_IMAGE.value: "#E69F00",
    Category.SEMANTIC_PIXEL.value: "#009E73",
    Category.STRUCTURAL_PIXEL.value: "#CC79A7",
}
DIVERGING = "RdBu_r"  # blue to red through white: safe for the colour blind, and 0 is no colour
SEQUENTIAL = "cividis"
DPI = 300

STYLE: dict[str, Any] = {
    "font.family": list(families()),
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "virb",
    "text.parse_math": False,  # names are drawn as they are written: $, _ and ^ are letters
    "svg.fonttype": "path",
    "figure.dpi": 100,
}


class style:
    """Context in which a figure is drawn: ``with plots.style(): ...``; leaves matplotlib's settings as they were."""

    def __enter__(self) -> style:
        chosen: Any = {**STYLE, **settings()}
        self._context = mpl.rc_context(chosen)
        self._context.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._context.__exit__(*exc)


def figure(width: float = COLUMN, height: float = 2.4, *, layout: str | None = "constrained") -> Figure:
    """Return an empty figure, ``width`` x ``height`` inches, laid out so that no label is cut or overlapped.

    With ``layout=None`` the caller places its axes itself.
    """
    with style():
        engine = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03) if layout else None
        made = Figure(figsize=(width, height), layout=engine)
        FigureCanvasAgg(made)
    return made


def text_width(texts: Iterable[str], size: float, weight: str = "normal") -> float:
    """Width in inches of the widest of ``texts`` set at ``size`` points."""
    return max((_width_at_100(text, weight) for text in texts if text.strip()), default=0.0) * size / 100


@functools.lru_cache(maxsize=4096)
def _width_at_100(text: str, weight: str) -> float:
    files = [findfont(FontProperties(family=family, weight=weight)) for family in families()]
    font = get_font(files)
    font.set_size(100, 72)
    font.set_text(drawable(text), 0.0)
    return font.get_width_height()[0] / 64 / 72


def legend_below(fig: Figure, handles: Sequence[Artist], *, ncols: int) -> None:
    """Put a legend in the lower left corner of a figure whose axes leave 0.13 inch a row for it."""
    fig.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=ncols,
        fontsize=6,
        columnspacing=1.0,
        handlelength=0.8,
        handleheight=0.8,
        borderpad=0.1,
        borderaxespad=0.25,
        labelspacing=0.25,
    )


def save(fig: Figure, file: str | os.PathLike[str] | IO[bytes], kind: str) -> None:
    """Write ``fig`` as ``kind`` ("png", "svg", "pdf"). The same figure gives the same bytes: no date, fixed ids."""
    spell_out(fig)
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {"Software": None})
    with style():
        fig.savefig(file, format=kind, dpi=DPI, metadata=metadata, facecolor="white")


def close(fig: Figure) -> None:
    """Free what the figure holds."""
    fig.clear()


ROLE_COLOURS: Mapping[str, str] = {
    "self-supervised": OKABE_ITO[0],
    "supervised": BLACK,
    "language-supervised": OKABE_ITO[2],
    "untrained": GREY,
    "baseline": "#BDBDBD",
    "unknown": OKABE_ITO[3],
}


def role_colours(roles: Iterable[str]) -> dict[str, str]:
    """Colour of each role that occurs, in the order of ``ROLE_COLOURS``."""
    found = set(roles)
    return {role: colour for role, colour in ROLE_COLOURS.items() if role in found}


def palette(names: Iterable[str], roles: Mapping[str, str] | pd.Series | None = None) -> dict[str, str]:
    """Give every name a colour that depends on the set of names alone, so that figures of one study agree.

    With the ``roles`` of the names the first supervised one is black, and untrained ones and baselines are grey.
    """
    colours, greys = (*OKABE_ITO[:6], *TOL_MUTED), (GREY, "#BDBDBD", "#5F5F5F")
    out: dict[str, str] = {}
    rest = []
    for name in sorted({str(name) for name in names}, key=lambda text: (text.lower(), text)):
        role = "" if roles is None else roles[name]
        if role == "supervised" and BLACK not in out.values():
            out[name] = BLACK
        elif role in ("untrained", "baseline"):
            out[name] = greys[sum(colour in greys for colour in out.values()) % len(greys)]
        else:
            rest.append(name)
    for k, name in enumerate(rest):
        out[name] = colours[k % len(colours)]
    return out


def category_colours(categories: Iterable[str]) -> dict[str, str]:
    """Colour of each category: the four of ViRB have theirs; others follow; tasks without one ("") are grey."""
    out: dict[str, str] = {}
    spare = [colour for colour in (*OKABE_ITO, *TOL_MUTED) if colour not in CATEGORY_COLOURS.values()]
    for category in dict.fromkeys(categories):
        if category == "":
            out[category] = GREY
        elif category in CATEGORY_COLOURS:
            out[category] = CATEGORY_COLOURS[category]
        else:
            out[category] = spare[sum(c not in CATEGORY_COLOURS and c != "" for c in out) % len(spare)]
    return out


def category_handles(categories: Iterable[str]) -> list[Patch]:
    """Legend entries of the categories present, in order; none where tasks have no category."""
    colours = category_colours(categories)
    return [Patch(facecolor=colour, label=name, linewidth=0) for name, colour in colours.items() if name]


def blocks(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of equal labels: (label, first, past the last)."""
    out: list[tuple[str, int, int]] = []
    for k, label in enumerate(labels):
        if out and out[-1][0] == label:
            out[-1] = (label, out[-1][1], k + 1)
        else:
            out.append((label, k, k + 1))
    return out


def box_categories(axes: Axes, categories: Sequence[str], *, linewidth: float = 1.4) -> None:
    """Draw a box in the category's colour round each diagonal block of a square heatmap of unit cells."""
    colours = category_colours(categories)
    for label, start, end in blocks(categories):
        if label:
            size = end - start
            # Drawn over a white line of more width, so that the box shows on dark cells as well.
            for colour, width in (("white", linewidth + 1.0), (colours[label], linewidth)):
                axes.add_patch(
                    Rectangle(
                        (start - 0.5, start - 0.5),
                        size,
                        size,
                        fill=False,
                        edgecolor=colour,
                        linewidth=width,
                        zorder=4,
                        clip_on=False,
                    )
                )


def text_on(colour: Sequence[float]) -> str:
    """Black or white, whichever reads better on an RGB(A) colour with parts in [0, 1]."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.3 else BLACK


def darker(colour: str) -> tuple[float, ...]:
    """The colour as text: letters need more contrast with white paper than a filled box does."""
    return tuple(0.72 * part for part in to_rgb(colour))


def titles(
    fig: Figure,
    title: str,
    note: str = "",
    *,
    handles: Sequence[Artist] = (),
    ncols: int = 0,
    legend_title: str = "",
) -> None:
    """Add a title above, and below a legend and, in small type, what a reader must know: n, the interval, what is left
    out.

    The figure grows by what they need, so that its height at creation is that of the axes alone.
    """
    width, height = fig.get_size_inches()
    note = " ".join(note.split())
    lines = wrapped(note, 6, width - 0.08) if note else []
    labels = [str(handle.get_label()) for handle in handles]
    if handles and not ncols:
        ncols = max(1, min(len(labels), int((width - 0.1) / (text_width(labels, 6) + 0.28))))
    rows = -(-len(labels) // ncols) + bool(legend_title) if handles else 0
    top = 0.2 + 0.14 * (len(wrapped(title, 7.5, width - 0.08, "bold")) - 1)
    note_height, legend_height = 0.115 * len(lines) + 0.05 * bool(lines), 0.13 * rows + 0.05 * bool(rows)
    total = height + top + note_height + legend_height
    with style():
        fig.set_size_inches(width, total)
        engine = fig.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            engine.set(rect=(0, (note_height + legend_height) / total, 1, height / total))
        head = "\n".join(wrapped(title, 7.5, width - 0.08, "bold"))
        fig.text(0.04 / width, 1 - 0.05 / total, head, va="top", fontsize=7.5, weight="bold", linespacing=1.2)
        if lines:
            text = "\n".join(lines)
            fig.text(0.04 / width, 0.03 / total, text, va="bottom", fontsize=6, color="#444444", linespacing=1.25)
        if handles:
            made = fig.legend(
                handles=list(handles),
                loc="lower left",
                bbox_to_anchor=(0.0, note_height / total),
                ncols=ncols,
                fontsize=6,
                title=legend_title or None,
                title_fontsize=6,
                alignment="left",
                columnspacing=1.0,
                handlelength=0.9,
                handleheight=0.8,
                borderpad=0.1,
                borderaxespad=0.25,
                labelspacing=0.25,
            )
            made.set_in_layout(False)


def shortened(text: str, size: float, width: float) -> str:
    """``text`` with its middle left out (…) where it is wider than ``width`` inches at ``size`` points."""
    if text_width([text], size) <= width:
        return text
    for kept in range(len(text) - 1, 3, -1):
        short = f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}"
        if text_width([short], size) <= width:
            return short
    return text[:3] + "…"


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
            lines[-1:] = [word[:fits], word[fits:]]
    return lines or [""]


def colour_handles(colours: Mapping[str, str], used: Iterable[str] | None = None) -> list[Patch]:
    """Legend entries of coloured groups, of those ``used`` if given."""
    wanted = set(colours) if used is None else set(used)
    return [Patch(facecolor=colour, label=name, linewidth=0) for name, colour in colours.items() if name in wanted]


def bars(
    axes: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    colours: Sequence[str],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    size: float = 6.5,
) -> None:
    """Horizontal bars from 0, the first at the top, with intervals where they are finite."""
    place = np.arange(len(labels))
    axes.barh(place, values, color=colours, height=0.72, linewidth=0)
    if low is not None and high is not None:
        ends = np.array([low, high], float)
        has = np.isfinite(ends).all(axis=0)
        axes.hlines(place[has], ends[0, has], ends[1, has], color=BLACK, linewidth=0.8)
    axes.set_yticks(place, labels, fontsize=size)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.axvline(0, color=BLACK, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def bars_height(n: int) -> float:
    """Height in inches of axes with ``n`` horizontal bars."""
    return 0.42 + 0.135 * max(n, 2)


def heatmap(
    axes: Axes,
    frame: pd.DataFrame,
    *,
    cmap: str = SEQUENTIAL,
    vmin: float | None = None,
    vmax: float | None = None,
    digits: int = 2,
    marked: np.ndarray | None = None,
    size: float = 6.0,
) -> AxesImage:
    """A labelled matrix with its numbers in the cells; ``marked`` cells are bold. Missing cells are grey and empty."""
    values = frame.to_numpy(float)
    colours = mpl.colormaps[cmap].with_extremes(bad=LIGHT)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=vmin, vmax=vmax, aspect="auto")
    for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
        text = f"{values[i, j]:.{digits}f}".replace("-", "\u2212")
        weight = "bold" if marked is not None and marked[i, j] else "normal"
        ink = text_on(tuple(np.ravel(image.cmap(image.norm(values[i, j])))))
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color=ink, weight=weight)
    axes.set_xticks(np.arange(frame.shape[1]), [str(c) for c in frame.columns])
    axes.set_yticks(np.arange(frame.shape[0]), [str(c) for c in frame.index])
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(frame.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(frame.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    labels = [str(c) for c in frame.columns]
    width: float = axes.get_figure(root=True).get_size_inches()[0]  # type: ignore[union-attr]
    room = 0.77 * width * axes.get_position().width  # some of the axes' width goes to the labels of the rows
    if text_width(labels, STYLE["xtick.labelsize"]) * len(labels) > room:
        axes.tick_params(axis="x", rotation=90)
    return image


def ends_of(names: Sequence[str], most: int = 60) -> tuple[list[str], str]:
    """Names in order that a figure has room for: all, or the first and the last; and what to say of the others."""
    if len(names) <= most:
        return list(names), ""
    half = most // 2
    return [*names[:half], *names[-half:]], f"The first and last {half} of {len(names)} are drawn; the table has all. "


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


def log_counts(axes: Axes, values: Iterable[float], *, most: int = 4, size: float = 5.8) -> None:
    """Make the horizontal axis logarithmic with ticks at values that occur: at most ``most``, and none beside another."""
    known = sorted(set(values))
    room = (known[-1] / known[0]) ** (1 / (1.5 * most))  # ratio of neighbours whose labels do not touch
    apart = known[:1]
    for value in known[1:-1]:
        if apart[-1] * room <= value <= known[-1] / room:
            apart.append(value)
    known = [*apart, *known[1:][-1:]]
    if len(known) > most:
        known = [known[round(k * (len(known) - 1) / (most - 1))] for k in range(most)]
    axes.set_xscale("log")
    axes.set_xticks(known, [count_text(value) for value in known], fontsize=size)
    axes.minorticks_off()


def task_colours(categories: Mapping[str, str] | pd.Series, tasks: Iterable[str]) -> list[str]:
    """Colour of each task: that of its category."""
    colours = category_colours([categories[task] for task in tasks])
    return [colours[categories[task]] for task in tasks]
