"""Units are declared: percent is never taken for fraction, and nothing averages what is measured in different units."""

from __future__ import annotations

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
    with pytest.raises(UsageError, match=r"no scores are in percnt\. Did you mean percent"):
        one_scale(frame, units=["percnt"])
    with pytest.raises(UsageError, match="unit is percent there already"):
        one_scale(frame, units=["x=%", "x=fraction"])
    with pytest.raises(UsageError, match="better is lower there already"):
        one_scale(check_scores(frame.assign(better="lower")), better=["y=higher"])
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


@pytest.mark.parametrize("percent", [False, True])
def test_no_task_decides_a_mean_by_its_unit(percent: bool) -> None:
    """Fractions stay; percent beside them become fractions; degrees, or nothing declared, make z scores. All is said."""
    plain = {"x": [0.5, 0.6, 0.9], "y": [0.7, 0.8, 0.5]}
    scores = {"x": [50.0, 60.0, 90.0] if percent else plain["x"], "y": plain["y"]}
    unit = "percent" if percent else "fraction"

    def means(units: list[str], **more: list[float]) -> tuple[list[float], str]:
        frame = one_scale(table({**scores, **more}), units=units)
        data = prepare(frame, Notes())
        values, said = mean_scores(data, data.wide.index, "", Notes())
        return values.round(6).tolist(), said

    assert means([f"x={unit}", "y=fraction"]) == ([0.6, 0.7, 0.7], "mean over 2 tasks in fraction")
    z = (pd.DataFrame(plain) - pd.DataFrame(plain).mean()) / pd.DataFrame(plain).std()
    found, said = means([])
    assert found == z.mean(axis=1).round(6).tolist()
    assert said == "mean over 2 tasks in sd of each task over encoders, as no unit is declared"
    wide, _ = means([f"x={unit}", "y=fraction", "depth=metre"], depth=[-3.0, -2.0, -1.0])
    far, said = means([f"x={unit}", "y=fraction", "depth=centimetre"], depth=[-300.0, -200.0, -100.0])
    assert wide == far
    assert "as tasks have different units" in said
