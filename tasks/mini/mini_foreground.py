"""Which pixels belong to the object in front."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-foreground",
    version=2,  # maps lie where their cells do
    summary="which pixels belong to the object",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=world("objects", "foreground"),
    classes=("background", "object"),
    protocol=Protocol(epochs=4, batch_size=32),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
