"""The page of one encoder: what it is, and what it is good for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from virb.report.html import Cell, Markup, Section, bullets, facts, page, table, tag
from virb.report.provenance import overrides, plain, versions_text
from virb.report.ranking import TOP, Ranking, span
from virb.report.scores_table import by_category, interval_cell, intervals_note, legend, score_cell
from virb.report.study import Study, as_text, score_text
from virb.scores.roles import FLOOR, roles
from virb.scores.schema import encoder_columns
from virb.stats.comparisons import above_chance


def encoder_page(study: Study, ranking: Ranking, encoder: str, *, home: str, task_links: Mapping[str, str]) -> str:
    """The whole page of ``encoder``."""
    return page(
        f"Encoder {encoder}",
        tag("h1", encoder),
        bullets(standing(study, ranking, encoder), class_="plain"),
        tag("h2", "Scores"),
        _scores(study, encoder, task_links),
        tag("p", legend(study), class_="soft"),
        intervals_note(study, encoder=encoder),
        tag("h2", "What it is"),
        facts(description(study, encoder)),
        home=home,
    )


def standing(study: Study, ranking: Ranking, encoder: str) -> list[str]:
    """Sentences: its rank and how sure, where it is strong and weak, against chance and against untrained encoders."""
    out = []
    n = len(study.encoders)
    row = ranking.row(encoder)
    if row:
        said = f"Rank {row['rank']:g} of {n} by mean rank ({row['mean_rank']:.2f} over {ranking.n_tasks} end task{'s' * (ranking.n_tasks > 1)})"
        if "low" in row:
            said += f"; {span(row['low'], row['high'])} over resampled end tasks (95% interval), first in {row['p_first']:.0%} of draws"
            said += f", among the best {TOP} in {row['p_top']:.0%}" if n > TOP else ""
        out.append(said + ".")
    scores = study.scores(encoder)
    if n > 1:
        best = study.best_on(encoder)
        out.append(f"Best on {len(best)} of {len(scores)} end tasks" + (f": {', '.join(best)}." if best else "."))
    if encoder in ranking.by_category.index:
        parts = [f"{category} {value:.2f}" for category, value in ranking.by_category.loc[encoder].items()]
        out.append(f"Mean rank by category of end tasks: {'; '.join(parts)}.")
    return [*out, *_against_chance(study, scores), *_against_baselines(study, encoder, scores)]


def _against_chance(study: Study, scores: Mapping[str, float]) -> list[str]:
    known = [task for task in scores if task in study.chance]
    # The exact test is for an accuracy of independent examples; elsewhere only the scores can be compared.
    tested = {task: n for task in known if (n := _number(study.said("n_test", task=task))) is not None}
    tested = {task: n for task, n in tested.items() if 0 <= scores[task] <= 1 and 0 <= study.chance[task] < 1}
    if not known:
        return []
    if len(tested) < len(known):
        above = sum(scores[task] > study.chance[task] for task in known)
        return [f"Above chance on {above} of {len(known)} end tasks where chance is known (not tested)."]
    found = above_chance([scores[t] for t in known], [study.chance[t] for t in known], [tested[t] for t in known])
    below = [task for task, p in zip(known, found["p"], strict=True) if not p < 0.05]
    return [
        f"Above chance on {len(known) - len(below)} of {len(known)} end tasks where chance is known (exact binomial test, p "
        "< .05 each)" + (f"; not on {', '.join(below)}." if below else ".")
    ]


def _number(said: list[str]) -> float | None:
    text = said[0].replace(",", "") if len(said) == 1 else ""
    return float(text) if text.isdigit() else None


def _against_baselines(study: Study, encoder: str, scores: Mapping[str, float]) -> list[str]:
    of = roles(study.frame)
    baselines = [name for name in study.encoders if of[name] in FLOOR and name != encoder]
    if not baselines:
        return []
    floor = study.means.loc[baselines].max().dropna()
    above = [scores[task] > floor[task] for task in scores if task in floor]
    which = baselines[0] if len(baselines) == 1 else f"all {len(baselines)} baselines ({', '.join(baselines)})"
    return [f"Above {which} on {sum(above)} of {len(above)} end tasks."]


def _scores(study: Study, encoder: str, task_links: Mapping[str, str]) -> Markup:
    sections = []
    for category, tasks in by_category(study).items():
        rows = []
        for task in tasks:
            n = int(study.means[task].notna().sum())
            rank: Any = study.ranks.loc[encoder, task]
            chance = study.chance.get(task)
            rows.append(
                (
                    tag("a", task, href=task_links[task]),
                    ", ".join(study.said("metric", task=task)),
                    score_cell(study, encoder, task),
                    interval_cell(study, encoder, task),
                    "–" if chance is None else Cell(score_text(chance), chance),
                    "–" if np.isnan(rank) else Cell(f"{rank:g} of {n}", rank),
                )
            )
        sections.append(Section(rows, category))
    columns = ("end task", "metric", "score", "95% interval", "chance", "rank")
    return table(f"Scores of {encoder} on every end task", columns, sections)


def description(study: Study, encoder: str) -> list[tuple[str, object]]:
    """What the records say of an encoder, else what the table of scores says."""
    records = study.records_of(encoder=encoder)
    settings = ("settings that depart from the protocol", "; ".join(overrides(study, encoder=encoder)))
    if not records:
        row = study.frame[study.frame["encoder"] == encoder].iloc[0]
        said = [(column.replace("_", " "), as_text(row[column])) for column in encoder_columns(study.frame)]
        return (
            [*said, settings]
            if any(text for _, text in said)
            else [("", "The scores say nothing about this encoder."), settings]
        )
    about = records[0]["encoder"]
    meta = about.get("meta") or {}
    hashed = {name: tag("code", plain(about[name])) for name in ("sha256", "weights_sha256") if about.get(name)}
    return [
        ("architecture", plain(about.get("arch"))),
        *(
            (str(name).replace("_", " "), as_text(v) if isinstance(v, (int, float)) else plain(v))
            for name, v in meta.items()
        ),
        *_loaded(about.get("loaded")),
        ("sha256", hashed.get("sha256")),
        ("sha256 of the weights", hashed.get("weights_sha256")),
        settings,
        ("device", ", ".join(sorted({str(record["device"]) for record in records if record.get("device")}))),
        ("versions", versions_text(records)),
        ("commits of virb", ", ".join(sorted({str(record["commit"]) for record in records if record.get("commit")}))),
        ("records", len(records)),
    ]


def _loaded(said: object) -> list[tuple[str, object]]:
    """How a checkpoint from elsewhere was read: where the weights were, what was left aside, what was assumed."""
    if not isinstance(said, Mapping):
        return [("weights", plain(said))]
    dropped = said.get("dropped")
    parts = [f"{part} ({n} tensors)" for part, n in dropped.items()] if isinstance(dropped, Mapping) else []
    return [
        ("weights from", plain(said.get("place")) or "the top of the file"),
        ("read in the layout of", plain(said.get("layout"))),
        ("left aside", bullets(parts) or None),
        ("assumed", bullets(_texts(said.get("assumed"))) or None),
        ("weights would have matched too at", bullets(_texts(said.get("alternatives"))) or None),
    ]


def _texts(said: object) -> list[str]:
    return [plain(item) for item in said] if isinstance(said, list) else []
