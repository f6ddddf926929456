"""Which tasks a probe can be fitted to: asked before an encoder is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virb import probes
from virb.contracts.parts import PIXELWISE
from virb.contracts.probe import Probe
from virb.contracts.task import Task
from virb.errors import UsageError, option
from virb.evaluation.parts import parts_of
from virb.evaluation.units import units_of
from virb.system.progress import Progress


def fitting(probe: Probe, tasks: Sequence[Task], *, is_named: bool, progress: Progress) -> list[Task]:
    """Return the tasks that ``probe`` can be fitted to.

    Of a suite the others are left out with a note.

    Raises:
        UsageError: there are others and ``is_named`` says that all were asked for, or there are only others; all are named.
    """
    refused = refusals(probe, tasks)
    chosen = [task for task in tasks if task.name not in refused]
    if not refused:
        return chosen
    if chosen and not is_named:
        progress.note(f"{option('probe', probe.name)} does not fit these tasks; left out: {_said(refused)}")
        return chosen
    able = [other.name for other in probes.every() if refused.keys().isdisjoint(refusals(other, tasks))]
    instead = f" Use {' or '.join(option('probe', one) for one in able)} there, or name other tasks." if able else ""
    raise UsageError(
        f"{option('probe', probe.name)} is for tasks whose targets are {', '.join(sorted(probe.takes))}, and does not fit "
        f"{_said(refused)}.{instead}"
    )


def refusals(probe: Probe, tasks: Sequence[Task]) -> dict[str, str]:
    """Return why ``probe`` cannot be fitted to a task, by the task's name; those that it fits are not there."""
    targets = {task.name: parts_of(task).target for task in tasks}
    found = {
        name: f"a {'pixelwise ' if target in PIXELWISE else ''}task ({target})"
        for name, target in targets.items()
        if target not in probe.takes
    }
    for unit in units_of([task for task in tasks if task.name not in found], probe):
        if why := _why_not(probe, unit.trains):
            found |= {task.name: why for task in unit.scores}
    return found


def _why_not(probe: Probe, trains: Task) -> str:
    """Return why the probe cannot be fitted to a task whose target it takes; ``trains`` has the probe's head."""
    try:
        target = parts_of(trains).target
    except UsageError as error:  # it has the probe's head, and was sound with its own
        return str(error).rstrip(".")
    return probe.refuses(trains, target)


def _said(refused: Mapping[str, str]) -> str:
    """Return the tasks by their reasons."""
    names: dict[str, list[str]] = {}
    for name, why in refused.items():
        names.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(those)}: {why}" for why, those in names.items())
