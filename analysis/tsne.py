"""t-SNE map of an end task's test images for each encoder, coloured by class.

Chen et al. 2020, Figure B.4. A map shows what one hopes to see: its distances and cluster sizes mean little. The number
beside it is the share of nearest neighbours of the same class, in the embedding itself and in the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.features.activations import DEVICE, ENCODERS, embedded, load_encoders

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame | None,
    notes: Notes,
    *,
    encoders: tuple[str, ...],
    task: str,
    n: int,
    perplexity: float,
    seed: int,
    device: str,
) -> Tables:
    """A row a point; ``agreement``: the share of neighbours of the same class, in the embedding and in the map."""
    import numpy as np
    import pandas as pd
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    from virb import registry
    from virb.contracts.examples import DataContext
    from virb.images.sets import ImageSubset

    loaded = load_encoders(encoders, device)
    if not task:
        raise NotApplicable("It needs the images and classes of an end task: --option task=NAME.")
    declared = registry.load("tasks", task)
    if declared.n_classes < 2 or declared.category.is_pixelwise or declared.n_frames != 1:
        raise UsageError(f"task={task}: a map needs a task of one class an image.")
    examples = declared.examples(DataContext(), "test")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(examples.frames), min(n, len(examples.frames)), replace=False))
    target = np.asarray(examples.targets)[rows]
    images = ImageSubset(examples.images, np.asarray(examples.frames)[rows, 0])
    if len(rows) <= 3 * perplexity:
        raise UsageError(f"perplexity={perplexity:g} needs more than {3 * perplexity:g} images; there are {len(rows)}.")
    points, agreement = [], []
    for encoder, found in zip(loaded, embedded(loaded, images), strict=True):
        features = np.asarray(found)
        features = (features - features.mean(axis=0)) / np.maximum(
            np.linalg.norm(features - features.mean(axis=0), axis=1, keepdims=True), 1e-12
        )
        found = TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(features)
        shares = []
        for space in (features, found):
            near = NearestNeighbors(n_neighbors=11).fit(space).kneighbors(space, return_distance=False)[:, 1:]
            shares.append(float(np.mean(target[near] == target[:, None])))
        agreement.append((encoder.name, *shares))
        points.append(
            pd.DataFrame(
                {
                    "encoder": encoder.name,
                    "id": np.asarray(examples.ids)[rows],
                    "class": target,
                    "x": found[:, 0],
                    "y": found[:, 1],
                }
            )
        )
    return Tables(
        {
            "": pd.concat(points, ignore_index=True),
            "agreement": pd.DataFrame(agreement, columns=["encoder", "in_embedding", "in_map"]),
        },
        task=task,
        classes=list(declared.class_names),
        perplexity=perplexity,
        n_images=len(rows),
    )


def say(tables: Tables) -> list[str]:
    return [
        f"{row.encoder}: {row.in_embedding:.0%} of the 10 nearest neighbours are of the same class ({row.in_map:.0%} in the map)"
        for row in tables["agreement"].itertuples()
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    names, facts, agreement = tables.facts["classes"], tables.facts, tables["agreement"]
    shades = dict(zip(names, [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 80, strict=False))
    with plots.style():
        chosen = plots.choose(agreement["encoder"], most=12, what="encoders")
        agreement = agreement[agreement["encoder"].isin(set(chosen.names))]
        columns = min(3, len(agreement))
        n_rows = -(-len(agreement) // columns)
        side = plots.COLUMN if columns == 1 else plots.PAGE / columns
        fig = plots.figure(side * columns, (side + 0.1) * n_rows)
        grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, row in zip(grid.flat, agreement.itertuples(), strict=False):
            part = tables[""][tables[""]["encoder"] == row.encoder]
            colours = [shades[names[int(k)]] for k in part["class"]]
            axes.scatter(part["x"], part["y"], s=4, c=colours, linewidth=0, alpha=0.8)
            axes.set_title(f"{row.encoder}  ({row.in_embedding:.0%})", fontsize=6.5)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            axes.set_aspect("equal", adjustable="datalim")
        for axes in list(grid.flat)[len(agreement) :]:
            axes.remove()
        handles = plots.colour_handles(shades) if len(names) <= 15 else []
        note = f"n = {facts['n_images']} test images, perplexity {facts['perplexity']:g}. %: of 10 nearest neighbours (cosine, embedding) of the same class. {chosen.note}"
        plots.titles(fig, f"{facts['task']}: t-SNE of embeddings", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="tsne",
    summary="t-SNE map of an end task's test images, coloured by class",
    source="Chen et al. 2020, Figure B.4",
    compute=compute,
    draw=draw,
    say=say,
    needs_scores=False,
    options=(
        ENCODERS,
        Option("task", "", "End task whose test images are mapped."),
        Option("n", 600, "Images, drawn at random.", type=int),
        Option("perplexity", 30.0, "Neighbours that count.", type=float),
        Option("seed", 0, "Of the draw and the map.", type=int),
        DEVICE,
    ),
)
