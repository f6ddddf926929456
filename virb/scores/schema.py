"""The schema of scores: which columns are text, which are numbers, and what each column is about.

Every table passes here once, wherever it comes from: a results folder, a CSV or Parquet file, a data frame. Behind this
door names are text, a missing value is NaN and nothing else, scores are finite numbers of which more is better, and
every column is known to be about encoders, about tasks or about single rows. What was left out is in
``frame.attrs["notes"]``, in sentences, for the caller to print.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from virb.contracts.analysis import names_in_words
from virb.contracts.roles import ROLES
from virb.contracts.task import Category
from virb.errors import ScoresError

REQUIRED = ("encoder", "task", "score")
#: What tells one measurement from another.
KEYS = ("encoder", "task", "seed", "probe", "labels", "label_fraction", "labels_per_class", "level", "class")
#: What tells apart scores that may not stand side by side (:func:`virb.records.compare.mixed`).
DIGESTS = ("data_digest", "settings_digest", "encoder_digest")
ROW_WORDS = frozenset({*KEYS, "score", "overrides", "n_train", "n_test", "task_version", *DIGESTS})
TASK_WORDS = frozenset({"category", "metric", "suite", "unit", "better", "chance", "ceiling"})
#: Columns that are about encoders by their meaning: an encoder with two values of one of them is two encoders.
ENCODER_WORDS = frozenset(
    {"role", "family", "repeat", "method", "dataset", "dataset_size", "balance", "epochs", "images_seen", "arch"}
)
#: Columns that are read as text even where every value looks like a number.
TEXT_WORDS = frozenset(
    {
        "encoder",
        "task",
        "level",
        "class",
        "probe",
        "category",
        "metric",
        "suite",
        "overrides",
        "unit",
        "better",
        "role",
        "family",
    }
    | {"repeat", "method", "dataset", "balance", "arch", "parts", *DIGESTS}
)
CATEGORIES = tuple(category.value for category in Category)

_MISSING = ("", "nan", "NaN")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def check_scores(frame: pd.DataFrame, *, name: str = "the table of scores") -> pd.DataFrame:
    """Return a checked copy of a tidy table of scores.

    ``attrs["about"]`` says of every column whether it is about "encoder", "task" or "row", and ``attrs["notes"]``
    what was left out.

    Raises:
        ScoresError: columns are missing or occur twice, a row has no encoder or task, a measurement occurs twice, most
            scores are no numbers, a role is none of ``ROLES``, or one encoder or task is said to be two things.
    """
    notes: list[str] = list(frame.attrs.get("notes", ()))
    frame = _headed(frame, name)
    if frame.empty:
        raise ScoresError(f"{name} has a header but no scores. Expected one row for every encoder and task.")
    for column in frame.columns:
        frame[column] = _one_missing(frame[column], is_text=column in TEXT_WORDS)
    for column in ("encoder", "task"):
        empty = np.flatnonzero(frame[column].isna())
        if len(empty):
            raise ScoresError(
                f"{name}: data row {empty[0] + 1} has no {column}. Give every row both an encoder and a task."
            )
    frame = _scored(frame, name, notes)
    frame = frame.drop(columns=[c for c in frame if c not in REQUIRED and frame[c].isna().all()])
    _refuse_duplicates(frame, name)
    _fill(frame, "encoder", ENCODER_WORDS, name)
    _fill(frame, "task", ("category", "metric", "suite"), name)
    if "category" in frame:
        frame["category"] = _categories(frame, notes)
    if "role" in frame:
        frame["role"] = _roles(frame["role"], name)
    frame.attrs["about"] = columns_about(frame)
    frame.attrs["notes"] = notes
    return frame


def _headed(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """A copy with headers as plain text; each occurs once, and the required ones are there."""
    frame = frame.reset_index(drop=True).copy()
    frame.columns = pd.Index([plain_header(column, k) for k, column in enumerate(frame.columns)])
    refuse_double_headers(list(frame.columns), name)
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        hint = ""
        numeric = [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]
        if len(numeric) >= 2 and "score" in missing:
            hint = " The table looks wide (encoders in rows, a column a task): read it with --wide (Python: wide=True)."
        raise ScoresError(
            f"{name} has no column {names_in_words(missing)}; found {names_in_words(list(frame.columns), 12)}. "
            f"Expected encoder, task and score.{hint}"
        )
    return frame


def plain_header(header: object, place: int) -> str:
    """A column's name as text; one without a name is called by its place, as pandas does."""
    text = " ".join(str(header).split())
    return text or f"Unnamed: {place}"


def refuse_double_headers(headers: Sequence[str], name: str) -> None:
    """Raise ScoresError if a header occurs twice: which of the two is meant cannot be told."""
    twice = [header for header, n in Counter(headers).items() if n > 1]
    if twice:
        raise ScoresError(
            f"{name} has more than one column {names_in_words(twice)}. Rename or remove all but one of each, so that it "
            "is clear which is meant."
        )


