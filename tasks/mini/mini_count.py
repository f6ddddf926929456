"""How many objects of one kind stand on the floor."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-count",
    summary="how many objects of one kind there are",
    category=Category.STRUCTURAL_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("count", "count", first=3),
    classes=("3", "4", "5", "6", "7", "8"),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
