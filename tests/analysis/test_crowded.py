"""Far more names than a figure has room for: every analysis draws a page, nothing cut or covered, and its tables hold all."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.contracts.tables import Tables
from virb.figures import plots
from virb.figures.canvas import LARGEST, faults, settle
from virb.scores.schema import check_scores

LONG = "CLIP-ViT-L-14-DataComp.XL-s13B-b90K_patch14_448.mim_m38m_ft_in22k_in1k"


@cache
def crowd(n_encoders: int, n_tasks: int) -> pd.DataFrame:
    """Encoders with long names; tasks of fractions, and two in degrees without a unit."""
    rng = np.random.default_rng(0)
    level = rng.normal(size=(n_encoders, 1)) + 0.7 * rng.normal(size=(n_encoders, n_tasks))
    score = 1 / (1 + np.exp(-level))
    score[:, :2] = -30 - 20 * score[:, :2]
    rows = [
        {"encoder": f"{LONG}@{e}" if e % 3 else f"e{e}", "task": f"a task of {n_tasks} tasks, called number {t}", "score": score[e, t]}
        for e in range(n_encoders)
        for t in range(n_tasks)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    k = frame["encoder"].astype("category").cat.codes
    about = {
        "role": np.where(frame["encoder"] == "e0", "supervised", "self-supervised"),
        "method": np.where(k % 2, "one", "other"),
    }
    return frame.assign(**about, dataset=[f"d{c % 45}" for c in k])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_encoders", "n_tasks"),
    [
        *((name, 70, 4) for name in ("aggregate", "critical-difference", "decide", "paired-model", "rank-stability",
                                     "normalised-violins", "domain-matrix", "encoder-bars")),
        *((name, 6, 70) for name in ("detectable-effects", "encoder-bars", "method-difference", "best-vs-supervised",
                                     "correlation", "task-scatter", "task-tree", "rank-stability", "factors")),
    ],
)  # fmt: skip
def test_a_crowd_fits_on_a_page(name: str, n_encoders: int, n_tasks: int) -> None:
    analysis = registry.load("analyses", name)
    scores = crowd(n_encoders, n_tasks)
    if name != "method-difference":
        scores = scores.drop(columns="method")
    if name == "detectable-effects":
        scores = pd.concat([scores.assign(seed=0), scores.assign(seed=1, score=scores["score"] * 1.01)])
    options = {"resamples": "50"} if name in ("correlation", "task-tree") else {}
    tables: Tables = analysis.tables(check_scores(scores), **options)
    figures = analysis.draw(tables)
    assert figures
    text = ""
    for part, figure in figures.items():
        with plots.style():
            settle(figure)
        assert faults(figure) == [], part
        assert figure.get_size_inches()[0] <= LARGEST[0]
        text += " ".join(one.get_text() for one in figure.texts)
    has_all = name == "task-tree" or (name == "encoder-bars" and n_tasks == 4)
    assert ("the table has all" in " ".join(text.split())) != has_all
    written = {str(cell) for table in tables.values() for column in table for cell in (column, *table[column].unique())}
    written |= set(tables.facts.get("tasks", ())) if isinstance(tables.facts.get("tasks"), dict) else set()
    crowded = set(scores["task"]) if n_tasks == 70 else set(scores["encoder"])
    if name not in ("encoder-bars", "domain-matrix"):  # of the first the best three, of the second data sets
        assert len(crowded - written) <= 1  # the one that the others are set against


def test_gains_of_a_crowd_are_those_of_the_most_and_the_least() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"encoder": f"e{e}", "task": "t", "score": rng.uniform(), "method": "m", "dataset": "d", "epochs": 10,
         "dataset_size": 1000 * (1 + (e > 0) * (1 + e % 2))}
        for e in range(90)
    ]  # fmt: skip
    analysis = registry.load("analyses", "budget")
    tables: Tables = analysis.tables(check_scores(pd.DataFrame(rows)))
    figure = analysis.draw(tables)["gains"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    gains = tables[""].set_index("encoder")["gain_at_equal_E"].drop("e0").sort_values(ascending=False).index
    assert set(labels) == {*gains[:40], *gains[-20:]}
    with plots.style():
        settle(figure)
    assert faults(figure) == []
    assert figure.get_size_inches()[1] <= LARGEST[1]
    assert "n = 89 encoders" in (text := " ".join(" ".join(one.get_text() for one in figure.texts).split()))
    assert "The first 40 and the last 20 of 89 encoders, by their gain, are drawn" in text


def test_ranks_of_a_crowd_are_marked_where_there_are_ranks() -> None:
    analysis = registry.load("analyses", "rank-stability")
    figure = analysis.draw(analysis.tables(check_scores(crowd(70, 4))))[""]
    ticks = np.concatenate([axes.get_yticks() for axes in figure.axes])
    assert len(ticks) > 5
    assert ((ticks >= 1) & (ticks <= 70)).all()


def test_of_too_many_encoders_the_best_are_compared_on_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"encoder": f"e{e}", "task": "t", "class": f"c{c}", "score": round(rng.uniform() * (e + 1) / 9, 2)}
        for e in range(9)
        for c in range(12)
    ]
    scores = check_scores(pd.DataFrame(rows))
    analysis = registry.load("analyses", "hard-classes")
    whole: Tables = analysis.tables(scores, encoders="e0,e8")
    module = sys.modules[analysis.compute.__module__]
    monkeypatch.setattr(module, "MOST_COMPARED", 8)
    monkeypatch.setattr(module, "BEST_COMPARED", 3)
    some: Tables = analysis.tables(scores, encoders="e0,e8")
    means = scores.groupby("encoder")["score"].mean().sort_values(ascending=False)
    kept = {*means.index[:3], "e0", "e8"}
    assert len(kept) == 4
    expected = whole[""][whole[""]["from_encoder"].isin(kept) & whole[""]["to_encoder"].isin(kept)]
    pd.testing.assert_frame_equal(some[""], expected.reset_index(drop=True))
    pd.testing.assert_frame_equal(some["classes"], whole["classes"])
    assert analysis.say(some) == analysis.say(whole)
    assert [line for line in some.notes if line not in whole.notes] == [
        "of 9 encoders the best 3 on t are compared pair by pair; the table of classes has all (for others --select them)"
    ]
