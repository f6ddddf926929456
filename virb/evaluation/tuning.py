"""The grid of Appendix C: which optimiser and learning rate suit a task, chosen without its test split.

Kotar et al. 2021 search four sets of optimisers and learning rates for each task, with one encoder, and use the best
for all others. They do not say which four, nor on what the choice was made; here it is made on a validation part of the
train split, and the test split is never read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.task import Task
from virb.convert.load import expand_sources
from virb.errors import UsageError
from virb.evaluation import run as evaluation
from virb.evaluation.grid import Failure
from virb.evaluation.plan import select_tasks
from virb.networks.encoder import FrozenEncoder
from virb.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

GRID = (("adam", 3e-4), ("adam", 3e-3), ("sgd", 3e-3), ("sgd", 3e-2))


def tune(
    encoder: str | os.PathLike[str] | FrozenEncoder,
    tasks: Sequence[str],
    *,
    context: DataContext,
    options: RunOptions | None = None,
    grid: Sequence[tuple[str, float]] = GRID,
    validation: float = 0.2,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, list[Failure]]:
    """Score every setting of ``grid`` on a validation part of each task's train split.

    Args:
        validation: the share of the train split that is held out, a fixed random choice of examples, or of whole groups
            where the data have some; a validation part of the data set's own goes before it.
        options: of the evaluation; the records go into ``tuning`` by default, and what is there is not computed again.

    Returns:
        One row a (task, setting): task, optimizer, lr, score (the mean over seeds, on validation) and is_best; and
        what failed.
    """
    import pandas as pd

    if not 0 < validation < 1:
        raise UsageError(f"The validation share must lie between 0 and 1; found {validation}.")
    if len(names := expand_sources([encoder])) > 1:
        raise UsageError(f"{encoder} names {len(names)} encoders ({names[0]}, ...); tune with one of them.")
    broken: list[Failure] = []
    chosen, _ = select_tasks(tasks, None, broken)
    variants: dict[str, tuple[str, str, float]] = {}
    candidates = []
    for task in chosen:
        if task.heads_of:
            raise UsageError(f"{task.name} trains no heads of its own; tune {task.heads_of}.")
        for optimizer, lr in grid:
            candidate = _variant(task, optimizer, lr, validation)
            variants[candidate.name] = (task.name, optimizer, lr)
            candidates.append(candidate)
    outcome = evaluation.run(
        [encoder],
        candidates,
        context=context,
        options=options or RunOptions(out="tuning"),
        progress=progress,
    )
    scores = outcome.table.groupby("task")["score"].mean().to_dict() if len(outcome.table) else {}
    rows = [
        {"task": task, "optimizer": optimizer, "lr": lr, "score": float(scores[name])}
        for name, (task, optimizer, lr) in variants.items()
        if name in scores
    ]
    table = pd.DataFrame(rows, columns=["task", "optimizer", "lr", "score"])
    table["is_best"] = table["score"] == table.groupby("task")["score"].transform("max")
    return table, [*broken, *outcome.failures]


def _variant(task: Task, optimizer: str, lr: float, validation: float) -> Task:
    """Return ``task`` with another setting, which trains and tests within the train split alone."""

    def data(context: DataContext, split: str) -> Examples:
        fitted, held = task.examples(context, "train").hold_out(validation)
        return fitted if split == "train" else held

    return replace(
        task,
        name=f"{task.name}.{optimizer}-{lr:g}",
        data=data,
        n_examples={},
        protocol=replace(task.protocol, optimizer=optimizer, lr=lr),
    )
