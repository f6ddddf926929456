"""decide: weights, regions, repeats and pretrainings, through the analysis; what cannot be decided is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.contracts.analysis import NotApplicable
from virb.errors import UsageError
from virb.figures.analysing import AnalysisRun, run_by_name
from virb.scores.schema import check_scores
from virb.scores.weights import parse_weights

A = [0.82, 0.75, 0.91, 0.66, 0.58, 0.73, 0.88, 0.69]
B = [0.80, 0.76, 0.88, 0.63, 0.57, 0.70, 0.88, 0.66]


def two() -> pd.DataFrame:
    rows = [(name, f"t{k}", score) for name, row in (("A", A), ("B", B)) for k, score in enumerate(row)]
    return pd.DataFrame(rows, columns=["encoder", "task", "score"]).assign(unit="fraction")


def decide(frame: pd.DataFrame, folder: Path, **options: str) -> AnalysisRun:
    return run_by_name("decide", check_scores(frame), folder, options, is_alone=True)


def test_two_encoders_on_eight_tasks(tmp_path: Path) -> None:
    found = decide(two(), tmp_path, a="A", b="B", region=".015")
    assert "A less B, in fraction, over tasks of this kind: +0.0175 (95% +0.0043 to +0.0307)" in found.lines[0]
    assert "better 0.666, practically equal 0.334, worse 0.000 with a region of 0.015" in found.lines[0]
    assert "not counted: pretraining seeds" in found.lines[0]
    table = pd.read_csv(tmp_path / "decide.csv")
    assert np.allclose(table[["better", "equal", "worse"]].sum(axis=1), 1)
    assert table.loc[table["view"] == "over tasks of this kind", "region"].tolist() == [0.0075, 0.015, 0.03]
    assert any(line.startswith("Bayesian signed-rank test") for line in found.lines)
    swapped = decide(two(), tmp_path, a="B", b="A", region=".015")
    assert "worse 0.666" in swapped.lines[0]
    assert (tmp_path / "decide.png").exists()


def study(ahead: float = 0.0) -> pd.DataFrame:
    """Six encoders in three recipes pretrained twice, four categories of three tasks, three repeats; degrees beside fractions."""
    rng = np.random.default_rng(0)
    rows = []
    for e in range(6):
        own = 0.02 * rng.normal()
        for c in range(4):
            of_category = 0.03 * rng.normal()
            for t in range(3):
                for seed in range(3):
                    score = 0.5 + own + of_category + 0.005 * rng.normal() + ahead * (e < 2)
                    task, unit = f"c{c}t{t}", "degree" if c == 3 else "fraction"
                    rows.append(
                        (f"e{e}", task, seed, score * (100 if c == 3 else 1), f"kind {c}", unit, f"recipe{e // 2}")
                    )
    return pd.DataFrame(rows, columns=["encoder", "task", "seed", "score", "category", "unit", "repeat"])


def test_the_leader_against_all_others_counts_categories_and_pretrainings(tmp_path: Path) -> None:
    found = decide(study(), tmp_path)
    assert "leads 3 encoders, in sd of each task over encoders (4 categories" in found.lines[0]
    assert "better with P >= .95 than 0 of 2" in found.lines[1]
    assert found.lines[2] == "pretraining seeds are counted"
    table = pd.read_csv(tmp_path / "decide.csv")
    assert table["n_pretrained"].tolist() == [2, 2, 2]
    assert np.isclose(table["p_best"].sum(), 1)
    sure = decide(study(ahead=0.5), tmp_path, tasks="these")
    assert sure.lines[0].startswith("recipe0 leads")
    assert "these very tasks" in sure.lines[0]


def test_recipes_against_each_other_on_these_tasks(tmp_path: Path) -> None:
    frame = study(ahead=0.1)
    found = decide(frame[frame["unit"] == "fraction"], tmp_path, a="recipe0", b="recipe2", tasks="these")
    assert "on these very tasks" in found.lines[0]
    assert "pretraining seeds (se" in found.lines[0]
    assert "repeats of the probe (se" in found.lines[0]
    assert "not known, and not counted: test images" in found.lines[0]
    assert any("pretraining seeds each (now 2)" in line for line in found.lines)
    noise = pd.read_csv(tmp_path / "decide-noise.csv")
    assert set(noise["source"]) == {"tasks", "pretraining seeds", "repeats of the probe"}


def test_percent_in_one_task_changes_nothing(tmp_path: Path) -> None:
    frame = two()
    decide(frame.drop(columns="unit"), tmp_path / "one", a="A", b="B", scale="sd")
    other = frame.assign(unit=np.where(frame["task"] == "t3", "percent", "fraction"))
    other.loc[other["task"] == "t3", "score"] *= 100
    decide(other, tmp_path / "two", a="A", b="B")
    left, right = (pd.read_csv(tmp_path / name / "decide.csv")["better"] for name in ("one", "two"))
    assert np.allclose(left, right)


def test_weights(tmp_path: Path) -> None:
    categories = pd.Series(
        {
            "a": "structural pixelwise",
            "b": "structural image-level",
            "c": "semantic image-level",
            "d": "semantic image-level",
        }
    )
    assert parse_weights((), categories).tolist() == [0.25] * 4
    assert parse_weights(("structural:.7",), categories).tolist() == pytest.approx([0.35, 0.35, 0.15, 0.15])
    assert parse_weights(("semantic image-level:.5", "a:.5"), categories).tolist() == pytest.approx(
        [0.5, 0, 0.25, 0.25]
    )
    assert parse_weights(("structural:3", "semantic:1"), categories).tolist() == pytest.approx(
        [0.375, 0.375, 0.125, 0.125]
    )
    for given, match in (
        (("structural",), "expected NAME:VALUE"),
        (("a:-1",), "0 or more"),
        (("colour:.5",), "no task, no category"),
        (("structural:.5", "a:.1"), "has a weight already"),
        (("structural:1.5",), "have none"),
        (("structural:0", "semantic:0"), "no task has any"),
    ):
        with pytest.raises(UsageError, match=match):
            parse_weights(given, categories)
    frame = two().assign(category="semantic")
    found = decide(frame, tmp_path, a="A", b="B", weights="t0:.5,t1:.5")
    assert found.lines[0].startswith("without weight, and left out: t2")
    assert "+0.0050" in found.lines[1]


def test_what_others_lack_is_no_matter_for_a_pair(tmp_path: Path) -> None:
    frame = pd.concat([two(), pd.DataFrame({"encoder": "C", "task": ["t0"], "score": 0.5, "unit": "fraction"})])
    assert "+0.0175" in decide(frame, tmp_path, a="A", b="B").lines[1]
    frame = frame[(frame["encoder"] != "B") | (frame["task"] != "t7")]
    assert any("a score of A or B being missing: t7" in line for line in decide(frame, tmp_path, a="A", b="B").lines)


def test_what_cannot_be_decided_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name both"):
        decide(two(), tmp_path, a="A")
    with pytest.raises(NotApplicable, match="three encoders"):
        decide(two(), tmp_path)
    one = two().query("task == 't0'")
    with pytest.raises(NotApplicable, match="nothing says how sure"):
        decide(one, tmp_path, a="A", b="B")
    with pytest.raises(UsageError, match="share the encoder"):
        decide(study(), tmp_path, a="e0", b="recipe0")


def test_test_images_of_a_results_folder_are_counted(results_folder: Path, tmp_path: Path) -> None:
    from virb.scores.read import read_scores

    frame = read_scores(results_folder)
    found = run_by_name("decide", frame, tmp_path, {"a": "ssl-3", "b": "ssl-0", "tasks": "these"}, is_alone=True)
    line = next(line for line in found.lines if "on these very tasks: " in line)
    assert "test images (se 0." in line
    assert "repeats of the probe (se" in line
    assert "not counted: pretraining seeds" in line
    tasks = pd.read_csv(tmp_path / "decide-tasks.csv").set_index("task")
    # On the scale used, half the raw scale away from the spread of scores: an accuracy's paired sd is below .5 sqrt(2 / n).
    assert (tasks["se_images"] > 0).all()
    one = run_by_name(
        "decide",
        frame[frame["task"] == "objects"].assign(unit="fraction"),
        tmp_path,
        {"a": "ssl-3", "b": "ssl-0", "scale": "raw"},
        is_alone=True,
    )
    assert any("on these very tasks: " in line for line in one.lines)
    own = pd.read_csv(tmp_path / "decide-tasks.csv")["se_images"].iloc[0]
    assert 0.005 < own < np.sqrt(0.5 / 300)
