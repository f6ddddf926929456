"""Which tasks a probe can be fitted to, as and with as many labels as was asked for: asked before an encoder is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from virb import probes
from virb.contracts.budget import Budget
from virb.contracts.parts import PIXELWISE
from virb.contracts.probe import TRAINING_OPTIONS, Probe
from virb.contracts.task import Task
from virb.errors import UsageError, option
from virb.evaluation import labelled
from virb.evaluation.parts import parts_of
from virb.evaluation.units import units_of
from virb.system.progress import Progress


@dataclass(frozen=True)
class Ask:
    """An option that is not for every task.

    Attributes:
        takes: what it is for, such as the kinds of target (:data:`virb.contracts.parts.TARGETS`).
        refused: why it is none for a task, by the task's name.
        instead: what is for all of those.
    """

    what: str
    takes: str
    refused: Mapping[str, str]
    instead: Sequence[str]


def fitting(
    probe: Probe,
    tasks: Sequence[Task],
    budgets: Sequence[Budget],
    *,
    given: Collection[str] = (),
    is_named: bool,
    progress: Progress,
) -> list[Task]:
    """Return the tasks that ``probe`` can be fitted to, with one of ``budgets`` at least, and with what is ``given``.

    Of a suite the others are left out with a note, and so is of a task a budget that is not for it. ``given`` are the names
    of departures from the protocol: those of training are for heads that train, and no record says that it was trained
    otherwise where nothing was.

    Raises:
        UsageError: there are others and ``is_named`` says that all were asked for, or there are only others; all are named.
    """
    targets = {task.name: parts_of(task).target for task in tasks}
    of_probe = _of_probe(probe, tasks)
    rest_of = [task for task in tasks if task.name not in of_probe.refused]
    untrained = _untrained(probe, rest_of)
    of_training = _of_training(untrained, given)
    asks = [ask for ask in (of_probe, of_training, *_of_budgets(targets, untrained, budgets)) if ask.refused]
    chosen = [
        task
        for task in rest_of
        if task.name not in of_training.refused
        and any(labelled.fits(targets[task.name], budget, trains=task.name not in untrained) for budget in budgets)
    ]
    if asks and (is_named or not chosen):
        fit = [task.name for task in tasks if not any(task.name in ask.refused for ask in asks)]
        rest = f" Of the tasks that were asked for, these fit: {', '.join(fit)}." if fit else ""
        raise UsageError("\n".join(_refusal(ask) for ask in asks) + rest)
    for ask in asks:
        progress.note(f"{ask.what} does not fit these tasks; left out: {_said(ask.refused)}")
    return chosen


def refusals(probe: Probe, tasks: Sequence[Task]) -> dict[str, str]:
    """Return why ``probe`` cannot be fitted to a task, by the task's name; those that it fits are not there."""
    targets = {task.name: parts_of(task).target for task in tasks}
    found = {name: _kind(target) for name, target in targets.items() if target not in probe.takes}
    for unit in units_of([task for task in tasks if task.name not in found], probe):
        if why := _why_not(probe, unit.trains):
            found |= {task.name: why for task in unit.scores}
    return found


def _of_probe(probe: Probe, tasks: Sequence[Task]) -> Ask:
    refused = refusals(probe, tasks)
    able = [other.name for other in probes.every() if refused and refused.keys().isdisjoint(refusals(other, tasks))]
    takes = f"tasks whose targets are {', '.join(sorted(probe.takes))}"
    return Ask(option("probe", probe.name), takes, refused, [option("probe", one) for one in able])


def _untrained(probe: Probe, tasks: Sequence[Task]) -> dict[str, str]:
    """Return the tasks on which the probe has nothing to train, by name, with the reason."""
    found: dict[str, str] = {}
    for unit in units_of(tasks, probe) if probe.trains_head else ():
        head = parts_of(unit.trains).head
        if not head.trains:
            found |= {task.name: f"its head {head.name} does not train" for task in unit.scores}
    return found


def _of_training(untrained: Mapping[str, str], given: Collection[str]) -> Ask:
    names = [option(name) for name in TRAINING_OPTIONS if name in given]
    refused = untrained if names else {}
    said = " or ".join(names)
    return Ask(said, "heads that train", refused, [f"no {said}"])


def _of_budgets(targets: Mapping[str, str], untrained: Mapping[str, str], budgets: Sequence[Budget]) -> Iterator[Ask]:
    """Yield each option for label budgets that was given; its values are all for the same tasks."""
    for name, takes in labelled.TAKES.items():
        if any(name in budget.overrides() for budget in budgets):
            refused = {task: _kind(target) for task, target in targets.items() if target not in takes}
            refused |= {
                task: why for task, why in untrained.items() if targets[task] in PIXELWISE and task not in refused
            }
            able = [
                other
                for other, its in labelled.TAKES.items()
                if all(targets[task] in its and task not in untrained for task in refused)
            ]
            yield Ask(
                option(name), f"tasks whose targets are {', '.join(takes)}", refused, [option(other) for other in able]
            )


def _kind(target: str) -> str:
    return f"a {'pixelwise ' if target in PIXELWISE else ''}task ({target})"


def _why_not(probe: Probe, trains: Task) -> str:
    """Return why the probe cannot be fitted to a task whose target it takes; ``trains`` has the probe's head."""
    try:
        target = parts_of(trains).target
    except UsageError as error:  # it has the probe's head, and was sound with its own
        return str(error).rstrip(".")
    return probe.refuses(trains, target)


def _refusal(ask: Ask) -> str:
    instead = f"Use {' or '.join(ask.instead)} there, or name other tasks." if ask.instead else "Name other tasks."
    return f"{ask.what} is for {ask.takes}, and does not fit {_said(ask.refused)}. {instead}"


def _said(refused: Mapping[str, str]) -> str:
    """Return the tasks by their reasons."""
    names: dict[str, list[str]] = {}
    for name, why in refused.items():
        names.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(those)}: {why}" for why, those in names.items())
