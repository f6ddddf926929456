"""Where one can walk: floor and rugs."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-walkable",
    version=2,  # maps lie where their cells do
    summary="which pixels are floor that one can walk on",
    category=Category.STRUCTURAL_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=world("rooms", "floor"),
    classes=("not walkable", "walkable"),
    protocol=Protocol(epochs=4, batch_size=32),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
)
