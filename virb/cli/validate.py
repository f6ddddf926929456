"""``virb validate``: check an end task end to end on a few images, or a part of another kind by its battery."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.cli.common import add_data_flag, data_context

if TYPE_CHECKING:
    from virb.evaluation.validation import Check
    from virb.registry import Entry

HELP = "check end tasks on a few images (data, splits, targets, and that a head trains), encoders, and parts of other kinds"
EPILOG = """examples:
  virb validate pets --data /data
  virb validate ./my_tasks/flowers.py --data flowers=/data/flowers
  virb validate net.py:make mine.pt timm:resnet18  # encoders: that they load, and that each image's embedding is its own
  virb validate ./my_parts/mlp.py                 # a head, loss, metric, probe, analysis, ...: by what its file assigns
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tasks",
        nargs="+",
        metavar="NAME|FILE",
        help="end tasks by name, files of your own with a part of any kind, or encoders",
    )
    add_data_flag(parser)
    parser.add_argument("--images", type=int, default=16, metavar="N", help="decode N examples a split (default: 16)")
    parser.add_argument(
        "--encoder", default=None, help="the encoder under the head (default: a narrow random ResNet-18)"
    )
    parser.add_argument(
        "--sheet", metavar="FILE.png", help="write a contact sheet: the images that are decoded, with their targets"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array")


def run(args: argparse.Namespace) -> int:
    import json

    from virb import registry
    from virb.errors import UsageError
    from virb.evaluation.batteries import check_part
    from virb.evaluation.validation import DEFAULT_ENCODER, validate
    from virb.images.sheet import check_name

    if args.sheet is not None:
        check_name(args.sheet)
    if args.images < 2:
        raise UsageError(f"--images {args.images}: at least two are needed.")
    context = data_context(args.data)
    rows: list[dict[str, Any]] = []
    for asked in args.tasks:
        if _is_encoder(asked):
            from virb.evaluation.batteries.encoders import check_encoder

            rows += _rows(asked, check_encoder(asked), is_shown=not args.json)
            continue
        found = _entries(asked)
        for entry in found:
            if entry.kind != "tasks":
                checks = check_part(entry)
                rows += _rows(entry.name, checks, is_shown=not args.json)
        if found and "tasks" not in {entry.kind for entry in found}:
            continue
        name = next((entry.name for entry in found if entry.kind == "tasks"), asked)
        task = registry.load("tasks", name)
        heads_of = registry.load("tasks", task.heads_of) if task.heads_of else None
        checks = validate(
            task,
            context,
            n_images=args.images,
            encoder=args.encoder or DEFAULT_ENCODER,
            heads_of=heads_of,
            sheet=None if args.sheet is None else _sheet(args.sheet, name, len(args.tasks)),
        )
        rows += _rows(name, checks, is_shown=not args.json)
    if args.json:
        print(json.dumps(rows, indent=2))
    return 0 if all(row["is_ok"] for row in rows) else 1


def _is_encoder(asked: str) -> bool:
    """Whether an encoder is named: ``FILE.py:FUNCTION``, a kind of name such as ``timm:NAME``, or a file of weights."""
    name, colon, _ = asked.partition(":")
    is_file = Path(name).expanduser().is_file() and not name.endswith(".py")
    return is_file or bool(colon)


def _sheet(path: str, task: str, n_tasks: int) -> Path:
    """Return the file of one task's contact sheet; of several tasks each has its own."""
    named = Path(path)
    return named if n_tasks == 1 else named.with_name(f"{named.stem}-{task}{named.suffix}")


def _rows(name: str, checks: list[Check], *, is_shown: bool) -> list[dict[str, Any]]:
    from dataclasses import asdict

    if is_shown:
        n_bad = sum(not check.is_ok for check in checks)
        print(f"{name}: " + (f"{n_bad} of {len(checks)} checks failed" if n_bad else f"{len(checks)} checks passed"))
        for check in checks:
            print(f"  {'ok    ' if check.is_ok else 'FAILED'} {check.name}: {check.detail}")
    return [{"task": name, **asdict(check)} for check in checks]


def _entries(asked: str) -> list[Entry]:
    """Return the parts of a file that is named; none where ``asked`` is the name of a task."""
    from virb import registry
    from virb.errors import UsageError

    if not asked.endswith(".py"):
        return []
    path = Path(asked).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"{asked}: there is no such file. Name an end task (virb list tasks) or the file of a part.")
    return registry.entries_of(path)
