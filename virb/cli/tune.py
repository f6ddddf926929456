"""``virb tune``: choose the settings of a task's training on a validation part of its train split."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from virb.cli.common import add_data_flag, add_run_flags, data_context, print_json, run_options

HELP = "choose optimiser, learning rate and weight decay for end tasks, on a validation part of the train split"
EPILOG = """The test split is never read. Tune with one encoder, then use the same setting for all (Kotar et al. 2021,
Appendix C): put it into the task's protocol, or pass it to virb evaluate, which records it.

examples:
  virb tune supervised-objects --tasks mini-scene,mini-count
  virb tune mine.pt --tasks pets --data /data --grid adam:3e-4,adam:1e-3,sgd:1e-2,sgd:1e-1
  virb evaluate mine.pt supervised-objects --tasks mini-scene --optimizer adam --lr 3e-3
  virb tune mine.pt --probe finetune --tasks pets --data /data --steps 20000 --batch-size 256      # SimCLR's 7 x 8
  virb tune random:resnet50 --probe finetune --tasks pets --data /data --steps 40000 --grid untrained
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoder", metavar="ENCODER", help="an encoder file or name")
    parser.add_argument("--tasks", metavar="A,B", required=True)
    parser.add_argument(
        "--grid",
        metavar="OPT:LR[:DECAY],...|NAME",
        help="settings, or a grid of the probe's (gradient: kotar, which is adam:3e-4,adam:3e-3,sgd:3e-3,sgd:3e-2; finetune: "
        "pretrained, which is 7 rates x 8 weight decays, and untrained; default: the first)",
    )
    parser.add_argument(
        "--validation", type=float, default=0.2, metavar="SHARE", help="held out of train (default: 0.2)"
    )
    add_data_flag(parser, "as for virb evaluate")
    add_run_flags(
        parser,
        only=(
            "out", "seeds", "probe", "device", "executor", "limit", "epochs", "steps", "batch_size", "weight_decay_on",
            "dtype", "skip_corrupt",
        ),
        out="tuning",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    from virb.system.allocator import keep_freed_memory

    keep_freed_memory()
    from virb.evaluation import tuning
    from virb.figures.tables import print_table
    from virb.system.progress import Progress

    with Progress(is_quiet=args.quiet) as progress:
        table, failures = tuning.tune(
            args.encoder,
            [name.strip() for name in args.tasks.split(",") if name.strip()],
            context=data_context(args.data),
            grid=_grid(args.grid) if args.grid else None,
            validation=args.validation,
            options=run_options(args),
            progress=progress,
        )
    if args.json:
        print_json(table)
    elif len(table):
        settings = [name for name in table.columns if name not in ("task", "score", "is_best")]
        rows = [
            {
                "end task": row["task"],
                **{name: f"{row[name]:g}" if isinstance(row[name], float) else row[name] for name in settings},
                "validation score": row["score"],
                "best": "*" if row["is_best"] else "",
            }
            for row in table.to_dict("records")
        ]
        print_table(
            rows, sections="end task", caption="scores on a validation part of train; the test split was not read."
        )
    for failure in failures:
        if failure.line not in progress.told:
            print(failure.line, file=sys.stderr)
    if not failures:
        return 0
    return 1 if len(table) else 2


def _grid(text: str) -> str | list[dict[str, Any]]:
    """Return the settings that ``text`` writes, or the name of a grid."""
    from virb.contracts.task import OPTIMIZERS
    from virb.errors import UsageError

    if ":" not in text:
        return text
    grid: list[dict[str, Any]] = []
    for part in text.split(","):
        optimizer, *numbers = part.strip().split(":")
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = []
        is_right = optimizer in OPTIMIZERS and len(values) in (1, 2) and values[0] > 0 and values[-1] >= 0
        if not is_right:
            raise UsageError(
                f"--grid {part!r} is not OPTIMIZER:RATE[:DECAY]; write for example adam:3e-4 or sgd:0.01:1e-4."
            )
        grid.append({"optimizer": optimizer, **dict(zip(("lr", "weight_decay"), values, strict=False))})
    return grid
