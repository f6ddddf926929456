"""``virb new``: start a part of one's own, with its test."""

from __future__ import annotations

import argparse

HELP = "write a starting file for a part of your own, that works as it is, and its test"
EPILOG = """examples:
  virb new task flowers --out my-parts        # writes my-parts/flowers.py
  virb evaluate mine.pt --include my-parts --tasks flowers --data flowers=/path/to/flowers
  virb new task flowers --from /path/to/flowers    # looks at the data and writes a task that reads them as they lie
  virb new task cifar --from torchvision:CIFAR10
  virb new head mlp --out my-parts            # and my-parts/test_mlp.py
  virb validate my-parts/mlp.py
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from virb.cli.templates import KINDS

    parser.add_argument("what", choices=tuple(KINDS), metavar="KIND", help="one of %(choices)s")
    parser.add_argument(
        "name", help="its name: lower-case letters, digits and dashes (underscores for a head, metric, ...)"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PATH",
        help="task: the data, in any layout that a reader knows (virb list readers), or torchvision:NAME",
    )
    parser.add_argument("--out", default=".", metavar="DIR", help="the folder to write it to (default: here)")


def run(args: argparse.Namespace) -> int:
    import re
    from pathlib import Path

    from virb import registry
    from virb.cli.from_data import task_text
    from virb.cli.templates import KINDS, start
    from virb.errors import UsageError

    kind = KINDS[args.what]
    about = registry.KINDS[kind]
    mark = "_" if about.keeps_underscores else "-"
    if not re.fullmatch(rf"[a-z][a-z0-9]*({mark}[a-z0-9]+)*", args.name):
        words = "underscores (my_part)" if mark == "_" else "dashes (my-task)"
        raise UsageError(
            f"{args.name!r} cannot be a {about.singular}'s name: use lower-case letters, digits and {words}."
        )
    if args.name in registry.names(kind):
        where = next(entry.path for entry in registry.entries(kind) if entry.name == args.name)
        raise UsageError(f"There is a {about.singular} {args.name!r} already: {where}.")
    if args.source is not None and kind != "tasks":
        raise UsageError(f"--from is for a task; a {about.singular} is not written from data.")
    path = Path(args.out) / f"{args.name.replace('-', '_')}.py"
    test = path.with_name(f"test_{path.name}")
    for file in (path, test):
        if file.exists():
            raise UsageError(f"{file} exists; it is left as it is. Choose another name or folder.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        title = args.name.replace("-", " ").replace("_", " ").capitalize()
        text = start(args.what).replace("NAME", args.name).replace("TITLE", title)
        said, data = "", f"{args.name}=FOLDER"
        if args.source is not None:
            text, said, data = task_text(args.name, title, args.source)
        path.write_text(text, encoding="utf-8")
        if kind != "tasks":
            test.write_text(start("test").replace("NAME", args.name).replace("FILE", path.name), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error
    if kind == "tasks":
        if said:
            print(f"Found {said}.")
        print(f"Wrote {path}. Look at it, then:")
        print(f"  virb validate {path} --data {data}")
        print(f"  virb evaluate ENCODER --include {args.out} --tasks {args.name} --data {data}")
    else:
        print(f"Wrote {path} and {test}. Check it with:")
        print(f"  virb validate {path}")
    return 0
