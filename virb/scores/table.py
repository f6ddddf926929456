"""Tidy scores: read them from a CSV file or a results folder, check them, and lay them out as encoders x tasks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from virb.contracts.analysis import NotApplicable, Option, Outputs, comma_list, names_in_words
from virb.contracts.task import Category
from virb.errors import ScoresError

REQUIRED = ("encoder", "task", "score")
#: Columns that describe a measurement or its task; every other column describes the encoder.
ROW_COLUMNS = frozenset(
    {
        "encoder",
        "task",
        "score",
        "seed",
        "probe",
        "category",
        "metric",
        "suite",
        "n_train",
        "n_test",
        "overrides",
        "task_version",
        "data_digest",
        "settings_digest",
        "encoder_digest",
        "labels",
        "chance",
    }
)
CATEGORIES = tuple(category.value for category in Category)

REFERENCE = Option("reference", "", "Encoder to compare with; the only supervised one if not given.")
EXCLUDE = Option("exclude", (), "Tasks or encoders to leave out, with commas between.", type=comma_list)
OUTLIERS = Option(
    "outliers",
    (),
    "Single scores to leave out, each ENCODER@TASK, with commas between; named on the figure.",
    type=comma_list,
)
MISSING = Option(
    "missing",
    "refuse",
    "What to do when an encoder has no score on a task: refuse, or drop the encoders or the tasks concerned.",
    choices=("refuse", "drop-encoders", "drop-tasks"),
)


def read_scores(source: str | os.PathLike[str], *, probe: str | None = None) -> pd.DataFrame:
    """Read a tidy table of scores from a CSV file or a results folder, checked by :func:`check_scores`.

    For a folder, ``frame.attrs["results"]`` holds its path, where analyses of single predictions look for them.

    Args:
        source: a CSV file with the columns encoder, task, score (higher is better) and optionally seed, probe,
            category and columns about the encoder (method, dataset, dataset_size, balance, epochs, ...); or the folder
            that ``virb evaluate`` writes.
        probe: keep the scores of this probe only.

    Raises:
        ScoresError: the source does not exist, cannot be read, is empty, or fails a check.
    """
    path = Path(source)
    if path.is_dir():
        from virb.records.store import ResultStore

        frame = ResultStore(path).table()
        if frame.empty:
            raise ScoresError(
                f"The results folder {path} holds no finished record. Run `virb evaluate ... --out {path}` first, or "
                f"name the folder that it wrote to."
            )
    elif path.exists():
        frame = _read_csv(path)
    else:
        raise ScoresError(
            f"There is no file or folder {path}. Expected a results folder of `virb evaluate`, or a CSV file with the "
            f"columns encoder, task and score."
        )
    if probe is not None and "probe" in frame.columns:
        kept = frame[frame["probe"] == probe]
        if kept.empty:
            found = names_in_words(sorted(frame["probe"].astype(str).unique()))
            raise ScoresError(f"{path} has no scores of the probe {probe!r}; it has {found}.")
        frame = kept
    frame = check_scores(frame, name=str(path))
    if path.is_dir():
        frame.attrs["results"] = str(path)
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # Empty text is a missing value; the words "None" or "NA" may be a balance or a name and stay words.
        return pd.read_csv(path, keep_default_na=False, na_values=["", "nan", "NaN"], skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ScoresError(
            f"{path} is empty. Expected a header with encoder, task and score, and a row a score."
        ) from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ScoresError(f"{path} cannot be read as CSV ({error}). Expected UTF-8 text with commas.") from None
    except OSError as error:
        raise ScoresError(f"{path} cannot be read: {error.strerror or error}.") from None


def check_scores(frame: pd.DataFrame, *, name: str = "the table of scores") -> pd.DataFrame:
    """Return a checked copy of a tidy table: text names, float scores, categories spelled as virb spells them.

    Raises:
        ScoresError: columns or rows are missing, a score is not a finite number, a measurement occurs twice, or what
            is said about one encoder or task differs between its rows. The text names encoder and task.
    """
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        hint = ""
        numeric = [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]
        if len(numeric) >= 2 and "score" in missing:
            hint = " The table looks wide (one column a task): reshape it to one row a score, e.g. with pandas' melt."
        raise ScoresError(
            f"{name} has no column {names_in_words(missing)}; found {names_in_words(list(frame.columns), 12)}. "
            f"Expected encoder, task and score.{hint}"
        )
    if frame.empty:
        raise ScoresError(f"{name} has a header but no scores. Expected one row for every encoder and task.")
    frame = frame.reset_index(drop=True).copy()
    for column in ("encoder", "task"):
        empty = frame.index[frame[column].isna()]
        if len(empty):
            raise ScoresError(
                f"{name}: data row {empty[0] + 1} has no {column}. Give every row both an encoder and a task."
            )
        frame[column] = frame[column].astype(str).str.strip()
    frame["score"] = _numbers(frame, name)
    frame = frame.drop(columns=[c for c in encoder_columns(frame) if frame[c].isna().all()])
    _refuse_duplicates(frame, name)
    if "category" in frame.columns:
        frame["category"] = _categories(frame, name)
        _refuse_contradictions(frame, "task", ["category"], name)
    _refuse_contradictions(frame, "encoder", encoder_columns(frame), name)
    return frame


def _numbers(frame: pd.DataFrame, name: str) -> pd.Series:
    numbers = pd.to_numeric(frame["score"], errors="coerce").astype(float)
    bad = ~np.isfinite(numbers)
    if bad.any():
        cells = [
            f"{encoder} on {task} ({'nothing' if pd.isna(score) else score})"
            for encoder, task, score in frame.loc[bad, ["encoder", "task", "score"]].to_numpy(object)
        ]
        what = (
            "a score that is not a finite number"
            if len(cells) == 1
            else f"{len(cells)} scores that are not finite numbers"
        )
        raise ScoresError(
            f"{name} has {what}: {names_in_words(cells)}. Remove those rows or run them again; a missing score is "
            "never "
            f"filled in."
        )
    return numbers


def _refuse_duplicates(frame: pd.DataFrame, name: str) -> None:
    keys = ["encoder", "task", *[column for column in ("seed", "probe", "labels") if column in frame.columns]]
    twice = frame[frame.duplicated(keys, keep="first")]
    if len(twice):
        cells = [", ".join(f"{key} {row[key]}" for key in keys) for _, row in twice.iterrows()]
        advice = "Keep one of them" if "seed" in frame.columns else "Keep one of them, or add a column seed"
        raise ScoresError(
            f"{name} has more than one score for the same {', '.join(keys)}: {names_in_words(cells, 4)}. {advice}."
        )


def _categories(frame: pd.DataFrame, name: str) -> pd.Series:
    if frame["category"].isna().any():
        row = frame[frame["category"].isna()].iloc[0]
        raise ScoresError(
            f"{name} has a column category but none for the task {row['task']}. Fill it in "
            f"({', '.join(CATEGORIES)}), or leave the column out."
        )
    return frame["category"].map(lambda text: getattr(text, "value", str(text)).strip().lower().replace("_", " "))


def _refuse_contradictions(frame: pd.DataFrame, key: str, columns: Iterable[str], name: str) -> None:
    for column in columns:
        values = frame[column].astype(str).groupby(frame[key]).agg(lambda seen: sorted(set(seen)))
        several = values[values.map(len) > 1]
        if len(several):
            raise ScoresError(
                f"{name} gives the {key} {several.index[0]} more than one {column}: {names_in_words(several.iloc[0])}. "
                f"Give different {key}s different names."
            )


def encoder_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that describe the encoder (method, dataset, ...)."""
    return [str(column) for column in frame.columns if column not in ROW_COLUMNS]


