"""Units are declared: percent is never taken for fraction, and nothing averages what is measured in different units."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virb.contracts.tables import Notes
from virb.errors import ScoresError, UsageError
from virb.scores.layout import mean_scores, prepare
from virb.scores.schema import check_scores
from virb.scores.units import one_scale, units_by_task, units_of_metrics


def table(values: dict[str, list[float]], **columns: object) -> pd.DataFrame:
    rows = [(f"e{k}", task, value) for task, scores in values.items() for k, value in enumerate(scores)]
    return check_scores(pd.DataFrame(rows, columns=["encoder", "task", "score"]).assign(**columns))


@given(
    st.lists(st.floats(0.2, 0.9), min_size=2, max_size=8),
    st.lists(st.floats(0.2, 0.9), min_size=1, max_size=8),
)
def test_percent_beside_fraction_is_refused_whoever_is_in_the_majority(
    fractions: list[float], others: list[float]
) -> None:
    frame = table({"t": [*fractions, *[100 * value for value in others]]})
    with pytest.raises(ScoresError, match="percent and fraction"):
        one_scale(frame)
    unit = ["fraction"] * len(fractions) + ["%"] * len(others)
    found = one_scale(check_scores(frame.assign(unit=unit)))
    assert found["score"].max() < 1
    assert any("read as fractions" in note for note in found.attrs["notes"])


@pytest.mark.parametrize(
    "scores",
    [
        [0.2, 0.5, 0.9],
        [20.0, 50.0, 90.0],
        [-0.8, -1.3, -0.4],
        [0.8, 1.3, 2.0],
        [0.9, 1.1, 1.4, 12.0],
        [24.0, 31.0, 150.0, 0.3],
        [0.0, 1.0],
    ],
)
def test_what_is_one_scale_is_left_alone(scores: list[float]) -> None:
    assert one_scale(table({"t": scores}))["score"].tolist() == scores


def test_units_are_said_by_the_table_or_by_its_reader() -> None:
    frame = table({"x": [0.5, 46.0], "y": [30.0, 40.0]})
    found = one_scale(frame, units=["x=percent", "y=degree"], better=["y=lower"])
    assert units_by_task(found).to_dict() == {"x": "percent", "y": "degree"}
    assert found.loc[found["task"] == "y", "score"].tolist() == [-30, -40]
    assert any("lower is better on y" in note for note in found.attrs["notes"])
    with pytest.raises(UsageError, match="'z' is no task"):
        one_scale(frame, units=["z=percent"])
    with pytest.raises(UsageError, match="higher or lower"):
        one_scale(frame, units=["percent"], better=["more"])
    with pytest.raises(ScoresError, match="metre and pixel"):
        one_scale(check_scores(frame.assign(unit=["metre", "pixel", "degree", "degree"])))
    with pytest.raises(ScoresError, match="not of e1"):
        one_scale(check_scores(frame.assign(unit=["percent", None, "degree", "degree"])))


def test_records_have_the_unit_of_their_metric() -> None:
    frame = units_of_metrics(table({"x": [0.5, 0.6]}, metric="top1"))
    assert units_by_task(frame)["x"] == "fraction"
    assert "unit" not in units_of_metrics(table({"x": [0.5, 0.6]}, metric="elo"))


def test_means_are_over_tasks_of_one_unit_and_the_others_are_named(tmp_path: Path) -> None:
    frame = one_scale(
        table({"x": [0.5, 0.6], "y": [0.7, 0.8], "depth": [-3.0, -2.0]}),
        units=["x=fraction", "y=fraction", "depth=metre"],
    )
    out = Notes()
    data = prepare(frame, out)
    assert mean_scores(data, data.wide.index, "", out).round(6).tolist() == [0.6, 0.7]
    assert "left out: depth (metre)" in out[-1]
    out = Notes()
    data = prepare(table({"x": [0.5, 0.6], "y": [0.7, 0.8]}), out)
    mean_scores(data, data.wide.index, "", out)
    assert "no unit is declared" in out[-1]
