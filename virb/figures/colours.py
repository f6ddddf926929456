"""Colours of categories, roles and names: the same in every figure of a study, told apart with any colour deficiency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from virb.contracts.task import Category

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


def text_on(colour: Sequence[float]) -> str:
    """Black or white, whichever reads better on an RGB(A) colour with parts in [0, 1]."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.3 else BLACK


def darker(colour: str) -> tuple[float, ...]:
    """The colour as text: letters need more contrast with white paper than a filled box does."""
    return tuple(0.72 * part for part in to_rgb(colour))


def colour_handles(colours: Mapping[str, str], used: Iterable[str] | None = None) -> list[Patch]:
    """Legend entries of coloured groups, of those ``used`` if given."""
    wanted = set(colours) if used is None else set(used)
    return [Patch(facecolor=colour, label=name, linewidth=0) for name, colour in colours.items() if name in wanted]


def task_colours(categories: Mapping[str, str] | pd.Series, tasks: Iterable[str]) -> list[str]:
    """Colour of each task: that of its category."""
    colours = category_colours([categories[task] for task in tasks])
    return [colours[categories[task]] for task in tasks]
