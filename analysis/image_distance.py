"""FID and VisualDNA between any two image sets, as any encoder sees them.

Hammoud et al. 2024, Table 3. The Fréchet distance is biased upwards where images are fewer than dimensions: compare
sets of equal size only. VisualDNA (Ramtoula et al. 2023) compares each neuron's histogram in bins of a thousandth of
its range, over the neurons of all blocks, every position of a map counting; the range is that of all sets here, the
authors' code has one stored from other images. Two passes over the images, one block in memory at a time.
"""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list
from virb.contracts.tables import Notes, Tables
from virb.features.activations import (
    DEVICE,
    ENCODERS,
    N_IMAGES,
    embedded,
    in_blocks,
    load_encoders,
    open_images,
    watch_blocks,
)
from virb.stats.distances import ActivationHistograms, Moments, frechet_distance, neuron_distances

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from numpy import ndarray
    from pandas import DataFrame

    from virb.images.sets import ImageSet
    from virb.networks.encoder import FrozenEncoder


def compute(
    scores: DataFrame | None,
    notes: Notes,
    *,
    encoders: tuple[str, ...],
    sets: tuple[str, ...],
    n: int,
    neurons: str,
    device: str,
) -> Tables:
    """A row an encoder and pair of sets; ``layers``: VisualDNA block by block."""
    import numpy as np
    import pandas as pd

    loaded = load_encoders(encoders, device)
    if len(sets) < 2:
        raise NotApplicable("It compares image sets: --option sets=FOLDER_OR_TASK,FOLDER_OR_TASK.")
    opened = {name: open_images(name, n=n) for name in sets}
    rows, by_layer = [], []
    for encoder in loaded:
        moments: dict[str, Moments] = {}
        low: dict[str, ndarray] = {}
        high: dict[str, ndarray] = {}
        for name, images in opened.items():
            moments[name] = Moments(encoder.dim)

            def measure(layer: str, values: ndarray, moment: Moments = moments[name]) -> None:
                if layer == "embedding":
                    moment.add(values)
                least, most = values.min(axis=0), values.max(axis=0)
                low[layer] = np.minimum(low.get(layer, least), least)  # noqa: B023 - called inside this turn only
                high[layer] = np.maximum(high.get(layer, most), most)  # noqa: B023

            _look(encoder, images, measure, neurons)
        prints: dict[str, dict[str, ActivationHistograms]] = {}
        for name, images in opened.items():
            prints[name] = {layer: ActivationHistograms(low[layer], high[layer]) for layer in low}
            _look(encoder, images, lambda layer, values, own=prints[name]: own[layer].add(values), neurons)  # type: ignore[misc]
        for a, b in itertools.combinations(sets, 2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # said below, once
                fid = frechet_distance(moments[a], moments[b])
            gaps = {layer: neuron_distances(prints[a][layer], prints[b][layer]) for layer in low}
            every = np.concatenate(list(gaps.values()))
            sizes = len(opened[a]), len(opened[b])
            rows.append((encoder.name, a, b, fid, float(every.mean()), *sizes, encoder.dim, len(every)))
            by_layer += [(encoder.name, a, b, layer, float(gap.mean()), len(gap)) for layer, gap in gaps.items()]
        if min(len(images) for images in opened.values()) < encoder.dim:
            notes.say(
                f"{encoder.name}: fewer images than its {encoder.dim} dimensions; the Fréchet distance is far too large"
            )
    if len({len(images) for images in opened.values()}) > 1:
        notes.say("the sets differ in size: the Fréchet distance's bias differs with it")
    columns = ["encoder", "set_a", "set_b", "fid", "visual_dna", "n_a", "n_b", "dim", "n_neurons"]
    layers = ["encoder", "set_a", "set_b", "layer", "visual_dna", "n_neurons"]
    return Tables(
        {"": pd.DataFrame(rows, columns=columns), "layers": pd.DataFrame(by_layer, columns=layers)},
        sets={name: len(images) for name, images in opened.items()},
        neurons=neurons,
    )


def say(tables: Tables) -> list[str]:
    return [
        f"{row.encoder}: {row.set_a} to {row.set_b}: FID {row.fid:.4g}, VisualDNA {row.visual_dna:.3g} "
        f"(mean over {row.n_neurons} neurons)"
        for row in tables[""].itertuples()
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import pandas as pd

    from virb.figures import plots

    sets, table = tables.facts["sets"], tables[""]
    names = list(dict.fromkeys(table["encoder"]))
    with plots.style():
        fig = plots.figure(plots.PAGE, (0.55 + 0.24 * len(sets)) * len(names))
        grid = fig.subplots(len(names), 2, squeeze=False)
        for line, name in zip(grid, names, strict=True):
            part = table[table["encoder"] == name]
            for axes, column, title in zip(
                line, ("fid", "visual_dna"), ("Fréchet distance", "VisualDNA (bins)"), strict=True
            ):
                square = pd.DataFrame(0.0, index=list(sets), columns=list(sets))
                for row in part.to_dict("records"):
                    square.loc[row["set_a"], row["set_b"]] = square.loc[row["set_b"], row["set_a"]] = row[column]
                shown = square.rename(index=_short, columns=_short)
                plots.heatmap(axes, shown, digits=2 if float(square.to_numpy().max()) < 100 else 0)
                axes.set_title(f"{title}, {plots.shortened(name, 6.5, 1.2)}", fontsize=6.5)
        sizes_text = ", ".join(f"{_short(name)} {n}" for name, n in sets.items())
        plots.titles(
            fig,
            "Distances between image sets",
            f"Images: {sizes_text}. Fréchet: of embeddings. VisualDNA: mean earth mover's distance over the neurons of "
            f"{'all blocks' if tables.facts['neurons'] == 'all' else 'the embedding'}, in bins of 1/1000 of a neuron's range.",
        )
    return {"": fig}


def _look(encoder: FrozenEncoder, images: ImageSet, see: Callable[[str, ndarray], None], neurons: str) -> None:
    if neurons == "all":
        watch_blocks(encoder, images, see)
    else:
        for part in in_blocks(embedded([encoder], images)[0]):
            see("embedding", part)


def _short(name: str) -> str:
    from pathlib import Path

    return Path(name).name or name


ANALYSIS = Analysis(
    name="image-distance",
    summary="FID and VisualDNA between image sets, as any encoder sees them",
    source="Hammoud et al. 2024, Table 3",
    compute=compute,
    draw=draw,
    say=say,
    needs_scores=False,
    options=(
        ENCODERS,
        Option("sets", (), "Two or more folders of images or end tasks, commas between.", type=comma_list),
        N_IMAGES,
        Option("neurons", "all", "Neurons of VisualDNA: all blocks' or the embedding's.", choices=("all", "embedding")),
        DEVICE,
    ),
)
