"""How the camera moved between two frames in AI2-THOR (Kotar et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import thor
    from virb.tasks.readers.common import place

    root = place(context, "thor-egomotion", folder="thor_action_prediction")
    return thor.egomotion(root, split)


TASK = Task(
    name="thor-egomotion",
    summary="how the camera moved between two frames, indoors",
    category=Category.STRUCTURAL_IMAGE,
    head="fusion",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    n_published={"train": 60_000},
    classes=("MoveAhead", "RotateLeft", "RotateRight", "LookUp", "LookDown"),
    n_frames=2,
    is_optional=True,
    source="THOR Egomotion, Kotar et al. 2021; AI2-THOR, Kolve et al. 2017",
    license="none stated (AI2-THOR: Apache-2.0)",
    obtain=(
        "extract the archive of the public ViRB repository (github.com/klemenkotar/ViRB, Dataset Download) as "
        "thor_action_prediction/ in the data folder."
    ),
    deviations=(
        "The paper trains on 60,000 and gives no size of the test split; what the archive holds is used, whatever its number.",
    ),
)
