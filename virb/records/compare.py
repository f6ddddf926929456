"""What may stand side by side: one function that every table, export, analysis and report asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_OF_A_TASK = {
    "task_version": "versions of the task",
    "data_digest": "revisions of the data",
    "settings_digest": "settings of the task and its probe",
    "n_test": "numbers of test examples",
}


def mixed(frame: pd.DataFrame) -> list[str]:
    """Return a sentence for each thing that differs between scores which a table compares.

    Within a task and a probe (whose name carries the overrides): the task's version, its data (images, frames, targets),
    the number of test examples, and the settings by which heads are made and judged. Within an encoder: what it computes, preprocessing included. Columns
    that the table has not, and rows that do not say, are not compared.

    Args:
        frame: tidy scores, one row a measurement (:mod:`virb.records.columns`).
    """
    out = []
    for task, whole in frame.groupby("task", sort=False):
        for _, part in whole.groupby("probe", sort=False) if "probe" in whole else ((None, whole),):
            for column, what in _OF_A_TASK.items():
                if (who := _groups(part, column)) is not None:
                    out.append(
                        f"{task} was scored with {len(who)} {what} ({_listed(who)}): its scores are not of one thing."
                    )
    for encoder, part in frame.groupby("encoder", sort=False):
        for _, same in part.groupby("probe", sort=False) if "probe" in part else ((None, part),):
            if (who := _groups(same, "encoder_digest", by="task")) is not None:
                out.append(
                    f"The records of {encoder} are of {len(who)} different encoders (weights, preprocessing or code; "
                    f"{_listed(who)})."
                )
                break
    if (sizes := _groups(frame, "input_size")) is not None:
        out.append(f"The encoders see images of {len(sizes)} sizes ({_listed(sizes, ' px')}).")
    return out


def _groups(frame: pd.DataFrame, column: str, *, by: str = "encoder") -> dict[str, list[str]] | None:
    """Return the encoders (or tasks) by the value of ``column``, if there are several values."""
    if column not in frame or frame[column].nunique() < 2:  # an empty cell is no value
        return None
    groups = frame.dropna(subset=[column]).groupby(column, sort=True)[by]
    return {_text(value): list(dict.fromkeys(names.astype(str))) for value, names in groups}


def _listed(groups: dict[str, list[str]], unit: str = "") -> str:
    return "; ".join(
        f"{value}{unit}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for value, names in groups.items()
    )


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
