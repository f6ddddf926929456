"""Scores laid out as encoders x tasks, and what of them an analysis can use.

One missing score costs what it is about. An analysis that looks at cells keeps what is there; one that needs a complete
table works on the largest part that the missing scores leave, and says which encoders or tasks that costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from virb.contracts.analysis import NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes
from virb.errors import ScoresError, UsageError
from virb.scores.schema import CATEGORIES, as_words
from virb.scores.units import on_one_scale
from virb.stats.budget import parse_count
from virb.stats.exact import settled

EXCLUDE = Option("exclude", (), "Tasks or encoders to leave out, with commas between.", type=comma_list)
OUTLIERS = Option(
    "outliers",
    (),
    "Single scores to leave out, each ENCODER@TASK, with commas between; named on the figure.",
    type=comma_list,
)
MISSING = Option(
    "missing",
    "fewest",
    "What to do when an encoder has no score on a task: leave out the encoders and tasks that cost the fewest scores "
    "(an analysis that needs no complete table leaves out nothing); drop the encoders or the tasks concerned; or refuse.",
    choices=("fewest", "drop-encoders", "drop-tasks", "refuse"),
)


def task_categories(frame: pd.DataFrame) -> pd.Series:
    """Category of every task in the order tasks are drawn in: by category, then by first appearance.

    Without a column category every task gets the empty category.
    """
    tasks = frame.drop_duplicates("task")
    if "category" not in frame.columns:
        return pd.Series("", index=pd.Index(tasks["task"], name="task"), name="category")
    categories = pd.Series(tasks["category"].to_numpy(), index=pd.Index(tasks["task"], name="task"), name="category")
    others = [category for category in categories.unique() if category not in CATEGORIES]
    order = {category: k for k, category in enumerate([*CATEGORIES, *others])}
    return categories.iloc[np.argsort(categories.map(order).to_numpy(), kind="stable")]


def matrix(frame: pd.DataFrame, *, missing: str = "keep") -> pd.DataFrame:
    """Lay tidy scores out as encoders x tasks (float), averaged over seeds, tasks ordered by category.

    Scores of several probes, or of heads trained on several numbers of labels, are not averaged: they are refused.

    Args:
        missing: what to do about an encoder without a score on a task: "keep" leaves NaN, "refuse" raises,
            "drop-encoders" and "drop-tasks" leave out the rows or columns concerned, "fewest" those of both that cost
            the fewest scores, "ranked" those of :func:`ranked_part`. What was left out is in ``.attrs["dropped"]``, for the caller to print.

    Raises:
        ScoresError: probes or label quantities are mixed, cells are missing and ``missing`` is "refuse", or dropping
            leaves nothing.
    """
    keep = "Keep the rows of one of them."
    for column, advice in (
        ("probe", "Choose one with --probe."), ("labels", keep), ("label_fraction", keep), ("labels_per_class", keep),
        ("level", "`granularity` draws them; for others keep the rows of one of them."),
    ):  # fmt: skip
        if column in frame.columns and frame[column].nunique(dropna=False) > 1:
            found = names_in_words(sorted(as_words(frame[column], missing="none given").unique()))
            raise ScoresError(
                f"The scores mix several values of {column} ({found}), which are not comparable. {advice}"
            )
    wide = frame.pivot_table(index="encoder", columns="task", values="score", aggfunc="mean", sort=False)
    if frame.duplicated(["encoder", "task"]).any():
        # Means of repeats that tie exactly would differ in their last bit.
        wide = pd.DataFrame(settled(wide.to_numpy(float)), index=wide.index, columns=wide.columns)
    wide = wide.loc[list(dict.fromkeys(frame["encoder"])), list(task_categories(frame).index)]
    wide.columns.name = "task"
    kept = wide
    if missing != "keep" and wide.isna().to_numpy().any():
        empty = missing_cells(wide)
        cells = names_in_words([f"{encoder} on {task}" for encoder, task in empty])
        if missing == "refuse":
            raise ScoresError(
                f"{len(empty)} of {wide.size} scores are missing: {cells}. Evaluate them (`virb evaluate` runs only "
                f"what is missing), or leave out what is concerned: --option missing=drop-encoders or drop-tasks."
            )
        if missing in ("fewest", "ranked"):
            kept = complete_part(wide) if missing == "fewest" else ranked_part(wide)
        else:
            kept = wide.dropna(axis=0 if missing == "drop-encoders" else 1)
        if kept.empty:
            raise ScoresError(
                f"{missing} leaves nothing: {len(empty)} scores are missing ({cells}). Evaluate them first."
            )
    gone = [*wide.index.difference(kept.index, sort=False), *wide.columns.difference(kept.columns, sort=False)]
    kept = kept.copy()
    kept.attrs["dropped"] = [str(item) for item in gone]
    kept.attrs["cells"] = [f"{encoder} on {task}" for encoder, task in missing_cells(wide)]
    return kept


def ranked_part(wide: pd.DataFrame) -> pd.DataFrame:
    """The part of encoders x tasks that encoders are ranked over, the same for every page that names a leader: the tasks
    that all encoders have, if these are half of the tasks or more; else :func:`complete_part`."""
    common = wide.dropna(axis=1)
    return common if 2 * common.shape[1] >= max(wide.shape[1], 1) else complete_part(wide)


def complete_part(wide: pd.DataFrame) -> pd.DataFrame:
    """A part of encoders x tasks without a missing score: as long as one is missing, the encoder or task goes that has
    most missing for each score it has (encoders before tasks, later before earlier)."""
    kept = wide
    while kept.size and kept.isna().to_numpy().any():
        known, empty = kept.notna().to_numpy(), kept.isna().to_numpy()
        rows = empty.sum(axis=1) / np.maximum(known.sum(axis=1), 1e-9)
        columns = empty.sum(axis=0) / np.maximum(known.sum(axis=0), 1e-9)
        if rows.max() >= columns.max():
            kept = kept.drop(index=kept.index[len(rows) - 1 - int(np.argmax(rows[::-1]))])
        else:
            kept = kept.drop(columns=kept.columns[len(columns) - 1 - int(np.argmax(columns[::-1]))])
    return kept


@dataclass(frozen=True)
class Prepared:
    """Scores an analysis works on: the tidy rows kept, their encoders x tasks table, and each task's category.

    ``note`` says what was left out, for the figure; it is empty when nothing was.
    """

    frame: pd.DataFrame
    wide: pd.DataFrame
    categories: pd.Series
    note: str

    def of(self, encoders: Sequence[Any]) -> Prepared:
        """The same with these encoders only."""
        wide = self.wide.loc[list(encoders)]
        return replace(self, frame=self.frame[self.frame["encoder"].isin(wide.index)], wide=wide)


def prepare(
    scores: pd.DataFrame,
    notes: Notes,
    *,
    exclude: tuple[str, ...] = (),
    missing: str = "fewest",
    task: str = "",
    is_complete: bool = True,
    is_varying: bool = False,
    is_ranked: bool = False,
    pick: Callable[[pd.DataFrame], Sequence[Any]] | None = None,
) -> Prepared:
    """Leave out what is asked for, lay the rest out, and print what was left out.

    Args:
        missing: as for :func:`matrix`.
        task: keep the scores on this task only.
        is_complete: the analysis needs every score; without, "fewest" leaves missing scores NaN.
        is_ranked: with "fewest" the part is that of :func:`ranked_part`.
        pick: chooses the encoders that are looked at, of the rows that are not left out as asked.
        is_varying: the analysis can say nothing of a task on which all encoders score the same: it is left out.

    Raises:
        UsageError: there is no such ``task``.
        ScoresError: ``exclude`` names something that does not occur, leaves nothing, or cells are missing and refused.
        NotApplicable: what is varying or ranked is all the same.
    """
    unknown = [name for name in exclude if not ((scores["task"] == name) | (scores["encoder"] == name)).any()]
    if unknown:
        raise ScoresError(f"exclude={','.join(unknown)}: no task or encoder of the scores is called that.")
    kept = scores[~scores["task"].isin(exclude) & ~scores["encoder"].isin(exclude)]
    if kept.empty:
        raise ScoresError("Nothing is left after leaving out what was asked for.")
    if task:
        known = list(kept["task"].unique())
        if task not in known:
            raise UsageError(f"task={task!r} is no task of the scores; they have {names_in_words(known)}.")
        kept = kept[kept["task"] == task]
    if pick is not None:
        kept = kept[kept["encoder"].isin(pick(kept))]
    if missing == "fewest":
        missing = "ranked" if is_ranked else "fewest" if is_complete else "keep"
    wide = matrix(kept, missing=missing)
    left_out = Notes()
    if exclude:
        left_out.say(f"Left out as asked: {', '.join(exclude)}.")
    if wide.attrs["dropped"]:
        cells = names_in_words(wide.attrs["cells"])
        left_out.say(f"Left out because a score is missing: {', '.join(wide.attrs['dropped'])} ({cells}).")
    elif wide.isna().to_numpy().any():
        n = int(wide.isna().to_numpy().sum())
        cells = names_in_words(wide.attrs["cells"])
        left_out.say(f"{n} of {wide.size} scores {'is' if n == 1 else 'are'} missing ({cells}); the others are used.")
    if is_varying or is_ranked:
        refuse_flat(wide)
    if is_varying and len(wide) > 1:
        same = [str(name) for name in wide if _is_constant(wide[name])]
        if same:
            left_out.say(f"Left out because all encoders score the same there: {', '.join(same)}.")
            wide = wide.drop(columns=same)
    notes.say(*left_out)
    kept = kept[kept["encoder"].isin(wide.index) & kept["task"].isin(wide.columns)]
    return Prepared(kept, wide, task_categories(kept).loc[wide.columns], " ".join(left_out))


def refuse_flat(wide: pd.DataFrame) -> None:
    """Raise NotApplicable if all encoders score the same on every task: there is no order, and nothing varies."""
    if len(wide) > 1 and all(_is_constant(wide[name]) for name in wide):
        raise NotApplicable("On every task all encoders score the same.")


def _is_constant(scores: pd.Series) -> bool:
    values = scores.dropna().to_numpy(float)
    return bool(len(values) and np.ptp(values) <= 1e-12 * np.abs(values).max())


def without_outliers(data: Prepared, outliers: tuple[str, ...], notes: Notes) -> Prepared:
    """Return ``data`` with single scores left out (NaN in ``wide``), each named ``ENCODER@TASK``, and say so.

    Raises:
        ScoresError: one is not of that form, or names no encoder and task of the scores.
    """
    if not outliers:
        return data
    wide, frame = data.wide.copy(), data.frame
    for name in outliers:
        encoder, at, task = name.rpartition("@")
        if not at or encoder not in wide.index or task not in wide.columns:
            raise ScoresError(
                f"outliers={name}: expected ENCODER@TASK, of the encoders {names_in_words(list(wide.index))} and the "
                f"tasks {names_in_words(list(wide.columns))}."
            )
        wide.loc[encoder, task] = np.nan
        frame = frame[(frame["encoder"] != encoder) | (frame["task"] != task)]
    said = f"Single scores left out as asked: {', '.join(name.replace('@', ' on ') for name in outliers)}."
    notes.say(said)
    return Prepared(frame, wide, data.categories, f"{data.note} {said}".strip())


def seeds_in_words(fewest: int, most: int) -> str:
    """Over how many seeds means are.

    >>> seeds_in_words(3, 3), seeds_in_words(1, 2)
    ('3 seeds', '1 to 2 seeds')
    """
    return f"{fewest} to {most} seeds" if fewest < most else f"{most} seed{'s' if most > 1 else ''}"


def mean_scores(data: Prepared, encoders: Iterable[Any], task: str, notes: Notes) -> tuple[pd.Series, str]:
    """Score of each of ``encoders`` on ``task``, else its mean over the tasks on one scale, and which of the two it is in
    words; NaN, and said, where a score is missing: a mean over other tasks is another thing."""
    rows = data.wide.loc[list(encoders)]
    if task or rows.shape[1] == 1:
        return rows[task or rows.columns[0]], task or str(rows.columns[0])
    scaled, scale = on_one_scale(data.frame, rows)
    means = scaled.mean(axis=1, skipna=False)
    if means.isna().any():
        notes.say(f"left out, a score being missing: {names_in_words(list(means.index[means.isna()]))}")
    return means, f"mean over {rows.shape[1]} tasks {scale}"


def as_counts(values: pd.Series, what: str, notes: Notes) -> pd.Series:
    """A column of counts (images, epochs, batch sizes) as numbers, NaN where it is none; say whose that is.

    ``1.3M`` and ``500k`` are read; a word such as ``all`` and a nought are no counts.
    """
    numbers = pd.Series(np.nan, index=values.index, dtype=float)
    wrong: dict[str, str] = {}
    for place, (name, value) in enumerate(values.items()):
        if pd.isna(value):
            continue
        try:
            numbers.iloc[place] = parse_count(value)
        except ScoresError:
            wrong[str(name)] = str(value)
    if wrong:
        said = names_in_words([f"{name} ({value})" for name, value in wrong.items()])
        notes.say(f"left out, {what} being no positive number: {said}")
    return numbers


def match_tasks(tasks: Iterable[str], values: Iterable[str], given: tuple[str, ...] = ()) -> dict[str, str]:
    """Which data set (or other value) is each task's own: by ``given`` pairs ``task:value``, else by name.

    By name, a task matches the longest value whose letters and digits occur in its own ("sun397" in "SUN397 cls.").

    Raises:
        ScoresError: a given pair is not ``task:value`` or names what does not occur.
    """
    tasks, values = list(tasks), sorted({str(v) for v in values}, key=lambda v: (-len(v), v))
    out: dict[str, str] = {}
    if given:
        for pair in given:
            task, colon, value = pair.partition(":")
            if not colon or task not in tasks or value not in values:
                raise ScoresError(
                    f"match={pair}: expected task:value, of the tasks {names_in_words(tasks)} and the values "
                    f"{names_in_words(values)}."
                )
            out[task] = value
        return out

    def bare(text: str) -> str:
        return "".join(letter for letter in text.lower() if letter.isalnum())

    for task in tasks:
        found = [value for value in values if bare(value) and bare(value) in bare(task)]
        if found:
            out[task] = found[0]
    return out


def missing_cells(wide: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (encoder, task) of every NaN of an encoders x tasks table."""
    rows, columns = np.nonzero(wide.isna().to_numpy())
    return [(str(wide.index[int(i)]), str(wide.columns[int(j)])) for i, j in zip(rows, columns, strict=True)]
