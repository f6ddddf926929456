"""Make the whole report: the study, its ranking, the analyses, and every page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from virb.contracts.examples import DataContext
from virb.figures.analysing import AnalysisRun
from virb.figures.running import running
from virb.report.changes import changes_page, compared, first_of
from virb.report.drawn import FOLDER, collect
from virb.report.encoder_page import encoder_page
from virb.report.examples import examples_of
from virb.report.first_page import Made, first_page
from virb.report.folder import replacing
from virb.report.pages import ASSETS, asset
from virb.report.settings import parts_of, settings_of
from virb.report.task_page import tables_of, task_page
from virb.report.view import slugs
from virb.system.files import atomic_write


@dataclass(frozen=True)
class Report:
    """A report that was written: its first page, and what came of the analyses."""

    index: Path
    drawn: list[AnalysisRun]


def write_report(
    scores: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    analyses: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    title: str = "Image encoders on end tasks",
    source: str = "",
    command: str = "",
    date: str = "",
    against: pd.DataFrame | None = None,
    against_source: str = "other scores",
    data: DataContext | None = None,
    n_examples: int = 0,
    look_at: Sequence[str] = (),
    n_processes: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Write the report of ``scores`` into the folder ``out``, in the place of an earlier report.

    The same arguments give the same bytes: nothing is read from the clock or the environment.

    Args:
        scores: tidy, as :func:`virb.scores.read.read_scores` gives them; with ``attrs["results"]`` the records
            and predictions there are read too.
        analyses: names of the analyses to draw.
        options: of those analyses that have them.
        source, command, date: printed as they are.
        against: scores of earlier, for a page of what changed; ``against_source`` says where they are from.
        data: where the data sets lie, for ``n_examples`` pictures an end task; of tasks with records alone.
        look_at: encoders whose predictions and confusions are shown (default: the best of each end task).
        n_processes: how many processes run the analyses (:func:`virb.figures.running.running`); one is this one.
        tell: called with a line for every analysis.

    Raises:
        ScoresError: the scores cannot be laid out.
        UsageError: ``out`` cannot be written to, or holds files that are not of a report.
    """
    parts = parts_of(scores)
    out = Path(out)
    tidy = scores.to_csv(index=False).encode("utf-8", "replace")
    made = Made(title, source, command, date, hashlib.sha256(tidy).hexdigest())
    with (
        replacing(out) as folder,
        running(analyses, parts[0][1], folder / FOLDER, options, n_processes=n_processes) as runs,
    ):
        settings = settings_of(parts, chosen=look_at)
        first = settings[0]
        encoders = list(dict.fromkeys(encoder for setting in settings for encoder in setting.study.encoders))
        tasks = list(dict.fromkeys(task for setting in settings for task in setting.study.tasks))
        stems = {"encoders": slugs(encoders), "tasks": slugs(tasks)}
        below = {kind: {name: f"{kind}/{stem}.html" for name, stem in found.items()} for kind, found in stems.items()}
        beside = {kind: {name: f"../{link}" for name, link in links.items()} for kind, links in below.items()}
        _write(folder / "scores.csv", tidy)
        for name in ASSETS:
            _write(folder / name, asset(name))
        if "low" in first.ranking.table:
            ranks = first.ranking.table.rename_axis("encoder").reset_index()
            _write(folder / "ranks.csv", ranks.to_csv(index=False).encode("utf-8", "replace"))
        for encoder in encoders:
            _write(folder / below["encoders"][encoder], encoder_page(settings, encoder, task_links=beside["tasks"]))
        for task in tasks:
            study = next(setting.study for setting in settings if task in setting.study.tasks)
            tables = tables_of(study, task)
            files = {name: f"{stems['tasks'][task]}-{name}.csv" for name in tables}
            for name, table in tables.items():
                csv = table.to_csv(index=table.index.name is not None)
                _write(folder / "tasks" / files[name], csv.encode("utf-8", "replace"))
            pictures = folder / "tasks" / "examples"
            shown = examples_of(first.study, task, pictures, stems["tasks"][task], data or DataContext(), n_examples)
            text = task_page(
                settings, task, encoder_links=beside["encoders"], tables=tables, files=files, examples=shown
            )
            _write(folder / below["tasks"][task], text)
        changes = ""
        if against is not None:
            changes = "changes.html"
            before = settings_of(parts_of(against))
            table = compared(against, scores)
            _write(folder / "changes.csv", table.to_csv(index=False).encode("utf-8", "replace"))
            was = str(against.attrs.get("results") or against_source)
            page = changes_page(table, first_of(before, first.label), first, below, source=was)
            _write(folder / changes, page)
        drawn = collect(runs, tell)
        _write(folder / "index.html", first_page(settings, drawn, made, below, changes=changes))
    return Report(out / "index.html", drawn)


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path, is_durable=False) as file:  # the same command makes it again
        file.write(content)
