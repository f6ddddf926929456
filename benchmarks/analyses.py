"""How long each analysis takes on a large table, in seconds of a processor: computing, saying, drawing with its files.

Run: python benchmarks/analyses.py TABLE [--include DIR] [--names A,B] [--limit 300] [--profile]

TABLE is what `virb analyze --results` takes: for 1,555 encoders x 6 tasks timm's results, for 350 x 21 the store of
`python benchmarks/growth.py --encoders 350 --keep DIR` (DIR/results, --include DIR/content).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from virb import registry
from virb.contracts.analysis import NotApplicable
from virb.contracts.tables import Notes
from virb.errors import VirbError
from virb.figures.analysing import Outputs
from virb.scores.read import read_scores


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError


def parts_of(name: str, scores: Any, folder: Path, parts: list[float]) -> None:
    """Append the seconds of computing, saying and drawing."""
    analysis = registry.load("analyses", name)
    why_not = analysis.reason_not_to_run(scores)
    if why_not is not None or not analysis.needs_scores:
        raise NotApplicable(why_not or "needs no scores")
    outputs = Outputs(folder, name)

    def clock(start: float) -> float:
        parts.append(time.process_time() - start)
        return time.process_time()

    start = time.process_time()
    tables = analysis.tables(scores, Notes())
    outputs.tables(tables)
    start = clock(start)
    analysis.say(tables)
    start = clock(start)
    for part, figure in analysis.draw(tables).items():
        outputs.figure(figure, part)
    clock(start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--include", default="")
    parser.add_argument("--names", default="", help="only these analyses")
    parser.add_argument(
        "--limit", type=int, default=300, help="seconds (by the clock) after which an analysis is stopped"
    )
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    if args.include:
        registry.include(args.include)
    scores = read_scores(args.table)
    names = [name for name in args.names.split(",") if name] or registry.names("analyses")
    print(f"{scores['encoder'].nunique():,} encoders x {scores['task'].nunique()} tasks, {len(scores):,} rows")
    print("| analysis | compute, s | say, s | draw, s | all, s |\n|---|---|---|---|---|")
    signal.signal(signal.SIGALRM, interrupt)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            parts: list[float] = []
            watch, start = cProfile.Profile(), time.process_time()
            signal.alarm(args.limit)
            if args.profile:
                watch.enable()
            said = ""
            try:
                parts_of(name, scores, Path(folder), parts)
            except TimeoutError:
                said = f"> {args.limit}"
            except VirbError as error:
                said = f"skipped: {error}"
            finally:
                signal.alarm(0)
                watch.disable()
            shown = [f"{part:.1f}" for part in parts] + ["-"] * (3 - len(parts))
            print(f"| {name} | {' | '.join(shown)} | {said or f'{time.process_time() - start:.1f}'} |", flush=True)
            if args.profile:
                pstats.Stats(watch).sort_stats("cumtime").print_stats(30)


if __name__ == "__main__":
    main()
