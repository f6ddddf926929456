"""Which of eight kinds of animal stands there: they share a body plan and differ in parts and proportions."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-animals",
    summary="which of eight animals is shown; every image has a new individual",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("animals", "class_id"),
    classes=("dog", "pig", "bull", "horse", "deer", "rabbit", "elephant", "sheep"),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
