"""CKA between the layers of each encoder, and between encoders: debiased, in one streaming pass, with intervals.

Kotar et al. 2021, Question 3 and Appendix E (MoCo v2 less SwAV: +.18 in the mean over different layers, by the biased
estimate). The biased estimate of wide layers is near 1 whatever they hold (p / (p + n) for noise); this one is
debiased.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.features.activations import (
    DEVICE,
    ENCODERS,
    IMAGES,
    N_IMAGES,
    layer_names,
    layers,
    load_encoders,
    open_images,
)
from virb.stats.cka import FEWEST_BLOCKS, BlockGrams, cka_matrix, mean_off_diagonal

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame | None, notes: Notes, *, encoders: tuple[str, ...], images: str, n: int, batch: int, device: str
) -> Tables:
    """CKA of every pair of layers, within and between encoders; ``means``: an encoder's over its different layers."""
    import pandas as pd

    loaded = load_encoders(encoders, device)
    chosen = open_images(images, n=n)
    grams = {}
    for encoder in loaded:
        blocks = BlockGrams(layer_names(encoder))
        for activations in layers(encoder, chosen, batch=batch):
            blocks.add(activations)
        grams[encoder.name] = blocks
    rows, means, has_intervals = [], [], True
    for encoder in loaded:
        name = encoder.name
        found = cka_matrix(grams[name])
        rows += _rows(name, name, grams[name].layers, grams[name].layers, found)
        method = str(encoder.meta.get("method") or name)
        means.append((name, method, mean_off_diagonal(found.value), found.mean_low, found.mean_high))
        has_intervals &= found.n_blocks >= FEWEST_BLOCKS
    for a, b in itertools.combinations(grams, 2):
        rows += _rows(a, b, grams[a].layers, grams[b].layers, cka_matrix(grams[a], grams[b]))
    first = next(iter(grams.values()))
    if first.n_left_out:
        notes.say(f"the last {first.n_left_out} images do not fill a block of 4 and are left out")
    return Tables(
        {
            "": pd.DataFrame(rows, columns=["encoder_a", "layer_a", "encoder_b", "layer_b", "cka", "low", "high", "n"]),
            "means": pd.DataFrame(means, columns=["encoder", "method", "mean_cka", "low", "high"]),
        },
        images=chosen.name,
        n_images=first.n,
        block=batch,
        has_intervals=bool(has_intervals),
    )


def say(tables: Tables) -> list[str]:
    import numpy as np

    means = tables["means"]
    lines = []
    for row in means.itertuples():
        ends = f" (95% {row.low:.3f} to {row.high:.3f})" if np.isfinite(row.low) else ""
        lines.append(f"{row.encoder}: mean CKA between different layers {row.mean_cka:.3f}{ends}")
    by_method = means.groupby("method")["mean_cka"].mean()
    if len(by_method) > 1:
        lines.append("by method: " + ", ".join(f"{method} {value:.3f}" for method, value in by_method.items()))
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    """``layers``: the layers of each encoder; of several encoders also ``encoders`` (embeddings) and ``pairs``."""
    import pandas as pd

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    names = list(tables["means"]["encoder"])
    squares = {
        (a, b): part.pivot_table(index="layer_a", columns="layer_b", values="cka", sort=False, dropna=False)
        for (a, b), part in table.groupby(["encoder_a", "encoder_b"], sort=False)
    }
    intervals = (
        "95% intervals in the table"
        if facts["has_intervals"]
        else f"fewer than {FEWEST_BLOCKS} blocks, so no intervals"
    )
    note = f"n = {facts['n_images']} images of {facts['images']}, blocks of {facts['block']}; debiased (HSIC_1); {intervals}."
    shown = names[:6]
    more = f" The first {len(shown)} of {len(names)} encoders." if len(names) > len(shown) else ""
    room = 1.7 if len(shown) > 1 else 2.4
    panels = {
        short: squares[name, name] for short, name in zip(plots.shortened_names(shown, 6.5, room), shown, strict=True)
    }
    figures = {"layers": _panels(panels, "CKA between layers", note + more, heights=(2.6, 2.15))}
    if len(names) < 2:
        return figures
    across = {pair: square for pair, square in squares.items() if pair[0] != pair[1]}
    chosen = plots.choose(names, most=20, what="encoders")
    names = chosen.names
    between = pd.DataFrame(1.0, index=names, columns=names)
    for (a, b), square in across.items():
        if {a, b} <= set(names):
            between.loc[a, b] = between.loc[b, a] = square.iloc[-1, -1]
    with plots.style():
        short = dict(zip(names, plots.shortened_names(names, 6.5, 1.3), strict=True))
        long = plots.text_width(list(short.values()), 6.5)
        fig = plots.figure(
            min(plots.PAGE, max(plots.COLUMN, 0.4 + long + 0.3 * len(names))), 0.3 + long + 0.24 * max(3, len(names))
        )
        axes = fig.add_subplot()
        plots.heatmap(axes, between.rename(index=short, columns=short), vmin=0, vmax=1)
        axes.tick_params(axis="x", rotation=90)
        plots.titles(fig, "CKA between encoders (embedding)", f"{note} {chosen.note}")
    figures["encoders"] = fig
    pairs = dict(list(across.items())[:6])
    more = f" The first {len(pairs)} of {len(across)} pairs." if len(across) > len(pairs) else ""
    figures["pairs"] = _panels(pairs, "CKA between layers of two encoders", note + more, heights=(2.7, 2.25))
    return figures


def _panels(squares: Mapping[Any, DataFrame], title: str, note: str, *, heights: tuple[float, float]) -> Figure:
    """Heatmaps of layers by layers, up to three a row; a pair of names goes to the axes, one name above."""
    from virb.figures import plots

    with plots.style():
        columns = min(3, len(squares))
        n_rows = -(-len(squares) // columns)
        fig = plots.figure(plots.COLUMN if columns == 1 else plots.PAGE, heights[columns > 1] * n_rows)
        grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, (names, square) in zip(grid.flat, squares.items(), strict=False):
            plots.heatmap(axes, square, vmin=0, vmax=1, size=5.5)
            axes.tick_params(axis="x", rotation=90)
            axes.set_xlabel("")
            axes.set_ylabel("")
            if isinstance(names, tuple):
                axes.set_xlabel(plots.shortened(names[1], 6, 1.4), fontsize=6)
                axes.set_ylabel(plots.shortened(names[0], 6, 1.2), fontsize=6)
            else:
                axes.set_title(names, fontsize=6.5)
        for axes in list(grid.flat)[len(squares) :]:
            axes.remove()
        plots.titles(fig, title, note)
    return fig


def _rows(a: str, b: str, layers_a, layers_b, m) -> list[tuple[object, ...]]:  # type: ignore[no-untyped-def]
    return [
        (a, x, b, y, m.value[i, j], m.low[i, j], m.high[i, j], m.n)
        for i, x in enumerate(layers_a)
        for j, y in enumerate(layers_b)
    ]


ANALYSIS = Analysis(
    name="cka",
    summary="CKA between the layers of each encoder, and between encoders",
    source="Kotar et al. 2021, Question 3 and Appendix E",
    compute=compute,
    draw=draw,
    say=say,
    needs_scores=False,
    options=(ENCODERS, IMAGES, N_IMAGES, Option("batch", 64, "Images in a block.", type=int), DEVICE),
)
