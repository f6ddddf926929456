"""Handwritten digits (UCI Optical Recognition of Handwritten Digits, from scikit-learn) somewhere on a canvas."""

from virb.tasks.mini._rendered import digits

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-digits",
    summary="which digit was written somewhere on the canvas",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=digits,
    classes=10,
    protocol=Protocol(epochs=100, batch_size=64),
    source="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits; as shipped with scikit-learn",
    license="CC BY 4.0",
    obtain="comes with scikit-learn",
    augmentations=(),  # a mirrored digit is none, and a crop may cut it off the canvas
)
