"""Read scores: a results folder, a CSV (commas, semicolons or tabs), a Parquet file, tidy or wide."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from virb.contracts.analysis import names_in_words
from virb.errors import ScoresError
from virb.scores.imported import read_imported
from virb.scores.roles import declared_by_methods, with_meta
from virb.scores.schema import (
    ENCODER_WORDS,
    KEYS,
    REQUIRED,
    TEXT_WORDS,
    as_words,
    check_scores,
    has_numbers,
    marked_number,
    means_of_the_others,
    plain_header,
    refuse_double_headers,
    typed,
)
from virb.scores.units import one_scale, units_of_metrics

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_LARGEST = 1 << 30  # bytes; a larger file is no table of scores
_PARQUET = (".parquet", ".pq")


def read_scores(
    source: str | os.PathLike[str],
    *,
    probe: str | None = None,
    wide: bool = False,
    about: Sequence[str] = (),
    meta: str | os.PathLike[str] | None = None,
    units: Sequence[str] = (),
    better: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> pd.DataFrame:
    """Read scores and check them; see :mod:`virb.scores.schema` for what comes out.

    For a folder, ``frame.attrs["results"]`` holds its path, where analyses of single predictions look for them.

    Args:
        source: a CSV or Parquet file with the columns encoder, task, score and any others; the folder that
            ``virb evaluate`` writes; or NAME:PATH, what the importer NAME reads (virb list importers).
        probe: keep the scores of this probe only.
        wide: the file has one row an encoder and one column a task, as papers print tables.
        about: columns of a wide table that are about encoders though they hold numbers.
        meta: a CSV with the column encoder and what else is known about encoders (role, family, repeat, ...); what it
            says goes before what the source says.
        units, better: "percent", or "TASK=percent" for one task; "lower" likewise, for errors.
        metrics: which metric to take, likewise, of an importer's that knows several of a score.

    Raises:
        ScoresError: the source does not exist, cannot be read, is empty, or fails a check.
    """
    path = Path(source)
    is_folder = path.is_dir()
    imported = None if path.exists() else read_imported(os.fspath(source), metrics=metrics)
    if metrics and imported is None:
        raise ScoresError(
            f"--metric {metrics[0]}: {path} is read as it is; only NAME:PATH (virb list importers) takes it."
        )
    if imported is not None:
        frame = imported
    elif is_folder:
        frame = _folder(path)
    elif path.suffix.lower() in _PARQUET:
        frame = _parquet(path)
    else:
        frame = read_csv(path, is_wide=wide)
    if wide and not is_folder:
        frame = from_wide(frame, about=about, name=str(path))
    frame = check_scores(frame, name=str(path))
    if not is_folder:
        frame.attrs["notes"] += means_of_the_others(frame)
    if probe is not None and "probe" not in frame.columns:
        raise ScoresError(f"{path} has no column probe, so that --probe {probe} chooses nothing. Leave it out.")
    if probe is not None:
        kept = frame[frame["probe"] == probe]
        if kept.empty:
            found = names_in_words(sorted(as_words(frame["probe"]).unique()))
            raise ScoresError(f"{path} has no scores of the probe {probe!r}; it has {found}.")
        frame = kept
    if is_folder:
        frame = units_of_metrics(declared_by_methods(frame))
        frame.attrs["results"] = str(path)
    if meta is not None:
        frame = with_meta(frame, read_meta(meta), name=str(meta))
    return one_scale(frame, units=units, better=better, name=str(path))


def _folder(path: Path) -> pd.DataFrame:
    from virb.records.store import opened

    frame = opened(path).table()
    if frame.empty:
        raise ScoresError(
            f"The results folder {path} holds no finished record. Run `virb evaluate ... --out {path}` first, or name the "
            "folder that it wrote to."
        )
    return frame


def read_meta(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read what is declared about encoders: a CSV with the column encoder, each encoder once.

    Raises:
        ScoresError: it cannot be read, has no column encoder, names one twice, or has columns of scores.
    """
    if not Path(path).is_file():
        raise ScoresError(
            f"There is no file {path}. Expected a CSV file about encoders, with the column encoder and others such as "
            "role, family, repeat."
        )
    frame = read_csv(Path(path), needed=("encoder",))
    wrong = [column for column in frame if column in KEYS[1:] or column == "score"]
    if wrong:
        raise ScoresError(
            f"{path} is about encoders, and has the column {names_in_words(wrong)}, which is about scores. Expected the "
            "column encoder and others such as role, family, repeat."
        )
    if frame["encoder"].isna().any():
        raise ScoresError(f"{path}: data row {int(frame['encoder'].isna().to_numpy().argmax()) + 1} has no encoder.")
    twice = frame.loc[frame["encoder"].duplicated(), "encoder"]
    if len(twice):
        raise ScoresError(f"{path} names {names_in_words(list(twice.unique()))} more than once.")
    return frame


