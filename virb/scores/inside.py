"""Accuracy inside a task, level by level and class by class, of a published table or of records.

A table of scores may have a column ``level`` (an accuracy at each level of a label tree, the finest first) or ``class`` (an
accuracy in each class), beside ``n_classes``, ``kappa`` and ``n`` where they are known. Records have ``accuracy@LEVEL``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from virb.contracts.analysis import NotApplicable, names_in_words
from virb.contracts.tree import FINEST
from virb.errors import ScoresError, UsageError
from virb.records.predictions import class_names, labels, read_predictions
from virb.stats.granularity import wilson

MARK = "accuracy@"  # what a record's column of a level begins with
COLUMNS = ("level", "n_classes", "accuracy", "low", "high", "chance", "kappa")


def one_task(scores: pd.DataFrame, task: str) -> str:
    """Return ``task``, or the first of the scores where none is named.

    Raises:
        UsageError: there is no such task.
    """
    known = list(dict.fromkeys(scores["task"]))
    if task and task not in known:
        raise UsageError(f"task={task!r} is no task of the scores; they have {names_in_words(known)}.")
    return task or str(known[0])


def finest(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each task's first level, of a table that has a column ``level``; else all."""
    if "level" not in scores:
        return scores
    first = scores.groupby("task")["level"].transform("first")
    return scores[scores["level"].isna() | (scores["level"] == first)]


def by_level(scores: pd.DataFrame, task: str) -> tuple[str, pd.DataFrame] | None:
    """Return a task with accuracies at several levels, and them: encoder and :data:`COLUMNS`; what is not known is NaN.

    Of several seeds the mean. None where neither a column ``level`` nor the columns of records say any.
    """
    if "level" in scores:
        chosen = one_task(scores, task)
        part = scores[(scores["task"] == chosen) & scores["level"].notna()]
        if part.empty:
            raise ScoresError(f"No row on {chosen} says its level.")
        found = part.assign(accuracy=part["score"])
        order = list(dict.fromkeys(part["level"]))
    else:
        marked = [column for column in scores if str(column).startswith(MARK)]
        known = scores[scores[marked].notna().any(axis=1)] if marked else scores.iloc[:0]
        if known.empty or (task and task not in set(known["task"])):
            return None
        chosen = one_task(known, task)
        part = known[known["task"] == chosen]
        order = [str(column).removeprefix(MARK) for column in marked if part[column].notna().any()]
        found = pd.concat(
            [
                part[["encoder"]].assign(
                    level=level,
                    accuracy=part[f"{MARK}{level}"],
                    kappa=part.get(f"kappa@{level}", np.nan),
                    n_classes=part.get(f"classes@{level}", np.nan),
                )
                for level in order
            ]
        )
    for column in COLUMNS[1:]:
        found[column] = pd.to_numeric(found[column], errors="coerce") if column in found else np.nan
    encoders = list(dict.fromkeys(found["encoder"]))
    means = found.groupby(["encoder", "level"])[list(COLUMNS[1:])].mean()
    rows = [(encoder, level) for encoder in encoders for level in order if (encoder, level) in means.index]
    table = means.loc[rows].reset_index()[["encoder", *COLUMNS]]
    n = part["n_test"].dropna().tolist() if "n_test" in part else list[float]()
    if "level" not in scores and n and part["encoder"].is_unique:  # of several seeds the mean has another spread
        bands = [wilson(share, int(n[0])) for share in table["accuracy"]]
        table = table.assign(low=[low for low, _ in bands], high=[high for _, high in bands])
    sizes = table.groupby("level")["n_classes"].transform("max")  # a table may say it in one row alone
    return chosen, table.assign(n_classes=sizes)


def by_class(scores: pd.DataFrame, task: str) -> tuple[str, pd.DataFrame, pd.Series | None] | None:
    """Return a task with accuracies in its classes: classes x encoders, and how many test examples each class has.

    None where the scores have no column ``class``; no counts where they have no column ``n``.

    Raises:
        ScoresError: an encoder has no accuracy in some class.
    """
    if "class" not in scores:
        return None
    chosen = one_task(scores, task)
    part = scores[(scores["task"] == chosen) & scores["class"].notna()]
    wide = part.pivot_table(index="class", columns="encoder", values="score", aggfunc="mean", sort=False)
    if wide.empty or wide.isna().to_numpy().any():
        empty = [f"{encoder} in {name}" for encoder in wide for name in wide.index[wide[encoder].isna()]]
        raise ScoresError(f"Accuracies in classes of {chosen} are missing: {names_in_words(empty) or 'all'}.")
    wide.columns.name = None
    n = pd.to_numeric(part.groupby("class", sort=False)["n"].first(), errors="coerce") if "n" in part else None
    return chosen, wide, None if n is None or n.isna().any() else n.loc[wide.index]


def accuracies(scores: pd.DataFrame, frame: pd.DataFrame, task: str) -> tuple[str, pd.DataFrame, pd.Series | None]:
    """Return what :func:`by_class` does, of a published table or of the predictions of a results folder.

    Args:
        frame: the rows of ``scores`` to look at. Without ``task`` the first is taken that predicts one class an example.

    Raises:
        NotApplicable: there is neither a column ``class`` nor such predictions.
    """
    published = by_class(scores, task)
    if published is not None:
        return published
    results = scores.attrs.get("results")
    if not results:
        raise NotApplicable(
            "It needs predictions per example, which lie in a results folder, or a table with a column class."
        )
    for name in [one_task(frame, task)] if task else list(dict.fromkeys(frame["task"])):
        try:
            predictions = read_predictions(results, frame, name)
            found = {encoder: labels(arrays, name) for encoder, arrays in predictions.items()}
        except ScoresError:
            if task:
                raise
            continue
        target = next(iter(found.values()))[0]
        n = np.bincount(target)
        present = np.flatnonzero(n)
        names = class_names(name, int(present.max()) + 1, results=results, frame=frame)
        columns = {e: np.bincount(t, t == p, minlength=len(n))[present] / n[present] for e, (t, p) in found.items()}
        index = pd.Index([names[k] for k in present], name="class")
        return name, pd.DataFrame(columns, index=index), pd.Series(n[present], index=index)
    raise NotApplicable("No task predicts one class an example.")


def levels_of(tree: pd.DataFrame, names: Sequence[str], where: str) -> dict[str, list[str]]:
    """Return for each level of a CSV (column class, then fine to coarse) the ancestor of each of ``names``.

    Raises:
        UsageError: the CSV says nothing about one of them.
    """
    place = tree.set_index(FINEST)
    absent = [name for name in names if name not in place.index]
    if absent:
        raise UsageError(f"{where} says nothing about the classes {names_in_words(absent)}.")
    return {column: list(place.loc[list(names), column]) for column in place.columns}
