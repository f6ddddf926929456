"""paired-model, factors and agreement through the registry: tables, sentences, missing cells, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.contracts.analysis import NotApplicable
from virb.errors import UsageError
from virb.figures.analysing import AnalysisRun, run_by_name
from virb.scores.schema import check_scores


def scores(n: int = 16) -> pd.DataFrame:
    """Two axes: tasks a0 to a3 and b0 to b3, encoders in families of two."""
    rng = np.random.default_rng(0)
    place = rng.normal(size=(n, 2))
    rows = [
        (f"e{e}", f"{kind}{t}", place[e, k] + 0.2 * rng.normal(), f"kind {kind}", f"f{e // 2}")
        for k, kind in enumerate("ab")
        for t in range(4)
        for e in range(n)
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "category", "family"])


def ran(name: str, frame: pd.DataFrame, folder: Path, **options: str) -> AnalysisRun:
    return run_by_name(name, check_scores(frame), folder, options, is_alone=True)


@pytest.mark.parametrize("model", ["davidson", "plackett-luce"])
def test_a_ranking_with_missing_cells(model: str, tmp_path: Path) -> None:
    frame = scores(8).drop(columns="category")
    frame["score"] += frame["encoder"].map(lambda name: 2.0 * int(name[1:]))
    frame = frame[(frame["encoder"] != "e7") | frame["task"].isin(["a0", "b1"])]
    found = ran("paired-model", frame, tmp_path, model=model)
    said = " ".join(found.lines)
    assert f"is strongest ({model}" in said
    assert "6 of 64 cells missing" in said
    assert "on fewer tasks than the others: e7" in said
    table = pd.read_csv(tmp_path / "paired-model.csv").set_index("encoder")
    assert table["theta"].rank(ascending=False)["e7"] <= 3  # two tasks of eight against the same prior
    assert table["theta"].idxmin() == "e0"
    assert table.loc["e7", "n_tasks"] == 2
    assert np.isclose(table["theta"].sum(), 0, atol=1e-6)
    with pytest.raises(UsageError, match="0 or more"):
        ran("paired-model", frame, tmp_path, tie="-1")


def test_axes(tmp_path: Path) -> None:
    found = ran("factors", scores(), tmp_path, n_axes="2", samples="100")
    assert found.lines[0].startswith("over 16 encoders: eigenvalues")
    assert found.lines[1].startswith("over 8 families")
    table = pd.read_csv(tmp_path / "factors.csv").set_index("task")
    assert table["most_alike"].str[0].tolist() == list("aaaabbbb")
    strong = table[["axis_1", "axis_2"]].abs().idxmax(axis=1)
    assert strong[:4].nunique() == strong[4:].nunique() == 1
    assert strong["a0"] != strong["b0"]
    assert len(pd.read_csv(tmp_path / "factors-encoders.csv")) == 16
    assert (tmp_path / "factors-eigenvalues.png").exists()


def test_batteries_of_one_table_and_of_two(tmp_path: Path) -> None:
    found = ran("agreement", scores(), tmp_path / "one", tasks="kind a", samples="99")
    assert "kind a (4 tasks) and the other tasks (4) over 16 encoders" in found.lines[-2]
    assert "they agree less than random splits" in found.lines[-1]
    second = scores(14)[lambda f: f["category"] == "kind a"]
    second.to_csv(tmp_path / "second.csv", index=False)
    found = ran("agreement", scores(), tmp_path / "two", other=str(tmp_path / "second.csv"), samples="99")
    assert any(line == "only in the first table, and left out: e14 and e15" for line in found.lines)
    assert any("tasks of one name are in both batteries" in line for line in found.lines)
    assert len(pd.read_csv(tmp_path / "two" / "agreement.csv")) == 14
    with pytest.raises(NotApplicable, match="two batteries"):
        ran("agreement", scores(), tmp_path)
    with pytest.raises(UsageError, match="not both"):
        ran("agreement", scores(), tmp_path, tasks="a0", other="x.csv")
    with pytest.raises(UsageError, match=r"some, not all.*or of the categories kind a and kind b"):
        ran("agreement", scores(), tmp_path, tasks="c0")
    strangers = second.assign(encoder="x" + second["encoder"])
    strangers.to_csv(tmp_path / "strangers.csv", index=False)
    with pytest.raises(NotApplicable, match="0 encoders in common"):
        ran("agreement", scores(), tmp_path, other=str(tmp_path / "strangers.csv"))