# --------------------------------------------------------------------------------------------------------------- files


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise ScoresError(
            f"There is no file or folder {path}. Expected a results folder of `virb evaluate`, or a CSV file with the "
            "columns encoder, task and score."
        )
    if not path.is_file():
        raise ScoresError(f"{path} is no regular file. Expected a CSV or Parquet file, or a results folder.")
    try:
        if path.stat().st_size > _LARGEST:
            raise ScoresError(
                f"{path} has {path.stat().st_size:,} bytes, more than a table of scores can have (1 GiB)."
            )
        return path.read_bytes()
    except OSError as error:
        raise ScoresError(f"{path} cannot be read: {error.strerror or error}.") from None


def read_csv(path: Path, *, needed: Sequence[str] = REQUIRED, is_wide: bool = False) -> pd.DataFrame:
    """Read a CSV with commas, semicolons or tabs, with or without a byte-order mark, with any line ends.

    The separator is the one under which the header has the ``needed`` columns, else the one that makes most columns.

    Raises:
        ScoresError: the file cannot be read, is no UTF-8 text, or a line has more or fewer fields than the header.
    """
    content = _bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScoresError(f"{path} cannot be read as CSV ({error}). Expected UTF-8 text.") from None
    if not text.strip():
        raise ScoresError(f"{path} is empty. Expected a header with encoder, task and score, and a row a score.")
    separator = _separator(text, () if is_wide else needed)
    rows: list[list[str]] = []
    numbers: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if any(field.strip() for field in row):
                rows.append(row)
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise ScoresError(f"{path} cannot be read as CSV: line {reader.line_num}: {error}.") from None
    header = [plain_header(field, k) for k, field in enumerate(rows[0])]
    if not is_wide and "encoder" not in header and len(header) < 2:
        raise ScoresError(
            f"{path} has one column, {header[0]!r}. Expected {names_in_words(list(needed))}, separated by commas, "
            "semicolons or tabs."
        )
    for number, row in zip(numbers[1:], rows[1:], strict=True):
        if len(row) != len(header):
            raise ScoresError(
                f"{path}: line {number} has {len(row)} fields and the header {len(header)} (separator: "
                f"{SEPARATORS[separator]}), so it is not known which field is which. Quote fields that hold a "
                f"{SEPARATORS[separator]}, and give every column a header."
            )
    refuse_double_headers(header, str(path))
    absent = [] if is_wide or tuple(needed) == REQUIRED else [name for name in needed if name not in header]
    if absent:
        raise ScoresError(f"{path} has no column {names_in_words(absent)}; found {names_in_words(header, 12)}.")
    columns = list(zip(*rows[1:], strict=True)) or [()] * len(header)
    return pd.DataFrame(
        {name: typed(values, is_text=name in TEXT_WORDS) for name, values in zip(header, columns, strict=True)}
    )