def encoder_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an encoder, in order of first appearance: the columns that describe it, indexed by its name."""
    return frame.drop_duplicates("encoder").set_index("encoder")[encoder_columns(frame)]


def encoder_kind(frame: pd.DataFrame) -> pd.Series:
    """Kind of each encoder, by its method or name: "supervised", "baseline" (random weights, raw pixels) or
    "self-supervised" (everything else)."""
    table = encoder_table(frame)
    said = table["method"] if "method" in table else pd.Series(index=table.index, dtype=object)
    words = said.where(said.notna(), table.index.to_series()).astype(str).str.lower()
    is_supervised, is_baseline = words.str.startswith("supervised"), words.str.startswith(("random", "pixels"))
    kinds = np.select([is_supervised, is_baseline], ["supervised", "baseline"], "self-supervised")
    return pd.Series(kinds, index=table.index, name="kind")


def reference_encoder(frame: pd.DataFrame, named: str = "") -> str:
    """The encoder that others are compared with: ``named``, else the only supervised one.

    Raises:
        ScoresError: ``named`` is not among the scores.
        NotApplicable: none is named, and there is no supervised encoder, or more than one.
    """
    encoders = list(dict.fromkeys(frame["encoder"]))
    if named:
        if named not in encoders:
            raise ScoresError(f"There is no encoder {named!r} among the scores; they have {names_in_words(encoders)}.")
        return named
    kinds = encoder_kind(frame)
    supervised = list(kinds.index[kinds == "supervised"])
    if len(supervised) != 1:
        found = f"there are {len(supervised)} ({names_in_words(supervised)})" if supervised else "there is none"
        raise NotApplicable(
            f"It compares with one supervised encoder, and {found}. Name the reference: --option reference=ENCODER."
        )
    return supervised[0]


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
            "drop-encoders" and "drop-tasks" leave out the rows or columns concerned. What was left out is in
            ``.attrs["dropped"]``, for the caller to print.

    Raises:
        ScoresError: probes or label quantities are mixed, cells are missing and ``missing`` is "refuse", or dropping
            leaves nothing.
    """
    for column, advice in (("probe", "Choose one with --probe."), ("labels", "Keep the rows of one of them.")):
        if column in frame.columns and frame[column].nunique(dropna=False) > 1:
            found = names_in_words(sorted(frame[column].astype(str).unique()))
            raise ScoresError(
                f"The scores mix several values of {column} ({found}), which are not comparable. {advice}"
            )
    wide = frame.pivot_table(index="encoder", columns="task", values="score", aggfunc="mean", sort=False)
    wide = wide.loc[list(dict.fromkeys(frame["encoder"])), list(task_categories(frame).index)]
    wide.columns.name = "task"
    dropped: list[str] = []
    if missing != "keep" and wide.isna().to_numpy().any():
        empty = missing_cells(wide)
        cells = names_in_words([f"{encoder} on {task}" for encoder, task in empty])
        if missing == "refuse":
            raise ScoresError(
                f"{len(empty)} of {wide.size} scores are missing: {cells}. Evaluate them (`virb evaluate` runs only "
                f"what is missing), or leave out what is concerned: --option missing=drop-encoders or drop-tasks."
            )
        kept = wide.dropna(axis=0 if missing == "drop-encoders" else 1)
        if kept.empty:
            raise ScoresError(
                f"{missing} leaves nothing: {len(empty)} scores are missing ({cells}). Evaluate them first."
            )
        gone = (
            wide.index.difference(kept.index, sort=False)
            if missing == "drop-encoders"
            else wide.columns.difference(kept.columns, sort=False)
        )
        dropped = [str(item) for item in gone]
        wide = kept
    wide.attrs["dropped"] = dropped
    return wide


