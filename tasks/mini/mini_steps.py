"""How many steps of 0.25 m are free ahead of the camera."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-steps",
    summary="how many steps of 0.25 m are free ahead",
    category=Category.STRUCTURAL_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("steps", "steps"),
    classes=("0", "1", "2", "3", "4 or more"),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
