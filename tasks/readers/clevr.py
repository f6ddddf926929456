"""CLEVR v1.0: rendered scenes of simple objects, and how many there are."""

from __future__ import annotations

from pathlib import Path

from virb.tasks.readers.common import (
    check_split,
    label_out_of_range,
    labelled_files,
    read_json,
    require,
    require_files,
)

from virb.contracts.examples import Examples
from virb.errors import DataError

MIN_OBJECTS, MAX_OBJECTS = 3, 10


def count(root: Path, split: str) -> Examples:
    """Read ``<root>/images/{train,val}`` and ``<root>/scenes`` (Johnson et al. 2017): class k is k + 3 objects.

    The test split is the set's val split; its own test split has no scenes.
    """
    check_split("clevr", split)
    part = "train" if split == "train" else "val"
    images, scenes = root / "images" / part, root / "scenes" / f"CLEVR_{part}_scenes.json"
    require("clevr", images, scenes, expected="images/{train,val}/ and scenes/CLEVR_{train,val}_scenes.json")
    files, labels = [], []
    try:
        for scene in read_json("clevr", scenes)["scenes"]:
            n_objects = len(scene["objects"])
            if not MIN_OBJECTS <= n_objects <= MAX_OBJECTS:
                what = f"the scene of {scene['image_filename']} in {scenes}"
                raise label_out_of_range("clevr", what, n_objects, f"{MIN_OBJECTS} to {MAX_OBJECTS} objects")
            files.append(images / scene["image_filename"])
            labels.append(n_objects - MIN_OBJECTS)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"clevr: {scenes} is not a list of scenes with image_filename and objects ({error!r})."
        ) from error
    require_files("clevr", files, scenes)
    return labelled_files("clevr", images, files, labels)
