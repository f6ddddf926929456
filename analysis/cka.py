"""CKA between the layers of each encoder, and between encoders: debiased, in one streaming pass, with intervals.

Kotar et al. 2021, Question 3 and Appendix E (MoCo v2 less SwAV: +.18 in the mean over different layers, by the biased
estimate). The biased estimate of wide layers is near 1 whatever they hold (p / (p + n) for noise); this one is
debiased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, Outputs
from virb.features.activations import ENCODERS, IMAGES, N_IMAGES, layer_names, layers, load_encoders, open_images
from virb.stats.cka import FEWEST_BLOCKS, BlockGrams, cka_matrix, mean_off_diagonal

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame | None, out: Outputs, *, encoders: tuple[str, ...], images: str, n: int, batch: int) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    loaded = load_encoders(encoders)
    chosen = open_images(images, n=n)
    grams = {}
    for encoder in loaded:
        blocks = BlockGrams(layer_names(encoder))
        for activations in layers(encoder, chosen, batch=batch):
            blocks.add(activations)
        grams[encoder.name] = blocks
    rows, within = [], {}
    for name, blocks in grams.items():
        within[name] = cka_matrix(blocks)
        rows += _rows(name, name, blocks.layers, blocks.layers, within[name])
        ends = (
            f" (95% {within[name].mean_low:.3f} to {within[name].mean_high:.3f})"
            if np.isfinite(within[name].mean_low)
            else ""
        )
        out.say(f"{name}: mean CKA between different layers {mean_off_diagonal(within[name].value):.3f}{ends}")
    methods = {encoder.name: str(encoder.meta.get("method") or encoder.name) for encoder in loaded}
    means = pd.Series({name: mean_off_diagonal(m.value) for name, m in within.items()}).groupby(methods).mean()
    if len(means) > 1:
        out.say("by method: " + ", ".join(f"{method} {value:.3f}" for method, value in means.items()))
    names = list(grams)
    across: list[tuple[str, str, pd.DataFrame]] = []
    between = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            m = cka_matrix(grams[a], grams[b])
            rows += _rows(a, b, grams[a].layers, grams[b].layers, m)
            across.append((a, b, pd.DataFrame(m.value, index=list(grams[a].layers), columns=list(grams[b].layers))))
            between.loc[a, b] = between.loc[b, a] = m.value[-1, -1]
    table = pd.DataFrame(rows, columns=["encoder_a", "layer_a", "encoder_b", "layer_b", "cka", "low", "high", "n"])
    out.table(table)
    n_used = next(iter(grams.values())).n
    lost = next(iter(grams.values())).n_left_out
    if lost:
        out.say(f"the last {lost} images do not fill a block of 4 and are left out")
    has_intervals = all(m.n_blocks >= FEWEST_BLOCKS for m in within.values())
    intervals = "95% intervals in the table" if has_intervals else f"fewer than {FEWEST_BLOCKS} blocks, so no intervals"
    note = f"n = {n_used} images of {chosen.name}, blocks of {batch}; debiased (HSIC_1); {intervals}."
    with plots.style():
        shown = names[:6]
        columns = min(3, len(shown))
        n_rows = -(-len(shown) // columns)
        room = 1.7 if columns > 1 else 2.4
        fig = plots.figure(plots.COLUMN if columns == 1 else plots.PAGE, (2.6 if columns == 1 else 2.15) * n_rows)
        grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, name in zip(grid.flat, shown, strict=False):
            layer = list(grams[name].layers)
            frame = pd.DataFrame(within[name].value, index=layer, columns=layer)
            plots.heatmap(axes, frame, vmin=0, vmax=1, size=5.5)
            axes.tick_params(axis="x", rotation=90)
            axes.set_title(plots.shortened(name, 6.5, room), fontsize=6.5)
        for axes in list(grid.flat)[len(shown) :]:
            axes.remove()
        more = f" The first {len(shown)} of {len(names)} encoders." if len(names) > len(shown) else ""
        plots.titles(fig, "CKA between layers", note + more)
    out.figure(fig, "layers")
    if len(names) > 1:
        with plots.style():
            short = {name: plots.shortened(name, 6.5, 1.3) for name in names}
            short = short if len(set(short.values())) == len(short) else {name: name for name in names}
            long = plots.text_width(list(short.values()), 6.5)
            fig = plots.figure(max(plots.COLUMN, 0.4 + long + 0.3 * len(names)), 0.3 + long + 0.24 * max(3, len(names)))
            axes = fig.add_subplot()
            plots.heatmap(axes, between.rename(index=short, columns=short), vmin=0, vmax=1)
            axes.tick_params(axis="x", rotation=90)
            plots.titles(fig, "CKA between encoders (embedding)", note)
        out.figure(fig, "encoders")
        with plots.style():
            pairs = across[:6]
            columns = min(3, len(pairs))
            n_rows = -(-len(pairs) // columns)
            fig = plots.figure(plots.COLUMN if columns == 1 else plots.PAGE, (2.7 if columns == 1 else 2.25) * n_rows)
            grid = fig.subplots(n_rows, columns, squeeze=False)
            for axes, (a, b, frame) in zip(grid.flat, pairs, strict=False):
                plots.heatmap(axes, frame, vmin=0, vmax=1, size=5.5)
                axes.tick_params(axis="x", rotation=90)
                axes.set_xlabel(plots.shortened(b, 6, 1.4), fontsize=6)
                axes.set_ylabel(plots.shortened(a, 6, 1.2), fontsize=6)
            for axes in list(grid.flat)[len(pairs) :]:
                axes.remove()
            more = f" The first {len(pairs)} of {len(across)} pairs." if len(across) > len(pairs) else ""
            plots.titles(fig, "CKA between layers of two encoders", note + more)
        out.figure(fig, "pairs")


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
    run=run,
    needs_scores=False,
    options=(ENCODERS, IMAGES, N_IMAGES, Option("batch", 64, "Images in a block.", type=int)),
)
