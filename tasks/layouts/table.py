"""A CSV of image paths with a class, several classes or numbers, and columns for the split and the group."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from virb.tasks.layouts._common import PLACE, candidates, place_of, put_together, several, split_options

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError, UsageError
from virb.images import splits
from virb.images.decode import SUFFIXES, read_bytes, shown
from virb.images.sets import FileImages

LAYOUT = "a CSV of image paths with a column for the class, classes or number (and for the split and group)"
SPLITS = ("split", "set", "subset", "partition", "fold")
GROUPS = ("group", "video", "scene", "patient", "patient_id", "subject", "subject_id", "building", "drive", "sequence")
TARGETS = ("label", "class", "category", "labels", "classes", "tags", "target", "value", "y")
NOTHING = ("", "nan")  # no class: "none" and "na" may be the names of one
NO_NUMBER = (*NOTHING, "none", "na")
UNKNOWN = (*NO_NUMBER, "-1")


@dataclass(frozen=True)
class Table:
    """A CSV's rows by column; ``path`` is for errors."""

    path: Path
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def __getitem__(self, name: str) -> list[str]:
        if name not in self.columns:
            raise DataError(f"{shown(self.path)} has no column {name!r}; its columns: {', '.join(self.columns)}.")
        return self.columns[name]


def read_table(path: Path) -> Table:
    """Read a CSV with a header; its cells are parted by commas, semicolons or tabs, whichever the header has most.

    Raises:
        DataError: it cannot be read, is empty, or a row has another number of cells than the header.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown(path)} cannot be read as a CSV ({error}).") from error
    if len(rows) < 2:
        raise DataError(f"{shown(path)} has no rows; expected a header and one row an image.")
    names = [name.strip() for name in rows[0]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{shown(path)} has more than one column {', '.join(map(repr, twice))}. Rename or remove all but one of each."
        )
    wrong = next((k for k, row in enumerate(rows) if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(f"{shown(path)}: row {wrong + 1} has {len(rows[wrong])} cells; the header has {len(names)}.")
    return Table(path, {name: [row[k].strip() for row in rows[1:]] for k, name in enumerate(names)})


def read(
    context: DataContext,
    split: str,
    *,
    place: str,
    file: str,
    images: str,
    image: str,
    target: str,
    kind: str,
    separator: str,
    split_column: str,
    group: str,
    train: str,
    test: str,
    validation: str,
) -> Examples:
    """Read ``<place>/<file>``, whose column ``image`` has paths below ``<place>/<images>``.

    ``kind`` is that of ``target``: "class", a text; "labels", several joined by ``separator``, or several columns
    ``A,B,C`` of 1 and 0 (-1 or empty: not known); "number", one column or several (empty: none). Without
    ``split_column``, ``{split}`` in ``file`` stands for the split's name.
    """
    if split != "train" and not split_column and "{split}" not in file:
        raise UsageError(
            f"{place}: the table needs split_column=, or file= with {{split}} in it; nothing else says what tests."
        )
    first = train.split("+")[0]
    root = place_of(context, place, file, lambda path: (path / file.replace("{split}", first)).is_file())

    loaded: dict[Path, Table] = {}

    def table_at(path: Path) -> Table:
        if path not in loaded:
            loaded[path] = read_table(path)
        return loaded[path]

    def rows_of(parts: Sequence[str]) -> tuple[list[Table], list[np.ndarray]]:
        if not split_column:
            tables = [table_at(root / file.replace("{split}", part)) for part in parts]
            return tables, [np.arange(len(table)) for table in tables]
        table = table_at(root / file)
        said = table[split_column]
        rows = [np.array([k for k, name in enumerate(said) if name == part], dtype=np.int64) for part in parts]
        for part, chosen in zip(parts, rows, strict=True):
            if not len(chosen):
                raise DataError(
                    f"{shown(table.path)}: no row has {split_column} = {part!r}; it has {', '.join(sorted(set(said))[:6])}."
                )
        return [table] * len(parts), rows

    def cells(parts: Sequence[str], column: str) -> list[str]:
        tables, rows = rows_of(parts)
        return [table[column][k] for table, chosen in zip(tables, rows, strict=True) for k in chosen.tolist()]

    def one(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        paths = cells(parts, image)
        targets, classes = _targets(
            lambda name: cells(parts, name),
            lambda name: cells(train.split("+"), name),
            paths,
            target,
            kind,
            separator,
        )
        found = Examples(
            FileImages(f"{place}/{'+'.join(parts)}", root / images, paths),
            np.arange(len(paths))[:, None],
            targets,
            paths,
            classes=classes,
            groups=cells(parts, group) if group else None,
        )
        return found, [len(chosen) for chosen in rows_of(parts)[1]]

    return put_together(split, train=train, test=test, validation=validation, read=one)


Cells = Callable[[str], list[str]]  # of a column


def _targets(
    of_split: Cells, of_train: Cells, paths: Sequence[str], target: str, kind: str, separator: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the targets of a split, whose images are at ``paths``, and the classes' names, by the columns ``target``.

    Raises:
        DataError: a cell is no such target, or a row has no class.
    """
    columns = [name.strip() for name in target.split(",")]
    if kind == "none":
        return np.zeros(len(paths), dtype=np.int64), ()
    if kind == "number":
        values = np.array([[_number(cell) for cell in of_split(name)] for name in columns], dtype=np.float32).T
        return values[:, 0] if len(columns) == 1 else values, ()
    if kind == "labels" and len(columns) > 1:
        rows = [[_flag(cell, name) for cell in of_split(name)] for name in columns]
        return np.array(rows, dtype=np.int8).T, tuple(columns)
    if kind == "labels":
        train = [_parted(cell, separator) for cell in of_train(columns[0])]
        names = tuple(sorted({name for row in train for name in row}, key=_by_number))
        return several([_parted(cell, separator) for cell in of_split(columns[0])], names)
    found = of_split(columns[0])
    without = [path for path, cell in zip(paths, found, strict=True) if cell.lower() in NOTHING]
    if without:
        raise DataError(
            f"The column {columns[0]!r} has no class for {len(without)} of {len(paths)} rows; the first is of {without[0]}. "
            "Give every row a class, or leave those out of the table."
        )
    names = tuple(sorted({cell for cell in of_train(columns[0]) if cell.lower() not in NOTHING}, key=_by_number))
    number = {name: k for k, name in enumerate(names)}
    unknown = sorted(set(found) - set(number))
    if unknown:
        raise DataError(f"The column {columns[0]!r} has the class {unknown[0]!r}, which no training row has.")
    return np.array([number[name] for name in found], dtype=np.int64), names


