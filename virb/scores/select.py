"""Keep a part of the scores: by the names of encoders and tasks, or by the values of any column."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from virb.contracts.analysis import comma_list, names_in_words
from virb.errors import ScoresError, UsageError
from virb.scores.roles import roles
from virb.scores.schema import as_words


def chosen(frame: pd.DataFrame, *, select: Sequence[str] = (), exclude: Sequence[str] = ()) -> pd.DataFrame:
    """Scores that every ``select`` keeps and no ``exclude`` takes out.

    Each is ``COLUMN=VALUE,VALUE`` or names of encoders or tasks with commas between; ``role`` is a column always. What
    was left out is in ``attrs["notes"]``.

    Raises:
        UsageError: a column, value or name does not occur.
        ScoresError: nothing is left.
    """
    keep = pd.Series(True, index=frame.index)
    for text in select:
        keep &= _rows(frame, text, "--select")
    for text in exclude:
        keep &= ~_rows(frame, text, "--exclude")
    if keep.all():
        return frame
    if not keep.any():
        raise ScoresError("Nothing is left after --select and --exclude.")
    kept = frame[keep]
    lost = []
    for what in ("encoder", "task"):
        gone = [name for name in dict.fromkeys(frame[what]) if name not in set(kept[what])]
        lost += [f"{len(gone)} {what}{'s' * (len(gone) > 1)} ({names_in_words(gone)})"] if gone else []
    note = f"left out as asked: {', '.join(lost) or f'{int((~keep).sum())} of {len(frame)} rows'}"
    kept.attrs["notes"] = [*frame.attrs.get("notes", ()), note]
    return kept


def _rows(frame: pd.DataFrame, text: str, option: str) -> pd.Series:
    column, equals, values = text.partition("=")
    column = column.strip()
    if equals and (column in frame or column == "role"):
        of = as_words(frame["encoder"].map(roles(frame)) if column == "role" else frame[column])
        wanted = comma_list(values)
        known = list(dict.fromkeys(of))
        wrong = [value for value in wanted if value not in known]
        if wrong:
            raise UsageError(
                f"{option} {text}: {column} is never {names_in_words(wrong)}; it is {names_in_words(known)}."
            )
        return of.isin(wanted)
    names = comma_list(text)
    rows = pd.Series(False, index=frame.index)
    for name in names:
        found = (frame["encoder"] == name) | (frame["task"] == name)
        if not found.any():
            raise UsageError(
                f"{option} {text}: {name!r} is no encoder, no task and no COLUMN=VALUE of the scores. They have the encoders "
                f"{names_in_words(list(frame['encoder'].unique()))} and the tasks "
                f"{names_in_words(list(frame['task'].unique()))}."
            )
        rows |= found
    # Names of encoders and of tasks together mean both: those encoders on those tasks.
    if option == "--select":
        encoders, tasks = set(names) & set(frame["encoder"]), set(names) & set(frame["task"])
        if encoders and tasks:
            rows = frame["encoder"].isin(encoders) & frame["task"].isin(tasks)
    return rows
