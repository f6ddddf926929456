"""Where one can walk: floor and rugs."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-walkable",
    version=3,  # 2: maps lie where their cells do; 3: halls, seen from anywhere
    summary="which pixels are floor that one can walk on",
    category=Category.STRUCTURAL_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=world("halls", "floor"),
    classes=("not walkable", "walkable"),
    protocol=Protocol(epochs=6, batch_size=16, lr=1e-3),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
