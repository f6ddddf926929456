"""``virb show``: look at an end task, and at what an encoder's head says of it."""

from __future__ import annotations

import argparse

from virb.cli.common import add_data_flag, data_context

HELP = "draw a task's images and targets, and what an encoder's head says of them, into one PNG"
EPILOG = """examples:
  virb show mini-depth --out depth.png                            # images, targets, balance of the classes
  virb show mini-depth --encoder simclr-objects --results results --out depth.png
  virb show mini-object-class --encoder random --out near.png   # classes, and the nearest training images
void pixels are magenta; a depth is red where it is near; a flow has the colour of its direction.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="an end task by name (virb list tasks)")
    parser.add_argument(
        "--encoder", default=None, help="an encoder that was evaluated on it, as virb evaluate takes them"
    )
    parser.add_argument("--results", default="results", metavar="DIR", help="where its records lie (default: results)")
    parser.add_argument(
        "--probe", default=None, help="whose record to show, where there are several (default: gradient)"
    )
    parser.add_argument("--out", required=True, metavar="FILE.png", help="the picture to write")
    parser.add_argument(
        "--images", type=int, default=8, metavar="N", help="show N test examples, at most 16 (default: 8)"
    )
    add_data_flag(parser)


def run(args: argparse.Namespace) -> int:
    from virb import registry
    from virb.convert.load import load_encoder
    from virb.evaluation.show import show

    task = registry.load("tasks", args.task)
    encoder = None if args.encoder is None else load_encoder(args.encoder)
    lines = show(
        task,
        data_context(args.data),
        args.out,
        encoder=encoder,
        results=args.results,
        probe=args.probe,
        n=args.images,
    )
    print("\n".join([*lines, f"written to {args.out}"]))
    return 0
