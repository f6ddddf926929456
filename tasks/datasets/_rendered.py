"""The rendered world's sets as data to pretrain on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from virb.tasks import world

from virb.errors import VirbError
from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import ArrayPixels, JoinedPixels, Pixels


def rendered(name: str, *parts: str) -> Callable[[Callable[[str, int, int], None] | None], PretrainingData]:
    """Return what loads the train splits of ``parts`` as one set; a single one has its classes."""

    def load(progress: Callable[[str, int, int], None] | None) -> PretrainingData:
        sets = [world.load(part, "train") for part in parts]
        pixels = tuple(ArrayPixels(part.images) for part in sets)
        starts = np.concatenate([[0], np.cumsum([len(part.images) for part in sets])])
        label: np.ndarray | None = None
        classes: tuple[str, ...] = ()
        if len(sets) == 1:
            found = _annotation(sets[0], "class_id")
            if found is not None:
                label = np.asarray(found, dtype=np.int64)
                classes = tuple(world.SETS[parts[0]].classes["class_id"])
            revision = sets[0].revision
        else:
            revision = hashlib.sha256("\0".join(part.revision for part in sets).encode()).hexdigest()
        joined: Pixels = pixels[0] if len(pixels) == 1 else JoinedPixels(pixels, starts)
        size = int(sets[0].images.shape[1])
        return PretrainingData(name, revision, joined, np.arange(int(starts[-1])), size, label, classes)

    return load


def _annotation(images: Any, name: str) -> np.ndarray | None:
    try:
        return np.asarray(images.annotation(name))
    except (KeyError, VirbError):
        return None
