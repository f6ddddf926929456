"""What a room is used for, from its furniture."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-scene",
    summary="what the room is used for",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=world("rooms", "scene_id"),
    classes=("bedroom", "living room", "dining room", "office", "kitchen", "garage"),
    protocol=Protocol(epochs=100, batch_size=64),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
