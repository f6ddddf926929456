"""Accuracy at every level of a label tree: by hand, from either metric's arrays, and in the table."""

from __future__ import annotations

import numpy as np
import pytest

from virb.contracts.tree import LabelTree
from virb.evaluation.levels import accuracies
from virb.metrics.classification import ClassificationMetric
from virb.metrics.map import AveragePrecision
from virb.records import columns

TREE = LabelTree({"kind": ("vehicle", "vehicle", "animal", "animal"), "all": ("thing",) * 4})
TARGET = np.array([0, 0, 1, 2, 3, 3])
FOUND = np.array([0, 1, 1, 3, 3, 0])  # right 3 of 6; of the right kind 5 of 6


@pytest.mark.parametrize("of", [ClassificationMetric, AveragePrecision])
def test_a_coarser_level_forgives_what_stays_in_the_family(of):
    state = of(4)
    state.update(np.eye(4)[FOUND], TARGET)
    found = accuracies(state.per_example(), TREE)
    assert [found[f"accuracy@{level}"] for level in ("class", "kind", "all")] == [0.5, pytest.approx(5 / 6), 1.0]
    assert [found[f"classes@{level}"] for level in ("class", "kind", "all")] == [4, 2, 1]
    chance = 3 / 6 * 4 / 6 + 3 / 6 * 2 / 6  # of vehicles and animals: share among targets times share among predictions
    assert found["kappa@kind"] == pytest.approx((5 / 6 - chance) / (1 - chance))
    assert found["kappa@all"] is None
    assert accuracies(state.per_example(), None) == {}


def test_the_table_has_a_column_a_level():
    record = {
        "encoder": {"name": "e", "sha256": "0"}, "probe": "gradient", "seed": 0, "score": 0.5, "n_train": 1, "n_test": 6,
        "task": {"name": "t", "version": 1, "category": "semantic image-level", "metric": "top1", "suite": ""},
        "overrides": {}, "metrics": {"top1": 0.5, "accuracy@kind": 0.8, "kappa@kind": None},
    }  # fmt: skip
    row = columns.row(record)
    assert (row["accuracy@kind"], row["kappa@kind"]) == (0.8, None)
    assert "top1" not in row
