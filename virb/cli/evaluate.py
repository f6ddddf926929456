"""``virb evaluate``: score frozen encoders on end tasks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.cli.common import add_data_flag, add_run_flags, add_table_flags, data_context, print_scores, run_options
from virb.contracts.options import RunOptions
from virb.errors import UsageError

if TYPE_CHECKING:
    from virb.evaluation.grid import Failure
    from virb.evaluation.run import Outcome

HELP = "score frozen encoders on end tasks"
EPILOG = """an encoder is a file (virb's own, or a published checkpoint: MoCo, SwAV, DINO, timm, ...), the name of a reference
encoder that comes with virb, zoo:NAME (a published one; virb list encoders shows them; patterns: 'zoo:swav-*'), timm:NAME,
torchvision:NAME, random:ARCH or pixels:GRID.

examples:
  virb evaluate mine.pt supervised-objects random      # the embedded suite, mini, beside two reference encoders
  virb evaluate mine.pth.tar random:resnet50 --seeds 3
  virb evaluate mine.pt --suite virb --data /data      # the paper's end tasks, on the data that are there
  virb evaluate mine.pt --tasks flowers --include ./my-tasks --data flowers=/data/flowers
  virb evaluate mine.pt --label-fraction 0.01,0.1,1 --seeds 3   # how well with few labels
  virb evaluate mine.pt --probe knn                    # a second opinion: see virb list probes
  virb evaluate mine/*.pt --executor dask              # on every GPU here; dask:tcp://HOST:PORT: on a cluster

Run the same command again after an interruption: only what is missing is computed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoders", nargs="+", metavar="ENCODER", help="encoder files or names")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--suite", default=None, help="evaluate on all tasks of this suite (default: mini)")
    which.add_argument("--tasks", metavar="A,B", help="evaluate on these tasks only (see: virb list tasks)")
    add_data_flag(parser)
    probes = "; ".join(f"{entry.name}: {entry.about}" for entry in registry.entries("probes"))
    add_run_flags(parser, helps={"probe": probes})
    parser.add_argument(
        "--meta",
        metavar="FILE.csv",
        help="what is to be known of encoders (role, family, ...): a CSV with the column encoder; goes before their own meta",
    )
    add_table_flags(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress: the table, and what failed, alone")


def run(args: argparse.Namespace) -> int:
    from virb.system.allocator import keep_freed_memory

    keep_freed_memory()
    from virb.evaluation import run as evaluation
    from virb.system.progress import Progress

    with Progress(is_quiet=args.quiet) as progress:
        try:
            outcome = evaluation.run(
                args.encoders,
                None if args.tasks is None else [name.strip() for name in args.tasks.split(",") if name.strip()],
                suite="mini" if args.suite is None else args.suite,
                context=data_context(args.data),
                options=run_options(args),
                meta=args.meta,
                progress=progress,
            )
        except KeyboardInterrupt:
            kept = (
                f"{progress.done_jobs} of {progress.total_jobs} jobs were finished"
                if progress.total_jobs
                else "no job was begun"
            )
            raise Interrupted(
                f"interrupted: {kept}. Their records are kept in {args.out}/; the same command computes what is missing."
            ) from None
    is_data = args.format in ("csv", "json")
    wrong = None
    try:
        _print_table(outcome, args)
    except UsageError as error:  # of --sort or --columns: what was computed is told all the same
        wrong = error
    _print_closing(outcome, args.out, progress.told, to=sys.stderr if is_data else sys.stdout)
    if not outcome.failures and not len(outcome.table) and outcome.left_out:
        names = ", ".join(failure.what for failure in outcome.left_out)
        print(
            f"Nothing was evaluated: the data of every task are absent ({names}). See: virb data status.",
            file=sys.stderr,
        )
        return 2
    if wrong is not None:
        raise UsageError(f"{wrong} The scores are kept; `virb results show --results {args.out}` prints them.")
    if not outcome.failures:
        return 0
    return 1 if len(outcome.table) else 2


def _print_table(outcome: Outcome, args: argparse.Namespace) -> None:
    if args.format in ("csv", "json"):
        print_scores(outcome.table, args)
    elif len(outcome.table):
        parts = list(outcome.table.groupby("probe", sort=False))
        for probe, part in parts:
            if args.format == "table" and (args.probe != RunOptions.probe or len(parts) > 1):
                print(f"probe: {probe}")
            print_scores(part, args)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what is kept."""

    status = 130


def _print_closing(outcome: Outcome, out: str, told: set[str], *, to: Any) -> None:
    """Say what was done; a failure that was said when it happened is counted, and not said again."""
    present = f", {outcome.n_present} were there already" if outcome.n_present else ""
    print(f"{outcome.n_run} jobs run{present}; the records are in {out}/", file=to)
    again = [failure for failure in outcome.failures if failure.line in told]
    for failure in outcome.failures:
        if failure not in again:
            print(failure.line, file=sys.stderr)
    if again:
        print(f"{len(outcome.failures)} failed, as said above", file=sys.stderr)
    _keep_tracebacks([failure for failure in outcome.failures if failure.details], out)


def _keep_tracebacks(failures: list[Failure], out: str) -> None:
    if not failures:
        return
    from pathlib import Path

    from virb.system.files import atomic_write

    path = Path(out) / "failures.txt"
    with atomic_write(path) as file:
        file.write("\n".join(f"{failure.what}\n{failure.details}" for failure in failures).encode())
    print(f"The tracebacks are in {path}.", file=sys.stderr)