def _by_number(name: str) -> tuple[float, str]:
    return (int(name) if name.isdecimal() else math.inf, name)


def _parted(cell: str, separator: str) -> list[str]:
    return [name.strip() for name in cell.split(separator or None) if name.strip()]


def _number(cell: str) -> float:
    if cell.lower() in NO_NUMBER:
        return math.nan
    try:
        value = float(cell)
    except ValueError as error:
        raise DataError(f"A target is {cell!r}; expected a number, or nothing.") from error
    if not math.isfinite(value):
        raise DataError(f"A target is {cell!r}; expected a finite number, or nothing.")
    return value


def _flag(cell: str, name: str) -> int:
    if cell.lower() in UNKNOWN:
        return -1
    if cell in ("0", "0.0", "1", "1.0"):
        return int(float(cell))
    raise DataError(f"The column {name!r} has {cell!r}; expected 1, 0, or -1 or nothing where it is not known.")


def recognise(path: Path) -> Recognised | None:
    """Look for a CSV with a column of paths to images that are there.

    Raises:
        DataError: one that names images cannot be read.
    """
    if path.is_file():
        return _look(path.parent, [path]) if path.suffix.lower() in (".csv", ".tsv") else None
    for root in candidates(path):
        found = _look(root, sorted([*root.glob("*.csv"), *root.glob("*.tsv")]))
        if found is not None:
            return found
    return None


