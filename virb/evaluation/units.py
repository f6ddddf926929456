"""Which tasks run, and which of them share a trained head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from virb import registry
from virb.contracts.probe import Probe
from virb.contracts.task import Task
from virb.errors import BrokenPart, UsageError, VirbError
from virb.evaluation.grid import Failure, Unit
from virb.evaluation.parts import parts_of


def units_of(tasks: Sequence[Task], probe: Probe) -> list[Unit]:
    """Put together the tasks that share heads, with the probe's own head where it has one."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.heads_of or task.name, []).append(task)
    by_name = {task.name: task for task in tasks}
    return [
        Unit(
            as_probed(by_name[name] if name in by_name else registry.load("tasks", name), probe),
            tuple(as_probed(task, probe) for task in scored),
        )
        for name, scored in groups.items()
    ]


def as_probed(task: Task, probe: Probe) -> Task:
    """Return ``task`` with the probe's own head in place of the task's, if it has one."""
    if probe.head is None:
        return task
    of_head = {option.name for option in parts_of(task).head.options}
    return replace(
        task, head=probe.head, options={name: value for name, value in task.options.items() if name not in of_head}
    )


def select_tasks(
    names: Sequence[str | Task] | None, suite: str | None, failures: list[Failure]
) -> tuple[list[Task], dict[str, str]]:
    """Load the named tasks, or those of the suite; a broken file becomes a failure and the rest goes on.

    Returns:
        The tasks, and the suite of each by name; a task that was passed as an object has none.

    Raises:
        UsageError: no task can be loaded.
        RegistryError: a name is unknown.
    """
    if names:
        found: dict[str, Task] = {}
        groups: dict[str, str] = {}
        for name in names:
            if isinstance(name, Task):
                parts_of(name)
                found[name.name] = name
                continue
            try:
                entry = registry.find("tasks", name)
                found[name] = checked(registry.load_entry(entry))
                groups[name] = entry.group
            except BrokenPart as error:
                failures.append(Failure(name, str(error)))
        if not found:
            raise UsageError(" ".join(failure.reason for failure in failures))
        return list(found.values()), groups
    entries = registry.entries("tasks")
    suites = {entry.group for entry in entries}
    if suite not in suites:
        raise UsageError(f"Unknown suite {suite!r}. {registry.suggest(str(suite), suites)}")
    chosen = []
    for entry in entries:
        if entry.group != suite:
            continue
        try:
            chosen.append(checked(registry.load_entry(entry)))
        except VirbError as error:
            failures.append(Failure(entry.name, str(error)))
    if not chosen:
        raise UsageError(f"No task of the suite {suite!r} can be loaded. " + " ".join(f.reason for f in failures))
    return chosen, {task.name: suite for task in chosen}


def checked(task: Task) -> Task:
    """Return ``task`` if its parts are there and fit together.

    Raises:
        BrokenPart: they do not.
    """
    try:
        parts_of(task)
    except UsageError as error:
        raise BrokenPart(str(error)) from error
    return task
