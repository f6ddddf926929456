"""The style of every figure: paper sizes, one palette for categories and methods, files that are the same every time.

Figures are made without pyplot, so that importing or drawing never touches a display or another library's state.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import IO, Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch as Patch
from matplotlib.patches import Rectangle as Rectangle

from virb.figures import canvas
from virb.figures.colours import BLACK as BLACK
from virb.figures.colours import DIVERGING as DIVERGING
from virb.figures.colours import GREY as GREY
from virb.figures.colours import LIGHT as LIGHT
from virb.figures.colours import OKABE_ITO as OKABE_ITO
from virb.figures.colours import SEQUENTIAL as SEQUENTIAL
from virb.figures.colours import TOL_MUTED as TOL_MUTED
from virb.figures.colours import category_colours as category_colours
from virb.figures.colours import category_handles as category_handles
from virb.figures.colours import colour_handles as colour_handles
from virb.figures.colours import darker as darker
from virb.figures.colours import palette as palette
from virb.figures.colours import role_colours as role_colours
from virb.figures.colours import task_colours as task_colours
from virb.figures.colours import text_on as text_on
from virb.figures.fonts import families
from virb.figures.look import now
from virb.figures.names import Rows as Rows
from virb.figures.names import choose as choose
from virb.figures.scales import one_axis_each as one_axis_each
from virb.figures.text import count_text as count_text
from virb.figures.text import score_text as score_text
from virb.figures.text import sentence as sentence
from virb.figures.text import shortened as shortened
from virb.figures.text import shortened_names as shortened_names
from virb.figures.text import text_width as text_width
from virb.figures.text import wrapped as wrapped

COLUMN = 3.3  # inches: one column of a two-column paper
PAGE = 6.9  # inches: the full width

DPI = 300
MOST_MARKS = 20_000  # points of a figure, above which they are one picture in SVG and PDF (8 MB as shapes)
MOST_HANDLES = 30  # entries that a legend has room for; colours repeat long before

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
        chosen: Any = {**STYLE, **now().settings}
        self._context = mpl.rc_context(chosen)
        self._context.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._context.__exit__(*exc)


class Page(Figure):
    """A figure that knows what is wrong with it."""

    def faults(self) -> list[str]:
        """Fit the texts, and return what is cut or covered, or leaves a page (:func:`virb.figures.canvas.faults`)."""
        with style():
            canvas.settle(self)
            return canvas.faults(self)


def figure(width: float = COLUMN, height: float = 2.4, *, layout: str | None = "constrained") -> Page:
    """Return an empty figure, ``width`` x ``height`` inches, laid out so that no label is cut or overlapped.

    With ``layout=None`` the caller places its axes itself. A style may ask for another width.
    """
    with style():
        # A third of a millimetre more than letters need, for what is measured at another resolution than it is drawn at.
        engine = ConstrainedLayoutEngine(w_pad=0.035, h_pad=0.02, wspace=0.03, hspace=0.03) if layout else None
        made = Page(figsize=(now().width(width), height), layout=engine)
        FigureCanvasAgg(made)
    return made


def width_for(names: Iterable[str], size: float = 6.5) -> float:
    """Width in inches of a figure with ``names`` beside its rows: a column, or more where they are long, so that they need
    not be shortened."""
    return min(PAGE, max(COLUMN, text_width(names, size) + 1.75))


def settle(fig: Figure) -> list[str]:
    """Fit the texts of a figure, and return letters of them that no font of this machine has, which were spelled."""
    with style():
        return canvas.settle(fig)


def save(fig: Figure, file: str | os.PathLike[str] | IO[bytes], kind: str) -> None:
    """Write ``fig``, once its texts are settled, as ``kind`` ("png", "svg", "pdf"). The same figure gives the same bytes:
    no date, fixed ids.
    """
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {"Software": None})
    with style():
        dpi = min([DPI, *(DPI * most / side for most, side in zip(canvas.LARGEST, fig.get_size_inches(), strict=True))])
        engine, dots = fig.get_layout_engine(), fig.dpi
        if kind == "png" and engine is not None:  # savefig would draw once for the layout, and again for the file
            fig.set_dpi(dpi)
            canvas.lay_out(fig)
            fig.set_layout_engine(None)
        try:
            fig.savefig(file, format=kind, dpi=dpi, metadata=metadata, facecolor="white")
        finally:
            fig.set_layout_engine(engine)
            fig.set_dpi(dots)


def close(fig: Figure) -> None:
    """Free what the figure holds."""
    fig.clear()


_captions: WeakKeyDictionary[Figure, str] = WeakKeyDictionary()


def caption(fig: Figure) -> str:
    """What a style that has no words took off a figure: its title and its footnote; "" where it has them."""
    return _captions.get(fig, "")


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
    out. A style without words keeps the legend alone (:func:`caption` has the others).

    The figure grows by what they need, so that its height at creation is that of the axes alone.
    """
    width, height = fig.get_size_inches()
    note = " ".join(note.split())
    if not now().has_words:
        _captions[fig], title, note = f"{title}. {note}".strip(), "", ""
    head = wrapped(title, 7.5, width - 0.08, "bold") if title else []
    lines = wrapped(note, 6, width - 0.08) if note else []
    handles = list(handles)
    if len(handles) > MOST_HANDLES:
        rest = f"and {len(handles) - MOST_HANDLES + 1} more"
        handles = [*handles[: MOST_HANDLES - 1], Patch(facecolor="none", linewidth=0, label=rest)]
    labels = shortened_names([str(handle.get_label()) for handle in handles], 6, width - 0.45)
    if handles:
        fits = max(1, min(len(labels), int((width - 0.1) / (text_width(labels, 6) + 0.28))))
        ncols = min(ncols, fits) if ncols else fits
    rows = -(-len(labels) // ncols) + bool(legend_title) if handles else 0
    top = 0.06 + 0.14 * len(head) if head else 0.02
    note_height, legend_height = 0.115 * len(lines) + 0.05 * bool(lines), 0.13 * rows + 0.05 * bool(rows)
    under = note_height + legend_height
    total = height + top + under
    with style():
        fig.set_size_inches(width, total)
        engine = fig.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            engine.set(rect=(0, under / total, 1, height / total))
        elif engine is None:
            for axes in fig.axes:
                box = axes.get_position(original=True)
                axes.set_position((box.x0, (under + box.y0 * height) / total, box.width, box.height * height / total))
        if head:
            text = "\n".join(head)
            fig.text(0.04 / width, 1 - 0.05 / total, text, va="top", fontsize=7.5, weight="bold", linespacing=1.2)
        if lines:
            text = "\n".join(lines)
            fig.text(0.04 / width, 0.03 / total, text, va="bottom", fontsize=6, color="#444444", linespacing=1.25)
        if handles:
            made = fig.legend(
                handles=handles,
                labels=labels,
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


def bars(
    axes: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    colours: Sequence[str],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    size: float = 6.5,
    rows: Rows | None = None,
) -> None:
    """Horizontal bars from 0, the first at the top, with intervals where they are finite.

    ``rows`` say where they lie, where not all names are drawn.
    """
    rows = rows or Rows([str(label) for label in labels], {}, "")
    place = np.array(rows.places)
    axes.barh(place, values, color=colours, height=0.72, linewidth=0)
    if low is not None and high is not None:
        ends = np.array([low, high], float)
        has = np.isfinite(ends).all(axis=0)
        axes.hlines(place[has], ends[0, has], ends[1, has], color=BLACK, linewidth=0.8)
    rows.label_rows(axes, [str(label) for label in labels], size=size)
    axes.axvline(0, color=BLACK, linewidth=0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def bars_height(n: int) -> float:
    """Height in inches of axes with ``n`` horizontal bars."""
    return 0.42 + 0.135 * min(max(n, 2), 30) + 0.12 * max(n - 30, 0)


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


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Move sorted positions apart to at least ``gap``, as little as possible (the sum of squares of the moves is least)."""
    groups: list[list[float]] = []  # of each run of labels that touch: the mean of where it would begin, and its length
    for k, value in enumerate(values):
        groups.append([value - k * gap, 1.0])
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            mean, n = groups.pop()
            groups[-1] = [(groups[-1][0] * groups[-1][1] + mean * n) / (groups[-1][1] + n), groups[-1][1] + n]
    starts = [mean for mean, n in groups for _ in range(int(n))]
    return [start + k * gap for k, start in enumerate(starts)]
