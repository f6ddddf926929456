"""A data set of torchvision's by name, where torchvision puts it under the data folder; classes as it names them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from virb.tasks.layouts._common import Numbered, put_together

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader
from virb.errors import DataAbsent, DataError, UsageError, data_option
from virb.images.of_torchvision import TorchvisionImages
from virb.images.sets import JoinedImages


def read(context: DataContext, split: str, *, name: str, place: str, validation: bool) -> Examples:
    """Read ``torchvision.datasets.<name>`` under ``--data DIR``, or where ``--data PLACE=DIR`` says.

    ``validation`` takes its validation split to choose settings on; heads train on its train split alone.
    """
    if not name:
        raise UsageError('The reader torchvision needs name="...", a class of torchvision.datasets.')
    root = context.places.get(place or name) or context.root
    if root is None:
        raise DataAbsent(f"{place or name}: no data folder was named; pass {data_option()}.")

    def one(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        sets = [TorchvisionImages(name, root, split=part) for part in parts]
        found = [images.labels() for images in sets]
        labels = []
        for images, (label, _) in zip(sets, found, strict=True):
            if label is None:
                raise DataError(
                    f"torchvision's {name} lists no class of each image (targets); {images.describe(0)} has another target. "
                    "A reader of your own can read it: virb new reader NAME."
                )
            labels.append(label)
        images = JoinedImages(sets[0].name, sets) if len(sets) > 1 else sets[0]
        ids = Numbered(f"{'+'.join(parts)} image", len(images))
        whole = Examples(images, np.arange(len(images))[:, None], np.concatenate(labels), ids, classes=found[0][1])
        return whole, [len(images) for images in sets]

    part = "validation" if validation else ""
    return put_together(split, train="train", test="test", validation=part, read=one)


READER = Reader(
    "torchvision",
    "a data set of torchvision's by name, where torchvision puts it",
    read,
    options=(
        Option("name", "", "a class of torchvision.datasets, as CIFAR10"),
        Option("place", "", "the name that --data NAME=DIR is said for (default: the name)"),
        Option("validation", False, "take its validation split to choose settings on"),
    ),
    source="torchvision.datasets",
)
