"""Which of twelve kinds of object stands in the room: a new model in every image."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-object-class",
    summary="which of twelve objects is shown; every image has a new model",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("objects", "class_id"),
    classes=("chair", "table", "shelf", "lamp", "sofa", "bed", "cabinet", "plant", "person", "animal", "car", "ladder"),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
