"""Articles of clothing: a part of Fashion-MNIST, where it is found."""

from virb.tasks.mini._rendered import fashion

from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="mini-fashion",
    summary="which article of clothing is shown",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=fashion,
    classes=("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    protocol=Protocol(epochs=100, batch_size=64),
    is_optional=True,
    source="Xiao, Rasul and Vollgraf 2017, Fashion-MNIST",
    license="MIT",
    obtain="torchvision's layout under the data folder (FashionMNIST/raw), or Debian's package dataset-fashion-mnist",
)
