"""Accuracy inside a task: a published table of levels or of classes reads like a results folder's."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from virb.contracts.analysis import NotApplicable
from virb.contracts.tables import Notes
from virb.errors import ScoresError, UsageError
from virb.scores import inside
from virb.scores.layout import prepare
from virb.scores.read import read_scores

LEVELS = """encoder,task,level,score,n_classes,kappa
simclr,inat21,species,.301,10000,.30
simclr,inat21,kingdom,.96,3,.90
supervised,inat21,species,.68,,.68
supervised,inat21,kingdom,.99,,
"""
CLASSES = """encoder,task,class,score,n
a,t,cat,.5,10
a,t,dog,1,20
b,t,dog,.25,20
b,t,cat,0,10
"""


def read(text, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    return read_scores(str(path))


def test_levels_of_a_published_table(tmp_path):
    scores = read(LEVELS, tmp_path)
    task, table = inside.by_level(scores, "")
    assert task == "inat21"
    assert list(zip(table["encoder"], table["level"], strict=True)) == [
        (encoder, level) for encoder in ("simclr", "supervised") for level in ("species", "kingdom")
    ]
    assert table["n_classes"].tolist() == [10_000, 3, 10_000, 3]  # said in one row is said
    assert table["accuracy"].tolist() == [0.301, 0.96, 0.68, 0.99]
    assert table["kappa"].tolist()[:3] == [0.30, 0.90, 0.68]
    assert table[["low", "high", "chance"]].isna().all(axis=None)
    assert list(inside.finest(scores)["score"]) == [0.301, 0.68]
    with pytest.raises(ScoresError, match="several values of level"):
        prepare(scores, Notes())
    assert prepare(inside.finest(scores), Notes()).wide["inat21"].tolist() == [0.301, 0.68]
    with pytest.raises(UsageError, match="no task of the scores"):
        inside.by_level(scores, "places")


def test_levels_of_records_are_means_over_seeds():
    scores = pd.DataFrame(
        {
            "encoder": ["a", "a", "b"], "task": ["kinds"] * 3, "score": [0.4, 0.6, 0.5], "seed": [0, 1, 0],
            "accuracy@class": [0.4, 0.6, 0.5], "kappa@class": [0.3, 0.5, 0.4], "classes@class": [19.0] * 3,
            "accuracy@kind": [0.7, 0.9, 0.8], "classes@kind": [6.0] * 3,
        }
    )  # fmt: skip
    scores.loc[3] = ["b", "other", 0.1, 0, *[np.nan] * 5]
    task, table = inside.by_level(scores, "")
    assert task == "kinds"
    assert table["accuracy"].tolist() == pytest.approx([0.5, 0.8, 0.5, 0.8])
    assert table["kappa"].tolist()[::2] == pytest.approx([0.4, 0.4])
    assert table["n_classes"].tolist() == [19, 6, 19, 6]
    assert table[["low", "high"]].isna().all(axis=None)
    _, one = inside.by_level(scores[scores["seed"] == 0].assign(n_test=100), "")
    assert (one["low"] < one["accuracy"]).all()
    assert (one["high"] > one["accuracy"]).all()
    assert inside.by_level(scores, "other") is None
    assert inside.by_level(scores[["encoder", "task", "score"]], "") is None


def test_classes_of_a_published_table(tmp_path):
    task, wide, n = inside.by_class(read(CLASSES, tmp_path), "")
    assert task == "t"
    assert wide.loc["dog"].tolist() == [1, 0.25]
    assert n.to_dict() == {"cat": 10, "dog": 20}
    without = read(CLASSES.replace(",n\n", ",m\n"), tmp_path)
    assert inside.by_class(without, "t")[2] is None
    with pytest.raises(ScoresError, match="b in cat"):
        inside.by_class(read(CLASSES.replace("b,t,cat,0,10\n", ""), tmp_path), "")
    plain = pd.read_csv(io.StringIO("encoder,task,score\na,t,1\n"))
    assert inside.by_class(plain, "") is None
    with pytest.raises(NotApplicable, match="a table with a column class"):
        inside.accuracies(plain, plain, "")
