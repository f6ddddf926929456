"""How long each analysis takes on a large table, in seconds of a processor: computing, saying, drawing with its files; and the
most memory its process had, of which the table and the imports are some 300 MB.

Run: python benchmarks/analyses.py TABLE|350x21|350x1x20 [--names A,B] [--limit 300] [--profile] [--keep DIR]

TABLE is what `virb analyze --results` takes, such as timm's 1,555 x 6; ENCODERSxTASKS makes a random table of seven methods, five data
sets and 32 families, two repeats each; ENCODERSxTASKSxCLASSES one of accuracies in classes.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import re
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

from virb import registry
from virb.contracts.analysis import NotApplicable
from virb.contracts.tables import Notes
from virb.errors import VirbError
from virb.figures.analysing import Outputs
from virb.scores.read import read_scores


def random_scores(n: int, n_tasks: int) -> pd.DataFrame:
    """A table of ``n`` encoders as a study has them."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "encoder": f"encoder-{k:04d}",
            "task": f"task-{t:02d}",
            "seed": seed,
            "score": round(float(score), 4),
            "category": f"category {t % 4}",
            "unit": "fraction",
            "chance": 0.1,
            "role": "supervised" if k == 0 else "self-supervised",
            "family": f"family-{k % 32}",
            "method": f"m{k % 7}",
            "dataset": f"d{k % 5}",
            "dataset_size": 1000 * 2 ** (k % 3),
            "epochs": 100 + 50 * (k % 4),
        }
        for k, level in enumerate(rng.normal(size=n))
        for t in range(n_tasks)
        for seed, score in enumerate(0.6 + 0.1 * level + 0.05 * rng.normal() + 0.01 * rng.normal(size=2))
    ]
    return pd.DataFrame(rows)


def random_classes(n: int, n_tasks: int, n_classes: int) -> pd.DataFrame:
    """A table of accuracies in classes, as papers print them."""
    scores = random_scores(n, n_tasks).query("seed == 0")
    classes = pd.DataFrame({"class": [f"class {c:02d}" for c in range(n_classes)]})
    rng = np.random.default_rng(0)
    return scores.merge(classes, how="cross").assign(score=lambda frame: rng.uniform(size=len(frame)).round(4))


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


def line_of(name: str, scores: Any, folder: Path, limit: int, is_profiled: bool) -> str:
    """Run one analysis and return its line of the table, but for the memory."""
    parts: list[float] = []
    said = ""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(limit)
    watch, start = cProfile.Profile(), time.process_time()
    if is_profiled:
        watch.enable()
    try:
        parts_of(name, scores, folder, parts)
    except TimeoutError:
        said = f"> {limit}"
    except Exception as error:  # one that fails is a line of the table too
        said = f"{'skipped' if isinstance(error, VirbError) else 'FAILED'}: {error}"
    finally:
        signal.alarm(0)
        watch.disable()
    if is_profiled:
        pstats.Stats(watch).sort_stats("cumtime").print_stats(30)
    shown = [f"{part:.1f}" for part in parts] + ["-"] * (3 - len(parts))
    return f"| {name} | {' | '.join(shown)} | {said or f'{time.process_time() - start:.1f}'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--names", default="", help="only these analyses")
    parser.add_argument(
        "--limit", type=int, default=300, help="seconds (by the clock) after which an analysis is stopped"
    )
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for what the analyses write")
    args = parser.parse_args()
    if re.fullmatch(r"\d+x\d+(x\d+)?", args.table):
        n, n_tasks, *n_classes = map(int, args.table.split("x"))
        scores = random_classes(n, n_tasks, *n_classes) if n_classes else random_scores(n, n_tasks)
    else:
        scores = read_scores(args.table)
    names = [name for name in args.names.split(",") if name] or registry.names("analyses")
    print(f"{scores['encoder'].nunique():,} encoders x {scores['task'].nunique()} tasks, {len(scores):,} rows")
    print("| analysis | compute, s | say, s | draw, s | all, s | peak, MB |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        for name in names:
            child = os.fork()  # a process each, so that each has a peak of its own
            if not child:
                print(line_of(name, scores, folder, args.limit, args.profile), end="", flush=True)
                os._exit(0)
            _, status, usage = os.wait4(child, 0)
            died = f" died by signal {status}" if status else ""
            print(f"{died} {usage.ru_maxrss / 1024:.0f} |", flush=True)


if __name__ == "__main__":
    main()
