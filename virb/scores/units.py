"""Units: what a score is measured in, and which way is better, as somebody declared it.

Records name a metric of virb's, whose unit is known. A table from elsewhere says it in its columns unit and better, or
its reader does (``--unit percent``, ``--unit depth=metre``, ``--better depth=lower``). Nothing is assumed: percent
beside fractions on one task is refused until somebody says which rows are which.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from virb import registry
from virb.contracts.analysis import names_in_words
from virb.contracts.metric import OF_TARGET, Metric
from virb.contracts.tables import Notes
from virb.errors import RegistryError, ScoresError, UsageError
from virb.scores.schema import About

_BETTER = ("higher", "lower")


def units_of_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    """Records with the unit of their metric, where they do not say one."""
    if "metric" not in frame:
        return frame
    known = frame["metric"].map({name: _unit(name) for name in set(frame["metric"].dropna())})
    if "unit" in frame:
        known = frame["unit"].where(frame["unit"].notna(), known)
    if known.isna().all():
        return frame
    out = frame.assign(unit=known.astype(object))
    out.attrs = {**frame.attrs, "about": About({**frame.attrs.get("about", {}), "unit": "task"})}
    return out


def _unit(metric: str) -> str | None:
    """The unit that a metric declares; None where it is none of ours, or has its targets' unit, which it does not know."""
    try:
        found: Metric = registry.load("metrics", metric)
    except RegistryError:
        return None
    return None if found.unit == OF_TARGET else found.unit


def one_scale(
    frame: pd.DataFrame,
    *,
    units: Sequence[str] = (),
    better: Sequence[str] = (),
    name: str = "the table of scores",
) -> pd.DataFrame:
    """Scores with one declared unit a task, of which more is better.

    Percent and fraction, both declared on one task, become fractions; errors (better lower) change their sign; both
    are noted.

    Raises:
        UsageError: ``units`` or ``better`` names no task, or says neither higher nor lower.
        ScoresError: a task has two units that are not one scale, or, nothing being declared, looks like percent beside
            fraction.
    """
    out = frame.copy()
    attrs = dict(frame.attrs)
    notes = list(attrs.get("notes", ()))
    _declare(out, "unit", units)
    _declare(out, "better", better)
    if "unit" in out:
        out["unit"] = out["unit"].map(lambda unit: _spelled(str(unit)), na_action="ignore")
        _one_unit(out, notes, name)
    _refuse_mixed_scales(out, name)
    if "better" in out:
        _turn(out, notes, name)
    about = About({**attrs.get("about", {}), **({"unit": "task"} if "unit" in out else {})})
    out.attrs = {**attrs, "notes": notes, "about": about}
    return out


def _declare(frame: pd.DataFrame, column: str, given: Sequence[str]) -> None:
    """Write what the caller says into the column, for rows that do not say it themselves.

    Raises:
        UsageError: a task is none of the scores', every row says something else, or a unit is misspelt.
    """
    for text in given:
        task, equals, value = text.rpartition("=")
        if equals and task not in set(frame["task"]):
            raise UsageError(
                f"--{column} {text}: {task!r} is no task of the scores; they have "
                f"{names_in_words(list(frame['task'].unique()))}."
            )
        value = _spelled(value) if column == "unit" else value.strip()
        near = difflib.get_close_matches(value, ("percent", "fraction"), 1, 0.75)
        if column == "unit" and near and near[0] != value:
            raise UsageError(f"--unit {text}: no scores are in {value}. Did you mean {near[0]}?")
        rows = frame["task"] == task if equals else pd.Series(True, index=frame.index)
        if column not in frame:
            frame[column] = pd.Series(np.nan, index=frame.index, dtype=object)
        silent = rows & frame[column].isna()
        said = sorted(map(str, set(frame.loc[rows, column].dropna()) - {value}))
        if said and not silent.any():
            raise UsageError(
                f"--{column} {text}: {column} is {names_in_words(said)} there already, as the table or another --{column} says. "
                "What is said of single rows is not changed: correct it where it is said."
            )
        frame.loc[silent, column] = value


def _spelled(unit: str) -> str:
    text = unit.strip().lower()
    return {"%": "percent", "percentage": "percent", "per cent": "percent"}.get(text, text)


def _one_unit(frame: pd.DataFrame, notes: list[str], name: str) -> None:
    changed = []
    for task, part in frame.groupby("task", sort=False):
        said = list(part["unit"].dropna().unique())
        silent = list(part.loc[part["unit"].isna(), "encoder"].unique())
        if said and silent:
            raise ScoresError(
                f"{name} gives the unit of some scores on {task} ({names_in_words(said)}) and not of "
                f"{names_in_words(silent)}. Say it in every row, or with --unit {task}=UNIT."
            )
        if set(said) == {"percent", "fraction"}:
            rows = part.index[part["unit"] == "percent"]
            frame.loc[rows, "score"] /= 100
            frame.loc[rows, "unit"] = "fraction"
            changed.append(str(task))
        elif len(said) > 1:
            raise ScoresError(f"{name} measures {task} in {names_in_words(said)}, which are no one scale.")
    if changed:
        notes.append(f"declared percent are read as fractions beside fractions on {names_in_words(changed)}")


