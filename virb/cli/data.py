"""``virb data``: which data sets are there, getting those that may be downloaded, and what the cache holds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from virb.cli.common import add_data_flag, data_context

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext
    from virb.contracts.task import Task
    from virb.evaluation.status import Status
    from virb.system.progress import Progress

HELP = "show which data sets are there, what is missing and where to get it; download what may be; manage the cache"
EPILOG = """examples:
  virb data status --data /data                   # the paper's end tasks: found, incomplete or absent
  virb data status pets clevr-count --decode      # read every image and target; corrupt ones are counted and named
  virb data prepare pets dtd --data /data         # download where torchvision may, then verify
  virb data tree cole-inat21 --data /data         # the classes and what is above them, as a CSV for virb analyze
  virb data cache                                 # features, pretraining images, rendered sets, digests: size, last use
  virb data cache --limit 20                      # remove what was longest unused of the first two until 20 GB are left
  virb data cache --clear features                # what a running command uses stays

Data sets that torchvision knows lie under the data folder as torchvision puts them, the others under the top folder of
their public archive; --data NAME=DIR places one of them elsewhere. virb data status NAME says where a set is to be had.
"""


SHOWN_ENTRIES = 20  # of the cache; --json prints all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("status", "prepare", "tree", "cache"))
    parser.add_argument("tasks", nargs="*", metavar="NAME", help="end tasks (status: all of the suite by default)")
    parser.add_argument("--suite", default="virb", help="status: the tasks of this suite (default: virb)")
    add_data_flag(parser)
    parser.add_argument("--decode", action="store_true", help="status: read every image and target, not only the lists")
    parser.add_argument(
        "--clear",
        nargs="?",
        const="all",
        choices=("features", "pretraining", "world", "digests", "encoders", "all"),
        help="cache: remove features, decoded pretraining images, the rendered sets, what is remembered of image "
        "files (digests) or of encoder files, or everything (default)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        metavar="GB",
        help="cache: remove the features and pretraining images longest unused until this much is left",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array")


def run(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from virb.errors import UsageError
    from virb.evaluation.status import FOUND, data_status
    from virb.system.progress import Progress

    if args.action == "cache":
        return _cache(args)
    if args.clear is not None or args.limit is not None:
        raise UsageError(f"--clear and --limit belong to virb data cache, not to virb data {args.action}.")
    if args.action == "prepare" and not args.tasks:
        raise UsageError("data prepare needs the names of the end tasks whose data to get; see: virb data status.")
    context = data_context(args.data)
    if args.action == "tree":
        return _tree(args.tasks, context)
    chosen, n_broken = _tasks(args.tasks, args.suite)
    rows: list[Status] = []
    with Progress() as progress:
        for task in chosen:
            if args.action == "prepare":
                status = _prepare(task, context, progress)
            else:
                with progress.stage(f"{task.name}: look") as advance:
                    status = data_status(task, context, decode=args.decode, progress=_counting(advance))
            rows.append(status)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _print(rows)
    return 0 if not n_broken and (args.action == "status" or all(row.state == FOUND for row in rows)) else 1


def _cache(args: argparse.Namespace) -> int:
    """Show the cache, or remove from it what was asked for and no process uses."""
    import json
    from datetime import datetime

    from virb.convert import zoo
    from virb.errors import UsageError
    from virb.figures.tables import print_table
    from virb.system import cache
    from virb.system.paths import cache_root

    if args.tasks:
        raise UsageError(f"virb data cache takes no names; found {' '.join(args.tasks)}. See: virb data --help.")
    gone = 0
    stayed: list[cache.CacheEntry] = []
    if args.clear is not None:
        gone, stayed = cache.clear(args.clear)
    if args.limit is not None:
        gone += cache.trim(cache.limit_bytes(limit_gb=args.limit))
    found = cache.entries()
    rows = [
        {
            "kind": entry.kind,
            "what": entry.what,
            "images": entry.n_images,
            "bytes": entry.n_bytes,
            "last_use": datetime.fromtimestamp(entry.last_use).astimezone().isoformat(timespec="minutes"),
            "is_in_use": entry.is_in_use,
            "path": str(entry.path),
        }
        for entry in found
    ]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    if args.clear is not None or args.limit is not None:
        print(f"{_size(gone)} removed" + (f"; {len(stayed)} entries are in use and stay" if stayed else ""))
    elif rows:
        if len(rows) > SHOWN_ENTRIES:
            print(f"the {SHOWN_ENTRIES} largest of {len(rows)} entries (--json: all)")
            largest = sorted(range(len(rows)), key=lambda k: -found[k].n_bytes)[:SHOWN_ENTRIES]
            rows, found_shown = [rows[k] for k in sorted(largest)], [found[k] for k in sorted(largest)]
        else:
            found_shown = found
        print_table(
            [
                {
                    "": row["kind"],
                    "what": row["what"],
                    "images": f"{row['images']:,}",
                    "size": _size(entry.n_bytes),
                    "last use": "now"
                    if entry.is_in_use
                    else f"{datetime.fromtimestamp(entry.last_use):%Y-%m-%d %H:%M}",
                }
                for row, entry in zip(rows, found_shown, strict=True)
            ]
        )
    sizes = {kind: sum(entry.n_bytes for entry in found if entry.kind == kind) for kind in cache.KINDS}
    limit = _size(cache.limit_bytes())
    print(
        f"features: {_size(sizes['features'])} and pretraining images: {_size(sizes['pretraining'])}, of at most {limit} "
        f"together; rendered sets: {_size(sizes['world'])}; digests: {_size(sizes['digests'])}"
    )
    print(f"They are in {cache_root()}.")
    fetched = [file for file in zoo.folder().rglob("*") if file.is_file()]
    if fetched:
        n_bytes = sum(file.stat().st_size for file in fetched)
        print(f"Published encoders: {_size(n_bytes)} in {zoo.folder()}; they stay until you remove them.")
    return 0


def _tree(names: list[str], context: DataContext) -> int:
    """Print the label tree of one task's data as a CSV: class, then one column a level, fine to coarse."""
    import csv

    from virb import registry
    from virb.errors import DataError, UsageError

    if len(names) != 1:
        raise UsageError("data tree needs the name of one end task, whose label tree to print.")
    task = registry.load("tasks", names[0])
    examples = task.examples(context, "test")
    if examples.tree is None:
        raise DataError(f"{task.name}: its data have no label tree. {task.obtain}".rstrip())
    levels = examples.tree.coarse(task.resolved(examples).class_names)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(levels)
    writer.writerows(zip(*levels.values(), strict=True))
    return 0


