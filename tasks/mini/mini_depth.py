"""The distance of every pixel around an object."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-depth",
    version=2,  # 2: one object in a room; in rooms from the front the median map was as good as any network
    summary="distance of every pixel, in metres",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="neg_l1",
    quantity="depth",
    unit="metre",
    data=world("objects", "depth_m"),
    protocol=Protocol(epochs=6, batch_size=16, lr=1e-3),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
