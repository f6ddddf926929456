"""How many objects a CLEVR scene holds (Johnson et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import clevr
    from virb.tasks.readers.common import place

    root = place(context, "clevr", "clevr-count", folder="CLEVR_v1.0")
    return clevr.count(root, split)


TASK = Task(
    name="clevr-count",
    summary="how many objects there are, 3 to 10",
    category=Category.STRUCTURAL_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    classes=tuple(f"{n} objects" for n in range(3, 11)),
    is_optional=True,
    source="CLEVR v1.0, Johnson et al. 2017",
    license="CC BY 4.0",
    obtain="extract CLEVR_v1.0.zip (cs.stanford.edu/people/jcjohns/clevr) in the data folder.",
    n_examples={"train": 70_000, "test": 15_000},
    deviations=("The test split is CLEVR's val: its test images have no scenes.",),
)
