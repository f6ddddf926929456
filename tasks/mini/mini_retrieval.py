"""Which images show the very model of a query, under other light, from elsewhere, in another room."""

from virb.tasks.mini._structures import views

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-retrieval",
    summary="which images show the model of a query under other light, from elsewhere, without training",
    category=Category.SEMANTIC_IMAGE,
    head="retrieve",
    loss="",
    metric="retrieval_map",
    data=views,
    protocol=Protocol(epochs=1),
    source="virb's rendered world",
    license="Apache-2.0",
    obtain="rendered on this machine when it is first used",
)
