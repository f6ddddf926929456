"""Which of ten kinds of things are in a room, several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples

CLASSES = ("chair", "table", "shelf", "lamp", "sofa", "bed", "cabinet", "plant", "car", "ladder")


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.mini._structures import contents

    return contents(context, split, classes=CLASSES)


TASK = Task(
    name="mini-contents",
    summary="which of ten kinds of things are in a room, several at once",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="bce",
    metric="map",
    data=data,
    classes=CLASSES,
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
