"""t-SNE map of an end task's test images for each encoder, coloured by class.

Chen et al. 2020, Figure B.4. A map shows what one hopes to see: its distances and cluster sizes mean little. The number
beside it is the share of nearest neighbours of the same class, in the embedding itself and in the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs
from virb.errors import UsageError
from virb.features.activations import ENCODERS, embeddings, load_encoders

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame | None,
    out: Outputs,
    *,
    encoders: tuple[str, ...],
    task: str,
    n: int,
    perplexity: float,
    seed: int,
) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    from virb import registry
    from virb.contracts.examples import DataContext
    from virb.figures import plots
    from virb.images.sets import ImageSubset

    loaded = load_encoders(encoders)
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
    maps, agreement, tables = {}, {}, []
    for encoder in loaded:
        features = np.concatenate(list(embeddings(encoder, images)))
        features = (features - features.mean(axis=0)) / np.maximum(
            np.linalg.norm(features - features.mean(axis=0), axis=1, keepdims=True), 1e-12
        )
        maps[encoder.name] = TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(features)
        shares = []
        for space in (features, maps[encoder.name]):
            near = NearestNeighbors(n_neighbors=11).fit(space).kneighbors(space, return_distance=False)[:, 1:]
            shares.append(float(np.mean(target[near] == target[:, None])))
        agreement[encoder.name] = shares
        out.say(
            f"{encoder.name}: {shares[0]:.0%} of the 10 nearest neighbours are of the same class ({shares[1]:.0%} in "
            "the map)"
        )
        tables.append(
            pd.DataFrame(
                {
                    "encoder": encoder.name,
                    "id": np.asarray(examples.ids)[rows],
                    "class": target,
                    "x": maps[encoder.name][:, 0],
                    "y": maps[encoder.name][:, 1],
                }
            )
        )
    out.table(pd.concat(tables, ignore_index=True))
    names = declared.class_names
    shades = dict(zip(names, [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 80, strict=False))
    with plots.style():
        columns = min(3, len(loaded))
        n_rows = -(-len(loaded) // columns)
        side = plots.COLUMN if columns == 1 else plots.PAGE / columns
        fig = plots.figure(side * columns, (side + 0.1) * n_rows)
        grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, (name, points) in zip(grid.flat, maps.items(), strict=False):
            axes.scatter(
                points[:, 0], points[:, 1], s=4, c=[shades[names[int(k)]] for k in target], linewidth=0, alpha=0.8
            )
            axes.set_title(f"{name}  ({agreement[name][0]:.0%})", fontsize=6.5)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            axes.set_aspect("equal", adjustable="datalim")
        for axes in list(grid.flat)[len(loaded) :]:
            axes.remove()
        handles = plots.colour_handles(shades) if len(names) <= 15 else []
        note = f"n = {len(rows)} test images, perplexity {perplexity:g}. %: of 10 nearest neighbours (cosine, embedding) of the same class."
        plots.titles(fig, f"{task}: t-SNE of embeddings", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="tsne",
    summary="t-SNE map of an end task's test images, coloured by class",
    source="Chen et al. 2020, Figure B.4",
    run=run,
    needs_scores=False,
    options=(
        ENCODERS,
        Option("task", "", "End task whose test images are mapped."),
        Option("n", 600, "Images, drawn at random.", type=int),
        Option("perplexity", 30.0, "Neighbours that count.", type=float),
        Option("seed", 0, "Of the draw and the map.", type=int),
    ),
)
