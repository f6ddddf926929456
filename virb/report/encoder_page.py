"""The page of one encoder: what it is, and what it is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from virb.report.field import against_the_field, field_sentences
from virb.report.leaderboard import by_category, intervals_note, legend, score_cell
from virb.report.pages import render
from virb.report.provenance import overrides, pairs, plain, versions_text
from virb.report.ranking import TOP, Ranking, span
from virb.report.settings import Setting
from virb.report.study import Study, as_text, score_text
from virb.report.view import Cell, Fact, Section, Table, facts, heads
from virb.scores.roles import FLOOR
from virb.scores.schema import encoder_columns


def encoder_page(settings: Sequence[Setting], encoder: str, *, task_links: Mapping[str, str]) -> bytes:
    """The whole page of ``encoder``, with a part for every setting that has scores of it."""
    with_it = [setting for setting in settings if encoder in setting.study.means.index]
    first = with_it[0].study
    return render(
        "encoder.html",
        root="../",
        title=encoder,
        role=first.roles[encoder],
        family=first.families[encoder],
        settings=[
            {
                "label": setting.label,
                "standing": [
                    *standing(setting.study, setting.ranking, encoder),
                    *field_sentences(setting.study, encoder),
                ],
                "field": against_the_field(setting.study, encoder, task_links),
                "n_others": len(setting.study.encoders) - 1,
                "scores": _scores(setting.study, encoder, task_links),
                "legend": legend(setting.study),
                "notes": intervals_note(setting.study, encoder=encoder),
            }
            for setting in with_it
        ],
        about=description(first, encoder),
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
    return [*out, *_against_chance(study, encoder, scores), *_against_baselines(study, encoder, scores)]


def _against_chance(study: Study, encoder: str, scores: Mapping[str, float]) -> list[str]:
    known = [task for task in scores if task in study.chance]
    if not known:
        return []
    # The exact test is for an accuracy of independent examples; elsewhere only the scores can be compared.
    p = [study.p_above_chance.get((encoder, task)) for task in known]
    if None in p:
        above = sum(scores[task] > study.chance[task] for task in known)
        return [f"Above chance on {above} of {len(known)} end tasks where chance is known (not tested)."]
    below = [task for task, one in zip(known, p, strict=True) if one is None or not one < 0.05]
    return [
        f"Above chance on {len(known) - len(below)} of {len(known)} end tasks where chance is known (exact binomial test, p "
        "< .05 each)" + (f"; not on {', '.join(below)}." if below else ".")
    ]


def _against_baselines(study: Study, encoder: str, scores: Mapping[str, float]) -> list[str]:
    baselines = [name for name in study.encoders if study.roles[name] in FLOOR and name != encoder]
    if not baselines:
        return []
    floor = study.means.loc[baselines].max().dropna()
    above = [scores[task] > floor[task] for task in scores if task in floor]
    which = baselines[0] if len(baselines) == 1 else f"all {len(baselines)} baselines ({', '.join(baselines)})"
    return [f"Above {which} on {sum(above)} of {len(above)} end tasks."]


def _scores(study: Study, encoder: str, task_links: Mapping[str, str]) -> Table:
    sections = []
    for category, tasks in by_category(study).items():
        rows = []
        for task in tasks:
            n, rank = len(study.values(task)), study.rank(encoder, task)
            chance = study.chance.get(task)
            rows.append(
                [
                    Cell(task, href=task_links[task]),
                    Cell(", ".join(study.said("metric", task=task)) or "–"),
                    score_cell(study, encoder, task),
                    interval_cell(study, encoder, task),
                    Cell("–") if chance is None else Cell(score_text(chance), chance),
                    Cell("–") if np.isnan(rank) else Cell(f"{rank:g} of {n}", rank),
                ]
            )
        sections.append(Section(rows, category))
    columns = heads("end task", "metric", "score", "95% interval", "chance", "rank")
    return Table(f"Scores of {encoder} on every end task", columns, sections)


def interval_cell(study: Study, encoder: str, task: str) -> Cell:
    """Noise of the test sample, where it is known."""
    found = study.intervals.get((encoder, task))
    return Cell("–") if found is None else Cell(f"{score_text(found.low)} to {score_text(found.high)}", found.low)


def description(study: Study, encoder: str) -> list[Fact]:
    """What the records say of an encoder, else what the table of scores says."""
    records = study.records_of(encoder=encoder)
    settings = ("settings that depart from the protocol", "; ".join(overrides(study, encoder=encoder)))
    if not records:
        row = study.frame[study.frame["encoder"] == encoder].iloc[0]
        said = facts((column.replace("_", " "), as_text(row[column])) for column in encoder_columns(study.frame))
        return [*(said or [Fact("", "The scores say nothing about this encoder.")]), *facts([settings])]
    about = records[0]["encoder"]
    meta = {**(about.get("meta") or {}), **(about.get("declared") or {})}
    own = (records[0].get("fingerprint") or {}).get("encoder") or {}
    architecture = own.get("architecture")
    options = architecture.get("options") if isinstance(architecture, Mapping) else None
    how = about.get("preprocess") or own.get("preprocess") or {}
    return [
        *facts(
            [
                ("architecture", plain(about.get("arch"))),
                *((f"{name} of the architecture", plain(value)) for name, value in (options or {}).items()),
                ("input size, pixels", plain(how.get("size"))),
                ("mean that is subtracted", plain(how.get("mean"))),
                ("standard deviation that divides", plain(how.get("std"))),
                *((f"preprocessing: {name}", plain(value)) for name, value in how.items()
                  if name not in ("size", "mean", "std")),
                ("what is read off", plain(own.get("features"))),
                ("number type", plain(own.get("dtype"))),
                ("loaded from", plain(about.get("source"))),
            ]
        ),
        *_loaded(about.get("loaded")),
        *facts(
            (str(name).replace("_", " "), as_text(v) if isinstance(v, (int, float)) else pairs(v))
            for name, v in meta.items()
        ),
        *(Fact(label, plain(about[name]), is_code=True)
          for name, label in (("sha256", "sha256"), ("weights_sha256", "sha256 of the weights")) if about.get(name)),
        *facts(
            [
                settings,
                ("device", ", ".join(sorted({str(record["device"]) for record in records if record.get("device")}))),
                ("versions", versions_text(records)),
                ("commits of virb", ", ".join(sorted({str(r["commit"]) for r in records if r.get("commit")}))),
                ("records", len(records)),
            ]
        ),
    ]  # fmt: skip


def _loaded(said: object) -> list[Fact]:
    """How a checkpoint from elsewhere was read: where the weights were, what was left aside, what was assumed."""
    if not isinstance(said, Mapping):
        return facts([("weights", plain(said))])
    dropped = said.get("dropped")
    parts = (
        [f"{part} ({n} tensor{'s' * (n != 1)})" for part, n in dropped.items()] if isinstance(dropped, Mapping) else []
    )
    lists = {
        "left aside": parts,
        "assumed": [text.removeprefix("assumed, ") for text in _texts(said.get("assumed"))],
        "weights would have matched too at": _texts(said.get("alternatives")),
    }
    return [
        Fact("weights from", plain(said.get("place")) or "the top of the file"),
        *facts([("read in the layout of", plain(said.get("layout")))]),
        *[Fact(name, items=items) for name, items in lists.items() if items],
    ]


def _texts(said: object) -> list[str]:
    return [plain(item) for item in said] if isinstance(said, list) else []
