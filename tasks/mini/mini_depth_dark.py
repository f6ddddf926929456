"""The distance of every pixel in rooms at night: one weak lamp, haze, a noisy sensor."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-depth-dark",
    summary="distance of every pixel in rooms at night, in metres",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="neg_l1",
    quantity="depth",
    unit="metre",
    data=world("rooms-dark", "depth_m"),
    protocol=Protocol(epochs=9, batch_size=32),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