@dataclass(frozen=True)
class Prepared:
    """Scores an analysis works on: the tidy rows kept, their encoders x tasks table, and each task's category.

    ``note`` says what was left out, for the figure; it is empty when nothing was.
    """

    frame: pd.DataFrame
    wide: pd.DataFrame
    categories: pd.Series
    note: str


def prepare(scores: pd.DataFrame, out: Outputs, *, exclude: tuple[str, ...] = (), missing: str = "refuse") -> Prepared:
    """Leave out what is asked for, lay the rest out, and print what was left out.

    Raises:
        ScoresError: ``exclude`` names something that does not occur, leaves nothing, or cells are missing and refused.
    """
    unknown = [name for name in exclude if not ((scores["task"] == name) | (scores["encoder"] == name)).any()]
    if unknown:
        raise ScoresError(f"exclude={','.join(unknown)}: no task or encoder of the scores is called that.")
    kept = scores[~scores["task"].isin(exclude) & ~scores["encoder"].isin(exclude)]
    if kept.empty:
        raise ScoresError("Nothing is left after leaving out what was asked for.")
    wide = matrix(kept, missing=missing)
    notes = []
    if exclude:
        notes.append(f"Left out as asked: {', '.join(exclude)}.")
    if wide.attrs["dropped"]:
        notes.append(f"Left out because a score is missing: {', '.join(wide.attrs['dropped'])}.")
    out.say(*notes)
    kept = kept[kept["encoder"].isin(wide.index) & kept["task"].isin(wide.columns)]
    return Prepared(kept, wide, task_categories(kept).loc[wide.columns], " ".join(notes))


def without_outliers(data: Prepared, outliers: tuple[str, ...], out: Outputs) -> Prepared:
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
    out.say(said)
    return Prepared(frame, wide, data.categories, f"{data.note} {said}".strip())


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
