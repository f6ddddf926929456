"""The report's first page: the leaderboard, how sure its order is, the end tasks, the analyses, and where it all comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from virb import __version__, registry
from virb.figures.analysing import AnalysisRun
from virb.records.names import base_probe
from virb.report.drawn import not_drawn, shown
from virb.report.leaderboard import by_category, leaderboard, legend
from virb.report.pages import render
from virb.report.provenance import overrides, versions_text, warnings
from virb.report.settings import Setting
from virb.report.side_by_side import side_by_side
from virb.report.study import Study, score_text
from virb.report.view import Bar, Cell, Fact, Section, Table, facts, heads
from virb.scores.layout import seeds_in_words


@dataclass(frozen=True)
class Made:
    """How a report was made: what it is called, the command, the source of the scores and the date, as it is to be
    printed; ``sha256`` of the tidy scores."""

    title: str
    source: str
    command: str
    date: str
    sha256: str


Links = Mapping[str, Mapping[str, str]]


def first_page(
    settings: Sequence[Setting], drawn: Sequence[AnalysisRun], made: Made, links: Links, *, changes: str = ""
) -> bytes:
    """The whole page; ``links`` has the pages of the "encoders" and "tasks", ``changes`` that of what changed."""
    first = settings[0]
    boards = [leaderboard(setting, f"p{k}", links) for k, setting in enumerate(settings)]
    return render(
        "index.html",
        title=made.title,
        date=made.date,
        extent=_extent(settings),
        sentences=first.ranking.sentences,
        probes=_probes(settings),
        warnings=_warnings(settings),
        boards=boards,
        beside=side_by_side(settings, links["encoders"]) if len(settings) > 1 else None,
        choices=_choices(settings),
        legend=legend(first.study),
        has_ranks="low" in first.ranking.table,
        tasks=_tasks(first.study, links),
        drawn=bool(drawn),
        done=shown(drawn),
        not_drawn=not_drawn(drawn),
        any_failed=any(one.status == "failed" for one in drawn),
        changes=changes,
        provenance=_provenance(settings, made),
    )  # fmt: skip


def _extent(settings: Sequence[Setting]) -> str:
    """How much there is, in words."""
    study = settings[0].study
    categories = [name for name in by_category(study) if name]
    parts = [_count(len(study.encoders), "encoder"), _count(len(study.tasks), "end task")]
    if categories:
        parts[1] += f" in {_count(len(categories), 'category', 'categories')}"
    parts.append(f"{seeds_in_words(*study.seeds)} a score")
    probes = list(dict.fromkeys(name for setting in settings for name in setting.study.said("probe")))
    for said, name in ((probes, "probe"), (study.said("suite"), "suite")):
        if said:
            parts.append(f"{name if len(said) == 1 else name + 's'} {', '.join(said)}")
    return "; ".join(parts) + "."


def _probes(settings: Sequence[Setting]) -> list[str]:
    """What the probes are, as they declare it."""
    named = {base_probe(name) for setting in settings for name in setting.study.said("probe")}
    return sorted(f"{entry.name}: {entry.about}" for entry in registry.entries("probes") if entry.name in named)


def _warnings(settings: Sequence[Setting]) -> list[str]:
    return list(dict.fromkeys(said for setting in settings for said in warnings(setting.study)))


def _choices(settings: Sequence[Setting]) -> dict[str, list[Any]]:
    """What the filters offer; families only where an encoder shares its own with another."""
    study = settings[0].study
    categories = [(f"c{k}", name or "none given") for k, name in enumerate(by_category(study))]
    of_family = study.families
    shared = sorted(set(of_family.values())) if len(set(of_family.values())) < len(of_family) else []
    return {"categories": categories, "roles": list(dict.fromkeys(study.roles.values())), "families": shared}


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _tasks(study: Study, links: Links) -> Table:
    """Every end task with who is best on it, and where the encoders lie between its lowest and highest score."""
    sections = []
    for category, tasks in by_category(study).items():
        rows = []
        for task in tasks:
            values = study.means[task].dropna()
            best = str(values.idxmax())
            chance = study.chance.get(task)
            scale = (min([values.min(), *([chance] if chance is not None else [])]), values.max())
            quarters = np.quantile(values, [0.25, 0.75])
            bar = Bar.on(float(quarters[0]), float(quarters[1]), float(values.max()), scale=scale, ticks=values)
            rows.append(
                [
                    Cell(task, href=links["tasks"][task]),
                    Cell(", ".join(study.said("metric", task=task)) or "–"),
                    Cell("–") if chance is None else Cell(score_text(chance), chance),
                    Cell(", ".join(study.said("n_test", task=task)) or "–"),
                    Cell(best, href=links["encoders"][best]),
                    Cell(
                        score_text(values.max()),
                        float(values.max()),
                        spread=study.spread_text(best, task),
                        is_best=True,
                    ),
                    Cell(score_text(float(values.median())), float(values.median()), bar=bar),
                ]
            )
        sections.append(Section(rows, category))
    columns = heads(
        "end task", "metric", "chance", "test examples", "best encoder", "best score", "median of the encoders"
    )
    return Table("End tasks, and how far the encoders lie apart on them", columns, sections)


def _provenance(settings: Sequence[Setting], made: Made) -> list[Fact]:
    records = [record for setting in settings for record in setting.study.records_of()]
    n_rows = sum(len(setting.study.frame) for setting in settings)
    departs = list(dict.fromkeys(said for setting in settings for said in overrides(setting.study)))
    return [
        *([Fact("command", made.command, is_code=True)] if made.command else []),
        *facts(
            [
                ("date", made.date),
                ("virb", __version__),
                ("scores from", made.source),
                ("scores", f"{_count(n_rows, 'row')}, of which {_count(len(records), 'record')} with details"),
            ]
        ),
        Fact("sha256 of scores.csv", made.sha256, is_code=True),
        *facts(
            [
                ("settings that depart from the protocol", "; ".join(departs) or "none"),
                ("records made with", versions_text(records) or "not known: a table of scores does not say"),
                ("devices", ", ".join(sorted({str(r["device"]) for r in records if r.get("device")})) or "not known"),
            ]
        ),
    ]
