"""How a car moved between two frames in a street with traffic."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-drive",
    summary="how the car moved between two frames",
    category=Category.STRUCTURAL_IMAGE,
    head="fusion",
    loss="cross_entropy",
    metric="top1",
    data=world("drive", "action"),
    classes=("forward", "forward-left", "forward-right", "none"),
    protocol=Protocol(epochs=100, batch_size=64),
    n_frames=2,
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
