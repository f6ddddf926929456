"""How the heads trained: the curves on an end task's page, and their numbers beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from virb.report.build import write_report
from virb.report.curves import HEIGHT, WIDTH, curves, losses
from virb.report.study import study_of
from virb.scores.read import read_scores


def with_curves(record) -> None:
    if record["task"]["name"] == "things":
        best = record["encoder"]["name"] == "second"
        record["loss_by_epoch"] = {"1": 2.0, "10": 1.0, "100": (0.25 if best else 0.5) + record["seed"] / 4}


def test_a_task_page_draws_each_encoders_heads_on_one_scale(results, tmp_path, check):
    pages = check(write_report(read_scores(results(with_curves)), tmp_path / "r").index.parent)
    page = pages["tasks/things.html"]
    lines = [given for name, given in page.tags if name == "polyline" and given["class"] == "own"]
    assert len(lines) == 4  # two encoders, two seeds
    first = [tuple(map(float, point.split(","))) for point in lines[0]["points"].split()]
    heights = [HEIGHT * (2 - loss) / (2 - 0.25) for loss in (2.0, 1.0, 0.25)]
    assert np.allclose(first, list(zip((0, WIDTH / 2, WIDTH), heights, strict=True)), atol=0.1)
    assert "2 → 0.375" in page.text
    assert "second 2 → 0.375" in page.text
    assert not [name for name, _ in pages["tasks/parts.html"].tags if name == "polyline"]
    table = pd.read_csv(tmp_path / "r" / "tasks" / "things-training.csv")
    assert list(table.columns) == ["encoder", "seed", "epoch", "loss"]
    assert len(table) == 12


def test_a_curve_that_runs_away_leaves_the_others_their_room(results):
    def change(record) -> None:
        far = 1e6 if record["encoder"]["name"] == "first" else 1.0
        record["loss_by_epoch"] = {"1": far, "2": far / 2}

    study = study_of(read_scores(results(change)))
    found = curves(study, "things", losses(study, "things"), {"first": "a", "second": "b"})
    assert found is not None
    ys = [float(point.split(",")[1]) for line in found.plots[0].lines for point in line.split()]
    assert found.plots[0].encoder == "second"
    assert max(ys) - min(ys) > 0.2 * HEIGHT


def test_records_of_one_epoch_or_none_have_no_curve(results):
    study = study_of(read_scores(results(lambda record: record.update(loss_by_epoch={"1": 0.5}))))
    assert curves(study, "things", losses(study, "things"), {"first": "a", "second": "b"}) is None