def typed(texts: Iterable[str], *, is_text: bool = False) -> pd.Series:
    """A column of a text file: numbers where all of it is numbers and no two texts are one number, else text.

    ``1.1`` and ``1.10`` stay two names, ``007`` stays as it is written, and a word keeps its column text.
    """
    series = pd.Series([text.strip() for text in texts], dtype=object)
    series = series.mask(series.isin(_MISSING))
    known = list(dict.fromkeys(series.dropna()))
    if is_text or not known or not all(_NUMBER.fullmatch(text) for text in known):
        return series
    if any(re.match(r"[+-]?0\d", text) for text in known) or len({float(text) for text in known}) < len(known):
        return series
    numbers = series.astype(float)
    if not np.isfinite(numbers.dropna()).all():
        return series
    is_whole = all(re.fullmatch(r"[+-]?\d{1,15}", text) for text in known)
    return numbers.astype("int64") if is_whole and numbers.notna().all() else numbers


def has_numbers(column: pd.Series) -> bool:
    """Whether a column of scores is meant: at least half of what stands there are numbers, none with zeros before it."""
    if pd.api.types.is_numeric_dtype(column):
        return bool(column.notna().any())
    known = column.dropna().astype(str).str.strip()
    if known.str.match(r"[+-]?0\d").any():
        return False
    return bool(len(known)) and 2 * int(known.str.fullmatch(_NUMBER.pattern).sum()) >= len(known)


def marked_number(column: pd.Series) -> str:
    """Return the first number with a sign beside it ("50%", "0.5 ± 0.1", "**0.5**") where half of the column are such."""
    known = column.dropna().astype(str)
    found = known[known.str.fullmatch(r"\W*[+-]?(\d+(\.\d*)?|\.\d+)\s*(%|±|\+/-|\*|†|‡|\().*")]
    return str(found.iloc[0]) if len(found) and 2 * len(found) >= len(known) else ""


def means_of_the_others(frame: pd.DataFrame) -> list[str]:
    """Say which tasks are the mean of all others, to rounding, for every encoder: an average in the table is no task.

    Three tasks beside it are asked for, and four encoders that have all, so that no task is such a mean by luck.
    """
    if frame.duplicated(["encoder", "task"]).any():
        return []
    wide = frame.pivot(index="encoder", columns="task", values="score").dropna()
    if len(wide) < 4 or len(wide.columns) < 4:
        return []
    others = (wide.to_numpy().sum(axis=1, keepdims=True) - wide.to_numpy()) / (len(wide.columns) - 1)
    found = []
    for k, task in enumerate(wide.columns):
        digits = min(max(len(f"{value!r}".partition(".")[2]) for value in wide[task].tolist()), 9)
        spread = float(np.ptp(wide[task]))
        rounding = 1.01 * 10.0**-digits  # half a unit of the mean, and half a unit of each score
        if spread > 10 * rounding and np.abs(wide[task] - others[:, k]).max() <= rounding:
            found.append(str(task))
    return [
        f"{task} is the mean of the other {len(wide.columns) - 1} tasks, which are so counted twice; leave it out with "
        f"--exclude {task!r}"
        for task in found
    ]


def _one_missing(column: pd.Series, *, is_text: bool) -> pd.Series:
    """The column with NaN for whatever is missing; text stripped, numbers and truth values as they are."""
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and not is_text:
        if pd.api.types.is_extension_array_dtype(column):
            return pd.Series(column.to_numpy(float, na_value=np.nan), index=column.index)
        return column
    known: dict[str, object] = {}  # each text once, however many rows have it

    def cell(value: object) -> object:
        text = "" if _is_missing(value) else _as_text(value)
        return known.setdefault(text, np.nan if text in _MISSING else text)

    return pd.Series([cell(value) for value in column], column.index, object)


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


def _as_text(value: object) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(float(value)) < 1e15:
        return f"{float(value):.0f}"  # a whole number beside missing ones has become a float on its way here
    return str(getattr(value, "value", value)).strip()


def _scored(frame: pd.DataFrame, name: str, notes: list[str]) -> pd.DataFrame:
    """Scores as floats; rows without a finite one are left out and named, unless that is half of them."""
    given = frame["score"]
    numbers = pd.to_numeric(given, errors="coerce").astype(float)
    bad = ~np.isfinite(numbers)
    if bad.any():
        cells = [
            f"{encoder} on {task} ({'nothing' if _is_missing(score) else score})"
            for encoder, task, score in frame.loc[bad, ["encoder", "task", "score"]].to_numpy(object)
        ]
        n = len(cells)
        what = f"{n} score{'s' * (n > 1)} of {len(frame)} that {'is' if n == 1 else 'are'} no finite number"
        if 2 * n >= len(frame):
            texts = given[bad].astype(str).str.strip()
            if texts.str.fullmatch(r"[+-]?\d*,\d+").any():
                advice = "Write decimal points in place of decimal commas."
            elif marked_number(texts):
                advice = "Write numbers alone; percent are declared with --unit percent or a column unit."
            else:
                advice = "Remove those rows or run them again; a missing score is never filled in."
            raise ScoresError(f"{name} has {what}: {names_in_words(cells)}. {advice}")
        notes.append(f"{name} has {what}, left out: {names_in_words(cells)}.")
    frame = frame.assign(score=numbers)
    return frame[~bad].reset_index(drop=True)


