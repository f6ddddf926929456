"""Object classes from thirty images each: the first ones of mini-object-class's train split, the same test split."""

from virb.tasks.mini._rendered import few_each, world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-object-few",
    summary="which of twelve objects is shown, learnt from thirty images a class",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=few_each(world("objects", "class_id"), n_each=30),
    classes=(
        "chair",
        "table",
        "shelf",
        "lamp",
        "sofa",
        "bed",
        "cabinet",
        "plant",
        "person",
        "animal",
        "car",
        "ladder",
    ),
    protocol=Protocol(epochs=500, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