def _refuse_mixed_scales(frame: pd.DataFrame, name: str) -> None:
    """Where no unit is declared: scores that come together only when some of them are divided by a hundred."""
    suspects = []
    for task, part in frame.groupby("task", sort=False):
        if "unit" in part and part["unit"].notna().all():
            continue
        score = part["score"].to_numpy()
        large = score > 1
        if not large.any() or large.all() or score.min() < 0 or score.max() > 100:
            continue
        small = score[~large]
        below = small[small > 0]
        together = np.concatenate([below, score[large] / 100])
        if len(below) and together.max() / together.min() < 0.2 * score.max() / below.min():
            names = list(part.loc[large if large.sum() <= len(part) / 2 else ~large, "encoder"].unique())
            value = score[large][0]
            suspects.append(f"{names_in_words(names, 3)} on {task} (such as {value:g} beside {small[0]:g})")
    if suspects:
        raise ScoresError(
            f"{name} seems to mix percent and fraction, and no unit is declared: {names_in_words(suspects, 3)}. Give the "
            "table a column unit (percent or fraction in each row), or say with --unit that all are one unit (--unit "
            "fraction, or --unit TASK=percent)."
        )


def _turn(frame: pd.DataFrame, notes: list[str], name: str) -> None:
    said = frame["better"].map(lambda word: str(word).strip().lower(), na_action="ignore").fillna("higher")
    wrong = sorted(set(said) - set(_BETTER))
    if wrong:
        raise UsageError(f"{name}: better is {names_in_words(wrong)}; expected higher or lower.")
    mixed = said.groupby(frame["task"]).nunique()
    if (mixed > 1).any():
        raise ScoresError(
            f"{name} says both higher and lower is better on {names_in_words(list(mixed.index[mixed > 1]))}."
        )
    is_lower = said == "lower"
    if is_lower.any():
        frame.loc[is_lower, "score"] *= -1
        tasks = list(frame.loc[is_lower, "task"].unique())
        notes.append(
            f"lower is better on {names_in_words(tasks)}: the sign is changed, so that higher is better everywhere"
        )
    del frame["better"]


def units_by_task(frame: pd.DataFrame) -> pd.Series:
    """The declared unit of every task; "" where none is."""
    tasks = list(dict.fromkeys(frame["task"]))
    if "unit" not in frame:
        return pd.Series("", index=tasks)
    return frame.dropna(subset=["unit"]).drop_duplicates("task").set_index("task")["unit"].reindex(tasks).fillna("")


def of_one_unit(frame: pd.DataFrame, wide: pd.DataFrame, notes: Notes, *, what: str = "means over tasks") -> list[str]:
    """Tasks whose raw scores may be averaged or drawn together: those of the commonest declared unit; say of ``what``
    which are left out, or that none is declared."""
    tasks = [str(task) for task in wide.columns]
    if len(tasks) < 2:
        return tasks
    units = units_by_task(frame).reindex(tasks).fillna("")
    if units.nunique() == 1:
        if units.iloc[0] == "":
            notes.say(f"no unit is declared (--unit): {what} take all scores to be of one unit")
        return tasks
    commonest = units[units != ""].value_counts().index[0]
    kept = [task for task in tasks if units[task] == commonest]
    left = [f"{task} ({units[task] or 'unit not declared'})" for task in tasks if units[task] != commonest]
    notes.say(f"{what} are of the {len(kept)} tasks measured in {commonest}; left out: {names_in_words(left)}")
    return kept


def on_one_scale(frame: pd.DataFrame, wide: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Scores whose sizes may be compared and averaged across tasks, and in what they then are, in words.

    Those of one declared unit stay as they are (percent beside fractions become fractions). Others are centred and divided
    by the sd of their task over the encoders of ``wide``: the task in percent, or in degrees, must not decide. A task on which
    all score the same becomes 0.
    """
    by_task = units_by_task(frame).reindex([str(task) for task in wide.columns]).fillna("")
    units = set(by_task)
    if units == {"percent", "fraction"}:
        return wide.div(np.where(by_task == "percent", 100.0, 1.0), axis=1), "in fraction"
    if len(units) == 1 and units != {""}:
        return wide, f"in {units.pop()}"
    centred = wide - wide.mean()
    spread = wide.std(ddof=1)
    flat = ~(spread > 1e-12 * wide.abs().max())
    why = "tasks have different units" if units != {""} else "no unit is declared"
    return centred / spread.mask(flat, 1.0), f"in sd of each task over encoders, as {why}"


def difference_scale(frame: pd.DataFrame, wide: pd.DataFrame) -> tuple[pd.Series, str]:
    """What a difference of scores on each task is multiplied by to be on one scale (:func:`on_one_scale`), and the scale."""
    scaled, said = on_one_scale(frame, wide)
    own, then = wide.std(ddof=0), scaled.std(ddof=0)
    return (then / own.where(own > 0)).where(then > 0, 1.0).fillna(1.0), said


def whole_share(part: pd.DataFrame) -> float:
    """What all test examples right is in the scores of one task, which are shares of them: 1, or 100 in percent; 0 where
    that is unknown. Without a declared unit shares above 1 and up to 100 can only be percent."""
    said = str(part["unit"].iloc[0]) if "unit" in part and part["unit"].notna().any() else ""
    if said in ("fraction", "percent"):
        return 100.0 if said == "percent" else 1.0
    if said or part["score"].min() < 0 or part["score"].max() > 100:
        return 0.0
    return 100.0 if part["score"].max() > 1 else 1.0
