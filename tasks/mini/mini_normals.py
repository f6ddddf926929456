"""Which way the surfaces of an object face."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-normals",
    summary="which way the surfaces of an object face, in degrees",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="mean_angle",
    quantity="direction",
    data=world("objects", "normal"),
    protocol=Protocol(epochs=6, batch_size=16, lr=1e-3),
    options={"out_channels": 3},
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
