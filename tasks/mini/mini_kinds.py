"""Which of nineteen things it is, in a tree: animals, furniture, equipment ...; made or living."""

from virb.tasks.mini._structures import KINDS, kinds

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-kinds",
    summary="which of 19 objects and animals is shown, with two levels above them",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=kinds,
    classes=tuple(KINDS),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
