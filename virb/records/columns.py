"""The tidy table: one row a record, a column for everything that a record and its encoder say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.contracts.column import Column
from virb.errors import RecordError
from virb.records.record import Record, digest

if TYPE_CHECKING:
    import pandas as pd

#: Of an encoder's meta, those that every table has; all other scalars of it follow.
META_COLUMNS = (
    "method", "dataset", "dataset_size", "balance", "epochs", "images_seen", "head", "head_dim", "features",
    "role", "family", "repeat",
)  # fmt: skip
LABELS = ("label_fraction", "labels_per_class")
SHOWN_DIGITS = 12  # of a digest


def table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row a record, sorted by category, task, encoder, probe and seed.

    Columns: encoder, task, probe, seed, score, metric, unit, better, category, suite, n_train, n_test, label_fraction,
    labels_per_class, overrides, task_version, data_digest, settings_digest, encoder_digest (what
    :mod:`virb.records.compare` asks), input_size, accuracy@LEVEL, kappa@LEVEL and classes@LEVEL of tasks with a label
    tree, and every scalar of the encoders' meta: as it is called there, ``options.x`` for x
    in its options, ``pretrain_seed`` for its seed, ``meta.x`` where x is a column of the row already.
    """
    more = added_columns()
    known: dict[str, str] = {}  # each text once, however many records say it

    def lean(found: dict[str, Any]) -> dict[str, Any]:
        return {name: known.setdefault(cell, cell) if type(cell) is str else cell for name, cell in found.items()}

    return table_of([lean(with_columns(row(record), record, more)) for record in records])


def added_columns() -> list[Column]:
    """Return the columns that parts of one's own add to every row."""
    found: list[Column] = registry.load_all(registry.entries("columns"))[0]
    return found


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return what :func:`table` does, of the rows themselves."""
    import pandas as pd

    known: dict[str, None] = {}
    for found in rows:
        if not found.keys() <= known.keys():
            known |= dict.fromkeys(found)
    frame = pd.DataFrame(rows, columns=list(known))
    if frame.empty:
        return frame
    return frame.sort_values(
        ["category", "task", "encoder", *LABELS, "probe", "seed"], key=natural_key, kind="stable"
    ).reset_index(drop=True)


def with_columns(found: dict[str, Any], record: Mapping[str, Any], more: Iterable[Column]) -> dict[str, Any]:
    """Return the row with the columns that parts of one's own add, none of which takes the place of another.

    Raises:
        RecordError: one has the name of a column that is there, or fails.
    """
    for column in more:
        if column.name in found:
            raise RecordError(f"The column {column.name!r} is there already; rename the file that declares it.")
        try:
            found[column.name] = column.of(record)
        except Exception as error:
            raise RecordError(
                f"The column {column.name!r} fails on a record: {type(error).__name__}: {error}. Return None where a "
                "record does not say."
            ) from error
    return found


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of one record."""
    encoder, task = record["encoder"], record["task"]
    own = {
        "encoder": encoder["name"],
        "task": task["name"],
        "probe": record["probe"],
        "seed": record["seed"],
        "score": record["score"],
        "metric": task["metric"],
        **blind(record),
        "unit": task.get("unit") or None,
        "better": task.get("better", "higher"),
        "category": task["category"],
        "suite": task["suite"],
        "n_train": record["n_train"],
        "n_test": record["n_test"],
        **label_budget(record["overrides"]),
        "overrides": "+".join(f"{key}={value}" for key, value in sorted(record["overrides"].items())),
        "task_version": task["version"],
        **_digests(record),
        "input_size": (encoder.get("preprocess") or {}).get("size"),
        **{key: value for key, value in (record.get("metrics") or {}).items() if "@" in key},
    }
    meta = dict(scalars({**(encoder.get("meta") or {}), **(encoder.get("declared") or {})}))
    about = {column: meta.pop(column, None) for column in META_COLUMNS}
    about["pretrain_seed"] = meta.pop("seed", None)  # seed is the probe's
    for key, value in meta.items():
        about[f"meta.{key}" if key in own or key in about else key] = value
    return {**own, **about}


def label_budget(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return on how many of its training examples a score was made: all of them (a fraction of 1), unless it says less."""
    per_class = overrides.get("labels_per_class")
    return {
        "label_fraction": overrides.get("label_fraction", 1.0 if per_class is None else None),
        "labels_per_class": per_class,
    }


def blind(record: Mapping[str, Any]) -> dict[str, float | str | None]:
    """Return what a prediction that looks at no image scores (``chance``), the best possible score, and the score between
    the two: 0 as blind, 1 as perfect. All None where the record does not say.
    """
    found = record.get("blind")
    if found is None:
        return dict.fromkeys(("chance", "ceiling", "skill", "blind"))
    way = found["ceiling"] - found["score"]
    return {
        "chance": found["score"],
        "ceiling": found["ceiling"],
        "skill": (record["score"] - found["score"]) / way if way else None,
        "blind": found["name"],
    }


def scalars(meta: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every scalar of an encoder's meta by its name; what is nested as ``options.temperature``."""
    for key, value in meta.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{place}{key}.")
        elif value is None or isinstance(value, (str, int, float, bool)):
            yield f"{place}{key}", value


def _digests(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return digests of the data, of all settings but the seed, and of the encoder; None where they are not recorded."""
    found = record.get("fingerprint")
    if found is None:  # virb 0.1 wrote down names, sizes and times
        data = record.get("data")
        return {
            "data_digest": None if data is None else digest(data)[:SHOWN_DIGITS],
            "settings_digest": None,
            "encoder_digest": record["encoder"]["sha256"][:SHOWN_DIGITS],
        }
    probe = {key: value for key, value in found["probe"].items() if key != "seed"}
    settings = {"task": found["task"], "probe": probe, "numerics": found["numerics"]}
    return {
        "data_digest": digest(found["data"])[:SHOWN_DIGITS],
        "settings_digest": digest(settings)[:SHOWN_DIGITS],
        "encoder_digest": digest(found["encoder"])[:SHOWN_DIGITS],
    }


def natural_key(column: pd.Series) -> pd.Series:
    """Sort key: the four categories in the paper's order, numbers inside names by value."""
    if column.name == "category":
        from virb.contracts.task import Category

        order = {category.value: index for index, category in enumerate(Category)}
        return column.map(lambda value: order.get(value, len(order)))
    if column.name in ("seed", *LABELS):
        return column
    padded = {
        text: "".join(part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", text))
        for text in column.unique()
    }
    return column.map(padded)
