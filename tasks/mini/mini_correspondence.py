"""Where the points of one view lie in another, by the likeness of features alone."""

from virb.tasks.mini._rendered import world

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-correspondence",
    summary="which place in a second view shows the same point, without training",
    category=Category.STRUCTURAL_PIXEL,
    head="match",
    loss="l1",
    metric="pck",
    quantity="flow",
    data=world("egomotion", "flow_px"),
    protocol=Protocol(epochs=1, batch_size=32),
    n_frames=2,
    options={"out_channels": 2, "stride": 8},
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
    is_made_here=True,
)
