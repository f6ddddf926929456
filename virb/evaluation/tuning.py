"""A grid of settings: which of them suits a task, chosen without its test split.

Kotar et al. 2021, Appendix C, search four sets of optimisers and learning rates for each task, with one encoder, and use
the best for all others. They do not say which four, nor on what the choice was made. Chen et al. 2020, Appendix B.8.1,
search 7 learning rates by 8 weight decays for fine-tuning, on validation. Here each choice is made on a validation part of
the train split, and the test split is never read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from virb import probes
from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.probe import Probe
from virb.contracts.task import Task
from virb.convert.load import expand_sources
from virb.errors import UsageError, option
from virb.evaluation import run as evaluation
from virb.evaluation.fitting import fitting
from virb.evaluation.grid import Failure
from virb.evaluation.parts import parts_of
from virb.evaluation.units import select_tasks
from virb.networks.encoder import FrozenEncoder
from virb.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

Setting = Mapping[str, Any]  # values of options, by name


def tune(
    encoder: str | os.PathLike[str] | FrozenEncoder,
    tasks: Sequence[str | Task],
    *,
    context: DataContext,
    options: RunOptions | None = None,
    grid: str | Sequence[Setting] | None = None,
    validation: float = 0.2,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, list[Failure]]:
    """Score every setting of ``grid`` on a validation part of each task's train split.

    Args:
        grid: settings, or the name of one of the probe's grids; by default the probe's first.
        validation: the share of the train split that is held out, a fixed random choice of examples, or of whole groups
            where the data have some; a validation part of the data set's own goes before it.
        options: of the evaluation; the records go into ``tuning`` by default, and what is there is not computed again.

    Returns:
        One row a (task, setting): task, the setting's options, score (the mean over seeds, on validation) and is_best; and
        what failed.

    Raises:
        UsageError: there is no such grid, or a setting has an option that the probe does not take.
    """
    import pandas as pd

    options = options or RunOptions(out="tuning")
    if not 0 < validation < 1:
        raise UsageError(f"The validation share must lie between 0 and 1; found {validation}.")
    if len(names := expand_sources([encoder])) > 1:
        raise UsageError(f"{encoder} names {len(names)} encoders ({names[0]}, ...); tune with one of them.")
    probe = probes.find(options.probe)
    settings = _settings(probe, grid)
    for setting in settings:
        probes.check_options(probe, {**options.overrides(), **setting})
    if not tasks:
        raise UsageError(f"{option('tasks')} names no end task.")
    broken: list[Failure] = []
    chosen, _ = select_tasks(tasks, None, broken)
    for task in chosen:
        if task.heads_of:
            raise UsageError(f"{task.name} trains no heads of its own; tune {task.heads_of}.")
        if probe.trains_head and not parts_of(task).head.trains:
            raise UsageError(f"The head of {task.name} does not train, so there is nothing to tune.")
    fitting(probe, chosen, options.budgets(), is_named=True, progress=progress or Progress(is_quiet=True))
    score = _at_once if probe.protocol is None else _in_turn
    rows, failures = score(encoder, chosen, settings, context, options, validation, progress)
    columns = list(dict.fromkeys(name for setting in settings for name in setting))
    table = pd.DataFrame(rows, columns=["task", *columns, "score"])
    signs = {task.name: 1.0 if parts_of(task).metric.better == "higher" else -1.0 for task in chosen}
    better = table["score"] * table["task"].map(signs).astype(float)
    table["is_best"] = better == better.groupby(table["task"]).transform("max")
    return table, [*broken, *failures]


def _settings(probe: Probe, grid: str | Sequence[Setting] | None) -> list[Setting]:
    if grid is None:
        if not probe.grids:
            raise UsageError(
                f"{option('probe', probe.name)} has no grid of settings to tune ({probe.why_not}). "
                "docs/probes.md says how it chooses its own."
            )
        return list(next(iter(probe.grids.values())))
    if not isinstance(grid, str):
        return list(grid)
    if grid not in probe.grids:
        known = ", ".join(probe.grids) or "none by name"
        raise UsageError(
            f"{option('probe', probe.name)} has no grid {grid!r}; it has {known}. Settings are written as "
            "OPTIMIZER:RATE[:DECAY],... on the command line, as mappings of options in Python."
        )
    return list(probe.grids[grid])


Scored = tuple[list[dict[str, Any]], list[Failure]]


def _at_once(
    encoder: Any,
    tasks: Sequence[Task],
    settings: Sequence[Setting],
    context: DataContext,
    options: RunOptions,
    validation: float,
    progress: Progress | None,
) -> Scored:
    """Run every setting as a task of its own: heads whose settings differ in optimiser and rate train as one problem."""
    asked = list(product(tasks, settings))
    variants = [_variant(task, setting, validation) for task, setting in asked]
    outcome = evaluation.run(
        [encoder],
        variants,
        context=context,
        options=options,
        progress=progress,
    )
    scores = outcome.table.groupby("task")["score"].mean().to_dict() if len(outcome.table) else {}
    rows = [
        {"task": task.name, **setting, "score": float(scores[variant.name])}
        for variant, (task, setting) in zip(variants, asked, strict=True)
        if variant.name in scores
    ]
    return rows, outcome.failures


def _in_turn(
    encoder: Any,
    tasks: Sequence[Task],
    settings: Sequence[Setting],
    context: DataContext,
    options: RunOptions,
    validation: float,
    progress: Progress | None,
) -> Scored:
    """Run one setting after the other, of a probe with a protocol of its own."""
    held = [_variant(task, {}, validation) for task in tasks]
    names = {variant.name: task.name for variant, task in zip(held, tasks, strict=True)}
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for setting in settings:
        outcome = evaluation.run(
            [encoder],
            held,
            context=context,
            options=replace(options, **setting),
            progress=progress,
        )
        said = ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in setting.items()
        )
        failures += [replace(failure, what=f"{failure.what}, {said}") for failure in outcome.failures]
        if len(outcome.table):
            scores = outcome.table.groupby("task", sort=False)["score"].mean()
            rows += [{"task": names[str(name)], **setting, "score": float(value)} for name, value in scores.items()]
    order = {task.name: k for k, task in enumerate(tasks)}
    return sorted(rows, key=lambda row: order[row["task"]]), failures


def _variant(task: Task, setting: Setting, validation: float) -> Task:
    """Return ``task`` with another setting, which trains and tests within the train split alone."""

    def data(context: DataContext, split: str) -> Examples:
        fitted, held = task.examples(context, "train").hold_out(validation)
        return fitted if split == "train" else held

    words = "-".join(f"{value:g}" if isinstance(value, float) else str(value) for value in setting.values())
    return replace(
        task,
        name=f"{task.name}.{words or 'validation'}",
        data=data,
        n_examples={},
        protocol=replace(task.protocol, **setting),
    )
