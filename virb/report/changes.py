"""What changed between two sets of scores: which are new or gone, which moved by how much, and what about them differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from virb.contracts.analysis import names_in_words
from virb.report.pages import render
from virb.report.ranking import span
from virb.report.settings import Setting
from virb.report.study import score_text
from virb.report.view import Cell, Section, Table, heads

SHOWN = 200  # rows; the CSV has all
#: Columns of a record's row that say what it was made from, and how that is said.
MADE_FROM = {
    "encoder_digest": "encoder",
    "task_version": "task",
    "data_digest": "data",
    "settings_digest": "settings",
    "n_train": "number of training examples",
    "n_test": "number of test examples",
    "input_size": "input size",
}
KEYS = ["encoder", "task", "probe", "labels"]
SPREADS = ["sd_before", "sd_now", "seeds_before", "seeds_now"]


def compared(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """One row for each encoder, task, probe and number of labels of either: scores, their difference, what else differs.

    Columns: encoder, task, probe, labels (those of them that the scores have), before, now (means over seeds), difference,
    sd and number of seeds of both, and ``differs`` (names of what the scores were made from that is not the same; "" where
    nothing is or nothing is said).
    """
    keys = [key for key in KEYS if key in old and key in new]
    made_from = [column for column in MADE_FROM if column in old and column in new]

    def one(frame: pd.DataFrame, name: str) -> pd.DataFrame:
        cells = frame.groupby(keys, sort=False, dropna=False)
        means = cells["score"].agg(["mean", "std", "size"]).set_axis([name, f"sd_{name}", f"seeds_{name}"], axis=1)
        for column in made_from:
            means[f"{name} {column}"] = cells[column].first()
        return means

    both = one(old, "before").join(one(new, "now"), how="outer")
    differs = []
    for _, row in both.iterrows():
        known = [(MADE_FROM[c], row[f"before {c}"], row[f"now {c}"]) for c in made_from]
        differs.append(", ".join(name for name, a, b in known if pd.notna(a) and pd.notna(b) and a != b))
    out = both[["before", "now"]].assign(difference=both["now"] - both["before"])
    out[SPREADS] = both[SPREADS]
    out[SPREADS[2:]] = out[SPREADS[2:]].fillna(0).astype(int)
    return out.assign(differs=differs).reset_index()


def sentences(table: pd.DataFrame, before: Setting, now: Setting) -> list[str]:
    """What a reader wants first: the leader, who came and went, how many scores moved."""
    out = [f"Before: {before.ranking.sentences[0]}", f"Now: {now.ranking.sentences[0]}"]
    for what, old, new in (
        ("encoder", before.study.encoders, now.study.encoders),
        ("end task", before.study.tasks, now.study.tasks),
    ):
        came, gone = [name for name in new if name not in old], [name for name in old if name not in new]
        out += [f"New {what}{'s' * (len(came) > 1)}: {names_in_words(came)}."] if came else []
        out += [f"Gone {what}{'s' * (len(gone) > 1)}: {names_in_words(gone)}."] if gone else []
    both = table.dropna(subset=["before", "now"])
    moved = both[both["difference"] != 0]
    other = both[both["differs"] != ""]
    out.append(f"{len(moved)} of {len(both)} scores that both have are not the same.")
    if len(other):
        out.append(f"{len(other)} of them were not made from the same things: see the last column.")
    unexplained = moved[moved["differs"] == ""]
    if len(unexplained) and "settings_digest" in now.study.frame:
        out.append(f"{len(unexplained)} moved though nothing that is recorded differs.")
    return out


def changes_page(
    table: pd.DataFrame, before: Setting, now: Setting, links: Mapping[str, Mapping[str, str]], *, source: str
) -> bytes:
    """The whole page; ``source`` is where the scores before were read from."""
    return render(
        "changes.html",
        title="What changed",
        source=source,
        sentences=sentences(table, before, now),
        ranks=_ranks(before, now, links["encoders"]),
        table=_table(table, links),
        n_shown=min(len(table), SHOWN),
        n_all=len(table),
    )


def _table(table: pd.DataFrame, links: Mapping[str, Mapping[str, str]]) -> Table:
    order = table.assign(size=table["difference"].abs()).sort_values("size", ascending=False, kind="stable")
    more = [key for key in ("probe", "labels") if key in table and table[key].nunique(dropna=False) > 1]
    rows = []
    for row in order.head(SHOWN).to_dict("records"):
        encoder, task = str(row["encoder"]), str(row["task"])
        rows.append(
            [
                Cell(encoder, href=links["encoders"].get(encoder, "")),
                Cell(task, href=links["tasks"].get(task, "")),
                *[Cell(str(row[key])) for key in more],
                _score(row["before"], row["sd_before"]),
                _score(row["now"], row["sd_now"]),
                Cell("–")
                if pd.isna(row["difference"])
                else Cell(f"{row['difference']:+.3f}", float(row["difference"])),
                Cell(str(row["differs"]) or "–"),
            ]
        )
    columns = heads("encoder", "end task", *more, "before", "now", "difference", "what else differs")
    seeds = table[["seeds_before", "seeds_now"]]
    over = "; means ± standard deviation over seeds" if (seeds > 1).to_numpy().any() else ""
    return Table(f"Scores before and now, the largest difference first{over}", columns, [Section(rows)])


def _score(value: float, sd: float) -> Cell:
    if pd.isna(value):
        return Cell("–")
    return Cell(score_text(value), float(value), spread="" if pd.isna(sd) else f"± {score_text(sd)}")


def _ranks(before: Setting, now: Setting, links: Mapping[str, str]) -> Table | None:
    """Places before and now of the encoders that were ranked both times; None where there are none."""
    rows = []
    for encoder in now.ranking.order:
        old, new = before.ranking.row(encoder), now.ranking.row(encoder)
        if not old or not new:
            continue
        moved = old["rank"] - new["rank"]
        rows.append(
            [
                Cell(encoder, href=links.get(encoder, "")),
                *[_place(found) for found in (old, new)],
                Cell(f"{moved:+g}" if moved else "–", moved),
                *[Cell(f"{found['mean_rank']:.2f}", found["mean_rank"]) for found in (old, new)],
            ]
        )
    if not rows:
        return None
    n_old, n_new = (len(setting.ranking.table) for setting in (before, now))
    caption = (
        f"Places before (of {n_old}, over {before.ranking.n_tasks} end tasks) and now (of {n_new}, over "
        f"{now.ranking.n_tasks}): a place also moves where others come or go"
    )
    return Table(
        caption,
        heads("encoder", "place before", "place now", "moved up by", "mean rank before", "now"),
        [Section(rows)],
    )


def _place(found: Mapping[str, float]) -> Cell:
    said = f"({span(found['low'], found['high'])})" if "low" in found else ""
    return Cell(f"{found['rank']:g}", found["rank"], spread=said)


def first_of(settings: Sequence[Setting], label: str) -> Setting:
    """The setting of that label, else the first."""
    return next((one for one in settings if one.label == label), settings[0])
