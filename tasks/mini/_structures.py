"""Targets of other structures from the rendered world's annotations: a label tree, several labels, a number, what is alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from virb.tasks.mini._rendered import world

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples

KINDS = {  # class: its kind, and whether it was made or grew
    **dict.fromkeys(("chair", "table", "shelf", "sofa", "bed", "cabinet"), ("furniture", "made")),
    **dict.fromkeys(("lamp", "ladder"), ("equipment", "made")),
    "car": ("vehicle", "made"),
    "plant": ("plant", "living"),
    "person": ("person", "living"),
    **dict.fromkeys(("dog", "pig", "bull", "horse", "deer", "rabbit", "elephant", "sheep"), ("animal", "living")),
}
FEWEST_PIXELS = 20  # of 4,096; what shows fewer counts for nothing, as Pascal VOC's "difficult"


def kinds(context: DataContext, split: str) -> Examples:
    """Return the objects and the animals of the world in one set, with two levels above their 19 classes.

    The object that is an animal of no kind is left out: the animals' own set has eight.
    """
    import numpy as np
    from virb.tasks.world.sets import SETS

    from virb.contracts.examples import Examples
    from virb.contracts.tree import LabelTree
    from virb.images.sets import ArrayImages

    names = tuple(KINDS)
    images, targets, ids = [], [], []
    for set_name in ("objects", "animals"):
        found = world(set_name, "class_id")(context, split)
        own = SETS[set_name].classes["class_id"]
        number = np.array([names.index(name) if name in KINDS else -1 for name in own])[np.asarray(found.targets)]
        rows = np.flatnonzero(number >= 0)
        images.append(np.stack([found.images.image(int(row)) for row in rows]))
        targets.append(number[rows])
        ids += [found.ids[int(row)] for row in rows]
    labels = np.concatenate(targets)
    tree = LabelTree({level: [KINDS[name][k] for name in names] for k, level in enumerate(("kind", "nature"))})
    all_images = ArrayImages.of(f"world/kinds/{split}", np.concatenate(images))
    return Examples(all_images, np.arange(len(labels))[:, None], labels, ids, classes=names, tree=tree)


def contents(context: DataContext, split: str, *, classes: Sequence[str]) -> Examples:
    """Return the rooms and which of ``classes`` are in view, int8 (N, K): 1, 0, or -1 for a few pixels of it."""
    from dataclasses import replace

    import numpy as np
    from virb.tasks.world.sets import SEMANTIC_CLASSES

    found = world("rooms", "class_mask")(context, split)
    masks = np.asarray(found.targets)
    area = np.stack([(masks == SEMANTIC_CLASSES.index(name)).sum(axis=(1, 2)) for name in classes], axis=1)
    labels = np.where(area >= FEWEST_PIXELS, 1, np.where(area > 0, -1, 0)).astype(np.int8)
    return replace(found, targets=labels)


def distance(context: DataContext, split: str) -> Examples:
    """Return the objects and the median distance of their pixels in metres, (N,); NaN where nothing of it shows."""
    from dataclasses import replace

    import numpy as np

    found = world("objects", "depth_m")(context, split)
    shown = np.asarray(world("objects", "foreground")(context, split).targets) > 0
    depth = np.where(shown, np.asarray(found.targets, dtype=np.float32), np.nan)
    metres = np.full(len(depth), np.nan, dtype=np.float32)
    for row, values in enumerate(depth):
        known = values[np.isfinite(values)]
        if len(known):
            metres[row] = np.median(known)
    return replace(found, targets=metres)


def views(context: DataContext, split: str, *, asks: int = 0) -> Examples:
    """Return one view of each model (``asks`` of 0, 1, 2) as a query, and as what is searched the other two of all models.

    All are of one set of the world: nothing trains.
    """
    import numpy as np

    from virb.contracts.examples import Examples

    found = world("views", "class_id", splits={"train": "test"})(context, split)
    n, n_views = found.frames.shape
    others = [k for k in range(n_views) if k != asks]
    if split == "train":
        ids = [f"{key}/{k}" for key in found.ids for k in others]
        return Examples(found.images, found.frames[:, others].reshape(-1, 1), np.arange(len(ids)), ids)
    relevance = np.repeat(np.eye(n, dtype=np.int8), len(others), axis=1)
    return Examples(found.images, found.frames[:, [asks]], relevance, [f"{key}/{asks}" for key in found.ids])
