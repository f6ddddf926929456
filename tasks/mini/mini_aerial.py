"""What the land seen from above is used for: colours say nothing, shapes and how they lie do."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-aerial",
    summary="what the land is used for, from above, in any colours",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("aerial", "class_id"),
    classes=("houses", "industry", "fields", "orchard", "river", "motorway"),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
