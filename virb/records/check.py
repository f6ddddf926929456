"""Damage in a results folder: found, named, and put aside so that the same command computes it again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from virb.errors import RecordError, VirbError
from virb.records.predictions import read_arrays, score_of
from virb.records.problems import DAMAGED, FOREIGN, LEFTOVER, MISPLACED, OLD, PREDICTIONS, Problem
from virb.records.record import Record, place_of, read
from virb.records.store import SET_ASIDE, SHOWN, ResultStore

__all__ = [
    "DAMAGED",
    "FOREIGN",
    "LEFTOVER",
    "MISPLACED",
    "OLD",
    "PREDICTIONS",
    "Problem",
    "check",
    "repair",
]
TOLERANCE = 1e-6  # of a score made anew from its predictions, whose sums may run in another order


def check(results: str | os.PathLike[str]) -> tuple[list[Record], list[Problem]]:
    """Look at every file of a results folder, and make every score anew from its predictions where that can be done.

    Returns:
        The whole records, and everything else with what is wrong.

    Raises:
        VirbError: there is no such folder.
    """
    store = ResultStore(results)
    if not store.root.is_dir():
        raise VirbError(f"There is no results folder {store.root}.")
    found = store.scan()
    bare = {problem.path for problem in found.problems if problem.kind == PREDICTIONS}
    records = []
    for record in found.records:
        path = store.root / place_of(record)
        wrong = None if path in bare else _wrong_score(path, record)
        if wrong is not None:
            found.problems.append(Problem(path, PREDICTIONS, wrong))
        elif path not in bare:
            records.append(record)
    return records, sorted(found.problems, key=lambda problem: problem.path)


def repair(results: str | os.PathLike[str]) -> list[str]:
    """Put aside what is no whole record, and return a line for everything that was done.

    Damaged records, and copies that lie where another record belongs, go to ``.set-aside`` in the results folder with
    their predictions; a record that is alone and lies in the wrong place (its folder was renamed) goes where it belongs;
    files that a killed run left are removed. Records of virb 0.1 and foreign files stay. Nothing must be running.
    """
    store = ResultStore(results)
    done = []
    for problem in check(results)[1]:
        path = problem.path
        if problem.kind == LEFTOVER:
            path.unlink(missing_ok=True)
            done.append(f"removed {path}")
        elif problem.kind == MISPLACED and not (home := store.root / place_of(read(path))).exists():
            _move(path, home)
            done.append(f"moved {path} to {home}, where it belongs by its contents")
        elif problem.kind in (DAMAGED, MISPLACED, PREDICTIONS):
            aside = _free(store.root / SET_ASIDE / path.relative_to(store.root))
            _move(path, aside)
            done.append(f"put {path} aside, to {aside}: the same virb evaluate computes it again")
    return done


def _wrong_score(path: Path, record: Record) -> str | None:
    try:
        arrays = read_arrays(path.with_suffix(".npz"))
    except FileNotFoundError:
        return f"{path} has lost its predictions: those beside it (.npz) are missing."
    except RecordError as error:
        return str(error)
    n = len(arrays.get("ids", ()))
    if n != record["n_test"]:
        return f"{path} is of {record['n_test']} test examples, and the predictions beside it are of {n}."
    given = score_of(arrays, record["task"]["metric"])
    if given is None or abs(given - record["score"]) <= TOLERANCE * max(1.0, abs(record["score"])):
        return None
    return f"{path} says {record['score']:.6g}, and its predictions give {given:.6g}."


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    for ending in (SHOWN, ".npz", ".json"):
        source: Any = path.with_suffix(ending)
        if os.path.lexists(source):
            shutil.move(source, to.with_suffix(ending))


def _free(path: Path) -> Path:
    """Return ``path``, with a number where it is taken."""
    n, found = 1, path
    while os.path.lexists(found):
        n += 1
        found = path.with_name(f"{path.stem}.{n}{path.suffix}")
    return found
