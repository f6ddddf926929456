"""How many steps ahead are free in AI2-THOR (Kotar et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import thor
    from virb.tasks.readers.common import place

    root = place(context, "thor-num-steps", folder="thor_num_steps")
    return thor.num_steps(root, split)


TASK = Task(
    name="thor-num-steps",
    summary="how many steps of 0.25 m are free ahead, 0 to 4",
    category=Category.STRUCTURAL_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    n_published={"train": 60_000},
    classes=tuple(f"{n} steps" for n in range(5)),
    is_optional=True,
    source="THOR Num. Steps, Kotar et al. 2021; AI2-THOR, Kolve et al. 2017",
    license="none stated (AI2-THOR: Apache-2.0)",
    obtain=(
        "extract the archive of the public ViRB repository (github.com/klemenkotar/ViRB, Dataset Download) as "
        "thor_num_steps/ in the data folder."
    ),
    deviations=(
        "The paper trains on 60,000 and gives no size of the test split; what the archive holds is used, whatever its number.",
    ),
)