def _refuse_duplicates(frame: pd.DataFrame, name: str) -> None:
    keys = [column for column in KEYS if column in frame.columns]
    twice = frame[frame.duplicated(keys, keep="first")]
    if len(twice):
        cells = [", ".join(f"{key} {row[key]}" for key in keys) for _, row in twice.iterrows()]
        advice = "Keep one of them" if "seed" in frame.columns else "Keep one of them, or add a column seed"
        raise ScoresError(
            f"{name} has more than one score for the same {', '.join(keys)}: {names_in_words(cells, 4)}. {advice}."
        )


def _fill(frame: pd.DataFrame, key: str, words: Iterable[str], name: str) -> None:
    """Give all rows of an encoder (or task) what one of them says of it; refuse two different things.

    Raises:
        ScoresError: naming the encoder or task, the column and the values.
    """
    for column in sorted(set(words) & set(frame.columns)):
        known = frame[[key, column]].dropna().drop_duplicates()
        twice = known[known[key].duplicated(keep=False)]
        if len(twice):
            whose = twice[key].iloc[0]
            values = sorted(map(str, twice.loc[twice[key] == whose, column]))
            raise ScoresError(
                f"{name} gives the {key} {whose} more than one {column}: {names_in_words(values)}. Give different {key}s "
                "different names."
            )
        if len(known) and frame[column].isna().any():
            frame[column] = frame[key].map(known.set_index(key)[column])


def _categories(frame: pd.DataFrame, notes: list[str]) -> pd.Series:
    """Categories as virb spells them; a task without one has the empty category."""
    without = list(dict.fromkeys(frame.loc[frame["category"].isna(), "task"]))
    if without:
        notes.append(f"no category is given for {names_in_words(without)}")
    return frame["category"].fillna("").map(lambda text: text.strip().lower().replace("_", " "))


def _roles(column: pd.Series, name: str) -> pd.Series:
    spelled = column.map(lambda role: role.lower().replace("_", "-").replace(" ", "-"), na_action="ignore")
    wrong = sorted(set(spelled.dropna()) - set(ROLES))
    if wrong:
        raise ScoresError(f"{name}: the role {names_in_words(wrong)} is none of {', '.join(ROLES)}.")
    return spelled.fillna("unknown")


# ---------------------------------------------------------------------------------------------- what columns are about


class About(dict[str, str]):
    """What columns are about, never changed once made: pandas copies a frame's ``attrs`` in full at nearly every step."""

    def __deepcopy__(self, memo: object) -> About:
        return self


def columns_about(frame: pd.DataFrame) -> About:
    """What every column is about: "encoder", "task" or "row", by its meaning where virb knows it, else by its values.

    A column with one value (or none) for each encoder is about encoders, one with one value for each task about tasks,
    and any other about rows.
    """
    about = About()
    for column in map(str, frame.columns):
        if column in ROW_WORDS:
            about[column] = "row"
        elif column in TASK_WORDS:
            about[column] = "task"
        elif column in ENCODER_WORDS or _is_constant(frame, "encoder", column):
            about[column] = "encoder"
        else:
            about[column] = "task" if _is_constant(frame, "task", column) else "row"
    return about


def _is_constant(frame: pd.DataFrame, key: str, column: str) -> bool:
    return not frame[[key, column]].dropna().drop_duplicates()[key].duplicated().any()


def encoder_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that describe the encoder (method, dataset, ...)."""
    known: Mapping[str, str] = frame.attrs.get("about", {})
    about = {**columns_about(frame[[c for c in frame if c not in known or c in KEYS]]), **known}
    return [str(column) for column in frame.columns if about[str(column)] == "encoder"]


def encoder_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an encoder, in order of first appearance: the columns that describe it, indexed by its name."""
    order = frame["encoder"].unique()
    table = frame.groupby("encoder", sort=False)[encoder_columns(frame)].first()
    table = table.reindex(pd.Index(order, name="encoder"))
    return table.map(lambda value: np.nan if value is None else value)


def as_words(values: pd.Series, *, missing: str = "unknown") -> pd.Series:
    """A column as text for grouping and drawing: whole numbers without a point, ``missing`` where there is no value."""
    return pd.Series([missing if _is_missing(v) else word(v) for v in values], values.index, object)


def word(value: Any) -> str:
    """One value as text: 100 for 100.0, and all digits of anything else."""
    if isinstance(value, (float, np.floating)) and not isinstance(value, bool):
        return _as_text(value) if float(value).is_integer() else repr(float(value))
    return _as_text(value)
