"""Where every pixel went between two views."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-flow",
    summary="motion of every pixel between two views",
    category=Category.STRUCTURAL_PIXEL,
    head="siamese_unet",
    loss="l1",
    metric="one_minus_all",
    quantity="flow",
    data=world("egomotion", "flow_px"),
    protocol=Protocol(epochs=9, batch_size=32),
    n_frames=2,
    options={"out_channels": 2},
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
