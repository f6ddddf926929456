"""Whose hands are where: up to four instances by their role."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-hands",
    version=2,  # maps lie where their cells do
    summary="own and others' left and right hands",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=world("roles", "role_mask"),
    classes=("background", "own left", "own right", "other left", "other right"),
    protocol=Protocol(epochs=10, batch_size=32),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
