"""Object classes under a shift: the heads of mini-object-class on other patterns, lenses, distances and occlusion."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-object-class-shift",
    summary="object classes under other patterns, lenses and distances, with the heads of mini-object-class",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("objects", "class_id", splits={"test": "objects-shift/test"}),
    classes=("chair", "table", "shelf", "lamp", "sofa", "bed", "cabinet", "plant", "person", "animal", "car", "ladder"),
    protocol=Protocol(epochs=100, batch_size=64),
    heads_of="mini-object-class",
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
