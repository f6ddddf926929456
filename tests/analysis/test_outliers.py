"""Scores that cannot be right are named with why, and left out where that is asked for; what may be right stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.cli import main
from virb.figures.analysing import run_by_name
from virb.scores.outliers import outliers, without_outliers
from virb.scores.schema import check_scores


def scores() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(8):
        for j in range(4):
            for seed in range(5):
                rows.append((f"e{k}", f"t{j}", seed, round(0.5 + 0.04 * k + 0.01 * j + 0.01 * rng.normal(), 4), 0.1))
    return pd.DataFrame(rows, columns=["encoder", "task", "seed", "score", "chance"])


def at(frame: pd.DataFrame, encoder: str, task: str) -> pd.Series:
    return (frame["encoder"] == encoder) & (frame["task"] == task)


def test_failed_fits_are_named_and_sound_scores_are_not() -> None:
    frame = scores()
    assert outliers(check_scores(frame)).empty
    frame.loc[at(frame, "e6", "t1"), "score"] = 0.1  # a whole cell
    frame.loc[at(frame, "e3", "t2") & (frame["seed"] == 4), "score"] = 0.1  # one repeat
    frame.loc[at(frame, "e1", "t3"), "score"] = 0.31  # above chance, and five times the same number
    frame.loc[at(frame, "e7", "t3"), "score"] = 0.99  # the same number at the ceiling
    frame.loc[at(frame, "e0", "t0"), "score"] -= 0.3  # a poor encoder is not a failed fit
    found = outliers(check_scores(frame))
    why = found.groupby(["encoder", "task"])["why"].agg(list).to_dict()
    assert why == {
        ("e6", "t1"): ["at chance, one number"] * 5,
        ("e3", "t2"): ["at chance"],
        ("e1", "t3"): ["one number"] * 5,
    }


def test_what_may_be_at_chance_stays() -> None:
    frame = scores()
    frame["role"] = np.where(frame["encoder"] == "e0", "untrained", "self-supervised")
    frame.loc[at(frame, "e0", "t1"), "score"] = 0.1
    assert outliers(check_scores(frame)).empty
    hard = scores()
    hard["score"] = np.where(hard["task"] == "t1", 0.1 + 0.001 * (hard["seed"] + 1), hard["score"])  # nobody learns it
    assert outliers(check_scores(hard)).empty
    silent = scores().drop(columns="chance")
    silent.loc[at(silent, "e6", "t1"), "score"] = [0.1, 0.1001, 0.1, 0.1, 0.1]
    assert outliers(check_scores(silent)).empty  # nobody said what chance is


def test_analysis_says_how_far_they_move_a_task(tmp_path: Path) -> None:
    frame = scores()
    frame.loc[at(frame, "e7", "t1"), "score"] = 0.1
    run = run_by_name("outliers", check_scores(frame), tmp_path, {}, is_alone=True)
    assert "cannot be right: 5 of 160 scores in 1 cells, 1 of them wholly (e7 on t1)" in run.lines[0]
    assert "the mean r of t1" in run.lines[1]
    assert len(pd.read_csv(tmp_path / "outliers.csv")) == 5
    moved = pd.read_csv(tmp_path / "outliers-moved.csv").set_index("task")
    assert moved.loc["t1", "without"] > moved.loc["t1", "mean_r"] + 0.3
    sound = run_by_name("outliers", check_scores(scores().drop(columns="chance")), tmp_path, {}, is_alone=True)
    assert sound.lines[0] == "no score was found that cannot be right"
    assert "chance is not declared" in sound.lines[1]


def test_they_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = scores()
    frame.loc[at(frame, "e6", "t1"), "score"] = 0.1
    kept = without_outliers(check_scores(frame))
    assert len(kept) == len(frame) - 5
    assert "e6 on t1" in kept.attrs["notes"][-1]
    frame.to_csv(tmp_path / "s.csv", index=False)
    call = [
        "analyze",
        "encoder-bars",
        "--results",
        str(tmp_path / "s.csv"),
        "--out",
        str(tmp_path / "o"),
        "--without-outliers",
    ]
    assert main(call) == 0
    printed = capsys.readouterr()
    assert "left out as scores that cannot be right: 5 of 160 scores in 1 cells" in printed.out + printed.err
