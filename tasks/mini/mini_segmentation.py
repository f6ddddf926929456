"""The class of every pixel of a furnished room."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-segmentation",
    version=2,  # maps lie where their cells do
    summary="the class of every pixel of a furnished room",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=world("rooms", "class_mask"),
    classes=(
        "sky",
        "wall",
        "floor",
        "ceiling",
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
        "fixture",
        "thing",
    ),
    protocol=Protocol(epochs=6, batch_size=32),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
)
