"""How far away the object is, in metres."""

from virb.tasks.mini._structures import distance

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-distance",
    summary="how far away the object is, in metres",
    category=Category.STRUCTURAL_IMAGE,
    head="linear",
    loss="l2",
    metric="r2",
    unit="metre",
    target="number",
    data=distance,
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
