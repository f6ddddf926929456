"""What of a paper is there, what is missing and where to get it, which parts can run, how many jobs are left, and the cost."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from virb import registry
from virb.contracts.examples import DataContext
from virb.contracts.paper import Member, Paper, Part, Scale
from virb.contracts.task import Task
from virb.convert import zoo
from virb.errors import RegistryError, VirbError
from virb.evaluation.batteries.papers import recipe_path
from virb.evaluation.status import ABSENT, FOUND, INCOMPLETE, Status, data_status
from virb.papers.cost import Cost, evaluation_cost, images_seen, pretraining_hours
from virb.papers.evidence import tasks_of
from virb.papers.identity import records_folder
from virb.pretraining import sources
from virb.pretraining.recipes import read_recipe

HERE, TO_FETCH, TO_MAKE, MISSING = "there", "to fetch", "to pretrain", "missing"


@dataclass(frozen=True)
class EncoderState:
    """A member: ``source`` is what ``virb evaluate`` takes, or its file once it is made; ``how`` says what is missing."""

    member: Member
    state: str
    source: str
    how: str = ""

    @property
    def can_be_had(self) -> bool:
        return self.state != MISSING


@dataclass
class PartState:
    """A part: ``reason`` is why it cannot run; empty where it can."""

    part: Part
    encoders: list[EncoderState] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    jobs_left: int = 0


@dataclass
class PaperState:
    """All of it; ``total`` counts what parts share once."""

    paper: Paper
    scale: str
    encoders: dict[str, EncoderState]
    tasks: dict[str, Status]
    parts: list[PartState]
    total: Cost
    jobs_left: int


def look(
    paper: Paper, scale_name: str, context: DataContext, out: Path, parts: tuple[str, ...] = (), *, seeds: int = 1
) -> PaperState:
    """Look at encoders, data and results; nothing is loaded, fetched or trained.

    Raises:
        RegistryError: a part or the scale is unknown.
    """
    scale = paper.scale(scale_name)
    context = scale.placed(context)
    chosen = [paper.part(name) for name in parts] if parts else list(paper.parts)
    runs = read_recipe(recipe_path(paper, scale.recipe)) if scale.recipe else {}
    encoders = {member.name: encoder_state(member, runs, out, context) for member in scale.members()}
    tasks: dict[str, Status] = {}
    loaded: dict[str, Task] = {}
    for part in chosen:
        for name in tasks_of(part, scale) if not part.why_not and scale_name in part.scales else ():
            if name not in tasks:
                tasks[name] = _task_state(name, context, loaded, is_of_parts=scale.is_of_parts)
    done = _done(out)
    states = [_part(part, scale_name, scale, encoders, tasks, loaded, runs, done, seeds) for part in chosen]
    pairs = {
        (one.source, task) for state in states if not state.reason for one in state.encoders for task in state.tasks
    }
    total = _total(
        [part for part in chosen if not part.why_not and scale_name in part.scales],
        scale,
        encoders,
        loaded,
        runs,
        seeds,
    )
    left = sum(1 for pair in pairs if (_record_name(pair[0]), pair[1]) not in done) * seeds
    return PaperState(paper, scale_name, encoders, tasks, states, total, left)


def encoder_state(member: Member, runs: dict[str, dict[str, Any]], out: Path, context: DataContext) -> EncoderState:
    """Whether an encoder is there, can be fetched, can be pretrained, or is missing and why."""
    if member.recipe_line:
        path = encoders_folder(out) / f"{member.recipe_line}.pt"
        if path.is_file():
            return EncoderState(member, HERE, str(path))
        absent = _absent_source(str(runs[member.recipe_line].get("data", "")), context)
        if absent:
            return EncoderState(member, MISSING, str(path), f"its images to pretrain on: {absent}")
        return EncoderState(
            member, TO_MAKE, str(path), f"virb pretrain makes it from the recipe's line {member.recipe_line}"
        )
    if member.spec.startswith(zoo.PREFIX):
        try:
            entry = zoo.find(member.spec.removeprefix(zoo.PREFIX))
        except VirbError as error:
            return EncoderState(member, MISSING, member.spec, str(error))
        state = HERE if entry.path.is_file() else TO_FETCH
        return EncoderState(member, state, member.spec, "" if state == HERE else entry.url)
    if not member.spec:
        return EncoderState(member, MISSING, "", member.missing or "nobody says where it is")
    return EncoderState(member, HERE, _built_in(member.spec))


def encoders_folder(out: Path) -> Path:
    """Where ``virb paper run`` pretrains to."""
    return Path(out) / "encoders"


def _built_in(spec: str) -> str:
    found = importlib.util.find_spec("virb.encoders")
    for place in (found.submodule_search_locations or []) if found else []:
        path = Path(place) / f"{spec}.pt"
        if path.is_file():
            return str(path)
    return spec


def _absent_source(source: str, context: DataContext) -> str:
    """Which of the sets that a recipe names is not there, in words; empty where all are."""
    for part in source.split("+") if source else ():
        name = part if part.startswith("torchvision:") else part.partition(":")[0]
        if name in sources.named():
            continue
        if name.startswith("torchvision:"):
            name = ":".join(name.split(":")[:2])
            if context.root is None:
                return f"{name}, in the folder that --data names, as torchvision lays it out"
            continue  # looked at when it is read
        place = (context.root / name) if context.root is not None else Path(name)
        if not place.exists():
            return f"the folder {name}" + ("" if context.root else ", below the folder that --data names")
    return ""


def _task_state(name: str, context: DataContext, loaded: dict[str, Task], *, is_of_parts: bool) -> Status:
    """The state of a task's data; what is made when it is used is not made to say so.

    With ``is_of_parts`` a part of the published set will do if all splits can be listed; the reason then says how much it is.
    """
    try:
        task = registry.load("tasks", name)
    except RegistryError as error:
        return Status(name, ABSENT, {}, {}, f"missing: {error}")
    loaded[name] = task
    if task.is_made_here:
        return Status(name, FOUND)
    status = data_status(task, context)
    if status.state == INCOMPLETE and is_of_parts and set(task.splits) <= set(status.counts):
        return replace(status, state=FOUND)
    if status.state != FOUND and task.obtain:
        return Status(name, status.state, status.counts, status.expected, f"{status.reason} To get it: {task.obtain}")
    return status


def _done(out: Path) -> set[tuple[str, str]]:
    """(encoder, task) of every record; which of them still hold is decided by content when they are run."""
    from virb.records.store import ResultStore

    folder = records_folder(out)
    if not folder.is_dir():
        return set()
    try:
        frame = ResultStore(folder).table()
    except VirbError:
        return set()  # no results folder (yet)
    return set() if frame.empty else set(zip(frame["encoder"].astype(str), frame["task"].astype(str), strict=True))


def _record_name(source: str) -> str:
    return Path(source).stem if source.endswith(".pt") else source.removeprefix(zoo.PREFIX)


def _part(
    part: Part, scale_name: str, scale: Scale, encoders: dict[str, EncoderState], tasks: dict[str, Status], loaded: dict[str, Task],
    runs: dict[str, dict[str, Any]], done: set[tuple[str, str]], seeds: int,
) -> PartState:  # fmt: skip
    state = PartState(part)
    if part.why_not:
        state.reason = part.why_not
        return state
    if scale_name not in part.scales:
        state.reason = f"not in the scale {scale_name}"
        return state
    state.encoders = [encoders[m.name] for m in scale.members(part.encoders) if encoders[m.name].can_be_had]
    state.tasks = [name for name in tasks_of(part, scale) if tasks[name].state == FOUND]
    state.cost = _total([part], scale, encoders, loaded, runs, seeds)
    if part.needs and not part.tasks:
        state.reason = f"it needs {part.needs}"
    elif not state.encoders:
        lost = [encoders[m.name] for m in scale.members(part.encoders)]
        state.reason = f"none of its {len(lost)} encoders can be had: {lost[0].how}" if lost else "it names no encoder"
    elif not state.tasks:
        wanted = list(tasks_of(part, scale))
        state.reason = f"the data of none of its {len(wanted)} tasks are there: {tasks[wanted[0]].reason}"
    if not state.reason:
        pairs = {(one.source, task) for one in state.encoders for task in state.tasks}
        state.jobs_left = sum((_record_name(source), task) not in done for source, task in pairs) * seeds
    return state


def _total(
    parts: Sequence[Part], scale: Scale, encoders: dict[str, EncoderState], loaded: dict[str, Task], runs: dict[str, dict[str, Any]], seeds: int
) -> Cost:  # fmt: skip
    """What the parts cost whole, data and encoders there or not; encoders with the same tasks share, and nothing is counted twice."""
    wanted: dict[str, set[str]] = {}
    own: dict[str, EncoderState] = {}
    for part in parts:
        names = {name for name in tasks_of(part, scale) if name in loaded}
        for member in scale.members(part.encoders):
            one = encoders[member.name]
            if one.source:
                own[one.source] = one
                wanted.setdefault(one.source, set()).update(names)
    groups: dict[frozenset[str], int] = {}
    for tasks in wanted.values():
        if tasks:
            groups[frozenset(tasks)] = groups.get(frozenset(tasks), 0) + 1
    total = Cost(card=scale.card)
    for shared, n in groups.items():
        total = total.plus(
            evaluation_cost(
                n,
                [loaded[name] for name in sorted(shared)],
                card_name=scale.card,
                embedding=scale.embedding,
                input_px=scale.input_px,
                seeds=seeds,
            )
        )
    for one in own.values():
        if one.member.recipe_line and one.state != HERE:
            run = runs[one.member.recipe_line]
            size = one.member.about.get("dataset_size") or _size_of(str(one.member.about.get("dataset")))
            n = images_seen(run, int(size) if size else None) or 0
            total = total.plus(Cost(pretrain_images=n, pretrain_hours=pretraining_hours(run, n, scale.card)))
    return total


def _size_of(data: str) -> int | None:
    """Return how many images a set to pretrain on has, as it declares, or as it was published."""
    try:
        return getattr(registry.load("datasets", data), "n_images", None)
    except RegistryError:
        return SIZES.get(data)


#: Training images of published sets that recipes train on for epochs.
SIZES = {
    "ImageNet": 1_281_167,
    "iNat21": 2_686_843,
    "Places365": 1_803_460,
    "GLC20": 1_000_000,
}
