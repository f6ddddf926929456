"""What critical-difference and the report print of a ranking: the same numbers, blind to units, luck and limits beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.figures import plots
from virb.figures.analysing import Outputs, run_by_name
from virb.report.ranking import rank
from virb.report.study import study_of
from virb.scores.schema import check_scores


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outputs, "figure", lambda self, figure, part="": plots.close(figure))


def scores(k: int, tasks: int, per_category: int, *, percent: str = "", lead: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for encoder in range(k):
        for task in range(tasks):
            score = 0.5 + 0.1 * rng.normal() + lead * (encoder == 0)
            unit = 100 if f"t{task}" == percent else 1
            rows.append((f"e{encoder}", f"t{task}", score * unit, f"c{task // per_category}"))
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "category"])


def said(frame: pd.DataFrame, folder: Path, **options: str) -> str:
    return "\n".join(run_by_name("critical-difference", check_scores(frame), folder, options, is_alone=True).lines)


@pytest.mark.parametrize("per_category", [1, 3])
def test_the_report_and_the_analysis_say_one_thing(per_category: int, tmp_path: Path) -> None:
    frame = scores(6, 9, per_category)
    said(frame, tmp_path)
    table = pd.read_csv(tmp_path / "critical-difference.csv").set_index("encoder")
    found = rank(study_of(check_scores(frame))).table
    for column in ("low", "high", "p_first", "p_top"):
        np.testing.assert_array_equal(found[column], table.loc[found.index, column])
    assert ((table["p_top"] > 0) & (table["p_top"] < 1)).any()


def test_no_unit_decides(tmp_path: Path) -> None:
    found = []
    for percent in ("", "t4"):
        text = said(scores(5, 12, 4, percent=percent), tmp_path)
        found.append(pd.read_csv(tmp_path / "critical-difference-pairs.csv").drop(columns="scale"))
        assert "in sd of each task over encoders, as no unit is declared" in text
    pd.testing.assert_frame_equal(*found)
    assert "in fraction" in said(scores(5, 12, 4).assign(unit="fraction"), tmp_path)
    mixed = scores(5, 12, 4)
    mixed["unit"] = np.where(mixed["task"] == "t4", "degree", "fraction")
    assert "as tasks have different units" in said(mixed, tmp_path)


def test_what_cannot_be_found_is_called_impossible(tmp_path: Path) -> None:
    frame = scores(7, 9, 9, lead=2.0)  # e0 wins everywhere
    text = said(frame, tmp_path)
    assert "impossible (with 9 tasks no p over 21 comparisons can fall below 0.082)" in text
    more = scores(7, 11, 11, lead=2.0)
    text = said(more, tmp_path)
    assert "e0 against the 6 others alone, 6 of 6 differ (that it was chosen from these scores is counted)" in text
    few = scores(7, 5, 5, lead=2.0)
    assert "impossible (with 5 tasks none can fall below" in said(few, tmp_path)
    assert "tells it from 6 of the 6 others" in " ".join(rank(study_of(check_scores(more))).sentences)
    assert "is impossible: with 5 end tasks" in " ".join(rank(study_of(check_scores(few))).sentences)


def test_categories_are_shuffled_whole_and_luck_is_said(tmp_path: Path) -> None:
    text = said(scores(5, 9, 3), tmp_path)
    assert "from shuffling encoders on the 3 categories whole" in text
    assert "counting tasks as independent p = " in text
    assert "the leader of 5 equal encoders over 9 independent tasks would get" in text
    assert "tasks resampled freely" in text
    assert "from shuffling encoders on tasks, counted as independent" in said(scores(5, 9, 1), tmp_path)
    assert "tasks resampled inside their categories" in said(scores(5, 9, 3), tmp_path, resample="within-categories")
    assert "the 2 categories whole, whose tasks need not be independent (it cannot fall below 0.17)" in said(
        scores(3, 6, 3), tmp_path
    )


def test_of_too_many_pairs_the_best_are_in_the_table_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = scores(12, 14, 3, lead=0.3)
    whole_words = said(frame, tmp_path / "all")
    part = "critical-difference-pairs.csv"
    whole = pd.read_csv(tmp_path / "all" / part)
    best = pd.read_csv(tmp_path / "all" / "critical-difference.csv")["encoder"].head(4)
    module = sys.modules[registry.load("analyses", "critical-difference").compute.__module__]
    monkeypatch.setattr(module, "MOST_IN_PAIRS", 11)
    monkeypatch.setattr(module, "BEST_IN_PAIRS", 4)
    words = said(frame, tmp_path / "some")
    expected = whole[whole["encoder_a"].isin(best) & whole["encoder_b"].isin(best)].reset_index(drop=True)
    assert len(expected) == 6
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "some" / part), expected)
    assert words.splitlines() == [
        *words.splitlines()[: len(words.splitlines()) - len(whole_words.splitlines())],
        *whole_words.splitlines(),
    ]
    assert "the table of pairs has those of the best 4 encoders; all 66 pairs were tested" in words
    assert "of 66 pairs differ" in words
