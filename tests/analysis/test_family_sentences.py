"""What the correlation analyses print where families are declared: the test that holds, or the caveat on the same line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.figures import plots
from virb.figures.analysing import Outputs, run_by_name


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outputs, "figure", lambda self, figure, part="": plots.close(figure))


def scores(n_families: int, size: int, column: str | None = "family") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for family in range(n_families):
        level = rng.normal(size=3)
        for member in range(size):
            for task, score in zip("abc", level + 0.3 * rng.normal(size=3), strict=True):
                rows.append({"encoder": f"e{family}-{member}", "task": task, "score": score, "f": f"family {family}"})
    frame = pd.DataFrame(rows)
    return frame.drop(columns="f") if column is None else frame.rename(columns={"f": column})


def said(frame: pd.DataFrame, name: str, folder: Path, **options: str) -> list[str]:
    run = run_by_name(name, frame, folder, options, is_alone=True)
    return [line for line in run.lines if "p < " in line]


@pytest.mark.parametrize("name", ["correlation", "task-scatter"])
@pytest.mark.parametrize("column", ["family", "method"])
def test_declared_families_are_the_default(name: str, column: str, tmp_path: Path) -> None:
    frame = scores(6, 5, column)
    for line in said(frame, name, tmp_path):
        assert f"30 encoders of 6 families ({column})" in line
        assert f"leaving out each of 6 families ({column})" in line
    for line in said(frame, name, tmp_path, family="none"):
        assert "encoders counted as independent" in line
        assert "families" not in line


@pytest.mark.parametrize("name", ["correlation", "task-scatter"])
def test_the_caveat_stands_beside_the_count(name: str, tmp_path: Path) -> None:
    for n, word in ((1, "1 family"), (2, "2 families")):
        for line in said(scores(n, 6), name, tmp_path):
            assert f"all are of {word} (family), so that p and intervals, which count encoders, are too small" in line
    for line in said(scores(12, 1, None), name, tmp_path):
        assert "no family being declared" in line
    alone = said(scores(12, 1), name, tmp_path)
    assert all("p by Student's t, encoders counted as independent" in line for line in alone)
    lopsided = scores(3, 8)
    lopsided.loc[lopsided["encoder"].isin(["e1-0", "e2-0"]), "score"] += 0.1
    gone = [f"e{f}-{m}" for f in (1, 2) for m in range(1, 8)]
    for line in said(lopsided[~lopsided["encoder"].isin(gone)], name, tmp_path):
        assert "too few for p to be trusted" in line


def test_between_and_within_are_in_the_table(tmp_path: Path) -> None:
    run = run_by_name("correlation", scores(6, 5), tmp_path, {}, is_alone=True)
    table = pd.read_csv(tmp_path / "correlation.csv")
    np.testing.assert_allclose(table["between_families"] + table["within_families"], table["r"])
    assert any("lies between families" in line for line in run.lines)
    assert set(table["interval"]) == {"jackknife"}
    run_by_name("correlation", scores(6, 5), tmp_path, {"interval": "bootstrap"}, is_alone=True)
    assert set(pd.read_csv(tmp_path / "correlation.csv")["interval"]) == {"bootstrap"}


def test_a_corrected_level_out_of_reach_is_called_impossible(tmp_path: Path) -> None:
    frame = scores(5, 1)
    # Three pairs of five encoders: Holm's smallest is 3 x 2/5! = .05, Benjamini-Hochberg's 2/5!; of four, neither is enough.
    assert all("impossible" in line for line in said(frame, "correlation", tmp_path, adjustment="holm"))
    assert not any("impossible" in line for line in said(frame, "correlation", tmp_path))
    four = frame[frame["encoder"] != "e4-0"]
    assert all("cannot fall below 0.083" in line for line in said(four, "correlation", tmp_path))
