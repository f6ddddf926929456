"""The study itself as tables: end tasks, how their heads train, and the encoders.

Kotar et al. 2021, Tables 1, 2 and 3. Tasks are described by their files; a task that only the scores know is listed
with what they say about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import task_categories
from virb.scores.roles import families, roles
from virb.scores.schema import encoder_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes) -> Tables:
    """``tasks``, ``training`` (how their heads train) and ``encoders``."""
    import pandas as pd

    from virb import registry
    from virb.errors import VirbError

    categories = task_categories(scores)
    known = set(registry.names("tasks"))
    rows, protocols = [], []
    for task in categories.index:
        part = scores[scores["task"] == task]
        said = {column: part[column].iloc[0] if column in part else None for column in ("metric", "n_train", "n_test")}
        row = {"task": task, "category": categories[task], "head": None, "loss": None, "metric": said["metric"]}
        protocol = {"task": task, "n_train": said["n_train"], "n_test": said["n_test"]}
        if task in known:
            try:
                declared = registry.load("tasks", task)
            except VirbError as error:
                notes.say(f"{task}: {error}")
            else:
                row.update(
                    category=declared.category.value, head=declared.head, loss=declared.loss, metric=declared.metric
                )
                settings = declared.protocol
                protocol.update(epochs=settings.epochs, optimizer=settings.optimizer, lr=settings.lr)
        rows.append(row)
        protocols.append(protocol)
    encoders = encoder_table(scores)
    encoders = encoders.drop(columns=[name for name in ("role", "family") if name in encoders])
    encoders.insert(0, "role", roles(scores))
    encoders.insert(1, "family", families(scores))
    encoders["n_tasks"] = scores.groupby("encoder")["task"].nunique()
    return Tables(
        {
            "tasks": pd.DataFrame(rows),
            "training": pd.DataFrame(protocols),
            "encoders": encoders.rename_axis("encoder").reset_index(),
        }
    )


def say(tables: Tables) -> list[str]:
    tasks, encoders = tables["tasks"], tables["encoders"]
    counts = tasks["category"].value_counts(sort=False)
    roles_of = encoders["role"].value_counts(sort=False)
    return [
        f"{len(tasks)} end task{'s' * (len(tasks) > 1)}"
        + (f" ({', '.join(f'{n} {c}' for c, n in counts.items())})" if counts.index.any() else ""),
        f"{len(encoders)} encoders ({', '.join(f'{n} {k}' for k, n in roles_of.items())})",
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    """Nothing: they are tables."""
    return {}


ANALYSIS = Analysis(
    name="catalogue",
    summary="End tasks, how their heads train, and the encoders, as tables",
    source="Kotar et al. 2021, Tables 1 to 3",
    compute=compute,
    draw=draw,
    say=say,
)