def _size(n_bytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.1f} {unit}"
    return f"{n_bytes / 1e3:,.1f} kB"


def _counting(advance: Callable[[int, int], None]) -> Callable[[str, int, int], None]:
    return lambda _what, done, total: advance(done, total)


def _tasks(names: list[str], suite: str) -> tuple[list[Task], int]:
    """Return the tasks, and how many more there are whose files are broken."""
    from virb import registry
    from virb.errors import UsageError

    if names:
        return [registry.load("tasks", name) for name in dict.fromkeys(names)], 0
    entries = [entry for entry in registry.entries("tasks") if entry.group == suite]
    if not entries:
        suites = {entry.group for entry in registry.entries("tasks")}
        raise UsageError(f"Unknown suite {suite!r}. {registry.suggest(suite, suites)}")
    tasks, broken = registry.load_all(entries)
    return tasks, len(broken)


def _prepare(task: Task, context: DataContext, progress: Progress) -> Status:
    """Get the data of ``task`` unless they are there, and verify them: all listings, and every image and target."""
    from virb.errors import DataError
    from virb.evaluation.status import FOUND, INCOMPLETE, Status, data_status

    status = data_status(task, context)
    if status.state != FOUND and task.prepare is not None:
        print(f"{task.name}: downloading", file=sys.stderr)
        try:
            task.prepare(context)
        except DataError as error:
            return Status(task.name, INCOMPLETE, status.counts, status.expected, str(error))
        status = data_status(task, context)
    if status.state == FOUND:
        with progress.stage(f"{task.name}: verify") as advance:
            status = data_status(task, context, decode=True, progress=_counting(advance))
    return status


def _print(rows: list[Status]) -> None:
    from collections import Counter

    from virb.figures.tables import print_table

    def count(row: Status, split: str) -> str:
        found, expected = row.counts.get(split), row.expected.get(split)
        if found is None:
            return "–" if expected is None else f"– of {expected:,}"
        return f"{found:,}" if expected in (None, found) else f"{found:,} of {expected:,}"

    print_table(
        [
            {"end task": row.task, "data": row.state, "train": count(row, "train"), "test": count(row, "test")}
            for row in rows
        ]
    )
    for row in rows:
        if row.reason:
            print(f"{row.task}: {row.state}. {row.reason}")
    states = Counter(row.state for row in rows)
    print(", ".join(f"{n} {state}" for state, n in states.items()))
