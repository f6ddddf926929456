"""aggregate through the registry: what it writes and says with repeats, without, and of mixed units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.contracts.analysis import NotApplicable
from virb.figures.analysing import run_by_name
from virb.scores.schema import check_scores


def scores(n_runs: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (f"e{e}", f"t{t}", seed, 0.4 + 0.1 * e + 0.02 * t + 0.02 * rng.normal(), 0.1)
        for e in range(4)
        for t in range(6)
        for seed in range(n_runs)
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "seed", "score", "chance"]).assign(unit="fraction")


def test_repeats_give_both_intervals(tmp_path: Path) -> None:
    found = run_by_name("aggregate", check_scores(scores()), tmp_path, {}, is_alone=True)
    assert "interquartile mean from chance (0) to ceiling (1) over 6 tasks: e3" in found.lines[0]
    assert "P(improvement) of e3 over e2: 1.00" in found.lines[1]
    assert "lies above those of the 3 next everywhere" in found.lines[2]
    table = pd.read_csv(tmp_path / "aggregate.csv")
    assert table["encoder"].tolist() == ["e3", "e2", "e1", "e0"]
    assert (table["high_runs"] - table["low_runs"] < table["high_tasks"] - table["low_tasks"]).all()
    assert np.allclose(table["optimality_gap"], 1 - table["mean"])
    against = pd.read_csv(tmp_path / "aggregate-improvement.csv")
    assert (against["low_runs"] < 1).all()
    assert (tmp_path / "aggregate-profiles.png").exists()


def test_one_run_and_other_units(tmp_path: Path) -> None:
    frame = scores(1)
    frame.loc[frame["task"] == "t0", "unit"] = "degree"
    frame.loc[frame["encoder"] == "e3", "score"] -= 0.3 * (frame["task"].isin(["t1", "t2"]))
    found = run_by_name("aggregate", check_scores(frame), tmp_path, {"scale": "sd"}, is_alone=True)
    assert any(line.startswith("one run on some task, so that nothing is known of other runs") for line in found.lines)
    assert any("unknown with other runs" in line for line in found.lines)
    assert "optimality_gap" not in pd.read_csv(tmp_path / "aggregate.csv")
    assert any("is crossed by" in line for line in found.lines)
    with pytest.raises(NotApplicable, match="Raw scores need one declared unit"):
        run_by_name("aggregate", check_scores(frame), tmp_path, {"scale": "raw"}, is_alone=True)
    with pytest.raises(NotApplicable, match="No task declares chance"):
        run_by_name(
            "aggregate", check_scores(frame.drop(columns="chance")), tmp_path, {"scale": "chance"}, is_alone=True
        )


def test_seeds_of_their_own_are_not_paired(tmp_path: Path) -> None:
    frame = scores()
    frame["seed"] = frame["seed"] + 10 * frame["encoder"].str[1:].astype(int)
    run_by_name("aggregate", check_scores(frame), tmp_path / "apart", {}, is_alone=True)
    run_by_name("aggregate", check_scores(scores()), tmp_path / "paired", {}, is_alone=True)
    apart, paired = (pd.read_csv(tmp_path / name / "aggregate.csv") for name in ("apart", "paired"))
    assert np.allclose(apart["iqm"], paired["iqm"])
