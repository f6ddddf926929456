"""Run what of a paper can run: pretrain, evaluate, draw; everything that is there is kept, what is missing is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from virb import registry
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.contracts.paper import Paper, Part
from virb.errors import ScoresError, UsageError, VirbError
from virb.evaluation.batteries.papers import recipe_path
from virb.evaluation.run import run as evaluate
from virb.evaluation.status import FOUND
from virb.figures.analysing import AnalysisRun, run_by_name
from virb.papers import page
from virb.papers.claims import Answered
from virb.papers.compare import compare
from virb.papers.evidence import rows_of
from virb.papers.identity import Identified, identify, known_path, read_known
from virb.papers.status import TO_MAKE, EncoderState, PartState, encoders_folder, look
from virb.pretraining.recipes import read_recipe, run_recipe, run_recipe_in_parallel
from virb.scores.read import read_scores
from virb.system.files import atomic_write
from virb.system.progress import Progress

Tell = Callable[[str], None]
RECORDS = "records"  # below the folder of a run, beside its encoders and the paper's own folder


@dataclass
class PaperRun:
    """What a run did: the parts that were drawn, parts and end tasks that were not run and why, and what failed on the way."""

    drawn: dict[str, AnalysisRun] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    page: Path | None = None
    answers: list[Answered] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.failures and all(one.status != "failed" for one in self.drawn.values())


def run_paper(
    paper: Paper, scale_name: str, context: DataContext, options: RunOptions, *, parts: Sequence[str] = (), only: Sequence[str] = (),
    budget: int | None = None, jobs: int = 1, tell: Tell = print, progress: Progress | None = None,
) -> PaperRun:  # fmt: skip
    """Run the parts that can run, into ``options.out``; a second call does only what is missing.

    The folder then has ``encoders`` (those that were pretrained), ``records`` (a results folder as ``virb evaluate`` writes it) and
    one named like the paper: figures by part, which encoder is which, and the page.

    Args:
        only: names of encoders (as the paper or the recipe calls them); the others are left out.
        budget: images that each pretrained encoder sees in place of the recipe's: a cut, said in the file and in its records.
        jobs: encoders pretrained at a time.

    Raises:
        UsageError: nothing of it can run.
    """
    out = Path(options.out) if budget is None else Path(options.out) / f"cut-{budget}"  # never beside the recipe's own
    context = paper.scale(scale_name).placed(context)
    state = look(paper, scale_name, context, out, tuple(parts), seeds=options.seeds)
    done = PaperRun()
    can = [part for part in state.parts if not part.reason]
    for part in state.parts:
        if part.reason:
            done.left_out[part.part.name] = part.reason
    for task in state.tasks.values():
        if task.state != FOUND:
            done.left_out[task.task] = f"its data are {task.state}: {task.reason_line}"
    if only:
        _keep(can, only, paper)
    can = [part for part in can if part.encoders]
    if not can:
        raise UsageError(
            f"Nothing of {paper.name} can run: " + "; ".join(f"{name}: {why}" for name, why in list(done.left_out.items())[:3])
            + f". See: virb paper status {paper.name}."
        )  # fmt: skip
    _pretrain(paper, scale_name, can, out, context.root, budget, jobs, done, tell)
    _evaluate(can, context, replace(options, out=str(out / RECORDS)), done, tell, progress)
    cut = (
        ""
        if budget is None
        else f"Every pretrained encoder saw {budget:,} images, not what the recipe says: a trial, no result."
    )
    _draw(paper, scale_name, can, out, done, tell, cut)
    return done


def _keep(can: list[PartState], only: Sequence[str], paper: Paper) -> None:
    wanted = set(only)
    known = {
        name
        for part in can
        for one in part.encoders
        for name in (one.member.name, one.member.recipe_line, one.member.spec)
    }
    for name in wanted - known:
        raise UsageError(f"{paper.name} has no encoder {name!r} here. {registry.suggest(name, known - {''})}")
    for part in can:
        part.encoders = [
            one for one in part.encoders if wanted & {one.member.name, one.member.recipe_line, one.member.spec}
        ]


def _pretrain(
    paper: Paper,
    scale_name: str,
    can: Sequence[PartState],
    out: Path,
    data_root: Path | None,
    budget: int | None,
    jobs: int,
    done: PaperRun,
    tell: Tell,
) -> None:
    lines = list(dict.fromkeys(one.member.recipe_line for part in can for one in part.encoders if one.state == TO_MAKE))
    if not lines:
        return
    recipe = recipe_path(paper, paper.scale(scale_name).recipe)
    if budget is not None:
        recipe = _cut(recipe, out / paper.name / f"{scale_name}-cut.yaml", budget)
        tell(f"cut: {len(lines)} encoders see {budget:,} images each, not what {paper.scale(scale_name).recipe} says")
    tell(f"{len(lines)} encoders to pretrain, by {recipe.name}")
    folder = encoders_folder(out)
    if jobs > 1:
        _, statuses = run_recipe_in_parallel(
            recipe, folder, jobs=jobs, only=tuple(lines), quiet=True, data_root=data_root
        )
        done.failures += [f"{name} was not made (status {status})" for name, status in statuses.items() if status]
    else:
        _, failed = run_recipe(recipe, folder, only=tuple(lines), quiet=True, data_root=data_root)
        done.failures += [f"{name} was not made: {why}" for name, why in failed.items()]


def _cut(recipe: Path, path: Path, budget: int) -> Path:
    """Write the recipe with another number of images for everyone, and without warm-ups that would be longer than that."""
    cut = {
        name: {
            **{key: value for key, value in run.items() if key not in ("epochs", "warmup_epochs")},
            "budget": budget,
            "warmup_epochs": 0,
        }
        for name, run in read_recipe(recipe).items()
    }
    with atomic_write(path) as file:
        file.write(yaml.safe_dump({"encoders": cut}, sort_keys=False).encode())
    return path


def _evaluate(
    can: Sequence[PartState],
    context: DataContext,
    options: RunOptions,
    done: PaperRun,
    tell: Tell,
    progress: Progress | None,
) -> None:
    """Evaluate every pair that a part wants, once: encoders with the same tasks go together and share their passes."""
    wanted: dict[str, set[str]] = {}
    for part in can:
        for one in part.encoders:
            if _is_there(one):
                wanted.setdefault(one.source, set()).update(part.tasks)
    groups: dict[frozenset[str], list[str]] = {}
    for source, tasks in wanted.items():
        groups.setdefault(frozenset(tasks), []).append(source)
    for shared, sources in groups.items():
        try:
            outcome = evaluate(sources, sorted(shared), context=context, options=options, progress=progress)
        except VirbError as error:
            done.failures.append(f"{len(sources)} encoders on {len(shared)} tasks: {error}")
            continue
        tell(
            f"{len(sources)} encoders on {len(shared)} tasks: {outcome.n_run} jobs run, {outcome.n_present} there already"
        )
        done.failures += [f"{failure.what}: {failure.reason}" for failure in outcome.failures]


def _is_there(one: EncoderState) -> bool:
    return one.state != TO_MAKE or os.path.isfile(one.source)


def _draw(
    paper: Paper, scale_name: str, can: Sequence[PartState], out: Path, done: PaperRun, tell: Tell, cut: str
) -> None:
    try:
        frame = read_scores(out / RECORDS)
    except ScoresError as error:
        done.failures.append(f"nothing to draw: {error}")
        return
    _write_known(paper, can, out, frame)
    found = identify(frame, paper, paper.scale(scale_name), read_known(out, paper))
    for part in can:
        made = draw_part(paper, scale_name, part.part, frame, found, out)
        done.drawn[part.part.name] = made
        tell(f"{part.part.name} ({part.part.where}): {made.headline}")
    made_page = compare(paper, scale_name, frame, found)
    made_page.notes[:0] = [cut] if cut else []
    for name, why in done.left_out.items():
        made_page.notes.append(f"{name} was not run: {why}")
    done.answers = made_page.ours
    done.page = page.write(made_page, out / paper.name)[0]


def draw_part(
    paper: Paper, scale_name: str, part: Part, frame: pd.DataFrame, found: Identified, out: Path
) -> AnalysisRun:
    """Run a part's analysis on its rows, under the paper's names (its own where predictions are looked up by them)."""
    scores = rows_of(part, paper.scale(scale_name), frame, found)
    analysis = registry.load("analyses", part.analysis)
    if analysis.needs_predictions:
        scores = scores.assign(encoder=scores["ours"], task=scores["our_task"]).drop_duplicates(
            ["encoder", "task", "probe", "seed"]
        )
    scores = scores.drop(columns=["ours", "our_task"])
    scores.attrs.update(frame.attrs)
    folder = out / paper.name / "figures" / part.name
    return run_by_name(part.analysis, scores, folder, part.options_at(scale_name))


def _write_known(paper: Paper, can: Sequence[PartState], out: Path, frame: pd.DataFrame) -> None:
    """Write which encoder, by its digest, is which of the paper's: those that were named to this run."""
    rows: dict[str, list[str]] = {}
    digests = dict(zip(frame["encoder"].astype(str), frame["encoder_digest"].astype(str), strict=True))
    for part in can:
        for one in part.encoders:
            name = Path(one.source).stem if one.source.endswith(".pt") else one.source.partition(":")[2] or one.source
            if name in digests and one.member.name not in rows.setdefault(digests[name], []):
                rows[digests[name]].append(one.member.name)
    before = read_known(out, paper)
    if before is not None:
        for digest, member in zip(before["encoder_digest"], before["member"], strict=True):
            if digest in rows:
                rows[digest] = list(dict.fromkeys([*member.split("|"), *rows[digest]]))
            elif digest in set(digests.values()):
                rows[digest] = member.split("|")
    table = pd.DataFrame([{"encoder_digest": key, "member": "|".join(value)} for key, value in rows.items()])
    with atomic_write(known_path(out, paper)) as file:
        table.to_csv(file, index=False)


def describe(done: PaperRun) -> dict[str, Any]:
    """The run as plain values, for --json."""
    return {
        "drawn": {
            name: {"status": one.status, "reason": one.reason, "files": [str(path) for path in one.files]}
            for name, one in done.drawn.items()
        },
        "left_out": done.left_out,
        "failures": done.failures,
        "claims": [one.row() for one in done.answers],
        "page": None if done.page is None else str(done.page),
    }