def _look(root: Path, files: Sequence[Path]) -> Recognised | None:
    for file in sorted(files, key=lambda file: splits.role(file.stem) != "train"):
        try:
            table = read_table(file)
        except DataError:
            if _names_images(file):
                raise
            continue
        place = _images(root, table)
        if place is None:
            continue
        image, images = place
        by_split = {splits.role(other.stem): other for other in files if splits.role(other.stem)}
        split_column = next((name for name in table.columns if name.lower() in SPLITS), "")
        if split_column:
            names, name = splits.roles(dict.fromkeys(table[split_column])), file.name
        elif "train" in by_split:
            names, name = splits.roles([other.stem for other in by_split.values()]), f"{{split}}{file.suffix}"
        else:
            names, name = {"train": "train"}, file.name
        group = next((name for name in table.columns if name.lower() in GROUPS), "")
        others = [name for name in table.columns if name not in (image, split_column, group)]
        chosen = [name for name in others if name.lower() in TARGETS][:1] or others
        kind, separator = _kind(table, chosen) if chosen else ("none", "")
        options = {"file": name, "images": images, "image": image, "target": ",".join(chosen), "kind": kind}
        more = {"split_column": split_column, "group": group, "separator": separator}
        said = f"{file.name}: {len(table):,} rows, {image!r} the image, {', '.join(map(repr, chosen)) or 'nothing'} the target ({kind})"
        said += "".join(
            f", {column!r} the {what}" for column, what in ((split_column, "split"), (group, "group")) if column
        )
        return Recognised(
            {**options, **{key: value for key, value in more.items() if value}, **names},
            kind if chosen else "",
            said,
            tuple(names),
            {"options": {"out_channels": len(chosen)}} if kind == "number" and len(chosen) > 1 else {},
        )
    return None


def _names_images(file: Path) -> bool:
    """Whether the beginning of a file that cannot be read as a table has the names of images in it."""
    head = read_bytes(file)[: 1 << 14].decode("latin-1").lower()
    return re.search(rf"({'|'.join(map(re.escape, SUFFIXES))})[\"']?[,;\t]", head) is not None


def _images(root: Path, table: Table) -> tuple[str, str] | None:
    """Return the column of paths, and the folder that they are below ("" for that of the table)."""
    for name, cells in table.columns.items():
        if name.lower().endswith(SUFFIXES):  # a list without a header
            return None
        few = [cell for cell in cells[:20] if cell.lower().endswith(SUFFIXES)]
        if len(few) < min(20, len(cells)):
            continue
        for folder in ("", *sorted(path.name for path in root.iterdir() if path.is_dir())):
            if (root / folder / few[0]).is_file():
                return name, folder
    return None


def _kind(table: Table, columns: Sequence[str]) -> tuple[str, str]:
    """Return the kind of the target in these columns, and what parts several labels in a cell."""
    cells = [cell for name in columns for cell in table[name] if cell.lower() not in NO_NUMBER]
    is_number = bool(cells) and all(
        re.fullmatch(r"[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf)", cell) for cell in cells
    )
    if len(columns) > 1:
        return ("labels", "") if set(cells) <= {"0", "1", "-1", "0.0", "1.0"} else ("number", "")
    is_whole = is_number and all(re.fullmatch(r"\d+", cell) for cell in cells)
    # Whole numbers are classes where they are called so, or where most come again.
    is_class = columns[0].lower() in TARGETS[:6] or 2 * len(set(cells)) <= len(cells)
    if is_number and (not is_whole or not is_class or columns[0].lower() in ("value", "y")):
        return "number", ""
    for separator in (";", "|", ","):
        if any(separator in cell for cell in cells):
            return "labels", separator
    if columns[0].lower() in ("labels", "tags", "classes") and any(" " in cell for cell in cells):
        return "labels", " "
    return "class", ""


READER = Reader(
    "table",
    "a CSV of image paths with targets, splits and groups in columns",
    read,
    options=(
        PLACE,
        Option("file", "labels.csv", "the CSV; {split} in it stands for a split's name"),
        Option("images", "", "the folder that the paths are below"),
        Option("image", "image", "the column of paths"),
        Option("target", "label", "the column of the target, or several joined by commas"),
        Option("kind", "class", help='"none" reads images alone', choices=("class", "labels", "number", "none")),
        Option("separator", "", "what parts several labels in a cell (default: spaces)"),
        Option("split_column", "", "the column that says the split"),
        Option("group", "", "the column that says which rows belong together"),
        *split_options(),
    ),
    recognise=recognise,
    layout=LAYOUT,
)
