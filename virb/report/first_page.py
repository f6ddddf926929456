"""The report's first page: what was found in words, the scores, the analyses, and where it all comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from virb import __version__, registry
from virb.records.store import base_probe
from virb.report.drawn import Drawn, drawn_sections
from virb.report.html import Cell, Markup, Section, bullets, facts, joined, page, table, tag
from virb.report.provenance import overrides, versions_text, warnings
from virb.report.ranking import TOP, Ranking, span
from virb.report.scores_table import MANY, by_category, legend, scores_table
from virb.report.study import Study, as_text
from virb.scores.schema import encoder_table

SHOWN_COLUMNS = ("role", "method", "dataset", "dataset_size", "epochs")


@dataclass(frozen=True)
class Made:
    """How a report was made: what it is called, the command, the source of the scores and the date, as it is to be
    printed; ``sha256`` of the tidy scores."""

    title: str
    source: str
    command: str
    date: str
    sha256: str


def first_page(
    study: Study, ranking: Ranking, drawn: Sequence[Drawn], made: Made, links: Mapping[str, Mapping[str, str]]
) -> str:
    """The whole page; ``links`` has the pages of the "encoders" and "tasks"."""
    analyses = drawn_sections(drawn)
    return page(
        made.title,
        tag("h1", made.title),
        tag("p", joined(_dated(made)), class_="soft"),
        tag("p", _extent(study), class_="lead"),
        bullets(warnings(study), class_="warnings", aria_label="Warnings"),
        _contents(drawn),
        tag("h2", "Which encoder, and how sure", id="ranking"),
        tag("p", tag("strong", ranking.sentences[0])),
        *[tag("p", sentence) for sentence in ranking.sentences[1:]],
        _encoders(study, ranking, links["encoders"]),
        _for_what(study, ranking, links["encoders"]),
        tag("h2", "Scores", id="scores"),
        scores_table(study, ranking.order, links),
        tag("p", legend(study), " ", tag("a", "scores.csv", href="scores.csv"), " has one row a score.", class_="soft"),
        analyses,
        tag("h2", "Provenance", id="provenance"),
        _provenance(study, made),
    )


def _dated(made: Made) -> list[object]:
    return [f"{made.date} · " if made.date else "", f"virb {__version__}"]


def _extent(study: Study) -> str:
    """How much there is, in words."""
    categories = [name for name in by_category(study) if name]
    seeds = study.frame.groupby(["encoder", "task"]).size()
    parts = [_count(len(study.encoders), "encoder"), _count(len(study.tasks), "end task")]
    if categories:
        parts[1] += f" in {_count(len(categories), 'category', 'categories')}"
    n_seeds = f"{seeds.min()} to {seeds.max()}" if seeds.min() < seeds.max() else f"{seeds.max()}"
    parts.append(f"{n_seeds} seed{'s' * bool(seeds.max() > 1)} a score")
    for column, name in (("probe", "probe"), ("suite", "suite")):
        said = study.said(column)
        if said:
            parts.append(f"{name if len(said) == 1 else name + 's'} {', '.join(said)}")
    named = {base_probe(name) for name in study.said("probe")}
    known = [f"{entry.name} is {entry.about}" for entry in registry.entries("probes") if entry.name in named]
    return ". ".join(["; ".join(parts), *sorted(known)]) + "."


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _contents(drawn: Sequence[Drawn]) -> Markup:
    items = [
        tag("a", "Which encoder, and how sure", href="#ranking"),
        tag("a", "Scores", href="#scores"),
        *[
            tag("a", one.summary or one.run.name, href=f"#analysis-{one.run.name}")
            for one in drawn
            if one.run.status == "done"
        ],
    ]
    if any(one.run.status != "done" for one in drawn):
        items.append(tag("a", "Not drawn, and why", href="#not-drawn"))
    items.append(tag("a", "Provenance", href="#provenance"))
    return tag("nav", bullets(items, class_="contents"), aria_label="Contents")


def _encoders(study: Study, ranking: Ranking, links: Mapping[str, str]) -> Markup:
    about = encoder_table(study.frame)
    columns = [name for name in SHOWN_COLUMNS if name in about and about[name].notna().any()]
    has_rank, has_interval = not ranking.table.empty, "low" in ranking.table
    heads = ["encoder"]
    heads += ["mean rank"] if has_rank else []
    if has_interval:
        heads += ["95% of rank", "P(first)", *([f"P(best {TOP})"] if len(study.encoders) > TOP else [])]
    heads += ["best on", *[name.replace("_", " ") for name in columns]]
    rows = []
    for encoder in ranking.order:
        row: list[object] = [tag("a", encoder, href=links[encoder])]
        found = ranking.row(encoder)
        if has_rank:
            row.append(Cell(f"{found['mean_rank']:.2f}", found["mean_rank"]))
        if has_interval:
            row.append(Cell(span(found["low"], found["high"]), found["low"]))
            row.append(Cell(f"{found['p_first']:.0%}", found["p_first"]))
            row += [Cell(f"{found['p_top']:.0%}", found["p_top"])] if len(study.encoders) > TOP else []
        n_best = len(study.best_on(encoder))
        row.append(Cell(f"{n_best} of {len(study.scores(encoder))}", n_best))
        row += [_value(about.loc[encoder, name]) for name in columns]
        rows.append(row)
    caption = "Encoders" + (f", by mean rank over {_count(ranking.n_tasks, 'end task')}" if has_rank else "")
    note: object = ""
    if has_interval:
        note = tag("p", tag("a", "ranks.csv", href="ranks.csv"), " has these numbers at full precision.", class_="soft")
    return joined([table(caption, heads, [Section(rows)]), note])


def _value(value: object) -> object:
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return Cell(as_text(value), float(value)) if is_number and as_text(value) else as_text(value) or "–"  # type: ignore[arg-type]


def _for_what(study: Study, ranking: Ranking, links: Mapping[str, str]) -> Markup:
    """Mean rank inside each category: an encoder that is best for labels need not be for depth."""
    ranks = ranking.by_category
    if ranks.empty:
        return Markup("")
    best = ranks.min().to_numpy()
    heads = ["encoder", *[f"{name} ({_count(len(by_category(study)[str(name)]), 'task')})" for name in ranks.columns]]
    rows = []
    for encoder, values in zip(ranks.index, ranks.to_numpy(float), strict=True):
        cells = [
            Cell(f"{'★ ' if value <= low else ''}{value:.2f}", value, "best" if value <= low else "")
            for value, low in zip(values, best, strict=True)
        ]
        rows.append((tag("a", encoder, href=links[str(encoder)]), *cells))
    return joined(
        [
            tag("h3", "For what"),
            table("Mean rank inside each category of end tasks (1 is best; ★ the best of a column)", heads, [Section(rows)],
                  is_vertical=len(heads) > MANY),
        ]
    )  # fmt: skip


def _provenance(study: Study, made: Made) -> Markup:
    records = study.records_of()
    return facts(
        [
            ("command", tag("code", made.command) if made.command else None),
            ("date", made.date),
            ("virb", __version__),
            ("scores from", made.source),
            ("scores", f"{_count(len(study.frame), 'row')}, of which {_count(len(records), 'record')} with details"),
            ("sha256 of scores.csv", tag("code", made.sha256)),
            ("settings that depart from the protocol", "; ".join(overrides(study)) or "none"),
            ("records made with", versions_text(records) or "not known: a table of scores does not say"),
            ("devices", ", ".join(sorted({str(r["device"]) for r in records if r.get("device")})) or "not known"),
        ]
    )
