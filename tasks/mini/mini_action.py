"""What the figure does in six frames."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-action",
    summary="what happens in six frames",
    category=Category.SEMANTIC_IMAGE,
    head="fusion",
    loss="cross_entropy",
    metric="top1",
    data=world("actions", "action"),
    classes=("jump", "fall", "crouch", "wave", "turn round", "walk up"),
    protocol=Protocol(epochs=100, batch_size=64),
    n_frames=6,
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
