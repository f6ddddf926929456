"""How the camera moved between two frames."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-egomotion",
    summary="how the camera moved between two frames",
    category=Category.STRUCTURAL_IMAGE,
    head="fusion",
    loss="cross_entropy",
    metric="top1",
    data=world("egomotion", "action"),
    classes=("move ahead", "rotate left", "rotate right", "look up", "look down"),
    protocol=Protocol(epochs=100, batch_size=64),
    n_frames=2,
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
