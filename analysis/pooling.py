"""Pooled pretraining sets against single ones of the same size, and against the part of them that is in-domain.

Cole et al. 2022, Table 2. Two questions are often taken for one: does pooling beat in-domain data of the same total size (never, in
the paper), and does adding other data to a fixed in-domain part help (in one case of six it does)? Pooled encoders name
their parts in the column dataset ("a+b", or "a:0.5+b:0.5"); dataset_size is the total, shared equally. Encoders are compared
with those of the same method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, as_counts, match_tasks, prepare
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import difference_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

#: Columns of gains, and over what they are.
GAINS = {
    "gain_over_same_size": "in-domain data of the same size",
    "gain_over_own_part": "the in-domain part alone",
}


def compute(
    scores: DataFrame, notes: Notes, *, match: tuple[str, ...], exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a pooled encoder and task with data of its own."""
    import numpy as np
    import pandas as pd

    from virb.pretraining.sources import split_amount

    # Papers print the cells that they need: an in-domain encoder is often known on its own task alone.
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame).dropna(subset=["dataset", "dataset_size"])
    about = about[about["dataset"] != "none"]  # untrained
    size = as_counts(about["dataset_size"], "dataset_size", notes).dropna()
    about = about.loc[size.index]
    parts = as_words(about["dataset"]).map(lambda text: [split_amount(part.strip())[0] for part in text.split("+")])
    method = as_words(about["method"]) if "method" in about else pd.Series("", index=about.index)
    pooled = [name for name in about.index if len(parts[name]) > 1]
    single = [name for name in about.index if len(parts[name]) == 1]
    home = match_tasks(data.wide.columns, {part for each in parts for part in each}, match)
    rows = []
    for name in pooled:
        for task, own in home.items():
            score = float(data.wide[task][name])
            if np.isnan(score):
                continue
            row = {"encoder": name, "dataset": "+".join(parts[name]), "task": task, "size": size[name], "score": score}
            row["has_own_data"] = own in parts[name]
            for key, wanted in (("same_size", size[name]), ("own_part", size[name] / len(parts[name]))):
                alike = [
                    s
                    for s in single
                    if pd.notna(data.wide[task][s])
                    and parts[s] == [own]
                    and np.isclose(size[s], wanted, rtol=0.05)
                    and method[s] == method[name]
                ]
                reference = (
                    float(data.wide.loc[alike, task].mean())
                    if alike and (key == "same_size" or row["has_own_data"])
                    else np.nan
                )
                row[f"gain_over_{key}"] = score - reference
            rows.append(row)
    table = pd.DataFrame(rows)
    if table.empty or table[list(GAINS)].isna().to_numpy().all():
        raise NotApplicable(
            "It needs pooled encoders (dataset a+b) and single ones of the same size, or of a part's size."
        )
    factor, scale = difference_scale(data.frame, data.wide)
    table["to_one_scale"] = table["task"].map(factor)
    return Tables({"": table}, scale=scale, note=data.note)


def say(tables: Tables) -> list[str]:
    table, lines = tables[""], []
    for key, text in GAINS.items():
        known = (table[key] * table["to_one_scale"]).dropna()
        if len(known):
            lines.append(
                f"pooled sets beat {text} in {int((known > 0).sum())} of {len(known)} cases, half by luck (mean {known.mean():+.4f}, "
                f"{tables.facts['scale']})"
            )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table, scale = tables[""], tables.facts["scale"]
    gains = list(GAINS)
    shown = table.dropna(subset=gains, how="all").sort_values(["task", "dataset", "size"], kind="stable")
    shown[gains] = shown[gains].mul(shown["to_one_scale"], axis=0)
    with plots.style():
        which = "encoder" if shown.duplicated(["dataset", "size", "task"]).any() else "dataset"
        labels = [
            f"{name} ({plots.count_text(n)}): {task}"
            for name, n, task in zip(shown[which], shown["size"], shown["task"], strict=True)
        ]
        shown = shown.assign(label=labels, row=[str(k) for k in range(len(shown))])
        order = shown[gains].mean(axis=1).sort_values(ascending=False, kind="stable").index
        chosen = plots.choose(shown["row"].loc[order], what="cases", drawn_as=shown["row"])
        shown = shown[shown["row"].isin(set(chosen.names))]
        fig = plots.figure(plots.PAGE, plots.bars_height(len(shown)))
        axes = fig.add_subplot()
        plots.bars(axes, list(shown["label"]), list(shown[gains[0]]), [plots.OKABE_ITO[0]] * len(shown), size=6)
        axes.plot(shown[gains[1]], range(len(shown)), "D", color=plots.OKABE_ITO[5], markersize=3.5)
        axes.set_xlabel("gain in score of the pooled set")
        handles = plots.colour_handles(
            {
                "over in-domain data of the same total size": plots.OKABE_ITO[0],
                "over its in-domain part alone": plots.OKABE_ITO[5],
            }
        )
        note = f"{plots.sentence(scale)}. {chosen.note}{tables.facts['note']}"
        plots.titles(fig, "What pooling data sets gives", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="pooling",
    summary="Pooled pretraining sets against single ones of the same size",
    source="Cole et al. 2022, Table 2",
    compute=compute,
    draw=draw,
    say=say,
    needs=("dataset", "dataset_size"),
    min_encoders=2,
    options=(
        Option("match", (), "Pairs task:dataset, with commas between; by name if not given.", type=comma_list),
        EXCLUDE,
        MISSING,
    ),
)
