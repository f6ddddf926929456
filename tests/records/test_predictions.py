"""Predictions beside records: lined up by id, compared under the task's own metric, refused where that is no test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.errors import ScoresError
from virb.records.predictions import class_names, compare, labels, read_predictions


def frame(*encoders: str) -> pd.DataFrame:
    return pd.DataFrame({"encoder": encoders, "task": "t", "probe": "p", "seed": 0})


def write(folder: Path, encoder: str, **arrays: np.ndarray) -> None:
    (folder / encoder / "t").mkdir(parents=True)
    np.savez(folder / encoder / "t" / "p-seed0.npz", **arrays)


def test_rows_are_lined_up_by_id(tmp_path: Path) -> None:
    write(tmp_path, "a", ids=np.array(["x", "y"]), target=np.array([1, 2]), prediction=np.array([1, 0]))
    write(tmp_path, "b", ids=np.array(["y", "x"]), target=np.array([2, 1]), prediction=np.array([2, 1]))
    found = read_predictions(tmp_path, frame("a", "b"), "t")
    assert found["b"]["target"].tolist() == found["a"]["target"].tolist() == [1, 2]
    assert labels(found["b"], "t")[1].tolist() == [1, 2]
    assert compare(found["b"], found["a"], "top1").statistic == 0.5


def test_different_examples_absent_and_broken_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", ids=np.array(["x", "y"]), target=np.array([1, 2]))
    write(tmp_path, "b", ids=np.array(["x"]), target=np.array([1]))
    write(tmp_path, "c", target=np.array([1]))
    with pytest.raises(ScoresError, match="different examples of t"):
        read_predictions(tmp_path, frame("a", "b"), "t")
    with pytest.raises(ScoresError, match="ids"):
        read_predictions(tmp_path, frame("c"), "t")
    with pytest.raises(ScoresError, match=r"p-seed0\.npz"):
        read_predictions(tmp_path, frame("d"), "t")
    (tmp_path / "a" / "t" / "p-seed0.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ScoresError, match="cannot be read"):
        read_predictions(tmp_path, frame("a"), "t")


@pytest.mark.parametrize(
    ("metric", "key"),
    [("neg_l1", "sum_absolute_error"), ("neg_epe", "sum_end_point_error"), ("one_minus_all", "n_outliers")],
)
def test_the_statistic_is_the_difference_of_the_scores(metric: str, key: str) -> None:
    rng = np.random.default_rng(0)
    valid = rng.integers(50, 100, 30)
    a, b = ({key: rng.uniform(0, 50, 30), "n_valid": valid} for _ in range(2))
    score_a, score_b = (-p[key].sum() / valid.sum() for p in (a, b))
    assert compare(a, b, metric, samples=500).statistic == pytest.approx(score_a - score_b)
    with pytest.raises(ScoresError, match="different pixels"):
        compare(a, {**b, "n_valid": valid + 1}, metric)


def test_miou_is_tested_by_images() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.integers(50, 100, (2, 10, 3))
    a, b = ({"intersection": rng.integers(10, 50, (10, 3)), "predicted": predicted, "target": target} for _ in range(2))

    def miou(p: dict[str, np.ndarray]) -> float:
        i = p["intersection"].sum(0)
        return float(np.mean(i / (p["predicted"].sum(0) + p["target"].sum(0) - i)))

    assert compare(a, b, "miou").statistic == pytest.approx(miou(a) - miou(b))


def test_what_no_exchange_can_test() -> None:
    with pytest.raises(ScoresError, match="no valid test of map"):
        compare({}, {}, "map")
    with pytest.raises(ScoresError, match="lack prediction"):
        compare({"target": np.zeros(2)}, {}, "top1")
    with pytest.raises(ScoresError, match="one class"):
        labels({"prediction": np.zeros(3)}, "depth")


def test_class_names_fall_back_to_numbers() -> None:
    assert class_names("no-such-task", 3) == ["0", "1", "2"]