def _separator(text: str, needed: Sequence[str]) -> str:
    first = next(line for line in text.splitlines() if line.strip())
    heads = {}
    for mark in SEPARATORS:
        try:
            heads[mark] = [field.strip() for field in next(csv.reader([first], delimiter=mark, skipinitialspace=True))]
        except csv.Error:
            heads[mark] = [first]
    whole = [mark for mark, fields in heads.items() if needed and set(needed) <= set(fields)]
    return whole[0] if whole else max(heads, key=lambda mark: len(heads[mark]))


def _parquet(path: Path) -> pd.DataFrame:
    content = _bytes(path)
    try:
        return pd.read_parquet(io.BytesIO(content)).reset_index(drop=True)
    except ImportError:
        raise ScoresError(
            f"{path}: reading Parquet needs pyarrow, which is not installed. `pip install pyarrow`, or save the table as "
            "CSV."
        ) from None
    except Exception as error:  # pyarrow's own kinds, which cannot be named without importing it
        raise ScoresError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0][:200]}.") from None


# ---------------------------------------------------------------------------------------------------------- wide tables


def from_wide(frame: pd.DataFrame, *, about: Sequence[str] = (), name: str = "the table") -> pd.DataFrame:
    """Turn encoders x tasks into one row a score; empty cells become no row.

    The column encoder (else the first) names the encoders. Columns of words, columns that virb knows to be about
    encoders (dataset_size, epochs, ...) and those named in ``about`` describe them; every other column of numbers is
    a task, and so is one in which half of what stands there are numbers: the rest (a dash, "n/a") are scores that are
    missing. Which is which is noted.

    Raises:
        ScoresError: ``about`` names no column, an encoder has no name or two rows, a column's numbers have signs beside
            them, or no column of numbers is left.
    """
    frame = frame.copy()
    names = "encoder" if "encoder" in frame else str(frame.columns[0])
    frame[names] = as_words(frame[names], missing="").str.strip()
    frame = frame.rename(columns={names: "encoder"})
    unknown = [column for column in about if column not in frame]
    if unknown:
        raise ScoresError(f"{name} has no column {names_in_words(unknown)}; found {names_in_words(list(frame), 12)}.")
    if (frame["encoder"] == "").any():
        raise ScoresError(f"{name}: a row has no encoder in its column {names!r}.")
    twice = frame.loc[frame["encoder"].duplicated(), "encoder"].unique()
    if len(twice):
        raise ScoresError(
            f"{name} has more than one row for {names_in_words(list(twice))}. A wide table has one row an encoder; seeds "
            "and probes need a tidy one (encoder, task, score)."
        )
    described = {*about, *ENCODER_WORDS, *KEYS, "score"}
    tasks = [c for c in frame if c not in described and c != "encoder" and has_numbers(frame[c])]
    marked = {c: sign for c in frame if c not in (*described, *tasks, "encoder") and (sign := marked_number(frame[c]))}
    if marked:
        cells = [f"{value} ({column})" for column, value in marked.items()]
        raise ScoresError(
            f"{name}: {names_in_words(cells, 4)}: more than a number stands there. Write numbers alone (percent are declared "
            "with --unit), or name columns that are about encoders with --about."
        )
    if not tasks:
        raise ScoresError(
            f"{name} has no column of numbers that could be a task; found {names_in_words(list(frame), 12)}."
        )
    others = [c for c in frame if c not in tasks and c != "encoder"]
    tidy = frame.astype(dict.fromkeys(tasks, object))
    tidy = tidy.melt(["encoder", *others], tasks, var_name="task", value_name="score").dropna(subset=["score"])
    said = f"wide table: {len(tasks)} tasks ({names_in_words(tasks, 12)})"
    said += f"; about encoders: {names_in_words(others, 12)}" if others else ""
    n_empty = len(frame) * len(tasks) - len(tidy)
    tidy.attrs["notes"] = [said + (f"; {n_empty} cells are empty" if n_empty else "")]
    return tidy.reset_index(drop=True)
