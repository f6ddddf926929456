"""``virb new``: start a piece of content of one's own."""

from __future__ import annotations

import argparse

HELP = "write a starting file for an end task of your own"
EPILOG = """examples:
  virb new task flowers --out my-tasks        # writes my-tasks/flowers.py
  virb evaluate mine.pt --include my-tasks --tasks flowers --data flowers=/path/to/flowers
"""

TEMPLATE = '''"""{title}: images in one folder a class."""

from virb.images.folders import image_folder
from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="{name}",
    summary="{title}",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    # Reads {name}/train/<class>/* and {name}/test/<class>/* under --data DIR, or under --data {name}=DIR itself.
    data=image_folder("{name}"),
    # The names of the classes, which must be the names of the folders.
    classes=("class-a", "class-b"),
    protocol=Protocol(epochs=100),
    source="where the data come from, as one would cite it",
    license="the data's licence",
    obtain="how a user gets the data",
)
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("task",))
    parser.add_argument("name", help="its name: lower-case letters, digits and dashes")
    parser.add_argument("--out", default=".", metavar="DIR", help="the folder to write it to (default: here)")


def run(args: argparse.Namespace) -> int:
    import re
    from pathlib import Path

    from virb import registry
    from virb.errors import UsageError

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", args.name):
        raise UsageError(f"{args.name!r} cannot be a task's name: use lower-case letters, digits and dashes (my-task).")
    if args.name in registry.names("tasks"):
        raise UsageError(f"There is a task {args.name!r} already: {registry.find('tasks', args.name).path}.")
    path = Path(args.out) / f"{args.name.replace('-', '_')}.py"
    if path.exists():
        raise UsageError(f"{path} exists; it is left as it is. Choose another name or folder.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        title = args.name.replace("-", " ").capitalize()
        path.write_text(TEMPLATE.format(name=args.name, title=title), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error
    print(f"Wrote {path}. Edit its classes, then:")
    print(f"  virb evaluate ENCODER --include {args.out} --tasks {args.name} --data {args.name}=FOLDER")
    return 0
